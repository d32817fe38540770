//! A body that is read from files while it is sent, and the patience with large requests and answers: their time is counted
//! from the last piece that moved, for no fixed time fits both a message and an instance of a gigabyte.
//!
//! A file may be written to meanwhile. The bytes that are read of it are hashed, and the last piece is held back until the hash is the one
//! that was expected: a request that lacks its end is none, so that no server takes bytes of two versions for one record.

use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use ::http::{HeaderValue, header};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

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

/// The file that was found to be another than it was while it was sent, if any was.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed(Arc<OnceLock<PathBuf>>);

impl Changed {
    /// Returns its path.
    pub(super) fn path(&self) -> Option<&Path> {
        self.0.get().map(PathBuf::as_path)
    }
}

/// Gives a request its body, whose pieces are noted as they leave. Its length is said, for servers refuse bodies in chunks.
/// Returns where a file is noted that has changed.
pub(super) fn attach(
    request: &mut reqwest::Request,
    body: StreamedBody,
    movement: Arc<Movement>,
) -> Changed {
    let length = HeaderValue::from(body.length());
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    let changed = Changed::default();
    let pieces = pieces(body, changed.clone()).inspect(move |_| movement.note());
    *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces));
    changed
}

/// Gives the bytes of a body, in pieces. A file that is not any more what it was ends them with an error, and so the request.
fn pieces(body: StreamedBody, changed: Changed) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter(body.pieces).flat_map(move |piece| match piece {
        BodyPiece::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
        BodyPiece::Stretch(stretch) => {
            let (path, changed) = (stretch.path.clone(), changed.clone());
            let pieces = stream::once(opened(stretch)).try_flatten();
            pieces
                .inspect_err(move |_| {
                    let _ = changed.0.set(path.clone());
                })
                .boxed()
        }
    })
}

/// A stretch that is being read.
struct Passing {
    file: fs_err::tokio::File,
    left: u64,
    hash: Xxh3,
}

async fn opened(
    Stretch { path, span, hash }: Stretch,
) -> io::Result<impl Stream<Item = io::Result<Bytes>>> {
    let mut file = fs_err::tokio::File::open(path).await?;
    file.seek(SeekFrom::Start(span.start)).await?;
    let passing = Passing {
        file,
        left: span.length,
        hash: Xxh3::new(),
    };
    Ok(stream::try_unfold(passing, move |mut passing| async move {
        if passing.left == 0 {
            return Ok(None);
        }
        let length = usize::try_from(passing.left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; length];
        passing.file.read_exact(&mut piece).await?;
        passing.hash.update(&piece);
        passing.left -= length as u64;
        if passing.left == 0 && passing.hash.digest128() != hash {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some((Bytes::from(piece), passing)))
    }))
}
