//! Bodies that are not held in memory: pieces of bytes, and stretches of files between them.

use std::path::PathBuf;

use bytes::Bytes;

use super::Span;

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The file that has the bytes as they stand in the source.
    pub path: PathBuf,
    /// The span in the file.
    pub span: Span,
    /// The hash of its bytes ([`super::hash`]), as they were when they were looked at.
    pub hash: u128,
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPiece {
    /// Bytes.
    Bytes(Bytes),
    /// A stretch of a file, read while it is sent.
    Stretch(Stretch),
}

/// The body of a request that is larger than what is held: it stands among the request's extensions, and the body itself is
/// empty. Its length is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamedBody {
    /// The pieces, in their order.
    pub pieces: Vec<BodyPiece>,
}

/// Returns how many bytes the body of a request has, wherever they are.
pub fn body_length(request: &http::Request<Bytes>) -> u64 {
    let streamed = request.extensions().get::<StreamedBody>();
    streamed.map_or(request.body().len() as u64, StreamedBody::length)
}

impl StreamedBody {
    /// Returns how many bytes it has.
    pub fn length(&self) -> u64 {
        let lengths = self.pieces.iter().map(|piece| match piece {
            BodyPiece::Bytes(bytes) => bytes.len() as u64,
            BodyPiece::Stretch(stretch) => stretch.span.length,
        });
        lengths.sum()
    }
}
