//! A transaction: everything happens inside one savepoint, in the order that FHIR R4 gives (http.html, "Transaction
//! Processing Rules"): deletes, creates, updates and patches, reads; then conditional references.
//!
//! The entries are read twice, so that never more than one of their trees is in memory: first to learn the ids, so that
//! references among them can be rewritten whatever their order, then to store them.

use std::collections::HashMap;

use http::StatusCode;

use super::super::database::DatabaseSession;
use super::super::interaction::{Done, apply};
use super::super::reply::Refusal;
use super::super::single::read;
use super::super::stores::fhir::Store;
use super::entry::{Entry, Verb};
use super::work::{Step, Work};
use super::{Answer, expression};

/// Carries out a transaction; a refusal of any entry is the refusal of all.
pub(super) fn carry_out(
    session: &mut DatabaseSession,
    store: &Store,
    base: &str,
    entries: &[Entry],
) -> Result<Vec<Answer>, Refusal> {
    let mut work = Work::new(store);
    let mut order: Vec<(usize, &Entry)> = entries.iter().enumerate().collect();
    order.sort_by_key(|(_, entry)| entry.rank());
    let mut answers: Vec<Option<Answer>> = entries.iter().map(|_| None).collect();
    let mut steps: Vec<(usize, &Entry, Step)> = Vec::with_capacity(entries.len());
    for (index, entry) in order {
        let at = |refusal: Refusal| refusal.at(&expression(index));
        match work.resolve(session, base, index, entry).map_err(at)? {
            Step::Other(interaction) if entry.rank() == Verb::Delete => {
                // Deletes come first, so that what follows does not find what they remove.
                let done = work.delete(session, index, interaction).map_err(at)?;
                put(&mut answers, index, Answer::Done(done));
            }
            step => steps.push((index, entry, step)),
        }
    }
    let mut conditional = Vec::new();
    let mut reads = Vec::new();
    let mut same = Vec::new();
    for (index, entry, step) in steps {
        let at = |refusal: Refusal| refusal.at(&expression(index));
        match step {
            Step::Other(interaction) => {
                let done = apply(session, store, interaction).map_err(at)?;
                work.touch(done.kind, &done.id).map_err(at)?;
                put(&mut answers, index, Answer::Done(done));
            }
            Step::Store {
                kind,
                id,
                old,
                method,
            } => {
                let status = if old.is_some() {
                    StatusCode::OK
                } else {
                    StatusCode::CREATED
                };
                let version = session.clock.tick();
                if work.store_one(session, entry, index, (kind, &id, version), old, method)? {
                    conditional.push((index, entry, kind, id.clone(), version));
                }
                put(
                    &mut answers,
                    index,
                    Answer::Done(Done {
                        status,
                        kind,
                        id,
                        version: Some(version),
                        text: String::new(),
                    }),
                );
            }
            Step::Matched(done) => put(&mut answers, index, Answer::Done(done)),
            Step::Same(first) => same.push((index, first)),
            Step::Read(path) => reads.push((index, path)),
        }
    }
    let mut resolved = HashMap::new();
    for (index, entry, kind, id, version) in conditional {
        work.complete_one(session, entry, index, (kind, &id, version), &mut resolved)?;
    }
    work.check_links(session)?;
    for (index, path) in reads {
        let (version, text) = read(&session.connection, store, &path)
            .map_err(|refusal| refusal.at(&expression(index)))?;
        put(&mut answers, index, Answer::Read(version, text));
    }
    for (index, first) in same {
        if let Some(Some(Answer::Done(done))) = answers.get(first) {
            let copy = Done {
                status: StatusCode::OK,
                kind: done.kind,
                id: done.id.clone(),
                version: done.version,
                text: String::new(),
            };
            put(&mut answers, index, Answer::Done(copy));
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

fn put(answers: &mut [Option<Answer>], index: usize, answer: Answer) {
    if let Some(place) = answers.get_mut(index) {
        *place = Some(answer);
    }
}
