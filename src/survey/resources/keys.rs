//! By what resources are known, and what references ask for, as the keys of a plan. Pure.

use crate::{
    fhir::{
        condition::Condition,
        reference::{ReferenceForm, ReferenceTarget, by_invalid_id, classify, split_fragment},
    },
    plan::graph::Keys,
};

/// Makes the keys of resources.
#[derive(Debug, Clone, Copy)]
pub(in crate::survey) struct ResourceKeys<'k>(pub(in crate::survey) &'k Keys);

/// The keys that a reference asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::survey) struct Wanted {
    /// The keys of the `fullUrl`s of its own Bundle that it may mean, the likeliest first; none outside of Bundles.
    pub(in crate::survey) local: [Option<u64>; 3],
    /// The record or condition that it asks for among all records of the target.
    pub(in crate::survey) global: Global,
    /// The reference names a version.
    pub(in crate::survey) versioned: bool,
}

/// The record or condition that a reference asks for outside of its own Bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::survey) enum Global {
    /// Nothing: such a text means something in its own Bundle only.
    Nothing,
    /// The record of a key.
    Record {
        /// The key.
        key: u64,
        /// Nobody but the target itself can have it, if the run has not.
        here: bool,
    },
    /// The record that answers to a condition.
    Condition(u64),
}

/// The place of a reference.
#[derive(Debug, Clone, Copy)]
pub(in crate::survey) struct Place<'a> {
    /// The target of its record.
    pub(in crate::survey) target: u16,
    /// The reference stands in an entry of a Bundle.
    pub(in crate::survey) in_bundle: bool,
    /// The base of the `fullUrl` around it (`https://host/base/`).
    pub(in crate::survey) base: Option<&'a str>,
    /// The base under which the target itself is known.
    pub(in crate::survey) own: Option<&'a str>,
}

impl ResourceKeys<'_> {
    /// Returns the key of a resource by type and id.
    pub(in crate::survey) fn resource(self, target: u16, kind: &str, id: &str) -> u64 {
        self.0.of(target, &[kind, id])
    }

    /// Of an entry by its `fullUrl`, or of a reference by its text.
    pub(in crate::survey) fn url(self, target: u16, url: &str) -> u64 {
        self.0.of(target, &["", url])
    }

    /// Of a resource by an identifier.
    pub(in crate::survey) fn identifier(
        self,
        target: u16,
        kind: &str,
        system: &str,
        value: &str,
    ) -> u64 {
        self.0.of(target, &[kind, system, value])
    }

    /// Returns the key of the records that a condition finds. A search by one identifier has the key of that
    /// identifier.
    pub(in crate::survey) fn condition(
        self,
        target: u16,
        kind: &str,
        condition: &Condition<'_>,
    ) -> u64 {
        match condition {
            Condition::Identifier { system, value } => self.identifier(target, kind, system, value),
            Condition::Search(parameters) => {
                let parameters = parameters
                    .iter()
                    .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
                let parts: Vec<&str> = ["", "?", kind].into_iter().chain(parameters).collect();
                self.0.of(target, &parts)
            }
        }
    }

    /// Tells what a reference asks for; it is none to something in its own record. `takes` tells which types the target has.
    pub(in crate::survey) fn wanted(
        self,
        place: Place<'_>,
        reference: &str,
        takes: impl Fn(&str) -> bool,
    ) -> Wanted {
        let Place { target, .. } = place;
        let (plain, fragment) = split_fragment(reference);
        let mut local = [None; 3];
        if place.in_bundle {
            // A `fullUrl` is compared as text, whatever it is; nobody says that it is a URL.
            local[0] = Some(self.url(target, reference));
            local[1] = (!fragment.is_empty()).then(|| self.url(target, plain));
        }
        let mut versioned = false;
        let global = match classify(plain) {
            ReferenceForm::Urn(urn) => Global::Record {
                key: self.url(target, urn),
                here: false,
            },
            ReferenceForm::Relative(named) => {
                versioned = named.version.is_some();
                local[2] = place
                    .base
                    .filter(|_| place.in_bundle)
                    .map(|base| self.full_url(target, base, named));
                Global::Record {
                    key: self.resource(target, named.resource_type, named.id),
                    here: takes(named.resource_type),
                }
            }
            ReferenceForm::Absolute {
                base,
                target: named,
            } => {
                versioned = named.version.is_some();
                let url = self.full_url(target, base, named);
                local[2] = Some(url).filter(|_| place.in_bundle && versioned);
                if place.own == Some(base) {
                    Global::Record {
                        key: self.resource(target, named.resource_type, named.id),
                        here: true,
                    }
                } else {
                    Global::Record {
                        key: url,
                        here: false,
                    }
                }
            }
            ReferenceForm::Conditional {
                resource_type,
                query,
            } => match Condition::read(query) {
                Some(condition) => {
                    Global::Condition(self.condition(target, resource_type, &condition))
                }
                None => Global::Nothing,
            },
            ReferenceForm::Contained(_) => Global::Nothing,
            ReferenceForm::Other => match by_invalid_id(plain) {
                Some((kind, id)) => Global::Record {
                    key: self.resource(target, kind, id),
                    here: false,
                },
                None if plain.contains("://") => Global::Record {
                    key: self.url(target, plain),
                    here: false,
                },
                None => Global::Nothing,
            },
        };
        Wanted {
            local,
            global,
            versioned,
        }
    }

    fn full_url(self, target: u16, base: &str, named: ReferenceTarget<'_>) -> u64 {
        self.url(
            target,
            &format!("{base}{}/{}", named.resource_type, named.id),
        )
    }
}

