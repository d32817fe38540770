//! The rest of a file behind its header: the pixels, and the elements after them. They pass by and are never held.

use std::io::{self, Read};

use super::{
    element::{Encoding, Tag, Walk, WalkStop},
    fragments::{self, FragmentsEnd},
};

/// Passes by what `from` gives, which begins with the value of the pixels: `length` bytes, or fragments. Tells whether it ends before
/// its data set does. Bytes that are no elements tell nothing, and nothing is told of what is longer than `limit`.
pub(super) fn is_cut(
    length: Option<u32>,
    encoding: Encoding,
    from: impl Read,
    limit: u64,
) -> io::Result<bool> {
    let mut from = from.take(limit);
    let is_cut = match length.map(u64::from) {
        None => match fragments::pass(&mut from)? {
            FragmentsEnd::Cut => true,
            FragmentsEnd::Other => return Ok(false),
            FragmentsEnd::Delimited => are_elements_cut(Walk::new(&mut from, encoding, u64::MAX))?,
        },
        Some(length) => {
            io::copy(&mut from.by_ref().take(length), &mut io::sink())? < length
                || are_elements_cut(Walk::new(&mut from, encoding, u64::MAX))?
        }
    };
    Ok(is_cut && from.limit() > 0)
}

/// Goes through the elements behind the pixels: padding of the data set, signatures, private ones. They stand in order, and other
/// bytes seldom look so.
fn are_elements_cut(mut walk: Walk<impl Read>) -> io::Result<bool> {
    // Pixels may be floats as well, whose tags stand before this one.
    let mut last = Tag(0x7FE0, 0x0008);
    loop {
        let (bytes, count) = match walk.part_of_tag() {
            Ok(part) => part,
            Err(WalkStop::Cut | WalkStop::Limit) => return Ok(false),
            Err(WalkStop::Read(error)) => return Err(error),
        };
        let tag = walk.tag_of(bytes);
        match count {
            0 => return Ok(false),
            // One byte is padding, unless it begins what often stands here: padding as an element, or signatures.
            1 => return Ok(matches!(bytes, [0xFC | 0xFA, ..])),
            2 | 3 => return Ok(tag.0 > last.0 && tag.0 < 0xFFFF),
            _ if tag <= last || tag.0 == 0xFFFF => return Ok(false),
            _ => last = tag,
        }
        match walk.behind(bytes).and_then(|element| walk.skip(element)) {
            Ok(()) => {}
            Err(WalkStop::Cut) => return Ok(true),
            Err(WalkStop::Limit) => return Ok(false),
            Err(WalkStop::Read(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(length: Option<u32>, bytes: &[u8]) -> bool {
        is_cut(length, Encoding::Little, bytes, u64::MAX).unwrap()
    }

    #[test]
    fn elements_behind_the_pixels_are_cut_wherever_they_end_early() {
        let padding = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0";
        let sequence = b"\xfa\xff\xfa\xffSQ\0\0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0";
        let elements = [&sequence[..], padding].concat();
        let native = [&b"pixels"[..], &elements].concat();
        let delimiter = b"\xfe\xff\xdd\xe0\0\0\0\0";
        let fragments = [&delimiter[..], &elements].concat();
        for (all, length, before) in [(&native, Some(6), 6), (&fragments, None, 8)] {
            let cut = |bytes: &[u8]| cut(length, bytes);
            assert!(!cut(all) && !cut(&all[..before]));
            assert!(!cut(&all[..before + sequence.len()]));
            for end in 0..before {
                assert!(cut(&all[..end]), "{end}");
            }
            for end in (before + 1..all.len()).filter(|end| *end != before + sequence.len()) {
                assert!(cut(&all[..end]), "{end}");
            }
        }
    }

    #[test]
    fn what_are_no_elements_is_not_judged() {
        for behind in [
            &[0_u8; 7][..],
            &[0],
            &[0, 0],
            b"\r\n",
            &[0xff; 30],
            b"a text behind it",
            b"\n",
        ] {
            let all = [b"pixels", behind].concat();
            assert!(!cut(Some(6), &all), "{behind:?}");
        }
    }
}
