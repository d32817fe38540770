//! The segments of a message, whatever ends them, and ends made alike.
//!
//! The standard ends every segment with CR. Files have LF, CRLF and mixtures, and text fields with line ends inside.
//! The bytes behind a line end decide what it is: before something that has a segment's name and at the end of the
//! message it ends a segment, before anything else it belongs to the field that it stands in.

use std::borrow::Cow;

use super::separators::Separators;

/// A segment, without what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The offset of its first byte in the message.
    pub start: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Returns its name, such as `PID`.
    pub fn name(&self) -> &'a [u8] {
        self.bytes.get(..3).unwrap_or(self.bytes)
    }

    /// Returns a field by its number, from 1; empty where the segment ends before. In MSH, FHS and BHS the first field is
    /// the separator itself.
    pub fn field(&self, number: usize, separators: &Separators) -> &'a [u8] {
        let number = if is_header(self.name()) {
            match number {
                0 | 1 => return self.bytes.get(3..4).unwrap_or_default(),
                number => number - 1,
            }
        } else {
            number
        };
        let mut fields = self.bytes.split(|byte| *byte == separators.field);
        fields.nth(number).unwrap_or_default()
    }
}

/// The first fields of a segment, found in one go.
#[derive(Debug)]
pub(super) struct Fields<'a, const N: usize>([&'a [u8]; N]);

impl<'a, const N: usize> Fields<'a, N> {
    /// Finds the fields below number `N`.
    pub(super) fn of(segment: &Segment<'a>, separators: &Separators) -> Self {
        let mut found: [&[u8]; N] = [&[]; N];
        let first = segment.bytes.get(3..4).unwrap_or_default();
        let parts = segment.bytes.split(|byte| *byte == separators.field);
        if is_header(segment.name()) {
            let (head, rest) = found.split_at_mut(std::cmp::min(2, N));
            head.fill(first);
            for (field, part) in rest.iter_mut().zip(parts.skip(1)) {
                *field = part;
            }
        } else {
            for (field, part) in found.iter_mut().zip(parts) {
                *field = part;
            }
        }
        Self(found)
    }

    /// As [`Segment::field`]; empty also where the number is not below `N`.
    pub(super) fn get(&self, number: usize) -> &'a [u8] {
        self.0.get(number).copied().unwrap_or_default()
    }
}

/// Tells whether a segment of that name begins with its separators.
fn is_header(name: &[u8]) -> bool {
    matches!(name, b"MSH" | b"FHS" | b"BHS")
}

/// Tells whether a line begins a segment: a name of a capital and two capitals or digits, and then a field or nothing.
pub fn is_segment(line: &[u8], field: u8) -> bool {
    let [first, second, third, rest @ ..] = line else {
        return false;
    };
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    first.is_ascii_uppercase()
        && is_name(second)
        && is_name(third)
        && rest.first().is_none_or(|byte| *byte == field)
}

/// Tells whether a line holds nothing: blank space, or what old systems fill files with (NUL, Ctrl-Z).
pub fn is_blank(line: &[u8]) -> bool {
    line.iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | 0 | 0x1a))
}

/// A line of a message: where it begins, where it ends, and where what ends it ends.
struct Line {
    start: usize,
    end: usize,
    next: usize,
}

fn line(message: &[u8], start: usize) -> Option<Line> {
    let rest = message.get(start..).filter(|rest| !rest.is_empty())?;
    let Some(at) = memchr::memchr2(b'\r', b'\n', rest) else {
        let end = message.len();
        return Some(Line {
            start,
            end,
            next: end,
        });
    };
    let is_pair = rest.get(at..at + 2) == Some(b"\r\n");
    Some(Line {
        start,
        end: start + at,
        next: start + at + if is_pair { 2 } else { 1 },
    })
}

/// Goes through the segments of a message, ended by CR, LF, CRLF or a mix of them. Lines that are no segments belong to the one before;
/// blank lines are left out.
pub fn segments(message: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let field = message.get(3).copied().unwrap_or(b'|');
    let mut next = line(message, 0);
    std::iter::from_fn(move || {
        let mut found = next.take()?;
        while is_blank(message.get(found.start..found.end)?) {
            found = line(message, found.next)?;
        }
        let start = found.start;
        let mut end = found.end;
        next = line(message, found.next);
        while let Some(more) = &next {
            let text = message.get(more.start..more.end)?;
            if is_segment(text, field) {
                break;
            }
            if !is_blank(text) {
                end = more.end;
            }
            next = line(message, more.next);
        }
        let bytes = message.get(start..end)?;
        Some(Segment { start, bytes })
    })
}

/// Returns the message with each segment ended by one CR, also the last, and without blank lines between segments. Line ends
/// inside of fields stay as they are.
pub fn normalised(message: &[u8]) -> Cow<'_, [u8]> {
    let mut made: Vec<u8> = Vec::new();
    // As long as nothing has changed, the message itself is what is made of it.
    let mut same = true;
    let mut at = 0;
    for segment in segments(message) {
        let end = segment.start + segment.bytes.len();
        let is_alike = segment.start == at && message.get(end) == Some(&b'\r');
        if same && !is_alike {
            made.extend_from_slice(message.get(..at).unwrap_or_default());
            same = false;
        }
        if !same {
            made.extend_from_slice(segment.bytes);
            made.push(b'\r');
        }
        at = end + 1;
    }
    if same && at == message.len() {
        return Cow::Borrowed(message);
    }
    if same {
        // The last segment is ended as it shall be, but something stands behind it.
        made.extend_from_slice(message.get(..at).unwrap_or_default());
    }
    Cow::Owned(made)
}

