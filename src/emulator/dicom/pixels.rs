//! Frames and bulk data: bytes out of the midst of an instance, as they stand there.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use super::super::reply::Refusal;
use super::super::serve::App;
use super::describe::value;
use super::response::{self, Content, Part};
use super::rows::Instance;
use super::{files, response::not_acceptable};
use crate::dicom::header::{self, End};

/// How much of an instance is taken into memory for one answer.
const LARGEST: u64 = 512 << 20;

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
    let described: Value = serde_json::from_str(&instance.described).unwrap_or_default();
    let read = tokio::task::spawn_blocking(move || read_frames(&path, &described, &wanted));
    let frames = read.await.map_err(|_| unreadable())??;
    let url = instance.url(base);
    let kind = media(&instance.syntax);
    let parts = frames.into_iter().map(|(number, bytes)| Part {
        media: format!("{kind}; transfer-syntax={}", instance.syntax),
        location: Some(format!("{url}/frames/{number}")),
        content: Content::Bytes(bytes),
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
    let number = u32::from_str_radix(tag, 16).map_err(|_| missing())?;
    let path = files::path(&files::folder(app), &instance.file);
    let read = tokio::task::spawn_blocking(move || value(&path, number));
    let value = read.await.map_err(|_| unreadable())?;
    let part = Part {
        media: "application/octet-stream".to_owned(),
        location: Some(format!("{}/bulkdata/{tag}", instance.url(base))),
        content: Content::Bytes(Bytes::from(value.ok_or_else(missing)?)),
    };
    Ok(response::multipart("application/octet-stream", vec![part]))
}

/// What is answered when the bytes of an instance cannot be looked at.
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

/// Reads frames: numbers, and the bytes of each.
fn read_frames(
    path: &Path,
    described: &Value,
    wanted: &[usize],
) -> Result<Vec<(usize, Bytes)>, Refusal> {
    let failed = |error: io::Error| files::failed(&error);
    let mut file = fs_err::File::open(path).map_err(failed)?;
    let header = header::read(io::BufReader::new(&mut file)).map_err(failed)?;
    let no_pixels = || Refusal::google(StatusCode::NOT_FOUND, "the instance has no pixels");
    let Ok(header) = header else {
        return Err(no_pixels());
    };
    let End::Pixels { at, length } = header.end else {
        return Err(no_pixels());
    };
    if header.transfer_syntax == header::DEFLATED {
        return Err(not_acceptable("the local store inflates no pixels"));
    }
    let number = |tag: &str| {
        let value = &described[tag]["Value"][0];
        value
            .as_u64()
            .or_else(|| value.as_str()?.trim().parse().ok())
    };
    let count = number("00280008").unwrap_or(1).max(1);
    let count = usize::try_from(count).map_err(|_| no_pixels())?;
    let missing = || Refusal::google(StatusCode::NOT_FOUND, "the instance has no such frame");
    if wanted.iter().any(|number| *number > count) {
        return Err(missing());
    }
    file.seek(SeekFrom::Start(at)).map_err(failed)?;
    let Some(length) = length else {
        let fragments = fragments(&mut file).map_err(failed)?;
        let frames = encapsulated(fragments, count).ok_or_else(missing)?;
        let one = |number: &usize| Some((*number, frames.get(number - 1)?.clone()));
        return wanted.iter().map(|n| one(n).ok_or_else(missing)).collect();
    };
    let size = number("00280010").unwrap_or(0)
        * number("00280011").unwrap_or(0)
        * number("00280002").unwrap_or(1)
        * number("00280100").unwrap_or(8);
    // One bit a pixel is packed over the edges of frames; then only the first of several can be cut out where it ends a byte.
    let size = size.div_ceil(8);
    if size == 0 || size > LARGEST {
        return Err(no_pixels());
    }
    wanted
        .iter()
        .map(|number| {
            let start = (*number as u64 - 1) * size;
            if start + size > u64::from(length) {
                return Err(missing());
            }
            file.seek(SeekFrom::Start(at + start)).map_err(failed)?;
            let mut frame = Vec::new();
            let read = (&mut file).take(size).read_to_end(&mut frame);
            if read.map_err(failed)? as u64 != size {
                return Err(missing());
            }
            Ok((*number, Bytes::from(frame)))
        })
        .collect()
}

/// The fragments of encapsulated pixels, the first of them the table of offsets; each with its place behind that table.
fn fragments(file: &mut impl io::Read) -> io::Result<Vec<(u64, Bytes)>> {
    let mut fragments = Vec::new();
    let (mut total, mut at) = (0_u64, 0_u64);
    loop {
        let mut head = [0; 8];
        if file.read_exact(&mut head).is_err() {
            return Ok(fragments);
        }
        let [g0, g1, e0, e1, l0, l1, l2, l3] = head;
        if [g0, g1, e0, e1] != [0xFE, 0xFF, 0x00, 0xE0] {
            return Ok(fragments);
        }
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        total += length;
        if total > LARGEST {
            return Err(io::Error::other("its pixels are too many"));
        }
        let mut bytes = Vec::new();
        if file.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Ok(fragments);
        }
        if fragments.is_empty() {
            fragments.push((0, Bytes::from(bytes)));
            continue;
        }
        fragments.push((at, Bytes::from(bytes)));
        at += 8 + length;
    }
}

/// Joins fragments to frames: one for each, or by the table of offsets (PS3.5 §A.4).
fn encapsulated(fragments: Vec<(u64, Bytes)>, count: usize) -> Option<Vec<Bytes>> {
    let mut fragments = fragments.into_iter();
    let (_, table) = fragments.next()?;
    let fragments: Vec<(u64, Bytes)> = fragments.collect();
    if fragments.len() == count {
        return Some(fragments.into_iter().map(|(_, bytes)| bytes).collect());
    }
    if count == 1 {
        let all: Vec<u8> = fragments
            .iter()
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect();
        return Some(vec![Bytes::from(all)]);
    }
    let offsets: Vec<u64> = table
        .chunks_exact(4)
        .filter_map(|four| Some(u64::from(u32::from_le_bytes(four.try_into().ok()?))))
        .collect();
    if offsets.len() != count {
        return None;
    }
    let frame = |at: usize| {
        let start = offsets.get(at).copied().unwrap_or(u64::MAX);
        let end = offsets.get(at + 1).copied().unwrap_or(u64::MAX);
        let of = fragments.iter().filter(|(at, _)| (start..end).contains(at));
        Bytes::from(
            of.flat_map(|(_, bytes)| bytes.iter().copied())
                .collect::<Vec<u8>>(),
        )
    };
    Some((0..count).map(frame).collect())
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

    #[test]
    fn fragments_become_frames() {
        let body = [item(b""), item(b"aa"), item(b"bbbb")].concat();
        let of = |count| {
            let found = fragments(&mut body.as_slice()).unwrap();
            encapsulated(found, count)
                .map(|frames| frames.iter().map(|f| f.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(of(2), Some(vec![b"aa".to_vec(), b"bbbb".to_vec()]));
        assert_eq!(of(1), Some(vec![b"aabbbb".to_vec()]));
        assert_eq!(of(3), None);
        let table = [0_u32.to_le_bytes(), 20_u32.to_le_bytes()].concat();
        let body = [item(&table), item(b"aa"), item(b"bb"), item(b"cc")].concat();
        let frames = encapsulated(fragments(&mut body.as_slice()).unwrap(), 2).unwrap();
        assert_eq!(
            frames,
            [Bytes::from_static(b"aabb"), Bytes::from_static(b"cc")]
        );
    }
}
