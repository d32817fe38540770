//! Finds out what became of records that may have arrived without anybody's knowing: by asking the store, where that can
//! prove anything (`settle`), and never by guessing.
//!
//! A hit is ours if its content is what was sent and it is not older than the moment when it was about to be sent. A
//! miss proves that the record did not arrive only where the index of the store keeps up with its writes, and once a
//! request that was on its way when its connection broke is over. `proof` asks, `recovery` decides by the answers.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Error,
    context::LoadContext,
    earlier::Doubt,
    settlement::{self, Attempted},
    work::Work,
};
use crate::{
    journal::Settlement,
    plan::{Packaging, Step},
    target::{ELSEWHERE, Little},
};
pub(super) use asking::Asking;
pub(super) use evidence::Evidence;
pub(super) use proof::Asker;
use recovery::{Decision, Recovery};

mod asking;
mod evidence;
mod proof;
mod recovery;
mod together;

/// Records whose last attempt may have had its effect.
#[derive(Debug)]
pub(super) struct InDoubt {
    pub(super) records: Vec<Doubtful>,
    pub(super) request: RequestInDoubt,
}

/// The request in which records in doubt travelled.
#[derive(Debug)]
pub(super) struct RequestInDoubt {
    pub(super) packaging: Option<Packaging>,
    pub(super) atomic: bool,
    /// When they were first about to be sent.
    pub(super) since: Option<Timestamp>,
    pub(super) status: Option<u16>,
    pub(super) attempted: Attempted,
    /// The event that left the records in doubt, in words without content.
    pub(super) what: String,
    /// An answer came, and told too little.
    pub(super) mumbled: Option<UnclearAnswer>,
    /// The last answer, or the bytes that came instead of one: content.
    pub(super) heard: Bytes,
}

/// A record that may have been taken.
#[derive(Debug)]
pub(super) struct Doubtful {
    pub(super) step: Step,
    /// The answer to it, where it came with a status of success and with words of failure.
    pub(super) refusal: Option<RefusedInDoubt>,
}

/// An answer that tells too little.
#[derive(Debug)]
pub(super) struct UnclearAnswer {
    /// The way in which it says too little; none where its words are of failure.
    pub(super) little: Option<Little>,
    /// The status.
    pub(super) status: u16,
    /// The body of the answer: content.
    pub(super) body: Bytes,
}

/// Words of failure under a status of success, or a refusal without a word.
#[derive(Debug, Clone)]
pub(super) struct RefusedInDoubt {
    /// The status.
    pub(super) status: u16,
    /// The server's own text: content.
    pub(super) answer: Bytes,
}

impl RefusedInDoubt {
    /// Tells whether the status itself is a refusal.
    fn is_by_status(&self) -> bool {
        self.status >= 400
    }
}

/// The answers to one request that were lost in a row, so that the store had to be asked.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The number of lost answers.
    pub(super) times: u32,
    /// Attempts made meanwhile.
    pub(super) attempts: u32,
    /// The time when the records in doubt first left. The store may take them after it has been asked: they are ours
    /// all the same.
    pub(super) since: Option<Timestamp>,
}

impl Lost {
    /// An answer was lost once more.
    pub(super) fn add(&mut self, request: &RequestInDoubt) {
        self.times += 1;
        self.attempts = request.attempted.attempts;
        self.since = self.since.or(request.since);
    }

    /// One came.
    pub(super) fn end(&mut self) {
        (self.times, self.attempts) = (0, 0);
    }
}

