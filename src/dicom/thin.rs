//! A data set without its pixels and its long values: what is small enough to be described, and where the rest stands.
//!
//! A document of a gigabyte may stand in front of the pixels. It is passed over as it is read, so that memory does not grow with
//! it. A data set that is cut short is good up to the last whole element.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_object::StandardDataDictionary;
use flate2::read::DeflateDecoder;

use super::element::{self, Element, Encoding, Tag, Walk};
use super::header::InstanceHeader;

/// The longest value of bytes that is kept; longer ones are bulk data.
const LONGEST_BYTES: u32 = 4 << 10;
/// The longest text that is kept.
const LONGEST_TEXT: u32 = 1 << 20;
/// Bytes of a data set that are kept in all; an element without room is not described.
const MOST: usize = 16 << 20;
/// The longest value that is given back in another form than it has in the file, in bytes.
const LARGEST: usize = 64 << 20;
/// The depth to which sequences are looked into: real ones are a handful deep.
const DEEPEST: usize = 64;

/// The kept part of a data set.
pub(super) struct Thin {
    /// The encoding of the elements. Some files say one thing of their data set and do another.
    pub(super) encoding: Encoding,
    /// The elements that are kept, each as it stands in the data set, and each whole in all its lengths: a reader may
    /// believe these.
    pub(super) elements: Vec<Vec<u8>>,
    /// The elements whose values are too long.
    pub(super) long: Vec<(Tag, VR)>,
}

/// A value that is bulk data.
#[derive(Debug, PartialEq, Eq)]
pub enum Bulk {
    /// A value that lies in the file: the offset, and the number of bytes.
    Stretch(u64, u64),
    /// A value that stands in the file in another form.
    Bytes(Vec<u8>),
}

/// Hands on what is read, and keeps it where that is wanted.
struct Tee<'a, R> {
    from: R,
    kept: &'a RefCell<Vec<u8>>,
    keeps: &'a Cell<bool>,
    /// The number of bytes that are still kept; none where there was no room.
    room: &'a Cell<Option<usize>>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if self.keeps.get() {
            let room = self.room.get().and_then(|room| room.checked_sub(count));
            self.room.set(room);
            if room.is_some() {
                let read = buffer.get(..count).unwrap_or_default();
                self.kept.borrow_mut().extend_from_slice(read);
            }
        }
        Ok(count)
    }
}

/// Returns a data set as its elements stand: inflated, where it is deflated.
fn inflated<'a>(set: impl Read + 'a, header: &InstanceHeader) -> Box<dyn Read + 'a> {
    let set = io::BufReader::with_capacity(1 << 16, set);
    if header.is_deflated() {
        Box::new(DeflateDecoder::new(set))
    } else {
        Box::new(set)
    }
}

/// Returns the value representation of an element: its own, or the dictionary's.
fn vr(element: &Element) -> VR {
    let written = element.vr.and_then(VR::from_binary);
    let Tag(group, number) = element.tag;
    let known = || {
        let entry = StandardDataDictionary.by_tag(dicom_core::Tag(group, number));
        entry.map(|entry| entry.vr().relaxed())
    };
    written.or_else(known).unwrap_or(VR::UN)
}

/// Returns an element as the dictionary has it, where it is written as unknown, or without a representation among others that
/// have one: some programs do not know the attributes of others, and their values are meant all the same (PS3.5 §6.2.2).
fn known(bytes: Vec<u8>, element: &Element, encoding: Encoding) -> Vec<u8> {
    let Tag(group, number) = element.tag;
    let entry = StandardDataDictionary.by_tag(dicom_core::Tag(group, number));
    let vr = entry.map(|entry| entry.vr().relaxed().to_bytes());
    let length = element.length.and_then(|length| u16::try_from(length).ok());
    let head = match element.vr {
        Some([b'U', b'N']) => 12,
        None => 8,
        Some(_) => return bytes,
    };
    match (vr, length, bytes.split_at_checked(head)) {
        (Some(vr), Some(length), Some((head, value)))
            if encoding == Encoding::Little && element::is_short(vr) =>
        {
            let tag = head.get(..4).unwrap_or_default();
            [tag, &vr, &length.to_le_bytes(), value].concat()
        }
        _ => bytes,
    }
}

