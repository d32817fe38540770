//! What a server says of a failure: an `OperationOutcome` (<https://hl7.org/fhir/R4/operationoutcome.html>), or
//! Google's JSON error (<https://google.aip.dev/193>), or something else that came in the way.

use serde_json::Value;

use super::types::is_resource_type;

/// The most that is kept of a body that is neither: enough for the title of a proxy's error page.
const LONGEST_RAW: usize = 4096;

/// The longest path that is believed to be one.
const LONGEST_EXPRESSION: usize = 256;

/// What went wrong, in the server's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// `issue.code` of the worst issue, or Google's status (`INVALID_ARGUMENT`). A word of a fixed vocabulary:
    /// any other is left out.
    pub code: Option<String>,
    /// The elements concerned: `issue.expression`, or else `issue.location`. Only what looks like a path, so that it
    /// holds no content.
    pub expression: Vec<String>,
    /// All that the server said, one line an issue. Content: for `rejected/` only.
    pub text: String,
}

/// Reads the body of an answer that tells of a failure; it never fails itself.
pub fn read(body: &[u8]) -> Problem {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(value) => of(&value).unwrap_or_else(|| raw(body)),
        Err(_) => raw(body),
    }
}

/// Returns which entry of the Bundle that was sent the problem is about, from 0.
///
/// Servers say it as `Bundle.entry[4]…`, in the expression or in their words.
pub fn entry(problem: &Problem) -> Option<usize> {
    let texts = problem.expression.iter().chain([&problem.text]);
    texts.into_iter().find_map(|text| {
        let (_, rest) = text.split_once("entry[")?;
        rest.split_once(']')?.0.parse().ok()
    })
}

/// Reads an answer that is already parsed; none if it has neither shape.
pub fn of(value: &Value) -> Option<Problem> {
    if let Some(issues) = value.get("issue").and_then(Value::as_array) {
        return Some(operation_outcome(issues));
    }
    // Google's streaming front end wraps errors in an array.
    let error = match value {
        Value::Array(values) => values.first()?.get("error")?,
        _ => value.get("error")?,
    };
    error.is_object().then(|| google(error))
}

fn operation_outcome(issues: &[Value]) -> Problem {
    let severity = |issue: &Value| match issue.get("severity").and_then(Value::as_str) {
        Some("fatal") => 0,
        Some("warning") => 2,
        Some("information") => 3,
        _ => 1, // `error`, and servers that leave it out
    };
    let worst = issues.iter().map(severity).min().unwrap_or(1);
    let mut problem = Problem::default();
    for issue in issues {
        let details = issue.get("details");
        let coded = details.and_then(|details| details.get("coding")?.get(0)?.get("display"));
        let said = [
            details.and_then(|details| details.get("text")),
            coded,
            issue.get("diagnostics"),
        ];
        let said: Vec<&str> = said
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !said.is_empty() {
            line(&mut problem.text, &said.join(": "));
        }
        if severity(issue) > worst {
            continue;
        }
        if problem.code.is_none() {
            problem.code = issue
                .get("code")
                .and_then(Value::as_str)
                .filter(|code| is_code(code))
                .map(str::to_owned);
        }
        let places = [issue.get("expression"), issue.get("location")];
        let places = places.into_iter().flatten().find_map(Value::as_array);
        for place in places.into_iter().flatten().filter_map(Value::as_str) {
            if is_path(place) && !problem.expression.iter().any(|known| known == place) {
                problem.expression.push(place.to_owned());
            }
        }
    }
    problem
}

fn google(error: &Value) -> Problem {
    let mut problem = Problem {
        code: error
            .get("status")
            .and_then(Value::as_str)
            .filter(|status| is_code(status))
            .map(str::to_owned),
        ..Problem::default()
    };
    if let Some(message) = error.get("message").and_then(Value::as_str) {
        line(&mut problem.text, message);
    }
    let details = error.get("details").and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        let violations = detail.get("fieldViolations").and_then(Value::as_array);
        for violation in violations.into_iter().flatten() {
            let field = violation.get("field").and_then(Value::as_str);
            problem
                .expression
                .extend(field.filter(|field| is_path(field) || is_field(field)).map(str::to_owned));
            if let Some(description) = violation.get("description").and_then(Value::as_str) {
                line(&mut problem.text, description);
            }
        }
    }
    problem
}

fn raw(body: &[u8]) -> Problem {
    let body = body.get(..LONGEST_RAW).unwrap_or(body);
    Problem {
        text: String::from_utf8_lossy(body).trim().to_owned(),
        ..Problem::default()
    }
}

