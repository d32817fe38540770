//! Takes in what a run has loaded: the records of its plan, with what its journal says of each.
//!
//! A run does so at its end, and a later one for a run that was killed. The rows are written by `rows`; what was deleted since
//! is taken out by `removed`.

use std::path::Path;

use jiff::Timestamp;

use super::{
    Before, Counter, Error, History, Names, ReferenceMeaning, directory::directory_of, merge,
    names, rows, segment::Key,
};
use crate::{
    event::LoadId,
    journal::{self, RecordState, RunDirectory, SettleLine},
    plan::{
        PlanHeader, Step,
        file::{PlanEntry, Saved},
    },
    record::{Link, Operation, Outcome},
    target::ELSEWHERE,
};

impl History {
    /// Takes in what the journal of a run says, if it says more than when it was last taken in.
    ///
    /// # Errors
    ///
    /// When the run or the history cannot be read or written.
    pub fn take_in(&mut self, run: &RunDirectory) -> Result<(), Error> {
        let size = fs_err::metadata(run.journal()).map_err(|e| journal::Error {
            what: "cannot read the journal",
            path: run.journal(),
            why: e.to_string(),
        })?;
        if self.known(&run.name()) == Some(size.len()) {
            return Ok(());
        }
        let told = journal::read(&run.journal())?;
        if told.brief.is_some() {
            return Ok(());
        }
        let saved = Saved::open(&run.plan())?;
        let records = saved.summary.records();
        let mut intake = Intake::new(&self.directory, &saved.header, records);
        let mut fates = told.fates();
        for (index, _) in (0_u32..).zip(&saved.header.loads) {
            for entry in saved.steps(LoadId(index))? {
                let PlanEntry::Step(step) = entry? else {
                    continue;
                };
                if step.action.operation().is_some() {
                    intake.take(&step, fates.of(step.number)?, &told)?;
                }
            }
        }
        intake.finish(run, size.len())?;
        merge::merge(&self.directory)?;
        self.look()
    }
}

/// The number of records that are counted together. Each is looked up in a set that is far larger than the processor's
/// caches; look-ups that follow each other at once wait for memory side by side.
const TOGETHER: usize = 256;

/// A record that is still to be counted among those of its key.
#[derive(Debug)]
struct Taken {
    load: LoadId,
    operation: Operation,
    hash: u128,
    row: Row,
}

/// The part of a record that is to be kept.
#[derive(Debug)]
enum Row {
    /// It did not arrive, or the history has told the run of it.
    Nothing,
    /// The state that a later run should know.
    Known(Before),
    /// The same, of a record that refers to some which come later in the plan.
    Ahead(Before, Vec<Link>),
}

/// The records that a run has loaded, on their way into the history.
#[derive(Debug)]
pub struct Intake {
    collected: rows::Collected,
    counter: Counter,
    taken: Vec<Taken>,
    names: Names,
    /// Those that refer to records which come later in the plan.
    ahead: Vec<(Key, Before, Vec<Link>)>,
    /// Per load, the place of its target, and whether its records are marked with tags.
    loads: Vec<Option<(String, bool)>>,
    /// The records that the run knew from the history itself are left out.
    is_told: bool,
}

impl Intake {
    /// Begins to take in a run that ends, for the history of a state directory: what the run knew from there is there.
    /// `records` is their number in the plan.
    pub fn of(state: &Path, header: &PlanHeader, records: u64) -> Self {
        Self {
            is_told: true,
            ..Self::new(&directory_of(state), header, records)
        }
    }

    fn new(directory: &Path, header: &PlanHeader, records: u64) -> Self {
        let mut collected = rows::Collected::new(directory);
        let loads = (0_u32..).zip(&header.loads).map(|(index, load)| {
            let target = header.target_of(LoadId(index))?;
            let place = target.settings.store.place();
            collected.target(&place);
            Some((place, load.settles_by() == crate::manifest::Settle::Tag))
        });
        let loads = loads.collect();
        Self {
            collected,
            counter: Counter::expecting(records),
            taken: Vec::with_capacity(TOGETHER),
            names: Names::default(),
            ahead: Vec::new(),
            loads,
            is_told: false,
        }
    }

