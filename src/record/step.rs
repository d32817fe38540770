//! The steps of a plan: records with their operations and links, as planning, sending and targets know them.
//!
//! Pure values. `plan` decides which step a record gets; its bytes for the wire are a target's business.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Facets, Operation, Position, Reason, Span};

/// The number of a load in its plan: its order in the manifest, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct LoadId(pub u32);

/// The number of a step in its plan, from 0: the number of its record in the journal, in reports and in what the history keeps.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StepId(pub u64);

impl StepId {
    /// Returns the step that comes after it in the plan.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns its place in a list of all steps of a plan; `None` where such a list cannot be held on this machine.
    pub fn index(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a group in its plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u32);

/// The packaging of records that travel together in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packaging {
    /// All or nothing.
    Transaction,
    /// Each entry for itself.
    Batch,
}

impl Packaging {
    /// Returns the word used in plans and reports, which is FHIR's for its Bundles.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Batch => "batch",
        }
    }
}

/// Records that travel in one request. Its steps follow it in the plan without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// The packaging in which it travels.
    #[serde(rename = "bundle")]
    pub packaging: Packaging,
    /// The number of the steps after it that belong to it.
    pub records: u32,
    /// The bytes of its entries.
    pub bytes: u64,
    /// Its records arrive together or not at all. A batch, and a part of a transaction that is over the limits, is only a
    /// way to travel.
    pub atomic: bool,
}

/// One record in a plan, with its operation and links. Steps are numbered by their order in the plan, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number in the plan, the same in journal and report.
    pub number: StepId,
    /// The load it belongs to.
    pub load: LoadId,
    /// The position of the record.
    pub position: Position,
    /// The bytes of the resource: the position's span, or a part of it for an entry; empty for a delete.
    pub body: Span,
    /// The resource type; empty where the record has none.
    pub kind: String,
    /// The id in the file, where it has one.
    pub id: Option<String>,
    /// The `fullUrl` of its entry, where it has one.
    pub full_url: Option<String>,
    /// The action on the record.
    pub action: Action,
    /// Its references to records of the plan, or of earlier runs.
    pub links: Vec<Link>,
    /// Of the bytes that go to the wire, as they stand in the source ([`hash`]); 0 where nothing is sent, or only a
    /// part of it.
    pub hash: u128,
    /// For the second of two requests that carry the record: what the first one was. No plan holds such a step.
    pub first: Option<Action>,
}

/// Returns by what the bytes of a record are known again. XXH3 is no cryptographic hash: it tells files that were changed,
/// and records that were loaded before, not files that were made to deceive.
pub fn hash(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// From this number on, the places of a record's references are of links that are no references: no store checks them.
pub const LINK: u32 = 1 << 24;

/// A reference of a record, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its place among the references that a scan of the record finds, from 0.
    pub reference: u32,
    /// The referent: a step, a resource or a search.
    pub to: To,
    /// The record is created without it, and updated when what it refers to is there: it closes a cycle that no
    /// transaction can hold.
    pub late: bool,
    /// The store finds what it refers to by itself, as long as both travel in the same transaction: it stays as it is
    /// there, and holds nobody up.
    pub native: bool,
}

/// The referent of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The record of a step, which has to be there first, or travels in the same group.
    Step(StepId),
    /// A resource of an earlier run, or one that was looked up: `Type/id` as the store has it.
    Resource(String),
    /// The resource that the store finds when it is asked: a conditional reference to nothing that the plan knows of.
    Search,
}

impl Link {
    /// Stands in the place of a reference where a record refers to nothing, and must not be sent before another one is
    /// settled, whatever becomes of that.
    pub const FOLLOWS: u32 = u32::MAX;

    /// Makes the link of a record to the one that goes before it.
    pub fn follows(step: StepId) -> Self {
        Self {
            reference: Self::FOLLOWS,
            to: To::Step(step),
            late: false,
            native: false,
        }
    }
}

/// The bytes around a record that gets a request of its own in a parcel, most of the time: the request, a name, longer
/// references. The frame of the parcel has less.
pub const ENVELOPE: u64 = 256;

impl Step {
    /// Tells whether the record keeps the request that its source says for it.
    pub fn is_entry(&self) -> bool {
        matches!(self.action, Action::Entry(_))
    }

    /// Makes the step of a record that refers to no others. It has no number yet.
    pub fn of(found: &Facets<'_>, load: LoadId, action: Action) -> Self {
        Self {
            number: StepId(0),
            load,
            position: found.position,
            body: found.position.span,
            kind: found.kind.clone().into_owned(),
            id: found.id.as_deref().map(str::to_owned),
            full_url: None,
            hash: if action.operation().is_some() {
                found.hash
            } else {
                0
            },
            action,
            links: Vec::new(),
            first: None,
        }
    }

    /// Returns the steps that have to be settled before it is sent, whatever becomes of them.
    pub fn follows(&self) -> impl Iterator<Item = StepId> {
        let links = self.links.iter();
        links.filter_map(|link| match link.to {
            To::Step(step) if link.reference == Link::FOLLOWS => Some(step),
            _ => None,
        })
    }

    /// Returns the steps that it needs to be there before it is sent.
    pub fn needs(&self) -> impl Iterator<Item = StepId> {
        self.steps_of(false)
    }

    /// Returns the steps that its second request needs to be there; none where it has no second.
    pub fn late_needs(&self) -> impl Iterator<Item = StepId> {
        self.steps_of(true)
    }

    fn steps_of(&self, late: bool) -> impl Iterator<Item = StepId> {
        let is_wanted = move |link: &&Link| {
            link.late == late && !link.native && link.reference != Link::FOLLOWS
        };
        let links = self.links.iter().filter(is_wanted);
        links.filter_map(|link| match link.to {
            To::Step(step) => Some(step),
            To::Resource(_) | To::Search => None,
        })
    }

    /// Returns the bytes that go to the wire: the whole entry, or the resource.
    pub fn wire(&self) -> Span {
        self.wire_as(&self.action)
    }

    /// Returns the bytes that would go to the wire if something else was done with it.
    pub fn wire_as(&self, action: &Action) -> Span {
        match action {
            Action::Entry(_) => self.position.span,
            _ => self.body,
        }
    }

    /// Tells whether it travels in two steps: created without some of its references, and then updated.
    pub fn is_in_two_steps(&self) -> bool {
        self.links.iter().any(|link| link.late)
    }
}

/// The action on a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is sent by itself.
    Send(Operation),
    /// It is sent in its group, as the entry's own request says.
    Entry(Operation),
    /// It is not sent: it cannot be loaded there.
    Unsupported(Reason),
    /// It is not sent: another record has the same identity.
    Duplicate(Other),
    /// It is not sent: it needs a record that cannot be loaded.
    Blocked(Other),
}

/// Another record of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its step.
    pub step: StepId,
    /// Its position, as `file:line`.
    pub place: String,
}

impl Action {
    /// Returns the interaction of a record that is sent.
    pub fn operation(&self) -> Option<Operation> {
        match self {
            Self::Send(interaction) | Self::Entry(interaction) => Some(*interaction),
            Self::Unsupported(_) | Self::Duplicate(_) | Self::Blocked(_) => None,
        }
    }
}