/// Settles those of a request that an earlier session left in doubt, as far as asking proves anything. The rest is to be
/// sent.
pub(super) async fn settle_earlier(
    load: &LoadContext,
    mut work: Work,
) -> Result<(Work, Vec<Settlement>), Error> {
    let earlier = &load.setup.earlier;
    let in_doubt = |step: &Step| earlier.is_in_doubt(step.number);
    if !work.steps.iter().any(in_doubt) {
        return Ok((work, Vec::new()));
    }
    let mut doubts = HashMap::new();
    for step in &work.steps {
        if let Some(doubt) = earlier.doubt(step.number, load.rewriter.tag(step))? {
            doubts.insert(step.number, doubt);
        }
    }
    // A transaction is intended as a whole; one of which only some are in doubt was being sent in parts.
    work.atomic &= doubts.len() == work.steps.len();
    // All of a transaction are about to be sent at once: where others of it were not, it went in parts, and what became
    // of one says nothing of the rest.
    work.atomic &= work.steps.iter().all(in_doubt);
    // So it did where they were about to be sent at different times: a part is intended when the one before it has been
    // answered, and what became of that may not have been written down.
    let mut since = doubts.values().map(|doubt| doubt.since);
    let first = since.next();
    work.atomic &= since.all(|other| Some(other) == first);
    let what = "the run was cut off while it was being sent";
    let attempted = Attempted::default();
    let asking = Asking::of_lost();
    let proofs = proof::asker(load)
        .prove(&work.steps, work.atomic, &doubts, asking)
        .await?;
    if ends_by(load, &proofs) {
        work.steps.clear();
        work.bodies.clear();
        return Ok((work, Vec::new()));
    }
    let mut settled = Vec::new();
    let (mut steps, mut bodies) = (Vec::new(), Vec::new());
    let mut all_bodies = work.bodies.into_iter();
    for (step, proof) in work.steps.into_iter().zip(proofs) {
        let body = all_bodies.next();
        let doubt = doubts.get(&step.number);
        let (why, doubt) = match (proof, doubt) {
            (Some(Evidence::There(settlement)), _) => {
                settled.push(*settlement);
                continue;
            }
            (_, Some(doubt)) if doubt.is_elsewhere && !doubt.is_replayed => {
                (recovery::ELSEWHERE_STILL.to_owned(), doubt)
            }
            (Some(Evidence::Nothing(why)), Some(doubt)) if !doubt.is_replayed => (why, doubt),
            (Some(Evidence::Unasked(why)), Some(doubt)) => (why, doubt),
            _ => {
                steps.push(step);
                bodies.extend(body);
                continue;
            }
        };
        let note = if doubt.is_elsewhere {
            why
        } else {
            format!("{what}, and {why}")
        };
        let mut unknown = settlement::unknown(step.number, None, attempted, note, doubt);
        unknown.line.code = doubt.is_elsewhere.then(|| ELSEWHERE.to_owned());
        settled.push(unknown);
    }
    (work.steps, work.bodies) = (steps, bodies);
    Ok((work, settled))
}

/// The result of asking about records whose last attempt may have had its effect.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Those of which it is known, or never will be.
    pub(super) settled: Vec<Settlement>,
    /// Those that are sent anew, as they were.
    pub(super) again: Option<Work>,
    /// Those that are not there, after all the attempts that they had together: each has to show by itself whether it can be
    /// taken.
    pub(super) apart: Vec<Step>,
}

/// Finds out what became of records whose last attempt may have had its effect.
pub(super) async fn recover(
    load: &LoadContext,
    doubtful: InDoubt,
    may_send: bool,
) -> Result<Recovered, Error> {
    let InDoubt { records, request } = doubtful;
    let records = records.into_iter().map(|one| (one.step, one.refusal));
    let (steps, refusals): (Vec<Step>, Vec<Option<RefusedInDoubt>>) = records.unzip();
    let mut doubts = HashMap::new();
    for step in &steps {
        // The doubt of an earlier session, or of another run, came first.
        let earlier = load
            .setup
            .earlier
            .doubt(step.number, load.rewriter.tag(step))?;
        let doubt = earlier.unwrap_or_else(|| Doubt {
            since: request.since,
            tag: load.rewriter.tag(step),
            is_replayed: false,
            is_elsewhere: false,
        });
        doubts.insert(step.number, doubt);
    }
    let proofs = if load.setup.stop.is_stopping() {
        // The next session asks.
        let unasked = |_| Some(Evidence::Unasked("the run was stopping".to_owned()));
        steps.iter().map(unasked).collect()
    } else {
        let asking = Asking::of(request.mumbled.as_ref());
        proof::asker(load)
            .prove(&steps, request.atomic, &doubts, asking)
            .await?
    };
    if ends_by(load, &proofs) {
        return Ok(Recovered::default());
    }
    let recovery = Recovery::new(load, &request, steps.len(), &doubts, may_send);
    let (mut recovered, mut again) = (Recovered::default(), Vec::new());
    for ((step, refusal), proof) in steps.into_iter().zip(refusals).zip(proofs) {
        match recovery.decide(&step, refusal.as_ref(), proof) {
            Decision::Settled(settlement) => recovered.settled.push(*settlement),
            Decision::Again => again.push(step),
            Decision::Apart => recovered.apart.push(step),
        }
    }
    recovered.again = (!again.is_empty()).then_some(Work {
        atomic: request.atomic,
        ..Work::unread(again, request.packaging)
    });
    Ok(recovered)
}

/// Tells whether nobody can be asked any more, and ends the run then: what is in doubt is not settled, and the next session
/// asks about it. Of what goes together, none is settled then.
fn ends_by(load: &LoadContext, proofs: &[Option<Evidence>]) -> bool {
    let silent = proofs.iter().flatten().find_map(|proof| match proof {
        Evidence::Silent(failure) => Some(failure),
        _ => None,
    });
    if let Some(failure) = silent {
        load.end_by(failure);
    }
    silent.is_some()
}
