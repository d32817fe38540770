//! Looks at what a store has already under the name of a record, where the load asks for it: the same is left, another is a
//! rejection, or removed for the record.
//!
//! Between the removal and the store's taking the record, the store has neither. That something is about to be removed is written
//! down before: a run that is cut off there sends the record when it is resumed, and says what it replaces.

use std::collections::HashSet;

use futures::{StreamExt as _, stream};

use super::{
    Error,
    context::LoadContext,
    earlier::Earlier,
    settlement::{self, Attempted},
};
use crate::{
    gate::{CallFailure, Largest},
    journal::Settlement,
    lookup::{self, REMOVING, Silent},
    manifest::Existing,
    plan::Step,
    record::{Outcome, StepId},
    target::{Deletion, InTheWay, Named},
};

/// The number of records of one request that are looked at at once. Each may be of the size from which on records are
/// streamed.
const READS: usize = 4;

/// The largest record whose bytes are compared, which bounds what is held of an answer.
const LARGEST: u64 = 64 << 20;

/// The result of a look.
enum Looked {
    /// It is settled.
    Settled(Box<Settlement>),
    /// The store's own was removed, and the record is to be sent once more.
    Removed(Box<Step>),
    /// The target is down, and ends the run: the record waits for the next session.
    Untold,
}

/// The records for which something was removed.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// In this session.
    now: HashSet<StepId>,
    /// In an earlier one, which was cut off before or after.
    before: HashSet<StepId>,
}

impl Replaced {
    /// Those for which an earlier session was about to remove something.
    pub(super) fn before(earlier: &Earlier, steps: &[Step]) -> Self {
        let numbers = steps.iter().map(|step| step.number);
        Self {
            now: HashSet::new(),
            before: numbers
                .filter(|number| earlier.is_removed(*number))
                .collect(),
        }
    }

    /// Says of what was settled that something was removed for it.
    pub(super) fn tell(&self, mut settled: Vec<Settlement>) -> Vec<Settlement> {
        for Settlement { line, .. } in &mut settled {
            let (now, before) = (
                self.now.contains(&line.record),
                self.before.contains(&line.record),
            );
            let what = match line.outcome {
                _ if !now && !before => continue,
                Outcome::Created => {
                    line.outcome = Outcome::Updated;
                    "it replaces what the store had under its name"
                }
                _ if now => "what the store had under its name was removed for it before",
                _ => "an earlier session was about to remove what the store had under its name",
            };
            line.note = Some(match line.note.take() {
                Some(note) => format!("{note}; {what}"),
                None => what.to_owned(),
            });
        }
        settled
    }
}

/// Looks at what the store has in the place of records. Returns what is settled, and what is to be sent once more.
/// `in_doubt`: an earlier attempt may have stored them.
pub(super) async fn look_at_occupied(
    load: &LoadContext,
    occupied: Vec<(Settlement, Step)>,
    in_doubt: bool,
    replaced: &mut Replaced,
) -> Result<(Vec<Settlement>, Vec<Step>), Error> {
    let looks = occupied.into_iter().map(|(settled, step)| {
        let was_removed = replaced.now.contains(&step.number);
        let takes_place = was_removed || replaced.before.contains(&step.number);
        // Boxed: the futures borrow from this one, and the compiler loses track of that otherwise.
        Box::pin(look(
            load,
            settled,
            step,
            in_doubt,
            was_removed,
            takes_place,
        )) as futures::future::BoxFuture<'_, Result<Looked, Error>>
    });
    let looks: Vec<_> = looks.collect();
    let looked: Vec<_> = stream::iter(looks).buffered(READS).collect().await;
    let (mut settled, mut again) = (Vec::new(), Vec::new());
    for one in looked {
        match one? {
            Looked::Settled(one) => settled.push(*one),
            Looked::Removed(step) => again.push(*step),
            Looked::Untold => {}
        }
    }
    replaced.now.extend(again.iter().map(|step| step.number));
    Ok((settled, again))
}

