//! The forms of a literal reference (<https://hl7.org/fhir/R4/references.html#literal>).
//!
//! The resource that a reference points at, and whether a store follows it, is decided by `plan`.

use super::types::has_type_shape;

/// The longest id (<https://hl7.org/fhir/R4/datatypes.html#id>).
const LONGEST_ID: usize = 64;

/// Names of R4's elements of type uri, url, oid and uuid that can point at a resource
/// (<https://hl7.org/fhir/R4/http.html#trules>). Without the definitions of all types a name stands for its type; a name
/// that is a plain string or a canonical somewhere else is in the list only where a resource makes no sense there.
pub const LINKS: [&str; 18] = [
    "address",
    "authority",
    "definition",
    "endpoint",
    "implicitRules",
    "instantiatesUri",
    "policy",
    "reference",
    "source",
    "sourceUri",
    "target",
    "targetUri",
    "uri",
    "url",
    "valueOid",
    "valueUri",
    "valueUrl",
    "valueUuid",
];

/// The form in which a reference names a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceForm<'a> {
    /// `Patient/123`, `Patient/123/_history/2`.
    Relative(ReferenceTarget<'a>),
    /// `https://host/base/Patient/123`.
    Absolute {
        /// The part before the type, with its last slash.
        base: &'a str,
        /// The resource on that server.
        target: ReferenceTarget<'a>,
    },
    /// `urn:uuid:…`, `urn:oid:…`: the `fullUrl` of an entry in the same Bundle.
    Urn(&'a str),
    /// `#id`: a resource in the same record's `contained`; `#` alone is the record itself.
    Contained(&'a str),
    /// `Patient?identifier=…`: to be searched for; legal in transactions only.
    Conditional {
        /// The type searched.
        resource_type: &'a str,
        /// The part behind the question mark.
        query: &'a str,
    },
    /// Anything else: other URLs, fragments of resources, free text.
    Other,
}

/// A resource by type, id and maybe version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceTarget<'a> {
    /// A word in the shape of a type; whether there is such a type, only a target knows.
    pub resource_type: &'a str,
    /// A valid id.
    pub id: &'a str,
    /// The version that is meant.
    pub version: Option<&'a str>,
}

/// Tells which form a reference has. `reference` is the text with its JSON escapes resolved.
pub fn classify(reference: &str) -> ReferenceForm<'_> {
    if let Some(id) = reference.strip_prefix('#') {
        return ReferenceForm::Contained(id);
    }
    if reference.starts_with("urn:") {
        return ReferenceForm::Urn(reference);
    }
    if let Some((resource_type, query)) = reference.split_once('?') {
        return if has_type_shape(resource_type) {
            ReferenceForm::Conditional {
                resource_type,
                query,
            }
        } else {
            ReferenceForm::Other
        };
    }
    let Some((before, target)) = target(reference) else {
        return ReferenceForm::Other;
    };
    if before.is_empty() {
        return ReferenceForm::Relative(target);
    }
    let host = before
        .strip_prefix("https://")
        .or_else(|| before.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !before.contains('#') => {
            ReferenceForm::Absolute {
                base: before,
                target,
            }
        }
        _ => ReferenceForm::Other,
    }
}

/// Splits the fragment off a reference, with its `#`: it points into the resource, and the resource is what has to be there.
pub fn split_fragment(reference: &str) -> (&str, &str) {
    match reference.find('#') {
        Some(at) => reference.split_at(at),
        None => (reference, ""),
    }
}

/// Reads `Type/rest` where `rest` is no valid id: as it would refer to a record whose id is none either. A version behind it
/// is left out.
pub fn by_invalid_id(reference: &str) -> Option<(&str, &str)> {
    let (kind, rest) = reference.split_once('/')?;
    let rest = rest
        .rsplit_once("/_history/")
        .filter(|(_, version)| is_id(version))
        .map_or(rest, |(rest, _)| rest);
    has_type_shape(kind).then_some((kind, rest))
}

