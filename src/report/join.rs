//! Joins the plan with the journal: every record of the plan, in order, with what became of it.

use std::sync::mpsc;

use super::Error;
use crate::{
    event::LoadId,
    journal::{JournalIndex, RecordState, RunDirectory, read},
    plan::{
        Action, Group, Step,
        file::{PlanEntry, Saved},
    },
    record::{Lack, Outcome, StepId},
};

/// The plan and the journal of a run.
#[derive(Debug)]
pub(super) struct JoinedRun {
    plan: Saved,
    history: JournalIndex,
    run: RunDirectory,
}

/// A record and what became of it.
#[derive(Debug)]
pub(super) struct Record {
    /// The step of the plan.
    pub(super) step: Step,
    /// The group in which it travels.
    pub(super) group: Option<Group>,
    /// The outcome.
    pub(super) outcome: Outcome,
    /// Attempts made; none where nobody knows.
    pub(super) attempts: Option<u32>,
    /// The last HTTP status.
    pub(super) status: Option<u16>,
    /// The id that the store holds it under.
    pub(super) id: Option<String>,
    /// The version that the store gave it.
    pub(super) version: Option<String>,
    /// The latency of the last attempt, in microseconds.
    pub(super) latency_us: Option<u64>,
    /// `issue.code`, or Stoker's word for why it is not supported.
    pub(super) code: Option<String>,
    /// The server's own code beside it.
    pub(super) detail: Option<String>,
    /// The paths in the record to which the code refers.
    pub(super) expression: Vec<String>,
    /// The things that the record lacks, where it was refused.
    pub(super) lacks: Vec<Lack>,
    /// The record because of which it did not arrive, where that is another.
    pub(super) by: Option<StepId>,
    /// Stoker's own words.
    pub(super) note: Option<String>,
}

impl Record {
    /// Tells whether it was on its way when a session ended, and nobody has asked about it yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.outcome == Outcome::Unknown && self.attempts.is_none()
    }
}

impl JoinedRun {
    /// Opens both files.
    pub(super) fn open(run: &RunDirectory) -> Result<Self, Error> {
        Self::of(run, read(&run.journal())?)
    }

    /// Opens the plan of a run of whose journal is known what it says.
    pub(super) fn of(run: &RunDirectory, history: JournalIndex) -> Result<Self, Error> {
        if history.brief.is_some() {
            return Err(Error::Brief(run.path().to_owned()));
        }
        let plan = Saved::open(&run.plan())?;
        let joined = Self {
            plan,
            history,
            run: run.clone(),
        };
        if let Some(last) = joined.history.last_record()
            && last.0 >= joined.plan.summary.records()
        {
            return Err(joined.disagree(format!(
                "the journal speaks of record {last}, and the plan has {}",
                joined.plan.summary.records()
            )));
        }
        Ok(joined)
    }

    pub(super) fn plan(&self) -> &Saved {
        &self.plan
    }

    pub(super) fn history(&self) -> &JournalIndex {
        &self.history
    }

    pub(super) fn disagree(&self, why: String) -> Error {
        Error::Disagree {
            run: self.run.path().to_owned(),
            why,
        }
    }

