//! Paths below `…/fhirStores/{f}/fhir`, and what each names.

use super::super::kind::{is_id, kind};

/// The meaning of a path below `fhir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) enum FhirPath {
    Base,
    Metadata,
    Kind(&'static str),
    Search(&'static str),
    Instance(&'static str, String),
    History(&'static str, String),
    Version(&'static str, String, String),
    /// A type that FHIR R4 does not have.
    BadKind(String),
    /// A known type, but an id that cannot be one.
    BadId(String),
    /// An operation that this store does not offer.
    Unsupported,
}

/// Reads the part of a path below the FHIR base; `None` when nothing of the API has that form.
pub(in crate::emulator) fn fhir_path(segments: &[&str]) -> Option<FhirPath> {
    let (first, rest) = match segments {
        [] => return Some(FhirPath::Base),
        ["metadata"] => return Some(FhirPath::Metadata),
        ["_search" | "_history"] => return Some(FhirPath::Unsupported),
        [first, ..] if first.starts_with('$') => return Some(FhirPath::Unsupported),
        [first, rest @ ..] => (*first, rest),
    };
    let Some(kind) = kind(first) else {
        return Some(FhirPath::BadKind(first.to_owned()));
    };
    Some(match rest {
        [] => FhirPath::Kind(kind),
        ["_search"] => FhirPath::Search(kind),
        ["_history"] => FhirPath::Unsupported,
        [operation] | [_, operation] if operation.starts_with('$') => FhirPath::Unsupported,
        [id, ..] if !is_id(id) => FhirPath::BadId(format!("{kind}/{id}")),
        [id] => FhirPath::Instance(kind, (*id).to_owned()),
        [id, "_history"] => FhirPath::History(kind, (*id).to_owned()),
        [id, "_history", version] => {
            FhirPath::Version(kind, (*id).to_owned(), (*version).to_owned())
        }
        _ => return None,
    })
}
