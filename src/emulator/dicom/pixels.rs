//! Frames and bulk data: bytes out of the midst of an instance, as they stand there.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

use super::super::app::App;
use super::super::files;
use super::super::reply::Refusal;
use super::response::not_acceptable;
use super::response::{self, Content, Part};
use super::rows::Instance;
use crate::dicom::element::Tag;
use crate::dicom::header::{self, End};
use crate::dicom::thin::{self, Bulk};

/// Bytes of an instance that are taken into memory for one answer at most, where the file's own bytes cannot be
/// answered as they are.
const LARGEST: u64 = 64 << 20;

/// Answers frames by their numbers, from 1.
pub(super) async fn frames(
    app: &App,
    instance: Instance,
    numbers: &str,
    headers: &HeaderMap,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    let wanted: Option<Vec<usize>> = numbers
        .split(',')
        .map(|number| number.trim().parse().ok().filter(|number| *number > 0))
        .collect();
    let wanted = wanted
        .ok_or_else(|| Refusal::google(StatusCode::BAD_REQUEST, "frames are numbers from 1"))?;
    let takes = response::accepted(headers);
    let is_taken = takes.is_empty()
        || takes.iter().any(|accepted| {
            let syntax = accepted.transfer_syntax.as_deref();
            let fits = match syntax {
                Some("*") => true,
                Some(syntax) => syntax == instance.syntax,
                None => {
                    is_native(&instance.syntax)
                        || accepted.part.as_deref() == Some(media(&instance.syntax))
                }
            };
            fits && matches!(
                accepted.media.as_str(),
                "multipart/related" | "*/*" | "multipart/*" | "application/octet-stream"
            )
        });
    if !is_taken {
        return Err(not_acceptable(
            "the local store gives frames as they are stored: Accept: multipart/related; type=\"application/octet-stream\"; transfer-syntax=*",
        ));
    }
    let path = files::path(&files::folder(app), &instance.file);
    let set = instance.set()?;
    let read = tokio::task::spawn_blocking(move || read_frames(&path, &Shape::of(&set), &wanted));
    let frames = read.await.map_err(|_| unreadable())??;
    let url = instance.url(base);
    let kind = media(&instance.syntax);
    let parts = frames.into_iter().map(|(number, content)| Part {
        media: format!("{kind}; transfer-syntax={}", instance.syntax),
        location: Some(format!("{url}/frames/{number}")),
        content,
    });
    Ok(response::multipart(kind, parts.collect()))
}

/// Answers the value of an element that stands in the data set itself.
pub(super) async fn bulkdata(
    app: &App,
    instance: Instance,
    tag: &str,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    let missing = || Refusal::google(StatusCode::NOT_FOUND, "the instance has no such bulk data");
    let digits = tag.len() == 8 && tag.bytes().all(|sign| sign.is_ascii_hexdigit());
    let number = digits.then(|| u32::from_str_radix(tag, 16).ok()).flatten();
    let [a, b, c, d] = number.ok_or_else(missing)?.to_be_bytes();
    let wanted = Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let path = files::path(&files::folder(app), &instance.file);
    let content = tokio::task::spawn_blocking(move || {
        let mut file = fs_err::File::open(&path)?;
        let size = file.metadata()?.len();
        let Ok(header) = header::read_whole(io::BufReader::new(&file))? else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(header.begins))?;
        let found = thin::find(file, &header, size, wanted);
        Ok(found.map(|bulk| match bulk {
            Bulk::Stretch(at, length) => Content::File(path, vec![(at, length)]),
            Bulk::Bytes(bytes) => Content::Bytes(Bytes::from(bytes)),
        }))
    });
    let content = content.await.map_err(|_| unreadable())?;
    let content = content.map_err(|error: io::Error| files::failed(&error))?;
    let part = Part {
        media: "application/octet-stream".to_owned(),
        location: Some(format!("{}/bulkdata/{tag}", instance.url(base))),
        content: content.ok_or_else(missing)?,
    };
    Ok(response::multipart("application/octet-stream", vec![part]))
}

/// Returns the refusal for an instance whose bytes cannot be read.
pub(super) fn unreadable() -> Refusal {
    Refusal::google(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the local store could not read an instance",
    )
}

fn is_native(syntax: &str) -> bool {
    matches!(
        syntax,
        header::IMPLICIT | header::EXPLICIT | header::BIG | header::DEFLATED
    )
}

/// Returns the media type of a frame (PS3.18 table 8.7.3-2).
fn media(syntax: &str) -> &'static str {
    match syntax.strip_prefix("1.2.840.10008.1.2.") {
        Some("4.50" | "4.51" | "4.57" | "4.70") => "image/jpeg",
        Some("4.80" | "4.81") => "image/jls",
        Some("4.90" | "4.91") => "image/jp2",
        Some("4.92" | "4.93") => "image/jpx",
        Some("4.201" | "4.202" | "4.203") => "image/jphc",
        Some("5") => "image/dicom-rle",
        Some("4.100" | "4.101") => "video/mpeg2",
        Some("4.102" | "4.103" | "4.104" | "4.105" | "4.106") => "video/mp4",
        _ => "application/octet-stream",
    }
}

