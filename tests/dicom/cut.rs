//! Files that end early: wherever a cut stands, a file that it changed is not taken for whole.

use std::collections::BTreeSet;
use std::io::{Read, repeat};

use proptest::{collection::vec, prelude::*};
use stoker::dicom::{
    element::Encoding,
    header::{self, BIG, EXPLICIT, IMPLICIT, NotAnInstance},
};

/// A file, and the places at which a cut leaves a data set that is whole, as far as the format tells.
#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    ends: BTreeSet<usize>,
    encoding: Encoding,
}

impl File {
    fn new(encoding: Encoding) -> Self {
        let syntax = match encoding {
            Encoding::Implicit => IMPLICIT,
            Encoding::Little => EXPLICIT,
            Encoding::Big => BIG,
        };
        let mut file = Self {
            bytes: [&[0; 128][..], b"DICM"].concat(),
            ends: BTreeSet::new(),
            encoding: Encoding::Little,
        };
        file.element(0x0002, 0x0010, *b"UI", syntax.as_bytes());
        file.encoding = encoding;
        file.ends.clear();
        file
    }

    fn short(&mut self, value: u16) {
        self.bytes.extend_from_slice(&match self.encoding {
            Encoding::Big => value.to_be_bytes(),
            Encoding::Implicit | Encoding::Little => value.to_le_bytes(),
        });
    }

    fn long(&mut self, value: u32) {
        self.bytes.extend_from_slice(&match self.encoding {
            Encoding::Big => value.to_be_bytes(),
            Encoding::Implicit | Encoding::Little => value.to_le_bytes(),
        });
    }

    fn head(&mut self, group: u16, number: u16, vr: [u8; 2], length: u32) {
        self.short(group);
        self.short(number);
        if group == 0xFFFE || self.encoding == Encoding::Implicit {
            self.long(length);
        } else if matches!(&vr, b"OB" | b"OW" | b"UN" | b"SQ") {
            self.bytes.extend_from_slice(&vr);
            self.short(0);
            self.long(length);
        } else {
            self.bytes.extend_from_slice(&vr);
            self.short(u16::try_from(length).unwrap());
        }
    }

    /// Writes an element, and takes note that a cut behind it shows nothing.
    fn element(&mut self, group: u16, number: u16, vr: [u8; 2], value: &[u8]) {
        self.head(group, number, vr, u32::try_from(value.len()).unwrap());
        self.bytes.extend_from_slice(value);
        self.ends.insert(self.bytes.len());
    }

    /// Writes a sequence of one item within the other, `depth` of them, some of undefined length.
    fn sequence(&mut self, group: u16, number: u16, vr: [u8; 2], depth: usize, value: &[u8]) {
        let outer = self.encoding;
        self.head(group, number, vr, u32::MAX);
        if &vr == b"UN" {
            self.encoding = Encoding::Implicit;
        }
        let is_odd = depth % 2 == 1;
        if is_odd {
            self.head(0xFFFE, 0xE000, *b"  ", u32::MAX);
            if depth > 1 {
                self.sequence(0x0008, 0x1140, *b"SQ", depth - 1, value);
            }
            self.element(0x0008, 0x1155, *b"UI", value);
            self.head(0xFFFE, 0xE00D, *b"  ", 0);
        } else {
            let mut inner = Self {
                bytes: Vec::new(),
                ends: BTreeSet::new(),
                encoding: self.encoding,
            };
            inner.sequence(0x0008, 0x1140, *b"SQ", depth - 1, value);
            self.element(0xFFFE, 0xE000, *b"  ", &inner.bytes);
        }
        self.head(0xFFFE, 0xE0DD, *b"  ", 0);
        self.encoding = outer;
    }

    /// As [`Self::sequence`], in the data set itself: only a cut behind it shows nothing.
    fn outermost(&mut self, group: u16, number: u16, vr: [u8; 2], depth: usize, value: &[u8]) {
        let ends = self.ends.clone();
        self.sequence(group, number, vr, depth, value);
        self.ends = ends;
        self.ends.insert(self.bytes.len());
    }

