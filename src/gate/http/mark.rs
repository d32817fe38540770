//! The byte order mark that some servers write before their texts, JSON and XML: it is no part of them (RFC 8259 §8.1).

use bytes::Bytes;

/// The mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns a body without its mark. Bytes that go on in another way than JSON and XML do stay as they are: they may be anything.
pub(super) fn without(body: Bytes) -> Bytes {
    let text = body.strip_prefix(MARK).map(<[u8]>::trim_ascii_start);
    match text {
        Some([b'{' | b'[' | b'<', ..]) => body.slice(MARK.len()..),
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_taken_off_a_text_alone() {
        for (body, left) in [
            ("\u{feff}{}", "{}"),
            ("\u{feff} \r\n[1]", " \r\n[1]"),
            ("\u{feff}<a/>", "<a/>"),
            ("\u{feff}", "\u{feff}"),
            ("\u{feff}DICM", "\u{feff}DICM"),
            ("{\"a\":\"\u{feff}\"}", "{\"a\":\"\u{feff}\"}"),
            ("", ""),
        ] {
            assert_eq!(without(Bytes::from(body)), left);
        }
    }
}
