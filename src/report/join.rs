//! Joins the plan with the journal: every record of the plan, in order, with what became of it.

use super::{
    Error,
    ahead::{Ahead, Deserted, Maker},
};
use crate::{
    event::LoadId,
    journal::{self, JournalIndex, RecordState, RunDirectory, read},
    plan::{
        self, Action, Group, Step,
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
    /// number. Two other threads read plan and journal meanwhile: the end of a load waits for this.
    pub(super) fn walk(
        &self,
        mut each: impl FnMut(&Saved, &Record, RecordState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        std::thread::scope(|scope| {
            let entries = Ahead::of(scope, |maker| read_plan(&self.plan, maker));
            let states = Ahead::of(scope, |maker| self.read_states(maker));
            self.join_all(entries, states, &mut each)
        })
    }

    fn join_all(
        &self,
        entries: Ahead<Result<PlanEntry, plan::file::Error>>,
        mut states: Ahead<Result<RecordState, journal::Error>>,
        each: &mut impl FnMut(&Saved, &Record, RecordState) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let planned = self.plan.summary.records();
        let counts = |number| {
            self.disagree(format!(
                "the plan counts {planned} records and holds {number}"
            ))
        };
        let mut number = 0;
        let mut group: Option<(Group, u32)> = None;
        for entry in entries {
            match entry? {
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
                    let state = states.next().ok_or_else(|| counts(number))??;
                    let record = join(step, travels, &state);
                    each(&self.plan, &record, state)?;
                }
            }
        }
        if number == planned {
            Ok(())
        } else {
            Err(counts(number))
        }
    }

    /// Reads what the journal says of the records, in the order of the plan.
    fn read_states(
        &self,
        maker: &mut Maker<Result<RecordState, journal::Error>>,
    ) -> Result<(), Deserted> {
        let mut states = self.history.fates();
        (0..self.plan.summary.records())
            .try_for_each(|number| maker.push(states.of(StepId(number))))
    }
}

/// Reads the steps of all loads.
fn read_plan(
    plan: &Saved,
    maker: &mut Maker<Result<PlanEntry, plan::file::Error>>,
) -> Result<(), Deserted> {
    for (load, _) in (0_u32..).zip(&plan.header.loads) {
        match plan.steps(LoadId(load)) {
            Ok(mut steps) => steps.try_for_each(|entry| maker.push(entry))?,
            Err(error) => return maker.push(Err(error)),
        }
    }
    Ok(())
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
