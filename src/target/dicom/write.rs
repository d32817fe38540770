//! Makes the body of a STOW request: in memory where it is small, of stretches of files where it is not.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::{
    dicom::multipart::Boundary,
    record::{BodyPiece, StreamedBody, Stretch},
    target::{Parcel, Unbuilt},
};

/// The number of boundaries that are tried. One of 128 random bits stands in no instance but by intent.
const TRIES: usize = 4;

/// A body.
pub(super) enum Body {
    /// Held in memory.
    Held(Bytes),
    /// Read while it is sent.
    Streamed(StreamedBody),
}

/// Puts instances into one body, and returns its type with it.
pub(super) fn multipart(
    parcel: &Parcel<'_>,
    bodies: &mut dyn Iterator<Item = Bytes>,
) -> Result<(HeaderValue, Body), Unbuilt> {
    let steps = parcel.steps.iter();
    let parts: Vec<BodyPiece> = steps
        .zip(bodies)
        .map(|(step, body)| match parcel.stretches.get(&step.number) {
            Some(stretch) => BodyPiece::Stretch(stretch.clone()),
            None => BodyPiece::Bytes(body),
        })
        .collect();
    if parts.len() < parcel.steps.len() || parts.is_empty() {
        return Err(Unbuilt {
            record: parcel.steps.get(parts.len()).map(|step| step.number),
            why: "there is nothing to send",
        });
    }
    let boundary = boundary(&parts)?;
    let content_type = HeaderValue::try_from(boundary.content_type()).map_err(|_| Unbuilt {
        record: None,
        why: "its boundary is no header",
    })?;
    let head = Bytes::from(boundary.head());
    let heads = std::iter::repeat(BodyPiece::Bytes(head));
    let mut pieces: Vec<BodyPiece> = heads
        .zip(parts)
        .flat_map(|(head, part)| [head, part])
        .collect();
    pieces.push(BodyPiece::Bytes(Bytes::from(boundary.tail())));
    Ok((content_type, body(pieces)))
}

/// Joins pieces where all of them are held.
fn body(pieces: Vec<BodyPiece>) -> Body {
    let held = pieces.iter().map(|piece| match piece {
        BodyPiece::Bytes(bytes) => bytes.len(),
        BodyPiece::Stretch(_) => 0,
    });
    let mut joined = BytesMut::with_capacity(held.sum());
    for piece in &pieces {
        match piece {
            BodyPiece::Bytes(bytes) => joined.extend_from_slice(bytes),
            BodyPiece::Stretch(_) => return Body::Streamed(StreamedBody { pieces }),
        }
    }
    Body::Held(joined.freeze())
}

/// Chooses a boundary that stands in none of the parts.
fn boundary(parts: &[BodyPiece]) -> Result<Boundary, Unbuilt> {
    for _ in 0..TRIES {
        let boundary = Boundary::of(rand::random());
        let mut is_free = true;
        for part in parts {
            let stands = stands_in(&boundary, part).map_err(|_| Unbuilt {
                record: None,
                why: "its file cannot be read any more",
            })?;
            is_free &= !stands;
        }
        if is_free {
            return Ok(boundary);
        }
    }
    Err(Unbuilt {
        record: None,
        why: "it holds every boundary that was tried",
    })
}

fn stands_in(boundary: &Boundary, part: &BodyPiece) -> io::Result<bool> {
    match part {
        BodyPiece::Bytes(bytes) => Ok(boundary.stands_in_held(bytes)),
        BodyPiece::Stretch(Stretch { path, span, .. }) => {
            let mut file = fs_err::File::open(path)?;
            file.seek(SeekFrom::Start(span.start))?;
            boundary.stands_in(file.take(span.length))
        }
    }
}
