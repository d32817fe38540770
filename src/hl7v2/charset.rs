//! The character set of a message: what MSH-18 says (table 0211), whether the bytes agree, and writing it in UTF-8.
//!
//! Separators are ASCII in every set here, but bytes of Asian sets may look like them inside of a character; the fields that
//! decide how a message is loaded (MSH, PID-3) are ASCII in practice.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::header::{MessageHeader, NoHeader};
use super::segment::segments;

/// The name of UTF-8 in MSH-18.
const UTF8: &str = "UNICODE UTF-8";

/// Tells whether a name in MSH-18 is one by which stores that take ASCII and UTF-8 alone know these: others, such as `utf-8` or
/// `US-ASCII`, mean the same and are refused.
pub fn is_plain(name: &[u8]) -> bool {
    matches!(name, b"" | b"ASCII" | b"UNICODE UTF-8" | b"UTF-8")
}

/// A character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// 7 bits.
    Ascii,
    /// UTF-8.
    Utf8,
    /// Any other that can be converted.
    Other(&'static Encoding),
}

impl Charset {
    /// Finds the set by its name in MSH-18, or by the label that the web knows it by; `None` where it cannot be converted.
    /// `8859/1` is read as windows-1252, which is what senders write under that name: it differs only where ISO 8859-1 has
    /// control characters.
    pub fn named(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?.trim().to_ascii_uppercase();
        let label = match name.as_str() {
            "ASCII" | "US-ASCII" | "ISO IR6" | "ISO IR 6" => return Some(Self::Ascii),
            "UNICODE UTF-8" | "UTF-8" | "UTF8" => return Some(Self::Utf8),
            "8859/9" => "iso-8859-9",
            "ISO IR87" | "ISO IR159" => "iso-2022-jp",
            "GB 18030-2000" => "gb18030",
            "BIG-5" => "big5",
            "KS X 1001" => "euc-kr",
            other => match other.strip_prefix("8859/") {
                Some(part) => &format!("iso-8859-{part}"),
                None => other,
            },
        };
        let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
        let is_wide = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
        if is_wide {
            return None;
        }
        Some(if encoding == encoding_rs::UTF_8 {
            Self::Utf8
        } else {
            Self::Other(encoding)
        })
    }

    /// Returns its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII",
            Self::Utf8 => "UTF-8",
            Self::Other(encoding) => encoding.name(),
        }
    }

    /// Reads bytes; where they are none of this set, says at which byte.
    fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        match self {
            Self::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                Some(at) => Err(at),
                None => Ok(String::from_utf8_lossy(bytes)),
            },
            Self::Utf8 => std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|error| error.valid_up_to()),
            Self::Other(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(bytes)
                .ok_or_else(|| malformed(encoding, bytes)),
        }
    }
}

/// Finds the first byte that is malformed in an encoding.
fn malformed(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut scratch = [0; 1024];
    let mut read = 0;
    loop {
        let rest = bytes.get(read..).unwrap_or_default();
        let (result, more, _) =
            decoder.decode_to_utf8_without_replacement(rest, &mut scratch, true);
        read += more;
        match result {
            encoding_rs::DecoderResult::InputEmpty => return read,
            encoding_rs::DecoderResult::OutputFull => {}
            encoding_rs::DecoderResult::Malformed(length, behind) => {
                return read.saturating_sub(usize::from(length) + usize::from(behind));
            }
        }
    }
}

/// The character set that a message declares, and whether its bytes are of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredCharset {
    /// All bytes are ASCII; whatever MSH-18 says holds.
    Ascii,
    /// The bytes are of the set that MSH-18 names.
    As(Charset),
    /// MSH-18 is empty or names ASCII, and the bytes are not; they are UTF-8 if `is_utf8`.
    Undeclared {
        /// The first byte that is not ASCII.
        at: usize,
        /// All bytes make sense as UTF-8.
        is_utf8: bool,
    },
    /// The bytes are not of the set that MSH-18 names.
    Not {
        /// The set that is named.
        named: Charset,
        /// The first byte that does not fit.
        at: usize,
    },
    /// MSH-18 names a set that is not known here.
    Unknown,
}

