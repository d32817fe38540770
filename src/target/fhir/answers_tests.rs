//! No answer makes an id believed that is not the record's: generated answers, single and in Bundles.

use http::HeaderMap;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Asked, Verb, entries, said};
use crate::target::{Answer, Little, Said};

const KINDS: [&str; 4] = ["Patient", "Observation", "Organization", "Encounter"];

/// The form in which an answer names a resource.
#[derive(Debug, Clone, Copy)]
enum Form {
    Absolute,
    Versioned,
    Relative,
    Rooted,
    Internal,
    DoubleSlash,
    Doubled,
    Queried,
    /// Something that stands for nothing.
    Blank,
    TypeOnly,
    HistoryOnly,
    BaseOnly,
    /// Something else by its full name.
    OtherType,
    OtherTypeVersioned,
    Login,
    Traversal,
}

const FORMS: [Form; 16] = [
    Form::Absolute,
    Form::Versioned,
    Form::Relative,
    Form::Rooted,
    Form::Internal,
    Form::DoubleSlash,
    Form::Doubled,
    Form::Queried,
    Form::Blank,
    Form::TypeOnly,
    Form::HistoryOnly,
    Form::BaseOnly,
    Form::OtherType,
    Form::OtherTypeVersioned,
    Form::Login,
    Form::Traversal,
];

impl Form {
    fn text(self, kind: &str, id: &str) -> String {
        let other = if kind == "Device" { "Group" } else { "Device" };
        match self {
            Self::Absolute => format!("https://a.example/fhir/{kind}/{id}"),
            Self::Versioned => format!("https://a.example/fhir/{kind}/{id}/_history/7"),
            Self::Relative => format!("{kind}/{id}/_history/1"),
            Self::Rooted => format!("/{kind}/{id}"),
            Self::Internal => format!("http://fhir:8080/{kind}/{id}/_history/2"),
            Self::DoubleSlash => format!("https://a.example/fhir//{kind}/{id}"),
            Self::Doubled => format!("https://a.example/fhir/{kind}/{kind}/{id}/_history/1"),
            Self::Queried => format!("{kind}/{id}?_format=json"),
            Self::Blank => String::new(),
            Self::TypeOnly => format!("https://a.example/fhir/{kind}"),
            Self::HistoryOnly => format!("https://a.example/fhir/{kind}/_history/3"),
            Self::BaseOnly => "https://a.example/fhir/".to_owned(),
            Self::OtherType => format!("https://a.example/fhir/{other}/foreign"),
            Self::OtherTypeVersioned => format!("{other}/foreign/_history/1"),
            Self::Login => "https://login.example/sign-in/17".to_owned(),
            Self::Traversal => format!("{kind}/../../foreign"),
        }
    }
}

/// The content of a body.
#[derive(Debug, Clone, Copy)]
enum Body {
    Own,
    Other,
    Fine,
    Failed,
    Nothing,
    Html,
    Json,
}

const BODIES: [Body; 7] = [
    Body::Own,
    Body::Other,
    Body::Fine,
    Body::Failed,
    Body::Nothing,
    Body::Html,
    Body::Json,
];

impl Body {
    fn value(self, kind: &str, id: &str) -> Option<Value> {
        let outcome = |severity: &str| {
            json!({"resourceType": "OperationOutcome", "id": "foreign",
                "issue": [{"severity": severity, "code": "processing"}]})
        };
        Some(match self {
            Self::Own => json!({"resourceType": kind, "id": id, "meta": {"versionId": "1"}}),
            Self::Other => json!({"resourceType": "Device", "id": "foreign"}),
            Self::Fine => outcome("information"),
            Self::Failed => outcome("error"),
            Self::Json => json!({"id": "foreign", "success": true}),
            Self::Nothing | Self::Html => return None,
        })
    }

    fn bytes(self, kind: &str, id: &str) -> Vec<u8> {
        match (self.value(kind, id), self) {
            (Some(value), _) => value.to_string().into_bytes(),
            (None, Self::Html) => b"<html><body id=\"foreign\">".to_vec(),
            (None, _) => Vec::new(),
        }
    }
}

const STATUSES: [u16; 7] = [200, 201, 202, 204, 207, 304, 226];

/// One record, and how the server answers it.
#[derive(Debug, Clone)]
struct Case {
    verb: Verb,
    kind: &'static str,
    location: Option<Form>,
    body: Body,
    status: Value,
    etag: Option<&'static str>,
    has_response: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let statuses = vec![
        json!("201 Created"),
        json!("200"),
        json!("200 OK"),
        json!(201),
        json!("Created"),
        json!("NoContent"),
        json!("304 Not Modified"),
        json!("400 Bad Request"),
        json!("fine"),
        json!("2010 x"),
        json!(null),
    ];
    let verbs = vec![
        Verb::Create,
        Verb::Create,
        Verb::ConditionalCreate,
        Verb::Update,
    ];
    (
        select(verbs),
        select(KINDS.to_vec()),
        proptest::option::weighted(0.8, select(FORMS.to_vec())),
        select(BODIES.to_vec()),
        select(statuses),
        proptest::option::of(select(vec!["W/\"1\"", "1", ""])),
        proptest::bool::weighted(0.95),
    )
        .prop_map(
            |(verb, kind, location, body, status, etag, has_response)| Case {
                verb,
                kind,
                location,
                body,
                status,
                etag,
                has_response,
            },
        )
}

