//! Names of resources, read from the places where servers put them. A name is believed only where it is of the type
//! that is asked for.
//!
//! A reference that is rewritten to the id of something else is wrong data that nobody notices, so whatever is not surely
//! `[type]/[id]` names nothing (<https://hl7.org/fhir/R4/http.html#create>).

use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{fhir::types::RESOURCE_TYPES, target::Accepted};

/// A resource's name, as a URL or a body has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) version: Option<String>,
}

impl Name {
    /// Reads `[base]/[type]/[id]/_history/[version]`, with or without base and version.
    ///
    /// Only the two segments before the history count: those before them are the server's own, and may be the name that it
    /// has behind a proxy. A segment that could not be a type, or not an id, names nothing.
    pub(super) fn of_location(location: &str) -> Option<Self> {
        let path = location.split(['?', '#']).next().unwrap_or_default();
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.split_once('/')?.1,
            None => path,
        };
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let history = segments.iter().position(|&part| part == "_history");
        let (resource, version) = match history {
            Some(at) => (segments.get(..at)?, segments.get(at + 1)),
            None => (segments.as_slice(), None),
        };
        let [.., kind, id] = resource else {
            return None;
        };
        let is_type = kind.starts_with(|first: char| first.is_ascii_uppercase())
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // `…/Patient/Patient` is a type that came twice, and no id.
        if !is_type || kind == id {
            return None;
        }
        Some(Self {
            kind: (*kind).to_owned(),
            id: believed(id)?,
            version: version.and_then(|version| believed(version)),
        })
    }

    /// Tells whether it names something that is certainly of another type.
    pub(super) fn is_of_another_type(&self, kind: &str) -> bool {
        self.kind != kind && RESOURCE_TYPES.binary_search(&self.kind.as_str()).is_ok()
    }
}

/// The parts of a body that say what it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    resource_type: Option<serde_json::Value>,
    id: Option<serde_json::Value>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    version_id: Option<String>,
    last_updated: Option<String>,
}

impl<'a> Body<'a> {
    /// Reads a body; none that is no JSON object to its end.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Its type, where it is a resource.
    pub(super) fn kind(&self) -> Option<&str> {
        self.resource_type.as_ref()?.as_str()
    }

    /// Its name. An `OperationOutcome` has none: its id is that of the answer.
    pub(super) fn name(&self) -> Option<Name> {
        self.own_name().filter(|name| name.kind != OUTCOME)
    }

    /// Tells whether it has a version, or a time at which it was written.
    pub(super) fn has_version(&self) -> bool {
        let meta = self.meta();
        meta.version_id.is_some() || meta.last_updated.is_some()
    }

    /// Its name, also where it is an `OperationOutcome` that a store holds.
    fn own_name(&self) -> Option<Name> {
        Some(Name {
            kind: self.kind()?.to_owned(),
            id: believed(self.id.as_ref()?.as_str()?)?,
            version: self.meta().version_id.as_deref().and_then(believed),
        })
    }

    fn meta(&self) -> Meta {
        // An unreadable `meta` says nothing.
        self.meta
            .and_then(|meta| serde_json::from_str(meta.get()).ok())
            .unwrap_or_default()
    }
}

/// The type that says how a request went.
pub(super) const OUTCOME: &str = "OperationOutcome";

/// Reads when a resource was last written, by the clock of its store.
pub(super) fn last_updated(body: &[u8]) -> Option<jiff::Timestamp> {
    Body::read(body)?.meta().last_updated?.parse().ok()
}

/// Reads where a resource of a type went: from `Location`, `Content-Location`, or the resource in the body, and only from
/// what names this type. Google's plain create is documented to answer with the resource; `Location` is what the standard
/// requires.
pub fn accepted(kind: &str, headers: &HeaderMap, body: &[u8]) -> Accepted {
    of_names(
        kind,
        None,
        &names(headers, Body::read(body).as_ref()),
        headers,
    )
}

/// Reads under which id, and in which version, a store holds what it answers the read of a resource of a type with. An
/// `OperationOutcome` that is read is the resource, if it has an id, and not what is said of the reading.
pub(super) fn held(kind: &str, headers: &HeaderMap, body: &[u8]) -> Accepted {
    let body = Body::read(body);
    let mut names = names(headers, body.as_ref());
    names.extend(body.as_ref().and_then(Body::own_name));
    of_names(kind, None, &names, headers)
}

/// Tells whether a body is a resource, of whatever type.
pub(super) fn is_resource(body: &[u8]) -> bool {
    Body::read(body).is_some_and(|body| body.kind().is_some())
}

/// Tells whether a body is the resource of this name.
pub(super) fn is_named(body: &[u8], kind: &str, id: &str) -> bool {
    let name = Body::read(body).and_then(|body| body.own_name());
    name.is_some_and(|name| name.kind == kind && name.id == id)
}

