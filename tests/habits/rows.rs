//! The servers, by what is known of their habits: the standard's own, the servers of the field, and shapes by themselves.

use super::habit::{
    Answer, Body, Conditions, EntryStatus, Errors, Habits, Ids, IfMatch, Matched, Order, Place,
    Tag, Throttle, Versions,
};

/// A server that does everything as the standard has it.
pub(crate) const STANDARD: Habits = Habits {
    name: "standard",
    lists: &["transaction", "batch"],
    takes: &["transaction", "batch"],
    create: Body::Resource,
    update: Body::Resource,
    location: Place::Absolute,
    location_on_update: true,
    content_location: Place::None,
    tag: Tag::Weak,
    versions: Versions::Each,
    keeps_version: false,
    meta: true,
    ids: Ids::Uuids,
    upsert: true,
    digits: true,
    always_200: false,
    conditions: Conditions::Honoured,
    matched: Matched::Full,
    entry_status: EntryStatus::Text,
    entry_location: Place::Absolute,
    entry_location_on_create_only: false,
    entry_tag: Tag::Weak,
    entry_resource: false,
    entry_outcome: false,
    errors: Errors::Outcome,
    order: Order::Request,
    answer: Answer::Bundle,
    batch_status: 200,
    atomic: true,
    entries: None,
    bytes: None,
    if_match: IfMatch {
        stale: 412,
        missing: None,
    },
    integrity: None,
    throttle: Throttle::Never,
    forgets: false,
    marks: false,
};

