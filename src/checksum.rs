//! The checksum of a line of a file that only grows: a plan, or a journal.
//!
//! A line is a JSON object, and its last member is `"c"`, a CRC-32C in hexadecimal over the line's offset in its file
//! and the bytes before that member. The offset is part of it, so a line that was flipped, swapped with another,
//! doubled, or moved because one before it is gone no longer fits; yet each line can be checked by itself, wherever a
//! reader begins. The first line of a file is the seed of all others, so that a line of another file does not fit
//! either.
//!
//! The meaning of a missing end is for the file's own format to say.

/// `,"c":"` before the digits, and `"}` after them.
const BEFORE: &[u8] = b",\"c\":\"";
const AFTER: &[u8] = b"\"}";
const DIGITS: usize = 8;

/// The bytes that a checksum adds to a line.
const LENGTH: usize = BEFORE.len() + DIGITS + AFTER.len();

/// The seed of the checksum of a file's first line.
pub const FIRST: u32 = 0;

/// The reason why a line cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged: its checksum does not fit what stands there")]
pub struct Damaged;

fn of(content: &[u8], seed: u32, offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &offset.to_le_bytes()), content)
}

/// Appends a JSON object, which begins at `offset` in its file, with its checksum and a line break; returns the checksum.
pub fn append(out: &mut Vec<u8>, object: &[u8], seed: u32, offset: u64) -> u32 {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let content = object.strip_suffix(b"}").unwrap_or(object);
    let sum = of(content, seed, offset);
    out.extend_from_slice(content);
    out.extend_from_slice(BEFORE);
    out.extend((0..DIGITS).rev().filter_map(|digit| {
        let nibble = (sum >> (4 * digit)) & 0xf;
        HEX.get(nibble as usize).copied()
    }));
    out.extend_from_slice(AFTER);
    out.push(b'\n');
    sum
}

/// Checks a line that begins at `offset`, makes it the JSON object that was appended, and returns its checksum.
pub fn strip(line: &mut Vec<u8>, seed: u32, offset: u64) -> Result<u32, Damaged> {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    let length = line.len().checked_sub(LENGTH).ok_or(Damaged)?;
    let (content, rest) = line.split_at(length);
    let digits = rest
        .strip_prefix(BEFORE)
        .and_then(|rest| rest.strip_suffix(AFTER))
        .ok_or(Damaged)?;
    let mut sum = 0_u32;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(Damaged),
        };
        sum = sum << 4 | u32::from(value);
    }
    if of(content, seed, offset) != sum {
        return Err(Damaged);
    }
    line.truncate(length);
    line.push(b'}');
    Ok(sum)
}

/// Reads the first line of a file, which may be of a time when lines had no checksum: then there is none.
pub fn strip_first(line: &mut Vec<u8>) -> Option<u32> {
    strip(line, FIRST, 0).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_appended_is_read_again() {
        let mut line = Vec::new();
        let sum = append(&mut line, br#"{"step":[1,"a"]}"#, 7, 40);
        let text = std::str::from_utf8(&line).unwrap().to_owned();
        assert_eq!(
            text,
            format!("{{\"step\":[1,\"a\"],\"c\":\"{sum:08x}\"}}\n")
        );
        assert_eq!(strip(&mut line.clone(), 7, 40), Ok(sum));
        assert_eq!(
            strip(&mut line.clone(), 8, 40),
            Err(Damaged),
            "another file"
        );
        assert_eq!(
            strip(&mut line.clone(), 7, 41),
            Err(Damaged),
            "another place"
        );
        strip(&mut line, 7, 40).unwrap();
        assert_eq!(line, br#"{"step":[1,"a"]}"#);
    }

    proptest! {
        #[test]
        fn any_flipped_byte_is_noticed(
            text in "[a-z0-9\",:]{0,80}",
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let mut line = Vec::new();
            append(&mut line, format!("{{\"x\":{text}}}").as_bytes(), 1, 99);
            // The line break belongs to whoever cuts the file into lines.
            line.pop();
            let at = at.index(line.len());
            line[at] ^= flip;
            prop_assert_eq!(strip(&mut line, 1, 99), Err(Damaged));
        }
    }
}
