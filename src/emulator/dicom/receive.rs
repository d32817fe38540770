//! Brings the instances of a STOW request to disk, as they come: none of them is ever whole in memory.

use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use axum::body::{Body, Bytes};
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::super::body;
use super::super::files;
use super::super::reply::Refusal;
use super::pixels::unreadable;
use crate::dicom::{
    describe::describe,
    header::{self, InstanceHeader},
    parts::{MalformedParts, PartEvent, PartSplitter},
};

/// Pieces of a body that may wait to be written.
const WAITING: usize = 16;

/// An instance that came.
pub(super) struct Received {
    /// The instance's header; or why it is none that can be stored, in words without content.
    pub(super) header: Result<InstanceHeader, String>,
    pub(super) path: tempfile::TempPath,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub(super) sha256: String,
    pub(super) bytes: u64,
    /// The data set without bulk data, as DICOM JSON.
    pub(super) described: String,
}

/// Reads a body: one instance, or parts with this boundary.
pub(super) async fn receive(
    folder: &Path,
    body: Body,
    boundary: Option<&str>,
) -> Result<Vec<Received>, Refusal> {
    let (pieces, coming) = mpsc::channel::<Bytes>(WAITING);
    let (folder, boundary) = (folder.to_owned(), boundary.map(str::to_owned));
    let writing = tokio::task::spawn_blocking(move || write(&folder, coming, boundary.as_deref()));
    let mut stream = body.into_data_stream();
    let coming = loop {
        match body::piece(&mut stream).await {
            Ok(Some(piece)) => {
                // Nobody takes it any more where the body is refused already.
                if pieces.send(piece).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(refusal) => break Err(refusal),
        }
    };
    drop(pieces);
    let written = writing.await.map_err(|_| unreadable())?;
    coming?;
    written
}

/// Reads one instance from a file, and leaves the file as it is.
pub(super) async fn copy(folder: &Path, from: &Path) -> Result<Received, Refusal> {
    let (folder, from) = (folder.to_owned(), from.to_owned());
    let copying = tokio::task::spawn_blocking(move || {
        let mut from = fs_err::File::open(from).map_err(|error| files::failed(&error))?;
        let mut coming = Coming::begin(&folder)?;
        let mut piece = vec![0; 1 << 17];
        loop {
            let count = from
                .read(&mut piece)
                .map_err(|error| files::failed(&error))?;
            if count == 0 {
                return coming.end();
            }
            coming.write(piece.get(..count).unwrap_or_default())?;
        }
    });
    copying.await.map_err(|_| unreadable())?
}

fn write(
    folder: &Path,
    mut coming: mpsc::Receiver<Bytes>,
    boundary: Option<&str>,
) -> Result<Vec<Received>, Refusal> {
    let mut received = Vec::new();
    let Some(boundary) = boundary else {
        let mut file = Coming::begin(folder)?;
        while let Some(piece) = coming.blocking_recv() {
            file.write(&piece)?;
        }
        received.push(file.end()?);
        return Ok(received);
    };
    let mut splitter = PartSplitter::new(boundary);
    let mut file = None;
    let mut failed = Ok(());
    while let Some(piece) = coming.blocking_recv() {
        let fed = splitter.feed(&piece, &mut |event| {
            if failed.is_ok() {
                failed = part(folder, event, &mut file, &mut received);
            }
        });
        fed.map_err(malformed)?;
        std::mem::replace(&mut failed, Ok(()))?;
    }
    splitter.finish().map_err(malformed)?;
    Ok(received)
}

fn part(
    folder: &Path,
    event: PartEvent<'_>,
    file: &mut Option<Coming>,
    received: &mut Vec<Received>,
) -> Result<(), Refusal> {
    match (event, file.as_mut()) {
        (PartEvent::Begins(_), _) => *file = Some(Coming::begin(folder)?),
        (PartEvent::Bytes(bytes), Some(file)) => file.write(bytes)?,
        (PartEvent::Ends, Some(_)) => {
            if let Some(file) = file.take() {
                received.push(file.end()?);
            }
        }
        (PartEvent::Bytes(_) | PartEvent::Ends, None) => {}
    }
    Ok(())
}

fn malformed(why: MalformedParts) -> Refusal {
    Refusal::google(StatusCode::BAD_REQUEST, why.to_string())
}

/// A file that is being written.
struct Coming {
    file: BufWriter<tempfile::NamedTempFile>,
    hash: Sha256,
    bytes: u64,
}

impl Coming {
    fn begin(folder: &Path) -> Result<Self, Refusal> {
        let file = files::incoming(folder).map_err(|error| files::failed(&error))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 17, file),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(|error| files::failed(&error))
    }

    /// Sees to it that the file is on the disk, and looks what it is.
    fn end(self) -> Result<Received, Refusal> {
        use std::fmt::Write as _;
        let failed = |error: std::io::Error| files::failed(&error);
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let reader = std::io::BufReader::new(file.as_file().take(u64::MAX));
        let header = header::read_whole(reader)
            .map_err(failed)?
            .map_err(|refusal| refusal.to_string());
        let described = match &header {
            Ok(header) => {
                let mut set = file.as_file();
                set.seek(SeekFrom::Start(header.begins)).map_err(failed)?;
                Value::Object(describe(set, header)).to_string()
            }
            Err(_) => String::new(),
        };
        let mut sha256 = String::with_capacity(64);
        for byte in self.hash.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Ok(Received {
            header,
            path: file.into_temp_path(),
            sha256,
            bytes: self.bytes,
            described,
        })
    }
}
