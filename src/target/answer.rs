//! The statements of an answer about records, in words of no protocol.

use std::collections::HashMap;

use crate::record::{Outcome, StepId};

/// The store's statements about a record that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The id under which the store holds the record.
    pub id: Option<String>,
    /// The version that the store gave the record.
    pub version: Option<String>,
    /// The outcome of the record; none where operation and status tell.
    pub outcome: Option<Outcome>,
    /// A remark on the record, in words without content.
    pub note: Option<&'static str>,
    /// The answer stood at another place than the record, and was given to it because it names its kind: of several of one kind it
    /// may be another's.
    pub by_kind: bool,
}

/// The statement about a record in an answer that is no refusal by its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The record was taken. Under which id, the server need not have said.
    Taken(Accepted),
    /// The record was not taken: the body says so.
    Refused,
    /// The answer says too little: the record may have been taken.
    Little(Little),
}

/// The code of a record that a store says it took under another name than was sent ([`Little::Elsewhere`]).
pub const ELSEWHERE: &str = "other-names";

/// The way in which an answer says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Little {
    /// 200 and nothing else.
    Bare,
    /// Something that is none of the protocol's.
    Text,
    /// A page for people: a proxy or a login may have come between.
    Page,
    /// A note that the record will be seen to (202).
    Later,
    /// A note that nothing was modified (304), or nothing of the record in the answer to its parcel.
    Unsaid,
    /// A refusal (409) without a word on the record: the store may refuse it because it has it already.
    Conflict,
    /// Records were taken, under other names than were sent; in the target's own words. Sending again would make copies.
    Elsewhere(&'static str),
    /// Something else, in the target's own words.
    Other(&'static str),
    /// Nothing, and that may be the answer; in the target's own words. Sending again would bring no other.
    Silence(&'static str),
}

/// Stands beside a question that a store which holds nothing answers with nothing (204, or an empty body).
#[derive(Debug, Clone, Copy)]
pub struct MayBeNothing;

/// A server's answer about one record of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, or the one that the answer's words stand for.
    pub status: u16,
    /// The statement about the record, where the status is one of success.
    pub said: Said,
    /// The words about a failure, as the server wrote them: content.
    pub outcome: Option<String>,
}

/// The reasons of a server's refusal of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// A code of a fixed vocabulary.
    pub code: Option<String>,
    /// The server's own code beside it, where it is one that is known.
    pub detail: Option<String>,
    /// The elements concerned: no content.
    pub expression: Vec<String>,
    /// The place in the parcel of the record to blame, where the server says so.
    pub culprit: Option<usize>,
    /// The whole text of the server: content.
    pub text: String,
}

/// The result of a search that means one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matches {
    /// Nothing.
    None,
    /// One record, of this id.
    One(String),
    /// More than one.
    Several,
    /// The store does not answer such a search; with this status. 200 stands for an answer that does not say.
    Refused(u16),
}

/// The version found under the id of each record, by the number of its step.
pub type HeldVersions = HashMap<StepId, HeldVersion>;

/// The version that a store has under the id of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldVersion {
    /// A version; an update that names it replaces nothing else. Opaque: the store gets it back as it gave it.
    Of(String),
    /// Nothing.
    Absent,
    /// The store does not tell.
    Unsaid,
    /// The store could not be asked.
    Unasked,
}

/// Tells whether an answer is JSON to its end.
pub(super) fn is_json(answer: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(answer).is_ok()
}
