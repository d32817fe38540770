//! Parts of an answer's body: its beginning, or all of it in drips.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt as _, stream};
use http::Response;
use http::header::CONTENT_LENGTH;

/// The time between two pieces of the body of a slow answer.
pub(super) const DRIP: Duration = Duration::from_millis(50);

/// Returns how long the body of an answer is: what is given back from a file says it, what is in memory has it.
pub(super) fn length(response: &Response<Body>) -> u64 {
    let said = response.headers().get(CONTENT_LENGTH);
    let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
    said.or_else(|| hyper::body::Body::size_hint(response.body()).exact())
        .unwrap_or(0)
}

/// The first bytes of a body, as they come.
pub(super) fn first(
    body: Body,
    most: u64,
) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send {
    stream::unfold(
        (body.into_data_stream(), most),
        |(mut body, left)| async move {
            if left == 0 {
                return None;
            }
            let mut piece = match body.next().await? {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (body, 0))),
            };
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - piece.len() as u64;
            Some((Ok(piece), (body, left)))
        },
    )
}

pub(super) fn trickle(body: Body, size: usize) -> Body {
    let drips = stream::unfold(
        (body.into_data_stream(), Bytes::new()),
        move |(mut body, mut rest)| async move {
            while rest.is_empty() {
                match body.next().await? {
                    Ok(piece) => rest = piece,
                    Err(error) => return Some((Err(error), (body, rest))),
                }
            }
            tokio::time::sleep(DRIP).await;
            let drip = rest.split_to(size.min(rest.len()));
            Some((Ok(drip), (body, rest)))
        },
    );
    Body::from_stream(drips)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is from 0 to 1, so the product is from 0 to the length"
)]
pub(super) fn part(length: u64, share: f64) -> u64 {
    ((length as f64 * share) as u64).min(length)
}
