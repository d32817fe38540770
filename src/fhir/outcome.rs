//! A server's statement about a failure: an `OperationOutcome` (<https://hl7.org/fhir/R4/operationoutcome.html>), or
//! Google's JSON error (<https://google.aip.dev/193>), or something else that came in the way.

use serde_json::Value;

use super::{
    meaning,
    shape::{is_code, is_field, is_path},
};

/// The most that is kept of a body that is neither: enough for the title of a proxy's error page.
const LONGEST_RAW: usize = 4096;

/// A longer answer is no list of issues that anybody reads; parsed, it would take many times its size.
const LONGEST_PARSED: usize = 1 << 20;

/// A failure, in the server's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutcomeProblem {
    /// `issue.code` of the worst issue, or Google's status (`INVALID_ARGUMENT`). A word of a fixed vocabulary:
    /// any other is left out.
    pub code: Option<String>,
    /// The server's own code beside it, where it is one that [`meaning`] knows: of `issue.details`, or HAPI's number at
    /// the head of `issue.diagnostics`.
    pub detail: Option<String>,
    /// The elements concerned: `issue.expression`, or else `issue.location`. Only what looks like a path, so that it
    /// holds no content.
    pub expression: Vec<String>,
    /// The whole text of the server, one line an issue. Content: for `rejected/` only.
    pub text: String,
}

/// Reads the body of an answer that tells of a failure; it never fails itself.
pub fn read(body: &[u8]) -> OutcomeProblem {
    if body.len() > LONGEST_PARSED {
        return raw(body);
    }
    match serde_json::from_slice(body) {
        Ok(value) => of(&value).unwrap_or_else(|| raw(body)),
        Err(_) => raw(body),
    }
}

/// The tone of an `OperationOutcome`: whether it tells of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It tells of none: every issue is a warning, an information, or a success.
    Well,
    /// An issue has the severity `error` or `fatal`.
    Failed,
    /// It has an issue whose severity is missing, or is no word of the standard's.
    Unclear,
    /// It has no issue at all.
    Silent,
}

/// Returns the tone of a body; none of one that is no `OperationOutcome`.
///
/// The standard wants a list of issues, and their severities in small letters
/// (<https://hl7.org/fhir/R4/valueset-issue-severity.html>, R6 adds `success`); servers are known that write otherwise.
pub fn tone(body: &[u8]) -> Option<Tone> {
    #[derive(serde::Deserialize)]
    struct Outcome {
        #[serde(rename = "resourceType")]
        resource_type: String,
        #[serde(default)]
        issue: Value,
    }
    let outcome: Outcome = serde_json::from_slice(body).ok()?;
    if outcome.resource_type != "OperationOutcome" {
        return None;
    }
    let issues = match &outcome.issue {
        Value::Null => &[][..],
        Value::Array(issues) => issues,
        one => std::slice::from_ref(one),
    };
    let tones = issues.iter().map(|issue| {
        let severity = issue.get("severity").and_then(Value::as_str);
        let severity = severity.map(|severity| severity.trim().to_ascii_lowercase());
        match severity.as_deref() {
            Some("error" | "fatal") => Tone::Failed,
            Some("warning" | "information" | "success") => Tone::Well,
            _ => Tone::Unclear,
        }
    });
    Some(tones.fold(Tone::Silent, |worst, tone| match (worst, tone) {
        (Tone::Failed, _) | (_, Tone::Failed) => Tone::Failed,
        (Tone::Unclear, _) | (_, Tone::Unclear) => Tone::Unclear,
        _ => Tone::Well,
    }))
}

/// Returns an expression as one of the record's own: without the place that it had in the Bundle in which it was sent, which
/// is Stoker's; none where nothing is left.
///
/// `Bundle.entry[43].resource.birthDate` is `Patient.birthDate`, and so is
/// `/f:Bundle/f:entry[44]/f:resource/f:Patient/f:birthDate`.
pub fn own(kind: &str, expression: &str) -> Option<String> {
    let plain = expression.trim_start_matches('/').replace("f:", "");
    let Some(rest) = plain
        .strip_prefix("Bundle")
        .map(|rest| rest.trim_start_matches(['.', '/']))
        .and_then(|rest| rest.strip_prefix("entry["))
        .and_then(|rest| rest.split_once(']'))
        .map(|(_, rest)| rest.trim_start_matches(['.', '/']))
    else {
        return Some(expression.to_owned());
    };
    let Some(inner) = rest.strip_prefix("resource") else {
        // Of the entry itself, such as its request.
        return (!rest.is_empty()).then(|| rest.replace('/', "."));
    };
    let inner = inner.trim_start_matches(['.', '/']).replace('/', ".");
    let typed = [format!("ofType({kind})"), kind.to_owned()];
    let inner = typed
        .iter()
        .find_map(|typed| {
            let rest = inner.strip_prefix(typed.as_str())?;
            (rest.is_empty() || rest.starts_with('.')).then(|| rest.trim_start_matches('.'))
        })
        .unwrap_or(&inner);
    Some(match inner {
        "" => kind.to_owned(),
        inner => format!("{kind}.{inner}"),
    })
}