/// All of them.
pub(crate) const ROWS: &[Habits] = &[
    STANDARD,
    Habits {
        name: "google",
        versions: Versions::Uuids,
        integrity: Some(400),
        throttle: Throttle::Header(60, "x-none", "0"),
        ..STANDARD
    },
    Habits {
        name: "hapi",
        lists: &["transaction"],
        location_on_update: true,
        content_location: Place::Absolute,
        keeps_version: true,
        ids: Ids::Numbers,
        digits: false,
        entry_location: Place::Relative,
        entry_tag: Tag::Bare,
        answer: Answer::Merged,
        if_match: IfMatch {
            stale: 409,
            missing: None,
        },
        integrity: Some(400),
        throttle: Throttle::Page(50),
        ..STANDARD
    },
    Habits {
        name: "ms-sql",
        location_on_update: false,
        entry_status: EntryStatus::Code,
        entry_resource: true,
        entries: Some((500, 400)),
        throttle: Throttle::Header(50, "x-ms-retry-after-ms", "20"),
        ..STANDARD
    },
    Habits {
        name: "ms-sql, which fills Bundles with 429",
        location_on_update: false,
        entry_status: EntryStatus::Code,
        entry_resource: true,
        entries: Some((500, 400)),
        throttle: Throttle::FillsBundle(2),
        ..STANDARD
    },
    Habits {
        name: "ms-cosmos",
        lists: &["batch"],
        takes: &["batch"],
        location_on_update: false,
        versions: Versions::Uuids,
        matched: Matched::Bare,
        entry_status: EntryStatus::Code,
        entry_resource: true,
        entries: Some((500, 400)),
        ..STANDARD
    },
    Habits {
        name: "healthlake",
        order: Order::Rotated,
        entries: Some((160, 400)),
        ..STANDARD
    },
    Habits {
        name: "medplum",
        location: Place::AbsoluteBare,
        location_on_update: false,
        versions: Versions::Uuids,
        upsert: false,
        matched: Matched::ResourceOnly,
        entry_status: EntryStatus::Code,
        entry_location: Place::RelativeBare,
        entry_tag: Tag::None,
        entry_resource: true,
        entry_outcome: true,
        atomic: false,
        entries: Some((50, 400)),
        throttle: Throttle::Header(80, "RateLimit", "\"requests\";r=0;t=1"),
        ..STANDARD
    },
    Habits {
        name: "aidbox",
        versions: Versions::Store,
        ids: Ids::Kept,
        matched: Matched::ResourceOnly,
        entry_status: EntryStatus::Code,
        entry_tag: Tag::Bare,
        entry_resource: true,
        bytes: Some((20_971_520, 413)),
        integrity: Some(422),
        ..STANDARD
    },
    Habits {
        name: "firely",
        content_location: Place::Absolute,
        versions: Versions::Uuids,
        entry_tag: Tag::Blank,
        entries: Some((150, 413)),
        bytes: Some((5_242_880, 413)),
        ..STANDARD
    },
    Habits {
        name: "spark",
        content_location: Place::Absolute,
        ids: Ids::Numbers,
        entry_status: EntryStatus::Enum,
        entry_location: Place::RelativeBare,
        entry_resource: true,
        errors: Errors::EndTheCall,
        order: Order::Execution,
        atomic: false,
        if_match: IfMatch {
            stale: 409,
            missing: None,
        },
        ..STANDARD
    },
    Habits {
        name: "blaze",
        versions: Versions::Store,
        keeps_version: true,
        ids: Ids::Capitals,
        entry_status: EntryStatus::Code,
        entry_location_on_create_only: true,
        matched: Matched::ResourceOnly,
        integrity: Some(409),
        ..STANDARD
    },
    Habits {
        name: "ibm",
        create: Body::Empty,
        update: Body::Empty,
        matched: Matched::LocationOnly,
        entry_status: EntryStatus::Code,
        entry_location: Place::Relative,
        errors: Errors::Resource,
        if_match: IfMatch {
            stale: 409,
            missing: None,
        },
        ..STANDARD
    },
    Habits {
        name: "hfs",
        location: Place::AbsoluteBare,
        conditions: Conditions::SingleOnly,
        matched: Matched::ResourceOnly,
        entry_location: Place::RelativeBare,
        entry_resource: true,
        bytes: Some((10_485_760, 413)),
        ..STANDARD
    },
    Habits {
        name: "pathling",
        lists: &["batch"],
        takes: &["batch"],
        tag: Tag::None,
        meta: false,
        always_200: true,
        conditions: Conditions::Ignored,
        entry_status: EntryStatus::Code,
        entry_location: Place::None,
        entry_tag: Tag::None,
        entry_resource: true,
        errors: Errors::EndTheCall,
        ..STANDARD
    },
    Habits {
        name: "candle",
        location: Place::AbsoluteBare,
        ids: Ids::Kept,
        entry_outcome: true,
        entry_resource: true,
        order: Order::Execution,
        atomic: false,
        ..STANDARD
    },
    Habits {
        name: "iris",
        ids: Ids::Numbers,
        ..STANDARD
    },
    Habits {
        name: "millennium",
        lists: &["search-system"],
        takes: &[],
        create: Body::EmptyHtml,
        update: Body::EmptyHtml,
        location: Place::AbsoluteBare,
        ids: Ids::Numbers,
        upsert: false,
        conditions: Conditions::Ignored,
        if_match: IfMatch {
            stale: 409,
            missing: Some(412),
        },
        ..STANDARD
    },
    Habits {
        name: "kodjin",
        ids: Ids::Kept,
        ..STANDARD
    },
    Habits {
        name: "openmrs",
        lists: &[],
        takes: &[],
        upsert: false,
        conditions: Conditions::Ignored,
        ..STANDARD
    },
    Habits {
        name: "outcomes instead of resources",
        create: Body::Outcome,
        update: Body::Outcome,
        ids: Ids::TypeAndNumber,
        location: Place::Internal,
        entry_location: Place::Internal,
        ..STANDARD
    },
    Habits {
        name: "silent updates",
        lists: &["search-system"],
        takes: &[],
        update: Body::Empty,
        always_200: true,
        location_on_update: false,
        location: Place::None,
        content_location: Place::Relative,
        tag: Tag::None,
        ..STANDARD
    },
    Habits {
        name: "updates that say OK",
        lists: &["search-system"],
        takes: &[],
        update: Body::Text("OK", "text/plain"),
        always_200: true,
        location: Place::None,
        location_on_update: false,
        tag: Tag::None,
        ..STANDARD
    },
    Habits {
        name: "words as statuses",
        entry_status: EntryStatus::Word,
        entry_location: Place::Doubled,
        location: Place::Doubled,
        ..STANDARD
    },
    Habits {
        name: "numbers as statuses",
        entry_status: EntryStatus::Number,
        entry_location: Place::DoubleSlash,
        location: Place::DoubleSlash,
        ..STANDARD
    },
    Habits {
        name: "empty locations",
        location: Place::TypeOnly,
        entry_location: Place::Blank,
        entry_tag: Tag::Blank,
        entry_resource: true,
        ..STANDARD
    },
    Habits {
        name: "an outcome before the others",
        answer: Answer::OutcomeFirst,
        ..STANDARD
    },
    Habits {
        name: "an entry too many",
        answer: Answer::ExtraLast,
        ..STANDARD
    },
    Habits {
        name: "entries without response",
        answer: Answer::NoResponse,
        entry_resource: true,
        ..STANDARD
    },
    Habits {
        name: "requests that lose against others",
        throttle: Throttle::Raced(4),
        ..STANDARD
    },
    Habits {
        name: "answers from the last to the first",
        order: Order::Reversed,
        ..STANDARD
    },
    Habits {
        name: "batches that fail as their entries do",
        batch_status: 422,
        integrity: Some(422),
        ..STANDARD
    },
    Habits {
        name: "a network that answers for the server",
        throttle: Throttle::Lost(5, 520),
        ..STANDARD
    },
    Habits {
        name: "Bundles that are listed and refused",
        lists: &["transaction", "batch"],
        takes: &[],
        ..STANDARD
    },
    Habits {
        name: "transactions that are listed and refused",
        lists: &["transaction", "batch"],
        takes: &["batch"],
        ..STANDARD
    },
    Habits {
        name: "byte order marks",
        marks: true,
        integrity: Some(422),
        ..STANDARD
    },
    Habits {
        name: "pages for Bundles",
        answer: Answer::Html,
        ..STANDARD
    },
];
