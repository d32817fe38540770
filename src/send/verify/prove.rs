//! Asks about the records of which a run does not know whether they arrived, as far as what the stores hold proves it: by
//! their own name, their tag or their identifiers as the load's `settle` says, messages and instances by their bytes.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::{
    Error, Verify,
    compare::Reader,
    expect::{Expected, How, Item},
};
use crate::{
    event::LoadId,
    journal::{self, Proof as Noted, RecordState, SettleLine},
    lookup::{Lookups, OpenStore},
    plan::{Step, file::PlanEntry},
    record::{Outcome, StepId},
    send::{
        dependencies::DependencyTracker,
        earlier::Doubt,
        in_doubt::{Asker, Asking, Evidence},
        rewrite::BodyRewriter,
        two_steps::TwoSteps,
    },
    target::ELSEWHERE,
};

/// The records of which a run did not know whether they arrived, by what was found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proven {
    /// They are there.
    pub there: u64,
    /// They are not.
    pub not_there: u64,
    /// Nobody knows.
    pub unproven: u64,
}

impl Proven {
    /// Returns how many there were.
    pub fn all(self) -> u64 {
        self.there + self.not_there + self.unproven
    }
}

/// The number that is asked about at a time: what is found refers to what else is found, mostly near by.
const TOGETHER: usize = 64;

/// Writes down what is proven: it returns when that is durable.
pub type Keep<'a> = dyn FnMut(Vec<Noted>) -> Result<(), journal::Error> + 'a;

impl Verify<'_> {
    /// Tells whether there are records of which the run does not know whether they arrived.
    pub fn has_doubts(&self) -> bool {
        let last = self.history.last_record();
        last.is_some_and(|last| (0..=last.0).any(|record| self.is_in_doubt(StepId(record))))
    }

    fn is_in_doubt(&self, record: StepId) -> bool {
        self.history.is_interrupted(record)
            || self.history.outcome(record) == Some(Outcome::Unknown)
    }

    /// Asks about the records of which the run does not know whether they arrived, and has written down what is proven.
    /// `since` is when the run was over: what was on its way then may still arrive for a while.
    ///
    /// # Errors
    ///
    /// When plan, journal or a source cannot be read, what is proven cannot be written, or a target gives no answers any
    /// more.
    pub async fn prove(&self, since: Instant, keep: &mut Keep<'_>) -> Result<Proven, Error> {
        let names = Arc::new(DependencyTracker::of(self.plan)?);
        Expected::of(self, &names)?;
        let own = self.history.journal.clone();
        let asked = Asked {
            verify: self,
            since,
            sent: Arc::new(self.rewriter(Arc::clone(&names), Some(own))),
            names,
        };
        let mut proven = Proven::default();
        for (index, settings) in (0_u32..).zip(&self.plan.header.loads) {
            let Some(store) = self.stores.get(&settings.target) else {
                continue;
            };
            let mut steps = Vec::new();
            for entry in self.plan.steps(LoadId(index))? {
                let PlanEntry::Step(step) = entry? else {
                    continue;
                };
                if !self.is_in_doubt(step.number) {
                    continue;
                }
                let Some(store) = store else {
                    proven.unproven += 1;
                    continue;
                };
                steps.push(step);
                if steps.len() >= TOGETHER {
                    let steps = std::mem::take(&mut steps);
                    asked
                        .ask(LoadId(index), store, steps, keep, &mut proven)
                        .await?;
                }
            }
            if let (Some(store), false) = (store, steps.is_empty()) {
                asked
                    .ask(LoadId(index), store, steps, keep, &mut proven)
                    .await?;
            }
        }
        Ok(proven)
    }
}

struct Asked<'a> {
    verify: &'a Verify<'a>,
    since: Instant,
    /// Reads records as they were sent.
    sent: Arc<BodyRewriter>,
    names: Arc<DependencyTracker>,
}