/// Tells whether segments end by anything else than CR alone: a receiver that follows the standard then finds one segment where there
/// are two. Line ends inside of fields are the fields'.
pub fn ends_otherwise(message: &[u8]) -> bool {
    let mut end = None;
    for segment in segments(message) {
        let before = end.and_then(|end| message.get(end..segment.start));
        if before.is_some_and(|between| between.first() != Some(&b'\r') || between.contains(&b'\n'))
        {
            return true;
        }
        end = Some(segment.start + segment.bytes.len());
    }
    false
}

/// The number of line ends of each kind in a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// CR alone, as the standard has it.
    pub cr: u64,
    /// LF alone.
    pub lf: u64,
    /// CR and LF.
    pub crlf: u64,
}

impl Ends {
    /// Counts the line ends of a message.
    pub fn of(message: &[u8]) -> Self {
        let mut ends = Self::default();
        let mut at = 0;
        while let Some(line) = line(message, at) {
            match message.get(line.end..line.next) {
                Some(b"\r") => ends.cr += 1,
                Some(b"\n") => ends.lf += 1,
                Some(b"\r\n") => ends.crlf += 1,
                _ => {}
            }
            at = line.next;
        }
        ends
    }

    /// Tells whether a receiver that follows the standard finds all segments.
    pub fn are_standard(&self) -> bool {
        self.lf == 0 && self.crlf == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(message: &str) -> String {
        String::from_utf8(normalised(message.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn ends_are_made_alike_and_nothing_else_changes() {
        let good = "MSH|^~\\&|A\rPID|1\rZZZ\r";
        assert!(matches!(normalised(good.as_bytes()), Cow::Borrowed(_)));
        for text in [
            "MSH|^~\\&|A\nPID|1\nZZZ\n",
            "MSH|^~\\&|A\r\nPID|1\r\nZZZ",
            "MSH|^~\\&|A\r\r\nPID|1\n\n\nZZZ\r \t\r\n\u{1a}",
            "MSH|^~\\&|A\n\rPID|1\rZZZ\r\n",
            "MSH|^~\\&|A\rPID|1\rZZZ",
            "MSH|^~\\&|A\rPID|1\rZZZ\r\n",
            "MSH|^~\\&|A\rPID|1\rZZZ\r\r",
        ] {
            assert_eq!(made(text), good, "{text:?}");
        }
        // A line end inside of a field is the field's.
        let text = "MSH|^~\\&|A\nOBX|1|TX||first\n\n second\r\nthird|F\nNTE|1\n";
        assert_eq!(
            made(text),
            "MSH|^~\\&|A\rOBX|1|TX||first\n\n second\r\nthird|F\rNTE|1\r"
        );
        assert_eq!(made(""), "");
    }

    #[test]
    fn ends_of_another_kind_are_told_from_those_inside_of_fields() {
        for (text, is_otherwise) in [
            ("MSH|^~\\&|A\rPID|1\r", false),
            ("MSH|^~\\&|A\rPID|1", false),
            ("MSH|^~\\&|A\rOBX|1|TX||first\nsecond\rNTE|1\r\n", false),
            ("MSH|^~\\&|A\nPID|1\n", true),
            ("MSH|^~\\&|A\r\nPID|1\r\n", true),
        ] {
            assert_eq!(ends_otherwise(text.as_bytes()), is_otherwise, "{text:?}");
        }
    }

    #[test]
    fn fields() {
        let message = b"MSH|^~\\&|A||C\nPID|1||3^x~4";
        let separators = Separators::of(message).unwrap();
        let all: Vec<Segment<'_>> = segments(message).collect();
        let text = |segment: usize, field: usize| all[segment].field(field, &separators);
        assert_eq!((text(0, 1), text(0, 2)), (&b"|"[..], &b"^~\\&"[..]));
        assert_eq!(
            (text(0, 3), text(0, 4), text(0, 5)),
            (&b"A"[..], &b""[..], &b"C"[..])
        );
        assert_eq!(
            (text(1, 0), text(1, 3), text(1, 9)),
            (&b"PID"[..], &b"3^x~4"[..], &b""[..])
        );
        assert_eq!(
            Ends::of(message),
            Ends {
                cr: 0,
                lf: 1,
                crlf: 0
            }
        );
    }

    proptest! {
        #[test]
        fn making_alike_twice_changes_nothing(text in "MSH[|]([ABZ]{3}[|]|[\r\n x]|[\r\n]PID[|]){0,20}") {
            let once = normalised(text.as_bytes()).into_owned();
            prop_assert_eq!(normalised(&once), &once[..]);
            // Nothing but line ends and blank lines goes.
            let rest = |bytes: &[u8]| -> Vec<u8> {
                bytes.iter().copied().filter(|byte| !b"\r\n ".contains(byte)).collect()
            };
            prop_assert_eq!(rest(&once), rest(text.as_bytes()));
            prop_assert_eq!(once.last(), Some(&b'\r'));
        }

        #[test]
        fn fields_found_in_one_go_are_those_found_one_by_one(text in "(MSH|PID|BHS|M)[|]?[|^ab]{0,40}") {
            let bytes = text.as_bytes();
            let segment = Segment { start: 0, bytes };
            let separators = Separators::of(b"MSH|^~\\&|").unwrap();
            let fields = Fields::<12>::of(&segment, &separators);
            for number in 0..12 {
                prop_assert_eq!(fields.get(number), segment.field(number, &separators));
            }
            prop_assert_eq!(fields.get(12), b"");
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = normalised(&bytes);
            let _ = Ends::of(&bytes);
        }
    }
}