fn line(text: &mut String, said: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(said);
}

/// Tells whether a word is one of a fixed vocabulary: FHIR's or Google's. Any other may be the name of a patient.
fn is_code(word: &str) -> bool {
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
fn is_path(path: &str) -> bool {
    let (first, rest) = match path.strip_prefix('/') {
        Some(steps) => {
            let mut steps = steps.split('/');
            (steps.next(), steps)
        }
        None => return is_fhir_path(path),
    };
    let plain = |step: &str| step.strip_prefix("f:").unwrap_or(step).to_owned();
    path.len() <= LONGEST_EXPRESSION
        && first.is_some_and(|first| is_resource_type(without_index(&plain(first))))
        && rest
            .map(plain)
            .all(|step| is_resource_type(&step) || is_step(&step))
}

fn is_fhir_path(path: &str) -> bool {
    let mut steps = path.split('.');
    path.len() <= LONGEST_EXPRESSION
        && steps.next().is_some_and(is_resource_type)
        && steps.all(is_step)
}

/// `entry[0].resource`, `fhir_store.version`: a field of a request as Google names it.
fn is_field(path: &str) -> bool {
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
            .is_some_and(|kind| is_resource_type(kind) || DATA_TYPES.contains(&kind));
    }
    let name = without_index(step);
    let begins_small = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // `valueBase64Binary` has digits, an identifier more of them.
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    begins_small && is_name && digits <= 2 && name.len() <= LONGEST_NAME
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
    let Some((name, index)) = step
        .strip_suffix(']')
        .and_then(|step| step.split_once('['))
    else {
        return step;
    };
    // A Bundle has at most some ten thousand entries; more digits may be an identifier.
    let is_number = (1..=5).contains(&index.len()) && index.bytes().all(|b| b.is_ascii_digit());
    if is_number || index == "x" { name } else { step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_outcomes_are_read() {
        let problem = read(
            br#"{"issue":[{"code":"informational","severity":"information","diagnostics":"note"},
            {"code":"structure","details":{"text":"unparseable_resource"},"diagnostics":"unknown field \"x\"",
             "severity":"error","expression":["Bundle.entry[4].resource","where name = 'Smith'"]},
            {"code":"value","severity":"error","location":["/f:Patient/f:name"]}],
            "resourceType":"OperationOutcome"}"#,
        );
        assert_eq!(problem.code.as_deref(), Some("structure"));
        assert_eq!(
            problem.expression,
            ["Bundle.entry[4].resource", "/f:Patient/f:name"]
        );
        assert_eq!(
            problem.text,
            "note\nunparseable_resource: unknown field \"x\""
        );
    }

    #[test]
    fn google_errors_are_read() {
        let body =
            br#"{"error":{"code":400,"message":"Invalid JSON payload","status":"INVALID_ARGUMENT",
            "details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations":[{"field":"entry.a","description":"bad"}]}]}}"#;
        let problem = read(body);
        assert_eq!(problem.code.as_deref(), Some("INVALID_ARGUMENT"));
        assert_eq!(problem.expression, ["entry.a"]);
        assert_eq!(problem.text, "Invalid JSON payload\nbad");
        assert_eq!(read(&[b"[", &body[..], b"]"].concat()), problem);
    }

    #[test]
    fn anything_else_becomes_text() {
        for (body, text) in [
            (&b""[..], ""),
            (
                b"<html>502 Bad Gateway</html>",
                "<html>502 Bad Gateway</html>",
            ),
            (br#"{"issue":[{"code":"str"#, r#"{"issue":[{"code":"str"#),
            (b"{\"error\":\"nope\"}", "{\"error\":\"nope\"}"),
            (b"[]", "[]"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ] {
            let problem = read(body);
            assert_eq!((problem.code, problem.text.as_str()), (None, text));
        }
        assert_eq!(read(&b"x".repeat(100_000)).text.len(), LONGEST_RAW);
        // Odd types inside are passed over.
        assert_eq!(
            read(br#"{"issue":[5,{"code":["a"],"expression":"x","details":7}]}"#),
            Problem::default()
        );
    }

    #[test]
    fn only_codes_and_paths_are_taken_for_such() {
        for code in ["Patient Smith", "smith", "Smith", "SMITH", "", "p-4711"] {
            let body = format!(r#"{{"issue":[{{"code":"{code}","severity":"error"}}]}}"#);
            assert_eq!(read(body.as_bytes()).code, None);
            let body = format!(r#"{{"error":{{"status":"{code}"}}}}"#);
            assert_eq!(read(body.as_bytes()).code, None);
        }
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