/// Looks how a message is written.
pub fn written(message: &[u8], header: &MessageHeader<'_>) -> DeclaredCharset {
    let Some(at) = message.iter().position(|byte| !byte.is_ascii()) else {
        // Japanese in ISO 2022 has bytes of 7 bits only.
        return match declared(header) {
            Some(Some(named @ Charset::Other(set))) if set == encoding_rs::ISO_2022_JP => {
                match named.decode(message) {
                    Ok(_) if message.contains(&0x1b) => DeclaredCharset::As(named),
                    Ok(_) => DeclaredCharset::Ascii,
                    Err(at) => DeclaredCharset::Not { named, at },
                }
            }
            _ => DeclaredCharset::Ascii,
        };
    };
    match declared(header) {
        None | Some(Some(Charset::Ascii)) => DeclaredCharset::Undeclared {
            at,
            is_utf8: std::str::from_utf8(message).is_ok(),
        },
        Some(None) => DeclaredCharset::Unknown,
        Some(Some(named)) => match named.decode(message) {
            Ok(_) => DeclaredCharset::As(named),
            Err(at) => DeclaredCharset::Not { named, at },
        },
    }
}

/// Returns the set that MSH-18 names: `None` where it is empty, `Some(None)` where it cannot be known. Of several sets the
/// first is the default one, and the Japanese one covers the others, which are written by its escapes.
pub fn declared(header: &MessageHeader<'_>) -> Option<Option<Charset>> {
    let mut sets = header.charsets.iter().map(|name| Charset::named(name));
    let first = sets.next()?;
    let is_japanese =
        |set: &Option<Charset>| *set == Some(Charset::Other(encoding_rs::ISO_2022_JP));
    match sets.find(is_japanese) {
        Some(japanese) if first == Some(Charset::Ascii) => Some(japanese),
        _ => Some(first),
    }
}

/// The reason why a message cannot be written in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotConverted {
    /// It has no header.
    #[error("{0}")]
    NoHeader(#[from] NoHeader),
    /// MSH-18 names a set that is not known here.
    #[error("MSH-18 names a character set that is not known")]
    Unknown,
    /// MSH-18 names none, and the bytes are not UTF-8.
    #[error("MSH-18 names no character set, and byte {at} is neither ASCII nor UTF-8")]
    Undeclared {
        /// The byte in the message.
        at: usize,
    },
    /// The bytes are not what MSH-18 says.
    #[error("byte {at} is not {}, which MSH-18 names", .named.name())]
    Malformed {
        /// The set that is named.
        named: Charset,
        /// The byte in the message.
        at: usize,
    },
}

/// Writes a message in UTF-8 and says so in MSH-18. A message in ASCII that says nothing else stays as it is. `otherwise` is
/// the set of bytes of which the message does not say what they are, and which are no UTF-8.
pub fn convert(message: &[u8], otherwise: Option<Charset>) -> Result<Cow<'_, [u8]>, NotConverted> {
    let header = MessageHeader::of(message)?;
    let named = declared(&header);
    let from = match written(message, &header) {
        DeclaredCharset::Ascii
            if matches!(named, None | Some(Some(Charset::Ascii)))
                && header.charsets.iter().all(|name| is_plain(name)) =>
        {
            return Ok(Cow::Borrowed(message));
        }
        DeclaredCharset::Ascii | DeclaredCharset::Undeclared { is_utf8: true, .. } => Charset::Utf8,
        DeclaredCharset::As(charset) => charset,
        DeclaredCharset::Undeclared { at, .. } => {
            otherwise.ok_or(NotConverted::Undeclared { at })?
        }
        DeclaredCharset::Not { named, at } => return Err(NotConverted::Malformed { named, at }),
        DeclaredCharset::Unknown => return Err(NotConverted::Unknown),
    };
    let is_said = header.charsets.len() == 1 && header.charsets.first() == Some(&UTF8.as_bytes());
    if from == Charset::Utf8 && is_said {
        return Ok(Cow::Borrowed(message));
    }
    let text = from
        .decode(message)
        .map_err(|at| NotConverted::Malformed { named: from, at })?;
    Ok(Cow::Owned(with_charset(&text, header.separators.field)))
}

