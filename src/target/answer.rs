//! What an answer says of records, in words of no protocol.

use std::collections::HashMap;

use crate::record::{Outcome, StepId};

/// What the store made of a record that it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The id under which the store holds it.
    pub id: Option<String>,
    /// The version that the store gave it.
    pub version: Option<String>,
    /// How it ended; none where operation and status tell.
    pub outcome: Option<Outcome>,
    /// What else is to be said of it, in words without content.
    pub note: Option<&'static str>,
}

/// What an answer that is no refusal by its status says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It was taken. Under which id, the server need not have said.
    Taken(Accepted),
    /// It was not: the body says so.
    Refused,
    /// Too little: it may have been taken.
    Little(Little),
}

/// How an answer says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Little {
    /// 200 and nothing else.
    Bare,
    /// Something that is none of the protocol's.
    Text,
    /// A page for people: a proxy or a login may have come between.
    Page,
    /// That it will be seen to (202).
    Later,
    /// That nothing was modified (304), or nothing of it in the answer to its parcel.
    Unsaid,
    /// Something else, in the target's own words.
    Other(&'static str),
    /// Nothing, and that may be the answer; in the target's own words. To send it again would bring no other.
    Silence(&'static str),
}

/// What a server said of one record of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, or the one that its words stand for.
    pub status: u16,
    /// What it says, where the status is one of success.
    pub said: Said,
    /// The words about a failure, as the server wrote them: content.
    pub outcome: Option<String>,
}

/// Why a server refused a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// A code of a fixed vocabulary.
    pub code: Option<String>,
    /// The server's own code beside it, where it is one that is known.
    pub detail: Option<String>,
    /// The elements concerned: no content.
    pub expression: Vec<String>,
    /// Which record of its parcel is to blame, where the server says so.
    pub culprit: Option<usize>,
    /// All that the server said: content.
    pub text: String,
}

/// What a store has for a search that means one record.
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

/// What was found where each record would go, by the number of its step.
pub type HeldVersions = HashMap<StepId, HeldVersion>;

/// What a store has under the id of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldVersion {
    /// A version; an update that names it replaces nothing else. Opaque: it is given back as it was given.
    Of(String),
    /// Nothing.
    Absent,
    /// It does not tell.
    Unsaid,
    /// Nobody could ask.
    Unasked,
}