impl Case {
    fn answer(&self, id: &str) -> Value {
        let mut entry = json!({});
        if self.has_response {
            let mut response = json!({ "status": self.status });
            if let Some(form) = self.location {
                response["location"] = form.text(self.kind, id).into();
            }
            if let Some(etag) = self.etag {
                response["etag"] = etag.into();
            }
            entry["response"] = response;
        }
        if let Some(resource) = self.body.value(self.kind, id) {
            entry["resource"] = resource;
        }
        entry
    }
}

pub(super) fn id_of(answer: &Answer) -> Option<&str> {
    match &answer.said {
        Said::Taken(accepted) => accepted.id.as_deref(),
        _ => None,
    }
}

/// The order in which a server answers.
#[derive(Debug, Clone, Copy)]
enum Order {
    Request,
    Execution,
    Reversed,
}

proptest! {
    #[test]
    fn no_single_answer_gives_a_foreign_id(
        kind in select(KINDS.to_vec()),
        location in proptest::option::of(select(FORMS.to_vec())),
        content_location in proptest::option::of(select(FORMS.to_vec())),
        body in select(BODIES.to_vec()),
        status in select(STATUSES.to_vec()),
        is_update: bool,
        is_conditional: bool,
    ) {
        let asked = Asked {
            verb: match (is_update, is_conditional) {
                (true, _) => Verb::Update,
                (false, true) => Verb::ConditionalCreate,
                (false, false) => Verb::Create,
            },
            kind,
            own: is_update.then_some("own-1"),
            sent: None,
        };
        let mut headers = HeaderMap::new();
        for (name, form) in [("location", location), ("content-location", content_location)] {
            if let Some(form) = form {
                headers.insert(name, form.text(kind, "own-1").parse().unwrap());
            }
        }
        let said = said(&asked, status, &headers, &body.bytes(kind, "own-1"));
        if let Said::Taken(accepted) = &said {
            prop_assert!(matches!(accepted.id.as_deref(), None | Some("own-1")), "{:?}", said);
            prop_assert!(status != 202);
            // Words of failure, and no name of the record.
            if matches!(body, Body::Failed) {
                prop_assert!(accepted.id.is_some() || status == 304, "{:?}", said);
            }
        }
        if status == 202 {
            prop_assert_eq!(said, Said::Little(Little::Later));
        }
    }

    #[test]
    fn no_answer_to_a_bundle_gives_a_foreign_id(
        cases in vec(case(), 1..8),
        order in select(vec![Order::Request, Order::Execution, Order::Reversed]),
        extra: bool,
        dropped in proptest::option::weighted(0.2, 0..8_usize),
    ) {
        let mut cases = cases;
        if matches!(order, Order::Reversed) || dropped.is_some() {
            // An answer does not tell which of two of a kind it is about.
            let mut seen = Vec::new();
            cases.retain(|case| !seen.contains(&case.kind) && { seen.push(case.kind); true });
        }
        let ids: Vec<String> = (0..cases.len()).map(|at| format!("own-{at}")).collect();
        let asked: Vec<Asked<'_>> = cases.iter().zip(&ids).map(|(case, id)| Asked {
            verb: case.verb,
            kind: case.kind,
            own: (case.verb == Verb::Update).then_some(id.as_str()),
            sent: None,
        }).collect();
        let mut places: Vec<usize> = (0..cases.len()).collect();
        match order {
            Order::Request => {}
            Order::Execution => places.sort_by_key(|&at| cases[at].verb.turn()),
            Order::Reversed => places.reverse(),
        }
        // An order that the answers do not show cannot be told: at least the types or the ids have to.
        if matches!(order, Order::Execution) {
            let named = |case: &Case| case.has_response && matches!(case.location, Some(Form::Versioned));
            prop_assume!(places.windows(2).all(|pair| pair[0] < pair[1]) || cases.iter().all(named));
        }
        let mut answers: Vec<Value> = places.iter().map(|&at| cases[at].answer(&ids[at])).collect();
        if let Some(at) = dropped.filter(|&at| at < answers.len()) {
            answers.remove(at);
        }
        if extra {
            answers.insert(0, json!({"resource": {"resourceType": "OperationOutcome", "id": "foreign", "issue": []}}));
        }
        let body = json!({"resourceType": "Bundle", "type": "batch-response", "entry": answers}).to_string();
        let Ok(read) = entries(body.as_bytes(), &asked) else {
            return Ok(());
        };
        prop_assert_eq!(read.len(), cases.len());
        for (answer, (id, case)) in read.iter().zip(ids.iter().zip(&cases)) {
            let believed = answer.as_ref().and_then(id_of);
            prop_assert!(believed.is_none_or(|believed| believed == id), "{:?} for {:?}", answer, case);
        }
    }
}
