//! The fragments of encapsulated pixels (PS3.5, annex A.4): items with a length each, and a delimiter behind the last.
//!
//! They pass by and are never held.

use std::io::{self, Read};

/// The tag of an item, in little endian, as all encapsulated pixels are written.
const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
/// The tag of the delimiter behind the last item.
const DELIMITER: [u8; 4] = [0xfe, 0xff, 0xdd, 0xe0];

/// The end of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentsEnd {
    /// Behind their delimiter.
    Delimited,
    /// Before their delimiter does: the file is cut.
    Cut,
    /// At bytes that are neither a fragment nor the delimiter.
    Other,
}

/// Passes by the fragments that `from` gives, which begins behind the head of the pixels' element. Tells where they end.
pub fn pass(mut from: impl Read) -> io::Result<FragmentsEnd> {
    loop {
        let mut head = Vec::with_capacity(8);
        from.by_ref().take(8).read_to_end(&mut head)?;
        let (Some(tag), Some(length)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
            return Ok(FragmentsEnd::Cut);
        };
        if head.len() < 8 {
            return Ok(FragmentsEnd::Cut);
        }
        if *tag == DELIMITER {
            return Ok(FragmentsEnd::Delimited);
        }
        if *tag != ITEM {
            return Ok(FragmentsEnd::Other);
        }
        let length = u64::from(u32::from_le_bytes(*length));
        let passed = io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
        if passed < length {
            return Ok(FragmentsEnd::Cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments() -> Vec<u8> {
        let item = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            [&ITEM[..], &length, bytes].concat()
        };
        // An offset table without offsets, a fragment that holds what looks like the delimiter, and another one.
        let lookalike = [&DELIMITER[..], &[0; 4]].concat();
        let parts = [item(b""), item(&lookalike), item(b"pixels")];
        [&parts.concat()[..], &DELIMITER, &[0; 4]].concat()
    }

    #[test]
    fn fragments_are_cut_wherever_they_end_before_their_delimiter() {
        let whole = fragments();
        assert_eq!(pass(whole.as_slice()).unwrap(), FragmentsEnd::Delimited);
        // Elements may stand behind the pixels.
        let followed = [&whole[..], b"\xfc\xff\xfc\xffOB\0\0\x02\0\0\0\0\0"].concat();
        assert_eq!(pass(followed.as_slice()).unwrap(), FragmentsEnd::Delimited);
        for length in 0..whole.len() {
            assert_eq!(
                pass(&whole[..length]).unwrap(),
                FragmentsEnd::Cut,
                "{length}"
            );
        }
    }

    #[test]
    fn what_are_no_fragments_is_not_judged() {
        assert_eq!(pass(&b"any other bytes"[..]).unwrap(), FragmentsEnd::Other);
    }
}
