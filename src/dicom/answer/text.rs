//! The characters of an answer. JSON is UTF-8 by its standard, and XML by default; some servers write UTF-16, a mark of the
//! byte order before either, or what they declare.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The number of bytes in which the declaration of an XML document stands.
const DECLARATION: usize = 200;

/// Returns the text of an answer in UTF-8, without a mark. Its bytes tell before its `Content-Type` does, and that before a
/// declaration of XML: programs that write a document in UTF-8 often declare UTF-16 in it. Bytes of no known set of characters
/// stay as they are.
pub fn as_utf8<'b>(content_type: Option<&str>, body: &'b [u8]) -> Cow<'b, [u8]> {
    let wide = match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => return rest.into(),
        [0xff, 0xfe, rest @ ..] => Some((UTF_16LE, rest)),
        [0xfe, 0xff, rest @ ..] => Some((UTF_16BE, rest)),
        // An answer begins with a sign of ASCII.
        [1..=0x7f, 0, ..] => Some((UTF_16LE, body)),
        [0, 1..=0x7f, ..] => Some((UTF_16BE, body)),
        _ => None,
    };
    if let Some((encoding, text)) = wide {
        return decoded(encoding, text);
    }
    if std::str::from_utf8(body).is_ok() {
        return body.into();
    }
    let named = content_type.and_then(charset).or_else(|| declared(body));
    let named = named.filter(|encoding| ![UTF_8, UTF_16LE, UTF_16BE].contains(encoding));
    named.map_or(body.into(), |encoding| decoded(encoding, body))
}

fn decoded<'b>(encoding: &'static Encoding, text: &'b [u8]) -> Cow<'b, [u8]> {
    match encoding.decode_without_bom_handling(text).0 {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// Returns the set of characters that a `Content-Type` names.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let mut parameters = content_type.split(';').skip(1);
    let label = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })?;
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// Returns the set of characters that an XML document declares.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let beginning = body.get(..DECLARATION.min(body.len()))?;
    let text = String::from_utf8_lossy(beginning);
    let (declaration, _) = text.strip_prefix("<?xml")?.split_once("?>")?;
    let (_, behind) = declaration.split_once("encoding")?;
    let value = behind.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|sign| "\"'".contains(*sign))?;
    let (label, _) = value.get(1..)?.split_once(quote)?;
    Encoding::for_label_no_replacement(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a text in UTF-16, the lower byte first or last.
    fn wide(text: &str, is_little: bool) -> Vec<u8> {
        let units = text.encode_utf16();
        let bytes = units.map(|unit| {
            if is_little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            }
        });
        bytes.flatten().collect()
    }

    #[test]
    fn every_set_of_characters_comes_out_in_utf_8() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a>Müller</a>";
        for is_little in [true, false] {
            for marked in [format!("\u{feff}{text}"), text.to_owned()] {
                assert_eq!(
                    as_utf8(None, &wide(&marked, is_little)),
                    text.as_bytes(),
                    "{is_little} {marked}"
                );
            }
        }
        // Declared so, and in UTF-8 all the same.
        assert_eq!(
            as_utf8(Some("text/xml; charset=utf-16"), text.as_bytes()),
            text.as_bytes()
        );
        assert_eq!(as_utf8(None, "\u{feff}{}".as_bytes()), &b"{}"[..]);
        let latin = b"{\"a\":\"M\xfcller\"}";
        let read = "{\"a\":\"Müller\"}".as_bytes();
        for kind in [
            "application/json; charset=ISO-8859-1",
            "a/b;x=y; Charset=\"latin1\"",
        ] {
            assert_eq!(as_utf8(Some(kind), latin), read, "{kind}");
        }
        for kind in [
            None,
            Some("application/json"),
            Some("a/b; charset=none"),
            Some("a/b; charset=utf-16"),
        ] {
            assert_eq!(as_utf8(kind, latin), &latin[..], "{kind:?}");
        }
        let declared = b"<?xml version='1.0' encoding = 'iso-8859-1' ?><a>M\xfcller</a>";
        assert!(as_utf8(None, declared).ends_with("Müller</a>".as_bytes()));
    }

    proptest! {
        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..60), text in "<[?]xml( encoding|=|'|\"|[?]>|\u{e9}){0,12}", kind in "a/b(;|charset|=|\"|utf-16|latin1){0,8}") {
            let _ = as_utf8(Some(&kind), &body);
            let _ = as_utf8(Some(&kind), &[text.as_bytes(), b"\xff"].concat());
        }
    }
}
