//! The identity of an instance: its header, read up to the pixel data and never beyond.
//!
//! A file that cannot be stored is told with a reason. The store alone knows if it takes what is told here.

use std::io::{self, Cursor, Read};

use super::{
    element::{Element, Encoding, MARK, Tag, Walk, WalkStop},
    inflate::Inflated,
    rest,
};

/// Bytes of a file that [`read`] reads at most, and bytes that come out of a deflated one.
pub const LIMIT: u64 = 64 << 20;

/// Bytes that come out of a deflated data set at most where all of it is gone through: the longest pixels, and a header. A few
/// bytes inflate to any number.
const INFLATED: u64 = (4 << 30) + LIMIT;

/// The longest value that is read, in bytes: a UID has 64 signs, and a name of a modality 16.
const LONGEST: u32 = 128;

/// Stands for a UID that is longer: no UID itself.
const TOO_LONG: &str = "?";

/// Implicit VR little endian.
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Explicit VR little endian.
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Explicit VR little endian, deflated.
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR big endian.
pub const BIG: &str = "1.2.840.10008.1.2.2";
/// JPIP referenced, deflated: pixels stand elsewhere.
const JPIP_DEFLATED: &str = "1.2.840.10008.1.2.4.95";
/// The class of a directory of media.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// The identity and the encoding of an instance, as its header gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceHeader {
    /// The class.
    pub sop_class: String,
    /// The study.
    pub study: String,
    /// The series.
    pub series: String,
    /// The instance.
    pub instance: String,
    /// The modality; `None` where it is missing or empty.
    pub modality: Option<String>,
    /// The encoding of the data set and its pixels.
    pub transfer_syntax: String,
    /// True if the file begins with a preamble of 128 bytes.
    pub has_preamble: bool,
    /// The offset of the data set: behind the meta group.
    pub begins: u64,
    /// The end of the walk.
    pub end: End,
}

/// The place at which the reading of a header ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Before the value of the pixel data.
    Pixels {
        /// The place of that value; in bytes that are inflated already, where the data set is deflated.
        at: u64,
        /// Its length; `None` where the pixels are encapsulated.
        length: Option<u32>,
    },
    /// At the end of the file.
    File,
    /// In the midst of an element: bytes are missing behind the identity.
    Cut,
    /// At the limit of reading, or at an element that could not be read; the identity stands before it.
    Unread,
}

impl InstanceHeader {
    /// Returns how the elements of the data set are written.
    pub fn encoding(&self) -> Encoding {
        encoding(&self.transfer_syntax)
    }

    /// Tells whether the data set is deflated.
    pub fn is_deflated(&self) -> bool {
        is_deflated(&self.transfer_syntax)
    }

    /// Passes by what `from` gives, which begins where [`read_whole`] ended. Tells whether the file ends before its data set
    /// does. Bytes that are no elements tell nothing.
    pub fn is_cut(&self, from: impl Read) -> io::Result<bool> {
        match self.end {
            End::Cut => Ok(true),
            End::File | End::Unread => Ok(false),
            // That is known since it was inflated.
            End::Pixels { .. } if self.is_deflated() => Ok(false),
            End::Pixels { length, .. } => rest::is_cut(length, self.encoding(), from, u64::MAX),
        }
    }
}

/// The reason why a file holds no instance that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotAnInstance {
    /// No byte.
    #[error("no DICOM file: it is empty")]
    Empty,
    /// No mark, no meta group and no data set.
    #[error("no DICOM file")]
    NoDicom,
    /// A data set alone.
    #[error("a DICOM data set without its meta header (no Part-10 file)")]
    NoMeta,
    /// The meta group does not say how the data set is written.
    #[error("no TransferSyntaxUID (0002,0010) in the meta header")]
    NoTransferSyntax,
    /// A directory.
    #[error("a DICOMDIR: the directory of a medium, which is no instance")]
    Directory,
    /// The identity is cut off.
    #[error("the file ends before the identity of its instance is complete")]
    Cut,
    /// The identity is not among the bytes that are looked at.
    #[error("the identity of the instance stands too far from the beginning of the file")]
    TooLong,
    /// The elements cannot be read.
    #[error("the data set cannot be inflated")]
    Inflate,
    /// A part of the identity is missing, or empty.
    #[error("no {0}")]
    Missing(IdentityPart),
    /// A part of the identity cannot name anything in the path of a request.
    #[error(
        "its {0} cannot be used: more than 64 signs, or others than a UID has (digits and dots; letters, `-` and `_` are borne)"
    )]
    Unusable(IdentityPart),
}