impl Asked<'_> {
    async fn ask(
        &self,
        load: LoadId,
        store: &OpenStore,
        steps: Vec<Step>,
        keep: &mut Keep<'_>,
        proven: &mut Proven,
    ) -> Result<(), Error> {
        let header = &self.verify.plan.header;
        let Some(settings) = header.loads.get(load.0 as usize) else {
            return Ok(());
        };
        let mut doubts = HashMap::new();
        for step in &steps {
            doubts.insert(step.number, self.doubt(step)?);
        }
        let target = header.target_of(load);
        let kept = target.map(|target| &target.settings.store);
        let asker = Asker {
            settings,
            store: kept,
            rewriter: &self.sent,
            gate: &store.gate,
            target: &*store.target,
            since: Some(self.since),
        };
        let proofs = asker
            .prove(&steps, false, &doubts, Asking::of_lost())
            .await?;
        let mut noted = Vec::new();
        for (step, proof) in steps.into_iter().zip(proofs) {
            match proof {
                Some(Evidence::There(settlement)) => {
                    let mut line = settlement.line;
                    let refers = kept.is_none_or(|store| store.format().has_references());
                    if !refers {
                        let since = doubts.get(&step.number).and_then(|doubt| doubt.since);
                        match self.holds(store, load, &step, since).await? {
                            Some(false) => {}
                            Some(true) => line.outcome = Outcome::Unchanged,
                            None => {
                                proven.unproven += 1;
                                continue;
                            }
                        }
                    }
                    line.note = Some(NOTE.to_owned());
                    as_planned(&step, &mut line);
                    if let Some(id) = &line.id {
                        self.names.mark_stored(step.number, &step.kind, id);
                    }
                    proven.there += 1;
                    noted.push(Noted::There(line));
                }
                // A record that is named otherwise is there all the same: to send it again would make another copy.
                Some(Evidence::Absent)
                    if doubts
                        .get(&step.number)
                        .is_some_and(|doubt| doubt.is_elsewhere) =>
                {
                    proven.unproven += 1;
                }
                Some(Evidence::Absent) => {
                    proven.not_there += 1;
                    noted.push(Noted::Absent(step.number));
                }
                _ => proven.unproven += 1,
            }
        }
        keep(noted)?;
        Ok(())
    }

    /// Returns what is known of a record of which nobody knows whether it arrived.
    fn doubt(&self, step: &Step) -> Result<Doubt, Error> {
        let own = || self.sent.tag(step);
        let mut is_elsewhere = false;
        let (since, tag) = match self.verify.history.fate(step.number)? {
            RecordState::Intended(intend) => (Some(intend.at), intend.tag.or_else(own)),
            RecordState::Settled(line) | RecordState::Standing(line) => {
                is_elsewhere = line.code.as_deref() == Some(ELSEWHERE);
                (line.since, line.tag.or_else(own))
            }
            RecordState::Untouched => (None, own()),
        };
        Ok(Doubt {
            since,
            tag,
            is_replayed: false,
            is_elsewhere,
        })
    }

    /// Tells whether the store holds the bytes of an instance or a message, and whether it had them before.
    async fn holds(
        &self,
        store: &OpenStore,
        load: LoadId,
        step: &Step,
        since: Option<jiff::Timestamp>,
    ) -> Result<Option<bool>, Error> {
        let lookups = Lookups::default();
        let reader = Reader {
            verify: self.verify,
            rewriter: &self.sent,
            lookups: &lookups,
        };
        let Some(settings) = self.verify.plan.header.loads.get(load.0 as usize) else {
            return Ok(None);
        };
        let item = Item {
            id: step.id.clone(),
            step: step.clone(),
            how: How::Compared,
        };
        reader.holds(store, settings, item, since).await
    }
}

/// The note of a record that was proven to be there.
const NOTE: &str = "nobody knew whether it arrived; `stoker verify` found it in the store";

/// A record that travels in two steps is there without the references that close its cycle, as far as anybody knows: a
/// later session sends the second.
fn as_planned(step: &Step, line: &mut SettleLine) {
    TwoSteps::of(std::slice::from_ref(step), None).adjust(line);
}
