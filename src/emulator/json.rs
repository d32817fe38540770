//! JSON as a FHIR store keeps it: numbers by their text, keys in alphabetical order.
//!
//! `serde_json` would rewrite the exponent of a number (`1E5` becomes `1e+5`) even with arbitrary precision, and
//! treats some keys as its own; a store must give a decimal back as it came (FHIR R4, "decimal": the precision
//! is part of the value). Of a key that stands twice the last value counts, as in Google's parser.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An object; its keys are in alphabetical order, as the Healthcare API answers them.
pub(super) type Object = BTreeMap<String, Json>;

/// Depth at which a document is refused: far beyond any real resource, well within the stack.
const MAX_DEPTH: usize = 128;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object.
    Object(Object),
}

/// The mistake that makes a text no JSON, and its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(super) struct Malformed {
    /// The offset in bytes.
    pub(super) at: usize,
    /// The mistake.
    pub(super) what: &'static str,
}

impl Json {
    /// Reads exactly one value; anything but white space behind it is refused.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(text).map_err(|error| Malformed {
            at: error.valid_up_to(),
            what: "invalid UTF-8",
        })?;
        let mut parser = Parser {
            text,
            at: 0,
            depth: 0,
        };
        parser.space();
        let value = parser.value()?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.wrong("invalid character after top-level value"));
        }
        Ok(value)
    }

    /// Returns the string, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the object, if it is one.
    pub(super) fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the elements of a list, or the value itself as the only one: FHIR has both forms of some elements.
    pub(super) fn each(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            other => std::slice::from_ref(other),
        }
    }

    /// Makes a string value.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Makes an object of the pairs.
    pub(super) fn object<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Object(
            pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// Writes the value without white space.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => write_object(object, out),
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        formatter.write_str(&out)
    }
}

/// Writes an object without white space.
pub(super) fn write_object(object: &Object, out: &mut String) {
    out.push('{');
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// Writes a string in quotes, escaping only what JSON requires.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..0x20 => "",
            _ => continue,
        };
        out.push_str(text.get(written..at).unwrap_or_default());
        written = at + 1;
        if escape.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(text.get(written..).unwrap_or_default());
    out.push('"');
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.wrong("invalid literal"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self) -> Result<Json, Malformed> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.wrong("invalid character looking for beginning of value")),
            None => Err(self.wrong("unexpected end of JSON input")),
        }
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Json, Malformed>,
    ) -> Result<Json, Malformed> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("nested too deeply"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, Malformed> {
        let mut object = Object::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(object));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a key in quotes"));
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("expected a colon after the key"));
            }
            self.at += 1;
            self.space();
            let value = self.value()?;
            object.insert(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(object));
                }
                _ => return Err(self.wrong("expected a comma or the end of the object")),
            }
        }
    }

    fn list(&mut self) -> Result<Json, Malformed> {
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            self.space();
            items.push(self.value()?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::List(items));
                }
                _ => return Err(self.wrong("expected a comma or the end of the array")),
            }
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong("invalid number"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Json, Malformed> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(
            self.text.get(start..self.at).unwrap_or_default().to_owned(),
        ))
    }

    fn string(&mut self) -> Result<String, Malformed> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), Some(b'"' | b'\\' | 0x00..0x20) | None) {
                self.at += 1;
            }
            // Quotes, backslashes and controls are single bytes, so these are boundaries of characters.
            let plain = self.text.get(start..self.at).unwrap_or_default();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    if out.is_empty() {
                        return Ok(plain.to_owned());
                    }
                    out.push_str(plain);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(plain);
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("control character in a string")),
                None => return Err(self.wrong("unexpected end of JSON input")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.wrong("invalid escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let high = self.hex()?;
        if !(0xD800..0xE000).contains(&high) {
            return char::from_u32(high).ok_or_else(|| self.wrong("invalid escape"));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        if high >= 0xDC00 || !rest.starts_with("\\u") {
            return Err(self.wrong("lone surrogate"));
        }
        self.at += 2;
        let low = self.hex()?;
        if !(0xDC00..0xE000).contains(&low) {
            return Err(self.wrong("lone surrogate"));
        }
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
            .ok_or_else(|| self.wrong("lone surrogate"))
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.wrong("invalid escape"));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.wrong("invalid escape"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn numbers_keep_their_text() {
        for number in [
            "20.00",
            "-0",
            "1E5",
            "1.0e+5",
            "1e400",
            "0.10E-07",
            "123456789012345678901234567890.0",
        ] {
            assert_eq!(round(number), number);
        }
        for number in ["01", "1.", ".5", "+1", "1e", "-", "NaN", "0x1"] {
            assert!(Json::parse(number.as_bytes()).is_err(), "{number}");
        }
    }

    #[test]
    fn keys_come_sorted_and_the_last_of_two_counts() {
        assert_eq!(
            round(r#"{"b":1,"a":{"d":2,"c":[]},"b":3}"#),
            r#"{"a":{"c":[],"d":2},"b":3}"#
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "nul",
            "1 2",
            "\u{feff}{}",
            r#""\ud800""#,
            r#""\ud800A""#,
            "\"\n\"",
            r#""\x""#,
        ] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert_eq!(Json::parse(b"\"a\xff\"").unwrap_err().at, 2);
        assert_eq!(round(r#""\ud83d\ude00\u0041\/\u0001""#), "\"😀A/\\u0001\"");
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_crash() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(
            Json::parse(deep.as_bytes()).unwrap_err().what,
            "nested too deeply"
        );
        let good = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert_eq!(round(&good), good);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }

        #[test]
        fn agrees_with_serde_on_strings(text in any::<String>()) {
            let theirs = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Json::parse(theirs.as_bytes()).unwrap(), Json::Text(text.clone()));
            let ours = Json::text(text.clone()).to_string();
            prop_assert_eq!(serde_json::from_str::<String>(&ours).unwrap(), text);
        }
    }
}