fn is_long(vr: VR, length: Option<u32>) -> bool {
    let most = match vr {
        // A sequence is described item by item.
        VR::SQ => return false,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => LONGEST_BYTES,
        _ => LONGEST_TEXT,
    };
    length.is_some_and(|length| length > most)
}

/// Reads what is kept of a data set, which begins where the header says: up to its pixels, its end, or what cannot be read.
pub(super) fn read(set: impl Read, header: &InstanceHeader) -> Thin {
    let (kept, keeps, room) = (RefCell::default(), Cell::new(true), Cell::new(None));
    let tee = Tee {
        from: inflated(set, header),
        kept: &kept,
        keeps: &keeps,
        room: &room,
    };
    let mut walk = Walk::new(tee, header.encoding(), u64::MAX);
    let (mut elements, mut long): (Vec<Vec<u8>>, _) = (Vec::new(), Vec::new());
    let (mut encoding, mut is_first, mut size) = (header.encoding(), true, 0);
    loop {
        room.set(Some(MOST.saturating_sub(size)));
        let Ok(Some(element)) = walk.element() else {
            break;
        };
        if element.tag.is_pixels() {
            break;
        }
        if std::mem::take(&mut is_first) && element.vr.is_none() {
            encoding = Encoding::Implicit;
        }
        let vr = vr(&element);
        let is_long = is_long(vr, element.length);
        keeps.set(!is_long);
        let is_whole = walk.skip(element).is_ok();
        keeps.set(true);
        let bytes = kept.take();
        if !is_whole {
            break;
        }
        if is_long {
            long.push((element.tag, vr));
        } else if room.get().is_some() {
            let bytes = known(bytes, &element, encoding);
            if is_sound(&bytes, encoding) {
                size += bytes.len();
                elements.push(bytes);
            }
        }
    }
    Thin {
        encoding,
        elements,
        long,
    }
}

/// Tells whether elements end where their lengths say, in sequences, too, however they are nested.
fn is_sound(elements: &[u8], encoding: Encoding) -> bool {
    let mut rest = elements;
    while !rest.is_empty() {
        let Some(behind) = sound(rest, encoding, 0) else {
            return false;
        };
        rest = behind;
    }
    true
}

