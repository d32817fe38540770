//! Control ids, as a sender writes them (MSH-10) and as a receiver gives them back (MSA-2).
//!
//! Receivers do not always give back the bytes that they had: they trim, they put the id in other capitals, they add
//! components (`123^APP`) or keep only the first, and they escape what separates in their own message.

use super::separators::Separators;

/// A control id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlId {
    /// As it stands there, without the blanks around it.
    written: Box<[u8]>,
    /// The first component, with its escapes undone and in small letters; the whole, where that is empty.
    meant: Box<[u8]>,
}

impl ControlId {
    /// Reads a field of a message with these separators.
    pub fn of(field: &[u8], separators: &Separators) -> Self {
        let written = field.trim_ascii();
        let first = separators.first(written).trim_ascii();
        let mut meant = if first.is_empty() {
            written.to_ascii_lowercase()
        } else {
            unescaped(first, separators)
        };
        meant.make_ascii_lowercase();
        Self {
            written: written.into(),
            meant: meant.into(),
        }
    }

    /// A control id that is text without separators.
    pub fn plain(text: &str) -> Self {
        Self {
            written: text.as_bytes().into(),
            meant: text.to_ascii_lowercase().into_bytes().into(),
        }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Returns its bytes, without blanks around them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.written
    }

    /// Tells whether both are written alike.
    pub fn is(&self, other: &Self) -> bool {
        self.written == other.written
    }

    /// Tells whether both may stand for one message: they are alike but for capitals, components and escapes.
    pub fn may_be(&self, other: &Self) -> bool {
        self.meant == other.meant
    }

    /// Tells whether both are alike but for capitals.
    pub fn is_but_for_capitals(&self, other: &Self) -> bool {
        self.written.eq_ignore_ascii_case(&other.written)
    }
}

/// Undoes the escapes that stand for separators; others stay as they are.
fn unescaped(text: &[u8], separators: &Separators) -> Vec<u8> {
    let Some(escape) = separators.escape else {
        return text.to_vec();
    };
    let mut made = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let meant = match behind {
            [name, end, ..] if *first == escape && *end == escape => match name {
                b'F' => Some(separators.field),
                b'S' => separators.component,
                b'R' => separators.repetition,
                b'E' => separators.escape,
                b'T' => separators.subcomponent,
                _ => None,
            },
            _ => None,
        };
        made.push(meant.unwrap_or(*first));
        let length = if meant.is_some() { 3 } else { 1 };
        rest = rest.get(length..).unwrap_or_default();
    }
    made
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usual(field: &str) -> ControlId {
        ControlId::of(field.as_bytes(), &Separators::of(b"MSH|^~\\&|").unwrap())
    }

    #[test]
    fn what_may_stand_for_one_message() {
        assert!(usual(" m1 ").is(&usual("m1")) && usual("m1").may_be(&ControlId::plain("M1")));
        for other in ["M1", "m1^x", "m1 ^x", "m1&y", "m1~m2", "M1^"] {
            assert!(!usual("m1").is(&usual(other)), "{other}");
            assert!(usual("m1").may_be(&usual(other)), "{other}");
        }
        for other in ["m2", "", "m1x", "^m1", "^"] {
            assert!(!usual("m1").may_be(&usual(other)), "{other}");
        }
        // An id without a first component is the whole of it.
        assert!(!usual("^x").may_be(&usual("^y")) && usual("^X").may_be(&usual("^x")));
        assert!(!usual("^").is_empty() && usual("  ").is_empty());
        assert!(usual("M1").is_but_for_capitals(&usual("m1")));
        assert!(!usual("m1^x").is_but_for_capitals(&usual("m1")));
    }

    #[test]
    fn escapes_are_those_of_the_message_that_has_them() {
        let other = Separators::of(b"MSH#*~\\&#").unwrap();
        assert!(ControlId::of(b"a\\F\\1", &other).may_be(&usual("a#1")));
        assert!(ControlId::of(b"a^1", &other).may_be(&usual("a\\S\\1")));
        assert!(usual("a\\E\\b\\").may_be(&ControlId::plain("A\\b\\")));
        assert!(usual("a\\X41\\").may_be(&ControlId::plain("a\\X41\\")));
    }

    proptest! {
        #[test]
        fn never_panics(field in prop::collection::vec(any::<u8>(), 0..40), text in "[A\\\\FSTREX^&~ ]{0,20}") {
            let separators = Separators::of(b"MSH|^~\\&|").unwrap();
            for field in [&field[..], text.as_bytes()] {
                let id = ControlId::of(field, &separators);
                prop_assert!(id.may_be(&id) && id.is(&id));
                prop_assert_eq!(id.is_empty(), id.meant.is_empty());
            }
        }
    }
}
