//! The meanings of the codes of known servers: `issue.code`, the codes of `issue.details`, and those at the head of
//! `issue.diagnostics` by convention (`HAPI-0960`).
//!
//! A code is believed only if it is one of the lists here, or has a form that no content has; anything else may be the
//! name of a patient (design §10). The words for a meaning, and the advice, are the business of `target::explain`.

use crate::record::Operation;

/// The meaning of a refusal, as far as its status and codes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meaning {
    /// A reference to what the store does not hold.
    MissingReference,
    /// A reference to what has been deleted.
    DeletedReference,
    /// A reference to a resource of a type that the element does not take, or that does not conform to its profile.
    UnfitReference,
    /// A reference to another server, which this one does not take.
    ForeignReference,
    /// A conditional reference that nothing answers to.
    UnmatchedReference,
    /// A conditional reference that several resources answer to.
    AmbiguousReference,
    /// The id is digits only, which the server keeps for its own.
    DigitsId,
    /// The server takes no id of a client.
    NoClientId,
    /// The id is none that FHIR allows.
    InvalidId,
    /// The id or the type in the resource is not that of its address.
    OtherId,
    /// A resource with this id is there already.
    IdTaken,
    /// A Bundle of a type that the server does not store.
    StoredBundle,
    /// A Bundle of a type that the server does not execute.
    ExecutedBundle,
    /// More entries than the server takes.
    TooManyEntries,
    /// The same identity twice in one Bundle.
    TwiceInBundle,
    /// A `fullUrl`, or a placeholder, that the server does not understand.
    Placeholder,
    /// The resource does not meet its own condition.
    UnmetCondition,
    /// Several resources meet its condition.
    AmbiguousCondition,
    /// A condition that the server cannot search by.
    UnusableCondition,
    /// The store wants to know which version is updated.
    VersionWanted,
    /// The resource was changed meanwhile.
    VersionChanged,
    /// Another request changed the same at the same time.
    Raced,
    /// Larger than the server takes.
    TooLarge,
    /// A required element is missing.
    Required,
    /// An element that FHIR, or the server, does not know.
    UnknownElement,
    /// Not built as FHIR says.
    Structure,
    /// A value that does not fit its element.
    Value,
    /// A code that its value set does not hold.
    Code,
    /// A rule of FHIR or of a profile is broken.
    Invariant,
    /// A rule of the server's own is broken.
    BusinessRule,
    /// A resource type that the server does not take.
    UnknownType,
    /// The server does not offer this.
    NotOffered,
    /// The credentials do not allow it.
    Forbidden,
    /// No credentials, or wrong ones.
    Login,
    /// Nothing is at the address.
    NotThere,
    /// It was there, and has been deleted.
    Deleted,
    /// It is there already.
    Duplicate,
    /// In conflict with what the store holds.
    Conflict,
    /// Not the media type that the server takes.
    MediaType,
    /// The server is asked for too much.
    Throttled,
    /// The server has no room left.
    NoRoom,
    /// The server failed at it.
    Trouble,
    /// Sent elsewhere.
    Redirected,
    /// No answer came.
    NoAnswer,
    /// The codes do not tell.
    Unsaid,
}

use Meaning as M;

