//! By what records are known, and what references ask for: both as hashes, so that a million of them fit into memory.
//!
//! Pure. The hash is keyed anew in every process, so that nobody can make records whose hashes collide; by chance two
//! of a million collide once in some 10^7 plans. Nothing hashed leaves the process: a saved plan holds step numbers.

use std::{
    borrow::Cow,
    hash::{BuildHasher, Hasher},
};

use foldhash::quality::RandomState;

use crate::fhir::reference::{Form, Target, classify};

/// Makes keys. Keys of different targets never meet.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    state: RandomState,
}

/// What a reference asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing that a plan can resolve: contained, logical, other servers' pages.
    Nothing,
    /// The record of a key. `local` is what it would be inside its own Bundle.
    Record {
        /// In the Bundle in which the reference stands.
        local: Option<u64>,
        /// In all records of the target.
        global: u64,
        /// A version of it is named.
        versioned: bool,
        /// Nobody but the target itself can have it, if the run has not.
        here: bool,
    },
    /// Of a conditional reference by identifier.
    Identifier(u64),
    /// Of another conditional reference: only the store can answer it.
    Search,
}

impl Keys {
    fn of(&self, target: u16, parts: &[&str]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u16(target);
        for part in parts {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// Of a resource by type and id.
    pub(super) fn resource(&self, target: u16, kind: &str, id: &str) -> u64 {
        self.of(target, &[kind, id])
    }

    /// Of an entry by its `fullUrl`, or of a reference by its text.
    pub(super) fn url(&self, target: u16, url: &str) -> u64 {
        self.of(target, &["", url])
    }

    /// Of a resource by an identifier.
    pub(super) fn identifier(&self, target: u16, kind: &str, system: &str, value: &str) -> u64 {
        self.of(target, &[kind, system, value])
    }

    /// Of the content of a record.
    pub(super) fn content(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// Tells what a reference asks for. `base` is the base of the `fullUrl` around it (`https://host/base/`), `own` the
    /// base under which the target itself is known.
    pub(super) fn wanted(
        &self,
        target: u16,
        reference: &str,
        base: Option<&str>,
        own: Option<&str>,
    ) -> Wanted {
        match classify(reference) {
            Form::Contained(_) | Form::Other => Wanted::Nothing,
            Form::Urn(urn) => {
                // A fragment points into the resource; the resource is what has to be there.
                let urn = urn.split_once('#').map_or(urn, |(urn, _)| urn);
                let key = self.url(target, urn);
                Wanted::Record {
                    local: Some(key),
                    global: key,
                    versioned: false,
                    here: false,
                }
            }
            Form::Relative(named) => Wanted::Record {
                local: base.map(|base| self.full_url(target, base, named)),
                global: self.resource(target, named.resource_type, named.id),
                versioned: named.version.is_some(),
                here: true,
            },
            Form::Absolute {
                base: given,
                target: named,
            } => {
                let here = own.is_some_and(|own| own == given);
                let url = self.full_url(target, given, named);
                Wanted::Record {
                    local: Some(url),
                    global: if here {
                        self.resource(target, named.resource_type, named.id)
                    } else {
                        url
                    },
                    versioned: named.version.is_some(),
                    here,
                }
            }
            Form::Conditional {
                resource_type,
                query,
            } => match identifier(query) {
                Some((system, value)) => {
                    Wanted::Identifier(self.identifier(target, resource_type, &system, &value))
                }
                None => Wanted::Search,
            },
        }
    }

    fn full_url(&self, target: u16, base: &str, named: Target<'_>) -> u64 {
        self.url(
            target,
            &format!("{base}{}/{}", named.resource_type, named.id),
        )
    }
}

/// Returns the base of an absolute `fullUrl` (`https://host/base/` of `https://host/base/Patient/1`).
pub(super) fn base_of(full_url: &str) -> Option<&str> {
    match classify(full_url) {
        Form::Absolute { base, .. } => Some(base),
        _ => None,
    }
}

/// Reads `identifier=system|value`, the only parameter of a query. Anything else only the store can answer.
fn identifier(query: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let token = query.strip_prefix("identifier=")?;
    if token.contains(['&', ',', '\\']) {
        return None;
    }
    let (system, value) = token.split_once('|')?;
    if system.is_empty() || value.is_empty() || value.contains('|') {
        return None;
    }
    Some((decoded(system), decoded(value)))
}

/// Resolves percent escapes, where a query has them; most in the field do not.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escape {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    match String::from_utf8(bytes) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_record_meet_in_one_key() {
        let keys = Keys::default();
        let wanted = |text: &str| keys.wanted(1, text, None, Some("https://here.example/r4/"));
        let record = |global, local, versioned, here| Wanted::Record {
            local,
            global,
            versioned,
            here,
        };
        let patient = keys.resource(1, "Patient", "p");
        let there = keys.url(1, "https://there.example/Patient/p");
        let here = keys.url(1, "https://here.example/r4/Patient/p");
        assert_eq!(wanted("Patient/p"), record(patient, None, false, true));
        assert_eq!(
            wanted("Patient/p/_history/2"),
            record(patient, None, true, true)
        );
        assert_eq!(
            wanted("https://here.example/r4/Patient/p"),
            record(patient, Some(here), false, true)
        );
        assert_eq!(
            wanted("https://there.example/Patient/p/_history/1"),
            record(there, Some(there), true, false)
        );
        let urn = keys.url(1, "urn:uuid:x");
        assert_eq!(wanted("urn:uuid:x#y"), record(urn, Some(urn), false, false));
        assert_eq!(wanted("#x"), Wanted::Nothing);
        assert_eq!(wanted("Patient?name=x"), Wanted::Search);
        let by = keys.identifier(1, "Patient", "urn:s", "a b");
        assert_eq!(
            wanted("Patient?identifier=urn:s|a%20b"),
            Wanted::Identifier(by)
        );
        assert_eq!(
            wanted("Patient?identifier=urn:s|1&active=true"),
            Wanted::Search
        );
        assert_ne!(patient, keys.resource(2, "Patient", "p"));
    }

    #[test]
    fn a_relative_reference_in_a_bundle_is_first_its_own() {
        let keys = Keys::default();
        let wanted = keys.wanted(
            0,
            "Patient/p",
            base_of("https://a.example/Obs/Observation/1"),
            None,
        );
        let local = keys.url(0, "https://a.example/Obs/Patient/p");
        assert!(matches!(wanted, Wanted::Record { local: Some(l), .. } if l == local));
        assert_eq!(base_of("urn:uuid:x"), None);
    }
}