/// Returns what an answer names, the surest first.
pub(super) fn names(headers: &HeaderMap, body: Option<&Body<'_>>) -> Vec<Name> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let headers = [header::LOCATION, header::CONTENT_LOCATION];
    let located = headers
        .iter()
        .filter_map(|name| Name::of_location(text(name)?));
    located.chain(body.and_then(Body::name)).collect()
}

/// Returns where a resource went, by the first name that is its own; with an id of its own, only that counts.
pub(super) fn of_names(
    kind: &str,
    own: Option<&str>,
    names: &[Name],
    headers: &HeaderMap,
) -> Accepted {
    place(kind, own, names, etag(headers))
}

fn etag(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ETAG)?.to_str().ok()
}

/// Reads the version from the entity tag of an answer.
pub(super) fn tag(headers: &HeaderMap) -> Option<String> {
    of_etag(etag(headers)?)
}

/// As [`of_names`], with the entity tag as it was given.
pub(super) fn place(kind: &str, own: Option<&str>, names: &[Name], etag: Option<&str>) -> Accepted {
    let is_own = |name: &&Name| name.kind == kind && own.is_none_or(|own| own == name.id);
    let found = names.iter().find(is_own);
    let mut same = names.iter().filter(is_own);
    let version = same.find_map(|name| {
        let is_found = found.is_some_and(|found| found.id == name.id);
        name.version.clone().filter(|_| is_found)
    });
    Accepted {
        id: found.map(|name| name.id.clone()),
        version: version.or_else(|| etag.and_then(of_etag)),
        ..Accepted::default()
    }
}

/// Reads the version from a weak or strong entity tag, or a bare one: `W/"3"` is version `3`.
pub(super) fn of_etag(etag: &str) -> Option<String> {
    let tag = etag.trim();
    let tag = tag
        .strip_prefix("W/")
        .or_else(|| tag.strip_prefix("w/"))
        .unwrap_or(tag);
    believed(tag.trim_matches('"'))
}

/// The longest id that is believed: FHIR's have 64 characters, those of some servers a few more.
const LONGEST_ID: usize = 128;

/// Takes an id or a version that could stand in a URL, and is no step within one. Anything else may be words, which stand
/// nowhere but in `rejected/`.
fn believed(id: &str) -> Option<String> {
    let is_id = (1..=LONGEST_ID).contains(&id.len())
        && id != "."
        && id != ".."
        && !id.starts_with('_')
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(location: &str) -> Option<String> {
        let name = Name::of_location(location)?;
        let version = name.version.map(|version| format!("@{version}"));
        Some(format!(
            "{}/{}{}",
            name.kind,
            name.id,
            version.unwrap_or_default()
        ))
    }

    #[test]
    fn a_location_names_a_resource_by_type_and_id() {
        for (location, name) in [
            ("https://a.example/fhir/Patient/7/_history/2", "Patient/7@2"),
            ("Patient/7", "Patient/7"),
            ("/Patient/7/_history/1", "Patient/7@1"),
            ("http://internal:8080/r4/Patient/7/_history", "Patient/7"),
            ("http://a.example/fhir//Patient/7/", "Patient/7"),
            (
                "https://a.example/Patient/Patient/7/_history/1",
                "Patient/7@1",
            ),
            ("Patient/Patient-7", "Patient/Patient-7"),
            ("Patient/7?_pretty=true", "Patient/7"),
        ] {
            assert_eq!(named(location).as_deref(), Some(name), "{location}");
        }
    }

    #[test]
    fn what_is_no_name_names_nothing() {
        for location in [
            "",
            "/",
            "https://a.example/fhir/",
            "https://a.example/fhir/Patient",
            "https://a.example/Patient",
            "https://Patient/7",
            "https://a.example/Patient/Patient",
            "https://a.example/fhir/_history/3",
            "https://a.example/fhir/Patient/_history/3",
            "https://a.example/fhir/async/17",
            "Patient/..",
            "Patient/../../x",
            "Patient/..%2fx",
            "Patient/a\"b",
            "Patient/$validate",
            "Patient/_search",
        ] {
            assert_eq!(named(location), None, "{location}");
        }
    }

    #[test]
    fn versions_are_read_from_every_form_of_tag() {
        for (tag, version) in [
            ("W/\"MTY\"", Some("MTY")),
            ("\"3\"", Some("3")),
            ("w/\"3\"", Some("3")),
            ("3", Some("3")),
            ("W/\"0\"", Some("0")),
            ("", None),
            ("W/\"\"", None),
        ] {
            assert_eq!(of_etag(tag).as_deref(), version, "{tag}");
        }
    }
}