/// Codes that stand for themselves, sorted: those of Google's `details.text`, of FHIR's `operation-outcome`
/// (<https://terminology.hl7.org/CodeSystem-operation-outcome.html>), of HL7's validator and of Aidbox.
const CODES: [(&str, Meaning); 71] = [
    ("MSG_AUTH_REQUIRED", M::Login),
    ("MSG_BAD_FORMAT", M::Structure),
    ("MSG_BAD_SYNTAX", M::Structure),
    ("MSG_CANT_PARSE_CONTENT", M::MediaType),
    ("MSG_CANT_PARSE_ROOT", M::Structure),
    ("MSG_DATE_FORMAT", M::Value),
    ("MSG_DELETED", M::Deleted),
    ("MSG_DELETED_ID", M::Deleted),
    ("MSG_DUPLICATE_ID", M::IdTaken),
    ("MSG_ERROR_PARSING", M::Structure),
    ("MSG_EXTERNAL_FAIL", M::Trouble),
    ("MSG_ID_INVALID", M::InvalidId),
    ("MSG_ID_TOO_LONG", M::InvalidId),
    ("MSG_INVALID_ID", M::InvalidId),
    ("MSG_JSON_OBJECT", M::Structure),
    ("MSG_LOCAL_FAIL", M::Trouble),
    ("MSG_NO_EXIST", M::NotThere),
    ("MSG_NO_MATCH", M::NotThere),
    ("MSG_NO_MODULE", M::UnknownType),
    ("MSG_OP_NOT_ALLOWED", M::NotOffered),
    ("MSG_PARAM_CHAINED", M::UnusableCondition),
    ("MSG_PARAM_INVALID", M::UnusableCondition),
    ("MSG_PARAM_MODIFIER_INVALID", M::UnusableCondition),
    ("MSG_PARAM_NO_REPEAT", M::UnusableCondition),
    ("MSG_PARAM_UNKNOWN", M::UnusableCondition),
    ("MSG_REMOTE_FAIL", M::Trouble),
    ("MSG_RESOURCE_EXAMPLE_PROTECTED", M::Forbidden),
    ("MSG_RESOURCE_ID_FAIL", M::Trouble),
    ("MSG_RESOURCE_ID_MISMATCH", M::OtherId),
    ("MSG_RESOURCE_ID_MISSING", M::OtherId),
    ("MSG_RESOURCE_NOT_ALLOWED", M::NotOffered),
    ("MSG_RESOURCE_REQUIRED", M::Structure),
    ("MSG_RESOURCE_TYPE_MISMATCH", M::OtherId),
    ("MSG_TRANSACTION_DUPLICATE_ID", M::TwiceInBundle),
    ("MSG_TRANSACTION_MISSING_ID", M::OtherId),
    ("MSG_UNHANDLED_NODE_TYPE", M::Structure),
    ("MSG_UNKNOWN_CONTENT", M::MediaType),
    ("MSG_UNKNOWN_OPERATION", M::NotOffered),
    ("MSG_UNKNOWN_TYPE", M::UnknownType),
    ("MSG_VERSION_AWARE", M::VersionWanted),
    ("MSG_VERSION_AWARE_CONFLICT", M::VersionChanged),
    ("MSG_VERSION_AWARE_URL", M::VersionWanted),
    ("MSG_WRONG_NS", M::Structure),
    ("Reference_REF_CantResolve", M::MissingReference),
    ("SEARCH_MULTIPLE", M::AmbiguousCondition),
    ("Terminology_TX_NoValid_1_CC", M::Code),
    ("Terminology_TX_NoValid_2_CC", M::Code),
    ("Terminology_TX_NoValid_4", M::Code),
    ("UPDATE_MULTIPLE_MATCHES", M::AmbiguousCondition),
    ("Validation_VAL_Profile_Maximum", M::Structure),
    ("Validation_VAL_Profile_Minimum", M::Required),
    ("ambiguous_query", M::AmbiguousCondition),
    ("bad_resource_type", M::UnknownType),
    ("conflict", M::Conflict),
    ("empty-value", M::Value),
    ("gone", M::Deleted),
    ("internal-validator-error", M::Trouble),
    ("invalid-target-profile", M::UnfitReference),
    ("invalid-type", M::Value),
    ("invalid_query", M::UnusableCondition),
    ("invalid_references", M::MissingReference),
    ("multiple-matches", M::AmbiguousCondition),
    ("non-existent-resource", M::MissingReference),
    ("not-found", M::NotThere),
    ("operation_too_costly", M::Throttled),
    ("precondition-failed", M::VersionChanged),
    ("resource_mismatch", M::OtherId),
    ("storage_error", M::NotThere),
    ("too-many-requests", M::Throttled),
    ("unauthorized", M::Login),
    ("unparseable_resource", M::Structure),
];

