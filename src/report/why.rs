//! The reason why a record did not arrive, and what to do about it, in Stoker's own words.
//!
//! Made of the status, the codes, the element, and what record and plan show; never of the server's text. The target's kind
//! knows what the codes of a refusal mean.

use super::{document::Cause, join::Record, mistake::without_place};
use crate::{
    manifest::{Format, Settle},
    plan::file::Saved,
    record::{Operation, Outcome, ReasonCode},
    target::{self, ELSEWHERE, Explained, Refused},
};

/// Tells causes apart: outcome, status, codes, meaning, and the element or type that it is about.
pub(super) type Key = (
    Outcome,
    Option<u16>,
    Option<String>,
    Option<String>,
    Option<u16>,
    String,
);

/// The code of what has the name of another record.
const TWICE: &str = ReasonCode::SameNameOtherBytes.as_str();

/// The reason why a record did not arrive.
#[derive(Debug)]
pub(super) struct Why<'a> {
    plan: &'a Saved,
    record: &'a Record,
    /// The meaning of the refusal; none where there was none to read.
    explained: Option<Explained>,
    /// The words that tell unknown and unsupported records apart; empty where nothing is known.
    about: String,
}

impl<'a> Why<'a> {
    pub(super) fn of(plan: &'a Saved, record: &'a Record) -> Self {
        let mut why = Self {
            plan,
            record,
            explained: None,
            about: String::new(),
        };
        match record.outcome {
            Outcome::Rejected => why.explained = why.refused(),
            Outcome::Unknown => why.about = why.doubted(),
            Outcome::Unsupported => {
                let note = record.note.as_deref().unwrap_or_default();
                why.about = without_place(note).0;
            }
            _ => {}
        }
        why
    }

    fn refused(&self) -> Option<Explained> {
        let record = self.record;
        let target = self.plan.header.target_of(record.step.load);
        let load = self.plan.header.loads.get(record.step.load.0 as usize);
        let refused = Refused {
            format: load.map_or(Format::default(), |load| load.format),
            kind: &record.step.kind,
            operation: record.step.action.operation(),
            status: record.status,
            code: record.code.as_deref(),
            detail: record.detail.as_deref(),
            expression: &record.expression,
            lacks: &record.lacks,
            checks: target.is_some_and(|target| target.facts.integrity == Some(true)),
            is_googles: target.is_some_and(|target| target.settings.store.is_googles()),
        };
        target::explain(&refused)
    }

    /// Tells unknown records apart: by what happened to each, where nobody can be asked or an answer told too little.
    fn doubted(&self) -> String {
        let is_success = matches!(self.record.status, Some(200..300));
        match (self.doubt(), self.record.note.as_deref()) {
            (word @ ("unsettled" | "elsewhere"), _) => word.to_owned(),
            (word, Some(note)) if is_success || matches!(word, "unacknowledged" | "resent") => {
                let mut what = note;
                for behind in ["; whether it took", "; given up after"] {
                    what = what.split_once(behind).map_or(what, |(what, _)| what);
                }
                what.to_owned()
            }
            ("unacknowledged" | "resent", None) => String::new(),
            (word, _) => word.to_owned(),
        }
    }

    /// Tells what is in doubt: the kind of request, and whether the store can be asked.
    fn doubt(&self) -> &'static str {
        if self.record.is_in_doubt() {
            return "unsettled";
        }
        if self.record.code.as_deref() == Some(ELSEWHERE) {
            return "elsewhere";
        }
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
            self.explained.as_ref().and_then(|told| told.meaning),
            self.about().to_owned(),
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
        match (self.record.outcome, &self.explained) {
            (_, Some(told)) => told.what.clone(),
            (Outcome::Unknown, None) if !self.about.is_empty() && self.about != self.doubt() => {
                self.about.clone()
            }
            (Outcome::Unknown, None) if self.doubt() == "elsewhere" => {
                "the store says that it took records under other names than were sent".to_owned()
            }
            (Outcome::Unknown, None) => match (self.record.status, self.record.attempts) {
                (Some(status @ 200..300), _) => {
                    format!("the answer ({status}) does not tell whether the store took them")
                }
                (Some(status), _) => {
                    format!("the store answered {status}, which leaves open whether it took them")
                }
                (None, None) => "the run was cut off while they were being sent".to_owned(),
                (None, Some(_)) => "no answer came, so the store may have taken them".to_owned(),
            },
            (Outcome::Blocked, None) => "a record that they need did not arrive".to_owned(),
            (Outcome::Unsupported, None) => self.about.clone(),
            _ => note().unwrap_or_else(|| "no answer came".to_owned()),
        }
    }

    /// Returns the kind or the element that it is about; empty where nothing is known.
    fn about(&self) -> &str {
        match &self.explained {
            Some(told) => &told.about,
            None => &self.about,
        }
    }

    /// Says what to do, where there is more to say than that the records are to be mended.
    fn next(&self) -> Option<String> {
        match self.record.outcome {
            Outcome::Unknown => Some(self.after_doubt()),
            Outcome::Unsupported if self.record.code.as_deref() == Some(TWICE) => Some(
                "the first is sent, or the first that is whole: see which of them is right (`stoker check` names them), take the others out, and load again".to_owned(),
            ),
            Outcome::Unsupported => Some(
                "`stoker check` names every such record; mend the files and load again".to_owned(),
            ),
            _ => self.explained.as_ref()?.next.clone(),
        }
    }

    fn after_doubt(&self) -> String {
        let words = match self.doubt() {
            "unsettled" => {
                "`stoker resume` asks the store about them, where it can be asked, and sends what is not there"
            }
            "elsewhere" => {
                "the target changes the names of what it is sent, so that nothing can be found again, and each sending makes \
                 another copy: do not send them again. Look there for what it made of them, and load into a target that \
                 keeps the names"
            }
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
