//! The staleness of a saved plan: its sources are what they were, and its targets say what they said, or it no longer
//! holds.

use std::{io::ErrorKind::NotFound, ops::ControlFlow};

use super::{PlanHeader, PlannedSource, capability_check};
use crate::{
    diagnostic::Diagnostic,
    source::{self, Ceiling, Form, Origin, SourceFile, Spool},
};

/// Names the sources that are no longer what they were. The caller decides what to do about it.
///
/// Their content counts, not their time: a file that was copied is the same file. It is read again only where size, time
/// or inode differ, or if `verify` asks for it: each record has a hash of its own, which is checked when it is read.
/// Compressed ones go into the spool on the way, unless they lie there already.
pub fn changed_sources(sources: &[PlannedSource], spool: &Spool, verify: bool) -> Vec<Diagnostic> {
    let is_gone = |source: &&PlannedSource| {
        let path = source.path.as_ref();
        path.is_some_and(|path| path.symlink_metadata().is_err_and(|e| e.kind() == NotFound))
    };
    let (gone, there): (Vec<_>, Vec<_>) = sources.iter().partition(is_gone);
    let mut problems = Vec::new();
    // A folder that was moved is one problem, however many files it holds.
    match gone.as_slice() {
        [] => {}
        [one] => problems.push(Diagnostic::error(format!(
            "{} is not there any more",
            one.name
        ))),
        [first, ..] => problems.push(Diagnostic::error(format!(
            "{} of the plan's {} files are not there any more, {} the first of them",
            gone.len(),
            sources.len(),
            first.name
        ))),
    }
    let changed = there
        .into_iter()
        .filter(|source| verify || !looks_unchanged(source, spool))
        .filter_map(|source| changed(source, spool));
    let mut changed: Vec<Diagnostic> = changed.collect();
    let more = changed.len().saturating_sub(NAMED);
    changed.truncate(NAMED);
    problems.append(&mut changed);
    if more > 0 {
        problems.push(Diagnostic::error(format!(
            "{more} more files are no longer what they were"
        )));
    }
    problems
}

/// The number of changed files that are named.
const NAMED: usize = 10;

fn looks_unchanged(source: &PlannedSource, spool: &Spool) -> bool {
    let origin = source.path.clone().map(Origin::File);
    let now = origin.and_then(|origin| origin.storage().stamp(&origin).ok().flatten());
    now.is_some_and(|now| now == source.fingerprint.stamp)
        && (!source.spooled || spool.path(source.id).is_file())
}

fn changed(source: &PlannedSource, spool: &Spool) -> Option<Diagnostic> {
    let path = source.path.as_ref()?;
    // Of a file that is not read, or could not be, nothing is loaded.
    if source.form == Form::Unrecognized || source.fingerprint.sha256.is_empty() {
        return None;
    }
    let file = SourceFile {
        id: source.id,
        origin: Origin::File(path.clone()),
        form: source.form,
    };
    match source::read(&file, Some(spool), Ceiling::Any, &mut |_| {
        ControlFlow::Continue(())
    }) {
        Err(error) => Some(Diagnostic::error(error.to_string())),
        Ok(reading) => {
            let is_same = reading.fingerprint.is_some_and(|now| {
                (now.stamp.size, &now.sha256)
                    == (source.fingerprint.stamp.size, &source.fingerprint.sha256)
            });
            (!is_same).then(|| {
                Diagnostic::error(format!(
                    "{} has changed since the plan was made",
                    source.name
                ))
            })
        }
    }
}

/// Names the targets whose facts are no longer those on which the plan relies.
///
/// A store that was to be created and is there by now is no change that matters.
pub fn changed_facts(planned: &PlanHeader, now: &PlanHeader) -> Vec<Diagnostic> {
    planned
        .targets
        .iter()
        .zip(&now.targets)
        .filter(|(then, now)| {
            let (mut then, mut now) = (then.facts.clone(), now.facts.clone());
            for facts in [&mut then, &mut now] {
                (facts.assumed, facts.missing) = (false, false);
            }
            then != now
        })
        .flat_map(|(then, now)| {
            let name = &then.settings.name;
            let mut problems = capability_check::differing(now);
            if problems.is_empty() {
                problems.push(Diagnostic::error(format!(
                    "target `{name}` is no longer what the plan relies on: its settings or its CapabilityStatement have changed"
                )));
            }
            problems
        })
        .collect()
}
