//! The rest of a file behind its header: the pixels, and the elements after them. They pass by and are never held.

use std::io::{self, Read};

use super::{
    element::{Tag, Walk, WalkStop},
    fragments::{self, FragmentsEnd},
    header::{End, InstanceHeader},
};

/// Passes by what `from` gives, which begins where the reading of the header ended. Tells whether the file ends before its data
/// set does. Bytes that are no elements tell nothing.
pub fn is_cut(header: &InstanceHeader, mut from: impl Read) -> io::Result<bool> {
    match header.end {
        End::Cut => return Ok(true),
        End::File | End::Unread => return Ok(false),
        // That is known once it is inflated ([`super::header::read_whole`]).
        End::Pixels { .. } if header.is_deflated() => return Ok(false),
        End::Pixels { length: None, .. } => match fragments::pass(&mut from)? {
            FragmentsEnd::Cut => return Ok(true),
            FragmentsEnd::Other => return Ok(false),
            FragmentsEnd::Delimited => {}
        },
        End::Pixels {
            length: Some(length),
            ..
        } => {
            let length = u64::from(length);
            if io::copy(&mut from.by_ref().take(length), &mut io::sink())? < length {
                return Ok(true);
            }
        }
    }
    are_elements_cut(Walk::new(from, header.encoding(), u64::MAX))
}

/// Goes through the elements behind the pixels: padding of the data set, signatures, private ones. They stand in order, and other
/// bytes seldom look so.
fn are_elements_cut(mut walk: Walk<impl Read>) -> io::Result<bool> {
    let mut last = Tag(0x7FE0, 0x0010);
    loop {
        let bytes = match walk.tag() {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(WalkStop::Cut | WalkStop::Limit) => return Ok(false),
            Err(WalkStop::Read(error)) => return Err(error),
        };
        let tag = walk.tag_of(bytes);
        if tag <= last || tag.0 == 0xFFFF {
            return Ok(false);
        }
        last = tag;
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
    use crate::dicom::header::EXPLICIT;

    fn header(length: Option<u32>) -> InstanceHeader {
        InstanceHeader {
            sop_class: "1.2".to_owned(),
            study: "1.2".to_owned(),
            series: "1.2".to_owned(),
            instance: "1.2".to_owned(),
            modality: None,
            transfer_syntax: EXPLICIT.to_owned(),
            has_preamble: true,
            begins: 0,
            end: End::Pixels { at: 0, length },
        }
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
            let cut = |bytes: &[u8]| is_cut(&header(length), bytes).unwrap();
            assert!(!cut(all) && !cut(&all[..before]));
            assert!(!cut(&all[..before + sequence.len()]));
            for end in 0..before {
                assert!(cut(&all[..end]), "{end}");
            }
            for end in (before + 4..all.len()).filter(|end| *end != before + sequence.len()) {
                // Less than a tag may be anything.
                let is_tag = (before + sequence.len()..before + sequence.len() + 4).contains(&end);
                assert_eq!(cut(&all[..end]), !is_tag, "{end}");
            }
        }
    }

    #[test]
    fn what_are_no_elements_is_not_judged() {
        for behind in [&[0_u8; 7][..], &[0xff; 30], b"a text behind it", b"\n"] {
            let all = [b"pixels", behind].concat();
            assert!(!is_cut(&header(Some(6)), &all[..]).unwrap(), "{behind:?}");
        }
    }
}