/// Returns which entry of the Bundle that was sent the problem is about, from 0.
///
/// Servers say it as `Bundle.entry[4]…`, in the expression or in their words.
pub fn entry(problem: &OutcomeProblem) -> Option<usize> {
    let texts = problem.expression.iter().chain([&problem.text]);
    texts.into_iter().find_map(|text| {
        let (_, rest) = text.split_once("entry[")?;
        rest.split_once(']')?.0.parse().ok()
    })
}

/// Reads an answer that is already parsed; none if it has neither shape.
pub fn of(value: &Value) -> Option<OutcomeProblem> {
    if let Some(issues) = value.get("issue").and_then(Value::as_array) {
        let mut problem = operation_outcome(issues);
        let name = value.get("id").and_then(Value::as_str);
        let name = name.filter(|name| meaning::is_detail(None, name));
        problem.detail = problem.detail.or(name.map(str::to_owned));
        return Some(problem);
    }
    // Google's streaming front end wraps errors in an array.
    let error = match value {
        Value::Array(values) => values.first()?.get("error")?,
        _ => value.get("error")?,
    };
    error.is_object().then(|| google(error))
}

fn operation_outcome(issues: &[Value]) -> OutcomeProblem {
    let severity = |issue: &Value| match issue.get("severity").and_then(Value::as_str) {
        Some("fatal") => 0,
        Some("warning") => 2,
        Some("information") => 3,
        _ => 1, // `error`, and servers that leave it out
    };
    let worst = issues.iter().map(severity).min().unwrap_or(1);
    let mut problem = OutcomeProblem::default();
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
        if problem.detail.is_none() {
            problem.detail = detail(issue);
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

/// Returns the server's own code for an issue.
fn detail(issue: &Value) -> Option<String> {
    let details = issue.get("details");
    let codings = details.and_then(|details| details.get("coding")?.as_array());
    let coded = codings.into_iter().flatten().find_map(|coding| {
        let code = coding.get("code")?.as_str()?;
        let system = coding.get("system").and_then(Value::as_str);
        meaning::is_detail(system, code).then_some(code)
    });
    let text = || {
        let text = details?.get("text")?.as_str()?;
        meaning::is_detail(None, text).then_some(text)
    };
    let hapi = || meaning::hapi(issue.get("diagnostics")?.as_str()?);
    coded.or_else(text).or_else(hapi).map(str::to_owned)
}

fn google(error: &Value) -> OutcomeProblem {
    let mut problem = OutcomeProblem {
        code: error
            .get("status")
            .and_then(Value::as_str)
            .filter(|status| is_code(status))
            .map(str::to_owned),
        ..OutcomeProblem::default()
    };
    if let Some(message) = error.get("message").and_then(Value::as_str) {
        line(&mut problem.text, message);
    }
    let details = error.get("details").and_then(Value::as_array);
    for detail in details.into_iter().flatten() {
        let violations = detail.get("fieldViolations").and_then(Value::as_array);
        for violation in violations.into_iter().flatten() {
            let field = violation.get("field").and_then(Value::as_str);
            problem.expression.extend(
                field
                    .filter(|field| is_path(field) || is_field(field))
                    .map(str::to_owned),
            );
            if let Some(description) = violation.get("description").and_then(Value::as_str) {
                line(&mut problem.text, description);
            }
        }
    }
    problem
}

fn raw(body: &[u8]) -> OutcomeProblem {
    let body = body.get(..LONGEST_RAW).unwrap_or(body);
    OutcomeProblem {
        text: String::from_utf8_lossy(body).trim().to_owned(),
        ..OutcomeProblem::default()
    }
}

fn line(text: &mut String, said: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(said);
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
        assert_eq!(problem.detail.as_deref(), Some("unparseable_resource"));
    }

    /// The forms in which servers say their own codes, and words in their places.
    #[test]
    fn the_own_codes_of_servers_are_read_and_nothing_else() {
        for (issue, detail) in [
            (
                r#""diagnostics":"HAPI-1094: Resource Patient/Smith not found""#,
                Some("HAPI-1094"),
            ),
            (
                r#""details":{"text":"invalid_references"}"#,
                Some("invalid_references"),
            ),
            (
                r#""details":{"coding":[{"code":"Smith"},{"code":"non-existent-resource","display":"Smith"}]}"#,
                Some("non-existent-resource"),
            ),
            (
                r#""details":{"coding":[{"system":"http://hl7.org/fhir/dotnet-api-operation-outcome","code":"1012"}],"text":"Smith"}"#,
                Some("1012"),
            ),
            (
                r#""details":{"coding":[{"system":"Smith","code":"1012"}],"text":"Smith"},"diagnostics":"Smith""#,
                None,
            ),
            (
                r#""details":{"coding":{"code":"non-existent-resource"}},"diagnostics":["HAPI-0960"]"#,
                None,
            ),
        ] {
            let body =
                format!(r#"{{"issue":[{{"severity":"error","code":"processing",{issue}}}]}}"#);
            assert_eq!(read(body.as_bytes()).detail.as_deref(), detail, "{issue}");
        }
        let named = br#"{"resourceType":"OperationOutcome","id":"not-found","issue":[{"code":"not-found"}]}"#;
        assert_eq!(read(named).detail.as_deref(), Some("not-found"));
        let named =
            br#"{"resourceType":"OperationOutcome","id":"Smith","issue":[{"code":"not-found"}]}"#;
        assert_eq!(read(named).detail, None);
    }

    #[test]
    fn the_tone_of_an_outcome_is_that_of_its_worst_issue() {
        let outcome = |issue: &str| format!(r#"{{"resourceType":"OperationOutcome"{issue}}}"#);
        for (issue, tone_of) in [
            (r#","issue":[{"severity":"error"}]"#, Tone::Failed),
            (
                r#","issue":[{"severity":"warning"},{},{"severity":"fatal"}]"#,
                Tone::Failed,
            ),
            (r#","issue":[{"severity":"Error"}]"#, Tone::Failed),
            (r#","issue":{"severity":"error"}"#, Tone::Failed),
            (r#","issue":[{"severity":"warning"}]"#, Tone::Well),
            (r#","issue":[{"severity":"information"}]"#, Tone::Well),
            (r#","issue":[{"severity":"success"}]"#, Tone::Well),
            (r#","issue":[{}]"#, Tone::Unclear),
            (
                r#","issue":[{"severity":"warning"},{"severity":3}]"#,
                Tone::Unclear,
            ),
            (r#","issue":["failed"]"#, Tone::Unclear),
            (r#","issue":[{"severity":"severe"}]"#, Tone::Unclear),
            (r#","issue":[]"#, Tone::Silent),
            (r#","issue":null"#, Tone::Silent),
            ("", Tone::Silent),
        ] {
            let body = outcome(issue);
            assert_eq!(tone(body.as_bytes()), Some(tone_of), "{body}");
        }
        let other = br#"{"resourceType":"Patient","issue":[{"severity":"error"}]}"#;
        assert_eq!((tone(other), tone(b"error")), (None, None));
    }

    #[test]
    fn an_expression_loses_its_place_in_the_bundle() {
        for (given, left) in [
            (
                "Bundle.entry[43].resource.birthDate",
                Some("Patient.birthDate"),
            ),
            (
                "Bundle.entry[43].resource.ofType(Patient).name[0]",
                Some("Patient.name[0]"),
            ),
            (
                "/f:Bundle/f:entry[44]/f:resource/f:Patient/f:birthDate",
                Some("Patient.birthDate"),
            ),
            ("Bundle.entry[43].resource", Some("Patient")),
            ("Bundle.entry[43]", None),
            ("Bundle.entry[43].request.url", Some("request.url")),
            ("Patient.name", Some("Patient.name")),
            ("Bundle", Some("Bundle")),
        ] {
            assert_eq!(own("Patient", given).as_deref(), left, "{given}");
        }
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
            OutcomeProblem::default()
        );
    }
}
