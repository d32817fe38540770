//! A body that is read from files while it is sent.

use std::io::SeekFrom;

use ::http::{HeaderValue, header};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::record::{BodyPiece, StreamedBody, Stretch};

/// The number of bytes of a file that are read at once.
const PIECE: usize = 256 << 10;

/// Gives a request its body. Its length is said, for servers refuse bodies in chunks.
pub(super) fn attach(request: &mut reqwest::Request, body: StreamedBody) {
    let length = HeaderValue::from(body.length());
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces(body)));
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
