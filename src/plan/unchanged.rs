//! Whether a saved plan still holds: its sources are what they were, and its targets say what they said.

use std::ops::ControlFlow;

use super::{Header, PlannedSource};
use crate::{
    diagnostic::Diagnostic,
    source::{self, Ceiling, Form, Origin, SourceFile, Spool},
};

/// Names the sources that are no longer what they were. What to do about it depends on who asks.
///
/// Their content counts, not their time: a file that was copied is the same file. It is read again only where size, time
/// or inode differ, or if `verify` asks for it: each record has a hash of its own, which is checked when it is read.
/// Compressed ones go into the spool on the way, unless they lie there already.
pub fn changed_sources(sources: &[PlannedSource], spool: &Spool, verify: bool) -> Vec<Diagnostic> {
    sources
        .iter()
        .filter(|source| verify || !looks_unchanged(source, spool))
        .filter_map(|source| changed(source, spool))
        .collect()
}

fn looks_unchanged(source: &PlannedSource, spool: &Spool) -> bool {
    let now = source
        .path
        .as_ref()
        .and_then(|path| source::look(path).ok());
    now.is_some_and(|(size, modified, inode)| {
        let then = &source.fingerprint;
        (size, modified, inode) == (then.size, then.modified, then.inode)
    }) && (!source.spooled || spool.path(source.id).is_file())
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
                (now.size, &now.sha256) == (source.fingerprint.size, &source.fingerprint.sha256)
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
pub fn changed_facts(planned: &Header, now: &Header) -> Vec<Diagnostic> {
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
        .map(|(then, _)| {
            let name = &then.settings.name;
            Diagnostic::error(format!(
                "target `{name}` is no longer what the plan relies on: its settings or its CapabilityStatement have changed"
            ))
        })
        .collect()
}