/// The numbers of HAPI FHIR's messages, sorted, that loads meet.
const HAPI: [(u16, Meaning); 42] = [
    (287, M::NotOffered),
    (302, M::UnknownType),
    (333, M::Forbidden),
    (334, M::Forbidden),
    (389, M::Trouble),
    (419, M::OtherId),
    (420, M::OtherId),
    (450, M::Structure),
    (488, M::UnusableCondition),
    (507, M::ForeignReference),
    (520, M::OtherId),
    (521, M::InvalidId),
    (522, M::StoredBundle),
    (524, M::UnusableCondition),
    (527, M::ExecutedBundle),
    (528, M::TooManyEntries),
    (533, M::Placeholder),
    (534, M::TwiceInBundle),
    (535, M::TwiceInBundle),
    (823, M::Raced),
    (824, M::Raced),
    (825, M::Raced),
    (826, M::Raced),
    (827, M::Raced),
    (929, M::UnmetCondition),
    (958, M::AmbiguousCondition),
    (959, M::NoClientId),
    (960, M::DigitsId),
    (961, M::VersionChanged),
    (989, M::VersionChanged),
    (1091, M::UnmatchedReference),
    (1092, M::AmbiguousReference),
    (1094, M::MissingReference),
    (1095, M::UnfitReference),
    (1096, M::DeletedReference),
    (1223, M::UnusableCondition),
    (1821, M::Value),
    (1822, M::Required),
    (1825, M::UnknownElement),
    (2001, M::NotThere),
    (2008, M::TwiceInBundle),
    (2745, M::Raced),
];

/// The numbers of Firely's validator (`http://hl7.org/fhir/dotnet-api-operation-outcome`), which Azure uses as well.
const DOTNET: &str = "http://hl7.org/fhir/dotnet-api-operation-outcome";

const DOTNET_CODES: [(&str, Meaning); 3] = [
    ("1012", M::Invariant),
    ("1028", M::Required),
    ("6005", M::Code),
];

/// Tells whether a text is a code that a known server says beside `issue.code`, in a vocabulary of this system.
pub(super) fn is_detail(system: Option<&str>, code: &str) -> bool {
    CODES
        .binary_search_by(|(known, _)| (*known).cmp(code))
        .is_ok()
        || system == Some(DOTNET) && DOTNET_CODES.iter().any(|(known, _)| *known == code)
}

/// The length of `HAPI-0960`.
const HAPI_LENGTH: usize = "HAPI-0000".len();

/// Returns HAPI's number of a message, as `HAPI-0960`, from the head of what it says: the first that is known, where it
/// says several, else the first.
pub(super) fn hapi(diagnostics: &str) -> Option<&str> {
    let (mut rest, mut first) = (diagnostics, None);
    loop {
        let code = rest
            .get(..HAPI_LENGTH)
            .filter(|code| hapi_number(code).is_some());
        let after = rest.get(HAPI_LENGTH..).unwrap_or_default();
        let is_whole = after.is_empty() || after.starts_with([':', ' ', ',']);
        let Some(code) = code.filter(|_| is_whole) else {
            return first;
        };
        if of_hapi(code).is_some() {
            return Some(code);
        }
        first = first.or(Some(code));
        rest = after.trim_start_matches([':', ' ']);
    }
}

