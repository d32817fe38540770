//! The forms of a literal reference (<https://hl7.org/fhir/R4/references.html#literal>).
//!
//! What a reference points at, and whether a store follows it, is decided by `plan`.

use super::types::is_resource_type;

/// The longest id (<https://hl7.org/fhir/R4/datatypes.html#id>).
const LONGEST_ID: usize = 64;

/// Names of R4's elements of type uri, url, oid and uuid that can point at a resource
/// (<https://hl7.org/fhir/R4/http.html#trules>). Without the definitions of all types a name stands for its type; a name
/// that is a plain string or a canonical somewhere else is in the list only where a resource makes no sense there.
pub const LINKS: [&str; 17] = [
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
    "valueUuid",
];

/// How a reference names its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// `Patient/123`, `Patient/123/_history/2`.
    Relative(Target<'a>),
    /// `https://host/base/Patient/123`.
    Absolute {
        /// What stands before the type, with its last slash.
        base: &'a str,
        /// The resource on that server.
        target: Target<'a>,
    },
    /// `urn:uuid:…`, `urn:oid:…`: the `fullUrl` of an entry in the same Bundle.
    Urn(&'a str),
    /// `#id`: a resource in the same record's `contained`; `#` alone is the record itself.
    Contained(&'a str),
    /// `Patient?identifier=…`: to be searched for; legal in transactions only.
    Conditional {
        /// The type searched.
        resource_type: &'a str,
        /// What stands after the question mark.
        query: &'a str,
    },
    /// Anything else: other URLs, fragments of resources, free text.
    Other,
}

/// A resource by type, id and maybe version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// One of R4's types.
    pub resource_type: &'a str,
    /// A valid id.
    pub id: &'a str,
    /// The version that is meant.
    pub version: Option<&'a str>,
}

/// Tells which form a reference has. `reference` is the text with its JSON escapes resolved.
pub fn classify(reference: &str) -> Form<'_> {
    if let Some(id) = reference.strip_prefix('#') {
        return Form::Contained(id);
    }
    if reference.starts_with("urn:") {
        return Form::Urn(reference);
    }
    if let Some((resource_type, query)) = reference.split_once('?') {
        return if is_resource_type(resource_type) {
            Form::Conditional {
                resource_type,
                query,
            }
        } else {
            Form::Other
        };
    }
    let Some((before, target)) = target(reference) else {
        return Form::Other;
    };
    if before.is_empty() {
        return Form::Relative(target);
    }
    let host = before
        .strip_prefix("https://")
        .or_else(|| before.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !before.contains('#') => {
            Form::Absolute {
                base: before,
                target,
            }
        }
        _ => Form::Other,
    }
}

/// Returns a reference as it may be shown: what is searched for is content (design §10), and so are words where an
/// address belongs; an ellipsis stands for them.
pub fn shown(reference: &str) -> String {
    match classify(reference) {
        Form::Relative(_) => reference.to_owned(),
        Form::Absolute { base, target } => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
            if base.bytes().all(is_plain) {
                reference.to_owned()
            } else {
                format!("…/{}/{}", target.resource_type, target.id)
            }
        }
        Form::Urn(urn) => {
            let is_number = |rest: &str| {
                rest.bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || b"-.".contains(&byte))
            };
            match (urn.strip_prefix("urn:uuid:"), urn.strip_prefix("urn:oid:")) {
                (Some(rest), _) | (_, Some(rest)) if is_number(rest) => urn.to_owned(),
                _ => "urn:…".to_owned(),
            }
        }
        Form::Contained(_) => "#…".to_owned(),
        Form::Conditional { resource_type, .. } => format!("{resource_type}?…"),
        Form::Other => "…".to_owned(),
    }
}

/// Reads `Type/id` or `Type/id/_history/version` from the end; returns what stands before it, too.
fn target(reference: &str) -> Option<(&str, Target<'_>)> {
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
    (found_id == id && is_id(id) && version.is_none_or(is_id) && is_resource_type(resource_type))
        .then_some((
            before,
            Target {
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
    use super::*;

    #[test]
    fn words_are_not_shown() {
        for same in [
            "Patient/1",
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
            ("https://a.example/?name=Smith", "…"),
        ] {
            assert_eq!(shown(reference), expected);
        }
    }

    fn patient<'a>(id: &'a str, version: Option<&'a str>) -> Target<'a> {
        Target {
            resource_type: "Patient",
            id,
            version,
        }
    }

    #[test]
    fn every_form_is_told_apart() {
        let long = "a".repeat(65);
        let cases = [
            ("Patient/1", Form::Relative(patient("1", None))),
            (
                "Patient/a.b-C/_history/2",
                Form::Relative(patient("a.b-C", Some("2"))),
            ),
            (
                "https://host/base/Patient/1",
                Form::Absolute {
                    base: "https://host/base/",
                    target: patient("1", None),
                },
            ),
            (
                "http://h/Patient/1/_history/v",
                Form::Absolute {
                    base: "http://h/",
                    target: patient("1", Some("v")),
                },
            ),
            ("urn:uuid:x", Form::Urn("urn:uuid:x")),
            ("urn:oid:1.2", Form::Urn("urn:oid:1.2")),
            ("#med", Form::Contained("med")),
            ("#", Form::Contained("")),
            (
                "Patient?identifier=s|v/w",
                Form::Conditional {
                    resource_type: "Patient",
                    query: "identifier=s|v/w",
                },
            ),
            ("", Form::Other),
            ("Patient", Form::Other),
            ("Patient/", Form::Other),
            ("/Patient/1", Form::Other),
            ("patient/1", Form::Other),
            ("Patient/1/", Form::Other),
            ("Patient/1/_history/", Form::Other),
            ("Patient/_history/1", Form::Other),
            ("Patient/1/_history", Form::Other),
            ("Patient/a b", Form::Other),
            ("Patient/1#frag", Form::Other),
            ("ftp://host/Patient/1", Form::Other),
            ("https:///Patient/1", Form::Other),
            ("https://host/x?y=Patient/1", Form::Other),
            ("Nonsense?identifier=1", Form::Other),
            ("https://example.org/ValueSet", Form::Other),
        ];
        for (reference, form) in cases {
            assert_eq!(classify(reference), form, "{reference}");
        }
        assert_eq!(classify(&format!("Patient/{long}")), Form::Other);
    }
}