/// Passes one element, an item or a delimiter, and returns the bytes behind it.
fn sound(from: &[u8], encoding: Encoding, depth: usize) -> Option<&[u8]> {
    if depth > DEEPEST {
        return None;
    }
    let (&[g0, g1, n0, n1], rest) = from.split_first_chunk::<4>()?;
    let (&next, mut rest) = rest.split_first_chunk::<4>()?;
    let [first, second, third, fourth] = next;
    let four = |bytes: [u8; 4]| match encoding {
        Encoding::Big => u32::from_be_bytes(bytes),
        Encoding::Implicit | Encoding::Little => u32::from_le_bytes(bytes),
    };
    let two = |bytes: [u8; 2]| match encoding {
        Encoding::Big => u16::from_be_bytes(bytes),
        Encoding::Implicit | Encoding::Little => u16::from_le_bytes(bytes),
    };
    let (group, number) = (two([g0, g1]), two([n0, n1]));
    let is_item = group == 0xFFFE;
    let (vr, length) = if is_item || encoding == Encoding::Implicit {
        let entry = StandardDataDictionary.by_tag(dicom_core::Tag(group, number));
        let vr = entry.map(|entry| entry.vr().relaxed().to_bytes());
        (vr.filter(|_| !is_item), four(next))
    } else if element::is_short([first, second]) {
        (Some([first, second]), u32::from(two([third, fourth])))
    } else {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        (Some([first, second]), four(*length))
    };
    // An unknown value of undefined length is a sequence without value representations.
    let inner = match (vr, length) {
        (Some([b'U', b'N']), u32::MAX) => Encoding::Implicit,
        _ => encoding,
    };
    if length != u32::MAX {
        let whole = vr.and_then(VR::from_binary).map_or(1, size);
        if !usize::try_from(length).ok()?.is_multiple_of(whole) {
            // A reader of whole numbers of this count goes on in the midst of the last one.
            return None;
        }
        let (value, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let mut value = if is_item || vr == Some(*b"SQ") {
            value
        } else {
            &[]
        };
        while !value.is_empty() {
            value = sound(value, inner, depth + 1)?;
        }
        return Some(behind);
    }
    loop {
        let end: [u8; 4] = *rest.first_chunk::<4>()?;
        let is_end = match inner {
            Encoding::Big => matches!(end, [0xFF, 0xFE, 0xE0, 0x0D | 0xDD]),
            Encoding::Implicit | Encoding::Little => matches!(end, [0xFE, 0xFF, 0x0D | 0xDD, 0xE0]),
        };
        rest = sound(rest, inner, depth + 1)?;
        if is_end {
            return Some(rest);
        }
    }
}

/// Finds the value of an element that stands in a data set itself, in a file of `size` bytes; none where it is not there, not
/// whole, or a sequence.
pub fn find(set: impl Read, header: &InstanceHeader, size: u64, tag: Tag) -> Option<Bulk> {
    let (kept, keeps) = (RefCell::default(), Cell::new(false));
    let room = Cell::new(Some(LARGEST));
    let tee = Tee {
        from: inflated(set, header),
        kept: &kept,
        keeps: &keeps,
        room: &room,
    };
    let mut walk = Walk::new(tee, header.encoding(), u64::MAX);
    while let Ok(Some(element)) = walk.element() {
        if element.tag != tag {
            if element.tag.is_pixels() || walk.skip(element).is_err() {
                break;
            }
            continue;
        }
        let (Some(length), vr) = (element.length, vr(&element)) else {
            break;
        };
        let is_as_meant = header.encoding() != Encoding::Big || unit(vr) == 1;
        if !header.is_deflated() && is_as_meant {
            let (at, length) = (header.begins + walk.at(), u64::from(length));
            let is_whole = at.saturating_add(length) <= size;
            return is_whole.then_some(Bulk::Stretch(at, length));
        }
        keeps.set(true);
        if walk.skip(element).is_err() || room.get().is_none() {
            break;
        }
        let mut bytes = kept.take();
        if !is_as_meant {
            // Bulk data is little endian, whatever the data set is.
            bytes.chunks_mut(unit(vr)).for_each(<[u8]>::reverse);
        }
        return Some(Bulk::Bytes(bytes));
    }
    None
}

/// Returns the number of bytes of each of the numbers of a value.
fn size(vr: VR) -> usize {
    match vr {
        VR::AT => 4,
        // Bytes and words are read as they are, whole or not.
        VR::OB | VR::OW | VR::OD | VR::OF | VR::OL | VR::OV | VR::UN => 1,
        vr => unit(vr),
    }
}

/// Returns the number of bytes of a value that change places where the order of bytes does.
fn unit(vr: VR) -> usize {
    match vr {
        VR::OW | VR::US | VR::SS | VR::AT => 2,
        VR::OF | VR::OL | VR::FL | VR::UL | VR::SL => 4,
        VR::OD | VR::OV | VR::FD | VR::UV | VR::SV => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{
        header,
        sample::{self, SampleInstance},
    };

    const DOCUMENT: Tag = Tag(0x0042, 0x0011);

    /// An instance with a document in front of its pixels.
    fn file(document: usize) -> (Vec<u8>, InstanceHeader) {
        let mut bytes = Vec::new();
        let sample = SampleInstance {
            study: "1.2",
            series: "1.2.3",
            instance: "1.2.3.4",
            modality: "DOC",
            name: "Rivera^Ana",
            patient: "p-1",
            date: "20240314",
            description: "Report",
            number: 1,
            rows: 1,
            columns: 2,
            frames: 1,
        };
        sample::write(&sample, &mut bytes).unwrap();
        let pixels = bytes.split_off(bytes.len() - 14);
        bytes.extend_from_slice(b"\x42\0\x11\0OB\0\0");
        bytes.extend_from_slice(&u32::try_from(document).unwrap().to_le_bytes());
        bytes.resize(bytes.len() + document, b'x');
        bytes.extend_from_slice(&pixels);
        let header = header::read(bytes.as_slice()).unwrap().unwrap();
        (bytes, header)
    }

    fn set<'a>(file: &'a [u8], header: &InstanceHeader) -> &'a [u8] {
        &file[usize::try_from(header.begins).unwrap()..]
    }

    fn document(file: &[u8], header: &InstanceHeader, tag: Tag) -> Option<Bulk> {
        find(set(file, header), header, file.len() as u64, tag)
    }

    #[test]
    fn long_values_are_found_and_not_kept() {
        let (short, header) = file(100);
        let thin = read(set(&short, &header), &header);
        assert_eq!(thin.long, []);
        let short = thin.elements.len();
        let (long, header) = file(10 << 20);
        let thin = read(set(&long, &header), &header);
        assert_eq!(thin.elements.len(), short - 1);
        assert_eq!(thin.long, [(DOCUMENT, VR::OB)]);
        assert!(thin.elements.iter().map(Vec::len).sum::<usize>() < 1_000);
        let Some(Bulk::Stretch(at, length)) = document(&long, &header, DOCUMENT) else {
            panic!("it stands in the file");
        };
        assert_eq!(length, 10 << 20);
        let at = usize::try_from(at).unwrap();
        assert_eq!(long[at - 4..][..5], [0, 0, 0xA0, 0, b'x']);
        assert_eq!(long[at + (10 << 20)..][..2], [0xE0, 0x7F]);
        assert_eq!(document(&long, &header, Tag(0x0042, 0x0012)), None);
    }

    #[test]
    fn lengths_that_lie_are_not_handed_on() {
        let item = |inner: &[u8]| {
            let mut item = b"\xFE\xFF\x00\xE0".to_vec();
            item.extend_from_slice(&u32::try_from(inner.len()).unwrap().to_le_bytes());
            item.extend_from_slice(inner);
            item
        };
        let sequence = |inner: &[u8]| {
            let mut sequence = b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF".to_vec();
            sequence.extend_from_slice(inner);
            sequence.extend_from_slice(b"\xFE\xFF\xDD\xE0\0\0\0\0");
            sequence
        };
        let good = sequence(&item(b"\x08\0\x60\0CS\x02\0CT"));
        assert!(is_sound(&good, Encoding::Little));
        assert!(is_sound(&sequence(&item(&good)), Encoding::Little));
        // A gigabyte inside of an item of a few bytes; an element without a representation; a sequence without its end.
        let lies = sequence(&item(b"\x08\0\x60\0OB\0\0\0\0\0\x40CT"));
        assert!(!is_sound(&lies, Encoding::Little));
        let bare = sequence(&item(b"\x08\0\x60\0\x02\0\0\0CT"));
        assert!(!is_sound(&bare, Encoding::Little));
        assert!(!is_sound(&good[..good.len() - 8], Encoding::Little));
        assert!(is_sound(b"\x08\0\x60\0\x02\0\0\0CT", Encoding::Implicit));
        assert!(is_sound(b"\0\x08\0\x60CS\0\x02CT", Encoding::Big));
        // Numbers that are not whole: half a number, and nothing of one.
        for odd in [
            &b"\x28\0\x10\0US\x03\0\x01\0\x02"[..],
            b"\x28\0\x09\0AT\x06\0\x18\0\x63\x10\x18\0",
            b"\x18\0\x50\0FD\x04\0\0\0\0\0",
        ] {
            assert!(!is_sound(odd, Encoding::Little), "{odd:?}");
            assert!(!is_sound(&sequence(&item(odd)), Encoding::Little));
        }
        let implicit = b"\x28\0\x10\0\x03\0\0\0\x01\0\x02";
        assert!(!is_sound(implicit, Encoding::Implicit));
        assert!(is_sound(
            b"\x28\0\x10\0US\x04\0\x01\0\x02\0",
            Encoding::Little
        ));
        assert!(is_sound(b"\x28\0\x10\0US\0\0", Encoding::Little));
        let deep = (0..200).fold(good, |inner, _| sequence(&item(&inner)));
        assert!(!is_sound(&deep, Encoding::Little));
    }

    #[test]
    fn what_is_cut_is_good_up_to_the_cut() {
        let (file, header) = file(10_000);
        let whole = read(set(&file, &header), &header);
        let file = &file[..file.len() - 5_000];
        let cut = read(set(file, &header), &header);
        assert_eq!(cut.elements, whole.elements);
        assert_eq!(cut.long, []);
        assert_eq!(document(file, &header, DOCUMENT), None);
    }
}