    fn fragments(&mut self, fragments: &[Vec<u8>]) {
        self.head(0x7FE0, 0x0010, *b"OB", u32::MAX);
        let ends = self.ends.clone();
        for fragment in fragments {
            self.element(0xFFFE, 0xE000, *b"  ", fragment);
        }
        self.ends = ends;
        self.head(0xFFFE, 0xE0DD, *b"  ", 0);
        self.ends.insert(self.bytes.len());
    }
}

/// The values of a file, each of which may be missing.
#[derive(Debug, Clone)]
struct Values {
    encoding: Encoding,
    depth: usize,
    private: Option<Vec<u8>>,
    unknown: Option<usize>,
    document: Option<Vec<u8>>,
    pixels: Option<Vec<Vec<u8>>>,
    signature: Option<usize>,
    padding: Option<Vec<u8>>,
}

fn even(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..most).prop_map(|mut bytes| {
        bytes.truncate(bytes.len() / 2 * 2);
        bytes
    })
}

fn values() -> impl Strategy<Value = Values> {
    let encoding = prop_oneof![
        Just(Encoding::Implicit),
        Just(Encoding::Little),
        Just(Encoding::Big)
    ];
    let optional = prop::option::of::<std::ops::Range<usize>>;
    (
        encoding,
        1..5_usize,
        prop::option::of(even(40)),
        optional(1..4),
        prop::option::of(even(40)),
        prop::option::of(vec(even(24), 1..4)),
        optional(1..3),
        prop::option::of(even(20)),
    )
        .prop_map(
            |(encoding, depth, private, unknown, document, pixels, signature, padding)| Values {
                encoding,
                depth,
                private,
                unknown,
                document,
                pixels,
                signature,
                padding,
            },
        )
}

fn file(values: &Values) -> File {
    let mut file = File::new(values.encoding);
    file.element(0x0008, 0x0016, *b"UI", b"1.2.840.10008.5.1.4.1.1.7\0");
    file.element(0x0008, 0x0018, *b"UI", b"1.2.3.45");
    file.element(0x0008, 0x0060, *b"CS", b"DX");
    file.outermost(0x0008, 0x1140, *b"SQ", values.depth, b"1.2.3.4.");
    if let Some(private) = &values.private {
        file.element(0x0009, 0x1001, *b"OB", private);
    }
    if let Some(depth) = values.unknown {
        file.outermost(0x0009, 0x1002, *b"UN", depth, b"1.2.3.4.");
    }
    file.element(0x0020, 0x000D, *b"UI", b"1.2.");
    file.element(0x0020, 0x000E, *b"UI", b"1.2.3.");
    // The identity is whole from here on.
    file.ends = BTreeSet::from([file.bytes.len()]);
    if let Some(document) = &values.document {
        file.element(0x0042, 0x0011, *b"OB", document);
    }
    let Some(pixels) = &values.pixels else {
        return file;
    };
    if values.encoding == Encoding::Little {
        file.fragments(pixels);
    } else {
        file.element(0x7FE0, 0x0010, *b"OW", &pixels.concat());
    }
    if let Some(depth) = values.signature {
        file.outermost(0xFFFA, 0xFFFA, *b"SQ", depth, b"1.2.3.4.");
    }
    if let Some(padding) = &values.padding {
        file.element(0xFFFC, 0xFFFC, *b"OB", padding);
    }
    file
}

/// Tells whether a file is refused, or known to be cut.
fn is_seen(mut bytes: impl Read) -> bool {
    match header::read_whole(&mut bytes).unwrap() {
        Ok(header) => header.is_cut(bytes).unwrap(),
        Err(_) => true,
    }
}