    /// Hands over every record of the plan, load by load, with what the journal says of it. Memory does not grow with their
    /// number. Another thread reads the plan meanwhile: whoever waits for the end of a load waits for this.
    pub(super) fn walk(
        &self,
        mut each: impl FnMut(&Saved, &Record, RecordState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (batches, read) = mpsc::sync_channel(AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || read_ahead(&self.plan, &batches));
            // When it fails here, the reader finds nobody listening and ends, too.
            self.join_all(read, &mut each)
        })
    }

    fn join_all(
        &self,
        read: mpsc::Receiver<Batch>,
        each: &mut impl FnMut(&Saved, &Record, RecordState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut number = 0;
        let mut group: Option<(Group, u32)> = None;
        let mut fates = self.history.fates();
        for batch in read {
            for entry in batch? {
                match entry {
                    PlanEntry::Group(next) => group = Some((next, next.records)),
                    PlanEntry::Step(step) => {
                        if step.number != StepId(number) {
                            return Err(self.disagree(format!(
                                "step {} of the plan stands where step {number} belongs",
                                step.number
                            )));
                        }
                        number += 1;
                        let travels = match &mut group {
                            Some((group, left)) if *left > 0 => {
                                *left -= 1;
                                Some(*group)
                            }
                            _ => None,
                        };
                        let fate = fates.of(step.number)?;
                        let record = join(step, travels, &fate);
                        each(&self.plan, &record, fate)?;
                    }
                }
            }
        }
        let planned = self.plan.summary.records();
        if number == planned {
            Ok(())
        } else {
            Err(self.disagree(format!(
                "the plan counts {planned} records and holds {number}"
            )))
        }
    }
}

/// Entries of a plan that are handed over together.
type Batch = Result<Vec<PlanEntry>, crate::plan::file::Error>;

const TOGETHER: usize = 512;

/// The number of batches that are read ahead: enough to keep both threads busy.
const AHEAD: usize = 4;

fn read_ahead(plan: &Saved, batches: &mpsc::SyncSender<Batch>) {
    for (load, _) in (0_u32..).zip(&plan.header.loads) {
        let mut steps = match plan.steps(LoadId(load)) {
            Ok(steps) => steps,
            Err(error) => {
                let _ = batches.send(Err(error));
                return;
            }
        };
        loop {
            let batch: Batch = steps.by_ref().take(TOGETHER).collect();
            let is_over = batch.as_ref().map_or(true, |batch| batch.len() < TOGETHER);
            let failed = batch.is_err();
            // A receiver that listens no longer has failed, and says so.
            if batches.send(batch).is_err() || failed {
                return;
            }
            if is_over {
                break;
            }
        }
    }
}

fn join(step: Step, group: Option<Group>, fate: &RecordState) -> Record {
    let mut record = Record {
        group,
        outcome: Outcome::Pending,
        attempts: Some(0),
        status: None,
        id: None,
        version: None,
        latency_us: None,
        code: None,
        detail: None,
        expression: Vec::new(),
        lacks: Vec::new(),
        by: None,
        note: None,
        step,
    };
    if let Action::Unsupported(reason) = &record.step.action {
        record.outcome = Outcome::Unsupported;
        record.code = Some(reason.code.as_str().to_owned());
        record.expression.extend(reason.path.clone());
        record.note = Some(reason.message.clone());
        return record;
    }
    match &record.step.action {
        Action::Duplicate(of) => {
            record.outcome = Outcome::Duplicate;
            record.note = Some(format!("of {}", of.place));
            return record;
        }
        Action::Blocked(by) => {
            record.outcome = Outcome::Blocked;
            record.by = Some(by.step);
            record.note = Some(format!("it needs {}, which cannot be loaded", by.place));
            return record;
        }
        Action::Send(_) | Action::Entry(_) | Action::Unsupported(_) => {}
    }
    match fate {
        RecordState::Untouched => {}
        RecordState::Intended(_) => {
            record.outcome = Outcome::Unknown;
            record.attempts = None;
            record.note = Some("the run was cut off while it was being sent".to_owned());
        }
        RecordState::Standing(line) | RecordState::Settled(line) => {
            record.outcome = line.outcome;
            record.attempts = Some(line.attempts);
            record.status = line.status;
            record.id.clone_from(&line.id);
            record.version.clone_from(&line.version);
            record.latency_us = line.latency_us;
            record.code.clone_from(&line.code);
            record.detail.clone_from(&line.detail);
            record.lacks.clone_from(&line.lacks);
            record.by = line.by;
            record.expression.clone_from(&line.expression);
            record.note.clone_from(&line.note);
        }
    }
    record
}
