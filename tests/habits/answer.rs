//! Puts answers into words, by habit.

use serde_json::{Value, json};

use super::{
    habit::{Body, EntryStatus, Errors, Habits, Matched, Place, Tag},
    store::{Done, Refused},
};

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn text(status: u16, text: &str, kind: &str) -> Self {
        let mut reply = Self::empty(status).with("content-type", kind);
        reply.body = text.as_bytes().to_vec();
        reply
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::text(status, &value.to_string(), "application/fhir+json")
    }

    pub(super) fn page(status: u16) -> Self {
        let page = "<!DOCTYPE html><html><body><h1>Hello</h1></body></html>";
        Self::text(status, page, "text/html")
    }

    pub(super) fn of_refusal(refused: &Refused) -> Self {
        Self::json(refused.status, &refused.outcome("error"))
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Returns how a resource is named.
fn place(place: Place, base: &str, done: &Done) -> Option<String> {
    let (kind, id, version) = (&done.kind, &done.id, &done.version);
    Some(match place {
        Place::Absolute => format!("{base}/{kind}/{id}/_history/{version}"),
        Place::AbsoluteBare => format!("{base}/{kind}/{id}"),
        Place::Relative => format!("{kind}/{id}/_history/{version}"),
        Place::RelativeBare => format!("{kind}/{id}"),
        Place::Internal => {
            format!("http://fhir.svc.cluster.local:8080/r4/{kind}/{id}/_history/{version}")
        }
        Place::Doubled => format!("{base}/{kind}/{kind}/{id}/_history/{version}"),
        Place::DoubleSlash => format!("{base}//{kind}/{id}"),
        Place::Blank => String::new(),
        Place::TypeOnly => format!("{base}/{kind}"),
        Place::None => return None,
    })
}

/// Returns how a version is written.
pub(super) fn tag(tag: Tag, version: &str) -> Option<String> {
    Some(match tag {
        Tag::Weak => format!("W/\"{version}\""),
        Tag::Bare => version.to_owned(),
        Tag::Blank => String::new(),
        Tag::None => return None,
    })
}

/// Returns a resource as it is answered.
pub(super) fn shown(habits: &Habits, version: &str, resource: &Value) -> Value {
    let mut resource = resource.clone();
    if habits.meta {
        resource["meta"]["versionId"] = version.into();
        resource["meta"]["lastUpdated"] = jiff::Timestamp::now().to_string().into();
    }
    resource
}

/// Answers a single write.
pub(super) fn single(habits: &Habits, base: &str, done: &Done, is_update: bool) -> Reply {
    let status = done.status;
    let resource = || shown(habits, &done.version, &done.resource);
    if done.matched {
        let location = place(habits.location, base, done).unwrap_or_default();
        return match habits.matched {
            Matched::Bare => Reply::empty(status),
            Matched::LocationOnly => Reply::empty(status).with("location", &location),
            Matched::ResourceOnly => Reply::json(status, &resource()),
            Matched::Full => Reply::json(status, &resource()).with("location", &location),
        };
    }
    let body = if is_update {
        habits.update
    } else {
        habits.create
    };
    let mut reply = match body {
        Body::Resource => Reply::json(status, &resource()),
        Body::Empty => Reply::empty(status),
        Body::EmptyHtml => Reply::text(status, "", "text/html"),
        Body::Outcome => Reply::json(
            status,
            &Refused::new(200, "informational", "all is well").outcome("information"),
        ),
        Body::Text(text, kind) => Reply::text(status, text, kind),
    };
    if done.status == 201 || habits.location_on_update {
        if let Some(location) = place(habits.location, base, done) {
            reply = reply.with("location", &location);
        }
        // An update is silent where it has no `Location`.
        if let (Some(location), false) = (
            place(habits.content_location, base, done),
            is_update && !habits.location_on_update,
        ) {
            reply = reply.with("content-location", &location);
        }
    }
    match tag(habits.tag, &done.version) {
        Some(tag) => reply.with("etag", &tag),
        None => reply,
    }
}

/// Answers an entry that was taken.
pub(super) fn entry(habits: &Habits, base: &str, done: &Done) -> Value {
    let mut response = json!({ "status": status_text(habits.entry_status, done.status) });
    let is_named = !(done.matched && habits.matched == Matched::Bare);
    let has_place = !habits.entry_location_on_create_only || done.status == 201;
    if let Some(location) = place(habits.entry_location, base, done)
        && is_named
        && has_place
    {
        response["location"] = location.into();
    }
    if let Some(tag) = tag(habits.entry_tag, &done.version)
        && is_named
    {
        response["etag"] = tag.into();
    }
    if habits.entry_outcome {
        response["outcome"] =
            Refused::new(200, "informational", "all is well").outcome("information");
    }
    let mut entry = json!({ "response": response });
    if habits.entry_resource && is_named {
        entry["resource"] = shown(habits, &done.version, &done.resource);
    }
    entry
}

/// Answers an entry that was refused.
pub(super) fn refused_entry(habits: &Habits, refused: &Refused) -> Value {
    let status = status_text(habits.entry_status, refused.status);
    match habits.errors {
        Errors::Resource => {
            json!({"response": {"status": status}, "resource": refused.outcome("fatal")})
        }
        Errors::Outcome | Errors::EndTheCall => {
            json!({"response": {"status": status, "outcome": refused.outcome("error")}})
        }
    }
}

fn status_text(form: EntryStatus, status: u16) -> Value {
    let words = axum::http::StatusCode::from_u16(status).unwrap();
    let words = words.canonical_reason().unwrap();
    match form {
        EntryStatus::Text => format!("{status} {words}").into(),
        EntryStatus::Code => status.to_string().into(),
        EntryStatus::Number => status.into(),
        EntryStatus::Word => words.into(),
        EntryStatus::Enum => words.replace(' ', "").into(),
    }
}