async fn look(
    load: &LoadContext,
    mut settled: Settlement,
    step: Step,
    in_doubt: bool,
    was_removed: bool,
    takes_place: bool,
) -> Result<Looked, Error> {
    // An attempt whose answer was lost may have put the record there.
    if was_removed && !in_doubt {
        let why = "the store says that it still has something under its name, after it was asked to remove it; if it removes it \
                   later it has neither, and this one is to be loaded again";
        return Ok(rejected(
            &settled,
            InTheWay::Unremoved,
            why.to_owned(),
            Vec::new(),
        ));
    }
    let existing = load.settings.existing;
    // A record that shares its identifier with another one of the plan is looked for under its own name
    // (`Batch::is_occupied`).
    // Without a comparison of all bytes nobody knows that it is the same, and what is asked for is that it be.
    let is_shared = existing.what == Existing::Skip;
    if existing.what == Existing::Verify || existing.bytes || was_removed || is_shared {
        let (in_the_way, why, elements) = match differing(load, &step).await {
            Ok((None, how)) => {
                (settled.line.outcome, settled.line.note) = same(how, in_doubt, takes_place);
                return Ok(Looked::Settled(Box::new(settled)));
            }
            Err(Incomparable::Silent(failure)) => {
                load.end_by(&failure);
                return Ok(Looked::Untold);
            }
            // A record of which nobody can tell whether it is the same is replaced as well: that is what was asked for.
            Ok((Some(_), _)) | Err(_) if existing.what == Existing::Replace && !was_removed => {
                return replace(load, &settled, step).await;
            }
            Ok((Some(elements), _)) => {
                let why = if was_removed {
                    "somebody else has stored another under its name, after what was there was removed"
                } else {
                    "the store has another under its name, and keeps it; `duplicates: replace` would put this one in its place"
                };
                (InTheWay::Other, why.to_owned(), elements)
            }
            Err(Incomparable::Absent) if step.follows().next().is_some() => {
                let why = "the store says that it has it already, and finds nothing under its name (404): it has another record \
                           that has its identifier";
                (InTheWay::Elsewhere, why.to_owned(), Vec::new())
            }
            Err(why @ (Incomparable::Because(_) | Incomparable::Absent)) => {
                let why = format!(
                    "the store has something under its name, which could not be compared: {}",
                    why.words()
                );
                (InTheWay::Uncompared, why, Vec::new())
            }
        };
        return Ok(rejected(&settled, in_the_way, why, elements));
    }
    replace(load, &settled, step).await
}

/// Returns the outcome and the note of a record that the store has as it is.
fn same(how: &str, in_doubt: bool, takes_place: bool) -> (Outcome, Option<String>) {
    if takes_place {
        let note = "it replaces what the store had under its name";
        (Outcome::Updated, Some(note.to_owned()))
    } else if in_doubt {
        let note = "an attempt whose answer was lost may have stored it";
        (Outcome::Created, Some(note.to_owned()))
    } else {
        let note = format!("the store already has it, with {how}");
        (Outcome::Unchanged, Some(note))
    }
}

/// Removes what the store has under the name of a record, so that the record can be sent once more.
async fn replace(load: &LoadContext, settled: &Settlement, step: Step) -> Result<Looked, Error> {
    // The session that goes on with the run has to know that there was something.
    load.setup.ledger.remove(&[step.number]).await?;
    Ok(match remove(load, &step).await {
        Ok(None) => Looked::Removed(Box::new(step)),
        Ok(Some(why)) => {
            let why = format!(
                "the store has something under its name, which could not be removed: {why}"
            );
            rejected(settled, InTheWay::Unremoved, why, Vec::new())
        }
        Err(silent) => {
            load.end(&silent.what, silent.hint);
            Looked::Untold
        }
    })
}

/// Compares a record with what the store has under its name. Returns the elements in which they differ, if they do, and
/// what was compared, in words.
async fn differing(
    load: &LoadContext,
    step: &Step,
) -> Result<(Option<Vec<String>>, &'static str), Incomparable> {
    let (gate, target) = (&load.link.gate, &load.link.target);
    let is_small = step.wire().length <= LARGEST;
    let exactly = load.settings.existing.bytes && is_small;
    let how = match (exactly, load.settings.existing.bytes) {
        (true, _) => "the same bytes",
        (false, false) => "the same attributes",
        (false, true) => "the same attributes; its bytes are too many to be compared",
    };
    let Some(mut read) = target.read_to_compare(step, exactly) else {
        return Err("it has no name to ask by".to_owned().into());
    };
    // The description of a record is smaller than the record, but for a small one.
    let largest = Largest::holding(usize::try_from(step.wire().length).unwrap_or(usize::MAX));
    read.extensions_mut().insert(largest);
    let answer = gate.call_for_record(|| read.clone()).await?;
    if matches!(answer.status().as_u16(), 404 | 410) {
        return Err(Incomparable::Absent);
    }
    if answer.status() != http::StatusCode::OK {
        return Err(format!("the store answered {}", answer.status().as_u16()).into());
    }
    let (rewriter, step, target) = (load.rewriter.clone(), step.clone(), target.clone());
    let compared = tokio::task::spawn_blocking(move || {
        let opened = rewriter.open(&step).map_err(|error| error.to_string())?;
        let open = || opened.read();
        target.differing(&open, &answer, exactly)
    });
    let compared = compared.await.map_err(|error| error.to_string())?;
    Ok((compared?, how))
}

