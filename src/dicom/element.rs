//! The elements of a data set, one after the other, in any of DICOM's encodings.
//!
//! Sequences of undefined length are walked without a stack, so that depth costs nothing; all other values are skipped or
//! read by who asks. Memory is never taken because a length says so.

use std::io::{self, Read};

/// The mark of a Part-10 file, behind its preamble.
pub const MARK: &[u8] = b"DICM";

/// The length that stands for an undefined one.
const UNDEFINED: u32 = u32::MAX;

/// Group and element number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u16, pub u16);

impl Tag {
    /// `TransferSyntaxUID`.
    pub const TRANSFER_SYNTAX: Self = Self(0x0002, 0x0010);
    /// `MediaStorageSOPClassUID`.
    pub const MEDIA_CLASS: Self = Self(0x0002, 0x0002);
    /// `SOPClassUID`.
    pub const SOP_CLASS: Self = Self(0x0008, 0x0016);
    /// `SOPInstanceUID`.
    pub const SOP_INSTANCE: Self = Self(0x0008, 0x0018);
    /// `Modality`.
    pub const MODALITY: Self = Self(0x0008, 0x0060);
    /// `StudyInstanceUID`.
    pub const STUDY: Self = Self(0x0020, 0x000D);
    /// `SeriesInstanceUID`.
    pub const SERIES: Self = Self(0x0020, 0x000E);

    const ITEM_END: Self = Self(0xFFFE, 0xE00D);
    const SEQUENCE_END: Self = Self(0xFFFE, 0xE0DD);

    /// Tells whether the element holds pixels: as integers, floats or doubles.
    pub fn is_pixels(self) -> bool {
        self.0 == 0x7FE0 && matches!(self.1, 0x0008..=0x0010)
    }
}

/// The encoding of the elements of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Without value representations, little endian.
    Implicit,
    /// With value representations, little endian. All other transfer syntaxes, private ones too, write their data set so.
    Little,
    /// With value representations, big endian.
    Big,
}

/// The reason why a walk ends early.
#[derive(Debug)]
pub enum WalkStop {
    /// The bytes end inside an element.
    Cut,
    /// More bytes would have to be read than allowed.
    Limit,
    /// Reading failed.
    Read(io::Error),
}

/// An element whose value has not been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation, where the encoding has one.
    pub vr: Option<[u8; 2]>,
    /// The length of its value; `None` where that is undefined.
    pub length: Option<u32>,
}

/// The number of bytes that are passed by in one piece: a page or two, as a buffered reader has.
const PASSED: usize = 8192;

/// Goes through elements.
#[derive(Debug)]
pub struct Walk<R> {
    from: R,
    /// The number of bytes read.
    at: u64,
    /// The number of bytes that may be read in all.
    limit: u64,
    encoding: Encoding,
    /// The bytes that were passed by last, kept for the next ones: most values are short, and a header has many.
    passed: Vec<u8>,
    /// The bytes of the latest tag that is in no other element, and how many were there.
    latest: ([u8; 4], usize),
    /// All bytes since the last element that says anything are zero.
    is_padded: bool,
}

impl<R: Read> Walk<R> {
    /// Begins at the next byte; `limit` bytes are read at most.
    pub fn new(from: R, encoding: Encoding, limit: u64) -> Self {
        Self {
            from,
            at: 0,
            limit,
            encoding,
            passed: Vec::new(),
            latest: ([0; 4], 0),
            is_padded: false,
        }
    }

