//! Makes the criteria of conditional interactions from a record's identifiers.

use std::fmt::Write;

use crate::{
    fhir::{Scanner, bundle, condition::written, request::RequestUrl},
    manifest::{Identity, LoadSettings},
    record::{Operation, Step},
};

/// Returns the identifier, system and value, that identifies a record.
///
/// The systems of the record's type are tried in the manifest's order, and the first that the record has counts;
/// identifiers of other systems identify nothing (design §9).
pub fn identifying<'a>(
    identity: &Identity,
    kind: &str,
    identifiers: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
) -> Option<(&'a str, &'a str)> {
    let systems = identity.systems.get(kind)?;
    systems.iter().find_map(|system| {
        identifiers
            .clone()
            .find(|(found, value)| found == system && !value.is_empty())
    })
}

/// Returns the criteria `identifier=system|value` that identify a record, encoded for a query.
pub fn criteria<'a>(
    identity: &Identity,
    kind: &str,
    identifiers: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
) -> Option<String> {
    let (system, value) = identifying(identity, kind, identifiers)?;
    let mut criteria = "identifier=".to_owned();
    encode(system, &mut criteria);
    criteria.push('|');
    encode(value, &mut criteria);
    Some(criteria)
}

/// Returns the criteria that identify a resource, from its own bytes: they never stand in a plan (design §10).
pub fn criteria_of(identity: &Identity, kind: &str, resource: &[u8]) -> Option<String> {
    let mut scanner = Scanner::new();
    let found = scanner.scan(resource).ok()?;
    let identifiers = found.identifiers_of(resource);
    let identifiers = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
    criteria(identity, kind, &identifiers)
}

/// Returns the condition under which a record is written, as a query: that of its own request, or the one that is made of
/// its identifiers. `body` is what goes to the wire of it.
pub(super) fn of_step(settings: &LoadSettings, step: &Step, body: &[u8]) -> Option<String> {
    let operation = step.action.operation();
    if !matches!(
        operation,
        Some(Operation::ConditionalCreate | Operation::ConditionalUpdate)
    ) {
        return None;
    }
    let is_entry = step.is_entry();
    if !is_entry || settings.interaction.is_some() {
        let resource = if is_entry {
            bundle::envelope(body).ok()?.resource?.of(body)
        } else {
            body
        };
        return criteria_of(&settings.identity, &step.kind, resource);
    }
    let request = bundle::envelope(body).ok()?.request?;
    let query = match operation {
        // Some write it with its type.
        Some(Operation::ConditionalCreate) => {
            written(&request.if_none_exist?.text(body)).query.to_owned()
        }
        _ => RequestUrl::read(&request.url?.text(body)).query?.to_owned(),
    };
    (!query.is_empty()).then_some(query)
}

/// The system of the tags by which Stoker knows its own resources again.
pub const TAG_SYSTEM: &str = "urn:x-stoker:record";

/// Returns the query that finds what has a tag, encoded (<https://hl7.org/fhir/R4/search.html#tag>).
pub(super) fn tag_query(system: &str, code: &str) -> String {
    let mut query = "_tag=".to_owned();
    encode(system, &mut query);
    query.push('|');
    encode(code, &mut query);
    query
}

/// Encodes what cannot stand in a URL, and leaves the rest of a query as it was written: escapes, separators.
pub(super) fn as_query(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let bytes = query.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let stands = match byte {
            b'"' | b'<' | b'>' | b'#' | b'`' | b'{' | b'}' | b'\\' | b'^' | b'|' => false,
            b'%' => {
                let escaped = bytes.get(at + 1..at + 3);
                escaped.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            }
            other => other.is_ascii_graphic(),
        };
        if stands {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Percent-encodes what a query parameter cannot hold as it is, or what would be read as FHIR's own separators
/// (`|`, `,`, `$` and `\` are escaped by a backslash first: search.html#escaping).
fn encode(text: &str, out: &mut String) {
    for character in text.chars() {
        if matches!(character, '|' | ',' | '$' | '\\') {
            out.push_str("%5C");
        }
        match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' | ':' | '/' => {
                out.push(character);
            }
            other => {
                let mut buffer = [0; 4];
                for byte in other.encode_utf8(&mut buffer).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::Missing;

    fn identity(systems: &[&str]) -> Identity {
        Identity {
            systems: BTreeMap::from([(
                "Patient".to_owned(),
                systems.iter().map(|&s| s.to_owned()).collect(),
            )]),
            missing: Missing::Refuse,
        }
    }

    #[test]
    fn the_first_system_of_the_manifest_counts() {
        let found = [("urn:b", "2"), ("urn:a", "1")];
        let criteria =
            |systems: &[&str]| criteria(&identity(systems), "Patient", &found.into_iter());
        assert_eq!(criteria(&["urn:a", "urn:b"]).unwrap(), "identifier=urn:a|1");
        assert_eq!(criteria(&["urn:c"]), None);
    }

    #[test]
    fn values_are_encoded() {
        let found = [("https://a.example/mrn", "Ä 1&2|x")];
        assert_eq!(
            criteria(
                &identity(&["https://a.example/mrn"]),
                "Patient",
                &found.into_iter()
            )
            .unwrap(),
            "identifier=https://a.example/mrn|%C3%84%201%262%5C%7Cx"
        );
    }
}
