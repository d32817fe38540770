//! The parts of a manifest, before anybody knows what they mean.

use super::{
    document::{Entry, Node, Spot},
    reader::{Reader, get},
};

/// The parts of a manifest and of all that it includes: included files first, the rest in the order of the files.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) targets: Vec<Entry>,
    pub(super) loads: Vec<Node>,
    pub(super) target_defaults: Vec<Entry>,
    pub(super) load_defaults: Vec<Entry>,
    /// All entries of the manifest itself; the run's settings are taken from here only.
    pub(super) root: Vec<Entry>,
    /// A file could not be read, so that what is named may stand there.
    pub(super) incomplete: bool,
}

/// Says where something was defined first.
pub(super) fn already(reader: &Reader<'_>, first: Spot) -> String {
    format!(
        "it is already defined at {}:{}:{}",
        reader.file(first).display(),
        first.line,
        first.column
    )
}

/// Returns `own` entries and those of `others` that `own` does not set.
pub(super) fn over(own: &[Entry], others: &[Entry]) -> Vec<Entry> {
    let mut entries = own.to_vec();
    for other in others {
        if get(own, &other.key).is_none() {
            entries.push(other.clone());
        }
    }
    entries
}
