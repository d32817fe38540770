//! The lacks of a refused record, as far as its own bytes and the plan show them: references to what is no record of
//! the plan, and elements that FHIR requires. Types and paths only, so that reports can say why without the server's
//! words.

use serde::Deserialize as _;

use crate::{
    fhir::{
        Scanner, mandatory, path,
        reference::{ReferenceForm, classify},
    },
    record::{LINK, Lack},
    target::Facts,
};

/// The most lacks that are named of a record: the first tells what is wrong, or nothing does.
const MOST: usize = 3;

/// Finds what a record lacks. `linked` are those of its references that lead to a record of the plan, or of an earlier
/// run.
pub(super) fn of(kind: &str, body: &[u8], linked: &[u32], facts: Option<&Facts>) -> Vec<Lack> {
    let mut scanner = Scanner::new();
    let Ok(found) = scanner.scan(body) else {
        return Vec::new();
    };
    let mut lacks = Vec::new();
    let is_r4 = |facts: &Facts| {
        let version = facts.version.as_deref();
        version.is_none_or(|version| version.starts_with("4.0"))
    };
    if facts.is_none_or(is_r4) {
        let members = members(body);
        let missing = mandatory::missing(kind, &members).map(|element| Lack {
            path: format!("{kind}.{element}"),
            to: None,
        });
        lacks.extend(missing);
    }
    // A plan for a store that checks no references has looked at none.
    if facts.is_none_or(|facts| facts.integrity != Some(false)) {
        let places = found.places(body).take_while(|(number, _)| *number < LINK);
        let dangling = places.filter(|(number, _)| !linked.contains(number));
        lacks.extend(dangling.filter_map(|(_, part)| {
            let text = part.text(body);
            let to = match classify(&text) {
                ReferenceForm::Relative(target) => target.resource_type,
                ReferenceForm::Conditional { resource_type, .. } => resource_type,
                ReferenceForm::Urn(_) => "",
                // Within the record, at another server, or no reference at all.
                ReferenceForm::Contained(_)
                | ReferenceForm::Absolute { .. }
                | ReferenceForm::Other => return None,
            };
            let path = path::of(body, part.start);
            Some(Lack {
                path: path.strip_suffix(".reference").unwrap_or(&path).to_owned(),
                to: Some(to.to_owned()),
            })
        }));
    }
    lacks.truncate(MOST);
    lacks
}

/// Returns the names of an object's members.
#[expect(
    clippy::zero_sized_map_values,
    reason = "serde reads an object into a map only; a set would have to be an array"
)]
fn members(body: &[u8]) -> Vec<String> {
    type Members = std::collections::BTreeMap<String, serde::de::IgnoredAny>;
    let mut reader = serde_json::Deserializer::from_slice(body);
    Members::deserialize(&mut reader).map_or_else(|_| Vec::new(), |m| m.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(
        body: &str,
        kind: &str,
        linked: &[u32],
        facts: &Facts,
    ) -> Vec<(String, Option<String>)> {
        let lacks = of(kind, body.as_bytes(), linked, Some(facts));
        lacks.into_iter().map(|lack| (lack.path, lack.to)).collect()
    }

    #[test]
    fn a_record_shows_what_it_lacks() {
        let encounter = r##"{"resourceType":"Encounter","status":"finished","class":{},
            "subject":{"reference":"Patient/1"},"participant":[{"individual":{"reference":"Practitioner/Smith-1"}}],
            "serviceProvider":{"reference":"https://b.example/Organization/1"},"partOf":{"reference":"#x"},
            "appointment":[{"reference":"Smith"}]}"##;
        let to = |path: &str, to: &str| (path.to_owned(), Some(to.to_owned()));
        let practitioner = to("Encounter.participant[0].individual", "Practitioner");
        let patient = to("Encounter.subject", "Patient");
        let unknown = Facts::UNKNOWN;
        assert_eq!(
            lacks(encounter, "Encounter", &[0], &unknown),
            std::slice::from_ref(&practitioner)
        );
        assert_eq!(
            lacks(encounter, "Encounter", &[], &unknown),
            [patient, practitioner]
        );
        let unchecked = Facts {
            integrity: Some(false),
            ..Facts::UNKNOWN
        };
        assert_eq!(lacks(encounter, "Encounter", &[], &unchecked), []);
        let bare = r#"{"resourceType":"Observation","status":"final"}"#;
        assert_eq!(
            lacks(bare, "Observation", &[], &unknown),
            [("Observation.code".to_owned(), None)]
        );
        let r5 = Facts {
            version: Some("5.0.0".to_owned()),
            ..Facts::UNKNOWN
        };
        assert_eq!(lacks(bare, "Observation", &[], &r5), []);
        assert_eq!(lacks("{", "Observation", &[], &unknown), []);
    }
}
