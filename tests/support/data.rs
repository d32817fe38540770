//! The sets of real data: archives beside the repository, unpacked once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "also part of a benchmark; a skipped test says so"
)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;

/// One unpacking at a time in this process.
static TURN: Mutex<()> = Mutex::new(());

/// The folder of the project, also for a crate inside of it.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = here.ancestors();
    folders
        .find(|folder| folder.join("resources").is_dir())
        .unwrap()
}

/// Returns the directory of a set, unpacked below `target/test-data/`; `None`, said on the terminal, when its archive is
/// not there, unless `STOKER_REQUIRE_DATA` says that it has to be. Archives are looked for in `STOKER_TEST_DATA`, or in
/// `../shared/data` beside the manifest.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
pub(crate) fn set(name: &str) -> Option<PathBuf> {
    let root = root();
    let archives = std::env::var_os("STOKER_TEST_DATA")
        .map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let archive = archives.join(format!("{name}.tar.zst"));
    if !archive.exists() {
        let is_required = std::env::var_os("STOKER_REQUIRE_DATA").is_some();
        assert!(!is_required, "{} is not there", archive.display());
        eprintln!(
            "skipped: {} is not there (set STOKER_TEST_DATA)",
            archive.display()
        );
        return None;
    }
    let all = root.join("target/test-data");
    let dir = all.join(name);
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if dir.exists() {
        return Some(dir);
    }
    // Unpacked beside its place and then moved, so that what is there is whole, also when two processes unpack at once.
    let new = all.join(format!("{name}.{}", std::process::id()));
    let file = fs::File::open(&archive).unwrap();
    tar::Archive::new(zstd::Decoder::new(file).unwrap())
        .unpack(&new)
        .unwrap();
    let inner = new.join(name);
    let unpacked = if inner.is_dir() { inner } else { new.clone() };
    if fs::rename(&unpacked, &dir).is_err() {
        assert!(
            dir.exists(),
            "{} cannot be moved into its place",
            unpacked.display()
        );
    }
    if new.exists() {
        fs::remove_dir_all(&new).unwrap();
    }
    Some(dir)
}

/// Tells whether an entry of a Bundle of a kind is no record to load: it reads, or it is a remark on a search.
pub(crate) fn is_left_out(kind: &str, entry: &serde_json::Value) -> bool {
    match kind {
        "batch" | "transaction" => {
            let method = entry["request"]["method"].as_str();
            matches!(method, Some("GET" | "HEAD"))
        }
        "searchset" => {
            entry["search"]["mode"] == "outcome"
                || entry["resource"]["resourceType"] == "OperationOutcome"
        }
        _ => false,
    }
}
