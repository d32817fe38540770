//! Why a record did not arrive, and what to do about it, in Stoker's own words.
//!
//! Made of the status, the codes, the element, and what record and plan show; never of the server's text. What the codes
//! mean is known by `fhir::meaning`, how it is said by `refusal`.

use super::{acknowledged, document::Cause, refusal::Refusal, walk::Record};
use crate::{
    fhir::meaning::{self, Meaning as M},
    manifest::{Settle, Store},
    plan::file::Saved,
    record::{Operation, Outcome},
};

/// Tells causes apart: outcome, status, codes, meaning, and the element or type that it is about.
pub(super) type Key = (
    Outcome,
    Option<u16>,
    Option<String>,
    Option<String>,
    Option<M>,
    String,
);

/// Why a record did not arrive.
#[derive(Debug)]
pub(super) struct Why<'a> {
    plan: &'a Saved,
    record: &'a Record,
    /// What the answer means; none where there was none to read.
    meaning: Option<M>,
    /// The type that a reference is to, or the element that is wrong; empty where nothing is known.
    about: String,
}

impl<'a> Why<'a> {
    pub(super) fn of(plan: &'a Saved, record: &'a Record) -> Self {
        let mut why = Self {
            plan,
            record,
            meaning: None,
            about: String::new(),
        };
        match record.outcome {
            Outcome::Rejected if why.is_message() => {
                why.about = record.expression.first().cloned().unwrap_or_default();
            }
            Outcome::Rejected if record.status.is_some() => why.refused(),
            Outcome::Unknown => why.about = why.doubted(),
            _ => {}
        }
        why
    }

    fn refused(&mut self) {
        let record = self.record;
        let meaning = meaning::of(
            record.step.action.operation(),
            record.status,
            record.code.as_deref(),
            record.detail.as_deref(),
        );
        let (element, kind) = (element(record), &record.step.kind);
        let reference = record.lacks.iter().find_map(|lack| lack.to.as_deref());
        let required = record.lacks.iter().find(|lack| lack.to.is_none());
        let target = self.plan.header.target_of(record.step.load);
        let checks = target.is_some_and(|target| target.facts.integrity == Some(true));
        let is_whole = element.is_empty() || element == record.step.kind;
        let (meaning, about) = match (meaning, required, reference) {
            (M::Required | M::Structure | M::Unsaid | M::Invariant, Some(lack), _)
                if is_whole || element == lack.path =>
            {
                (M::Required, lack.path.clone())
            }
            (M::Structure | M::Value | M::Unsaid, _, _) if element == format!("{kind}.id") => {
                (M::InvalidId, String::new())
            }
            // A store that is known to check references, and says no more than that there is a conflict.
            (M::Unsaid | M::Conflict, _, Some(to)) if checks => {
                (M::MissingReference, to.to_owned())
            }
            // The element is that of the reference; the type says more.
            (
                M::MissingReference
                | M::DeletedReference
                | M::UnfitReference
                | M::UnmatchedReference,
                _,
                to,
            ) => (meaning, to.unwrap_or_default().to_owned()),
            (M::Unsaid | M::Conflict, _, Some(to)) => (meaning, to.to_owned()),
            _ => (meaning, element),
        };
        (self.meaning, self.about) = (Some(meaning), about);
    }

    /// Tells whether an acknowledgement says why it was refused.
    fn is_message(&self) -> bool {
        let code = self.record.code.as_deref();
        code.is_some_and(|code| acknowledged::what(code, "").is_some())
    }

    /// Tells unknown records apart: by what happened to each, where nobody can be asked.
    fn doubted(&self) -> String {
        match self.doubt() {
            "unacknowledged" | "resent" => {
                let note = self.record.note.as_deref().unwrap_or_default();
                note.split_once("; whether it took")
                    .map_or(note, |(what, _)| what)
                    .to_owned()
            }
            word => word.to_owned(),
        }
    }

