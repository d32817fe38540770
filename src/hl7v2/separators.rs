//! The separators of a message: which bytes divide its fields, by MSH-1 and MSH-2.

/// The separators of one message, as its header gives them; what the header leaves out is not there.
///
/// MSH-2 may be shorter than usual (`^~` has no escape character); nothing is filled in for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separators {
    /// MSH-1, mostly `|`.
    pub field: u8,
    /// The first of MSH-2, mostly `^`.
    pub component: Option<u8>,
    /// The second of MSH-2, mostly `~`.
    pub repetition: Option<u8>,
    /// The third of MSH-2, mostly `\`.
    pub escape: Option<u8>,
    /// The fourth of MSH-2, mostly `&`.
    pub subcomponent: Option<u8>,
    /// The fifth of MSH-2 (since 2.7), mostly `#`.
    pub truncation: Option<u8>,
}

/// Tells whether a byte can be a separator: a printable ASCII character that is no letter and no digit.
pub fn is_separator(byte: u8) -> bool {
    byte.is_ascii_punctuation()
}

impl Separators {
    /// Reads them from the beginning of a segment MSH, FHS or BHS: its fourth byte, and the bytes up to the next such byte
    /// or the end of the segment. `None` where the fourth byte is none.
    pub fn of(segment: &[u8]) -> Option<Self> {
        let field = segment.get(3).copied().filter(|byte| is_separator(*byte))?;
        let rest = segment.get(4..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|byte| *byte == field || matches!(byte, b'\r' | b'\n'));
        let encoding = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let nth = |at: usize| encoding.get(at).copied();
        Some(Self {
            field,
            component: nth(0),
            repetition: nth(1),
            escape: nth(2),
            subcomponent: nth(3),
            truncation: nth(4),
        })
    }

    /// Tells whether two of them are the same byte, so that the message cannot be read in one way only.
    pub fn is_ambiguous(&self) -> bool {
        let all = [
            Some(self.field),
            self.component,
            self.repetition,
            self.escape,
            self.subcomponent,
            self.truncation,
        ];
        let all: Vec<u8> = all.into_iter().flatten().collect();
        all.iter()
            .enumerate()
            .any(|(at, byte)| all.iter().skip(at + 1).any(|other| other == byte))
    }

    /// Returns the first component of the first repetition of a field, without what is below it.
    pub fn first<'a>(&self, field: &'a [u8]) -> &'a [u8] {
        let field = split(field, self.repetition).next().unwrap_or_default();
        let component = split(field, self.component).next().unwrap_or_default();
        split(component, self.subcomponent)
            .next()
            .unwrap_or_default()
    }
}

/// Splits at a separator; at none, the whole is the only part.
pub fn split(text: &[u8], separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    text.split(move |byte| Some(*byte) == separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_by_position_and_nothing_is_filled_in() {
        let usual = Separators::of(b"MSH|^~\\&|A").unwrap();
        assert_eq!(usual.subcomponent, Some(b'&'));
        assert_eq!(usual.truncation, None);
        assert_eq!(usual.first(b"a&b^c~d"), b"a");
        let newer = Separators::of(b"MSH|^~\\&#|A").unwrap();
        assert_eq!(newer.truncation, Some(b'#'));
        let short = Separators::of(b"MSH$%~$A").unwrap();
        assert_eq!(
            (short.component, short.escape, short.subcomponent),
            (Some(b'%'), None, None)
        );
        let none = Separators::of(b"MSH|||A").unwrap();
        assert_eq!(none.first(b"a^b"), b"a^b");
        assert_eq!(Separators::of(b"MSH"), None);
        assert_eq!(Separators::of(b"MSHA"), None);
        assert!(!usual.is_ambiguous() && !none.is_ambiguous());
        assert!(Separators::of(b"MSH|&&&&|A").unwrap().is_ambiguous());
        assert!(Separators::of(b"MSH|^~\\\\&|A").unwrap().is_ambiguous());
    }
}
