//! Makes the body of a STOW request.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;

use crate::{dicom::multipart::Boundary, record::Step, target::Unbuilt};

/// How many boundaries are tried. One of 128 random bits stands in no instance but by intent.
const TRIES: usize = 4;

/// Puts instances into one body, and returns its type with it.
pub(super) fn multipart(
    steps: &[Step],
    bodies: &mut dyn Iterator<Item = Bytes>,
) -> Result<(HeaderValue, Bytes), Unbuilt> {
    let parts: Vec<Bytes> = bodies.take(steps.len()).collect();
    if parts.len() < steps.len() || parts.is_empty() {
        return Err(Unbuilt {
            record: steps.get(parts.len()).map(|step| step.number),
            why: "there is nothing to send",
        });
    }
    let boundary = boundary(&parts)?;
    let lengths = parts.iter().map(|part| part.len() as u64);
    let total = boundary.total(lengths).and_then(|n| n.try_into().ok());
    let mut body = BytesMut::with_capacity(total.unwrap_or(0));
    for part in parts {
        body.extend_from_slice(boundary.head().as_bytes());
        body.extend_from_slice(&part);
    }
    body.extend_from_slice(boundary.tail().as_bytes());
    let content_type = HeaderValue::try_from(boundary.content_type()).map_err(|_| Unbuilt {
        record: None,
        why: "its boundary is no header",
    })?;
    Ok((content_type, body.freeze()))
}

/// Chooses a boundary that stands in none of the parts.
fn boundary(parts: &[Bytes]) -> Result<Boundary, Unbuilt> {
    for _ in 0..TRIES {
        let boundary = Boundary::of(rand::random());
        let finder = memchr::memmem::Finder::new(boundary.as_str());
        if parts.iter().all(|part| finder.find(part).is_none()) {
            return Ok(boundary);
        }
    }
    Err(Unbuilt {
        record: None,
        why: "it holds every boundary that was tried",
    })
}