    /// Returns how many bytes have been read.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Fills a buffer as far as there are bytes, and returns how many there were.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, WalkStop> {
        if self.at.saturating_add(buffer.len() as u64) > self.limit {
            return Err(WalkStop::Limit);
        }
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WalkStop::Read(error)),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], WalkStop> {
        let mut buffer = [0; N];
        let filled = self.fill(&mut buffer)?;
        if filled < N {
            Err(WalkStop::Cut)
        } else {
            Ok(buffer)
        }
    }

    fn short(&self, bytes: [u8; 2]) -> u16 {
        match self.encoding {
            Encoding::Big => u16::from_be_bytes(bytes),
            Encoding::Implicit | Encoding::Little => u16::from_le_bytes(bytes),
        }
    }

    fn long(&self, bytes: [u8; 4]) -> u32 {
        match self.encoding {
            Encoding::Big => u32::from_be_bytes(bytes),
            Encoding::Implicit | Encoding::Little => u32::from_le_bytes(bytes),
        }
    }

    /// Reads the bytes of the next tag; `None` at the end of all bytes.
    pub(super) fn tag(&mut self) -> Result<Option<[u8; 4]>, WalkStop> {
        match self.part_of_tag()? {
            (_, 0) => Ok(None),
            (tag, 4) => Ok(Some(tag)),
            _ => Err(WalkStop::Cut),
        }
    }

    /// Reads the bytes of the next tag as far as they are there, and tells how many are.
    pub(super) fn part_of_tag(&mut self) -> Result<([u8; 4], usize), WalkStop> {
        let mut tag = [0; 4];
        let count = self.fill(&mut tag)?;
        Ok((tag, count))
    }

    /// Reads the head of the next element; `None` at the end of the bytes. Zeros up to there are padding, however many they are.
    pub fn element(&mut self) -> Result<Option<Element>, WalkStop> {
        const ZEROS: [u8; 4] = [0; 4];
        let (tag, count) = self.part_of_tag()?;
        self.latest = (tag, count);
        if count == 0 {
            return Ok(None);
        }
        if tag != ZEROS {
            self.is_padded = false;
            return if count < 4 {
                Err(WalkStop::Cut)
            } else {
                self.behind(tag).map(Some)
            };
        }
        self.is_padded = true;
        if count < 4 {
            return Ok(None);
        }
        let (four, count) = self.part_of_tag()?;
        self.is_padded = four == ZEROS;
        match (count, self.is_padded) {
            (4, _) => self.behind_four(tag, four).map(Some),
            (_, true) => Ok(None),
            (_, false) => Err(WalkStop::Cut),
        }
    }

    /// Tells whether the bytes ended in zeros that are no element.
    pub(super) fn is_padded(&self) -> bool {
        self.is_padded
    }

    /// Tells whether the latest bytes were no element, as far as they tell: elements stand in the order of their tags.
    pub(super) fn is_other(&self, last: Tag) -> bool {
        let (bytes, count) = self.latest;
        let tag = self.tag_of(bytes);
        match (bytes, count) {
            ([0xFF | b'\n', ..], 1) | ([b'\r', b'\n', ..], 2) => true,
            (_, 0 | 1) => false,
            (_, 2 | 3) => tag.0 < last.0 || tag.0 == 0xFFFF,
            _ => tag <= last || tag.0 >= 0xFFFE,
        }
    }

    /// Returns the tag of these bytes.
    pub(super) fn tag_of(&self, [g, h, e, f]: [u8; 4]) -> Tag {
        Tag(self.short([g, h]), self.short([e, f]))
    }

    /// Reads the rest of the head of an element whose tag's bytes are already read.
    pub(super) fn behind(&mut self, tag: [u8; 4]) -> Result<Element, WalkStop> {
        let four = self.exact::<4>()?;
        self.behind_four(tag, four)
    }

    fn behind_four(&mut self, tag: [u8; 4], four: [u8; 4]) -> Result<Element, WalkStop> {
        let tag = self.tag_of(tag);
        let [first, second, third, fourth] = four;
        // Some programs write elements without a representation in the midst of others.
        let is_bare = !first.is_ascii_uppercase() || !second.is_ascii_uppercase();
        let (vr, length) = if self.encoding == Encoding::Implicit || tag.0 == 0xFFFE || is_bare {
            (None, self.long(four))
        } else if is_short([first, second]) {
            (
                Some([first, second]),
                u32::from(self.short([third, fourth])),
            )
        } else {
            let length = self.exact::<4>()?;
            (Some([first, second]), self.long(length))
        };
        Ok(Element {
            tag,
            vr,
            length: (length != UNDEFINED).then_some(length),
        })
    }

    /// Reads the value of an element as text, if it is not longer than `most`; longer ones are skipped.
    pub fn text(&mut self, element: Element, most: u32) -> Result<Option<String>, WalkStop> {
        let Some(length) = element.length.filter(|length| *length <= most) else {
            self.skip(element)?;
            return Ok(None);
        };
        let mut value = vec![0; length as usize];
        if self.fill(&mut value)? < value.len() {
            return Err(WalkStop::Cut);
        }
        let text = String::from_utf8_lossy(&value);
        let text = text.trim_matches(|sign: char| sign == '\0' || sign.is_whitespace());
        Ok(Some(text.to_owned()))
    }

    /// Skips the value of an element.
    pub fn skip(&mut self, element: Element) -> Result<(), WalkStop> {
        if let Some(length) = element.length {
            return self.pass(u64::from(length));
        }
        // An unknown value of undefined length is a sequence without value representations.
        let (outer, latest) = (self.encoding, self.latest);
        if element.vr == Some(*b"UN") {
            self.encoding = Encoding::Implicit;
        }
        let skipped = self.skip_nested();
        (self.encoding, self.latest) = (outer, latest);
        skipped
    }

    fn skip_nested(&mut self) -> Result<(), WalkStop> {
        let mut depth = 1_u64;
        // The depth at which an unknown value began, and how elements are written around it.
        let mut unknown: Option<(u64, Encoding)> = None;
        while depth > 0 {
            let element = self.element()?.ok_or(WalkStop::Cut)?;
            match (element.tag, element.length) {
                (Tag::ITEM_END | Tag::SEQUENCE_END, _) => {
                    depth -= 1;
                    if let Some((_, outer)) = unknown.filter(|(at, _)| *at == depth) {
                        self.encoding = outer;
                        unknown = None;
                    }
                }
                (_, Some(length)) => self.pass(u64::from(length))?,
                (_, None) => {
                    if element.vr == Some(*b"UN") && unknown.is_none() {
                        unknown = Some((depth, self.encoding));
                        self.encoding = Encoding::Implicit;
                    }
                    depth += 1;
                }
            }
        }
        Ok(())
    }

    fn pass(&mut self, count: u64) -> Result<(), WalkStop> {
        let mut passed = std::mem::take(&mut self.passed);
        let end = self.pass_into(&mut passed, count);
        self.passed = passed;
        end
    }

    fn pass_into(&mut self, passed: &mut Vec<u8>, mut count: u64) -> Result<(), WalkStop> {
        while count > 0 {
            let want = usize::try_from(count).map_or(PASSED, |count| count.min(PASSED));
            if passed.len() < want {
                passed.resize(want, 0);
            }
            let part = passed.get_mut(..want).unwrap_or_default();
            if self.fill(part)? < want {
                return Err(WalkStop::Cut);
            }
            count -= want as u64;
        }
        Ok(())
    }
}

/// Tells whether a value representation has a length of two bytes. One that is not known has four, as the standard wants of
/// all that come later.
pub fn is_short(vr: [u8; 2]) -> bool {
    const SHORT: &[&[u8; 2]] = &[
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    ];
    SHORT.contains(&&vr)
}
