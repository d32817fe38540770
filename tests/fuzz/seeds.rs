//! What inputs are made from: the project's own samples, the real ones where they are at hand, and a few written here.

#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "also part of a crate of its own"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use stoker::hl7v2::{mllp, split};

use super::data;

/// How large a seed is at most: what identifies an instance, and what is hard to read, stands well before it.
pub(crate) const LARGEST: usize = 64 << 10;

fn files(under: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs_err::read_dir(under)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

fn read(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    paths
        .iter()
        .map(|path| fs_err::read(path).unwrap())
        .collect()
}

/// The project's samples of a format, and the set of that name where it is at hand.
fn samples(folder: &str, set: &str) -> Vec<Vec<u8>> {
    let mut all = read(&data::root().join("resources").join(folder));
    all.extend(data::set(set).iter().flat_map(|set| read(set)));
    all
}

/// Returns the seeds of a target.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    let own = data::root().join("tests/fuzz/seeds").join(target);
    let mut seeds = if own.is_dir() { read(&own) } else { Vec::new() };
    match target {
        "hl7v2_split" => seeds.extend(samples("hl7v2", "hl7v2")),
        "mllp_decoder" => {
            for sample in samples("hl7v2", "hl7v2") {
                let mut framed = Vec::new();
                split::MessageSplitter::whole(&sample, &mut |piece| {
                    if let split::Piece::Message(message) = piece {
                        framed.extend(mllp::frame(message.bytes).unwrap_or_default());
                    }
                });
                seeds.push(if sample.first() == Some(&mllp::START) {
                    sample
                } else {
                    framed
                });
            }
        }
        "dicom_header" => {
            seeds.extend(samples("imaging", "dicom"));
            seeds.push(deflated());
        }
        "stow_answer" | "multipart" | "mllp_exchange" => {}
        other => panic!("no target is named {other}"),
    }
    for seed in &mut seeds {
        seed.truncate(LARGEST);
    }
    seeds.retain(|seed| !seed.is_empty());
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

/// An instance whose data set is deflated.
fn deflated() -> Vec<u8> {
    let mut file =
        fs_err::read(data::root().join("resources/imaging/katarzyna-wojcik-hand.dcm")).unwrap();
    let header = stoker::dicom::header::read(file.as_slice())
        .unwrap()
        .unwrap();
    let set = file.split_off(usize::try_from(header.begins).unwrap());
    let length = u8::try_from(stoker::dicom::header::DEFLATED.len()).unwrap();
    let mut meta = file.split_off(132);
    meta.clear();
    meta.extend_from_slice(&[2, 0, 0x10, 0, b'U', b'I', length, 0]);
    meta.extend_from_slice(stoker::dicom::header::DEFLATED.as_bytes());
    file.extend(meta);
    let mut to = flate2::write::DeflateEncoder::new(file, flate2::Compression::best());
    to.write_all(&set).unwrap();
    to.finish().unwrap()
}

/// Writes the seeds of a target into a folder, for an engine that keeps its inputs there.
#[allow(dead_code, reason = "the smoke needs none on disk")]
pub(crate) fn write(target: &str, folder: &Path) {
    fs_err::create_dir_all(folder).unwrap();
    for (number, seed) in of(target).iter().enumerate() {
        fs_err::write(folder.join(format!("seed-{number:04}")), seed).unwrap();
    }
}
