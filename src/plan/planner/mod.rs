//! Decides about records one by one. Pure: it is given records and gives steps back, and touches nothing else.

use super::{
    Action, Group, GroupId, Packaging, PlanHeader, Reason, ReasonCode, Step, Summary,
    summary::LoadSummary,
};
use crate::{
    event::LoadId,
    manifest::LoadSettings,
    record::{Position, Span, StepId},
    source::{Malformed, SourceFile},
    target::Facts,
};
use facets::Known;
pub(super) use facets::Place;
use notices::Notices;

mod facets;
mod notices;

/// A decision of the planner, in the order in which a plan holds them.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The next steps travel together.
    Group {
        /// The group in which the steps travel.
        group: Group,
        /// It is over the target's limits: the steps travel in parts.
        split: bool,
    },
    /// A record, with its operation.
    Step {
        /// The step of the record.
        step: Step,
        /// The record's number in the order in which records were found.
        found: u32,
    },
}

/// Decides what is done with every record of a plan.
#[derive(Debug)]
pub struct Planner<'a> {
    header: &'a PlanHeader,
    load: LoadId,
    next_group: u32,
    summary: Summary,
    notices: Notices,
    /// The number of the record that is being decided about.
    found: u32,
    /// The records so far that refer to no others.
    known: Known,
    /// The number of steps of the load so far, whatever they are of: by it others name a step.
    numbered: u64,
    out: Vec<Decision>,
}

impl<'a> Planner<'a> {
    /// Starts a plan.
    pub fn new(header: &'a PlanHeader) -> Self {
        Self {
            header,
            load: LoadId(0),
            next_group: 0,
            summary: Summary {
                loads: vec![LoadSummary::default(); header.loads.len()],
                warnings: Vec::new(),
                references: std::collections::BTreeMap::new(),
            },
            notices: Notices::default(),
            found: 0,
            known: Known::default(),
            numbered: 0,
            out: Vec::new(),
        }
    }

    /// Takes note of the number of the record that comes next.
    pub fn found(&mut self, found: u32) {
        self.found = found;
    }

    /// Returns the number of the record that is being decided about.
    pub(crate) fn current(&self) -> u32 {
        self.found
    }

    /// Returns the load whose records come.
    pub(crate) fn load_id(&self) -> LoadId {
        self.load
    }

    /// Goes on to a load; the records that follow are its own.
    pub fn load(&mut self, load: LoadId) {
        self.load = load;
        self.numbered = 0;
    }

    /// Takes note of a file of the load.
    pub fn file(&mut self) {
        if let Some(load) = self.summary.loads.get_mut(self.load.0 as usize) {
            load.files += 1;
        }
    }

    /// Adds a warning, in words that hold no content of records.
    pub fn warn(&mut self, warning: String) {
        self.summary.warnings.push(warning);
    }

    /// Returns what has been decided since the last call.
    pub fn decided(&mut self) -> std::vec::Drain<'_, Decision> {
        self.out.drain(..)
    }

    /// Adds a warning of a kind, of which there may be as many as records: the first are named, the rest is counted.
    pub(crate) fn notice(&mut self, kind: &'static str, warning: String) {
        self.summary
            .warnings
            .extend(self.notices.take(kind, warning));
    }

    /// Ends the plan.
    pub fn finish(mut self) -> Summary {
        self.summary.warnings.extend(self.notices.rest());
        self.summary
    }

    /// Decides about a file in a form that is not read: one step, so that it is counted and seen.
    pub fn unrecognized(&mut self, file: &SourceFile, size: u64) {
        let span = Span {
            start: 0,
            length: size,
        };
        let position = Position {
            source: file.id,
            index: 0,
            line: 1,
            entry: None,
            span,
        };
        let message = "not a form that is read: .json, .ndjson or .jsonl, also with .gz or .zst";
        self.unsupported(
            position,
            span,
            String::new(),
            None,
            Reason::new(ReasonCode::UnrecognizedForm, message),
        );
    }

    /// Decides about bytes that are no record.
    pub fn malformed(&mut self, malformed: &Malformed) {
        let reason = Self::why_malformed(malformed);
        let position = malformed.position;
        self.unsupported(position, position.span, String::new(), None, reason);
    }

    /// Says why bytes are no record.
    pub(crate) fn why_malformed(malformed: &Malformed) -> Reason {
        let hint = malformed.hint.map(|hint| format!("; {hint}"));
        Reason {
            code: malformed.code(),
            message: format!(
                "{} (line {}, column {}){}",
                malformed.problem.what,
                malformed.line,
                malformed.column,
                hint.unwrap_or_default()
            ),
            path: malformed.path().map(str::to_owned),
        }
    }

    fn unsupported(
        &mut self,
        position: Position,
        body: Span,
        kind: String,
        id: Option<String>,
        reason: Reason,
    ) {
        let action = Action::Unsupported(reason);
        let step = Step {
            number: StepId(0),
            load: self.load,
            position,
            body,
            kind,
            id,
            full_url: None,
            action,
            links: Vec::new(),
            hash: 0,
            first: None,
        };
        self.push(step, self.found);
    }

    /// Lets the `records` steps that follow travel together. With `split` they are over the target's limits, and travel
    /// in parts.
    pub(crate) fn group(&mut self, packaging: Packaging, records: u32, bytes: u64, split: bool) {
        let id = GroupId(self.next_group);
        self.next_group += 1;
        let group = Group {
            id,
            packaging,
            records,
            bytes,
            atomic: packaging == Packaging::Transaction && !split,
        };
        self.out.push(Decision::Group { group, split });
    }

    /// Counts an item of a source that is no record to load.
    pub(crate) fn leave_out(&mut self, code: &str) {
        if let Some(load) = self.summary.loads.get_mut(self.load.0 as usize) {
            load.leave_out(code);
        }
    }

    /// Counts a step.
    pub(crate) fn push(&mut self, step: Step, found: u32) {
        if let Some(load) = self.summary.loads.get_mut(self.load.0 as usize) {
            load.count(&step);
        }
        self.numbered += 1;
        self.out.push(Decision::Step { step, found });
    }

    /// Returns the settings of the load.
    pub(crate) fn settings(&self) -> &'a LoadSettings {
        &self.header.loads[self.load.0 as usize]
    }

    /// Returns the target of the load.
    pub(crate) fn target(&self) -> Option<&'a super::PlannedTarget> {
        self.header.target_of(self.load)
    }

    /// Returns what is known of the target of the load.
    pub(crate) fn facts(&self) -> &'a Facts {
        const NOTHING_KNOWN: &Facts = &Facts::UNKNOWN;
        self.header
            .target_of(self.load)
            .map_or(NOTHING_KNOWN, |target| &target.facts)
    }
}