/// The reason why a record cannot be compared with what the store has under its name.
enum Incomparable {
    /// Something about the record or the answer, in words.
    Because(String),
    /// The store has nothing under its name.
    Absent,
    /// The target answers no question any more.
    Silent(CallFailure),
}

impl Incomparable {
    fn words(&self) -> &str {
        match self {
            Self::Because(why) => why,
            Self::Absent => "the store answered 404",
            Self::Silent(failure) => &failure.what,
        }
    }
}

impl From<CallFailure> for Incomparable {
    fn from(failure: CallFailure) -> Self {
        if failure.is_final {
            Self::Silent(failure)
        } else {
            Self::Because(failure.to_string())
        }
    }
}

impl From<String> for Incomparable {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

/// Removes what the store has under the name of a record. Returns why it is there still, if it is.
async fn remove(load: &LoadContext, step: &Step) -> Result<Option<String>, Silent> {
    let (gate, target) = (&load.link.gate, &load.link.target);
    let named = step.id.as_deref().map(|id| Named {
        kind: &step.kind,
        id,
    });
    let deletion = named.map(|record| Deletion {
        record,
        version: None,
    });
    let Some(remove) = deletion.and_then(|deletion| target.delete(&[deletion], None)) else {
        return Ok(Some("such a store removes nothing".to_owned()));
    };
    // It writes: it goes under the rate of what is loaded, and is counted with it.
    load.setup.counts.sent(0);
    let answer = lookup::errand(gate, remove, 1).await?;
    let status = answer.as_ref().map(|answer| answer.status().as_u16());
    let bytes = answer.as_ref().map_or(0, |answer| answer.body().len());
    load.setup.counts.answered(status, bytes as u64);
    Ok(match status {
        Some(202) => is_still_there(load, step).await?,
        // A record that is gone already need not be removed. Without an answer it may be gone or not: the store's
        // answer to the record itself tells.
        Some(200..=299 | 404 | 410) | None => None,
        Some(status) => Some(format!("it answered {status}")),
    })
}

/// Waits until something is gone that the store has promised to remove. Returns why it may still be there.
async fn is_still_there(load: &LoadContext, step: &Step) -> Result<Option<String>, Silent> {
    let (gate, target) = (&load.link.gate, &load.link.target);
    let Some(read) = target.read_to_compare(step, false) else {
        return Ok(None);
    };
    for pause in REMOVING {
        match gate.call_for_record(|| read.clone()).await {
            Ok(answer) if matches!(answer.status().as_u16(), 404 | 410) => return Ok(None),
            Err(failure) if failure.is_final => {
                return Err(Silent {
                    target: load.settings.target.clone(),
                    what: failure.to_string(),
                    hint: failure.hint().map(str::to_owned),
                });
            }
            Ok(_) | Err(_) => tokio::time::sleep(pause).await,
        }
    }
    let why = "it says that it will do so (202), and has it still; when it has done so it has neither, and this one is to be \
               loaded again";
    Ok(Some(why.to_owned()))
}

/// Settles a record that was not taken because of what the store has.
fn rejected(
    settled: &Settlement,
    in_the_way: InTheWay,
    why: String,
    elements: Vec<String>,
) -> Looked {
    let attempted = Attempted {
        attempts: settled.line.attempts,
        latency: None,
    };
    let mut rejected = settlement::told(
        settled.line.record,
        Outcome::Rejected,
        Some(http::StatusCode::CONFLICT.as_u16()),
        attempted,
        why,
    );
    rejected.line.latency_us = settled.line.latency_us;
    rejected.line.code = Some(in_the_way.as_str().to_owned());
    rejected.line.expression = elements;
    Looked::Settled(Box::new(rejected))
}
