//! A record whose turn it is, and the ends that it may have.

use bytes::Bytes;
use http::Response;

use super::Ended;
use crate::{
    journal::{Removal, RemovalLine},
    lookup::OpenStore,
    record::StepId,
    target::{Deletion, Named},
};

/// Said of a record that somebody has changed.
pub(super) const OTHER_VERSION: &str = "it was changed since it was loaded";

/// A record whose turn it is.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) number: StepId,
    pub(super) target: String,
    pub(super) kind: String,
    pub(super) id: String,
    /// The version in which the run left it, as far as it knows.
    pub(super) version: Option<String>,
    /// The version in which the store has it, as it was looked at; none where it is deleted in any.
    pub(super) held: Option<String>,
    pub(super) place: String,
}

impl Item {
    pub(super) fn number(&self) -> StepId {
        self.number
    }

    pub(super) fn name(&self) -> Named<'_> {
        Named {
            kind: &self.kind,
            id: &self.id,
        }
    }

    /// Its deletion in the version that was looked at.
    pub(super) fn deletion(&self) -> Deletion<'_> {
        Deletion {
            record: self.name(),
            version: self.held.as_deref(),
        }
    }

    /// Its deletion, whatever its version is.
    pub(super) fn in_any_version(&self) -> Deletion<'_> {
        Deletion {
            record: self.name(),
            version: None,
        }
    }

    pub(super) fn ended(&self, outcome: Removal, status: Option<u16>) -> Ended {
        Ended {
            line: RemovalLine {
                record: self.number,
                outcome,
                status,
                code: None,
                note: None,
                version: None,
            },
            target: self.target.clone(),
            kind: self.kind.clone(),
            place: self.place.clone(),
        }
    }

    /// It stays, for a reason that nobody but Stoker has.
    pub(super) fn stays(&self, outcome: Removal, note: &str) -> Ended {
        let mut ended = self.ended(outcome, None);
        ended.line.note = Some(note.to_owned());
        ended
    }

    /// It stays, because the store says so.
    pub(super) fn refused(&self, store: &OpenStore, answer: &Response<Bytes>) -> Ended {
        let status = answer.status().as_u16();
        // 409 is the standard's answer where something refers to it (R4, http.html#delete).
        let outcome = match status {
            409 | 412 => Removal::Referred,
            _ => Removal::Refused,
        };
        let mut ended = self.ended(outcome, Some(status));
        ended.line.code = store.target.refusal(None, answer.body()).code;
        if outcome == Removal::Referred {
            ended.line.note = Some("something in the store refers to it".to_owned());
        }
        ended
    }
}
