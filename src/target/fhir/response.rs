//! Judges the answer to a single write: whether it says that the resource was taken, that it was not, or too little.
//!
//! A status alone is not believed: proxies and login pages answer 200 to everything, and some servers answer every write
//! with an `OperationOutcome`, good or bad. `place` reads the names, `entries` the answers to Bundles.

use http::HeaderMap;

use super::place::{Body, Name, names, of_names, tag};
use crate::{
    fhir::{
        meaning::{self, Meaning},
        outcome::{self, OutcomeProblem, Tone},
    },
    record::{Operation, Step},
    target::{Little, Said, TooLarge},
};

/// The request of a write, as far as its answer is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The verb of the request.
    pub verb: Verb,
    /// The type of the resource.
    pub kind: &'a str,
    /// The id in the URL, where there is one: it is the resource's, whatever the answer says.
    pub own: Option<&'a str>,
    /// The id that stands in what is created. The store gives another as a rule, so that an answer which says no more than it may
    /// be what was sent, come back.
    pub sent: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// Returns the request that a record's step makes of the store.
    pub fn of(step: &'a Step) -> Self {
        let operation = step.action.operation().unwrap_or(Operation::Create);
        Self {
            verb: match operation {
                Operation::ConditionalCreate => Verb::ConditionalCreate,
                Operation::Update | Operation::ConditionalUpdate => Verb::Update,
                Operation::Patch => Verb::Patch,
                Operation::Delete => Verb::Delete,
                _ => Verb::Create,
            },
            kind: &step.kind,
            own: (step.id.as_deref()).filter(|_| operation == Operation::Update),
            sent: (step.id.as_deref())
                .filter(|_| matches!(operation, Operation::Create | Operation::ConditionalCreate)),
        }
    }
}

/// The verb of a write, in the order in which a server carries out a transaction
/// (<https://hl7.org/fhir/R4/http.html#trules>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `DELETE`.
    Delete,
    /// `POST`.
    Create,
    /// `POST` under a condition.
    ConditionalCreate,
    /// `PUT`, by id or by condition.
    Update,
    /// `PATCH`.
    Patch,
}

impl Verb {
    /// Its place in the order of execution: creates go together, whether they have conditions or not.
    pub(super) fn turn(self) -> u8 {
        match self {
            Self::Delete => 0,
            Self::Create | Self::ConditionalCreate => 1,
            Self::Update => 2,
            Self::Patch => 3,
        }
    }
}