/// A part of an instance's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityPart {
    /// The class.
    Class,
    /// The study.
    Study,
    /// The series.
    Series,
    /// The instance.
    Instance,
}

impl std::fmt::Display for IdentityPart {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Class => "SOPClassUID (0008,0016)",
            Self::Study => "StudyInstanceUID (0020,000D)",
            Self::Series => "SeriesInstanceUID (0020,000E)",
            Self::Instance => "SOPInstanceUID (0008,0018)",
        })
    }
}

/// The parts of the identity, as far as they were found.
#[derive(Default)]
struct Found {
    class: Option<String>,
    instance: Option<String>,
    study: Option<String>,
    series: Option<String>,
    modality: Option<String>,
}

impl Found {
    /// Tells whether all was found that names an instance.
    fn is_whole(&self) -> bool {
        [&self.class, &self.instance, &self.study, &self.series]
            .iter()
            .all(|part| part.is_some())
    }
}

/// The part of a file before the data set.
struct Meta {
    syntax: Option<String>,
    class: Option<String>,
    has_preamble: bool,
    /// The tag of the data set's first element, already read.
    first: Option<[u8; 4]>,
    at: u64,
}

/// Reads a header, and gives up at [`LIMIT`]. The outer error is one of reading; the inner says why the file holds no instance to
/// store.
pub fn read(from: impl Read) -> io::Result<Result<InstanceHeader, NotAnInstance>> {
    read_as(from, false)
}

/// As [`read`], however long the values before the pixels are: they pass by, so that a file which ends within one of them is known
/// to be cut. Of a deflated data set, the rest is inflated as well, so that one which is cut ends so.
pub fn read_whole(from: impl Read) -> io::Result<Result<InstanceHeader, NotAnInstance>> {
    read_as(from, true)
}

