//! Decides about records one by one. Pure: it is given records and gives steps back, and touches nothing else.

use super::{Action, Group, Header, Reason, Step, Summary, summary::LoadSummary};
use crate::{
    event::LoadId,
    fhir::{
        reference::{is_address, is_id},
        request::RequestUrl,
        types::is_known_type,
    },
    manifest::{LoadSettings, Missing},
    record::{Operation, Position, Span},
    source::{Found, Malformed, SourceFile},
    target::{self, Endpoint, Facts},
};
use bundle::Bundle;
use facets::Known;
pub(super) use facets::Place;
use notices::Notices;

mod bundle;
mod entry;
mod facets;
mod left_out;
mod notices;

/// What the planner decided, in the order in which a plan holds it.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The next steps travel together.
    Group {
        /// How.
        group: Group,
        /// It is over the target's limits: the steps travel in parts.
        split: bool,
    },
    /// What is done with a record.
    Step {
        /// What.
        step: Step,
        /// The record's number in the order in which records were found.
        found: u32,
    },
}

/// Decides what is done with every record of a plan.
#[derive(Debug)]
pub struct Planner<'a> {
    header: &'a Header,
    load: LoadId,
    next_group: u32,
    summary: Summary,
    bundle: Option<Bundle>,
    /// The base under which the target of the load is known.
    base: Option<String>,
    notices: Notices,
    /// The number of the record that is being decided about.
    found: u32,
    /// What is known of records that refer to no others.
    known: Known,
    /// How many such records of the load have been decided about.
    numbered: u64,
    out: Vec<Decision>,
}

