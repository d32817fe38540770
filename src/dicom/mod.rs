//! Pure knowledge of DICOM's bytes: headers of files, bodies and answers of STOW-RS.
//!
//! Nothing here opens a file or sends anything, and nothing looks at pixels: `header` reads who an instance is, and stops
//! where the pixel data begin, `rest` and `fragments` go through the rest, and `inflate` opens a deflated one;
//! `element` goes through the elements of a data set in any of its encodings; `multipart` makes
//! the body of a STOW request, `parts` takes one apart as it comes; `query` reads what QIDO asks for; `answer` reads what a server says it has stored; `thin` and
//! `describe` say what a data set holds beside its pixels, and `compare` in what two of them differ; `sample` writes tiny
//! instances, and large ones in a stream. The bytes of an instance are carried: they are looked at, and never changed.
//!
//! The header is read by a small reader of our own. `dicom-object` cannot open a private transfer syntax, nor a file
//! without the group length of its meta group, and a loader has to know who these instances are all the same.

pub mod answer;
pub mod compare;
pub mod describe;
pub mod element;
pub mod fragments;
pub mod header;
mod inflate;
pub mod multipart;
pub mod parts;
pub mod query;
mod rest;
pub mod sample;
pub mod thin;

/// Bytes of a file that [`looks_like`] wants to see.
pub const ENOUGH: usize = 144;

/// Tells whether the beginning of a file looks like DICOM: the mark of Part 10 behind its preamble or at once, a meta group,
/// or the bare data set that older programs write. [`ENOUGH`] bytes are enough.
pub fn looks_like(beginning: &[u8]) -> bool {
    let marked = beginning.get(128..132) == Some(element::MARK);
    marked || beginning.starts_with(element::MARK) || is_bare(beginning)
}

/// Tells whether bytes begin with an element of group 0002 or 0008, in any encoding, whose length is a plausible one.
fn is_bare(beginning: &[u8]) -> bool {
    let Some(&[a, b, c, d, rest @ ..]) = beginning.first_chunk::<8>() else {
        return false;
    };
    let is_known = matches!((a, b), (0x02 | 0x08, 0)) || (a, b) == (0, 0x08);
    let element = if a == 0 { (c, d) } else { (d, c) };
    if !is_known || element.0 > 0 {
        return false;
    }
    let is_explicit = matches!(
        &[rest[0], rest[1]],
        b"UL" | b"CS" | b"UI" | b"OB" | b"DA" | b"TM" | b"SH"
    );
    let implicit = u32::from_le_bytes(rest);
    is_explicit || (a != 0 && implicit % 2 == 0 && implicit > 0 && implicit <= 256)
}

/// Tells whether a value is the code of a modality (CS: capitals, digits, spaces, underscores); anything else may be anything.
pub fn is_modality(value: &str) -> bool {
    let is_sign = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, ' ' | '_');
    value.len() <= 16 && value.chars().all(is_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_recognised_by_their_beginning() {
        let mut full = vec![0; 128];
        full.extend_from_slice(b"DICM\x02\0\0\0UL");
        for bytes in [
            full.as_slice(),
            b"DICM\x02\0\0\0UL",
            b"\x02\0\x10\0UI\x16\x001.2",
            b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100",
            b"\0\x08\0\x05CS\0\x0a",
        ] {
            assert!(looks_like(bytes), "{bytes:?}");
        }
        let zeros = vec![0; 200];
        for bytes in [
            zeros.as_slice(),
            b"",
            b"DICOM",
            b"{\"resourceType\":\"Patient\"}",
            b"MSH|^~\\&|A|B",
            b"\x08\0\x05\0",
            b"\x08\0\x05\0\xff\xff\xff\xff",
            b"\x1f\x8b\x08\0\0\0\0\0\0\0",
        ] {
            assert!(!looks_like(bytes), "{bytes:?}");
        }
    }
}