/// Puts UTF-8's name into MSH-18.
fn with_charset(message: &str, separator: u8) -> Vec<u8> {
    let separator = char::from(separator);
    let msh = segments(message.as_bytes()).next();
    let end = msh.map_or(0, |msh| msh.start + msh.bytes.len());
    // A segment ends before a line end, which is one byte in UTF-8.
    let (msh, rest) = message.split_at_checked(end).unwrap_or((message, ""));
    // MSH-1 is the separator itself, so that the part of that number is one less.
    let mut fields: Vec<&str> = msh.split(separator).collect();
    while fields.len() < 18 {
        fields.push("");
    }
    if let Some(field) = fields.get_mut(17) {
        *field = UTF8;
    }
    let mut made = fields.join(separator.encode_utf8(&mut [0; 4]) as &str);
    made.push_str(rest);
    made.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(charset: &str, name: &[u8]) -> Vec<u8> {
        let mut message =
            format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|1|P|2.5||||||{charset}\rPID|1||7||")
                .into_bytes();
        message.extend_from_slice(name);
        message.extend_from_slice(b"\r");
        message
    }

    fn seen(charset: &str, name: &[u8]) -> DeclaredCharset {
        let message = message(charset, name);
        written(&message, &MessageHeader::of(&message).unwrap())
    }

    #[test]
    fn names() {
        for (name, expected) in [
            ("ASCII", "ASCII"),
            ("UNICODE UTF-8", "UTF-8"),
            ("utf-8", "UTF-8"),
            ("8859/1", "windows-1252"),
            ("8859/2", "ISO-8859-2"),
            ("8859/5", "ISO-8859-5"),
            ("8859/9", "windows-1254"),
            ("8859/15", "ISO-8859-15"),
            ("ISO IR87", "ISO-2022-JP"),
            ("GB 18030-2000", "gb18030"),
            ("BIG-5", "Big5"),
            ("KS X 1001", "EUC-KR"),
            ("windows-1252", "windows-1252"),
        ] {
            assert_eq!(Charset::named(name.as_bytes()).unwrap().name(), expected);
        }
        for name in [
            "",
            "8859/",
            "8859/12",
            "UNICODE UTF-16",
            "utf-16",
            "ASCII\nPID",
            "CNS 11643-1992",
        ] {
            assert_eq!(Charset::named(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_compared_with_what_is_said() {
        assert_eq!(seen("8859/1", b"Bob"), DeclaredCharset::Ascii);
        assert_eq!(
            seen("", "Jos\u{e9}".as_bytes()),
            DeclaredCharset::Undeclared {
                at: 58,
                is_utf8: true
            }
        );
        assert!(matches!(
            seen("", b"Jos\xe9"),
            DeclaredCharset::Undeclared { is_utf8: false, .. }
        ));
        assert!(matches!(
            seen("8859/1", b"Jos\xe9"),
            DeclaredCharset::As(Charset::Other(_))
        ));
        assert_eq!(
            seen("UNICODE UTF-8", "é".as_bytes()),
            DeclaredCharset::As(Charset::Utf8)
        );
        assert!(matches!(
            seen("UNICODE UTF-8", b"\xe9"),
            DeclaredCharset::Not {
                named: Charset::Utf8,
                ..
            }
        ));
        assert_eq!(seen("KLINGON", b"\xe9"), DeclaredCharset::Unknown);
        assert!(matches!(
            seen("~ISO IR87", b"\x1b$B;3ED\x1b(B"),
            DeclaredCharset::As(_)
        ));
    }

    #[test]
    fn conversion() {
        let converted = |charset: &str, name: &[u8]| {
            convert(&message(charset, name), None).map(Cow::into_owned)
        };
        let utf8 = |name: &str| Ok(message("UNICODE UTF-8", name.as_bytes()));
        assert_eq!(converted("8859/1", b"Jos\xe9 \x93x\x94"), utf8("José “x”"));
        assert_eq!(converted("8859/1", b"Bob"), utf8("Bob"));
        assert_eq!(converted("UTF-8~UNICODE", "é".as_bytes()), utf8("é"));
        assert_eq!(converted("", "é".as_bytes()), utf8("é"));
        assert_eq!(converted("ASCII", "é".as_bytes()), utf8("é"));
        assert_eq!(converted("GB 18030-2000", b"\xd5\xc5"), utf8("张"));
        assert_eq!(
            converted("ASCII~ISO IR87", b"\x1b$B;3ED\x1b(B"),
            utf8("山田")
        );
        assert_eq!(converted("", b"Bob"), Ok(message("", b"Bob")));
        assert_eq!(converted("ASCII", b"Bob"), Ok(message("ASCII", b"Bob")));
        let at = message("", b"").len() - 1;
        assert_eq!(converted("US-ASCII", b"Bob"), utf8("Bob"));
        assert_eq!(converted("utf-8", b"Bob"), utf8("Bob"));
        assert_eq!(converted("", b"\xe9"), Err(NotConverted::Undeclared { at }));
        assert!(matches!(
            converted("UNICODE UTF-8", b"\xe9"),
            Err(NotConverted::Malformed { .. })
        ));
        assert_eq!(converted("X", b"\xe9"), Err(NotConverted::Unknown));
        let latin = Charset::named(b"8859/1");
        assert_eq!(
            convert(&message("", b"\xe9"), latin).unwrap(),
            message("UNICODE UTF-8", "é".as_bytes())
        );
    }

    #[test]
    fn a_short_header_is_made_long_enough() {
        let made = convert("MSH$%~$A\nPID$é".as_bytes(), None).unwrap();
        assert_eq!(
            made,
            "MSH$%~$A$$$$$$$$$$$$$$$UNICODE UTF-8\nPID$é".as_bytes()
        );
        assert_eq!(
            MessageHeader::of(&made).unwrap().charsets,
            [b"UNICODE UTF-8"]
        );
        // A line end inside of MSH is a part of a field.
        let sent = b"MSH|^~\\&|A\nb|||||||||||||||8859/1\rPID|\xe9\r";
        let made = convert(sent, None).unwrap();
        let expected = "MSH|^~\\&|A\nb|||||||||||||||UNICODE UTF-8\rPID|é\r";
        assert_eq!(made, expected.as_bytes());
    }

    #[test]
    fn the_malformed_byte_is_named() {
        let sent = message("GB 18030-2000", b"\xd5\xc5 \xff");
        let at = sent.iter().position(|byte| *byte == 0xff).unwrap();
        let named = Charset::Other(encoding_rs::GB18030);
        assert_eq!(
            convert(&sent, None),
            Err(NotConverted::Malformed { named, at })
        );
    }

    proptest! {
        #[test]
        fn what_is_converted_is_utf8_and_says_so(name in prop::collection::vec(any::<u8>(), 0..30), charset in "(8859/[0-9]|ISO IR87|BIG-5|UNICODE UTF-8|ASCII|)") {
            let sent = message(&charset, &name);
            if let Ok(made) = convert(&sent, None) {
                prop_assert!(std::str::from_utf8(&made).is_ok());
                let header = MessageHeader::of(&made).unwrap();
                let seen = written(&made, &header);
                prop_assert!(matches!(seen, DeclaredCharset::Ascii | DeclaredCharset::As(Charset::Utf8)), "{seen:?}");
                prop_assert_eq!(convert(&made, None).unwrap(), &made[..]);
            }
        }
    }
}