proptest! {
    #[test]
    fn a_cut_anywhere_is_seen(values in values()) {
        let file = file(&values);
        prop_assert!(!is_seen(file.bytes.as_slice()), "it is whole");
        for at in 0..file.bytes.len() {
            // One byte behind the pixels may be padding: in big endian, padding as an element begins with no byte of its own.
            let is_one = values.encoding == Encoding::Big && at.checked_sub(1).is_some_and(|at| file.ends.contains(&at));
            let is_whole = file.ends.contains(&at);
            let seen = is_seen(&file.bytes[..at]);
            prop_assert!(seen || is_whole || is_one, "cut at {at} of {}: {values:?}", file.bytes.len());
            prop_assert!(!(seen && is_whole), "nothing is missing at {at}: {values:?}");
        }
    }
}

proptest! {
    #[test]
    fn what_stands_behind_a_whole_data_set_cuts_nothing(values in values(), length in 1..40_usize, deflates: bool) {
        let mut whole = file(&values).bytes;
        if deflates && values.encoding == Encoding::Little {
            whole = super::deflated(&whole);
        }
        for behind in [&vec![0; length][..], &vec![0xFF; length], b"\n", b"\r\n"] {
            let is_whole = !is_seen([&whole, behind].concat().as_slice());
            prop_assert!(is_whole, "{behind:?} behind {values:?}");
        }
    }
}

#[test]
fn a_file_that_was_never_written_to_its_end_is_called_cut() {
    for encoding in [Encoding::Implicit, Encoding::Little, Encoding::Big] {
        let mut file = File::new(encoding);
        file.element(0x0008, 0x0016, *b"UI", b"1.2.840.10008.5.1.4.1.1.7\0");
        file.element(0x0008, 0x0018, *b"UI", b"1.2.3.45");
        for zeros in 1..40 {
            let bytes = [file.bytes.as_slice(), &vec![0; zeros]].concat();
            let read = header::read_whole(bytes.as_slice()).unwrap();
            assert_eq!(read, Err(NotAnInstance::Cut), "{encoding:?} {zeros}");
        }
    }
}

/// An element larger than what any header has, and the rest of the file behind it.
fn long(group: u16, number: u16, length: u32) -> [Vec<u8>; 2] {
    let mut before = File::new(Encoding::Little);
    before.element(0x0008, 0x0016, *b"UI", b"1.2.840.10008.5.1.4.1.1.7\0");
    before.element(0x0008, 0x0018, *b"UI", b"1.2.3.45");
    let mut identity = File::new(Encoding::Little);
    identity.bytes.clear();
    identity.element(0x0020, 0x000D, *b"UI", b"1.2.");
    identity.element(0x0020, 0x000E, *b"UI", b"1.2.3.");
    let mut pixels = File::new(Encoding::Little);
    pixels.bytes.clear();
    pixels.element(0x7FE0, 0x0010, *b"OB", b"pixels");
    if group > 0x0020 {
        before.bytes.append(&mut identity.bytes);
    }
    before.head(group, number, *b"OB", length);
    identity.bytes.append(&mut pixels.bytes);
    [before.bytes, identity.bytes]
}

#[test]
fn a_value_longer_than_any_header_is_passed_by_and_its_end_looked_for() {
    const LONG: u32 = 80 << 20;
    for (group, number) in [(0x0009, 0x1001), (0x0042, 0x0011)] {
        let [before, behind] = long(group, number, LONG);
        let of = |length: u32| before.as_slice().chain(repeat(0).take(u64::from(length)));
        assert!(!is_seen(of(LONG).chain(behind.as_slice())));
        for length in [10 << 20, 70 << 20, LONG - 1] {
            assert!(is_seen(of(length)), "{length}");
        }
        assert!(is_seen(of(LONG).chain(&behind[..behind.len() - 1])));
        if group < 0x0020 {
            // Its identity stands behind it.
            let read = header::read_whole(of(70 << 20)).unwrap();
            assert_eq!(read, Err(NotAnInstance::Cut));
            let read = header::read_whole(of(LONG).chain(behind.as_slice())).unwrap();
            assert_eq!(read.unwrap().study, "1.2.");
        }
    }
}
