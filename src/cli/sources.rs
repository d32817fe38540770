//! The sources of a plan that was made before: whether they are what they were, and where each can be read.

use std::path::{Path, PathBuf};

use super::{Error, Exit};
use crate::{
    journal::RunDirectory,
    plan::{self, PlannedSource, file::Saved},
    record::SourceId,
    source::{Spool, spooled},
};

/// The most bytes of decompressed sources that a run keeps: a full disk is worse than a clear refusal.
pub(super) const SPOOL: u64 = 1 << 40;

/// Reads the sources of a saved plan again: they must be what they were, and those that are compressed are spooled.
///
/// Those that look unchanged (size, time, inode) are taken for it, unless `verify` asks for more. `way_on` is what can be done
/// about one that is not.
pub(super) async fn check_sources(
    saved: &Saved,
    run: &RunDirectory,
    verify: bool,
    way_on: &str,
) -> Result<(), Error> {
    let (sources, spool) = (saved.sources.clone(), run.spool());
    let changed = tokio::task::spawn_blocking(move || {
        let spool = Spool::new(spool, SPOOL).map_err(Error::disk)?;
        Ok(plan::changed_sources(&sources, &spool, verify))
    })
    .await
    .map_err(|error| Error::task(&error))??;
    if changed.is_empty() {
        Ok(())
    } else {
        let changed = changed.into_iter().map(|problem| problem.hint(way_on));
        Err(Error::all(Exit::Usage, changed.collect()))
    }
}

/// Returns the file from which each source can be read at any place.
pub(super) fn readable(sources: &[PlannedSource], spool: &Path) -> Vec<(SourceId, PathBuf)> {
    sources
        .iter()
        .map(|source| {
            let path = match &source.path {
                Some(path) if !source.spooled => path.clone(),
                _ => spooled(spool, source.id),
            };
            (source.id, path)
        })
        .collect()
}