fn read_as(
    mut from: impl Read,
    is_whole: bool,
) -> io::Result<Result<InstanceHeader, NotAnInstance>> {
    let mut start = Vec::with_capacity(132);
    from.by_ref().take(132).read_to_end(&mut start)?;
    let skipped = match before(&start) {
        Ok(skipped) => skipped,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let rest = start.get(skipped..).unwrap_or_default();
    let mut from = Cursor::new(rest).chain(from);
    let limit = if is_whole { u64::MAX } else { LIMIT };
    let meta = match meta(&mut from, skipped, limit) {
        Ok(meta) => meta,
        Err(WalkStop::Read(error)) => return Err(error),
        Err(WalkStop::Cut) => return Ok(Err(NotAnInstance::Cut)),
        Err(WalkStop::Limit) => return Ok(Err(NotAnInstance::TooLong)),
    };
    if meta.class.as_deref() == Some(DIRECTORY) {
        return Ok(Err(NotAnInstance::Directory));
    }
    let Some(syntax) = meta.syntax.filter(|syntax| !syntax.is_empty()) else {
        return Ok(Err(NotAnInstance::NoTransferSyntax));
    };
    let first = meta.first.unwrap_or_default();
    let first = Cursor::new(first.get(..meta.first.map_or(0, |_| 4)).unwrap_or_default());
    let mut found = Found::default();
    let is_deflated = is_deflated(&syntax);
    let (end, at, is_padded) = if is_deflated {
        let mut rest = Inflated::new(first.chain(from));
        let (end, at, is_padded) = walk(
            &mut rest,
            encoding(&syntax),
            std::cmp::min(limit, INFLATED),
            &mut found,
        );
        match end {
            Ok(Some(pixels))
                if is_whole && is_deflated_cut(&mut rest, encoding(&syntax), pixels)? =>
            {
                (Err(WalkStop::Cut), at, false)
            }
            end => (end, at, is_padded),
        }
    } else {
        walk(first.chain(from), encoding(&syntax), limit, &mut found)
    };
    let before = if is_deflated { 0 } else { meta.at };
    let (end, why) = match end {
        Ok(Some(pixels)) => {
            let (at, length) = (before + at, pixels.length);
            (End::Pixels { at, length }, None)
        }
        // Zeros where the identity should stand are what was never written.
        Ok(None) => (End::File, is_padded.then_some(NotAnInstance::Cut)),
        Err(WalkStop::Cut) => (End::Cut, Some(NotAnInstance::Cut)),
        Err(WalkStop::Limit) => (End::Unread, Some(NotAnInstance::TooLong)),
        // A stream that is no deflated one is an error of its bytes, not of reading.
        Err(WalkStop::Read(error))
            if is_deflated && error.kind() == io::ErrorKind::UnexpectedEof =>
        {
            (End::Cut, Some(NotAnInstance::Cut))
        }
        Err(WalkStop::Read(error))
            if is_deflated && error.kind() == io::ErrorKind::InvalidInput =>
        {
            (End::Unread, Some(NotAnInstance::Inflate))
        }
        Err(WalkStop::Read(error)) => return Err(error),
    };
    let part = |value: Option<String>, part: IdentityPart| match value {
        Some(value) if is_uid(&value) => Ok(value),
        Some(value) if !value.is_empty() => Err(NotAnInstance::Unusable(part)),
        _ => Err(why.unwrap_or(NotAnInstance::Missing(part))),
    };
    let identity = || {
        Ok(InstanceHeader {
            sop_class: part(found.class, IdentityPart::Class)?,
            study: part(found.study, IdentityPart::Study)?,
            series: part(found.series, IdentityPart::Series)?,
            instance: part(found.instance, IdentityPart::Instance)?,
            modality: found.modality.filter(|modality| !modality.is_empty()),
            transfer_syntax: syntax,
            has_preamble: meta.has_preamble,
            begins: meta.at,
            end,
        })
    };
    Ok(identity())
}

/// Inflates the rest of a data set from its pixels on, and tells whether it ends early. One that cannot be inflated is not judged,
/// nor is one that grows beyond its pixels by more than any header has.
fn is_deflated_cut(rest: &mut impl Read, encoding: Encoding, pixels: Element) -> io::Result<bool> {
    let most = u64::from(pixels.length.unwrap_or(0)) + LIMIT;
    let mut rest = rest.take(most);
    let is_cut = rest::is_cut(pixels.length, encoding, &mut rest, most);
    // Behind what are no elements the stream goes on to its own end.
    let end = is_cut.and_then(|is_cut| Ok((is_cut, io::copy(&mut rest, &mut io::sink())?)));
    match end {
        Ok((is_cut, _)) => Ok(is_cut),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the name of a transfer syntax (PS3.6, table A-1); its UID where it has none here.
pub fn transfer_syntax(uid: &str) -> &str {
    match uid {
        IMPLICIT => "Implicit VR Little Endian",
        EXPLICIT => "Explicit VR Little Endian",
        BIG => "Explicit VR Big Endian",
        DEFLATED => "Deflated Explicit VR Little Endian",
        "1.2.840.10008.1.2.4.50" => "JPEG Baseline",
        "1.2.840.10008.1.2.4.51" => "JPEG Extended",
        "1.2.840.10008.1.2.4.57" => "JPEG Lossless",
        "1.2.840.10008.1.2.4.70" => "JPEG Lossless SV1",
        "1.2.840.10008.1.2.4.80" => "JPEG-LS Lossless",
        "1.2.840.10008.1.2.4.81" => "JPEG-LS Near-Lossless",
        "1.2.840.10008.1.2.4.90" => "JPEG 2000 Lossless",
        "1.2.840.10008.1.2.4.91" => "JPEG 2000",
        "1.2.840.10008.1.2.4.201" => "HTJ2K Lossless",
        "1.2.840.10008.1.2.4.202" => "HTJ2K Lossless RPCL",
        "1.2.840.10008.1.2.4.203" => "HTJ2K",
        "1.2.840.10008.1.2.5" => "RLE Lossless",
        other => other,
    }
}

fn encoding(syntax: &str) -> Encoding {
    match syntax {
        IMPLICIT => Encoding::Implicit,
        BIG => Encoding::Big,
        _ => Encoding::Little,
    }
}

fn is_deflated(syntax: &str) -> bool {
    // 1.2.840.10008.1.2.8.1 (deflated image frames) deflates its frames, not its data set.
    matches!(syntax, DEFLATED | JPIP_DEFLATED)
}

/// Tells whether a value can name an instance in the path of a request. Old programs write leading zeros, and some that take
/// names away write hexadecimal digits: both are borne, and a store may refuse them.
pub fn is_uid(value: &str) -> bool {
    let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || matches!(sign, b'.' | b'-' | b'_');
    (1..=64).contains(&value.len())
        && value.bytes().all(is_sign)
        && value.bytes().any(|sign| sign != b'.')
}

/// Tells how many of the first bytes stand before the meta group: a preamble and its mark, the mark alone, or nothing.
fn before(start: &[u8]) -> Result<usize, NotAnInstance> {
    if start.is_empty() {
        Err(NotAnInstance::Empty)
    } else if start.get(128..132) == Some(MARK) {
        Ok(132)
    } else if start.starts_with(MARK) {
        Ok(4)
    } else if start.starts_with(&[2, 0]) && super::looks_like(start) {
        Ok(0)
    } else if super::looks_like(start) {
        Err(NotAnInstance::NoMeta)
    } else {
        Err(NotAnInstance::NoDicom)
    }
}

fn meta(from: &mut impl Read, skipped: usize, limit: u64) -> Result<Meta, WalkStop> {
    let mut walk = Walk::new(from, Encoding::Little, limit);
    let mut meta = Meta {
        syntax: None,
        class: None,
        has_preamble: skipped > 4,
        first: None,
        at: 0,
    };
    // The group's own length is often missing or wrong, so its elements tell where it ends.
    loop {
        let before = walk.at();
        let Some(tag) = walk.tag()? else { break };
        if !tag.starts_with(&[2, 0]) {
            meta.first = Some(tag);
            meta.at = skipped as u64 + before;
            break;
        }
        let element = walk.behind(tag)?;
        match element.tag {
            Tag::TRANSFER_SYNTAX => meta.syntax = walk.text(element, LONGEST)?,
            Tag::MEDIA_CLASS => meta.class = walk.text(element, LONGEST)?,
            _ => walk.skip(element)?,
        }
    }
    Ok(meta)
}

/// Walks a data set up to its pixels, and returns their element, how far it came, and whether it ended in zeros.
fn walk(
    from: impl Read,
    encoding: Encoding,
    limit: u64,
    found: &mut Found,
) -> (Result<Option<Element>, WalkStop>, u64, bool) {
    let mut walk = Walk::new(from, encoding, limit);
    let mut last = Tag(0, 0);
    let end = match elements(&mut walk, found, &mut last) {
        // It stands behind a data set that is whole, as far as anything tells.
        Err(WalkStop::Cut) if found.is_whole() && walk.is_other(last) => Ok(None),
        end => end,
    };
    (end, walk.at(), walk.is_padded())
}

/// Goes through the elements before the pixels; `last` becomes the tag before the latest one.
fn elements<R: Read>(
    walk: &mut Walk<R>,
    found: &mut Found,
    last: &mut Tag,
) -> Result<Option<Element>, WalkStop> {
    let mut latest = *last;
    loop {
        *last = latest;
        let Some(element) = walk.element()? else {
            return Ok(None);
        };
        latest = element.tag;
        if element.tag.is_pixels() {
            return Ok(Some(element));
        }
        let place = match element.tag {
            Tag::SOP_CLASS => &mut found.class,
            Tag::SOP_INSTANCE => &mut found.instance,
            Tag::MODALITY => &mut found.modality,
            Tag::STUDY => &mut found.study,
            Tag::SERIES => &mut found.series,
            _ => {
                walk.skip(element)?;
                continue;
            }
        };
        *place = walk.text(element, LONGEST)?;
        // A value that is longer is there, and is none that could be used.
        if place.is_none() && element.tag != Tag::MODALITY {
            *place = Some(TOO_LONG.to_owned());
        }
    }
}
