//! Pure knowledge of FHIR JSON: finding what matters in a record without re-making it.
//!
//! `scan` walks a record once and finds its resourceType, id, identifiers and references with their byte
//! spans; `bundle` does the same for the envelope of a Bundle entry and the outline of a Bundle; `splice` puts
//! new text in at such spans; `cut` takes references out, as far as `required` lets it; `mandatory` knows what else must be there; `narrative` finds the links of
//! XHTML; `reference`, `request`, `condition` and `types` know FHIR's words; `outcome` reads what servers say of a failure, and `meaning` what their codes mean. All of them stand
//! on one strict JSON grammar, `json`. Nothing here does I/O or knows a target.

use std::borrow::Cow;

pub mod bundle;
pub mod condition;
pub mod cut;
pub mod json;
pub mod mandatory;
pub mod meaning;
pub mod narrative;
pub mod outcome;
pub mod path;
pub mod reference;
pub mod request;
pub mod required;
pub mod scan;
mod shape;
pub mod splice;
pub mod tag;
pub mod types;

pub use scan::{Scanned, Scanner};

/// A part of a text: the offsets of its first byte and of the byte after its last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TextRange {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset of the byte after the last.
    pub end: usize,
}

impl TextRange {
    /// Returns the bytes of the part, or none at all when `bytes` is not the text that it was found in.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the part as text, its JSON escapes resolved.
    pub fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        text(self.of(bytes))
    }

    /// Returns the length in bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Tells whether the part has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The place and the reason for which a text is not a JSON object that can be loaded. It quotes nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (byte {offset}, at {path})")]
pub struct SyntaxError {
    /// Offset of the offending byte in the text.
    pub offset: usize,
    /// The reason, a lower-case phrase.
    pub what: &'static str,
    /// The element at which it is wrong, such as `Patient.name[0].given`.
    pub path: String,
}

/// Resolves the JSON escapes of the raw content of a string (the bytes between its quotes).
///
/// Meant for content that the scan has accepted. Of other content it makes the best: bytes that are not UTF-8
/// and escapes that are not valid come out as U+FFFD.
pub fn text(raw: &[u8]) -> Cow<'_, str> {
    let whole = String::from_utf8_lossy(raw);
    if !whole.contains('\\') {
        return whole;
    }
    let mut resolved = String::with_capacity(whole.len());
    let mut rest: &str = &whole;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        resolved.push_str(before);
        let (character, length) = unescape(escape);
        resolved.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    resolved.push_str(rest);
    Cow::Owned(resolved)
}

/// Reads the escape at the start of `escape`; returns its character and its length in bytes.
fn unescape(escape: &str) -> (char, usize) {
    let bytes = escape.as_bytes();
    let simple = match bytes.get(1) {
        Some(b'u') => {
            let unit = |at: usize| {
                escape
                    .get(at..at + 4)
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            };
            let Some(first) = unit(2) else {
                return (char::REPLACEMENT_CHARACTER, 2);
            };
            if (0xD800..0xDC00).contains(&first)
                && bytes.get(6..8) == Some(b"\\u")
                && let Some(second @ 0xDC00..0xE000) = unit(8)
            {
                let scalar = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return (
                    char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER),
                    12,
                );
            }
            return (
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
                6,
            );
        }
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (simple, 2)
}

/// Escapes a text so that it can stand between the quotes of a JSON string.
pub fn escape(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let quoted = serde_json::Value::from(text).to_string();
    Cow::Owned(
        quoted
            .get(1..quoted.len() - 1)
            .unwrap_or_default()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        assert!(matches!(text("Müller".as_bytes()), Cow::Borrowed("Müller")));
        assert_eq!(
            text(br#"a\"b\\c\/d\b\f\n\r\t\u00e9\ud83d\ude00z"#),
            "a\"b\\c/d\u{8}\u{c}\n\r\té😀z"
        );
        // A text that a scan would refuse comes out marked, and never panics.
        for raw in [
            &b"\\"[..],
            b"\\u",
            b"\\u12",
            b"\\ud800x",
            b"\\ud800\\u0041",
            b"\xff",
            "\\u€€".as_bytes(),
        ] {
            assert!(text(raw).contains('\u{fffd}'), "{raw:?}");
        }
    }

    #[test]
    fn escaping_is_undone_by_reading() {
        for original in ["", "Patient/1", "a\"b\\c\n\u{1}é😀"] {
            assert_eq!(text(escape(original).as_bytes()), original);
        }
    }

    #[test]
    fn a_part_of_another_text_is_empty() {
        assert_eq!(TextRange { start: 3, end: 9 }.of(b"abc"), b"");
        assert_eq!(TextRange { start: 1, end: 2 }.of(b"abc"), b"b");
    }
}