    /// Takes the next record of the plan, with what the journal says of it.
    ///
    /// # Errors
    ///
    /// When the history cannot be written.
    pub fn take(
        &mut self,
        step: &Step,
        fate: RecordState,
        told: &journal::JournalIndex,
    ) -> Result<(), Error> {
        let Some(interaction) = step.action.operation() else {
            return Ok(());
        };
        let Some(Some((_, is_tagged))) = self.loads.get(step.load.0 as usize) else {
            return Ok(());
        };
        self.names.keep(step);
        if let RecordState::Settled(SettleLine { id: Some(id), .. })
        | RecordState::Standing(SettleLine { id: Some(id), .. }) = &fate
        {
            self.names.give(step.number, &step.kind, id);
        }
        let tag = is_tagged.then(|| told.journal.tag(step.number));
        self.taken.push(Taken {
            load: step.load,
            operation: interaction,
            hash: step.hash,
            row: self.row(step, interaction, fate, tag),
        });
        if self.taken.len() < TOGETHER {
            return Ok(());
        }
        self.count_taken()
    }

    fn row(
        &self,
        step: &Step,
        interaction: Operation,
        fate: RecordState,
        tag: Option<String>,
    ) -> Row {
        if self.is_told
            && let RecordState::Settled(line) = &fate
            && line.outcome == Outcome::Unchanged
            && line.attempts == 0
        {
            return Row::Nothing;
        }
        let Some(mut before) = before(step, interaction, fate, tag) else {
            return Row::Nothing;
        };
        if matches!(before, Before::Loaded { .. }) && names::looks_ahead(step) {
            return Row::Ahead(before, step.links.clone());
        }
        before.means(self.names.meaning(&step.links));
        Row::Known(before)
    }

    /// Counts the records that wait for it, and keeps their rows.
    fn count_taken(&mut self) -> Result<(), Error> {
        let taken = std::mem::take(&mut self.taken);
        let placed = taken.into_iter().filter_map(|taken| {
            let (place, _) = self.loads.get(taken.load.0 as usize)?.as_ref()?;
            Some((place.as_str(), taken))
        });
        let placed: Vec<(&str, Taken)> = placed.collect();
        let number =
            |(place, taken): &(&str, Taken)| self.counter.count(place, taken.operation, taken.hash);
        let numbers: Vec<u32> = placed.iter().map(number).collect();
        for ((place, taken), nth) in placed.into_iter().zip(numbers) {
            let key = || rows::key(place, taken.operation, taken.hash, nth);
            match taken.row {
                Row::Nothing => {}
                Row::Known(before) => self.collected.push(key(), &before)?,
                Row::Ahead(before, links) => self.ahead.push((key(), before, links)),
            }
        }
        self.taken.reserve(TOGETHER);
        Ok(())
    }

    /// Keeps what was taken; `size` is how long the journal was by then.
    ///
    /// # Errors
    ///
    /// When the history cannot be written.
    pub fn finish(mut self, run: &RunDirectory, size: u64) -> Result<(), Error> {
        self.count_taken()?;
        for (key, mut before, links) in std::mem::take(&mut self.ahead) {
            before.means(self.names.meaning(&links));
            self.collected.push(key, &before)?;
        }
        self.collected.finish(vec![(run.name(), size)], false)
    }
}

/// Returns what a later run should know of a record; nothing of one that did not arrive, which leaves what an earlier run
/// has told of it.
fn before(
    step: &Step,
    interaction: Operation,
    fate: RecordState,
    tag: Option<String>,
) -> Option<Before> {
    let once = !interaction.is_idempotent();
    match fate {
        RecordState::Intended(intend) => once.then(|| Before::Doubtful {
            since: intend.at,
            tag: intend.tag.or(tag),
        }),
        RecordState::Settled(SettleLine {
            outcome: Outcome::Unknown,
            code: Some(code),
            ..
        }) if code == ELSEWHERE => Some(Before::Elsewhere),
        RecordState::Settled(SettleLine {
            outcome: Outcome::Unknown,
            since: Some(since),
            tag: others,
            ..
        }) => once.then(|| Before::Doubtful {
            since,
            tag: others.or(tag),
        }),
        // It is there, and not whole: found by its tag, it is made so.
        RecordState::Standing(_) => once.then_some(Before::Doubtful {
            since: Timestamp::UNIX_EPOCH,
            tag,
        }),
        RecordState::Settled(line) if line.outcome.is_well() => Some(Before::Loaded {
            id: line.id.or_else(|| step.id.clone())?,
            version: line.version,
            meaning: ReferenceMeaning::Untold,
        }),
        RecordState::Untouched | RecordState::Settled(_) => None,
    }
}