/// Tells whether a `fullUrl` is an address that may stand in a plan: others identify nothing outside of their Bundle, and may
/// be words (design §10). `is_type` tells which names are types.
pub fn is_address(full_url: &str, is_type: impl Fn(&str) -> bool) -> bool {
    match classify(full_url) {
        ReferenceForm::Relative(target) | ReferenceForm::Absolute { target, .. } => {
            is_type(target.resource_type)
        }
        ReferenceForm::Urn(_) => true,
        ReferenceForm::Contained(_) | ReferenceForm::Conditional { .. } | ReferenceForm::Other => {
            false
        }
    }
}

/// Returns a reference as it may be shown: what is searched for is content (design §10), and so are words where an
/// address belongs; an ellipsis stands for them. `is_type` tells which names are types.
pub fn shown(reference: &str, is_type: impl Fn(&str) -> bool) -> String {
    let (plain, fragment) = split_fragment(reference);
    if !plain.is_empty() && !fragment.is_empty() {
        return format!("{}#…", shown(plain, is_type));
    }
    match classify(reference) {
        ReferenceForm::Relative(target) if is_type(target.resource_type) => reference.to_owned(),
        ReferenceForm::Absolute { base, target } if is_type(target.resource_type) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
            if base.bytes().all(is_plain) {
                reference.to_owned()
            } else {
                format!("…/{}/{}", target.resource_type, target.id)
            }
        }
        ReferenceForm::Urn(urn) => {
            match (urn.strip_prefix("urn:uuid:"), urn.strip_prefix("urn:oid:")) {
                (Some(rest), _) | (_, Some(rest)) if is_number(rest) => urn.to_owned(),
                _ => "urn:…".to_owned(),
            }
        }
        ReferenceForm::Contained(_) => "#…".to_owned(),
        ReferenceForm::Conditional { resource_type, .. } if is_type(resource_type) => {
            format!("{resource_type}?…")
        }
        ReferenceForm::Other if is_uuid(reference) => reference.to_owned(),
        ReferenceForm::Other => match by_invalid_id(reference) {
            Some((kind, _)) if is_type(kind) => format!("{kind}/…"),
            _ => "…".to_owned(),
        },
        ReferenceForm::Relative(_)
        | ReferenceForm::Absolute { .. }
        | ReferenceForm::Conditional { .. } => "…".to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b"-.".contains(&byte))
}

/// Tells whether a text is a UUID in its usual form, with nothing around it.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|&byte| byte == b'-').count() == 4 && is_number(text)
}

/// Reads `Type/id` or `Type/id/_history/version` from the end; returns the text before it, too.
fn target(reference: &str) -> Option<(&str, ReferenceTarget<'_>)> {
    let mut segments = reference.rsplit('/');
    let last = segments.next()?;
    let (id, version, length) = match segments.next()? {
        "_history" => (segments.next()?, Some(last), last.len() + "/_history".len()),
        _ => (last, None, 0),
    };
    let end = reference.len().checked_sub(length)?;
    let named = reference.get(..end)?;
    // Without a version `named` is the whole; with one, its slash went with the length of `_history`.
    let named = named.strip_suffix('/').unwrap_or(named);
    let (front, found_id) = named.rsplit_once('/')?;
    let resource_type = front.rsplit('/').next()?;
    let before = front.strip_suffix(resource_type)?;
    (found_id == id && is_id(id) && version.is_none_or(is_id) && has_type_shape(resource_type))
        .then_some((
            before,
            ReferenceTarget {
                resource_type,
                id,
                version,
            },
        ))
}