/// Returns the base of an absolute `fullUrl` (`https://host/base/` of `https://host/base/Patient/1`).
pub(in crate::survey) fn base_of(full_url: &str) -> Option<&str> {
    match classify(full_url) {
        ReferenceForm::Absolute { base, .. } => Some(base),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://here.example/r4/";

    fn at(in_bundle: bool, base: Option<&str>) -> Place<'_> {
        Place {
            target: 1,
            in_bundle,
            base,
            own: Some(OWN),
        }
    }

    #[test]
    fn forms_of_one_record_meet_in_one_key() {
        let keys = Keys::default();
        let keys = ResourceKeys(&keys);
        let wanted = |text: &str| keys.wanted(at(false, None), text, |kind| kind != "NotTaken");
        let record = |key, versioned, here| Wanted {
            local: [None; 3],
            global: Global::Record { key, here },
            versioned,
        };
        let patient = keys.resource(1, "Patient", "p");
        let there = keys.url(1, "https://there.example/Patient/p");
        assert_eq!(wanted("Patient/p"), record(patient, false, true));
        assert_eq!(wanted("Patient/p#x"), record(patient, false, true));
        assert_eq!(wanted("Patient/p/_history/2"), record(patient, true, true));
        assert_eq!(
            wanted("https://here.example/r4/Patient/p"),
            record(patient, false, true)
        );
        assert_eq!(
            wanted("https://there.example/Patient/p/_history/1"),
            record(there, true, false)
        );
        let urn = keys.url(1, "urn:uuid:x");
        assert_eq!(wanted("urn:uuid:x#y"), record(urn, false, false));
        let own_type = keys.resource(1, "NotTaken", "p");
        assert_eq!(wanted("NotTaken/p"), record(own_type, false, false));
        let odd = keys.resource(1, "Patient", "a_b");
        assert_eq!(wanted("Patient/a_b"), record(odd, false, false));
        assert_eq!(wanted("resource:0").global, Global::Nothing);
        let by = keys.identifier(1, "Patient", "urn:s", "a b");
        for query in ["identifier=urn:s|a%20b", "identifier=urn%3As%7Ca b"] {
            assert_eq!(
                wanted(&format!("Patient?{query}")).global,
                Global::Condition(by),
                "{query}"
            );
        }
        let more = wanted("Patient?identifier=urn:s|1&active=true").global;
        assert_eq!(
            more,
            wanted("Patient?active=true&identifier=urn:s|1").global
        );
        assert_ne!(more, wanted("Group?active=true&identifier=urn:s|1").global);
        assert_ne!(patient, keys.resource(2, "Patient", "p"));
    }

    #[test]
    fn in_a_bundle_a_reference_is_first_compared_with_full_urls() {
        let keys = Keys::default();
        let keys = ResourceKeys(&keys);
        let base = base_of("https://a.example/Obs/Observation/1");
        let local = |text: &str| keys.wanted(at(true, base), text, |_| true).local;
        let url = |url: &str| Some(keys.url(1, url));
        assert_eq!(
            local("Patient/p"),
            [
                url("Patient/p"),
                None,
                url("https://a.example/Obs/Patient/p")
            ]
        );
        assert_eq!(
            local("https://b.example/Patient/p/_history/2#x"),
            [
                url("https://b.example/Patient/p/_history/2#x"),
                url("https://b.example/Patient/p/_history/2"),
                url("https://b.example/Patient/p")
            ]
        );
        for text in [
            "resource:0",
            "http://x/100",
            "http://x/Patient/1?y=z",
            "Patient?a=b",
        ] {
            assert_eq!(local(text), [url(text), None, None], "{text}");
        }
        assert_eq!(base_of("urn:uuid:x"), None);
    }
}