fn hapi_number(code: &str) -> Option<u16> {
    let digits = code.strip_prefix("HAPI-")?;
    (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    digits.parse().ok()
}

fn of_hapi(code: &str) -> Option<Meaning> {
    let number = hapi_number(code)?;
    let at = HAPI
        .binary_search_by_key(&number, |(known, _)| *known)
        .ok()?;
    HAPI.get(at).map(|(_, meaning)| *meaning)
}

fn of_detail(detail: &str) -> Option<Meaning> {
    let listed = CODES.binary_search_by(|(known, _)| (*known).cmp(detail));
    let listed = listed.ok().and_then(|at| CODES.get(at));
    let dotnet = || DOTNET_CODES.iter().find(|(known, _)| *known == detail);
    of_hapi(detail).or_else(|| listed.or_else(dotnet).map(|(_, meaning)| *meaning))
}

fn of_code(code: &str) -> Option<Meaning> {
    Some(match code {
        "structure" | "invalid" | "incomplete" => M::Structure,
        "required" => M::Required,
        "value" => M::Value,
        "code-invalid" => M::Code,
        "invariant" => M::Invariant,
        "business-rule" => M::BusinessRule,
        "extension" => M::UnknownElement,
        "security" | "forbidden" | "suppressed" | "PERMISSION_DENIED" => M::Forbidden,
        "login" | "unknown-user" | "expired" | "UNAUTHENTICATED" => M::Login,
        "duplicate" | "ALREADY_EXISTS" => M::Duplicate,
        "multiple-matches" => M::AmbiguousCondition,
        "not-found" | "no-store" | "NOT_FOUND" => M::NotThere,
        "deleted" => M::Deleted,
        "too-long" => M::TooLarge,
        "not-supported" | "UNIMPLEMENTED" => M::NotOffered,
        "conflict" | "ABORTED" => M::Conflict,
        "lock-error" => M::Raced,
        "too-costly" | "throttled" | "transient" | "RESOURCE_EXHAUSTED" => M::Throttled,
        "timeout" | "exception" | "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" => M::Trouble,
        _ => return None,
    })
}

/// Returns what a refusal means: the most that the server's own code, then the status, then `issue.code` tell.
///
/// The status goes before `issue.code` where it can mean one thing only: servers are careless with the code.
pub fn of(
    interaction: Option<Operation>,
    status: Option<u16>,
    code: Option<&str>,
    detail: Option<&str>,
) -> Meaning {
    let is_update = interaction == Some(Operation::Update);
    let is_conditional = matches!(
        interaction,
        Some(Operation::ConditionalCreate | Operation::ConditionalUpdate)
    );
    let detail = detail.and_then(of_detail).map(|meaning| match meaning {
        // Of an update: the store creates nothing under an id of the file's.
        M::NotThere if is_update => M::NoClientId,
        meaning => meaning,
    });
    // These say less than the status or `issue.code` may.
    let is_vague = |meaning: &Meaning| matches!(meaning, M::Conflict | M::Structure);
    if let Some(detail) = detail.filter(|meaning| !is_vague(meaning)) {
        return detail;
    }
    let by_code = code.and_then(of_code).or(detail);
    match status {
        None => by_code.unwrap_or(M::NoAnswer),
        Some(300..=399) => M::Redirected,
        Some(401) => M::Login,
        Some(403) => M::Forbidden,
        Some(404 | 405) if is_update => M::NoClientId,
        Some(404) if by_code == Some(M::NotOffered) => M::NotOffered,
        Some(404) => M::NotThere,
        Some(405 | 501) => M::NotOffered,
        Some(406 | 415) => M::MediaType,
        Some(409) => match by_code {
            Some(meaning @ (M::Duplicate | M::Raced | M::VersionChanged)) => meaning,
            _ => M::Conflict,
        },
        Some(410) => M::Deleted,
        Some(412) if is_conditional => M::AmbiguousCondition,
        // No request of ours that is not conditional has a condition but a version.
        Some(412) => M::VersionChanged,
        Some(413) => M::TooLarge,
        Some(428) => M::VersionWanted,
        Some(429) => M::Throttled,
        Some(507) => M::NoRoom,
        Some(500..) => M::Trouble,
        Some(_) => by_code.unwrap_or(M::Unsaid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_can_be_searched() {
        assert!(CODES.is_sorted_by(|one, other| one.0 < other.0));
        assert!(HAPI.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn only_codes_are_taken_for_such() {
        for code in [
            "invalid_references",
            "MSG_DUPLICATE_ID",
            "non-existent-resource",
        ] {
            assert!(is_detail(None, code), "{code}");
        }
        assert!(is_detail(Some(DOTNET), "1012") && !is_detail(None, "1012"));
        for code in [
            "",
            "Smith",
            "MSG_SMITH",
            "invalid_smith",
            "19440113",
            "HAPI-0960",
        ] {
            assert!(
                !is_detail(Some(DOTNET), code) && !is_detail(None, code),
                "{code}"
            );
        }
    }

    #[test]
    fn the_numbers_of_hapi_stand_at_the_head_of_what_it_says() {
        for (said, code) in [
            ("HAPI-0960: Can not create", Some("HAPI-0960")),
            ("HAPI-0960", Some("HAPI-0960")),
            ("HAPI-9999: new", Some("HAPI-9999")),
            ("HAPI-0550: HAPI-0824: the", Some("HAPI-0824")),
            ("HAPI-0550: HAPI-9999: x", Some("HAPI-0550")),
            ("Smith HAPI-0960: x", None),
            ("HAPI-Anna: Smith", None),
            ("HAPI-19440113: Smith", None),
            ("HAPI-09é0: x", None),
            ("HAPI-096", None),
            ("hapi-0960: x", None),
            ("", None),
        ] {
            assert_eq!(hapi(said), code, "{said}");
        }
    }

    #[test]
    fn the_most_telling_code_wins() {
        use Operation::{ConditionalCreate, Create, Update};
        for (interaction, status, code, detail, meaning) in [
            (
                Update,
                400,
                Some("processing"),
                Some("HAPI-0960"),
                M::DigitsId,
            ),
            (
                Create,
                400,
                Some("processing"),
                Some("HAPI-1094"),
                M::MissingReference,
            ),
            (
                Create,
                400,
                Some("value"),
                Some("invalid_references"),
                M::MissingReference,
            ),
            (
                Create,
                400,
                Some("processing"),
                Some("HAPI-9999"),
                M::Unsaid,
            ),
            (Create, 400, Some("value"), None, M::Value),
            (Create, 422, None, None, M::Unsaid),
            (
                Update,
                404,
                Some("not-found"),
                Some("not-found"),
                M::NoClientId,
            ),
            (Update, 405, Some("not-supported"), None, M::NoClientId),
            (
                Create,
                404,
                Some("not-supported"),
                Some("bad_resource_type"),
                M::UnknownType,
            ),
            (Create, 404, None, None, M::NotThere),
            (Update, 412, Some("conflict"), None, M::VersionChanged),
            (
                ConditionalCreate,
                412,
                Some("conflict"),
                Some("ambiguous_query"),
                M::AmbiguousCondition,
            ),
            (ConditionalCreate, 412, None, None, M::AmbiguousCondition),
            (Update, 428, None, None, M::VersionWanted),
            (Create, 413, Some("too-long"), None, M::TooLarge),
            (
                Create,
                429,
                None,
                Some("operation_too_costly"),
                M::Throttled,
            ),
            (Create, 409, Some("conflict"), None, M::Conflict),
            (Create, 409, Some("duplicate"), None, M::Duplicate),
            (Create, 503, None, None, M::Trouble),
            (Create, 403, Some("forbidden"), None, M::Forbidden),
            (Create, 301, None, None, M::Redirected),
        ] {
            let found = of(Some(interaction), Some(status), code, detail);
            assert_eq!(found, meaning, "{interaction} {status} {code:?} {detail:?}");
        }
        assert_eq!(of(Some(Create), None, None, None), M::NoAnswer);
    }
}
