//! Manifests as files: what is valid, what is wrong and what is said of it, and the schema for editors.

mod properties;
mod schema;
mod valid;
mod wrong;

use std::path::{Path, PathBuf};

/// The environment of all these tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "PROJECT" => "my-project",
        "CONCURRENCY" => "64",
        "SITE" => "north: {1}",
        "DATA" => "/data",
        "RATE" | "FAST" => "hunter2-from-the-environment",
        "HUNTER2" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

/// Returns the manifests below a folder of `tests/data`, in order. What only others include is left out.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/data").join(folder);
    let mut files: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}