impl<'a> Planner<'a> {
    /// Starts a plan.
    pub fn new(header: &'a Header) -> Self {
        Self {
            header,
            load: LoadId(0),
            next_group: 0,
            summary: Summary {
                loads: vec![LoadSummary::default(); header.loads.len()],
                warnings: Vec::new(),
                references: std::collections::BTreeMap::new(),
            },
            bundle: None,
            base: None,
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

    /// Goes on to a load; the records that follow are its own.
    pub fn load(&mut self, load: LoadId) {
        self.load = load;
        self.numbered = 0;
        let target = self.header.target_of(load);
        let endpoint = target.and_then(|target| Endpoint::of(&target.settings, None).ok());
        self.base = endpoint.map(|endpoint| endpoint.base.to_string());
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

    /// Adds a warning of a kind, of which there may be as many as Bundles: the first are named, the rest is counted.
    fn notice(&mut self, kind: &'static str, warning: String) {
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
            reason("unrecognized-form", message),
        );
    }

    /// Decides about bytes that are no record.
    pub fn malformed(&mut self, malformed: &Malformed) {
        let hint = malformed.hint.map(|hint| format!("; {hint}"));
        let reason = Reason {
            code: Reason::MALFORMED.to_owned(),
            message: format!(
                "{} (line {}, column {}){}",
                malformed.problem.what,
                malformed.line,
                malformed.column,
                hint.unwrap_or_default()
            ),
            path: malformed.path().map(str::to_owned),
        };
        let position = malformed.position;
        self.refuse_transaction(position.entry, &reason);
        self.unsupported(position, position.span, String::new(), None, reason);
    }

    /// Decides about a record.
    pub fn record(&mut self, found: &Found<'_>) {
        match found.entry {
            Some(entry) if self.is_executed() => self.entry(found, entry),
            Some(entry) => {
                if let Some(refused) = self.refused() {
                    self.refuse(found, refused);
                } else if entry.resource.is_none() {
                    self.refuse(found, reason("no-resource", "the entry holds no resource"));
                } else {
                    self.single(found);
                }
            }
            None => self.single(found),
        }
    }

    /// Decides about a record that travels by itself.
    fn single(&mut self, found: &Found<'_>) {
        match self.judge(found) {
            Ok(interaction) => {
                let limit = self.facts().limits.resource_bytes.unwrap_or(u64::MAX);
                if found.body().length > limit {
                    let message = format!(
                        "it has {} bytes, and the target takes {limit}",
                        found.body().length
                    );
                    return self.refuse(found, reason("too-large", &message));
                }
                let step = self.step(found, Action::Send(interaction));
                self.push(step, self.found);
            }
            Err(reason) => self.refuse(found, reason),
        }
    }

    /// Returns what is done with a resource on its own, or why nothing can be.
    fn judge(&self, found: &Found<'_>) -> Result<Operation, Reason> {
        let kind = found
            .resource_type()
            .ok_or_else(|| reason("no-type", "it has no resourceType"))?;
        self.check_type(&kind)?;
        let load = self.settings();
        let interaction = load.interaction.unwrap_or(Operation::Create);
        match interaction {
            Operation::Update => match found.id() {
                Some(id) if is_id(&id) => Ok(interaction),
                Some(_) => Err(reason("bad-id", "its id is not one that FHIR allows")),
                None => Err(reason("no-id", "an update needs an id, and it has none")),
            },
            Operation::ConditionalCreate | Operation::ConditionalUpdate => {
                let identifiers = found.scanned.identifiers_of(found.bytes);
                let pairs = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
                let has = target::fhir::criteria(&load.identity, &kind, &pairs).is_some();
                match (has, load.identity.missing) {
                    (true, _) => Ok(interaction),
                    (false, Missing::Create) => Ok(Operation::Create),
                    (false, Missing::Refuse) => Err(reason(
                        "no-identifier",
                        "it has no identifier of a system that `identity` names for its type",
                    )),
                }
            }
            other => Ok(other),
        }
    }

    fn check_type(&self, kind: &str) -> Result<(), Reason> {
        let facts = self.facts();
        if facts.takes(kind) {
            return Ok(());
        }
        Err(match (is_known_type(kind), &facts.types) {
            (true, Some(_)) => reason("type-not-taken", "the target does not take its type"),
            (true, None) => reason("unknown-type", "its resourceType is not one of FHIR R4's"),
            (false, _) => reason("unknown-type", "its resourceType is not one of FHIR's"),
        })
    }

    fn step(&self, found: &Found<'_>, action: Action) -> Step {
        let facts = self.facts();
        let is_type = |kind: &str| is_known_type(kind) || facts.takes(kind);
        let of_url = || {
            let entry = found.entry?;
            let url = entry.envelope.request?.url?.text(entry.bytes);
            Some(RequestUrl::read(&url).kind.to_owned())
        };
        let full_url = || {
            let entry = found.entry?;
            let url = entry.envelope.full_url?.text(entry.bytes).into_owned();
            is_address(&url, is_type).then_some(url)
        };
        Step {
            number: 0,
            load: self.load,
            position: found.position,
            body: found.body(),
            // What carries a patch is no resource of the store.
            kind: found
                .resource_type()
                .filter(|_| action.operation() != Some(Operation::Patch))
                .map(std::borrow::Cow::into_owned)
                .or_else(of_url)
                .filter(|kind| is_type(kind))
                .unwrap_or_default(),
            id: found
                .id()
                .filter(|id| is_id(id))
                .map(std::borrow::Cow::into_owned),
            full_url: full_url(),
            hash: match (&action, found.entry) {
                (Action::Entry(_), Some(entry)) => super::hash(entry.bytes),
                (Action::Send(_), _) | (Action::Entry(_), None) => super::hash(found.bytes),
                _ => 0,
            },
            action,
            links: Vec::new(),
            first: None,
        }
    }

    fn refuse(&mut self, found: &Found<'_>, reason: Reason) {
        let step = self.step(found, Action::Unsupported(reason));
        self.push(step, self.found);
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
            number: 0,
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

    /// Counts a step.
    fn push(&mut self, step: Step, found: u32) {
        if let Some(load) = self.summary.loads.get_mut(self.load.0 as usize) {
            load.count(&step);
        }
        self.out.push(Decision::Step { step, found });
    }

    fn settings(&self) -> &'a LoadSettings {
        &self.header.loads[self.load.0 as usize]
    }

    fn facts(&self) -> &'a Facts {
        const NOTHING_KNOWN: &Facts = &Facts::UNKNOWN;
        self.header
            .target_of(self.load)
            .map_or(NOTHING_KNOWN, |target| &target.facts)
    }
}

fn reason(code: &str, message: &str) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        path: None,
    }
}