/// The shape of pixels, as far as cutting frames out of them needs it.
struct Shape {
    frames: usize,
    /// Bits of one frame that is not compressed; none where the data set does not say it.
    bits: Option<u64>,
}

impl Shape {
    fn of(set: &Map<String, Value>) -> Self {
        let value = |tag: &str| Some(&set.get(tag)?["Value"][0]);
        let number = |tag: &str| {
            let value = value(tag)?;
            value
                .as_u64()
                .or_else(|| value.as_str()?.trim().parse().ok())
        };
        let frames = number("00280008").unwrap_or(1).max(1);
        let samples = number("00280002").unwrap_or(1);
        let kind = value("00280004").and_then(Value::as_str);
        // Two pixels share their colours here (PS3.3 §C.7.6.3.1.2).
        let is_shared = matches!(kind, Some("YBR_FULL_422" | "YBR_PARTIAL_422"));
        let samples = if is_shared && samples == 3 {
            2
        } else {
            samples
        };
        let bits = || {
            number("00280010")?
                .checked_mul(number("00280011")?)?
                .checked_mul(samples)?
                .checked_mul(number("00280100").unwrap_or(8))
        };
        Self {
            frames: usize::try_from(frames).unwrap_or(usize::MAX),
            bits: bits().filter(|bits| *bits > 0),
        }
    }
}

/// Finds frames: numbers, and where the bytes of each stand.
fn read_frames(
    path: &Path,
    shape: &Shape,
    wanted: &[usize],
) -> Result<Vec<(usize, Content)>, Refusal> {
    let failed = |error: io::Error| files::failed(&error);
    let mut file = fs_err::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let header = header::read_whole(io::BufReader::new(&mut file)).map_err(failed)?;
    let no_pixels = || Refusal::google(StatusCode::NOT_FOUND, "the instance has no pixels");
    let Ok(header) = header else {
        return Err(no_pixels());
    };
    let End::Pixels { at, length } = header.end else {
        return Err(no_pixels());
    };
    if header.is_deflated() {
        return Err(not_acceptable("the local store inflates no pixels"));
    }
    let missing = || Refusal::google(StatusCode::NOT_FOUND, "the instance has no such frame");
    if wanted.iter().any(|number| *number > shape.frames) {
        return Err(missing());
    }
    let Some(length) = length else {
        let (table, fragments) = fragments(&mut file, at, size).map_err(failed)?;
        let frame = |number: &usize| {
            let frame = encapsulated(&table, &fragments, shape.frames, *number)?;
            Some((*number, Content::File(path.to_owned(), frame)))
        };
        return wanted
            .iter()
            .map(|n| frame(n).ok_or_else(missing))
            .collect();
    };
    let bits = shape.bits.ok_or_else(no_pixels)?;
    // Bytes that are not there are in no frame.
    let end = size.min(at.saturating_add(u64::from(length)));
    wanted
        .iter()
        .map(|number| {
            let first = bits.checked_mul(*number as u64 - 1);
            let last = first.and_then(|first| first.checked_add(bits));
            let (first, last) = first.zip(last).ok_or_else(missing)?;
            let (from, to) = (at + first / 8, at.saturating_add(last.div_ceil(8)));
            if to > end {
                return Err(missing());
            }
            if first.is_multiple_of(8) {
                let stretch = vec![(from, to - from)];
                return Ok((*number, Content::File(path.to_owned(), stretch)));
            }
            // Pixels of one bit are packed over the edges of frames (PS3.5 §8.1.1), from the lowest bit of a byte on.
            if to - from > LARGEST {
                return Err(not_acceptable("the frame is too large to be cut out"));
            }
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            (&mut file)
                .take(to - from)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            let frame = Content::Bytes(Bytes::from(shifted(&bytes, first % 8, bits)));
            Ok((*number, frame))
        })
        .collect()
}

/// Returns `bits` bits, from a bit of the first byte on.
fn shifted(bytes: &[u8], by: u64, bits: u64) -> Vec<u8> {
    let next = bytes.iter().skip(1).chain([&0]);
    let pairs = bytes.iter().zip(next);
    let shifted = pairs.map(|(low, high)| {
        let [shifted, _] = (u16::from_le_bytes([*low, *high]) >> by).to_le_bytes();
        shifted
    });
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let mut shifted: Vec<u8> = shifted.take(length).collect();
    if let Some(last) = shifted.last_mut().filter(|_| !bits.is_multiple_of(8)) {
        // The bits behind belong to the next frame.
        *last &= (1 << (bits % 8)) - 1;
    }
    shifted
}

/// A fragment of encapsulated pixels: its offset behind the table of offsets (`place`), the offset of its bytes in the
/// file (`at`), and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragment {
    place: u64,
    at: u64,
    length: u64,
}

