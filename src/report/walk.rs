//! Joins the plan with the journal: every record of the plan, in order, with what became of it.

use super::Error;
use crate::{
    event::LoadId,
    journal::{Fate, History, RunDirectory, read},
    plan::{
        Action, Group, Step,
        file::{Entry, Saved},
    },
    record::Outcome,
};

/// The plan and the journal of a run.
#[derive(Debug)]
pub(super) struct Joined {
    plan: Saved,
    history: History,
    run: RunDirectory,
}

/// A record and what became of it.
#[derive(Debug)]
pub(super) struct Record {
    /// What was to be done.
    pub(super) step: Step,
    /// The group in which it travels.
    pub(super) group: Option<Group>,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Attempts made; none where nobody knows.
    pub(super) attempts: Option<u32>,
    /// The last HTTP status.
    pub(super) status: Option<u16>,
    /// The id that the store holds it under.
    pub(super) id: Option<String>,
    /// The version that the store gave it.
    pub(super) version: Option<String>,
    /// How long the last attempt took, in microseconds.
    pub(super) latency_us: Option<u64>,
    /// `issue.code`, or Stoker's word for why it is not supported.
    pub(super) code: Option<String>,
    /// Where in the record.
    pub(super) expression: Vec<String>,
    /// Stoker's own words.
    pub(super) note: Option<String>,
}

impl Joined {
    /// Opens both files.
    pub(super) fn open(run: &RunDirectory) -> Result<Self, Error> {
        let plan = Saved::open(&run.plan())?;
        let history = read(&run.journal())?;
        let joined = Self {
            plan,
            history,
            run: run.clone(),
        };
        if let Some(last) = joined.history.last_record()
            && last >= joined.plan.summary.records()
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

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn disagree(&self, why: String) -> Error {
        Error::Disagree {
            run: self.run.path().to_owned(),
            why,
        }
    }

    /// Hands over every record of the plan, load by load. Memory does not grow with their number.
    pub(super) fn walk(
        &mut self,
        mut each: impl FnMut(&Saved, &Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut number = 0;
        for (load, _) in (0u32..).zip(&self.plan.header.loads) {
            let mut group: Option<(Group, u32)> = None;
            for entry in self.plan.steps(LoadId(load))? {
                match entry? {
                    Entry::Group(next) => group = Some((next, next.records)),
                    Entry::Step(step) => {
                        if step.number != number {
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
                        let record = join(step, travels, &mut self.history)?;
                        each(&self.plan, &record)?;
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

fn join(step: Step, group: Option<Group>, history: &mut History) -> Result<Record, Error> {
    let mut record = Record {
        group,
        outcome: Outcome::Pending,
        attempts: Some(0),
        status: None,
        id: None,
        version: None,
        latency_us: None,
        code: None,
        expression: Vec::new(),
        note: None,
        step,
    };
    if let Action::Unsupported(reason) = &record.step.action {
        record.outcome = Outcome::Unsupported;
        record.code = Some(reason.code.clone());
        record.expression.extend(reason.path.clone());
        record.note = Some(reason.message.clone());
        return Ok(record);
    }
    match &record.step.action {
        Action::Duplicate(of) => {
            record.outcome = Outcome::Duplicate;
            record.note = Some(format!("of {}", of.place));
            return Ok(record);
        }
        Action::Blocked(by) => {
            record.outcome = Outcome::Blocked;
            record.note = Some(format!("it needs {}, which cannot be loaded", by.place));
            return Ok(record);
        }
        Action::Send(_) | Action::Entry(_) | Action::Unsupported(_) => {}
    }
    match history.fate(record.step.number)? {
        Fate::Untouched => {}
        Fate::Intended(_) => {
            record.outcome = Outcome::Unknown;
            record.attempts = None;
            record.note = Some("the run was cut off while it was being sent".to_owned());
        }
        Fate::Standing(line) | Fate::Settled(line) => {
            record.outcome = line.outcome;
            record.attempts = Some(line.attempts);
            record.status = line.status;
            record.id = line.id;
            record.version = line.version;
            record.latency_us = line.latency_us;
            record.code = line.code;
            record.expression = line.expression;
            record.note = line.note;
        }
    }
    Ok(record)
}