/// Judges an answer with a status of success.
pub fn said(asked: &Asked<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> Said {
    let read = Body::read(body);
    let is_marked =
        tag(headers).is_some() || status == 201 && read.as_ref().is_some_and(Body::has_version);
    let own_name = read.as_ref().and_then(Body::name);
    let is_echo = (own_name.as_ref()).is_some_and(|name| may_be_echo(asked, is_marked, name));
    let mut names = names(headers, None);
    names.extend(own_name.filter(|_| !is_echo));
    let accepted = of_names(asked.kind, asked.own, &names, headers);
    let is_empty = body.trim_ascii().is_empty();
    let is_tagged = accepted.version.is_some();
    let is_named = names.iter().any(|name| is_own(asked, name));
    let tone = outcome::tone(body);
    match status {
        202 => return Said::Little(Little::Later),
        304 if asked.verb == Verb::ConditionalCreate => return Said::Taken(accepted),
        304 => return Said::Little(Little::Unsaid),
        _ if is_named && (status == 201 || tone != Some(Tone::Failed)) => {
            return Said::Taken(accepted);
        }
        _ => {}
    }
    if let Some(tone) = tone {
        return match tone {
            // A name or a version says that something was written; what failed is not known then.
            Tone::Failed if is_tagged || is_named => Said::Little(Little::Unsaid),
            Tone::Failed => Said::Refused,
            Tone::Well => Said::Taken(accepted),
            Tone::Silent if is_enough(asked, status, is_tagged) => Said::Taken(accepted),
            Tone::Silent | Tone::Unclear => Said::Little(Little::Unsaid),
        };
    }
    let is_sufficient = is_enough(asked, status, is_tagged);
    match read.as_ref().and_then(Body::kind) {
        // Of the right type, and it does not say that it is another. A create has to have a name, or 201.
        Some(kind)
            if kind == asked.kind
                && names.iter().all(|name| name.kind != kind)
                && (asked.verb != Verb::Create && !is_echo || is_sufficient) =>
        {
            Said::Taken(accepted)
        }
        None if is_empty && is_sufficient => Said::Taken(accepted),
        None if is_empty => Said::Little(Little::Bare),
        None if body.trim_ascii_start().starts_with(b"<") => Said::Little(Little::Page),
        _ => Said::Little(Little::Text),
    }
}

/// Tells whether the name in a body may be the one that was sent, come back unread: it has the id of the file, and nothing
/// marks it as a store's. A version marks it: in a header, or in the body where the status says that it was created.
pub(super) fn may_be_echo(asked: &Asked<'_>, is_marked: bool, name: &Name) -> bool {
    name.kind == asked.kind && asked.sent == Some(name.id.as_str()) && !is_marked
}

/// Tells whether a status is enough where nothing else is said.
///
/// A condition that hit may be answered by it alone, and so may a deletion. A create has 201, or 204 where nobody wants a
/// body; 200 to a create or an update may also be a proxy's.
pub(super) fn is_enough(asked: &Asked<'_>, status: u16, is_tagged: bool) -> bool {
    is_tagged
        || matches!(status, 201 | 204)
        || matches!(asked.verb, Verb::ConditionalCreate | Verb::Delete)
}

/// Tells whether a name is that of the resource that was asked for.
pub(super) fn is_own(asked: &Asked<'_>, name: &Name) -> bool {
    name.kind == asked.kind && asked.own.is_none_or(|own| own == name.id)
}

/// Tells whether a refusal with 409 is for another request that changed the same at the same time: HAPI and others abort one of
/// two, by a number or by `lock-error`; Microsoft's server speaks of a deadlock.
pub(super) fn is_raced(problem: &OutcomeProblem) -> bool {
    let (code, detail) = (problem.code.as_deref(), problem.detail.as_deref());
    meaning::of(None, Some(409), code, detail) == Meaning::Raced
        || problem.text.to_ascii_lowercase().contains("deadlock")
}

/// Tells whether a refusal with 400 or 422 is for the size of the request.
pub(super) fn too_large(problem: &OutcomeProblem) -> Option<TooLarge> {
    let words = problem.text.to_ascii_lowercase();
    let counts = words.contains("entries")
        && ["too many", "limit", "exceed", "maximum", "more than"]
            .iter()
            .any(|word| words.contains(word));
    match problem.code.as_deref() {
        _ if counts => Some(TooLarge::Records),
        Some("too-long" | "too-costly") if problem.expression.is_empty() => Some(TooLarge::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    fn create(kind: &str) -> Asked<'_> {
        Asked {
            verb: Verb::Create,
            kind,
            own: None,
            sent: None,
        }
    }

    fn update<'a>(kind: &'a str, id: &'a str) -> Asked<'a> {
        Asked {
            verb: Verb::Update,
            kind,
            own: Some(id),
            sent: None,
        }
    }

    fn id(said: &Said) -> Option<&str> {
        match said {
            Said::Taken(accepted) => accepted.id.as_deref(),
            other => panic!("{other:?}"),
        }
    }

    const NAMED: &str = "https://a.example/fhir/Patient/7/_history/2";

    #[test]
    fn the_id_comes_from_location_then_content_location_then_the_body() {
        let body = br#"{"resourceType":"Patient","id":"8","meta":{"versionId":"1"}}"#;
        let create = create("Patient");
        let read = |pairs: &[_], body: &[u8]| said(&create, 201, &headers(pairs), body);
        assert_eq!(id(&read(&[("location", NAMED)], body)), Some("7"));
        assert_eq!(id(&read(&[("content-location", NAMED)], body)), Some("7"));
        let both = [("location", "Observation/1"), ("content-location", NAMED)];
        assert_eq!(id(&read(&both, body)), Some("7"));
        assert_eq!(id(&read(&[], body)), Some("8"));
        assert_eq!(
            id(&read(&[("location", "https://a.example/fhir/")], body)),
            Some("8")
        );
        assert_eq!(id(&read(&[], b"")), None);
    }

    #[test]
    fn an_id_of_something_else_is_not_believed() {
        let outcome = br#"{"resourceType":"OperationOutcome","id":"trace","issue":[]}"#;
        let other = br#"{"resourceType":"Observation","id":"8"}"#;
        let create = create("Patient");
        assert_eq!(id(&said(&create, 201, &HeaderMap::new(), outcome)), None);
        let elsewhere = headers(&[("location", "Observation/9/_history/1")]);
        assert_eq!(id(&said(&create, 201, &elsewhere, b"")), None);
        assert_eq!(
            said(&create, 201, &elsewhere, other),
            Said::Little(Little::Text)
        );
        let update = update("Patient", "a");
        let renamed = headers(&[("location", NAMED)]);
        assert_eq!(
            said(&update, 200, &renamed, b""),
            Said::Little(Little::Bare)
        );
        let tagged = headers(&[("location", NAMED), ("etag", "W/\"5\"")]);
        let Said::Taken(accepted) = said(&update, 200, &tagged, b"") else {
            panic!();
        };
        assert_eq!(
            (accepted.id, accepted.version.as_deref()),
            (None, Some("5"))
        );
    }

    #[test]
    fn a_conflict_of_the_moment_is_told_from_one_that_stays() {
        let outcome = |issue: &str| {
            format!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"error",{issue}}}]}}"#
            )
        };
        for (issue, raced) in [
            (
                r#""code":"conflict","diagnostics":"HAPI-0550: HAPI-0824: lost""#,
                true,
            ),
            (
                r#""code":"processing","diagnostics":"HAPI-0823: lost""#,
                true,
            ),
            (
                r#""code":"processing","diagnostics":"HAPI-0550: HAPI-0825: the id""#,
                true,
            ),
            (
                r#""code":"conflict","diagnostics":"HAPI-0550: HAPI-0827: lost""#,
                true,
            ),
            (
                r#""code":"processing","diagnostics":"HAPI-2745: the condition""#,
                true,
            ),
            (r#""code":"lock-error""#, true),
            (
                r#""code":"conflict","diagnostics":"Transaction was a Deadlock victim""#,
                true,
            ),
            (
                r#""code":"conflict","diagnostics":"Referential integrity violated""#,
                false,
            ),
            (
                r#""code":"conflict","diagnostics":"HAPI-0989: another version""#,
                false,
            ),
            (r#""code":"duplicate""#, false),
        ] {
            let problem = outcome::read(outcome(issue).as_bytes());
            assert_eq!(is_raced(&problem), raced, "{issue}");
        }
    }

    #[test]
    fn an_error_under_a_status_of_success_is_none() {
        let outcome = |severity: &str| {
            format!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","code":"required"}}]}}"#
            )
        };
        let none = HeaderMap::new();
        for status in [200, 201, 207] {
            for severity in ["error", "fatal"] {
                let body = outcome(severity);
                let said = said(&create("Patient"), status, &none, body.as_bytes());
                assert_eq!(said, Said::Refused, "{status} {severity}");
            }
        }
        for severity in ["warning", "information"] {
            let body = outcome(severity);
            assert_eq!(
                id(&said(&create("Patient"), 200, &none, body.as_bytes())),
                None
            );
        }
        let body = outcome("error");
        let said = said(
            &create("Patient"),
            201,
            &headers(&[("location", NAMED)]),
            body.as_bytes(),
        );
        assert_eq!(id(&said), Some("7"));
    }

    #[test]
    fn what_says_little_is_told_from_what_says_enough() {
        let (create, update) = (create("Patient"), update("Patient", "a"));
        let none = HeaderMap::new();
        let tagged = headers(&[("etag", "\"abc\"")]);
        for (asked, status, headers, body, little) in [
            (create, 200, &none, &b""[..], Some(Little::Bare)),
            (update, 200, &none, b"", Some(Little::Bare)),
            (update, 200, &none, b" \n", Some(Little::Bare)),
            (update, 200, &tagged, b"", None),
            (update, 204, &none, b"", None),
            (create, 201, &none, b"", None),
            (update, 200, &none, b"{}", Some(Little::Text)),
            (update, 200, &none, b"null", Some(Little::Text)),
            (update, 200, &none, b"OK", Some(Little::Text)),
            (update, 200, &none, b"<html>", Some(Little::Page)),
            // Web servers give every page a tag.
            (update, 200, &tagged, b"<html>", Some(Little::Page)),
            (create, 202, &tagged, b"", Some(Little::Later)),
            (create, 304, &none, b"", Some(Little::Unsaid)),
            (
                update,
                200,
                &none,
                br#"{"resourceType":"Patient","id":"a"}"#,
                None,
            ),
            (
                update,
                200,
                &none,
                br#"{"resourceType":"Patient","id":"b"}"#,
                Some(Little::Text),
            ),
            (update, 200, &none, br#"{"resourceType":"Patient"}"#, None),
        ] {
            let said = said(&asked, status, headers, body);
            match little {
                Some(little) => assert_eq!(said, Said::Little(little), "{status} {body:?}"),
                None => assert!(
                    matches!(said, Said::Taken(_)),
                    "{status} {body:?}: {said:?}"
                ),
            }
        }
        let conditional = Asked {
            verb: Verb::ConditionalCreate,
            ..create
        };
        for status in [200, 204, 304] {
            assert_eq!(id(&said(&conditional, status, &none, b"")), None);
        }
    }
}
