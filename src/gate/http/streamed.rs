//! A body that is read from files while it is sent, and the patience with large requests and answers: their time is counted
//! from the last piece that moved, for no fixed time fits both a message and an instance of a gigabyte.

use std::{
    io::SeekFrom,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderValue, header};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use crate::record::{BodyPiece, StreamedBody, Stretch};

/// The number of bytes of a file that are read at once, and after which an answer is said to move.
pub(super) const PIECE: usize = 256 << 10;

/// A time that no request takes, in place of the client's own limit.
const ENDLESS: Duration = Duration::from_hours(24 * 365);

/// The movement of a large request or answer.
#[derive(Debug)]
pub(super) struct Movement {
    last: Mutex<Instant>,
}

impl Movement {
    /// Begins to watch a request, which is not limited by its whole time any more.
    pub(super) fn of(request: &mut reqwest::Request) -> Arc<Self> {
        *request.timeout_mut() = Some(ENDLESS);
        Arc::new(Self {
            last: Mutex::new(Instant::now()),
        })
    }

    /// Takes note that a piece has moved.
    pub(super) fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has moved for `timeout`.
    pub(super) async fn stands_still(&self, timeout: Duration) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let until = last + timeout;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Gives a request its body, whose pieces are noted as they leave. Its length is said, for servers refuse bodies in chunks.
pub(super) fn attach(request: &mut reqwest::Request, body: StreamedBody, movement: Arc<Movement>) {
    let length = HeaderValue::from(body.length());
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    let pieces = pieces(body).inspect(move |_| movement.note());
    *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces));
}

/// Gives the bytes of a body, in pieces. A file that has become shorter ends them with an error, and so the request.
fn pieces(body: StreamedBody) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::iter(body.pieces).flat_map(|piece| match piece {
        BodyPiece::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
        BodyPiece::Stretch(stretch) => stream::once(opened(stretch)).try_flatten().boxed(),
    })
}

async fn opened(
    Stretch { path, span }: Stretch,
) -> std::io::Result<impl Stream<Item = std::io::Result<Bytes>>> {
    let mut file = fs_err::tokio::File::open(path).await?;
    file.seek(SeekFrom::Start(span.start)).await?;
    Ok(ReaderStream::with_capacity(file.take(span.length), PIECE))
}
