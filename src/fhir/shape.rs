//! Words of a server, or of a record, that may be shown: codes and paths of FHIR's own.
//!
//! A word of another shape may be a patient's name, and stays out of everything but `rejected/` (design §10).

use super::types::is_known_type;

/// The longest path that is believed to be one.
const LONGEST_EXPRESSION: usize = 256;

/// Tells whether a word is one of a fixed vocabulary: FHIR's or Google's. Any other may be the name of a patient.
pub(super) fn is_code(word: &str) -> bool {
    ISSUE_TYPES.contains(&word) || GOOGLE_CODES.contains(&word)
}

/// <https://hl7.org/fhir/R4/valueset-issue-type.html>; the last two are R5's.
const ISSUE_TYPES: [&str; 33] = [
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
    "limited-filter",
    "success",
];

/// `google.rpc.Code` (<https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>).
const GOOGLE_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
];

/// Tells whether a text is a path to an element: `Patient.name[0]`,
/// `Bundle.entry[4].resource.ofType(Observation).value.ofType(Quantity)`, and the `XPath` of `location`,
/// `/f:Patient/f:name[1]`. It begins with a resource type; what has any other form may hold content.
pub(super) fn is_path(path: &str) -> bool {
    let (first, rest) = match path.strip_prefix('/') {
        Some(steps) => {
            let mut steps = steps.split('/');
            (steps.next(), steps)
        }
        None => return is_fhir_path(path),
    };
    let plain = |step: &str| step.strip_prefix("f:").unwrap_or(step).to_owned();
    path.len() <= LONGEST_EXPRESSION
        && first.is_some_and(|first| is_known_type(without_index(&plain(first))))
        && rest
            .map(plain)
            .all(|step| is_known_type(&step) || is_step(&step))
}

fn is_fhir_path(path: &str) -> bool {
    let mut steps = path.split('.');
    path.len() <= LONGEST_EXPRESSION
        && steps.next().is_some_and(is_known_type)
        && steps.all(is_step)
}

/// `entry[0].resource`, `fhir_store.version`: a field of a request as Google names it.
pub(super) fn is_field(path: &str) -> bool {
    path.len() <= LONGEST_EXPRESSION
        && path.contains(['.', '_', '['])
        && path.split('.').all(|step| is_step(&step.replace('_', "")))
}

/// `name`, `name[0]`, `value[x]`, `ofType(Quantity)`.
fn is_step(step: &str) -> bool {
    let of_type = step
        .strip_prefix("ofType(")
        .or_else(|| step.strip_prefix("as("));
    if let Some(kind) = of_type {
        return kind
            .strip_suffix(')')
            .is_some_and(|kind| is_known_type(kind) || DATA_TYPES.contains(&kind));
    }
    is_element(without_index(step))
}

/// Tells whether a name is one that an element of FHIR could have: small letter first, no sentence, no identifier.
pub(super) fn is_element(name: &str) -> bool {
    // `_birthDate` is what JSON has beside a primitive element.
    let name = name.strip_prefix('_').unwrap_or(name);
    // `valueBase64Binary` has digits, an identifier more of them.
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && digits <= 2
        && name.len() <= LONGEST_NAME
}

/// Longer than any name of an element in R4, shorter than a sentence run together.
const LONGEST_NAME: usize = 48;

/// The data types that an element of open type may have (<https://hl7.org/fhir/R4/datatypes.html#open>).
const DATA_TYPES: [&str; 51] = [
    "base64Binary",
    "boolean",
    "canonical",
    "code",
    "date",
    "dateTime",
    "decimal",
    "id",
    "instant",
    "integer",
    "markdown",
    "oid",
    "positiveInt",
    "string",
    "time",
    "unsignedInt",
    "uri",
    "url",
    "uuid",
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Distance",
    "Dosage",
    "Duration",
    "Expression",
    "Extension",
    "HumanName",
    "Identifier",
    "Meta",
    "Money",
    "ParameterDefinition",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "SampledData",
    "Signature",
    "Timing",
    "TriggerDefinition",
    "UsageContext",
];

/// Takes `[0]`, `[x]` or nothing off the end of a step.
fn without_index(step: &str) -> &str {
    let Some((name, index)) = step.strip_suffix(']').and_then(|step| step.split_once('[')) else {
        return step;
    };
    // A Bundle has at most some ten thousand entries; more digits may be an identifier.
    let is_number = (1..=5).contains(&index.len()) && index.bytes().all(|b| b.is_ascii_digit());
    if is_number || index == "x" {
        name
    } else {
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_and_paths_are_taken_for_such() {
        for code in ["Patient Smith", "smith", "Smith", "SMITH", "", "p-4711"] {
            assert!(!is_code(code), "{code}");
        }
        assert!(is_code("code-invalid") && is_code("INVALID_ARGUMENT"));
        for path in [
            "Patient",
            "Patient.name[0].given[12]",
            "Observation.value[x]",
            "Observation.value.ofType(Quantity).code",
            "Bundle.entry[4].resource.ofType(Patient).multipleBirthInteger",
            "Parameters.parameter[0].valueBase64Binary",
            "/f:Bundle/f:entry[3]/f:resource/f:Patient/f:name",
            "/f:Patient/f:name[1]",
        ] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "/",
            "smith",
            "Smith",
            "Patient.Smith",
            "Patient.name[Smith]",
            "Patient.name.ofType(Smith)",
            "Patient.identifier[19440113]",
            "Patient.p19440113",
            "Patient/Smith",
            "/f:Smith",
            "/f:Patient/f:Smith",
            "Patient.name-smith",
            "Patient..name",
            "https://fhir.example/Patient?name=Smith",
        ] {
            assert!(!is_path(path), "{path}");
        }
        assert!(is_field("entry[0].resource") && is_field("fhir_store.version"));
        assert!(!is_field("smith") && !is_field("Anna.Smith") && !is_field("a.19440113"));
    }
}
