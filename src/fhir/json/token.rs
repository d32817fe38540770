//! The tokens of the grammar: strings with their escapes, numbers and literals, within one piece of a text.

use super::{ENDS_EARLY, JsonFault};

/// Returns the offset of the first byte from `at` on that is not JSON white space.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
            _ => return at,
        }
        // Indentation: eight blanks at once.
        while bytes.get(at..at + 8) == Some(b"        ") {
            at += 8;
        }
    }
}

const LOW: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
const BLANKS: u64 = u64::from_le_bytes([0x20; 8]);

/// Marks (in the high bits) the bytes of a word that end a run of plain string content: quotes, backslashes and
/// control characters. The lowest mark is exact; a borrow can make marks above it wrong.
const fn special(word: u64) -> u64 {
    let quotes = word ^ QUOTES;
    let backslashes = word ^ BACKSLASHES;
    ((quotes.wrapping_sub(LOW) & !quotes)
        | (backslashes.wrapping_sub(LOW) & !backslashes)
        | (word.wrapping_sub(BLANKS) & !word))
        & HIGH
}

/// What a piece holds of a string.
pub(super) enum Part {
    /// All of it: the offset of its closing quote.
    Ended(usize),
    /// A part that more may follow: up to where it is right.
    Cut(usize),
}

/// Reads a string from `start` on, which is after its opening quote.
pub(super) fn string(bytes: &[u8], start: usize, last: bool) -> Result<Part, JsonFault> {
    let mut at = start;
    let mut is_cut = false;
    let mut high = 0;
    loop {
        while let Some(chunk) = bytes.get(at..at + 8) {
            let word = chunk.try_into().map_or(0, u64::from_le_bytes);
            high |= word & HIGH;
            let marks = special(word);
            if marks != 0 {
                at += (marks.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => match escape(bytes, at) {
                Escape::Of(length) => at += length,
                Escape::Cut if !last => {
                    is_cut = true;
                    break;
                }
                Escape::Cut => {
                    return Err(JsonFault {
                        offset: bytes.len(),
                        what: ENDS_EARLY,
                    });
                }
                Escape::Wrong(what) => return Err(JsonFault { offset: at, what }),
            },
            Some(0..0x20) => {
                return Err(JsonFault {
                    offset: at,
                    what: "a control character stands unescaped in a string",
                });
            }
            Some(byte) => {
                high |= u64::from(*byte) & 0x80;
                at += 1;
            }
            None if !last => {
                is_cut = true;
                break;
            }
            None => {
                return Err(JsonFault {
                    offset: at,
                    what: "the string is not closed",
                });
            }
        }
    }
    if high != 0
        && let Err(error) = std::str::from_utf8(bytes.get(start..at).unwrap_or_default())
    {
        let offset = start + error.valid_up_to();
        // The end of the piece may cut a character.
        if is_cut && at == bytes.len() && error.error_len().is_none() {
            return Ok(Part::Cut(offset));
        }
        return Err(JsonFault {
            offset,
            what: "the bytes are not UTF-8",
        });
    }
    Ok(if is_cut {
        Part::Cut(at)
    } else {
        Part::Ended(at)
    })
}

enum Escape {
    Of(usize),
    Cut,
    Wrong(&'static str),
}

/// Checks the escape whose backslash is at `at`.
fn escape(bytes: &[u8], at: usize) -> Escape {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::Of(2),
        Some(b'u') => match unit(bytes, at + 2) {
            Ok(0xDC00..0xE000) => Escape::Wrong(HALF_PAIR),
            Ok(0xD800..0xDC00) => {
                for (offset, expected) in [(6, b'\\'), (7, b'u')] {
                    match bytes.get(at + offset) {
                        Some(byte) if *byte == expected => {}
                        Some(_) => return Escape::Wrong(HALF_PAIR),
                        None => return Escape::Cut,
                    }
                }
                match unit(bytes, at + 8) {
                    Ok(0xDC00..0xE000) => Escape::Of(12),
                    Ok(_) => Escape::Wrong(HALF_PAIR),
                    Err(escape) => escape,
                }
            }
            Ok(_) => Escape::Of(6),
            Err(escape) => escape,
        },
        Some(_) => Escape::Wrong("an escape that JSON does not have"),
        None => Escape::Cut,
    }
}

const HALF_PAIR: &str = "a `\\u` escape of half a surrogate pair";

/// Reads four hexadecimal digits.
fn unit(bytes: &[u8], at: usize) -> Result<u32, Escape> {
    let mut value = 0;
    for offset in 0..4 {
        let Some(byte) = bytes.get(at + offset) else {
            return Err(Escape::Cut);
        };
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return Err(Escape::Wrong("`\\u` needs four hexadecimal digits"));
        };
        value = value << 4 | digit;
    }
    Ok(value)
}

/// Reads a number or a literal; returns the offset after it, or none if the piece may cut it.
pub(super) fn scalar(
    bytes: &[u8],
    at: usize,
    first: u8,
    last: bool,
) -> Result<Option<usize>, JsonFault> {
    match first {
        b'-' | b'0'..=b'9' => number(bytes, at, last),
        b't' => literal(bytes, at, b"true", last),
        b'f' => literal(bytes, at, b"false", last),
        b'n' => literal(bytes, at, b"null", last),
        _ => Err(JsonFault {
            offset: at,
            what: "expected a value",
        }),
    }
}

fn literal(bytes: &[u8], at: usize, word: &[u8], last: bool) -> Result<Option<usize>, JsonFault> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(word) {
        Ok(Some(at + word.len()))
    } else if !last && word.starts_with(rest) {
        Ok(None)
    } else {
        Err(JsonFault {
            offset: at,
            what: "expected a value",
        })
    }
}

fn number(bytes: &[u8], start: usize, last: bool) -> Result<Option<usize>, JsonFault> {
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let needs_digit = |at: usize| {
        if at >= bytes.len() && !last {
            Ok(None)
        } else {
            Err(JsonFault {
                offset: at,
                what: "the number needs a digit here",
            })
        }
    };
    let integer = if bytes.get(start) == Some(&b'-') {
        start + 1
    } else {
        start
    };
    let mut at = match bytes.get(integer) {
        Some(b'0') => integer + 1,
        Some(b'1'..=b'9') => digits(integer),
        _ => return needs_digit(integer),
    };
    if bytes.get(at).is_some_and(u8::is_ascii_digit) {
        return Err(JsonFault {
            offset: at,
            what: "a number may not begin with 0",
        });
    }
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return needs_digit(end);
        }
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = at + 1;
        let exponent = sign + usize::from(matches!(bytes.get(sign), Some(b'+' | b'-')));
        let end = digits(exponent);
        if end == exponent {
            return needs_digit(end);
        }
        at = end;
    }
    Ok((last || at < bytes.len()).then_some(at))
}