/// Reads the table of offsets, and the fragments that are whole in the file.
fn fragments(
    file: &mut (impl io::Read + io::Seek),
    at: u64,
    size: u64,
) -> io::Result<(Vec<u8>, Vec<Fragment>)> {
    let mut fragments = Vec::new();
    let mut table = None;
    let mut at = at;
    // The offset at which the first fragment begins.
    let mut begin = 0;
    loop {
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        if file.read_exact(&mut head).is_err() {
            break;
        }
        let [g0, g1, e0, e1, l0, l1, l2, l3] = head;
        if [g0, g1, e0, e1] != [0xFE, 0xFF, 0x00, 0xE0] {
            break;
        }
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        let value = at + 8;
        if value + length > size {
            break;
        }
        if table.is_none() {
            if length > LARGEST {
                return Err(io::Error::other("its table of offsets is too long"));
            }
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            table = Some(bytes);
            begin = value + length;
        } else {
            fragments.push(Fragment {
                place: at - begin,
                at: value,
                length,
            });
        }
        at = value + length;
    }
    Ok((table.unwrap_or_default(), fragments))
}

/// Joins fragments to a frame: one for each frame, or by the table of offsets (PS3.5 §A.4).
fn encapsulated(
    table: &[u8],
    fragments: &[Fragment],
    count: usize,
    number: usize,
) -> Option<Vec<(u64, u64)>> {
    let stretch = |fragment: &Fragment| (fragment.at, fragment.length);
    let index = number.checked_sub(1)?;
    if fragments.len() == count {
        return Some(vec![stretch(fragments.get(index)?)]);
    }
    if count == 1 {
        return Some(fragments.iter().map(stretch).collect())
            .filter(|all: &Vec<_>| !all.is_empty());
    }
    let offsets: Vec<u64> = table
        .chunks_exact(4)
        .filter_map(|four| Some(u64::from(u32::from_le_bytes(four.try_into().ok()?))))
        .collect();
    if offsets.len() != count {
        return None;
    }
    let start = *offsets.get(index)?;
    let end = offsets.get(index + 1).copied().unwrap_or(u64::MAX);
    let of = fragments
        .iter()
        .filter(|fragment| (start..end).contains(&fragment.place));
    Some(of.map(stretch).collect()).filter(|all: &Vec<_>| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(bytes: &[u8]) -> Vec<u8> {
        let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
        item.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        item.extend_from_slice(bytes);
        item
    }

    /// Returns the frames of encapsulated pixels.
    fn frames(body: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
        let size = body.len() as u64;
        let (table, found) = fragments(&mut io::Cursor::new(body), 0, size).unwrap();
        let frame = |number| {
            let stretches = encapsulated(&table, &found, count, number)?;
            let bytes = stretches.iter().map(|(at, length)| {
                let at = usize::try_from(*at).unwrap();
                body[at..at + usize::try_from(*length).unwrap()].to_vec()
            });
            Some(bytes.collect::<Vec<_>>().concat())
        };
        (1..=count).map(frame).collect()
    }

    #[test]
    fn fragments_become_frames() {
        let body = [item(b""), item(b"aa"), item(b"bbbb")].concat();
        assert_eq!(
            frames(&body, 2),
            Some(vec![b"aa".to_vec(), b"bbbb".to_vec()])
        );
        assert_eq!(frames(&body, 1), Some(vec![b"aabbbb".to_vec()]));
        assert_eq!(frames(&body, 3), None);
        // The last fragment is cut.
        assert_eq!(frames(&body[..body.len() - 1], 2), None);
        let table = [0_u32.to_le_bytes(), 20_u32.to_le_bytes()].concat();
        let body = [item(&table), item(b"aa"), item(b"bb"), item(b"cc")].concat();
        assert_eq!(
            frames(&body, 2),
            Some(vec![b"aabb".to_vec(), b"cc".to_vec()])
        );
    }

    #[test]
    fn frames_of_bits_are_cut_out() {
        // Three frames of five bits: 10101, 11000 and 00111, the first bit the lowest.
        let bytes = [0b0111_0101, 0b0111_0000];
        assert_eq!(shifted(&bytes, 5, 5), [0b0_0011]);
        assert_eq!(shifted(&bytes[1..], 2, 5), [0b1_1100]);
        assert_eq!(shifted(&bytes, 4, 12), [0b0000_0111, 0b0111]);
    }

    #[test]
    fn the_size_of_a_frame_is_what_the_data_set_says() {
        let bits = |kind: &str, samples: u64| {
            let set = serde_json::json!({
                "00280002": { "vr": "US", "Value": [samples] },
                "00280004": { "vr": "CS", "Value": [kind] },
                "00280010": { "vr": "US", "Value": [4] },
                "00280011": { "vr": "US", "Value": [6] },
                "00280100": { "vr": "US", "Value": [8] },
            });
            Shape::of(set.as_object().unwrap()).bits
        };
        assert_eq!(bits("MONOCHROME2", 1), Some(192));
        assert_eq!(bits("RGB", 3), Some(576));
        assert_eq!(bits("YBR_FULL_422", 3), Some(384));
        assert_eq!(bits("MONOCHROME2", u64::MAX), None);
    }
}
