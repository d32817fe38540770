//! The formats' knowledge of the references of their records: which a record can be without, and what is shown of one.

use crate::{
    fhir::{
        Scanner, TextRange,
        cut::{CutError, cut},
        path, reference,
        types::is_known_type,
    },
    manifest::Format,
    target::Facts,
};

/// The reason why a record cannot be without some of its references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stuck {
    /// Its bytes cannot be read.
    Unread,
    /// Its bytes are not those that were planned.
    Changed,
    /// The element of this path has to be there.
    Required(String),
}

/// Tells whether a record can be created without the references at some places in it.
///
/// # Errors
///
/// The reason why not.
pub fn without(format: Format, bytes: &[u8], references: &[u32]) -> Result<(), Stuck> {
    if !format.has_references() {
        return Err(Stuck::Changed);
    }
    let mut scanner = Scanner::new();
    let found = scanner.scan(bytes).map_err(|_| Stuck::Unread)?;
    let parts: Option<Vec<TextRange>> = references
        .iter()
        .map(|&at| found.place_of(bytes, at))
        .collect();
    match cut(bytes, &parts.ok_or(Stuck::Changed)?) {
        Ok(_) => Ok(()),
        Err(CutError::Required(part)) => Err(Stuck::Required(path::of(bytes, part.start))),
        Err(CutError::Nowhere(_)) => Err(Stuck::Changed),
    }
}

/// A reference, as a plan shows it: no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The referenced record, as far as it may be shown.
    pub to: String,
    /// The element.
    pub path: String,
}

/// Returns what is shown of the reference at a place of a record; none where there is none.
pub fn shown(format: Format, bytes: &[u8], place: u32, facts: Option<&Facts>) -> Option<Shown> {
    if !format.has_references() {
        return None;
    }
    let mut scanner = Scanner::new();
    let found = scanner.scan(bytes).ok()?;
    let part = found.place_of(bytes, place)?;
    let takes = |kind: &str| is_known_type(kind) || facts.is_some_and(|facts| facts.takes(kind));
    Some(Shown {
        to: reference::shown(&part.text(bytes), takes),
        path: path::of(bytes, part.start),
    })
}
