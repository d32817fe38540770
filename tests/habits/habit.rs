//! What a server does in its own way: one [`Habits`] is one server, as `rows` lists them.

/// What the body of an answer to a single write holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// The resource.
    Resource,
    /// Nothing.
    Empty,
    /// Nothing, and a type that has nothing to do with it.
    EmptyHtml,
    /// An `OperationOutcome` that says that all is well, under an id of its own.
    Outcome,
    /// This text, as this type.
    Text(&'static str, &'static str),
}

/// How a resource that was written is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `[base]/[type]/[id]/_history/[version]`.
    Absolute,
    /// The same without the history.
    AbsoluteBare,
    /// `[type]/[id]/_history/[version]`.
    Relative,
    /// `[type]/[id]`.
    RelativeBare,
    /// Under the name that the server has behind its proxy.
    Internal,
    /// The type stands twice.
    Doubled,
    /// A slash too many.
    DoubleSlash,
    /// An empty text.
    Blank,
    /// The type alone.
    TypeOnly,
    /// Not at all.
    None,
}

/// How a version is written as an entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// `W/"1"`.
    Weak,
    /// `1`.
    Bare,
    /// An empty text.
    Blank,
    /// Not at all.
    None,
}

/// How versions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// 1, 2, 3 for each resource.
    Each,
    /// By the number of the transaction, over the whole store.
    Store,
    /// UUIDs.
    Uuids,
}

/// Which ids the store gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Numbers in their order.
    Numbers,
    /// UUIDs.
    Uuids,
    /// Sixteen capitals and digits.
    Capitals,
    /// The type with a number behind it.
    TypeAndNumber,
    /// The id of the body, where it has one; one that is taken is refused with 409.
    Kept,
}

/// What a condition that hit is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    /// As a write is.
    Full,
    /// The resource, and no `Location`.
    ResourceOnly,
    /// `Location` and nothing else.
    LocationOnly,
    /// Nothing but the status.
    Bare,
}

/// What is made of the condition of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// It is honoured everywhere.
    Honoured,
    /// Entries of Bundles have theirs ignored.
    SingleOnly,
    /// It is ignored.
    Ignored,
}

/// How the status of an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryStatus {
    /// `201 Created`.
    Text,
    /// `201`.
    Code,
    /// `201`, as a number.
    Number,
    /// `Created`.
    Word,
    /// `NoContent`, as enumerations of .NET have it.
    Enum,
}

/// Where an entry says what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errors {
    /// In `response.outcome`.
    Outcome,
    /// In `resource`.
    Resource,
    /// Nowhere: the first ends the whole call.
    EndTheCall,
}

/// In which order a Bundle is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of the request.
    Request,
    /// DELETE, POST, PUT: that of the execution.
    Execution,
    /// The last first.
    Reversed,
    /// Of a batch: the second first, and the first last.
    Rotated,
}

/// How a Bundle is answered as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a Bundle.
    Bundle,
    /// With one that has an `OperationOutcome` before the others.
    OutcomeFirst,
    /// With one that has an entry too many at its end.
    ExtraLast,
    /// With one in which repeated conditional entries have one answer.
    Merged,
    /// With one whose entries have no `response`.
    NoResponse,
    /// With a page.
    Html,
}

/// What the server says about `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfMatch {
    /// Of a version that is no longer the last.
    pub(crate) stale: u16,
    /// Where an update has none.
    pub(crate) missing: Option<u16>,
}

/// How the server asks to slow down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Throttle {
    /// Never.
    Never,
    /// Every so many writes one is answered 429 with this header.
    Header(u64, &'static str, &'static str),
    /// Every so many Bundles one has 429 from its middle on, under 200.
    FillsBundle(u64),
    /// Every so many writes one is answered 503 with a page, as a proxy does.
    Page(u64),
    /// Every so many writes one lost against another request, by itself and as an entry of a batch.
    Raced(u64),
    /// Every so many writes one has its effect, and is answered with this status and a page.
    Lost(u64, u16),
}

/// A server.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a habit of its own, which a server has or has not"
)]
pub(crate) struct Habits {
    pub(crate) name: &'static str,
    /// The system interactions that it lists.
    pub(crate) lists: &'static [&'static str],
    /// The Bundles that it takes.
    pub(crate) takes: &'static [&'static str],
    pub(crate) create: Body,
    pub(crate) update: Body,
    pub(crate) location: Place,
    /// Updates that created nothing have it, too.
    pub(crate) location_on_update: bool,
    pub(crate) content_location: Place,
    pub(crate) tag: Tag,
    pub(crate) versions: Versions,
    /// An update that changes nothing makes no version.
    pub(crate) keeps_version: bool,
    /// Resources are answered with `meta.versionId` and `meta.lastUpdated`.
    pub(crate) meta: bool,
    pub(crate) ids: Ids,
    /// `PUT` of an id that is not there creates it.
    pub(crate) upsert: bool,
    /// Ids of digits only can be put.
    pub(crate) digits: bool,
    /// A `PUT` is always answered 200.
    pub(crate) always_200: bool,
    pub(crate) conditions: Conditions,
    pub(crate) matched: Matched,
    pub(crate) entry_status: EntryStatus,
    pub(crate) entry_location: Place,
    /// Only what was created has one.
    pub(crate) entry_location_on_create_only: bool,
    pub(crate) entry_tag: Tag,
    pub(crate) entry_resource: bool,
    /// Entries that were taken have an outcome as well.
    pub(crate) entry_outcome: bool,
    pub(crate) errors: Errors,
    pub(crate) order: Order,
    pub(crate) answer: Answer,
    /// The status of a batch in which an entry failed.
    pub(crate) batch_status: u16,
    /// A transaction has its effect as a whole or not at all.
    pub(crate) atomic: bool,
    /// Entries of a Bundle, and the status for one that has more.
    pub(crate) entries: Option<(usize, u16)>,
    /// Bytes of a request, and the status for one that has more.
    pub(crate) bytes: Option<(usize, u16)>,
    pub(crate) if_match: IfMatch,
    /// The status for a reference to what is not there.
    pub(crate) integrity: Option<u16>,
    pub(crate) throttle: Throttle,
    /// It keeps nothing of what it is sent.
    pub(crate) forgets: bool,
    /// A byte order mark stands before everything that it says.
    pub(crate) marks: bool,
}