/// Tells whether a text is a valid id: 1 to 64 letters, digits, `-` and `.`.
pub fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::{super::types::is_known_type, *};

    #[test]
    fn words_are_not_shown() {
        let shown = |reference: &str| shown(reference, is_known_type);
        for same in [
            "Patient/1",
            "SubscriptionTopic/1",
            "0f2b9b8d-5f1a-4c0d-9d5e-0f6f4f3e2a1b",
            "https://a.example/r4/Patient/1/_history/2",
            "urn:uuid:0f2b",
            "urn:oid:1.2.3",
        ] {
            assert_eq!(shown(same), same);
        }
        for (reference, expected) in [
            ("https://u:p@a.example/Patient/1", "…/Patient/1"),
            ("https://a.example/Anna Smith/Patient/1", "…/Patient/1"),
            ("urn:oid:Smith", "urn:…"),
            ("urn:name:1", "urn:…"),
            ("#smith", "#…"),
            ("Patient?name=Smith", "Patient?…"),
            ("Anna Smith", "…"),
            ("Anna/Smith", "…"),
            ("Anna?name=Smith", "…"),
            ("https://a.example/Anna/Smith", "…"),
            ("Patient/Anna Smith", "Patient/…"),
            ("Patient/1#smith", "Patient/1#…"),
            ("resource:0", "…"),
            ("https://a.example/?name=Smith", "…"),
        ] {
            assert_eq!(shown(reference), expected);
        }
    }

    fn patient<'a>(id: &'a str, version: Option<&'a str>) -> ReferenceTarget<'a> {
        ReferenceTarget {
            resource_type: "Patient",
            id,
            version,
        }
    }

    #[test]
    fn every_form_is_told_apart() {
        let long = "a".repeat(65);
        let cases = [
            ("Patient/1", ReferenceForm::Relative(patient("1", None))),
            (
                "Patient/a.b-C/_history/2",
                ReferenceForm::Relative(patient("a.b-C", Some("2"))),
            ),
            (
                "https://host/base/Patient/1",
                ReferenceForm::Absolute {
                    base: "https://host/base/",
                    target: patient("1", None),
                },
            ),
            (
                "http://h/Patient/1/_history/v",
                ReferenceForm::Absolute {
                    base: "http://h/",
                    target: patient("1", Some("v")),
                },
            ),
            ("urn:uuid:x", ReferenceForm::Urn("urn:uuid:x")),
            ("urn:oid:1.2", ReferenceForm::Urn("urn:oid:1.2")),
            ("#med", ReferenceForm::Contained("med")),
            ("#", ReferenceForm::Contained("")),
            (
                "Patient?identifier=s|v/w",
                ReferenceForm::Conditional {
                    resource_type: "Patient",
                    query: "identifier=s|v/w",
                },
            ),
            ("", ReferenceForm::Other),
            ("Patient", ReferenceForm::Other),
            ("Patient/", ReferenceForm::Other),
            ("/Patient/1", ReferenceForm::Other),
            ("patient/1", ReferenceForm::Other),
            ("Patient/1/", ReferenceForm::Other),
            ("Patient/1/_history/", ReferenceForm::Other),
            ("Patient/_history/1", ReferenceForm::Other),
            ("Patient/1/_history", ReferenceForm::Other),
            ("Patient/a b", ReferenceForm::Other),
            ("Patient/1#frag", ReferenceForm::Other),
            ("ftp://host/Patient/1", ReferenceForm::Other),
            ("https:///Patient/1", ReferenceForm::Other),
            ("https://host/x?y=Patient/1", ReferenceForm::Other),
            ("nonsense?identifier=1", ReferenceForm::Other),
            ("https://example.org/ValueSet", ReferenceForm::Other),
            ("resource:0", ReferenceForm::Other),
            ("http://x/100", ReferenceForm::Other),
        ];
        for (reference, form) in cases {
            assert_eq!(classify(reference), form, "{reference}");
        }
        assert_eq!(classify(&format!("Patient/{long}")), ReferenceForm::Other);
    }

    #[test]
    fn types_that_r4_does_not_know_are_types_as_well() {
        let topic = ReferenceTarget {
            resource_type: "SubscriptionTopic",
            id: "t",
            version: None,
        };
        assert_eq!(
            classify("SubscriptionTopic/t"),
            ReferenceForm::Relative(topic)
        );
        assert!(matches!(
            classify("BodySite?identifier=a|b"),
            ReferenceForm::Conditional {
                resource_type: "BodySite",
                ..
            }
        ));
    }

    #[test]
    fn ids_that_are_none_are_read_to_their_end() {
        for (reference, read) in [
            ("Patient/a_b", Some(("Patient", "a_b"))),
            ("Patient/abs/olute", Some(("Patient", "abs/olute"))),
            ("Patient/a_b/_history/2", Some(("Patient", "a_b"))),
            ("Patient/", Some(("Patient", ""))),
            ("patient/a_b", None),
            ("resource:0", None),
        ] {
            assert_eq!(by_invalid_id(reference), read, "{reference}");
        }
    }
}