    /// Tells what is in doubt: the kind of request, and whether the store can be asked.
    fn doubt(&self) -> &'static str {
        let step = &self.record.step;
        let load = self.plan.header.loads.get(step.load.0 as usize);
        if step
            .action
            .operation()
            .is_some_and(Operation::is_idempotent)
        {
            return "harmless";
        }
        if step.action.operation() == Some(Operation::Transmit) {
            return match load.and_then(|load| load.settle) {
                Some(Settle::Resend) => "resent",
                _ => "unacknowledged",
            };
        }
        match load.map(crate::manifest::LoadSettings::settles_by) {
            Some(Settle::None) | None => {
                let identified =
                    load.is_some_and(|load| load.identity.systems.contains_key(&step.kind));
                if identified { "identified" } else { "unasked" }
            }
            Some(_) => "asked",
        }
    }

    pub(super) fn key(&self, record: &Record) -> Key {
        (
            record.outcome,
            record.status,
            record.code.clone(),
            record.detail.clone(),
            self.meaning,
            self.about.clone(),
        )
    }

    /// Begins the cause, which has no records yet.
    pub(super) fn cause(&self, record: &Record) -> Cause {
        Cause {
            outcome: record.outcome.as_str(),
            what: self.what(),
            next: self.next(),
            status: record.status,
            code: record.code.clone(),
            detail: record.detail.clone(),
            records: 0,
            together: 0,
            blocked: 0,
            loads: Vec::new(),
            types: std::collections::BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    /// Says what is wrong.
    pub(super) fn what(&self) -> String {
        let note = || self.record.note.clone();
        match (self.record.outcome, self.meaning) {
            (_, Some(meaning)) => self.refusal(meaning).what(),
            (Outcome::Rejected, None) if self.is_message() => {
                let code = self.record.code.as_deref().unwrap_or_default();
                acknowledged::what(code, &self.about).unwrap_or_default()
            }
            (Outcome::Unknown, None) if !self.about.is_empty() && self.about != self.doubt() => {
                self.about.clone()
            }
            (Outcome::Unknown, None) => match (self.record.status, self.record.attempts) {
                (Some(status @ 200..300), _) => format!(
                    "the answer ({status}) was none that a FHIR server gives to a write: a proxy or a login page may have come between"
                ),
                (Some(status), _) => {
                    format!("the store answered {status}, which leaves open whether it took them")
                }
                (None, None) => "the run was cut off while they were being sent".to_owned(),
                (None, Some(_)) => "no answer came, so the store may have taken them".to_owned(),
            },
            (Outcome::Blocked, None) => "a record that they need did not arrive".to_owned(),
            _ => note().unwrap_or_else(|| "no answer came".to_owned()),
        }
    }

    fn refusal(&self, meaning: M) -> Refusal<'_> {
        let step = &self.record.step;
        Refusal {
            meaning,
            about: &self.about,
            kind: &step.kind,
            interaction: step.action.operation(),
            dangles: self.record.lacks.iter().any(|lack| lack.to.is_some()),
            is_googles: self.is_googles(),
        }
    }

    fn is_googles(&self) -> bool {
        let target = self.plan.header.target_of(self.record.step.load);
        target.is_some_and(|target| {
            matches!(
                target.settings.store,
                Store::Google(_) | Store::Local { .. }
            )
        })
    }

    /// Says what to do, where there is more to say than that the records are to be mended.
    fn next(&self) -> Option<String> {
        match self.record.outcome {
            Outcome::Unknown => Some(self.after_doubt()),
            Outcome::Unsupported => Some(
                "`stoker check` names every such record; mend the files and load again".to_owned(),
            ),
            _ => self.refusal(self.meaning?).next(),
        }
    }

    fn after_doubt(&self) -> String {
        let words = match self.doubt() {
            "harmless" => {
                "to send them again does no harm: their request has the same effect once or twice (`--replay unknown`)"
            }
            "identified" => {
                "look for them in the store; `--replay unknown` sends them again, and doubles what is there. The next \
                 load can ask by itself: `settle: identifier` costs one search for each in doubt, and `identity` \
                 names the identifiers already"
            }
            "unasked" => {
                "look for them in the store; `--replay unknown` sends them again, and doubles what is there. The next \
                 load can ask by itself: `settle: identifier` where `identity` names an identifier that they have, \
                 else `settle: tag`, which writes a tag into each record and needs a server that searches by `_tag`"
            }
            "unacknowledged" => {
                "a receiver cannot be asked: look there; `--replay unknown` sends them again. The next load does so by itself \
                 with `settle: resend`, which is for receivers that know by MSH-10 what they have"
            }
            "resent" => {
                "they were sent as often as they may be, and not acknowledged: look at the receiver; `--replay unknown` \
                 sends them again"
            }
            _ => {
                "the store was asked and could not tell (`note` in records.ndjson says why). Look for them; \
                 `--replay unknown` sends them again, and doubles what is there"
            }
        };
        words.to_owned()
    }
}

/// Returns the element that is wrong, as in `Patient.name.given`: of the record itself, without numbers.
fn element(record: &Record) -> String {
    let kind = record.step.kind.as_str();
    let Some(expression) = record.expression.first() else {
        return String::new();
    };
    let mut path = expression.replace("/f:", ".");
    path = path.trim_start_matches('.').to_owned();
    if kind != "Bundle"
        && let Some(rest) = path.strip_prefix("Bundle.entry")
    {
        // A place in the Bundle that it travelled in, which no file has.
        let rest = rest.split_once('.').map_or("", |(_, rest)| rest);
        let rest = rest.strip_prefix("resource").unwrap_or(rest);
        let rest = rest.trim_start_matches('.');
        let rest = rest
            .strip_prefix(kind)
            .map_or(rest, |rest| rest.trim_start_matches('.'));
        path = match rest {
            "" => return String::new(),
            rest => format!("{kind}.{rest}"),
        };
    }
    let mut element = String::with_capacity(path.len());
    let mut depth = 0;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c if depth == 0 => element.push(c),
            _ => {}
        }
    }
    element
}
