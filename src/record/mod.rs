//! Records on their way through Stoker: their positions, the operations on them, and their outcomes.
//!
//! Pure values shared by every layer. Reading them from files is `source`'s work, deciding about them is
//! `plan`'s, sending them is `send`'s.

use std::fmt;

use serde::{Deserialize, Serialize};

mod facets;
mod lack;
mod reason;
mod step;
mod stretch;

pub use facets::{Alias, AliasRule, Facets};
pub use lack::Lack;
pub use reason::{Reason, ReasonCode};
pub use step::{
    Action, ENVELOPE, Group, GroupId, LINK, Link, LoadId, Other, Packaging, Step, StepId, To, hash,
};
pub use stretch::{BodyPiece, StreamedBody, Stretch, body_length};

/// The number of a source in its plan: the order in which the sources were found, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub u32);

/// A stretch of bytes in a decompressed source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
}

/// The position of a record: file, index in the file, span in the decompressed bytes.
///
/// Two records never share a position, so outcomes, duplicates and blocked records are named by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The source that holds the record.
    pub source: SourceId,
    /// The record's index in its source, from 0.
    pub index: u64,
    /// The line on which the record begins, from 1.
    pub line: u64,
    /// For a record that is an entry of a Bundle: its index in `Bundle.entry`, from 0.
    pub entry: Option<u32>,
    /// The bytes of the record: the resource itself, or the whole entry for an entry of a Bundle.
    pub span: Span,
}

impl Position {
    /// Renders the position for people, as `file:line` or `file:line (entry 3)`.
    pub fn display<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        DisplayPosition {
            position: self,
            file,
        }
    }
}

struct DisplayPosition<'a> {
    position: &'a Position,
    file: &'a str,
}

impl fmt::Display for DisplayPosition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position.line)?;
        match self.position.entry {
            Some(entry) => write!(f, " (entry {entry})"),
            None => Ok(()),
        }
    }
}

/// The operation carried out on a record, in its protocol's word: FHIR's interactions
/// (<https://hl7.org/fhir/R4/http.html>), DICOM's store (PS3.18 §10.5), the methods of HL7v2 stores, and the sending of
/// a message over MLLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `POST [type]`: the server assigns the id.
    Create,
    /// `PUT [type]/[id]` with the file's id.
    Update,
    /// `POST [type]` with `If-None-Exist`.
    ConditionalCreate,
    /// `PUT [type]?criteria`.
    ConditionalUpdate,
    /// `PATCH`; only as an entry of a Bundle.
    Patch,
    /// `DELETE`; only as an entry of a Bundle.
    Delete,
    /// STOW-RS: an instance is stored under its own UIDs.
    Store,
    /// `messages.ingest`: a message is stored under the digest of its bytes, and acknowledged.
    Ingest,
    /// `messages.create`: as ingest does, without an acknowledgement.
    CreateMessage,
    /// A message is sent to a receiver that gives it no name, and that acknowledges it.
    Transmit,
}

impl Operation {
    /// All interactions.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Update,
        Self::ConditionalCreate,
        Self::ConditionalUpdate,
        Self::Patch,
        Self::Delete,
        Self::Store,
        Self::Ingest,
        Self::CreateMessage,
        Self::Transmit,
    ];

    /// Returns the word used in manifests, plans and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::ConditionalCreate => "conditional-create",
            Self::ConditionalUpdate => "conditional-update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Store => "store",
            Self::Ingest => "ingest",
            Self::CreateMessage => "create-message",
            Self::Transmit => "transmit",
        }
    }

    /// The interactions that look first whether a record is there, by a condition.
    pub const CONDITIONAL: [Self; 2] = [Self::ConditionalCreate, Self::ConditionalUpdate];

    /// Tells whether carrying it out twice leaves the store as once would.
    ///
    /// This decides what may be sent again when the fate of an attempt is unknown. The conditional interactions exist for
    /// just that (<https://hl7.org/fhir/R4/http.html#ccreate>); they hold as far as the server's index of identifiers does,
    /// which on Google is synchronous. A record that is stored under a name of its own is there once.
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Update
            | Self::Delete
            | Self::ConditionalCreate
            | Self::ConditionalUpdate
            | Self::Store
            | Self::Ingest
            | Self::CreateMessage => true,
            Self::Create | Self::Patch | Self::Transmit => false,
        }
    }

    /// Tells whether the store holds the record under the name that the plan knows, whatever it answers.
    pub fn keeps_id(self) -> bool {
        match self {
            Self::Update | Self::Store | Self::Ingest | Self::CreateMessage => true,
            Self::Create
            | Self::ConditionalCreate
            | Self::ConditionalUpdate
            | Self::Patch
            | Self::Delete
            | Self::Transmit => false,
        }
    }

    /// Tells whether a record is named by a digest of what is sent of it, so that another name means other bytes.
    pub fn names_by_content(self) -> bool {
        matches!(self, Self::Ingest | Self::CreateMessage | Self::Transmit)
    }

    /// Tells whether there is something in the store afterwards that has a name.
    pub fn names_something(self) -> bool {
        !matches!(self, Self::Delete | Self::Patch | Self::Transmit)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of a record. Every record of a plan ends in exactly one, and the totals equal the plan's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The store holds a new resource.
    Created,
    /// The store holds a new version (or, for a delete, no current version).
    Updated,
    /// The store already held this content.
    Unchanged,
    /// A condition hit an existing resource; its content was not compared.
    Matched,
    /// The same identity and content as the record at another position.
    Duplicate,
    /// Never sent: it cannot be loaded there.
    Unsupported,
    /// Refused by the store.
    Rejected,
    /// Never sent: a record that it needs did not arrive.
    Blocked,
    /// Sent, and nothing can prove what became of it.
    Unknown,
    /// Not tried: the run was interrupted or stopped.
    Pending,
}

impl Outcome {
    /// All outcomes, in the order in which reports list them.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Updated,
        Self::Unchanged,
        Self::Matched,
        Self::Duplicate,
        Self::Unsupported,
        Self::Rejected,
        Self::Blocked,
        Self::Unknown,
        Self::Pending,
    ];

    /// Returns the word used in journals and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Matched => "matched",
            Self::Duplicate => "duplicate",
            Self::Unsupported => "unsupported",
            Self::Rejected => "rejected",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
        }
    }

    /// Tells whether the record is in the store as its source wants it.
    pub fn is_well(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Updated | Self::Unchanged | Self::Matched | Self::Duplicate
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
