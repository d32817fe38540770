//! The one scan of a record: is it well-formed, what is it, whom does it refer to, and where does each stand.
//!
//! Members are known by name and depth, not by FHIR's definitions: `reference` counts in any object, `resourceType`,
//! `id`, `identifier`, `contained` and `text` only at the top. The meaning of the names for a target is decided by
//! `plan`.

mod collector;

use std::{borrow::Cow, fmt};

use self::collector::Collector;
use super::{
    SyntaxError, TextRange,
    json::{JsonFault, MAX_DEPTH, Machine},
    narrative, path,
};
use crate::record::LINK;

/// From this number on, places stand in the narrative.
pub const NARRATIVE: u32 = 1 << 25;
/// No place has this number.
const END: u32 = 1 << 26;

/// The text is valid JSON, but no object.
pub const NOT_AN_OBJECT: &str = "not a JSON object";

/// The findings of a scan, as parts of the scanned bytes. Texts are raw: [`TextRange::text`] resolves escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The object itself, without white space around it. New members can be put in at `start + 1`.
    pub whole: TextRange,
    /// The text of `resourceType`; none when it is missing or not a string.
    pub resource_type: Option<TextRange>,
    /// The text of `id`; none when it is missing or not a string.
    pub id: Option<TextRange>,
    /// The text of the top-level `url`: the name of a definition, under which others mean it wherever it is held.
    pub url: Option<TextRange>,
    /// The entries of the top-level `identifier`, whether array or single object, in order.
    pub identifiers: Vec<Identifier>,
    /// Every string member `reference` at any depth, in order.
    pub references: Vec<Reference>,
    /// The ids of the resources in `contained`, in order; those without an id are left out.
    pub contained: Vec<TextRange>,
    /// String members that can lead to a record without being references (`Attachment.url`, `valueUri`, …), in order.
    /// The name of a definition is none of them: `Extension.url`, and the `url` by which a resource itself is known.
    pub links: Vec<TextRange>,
    /// The text of `text.div`.
    pub div: Option<TextRange>,
    /// Whether `text.div` holds `href=` or `src=`.
    pub div_links: bool,
}

impl Scanned {
    /// Tells whether the record says of itself that it is a `name`.
    pub fn is(&self, bytes: &[u8], name: &str) -> bool {
        self.resource_type
            .is_some_and(|part| part.text(bytes) == name)
    }

    /// Returns the identifiers that have a system and a value, as texts.
    pub fn identifiers_of<'a>(&self, bytes: &'a [u8]) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        self.identifiers
            .iter()
            .filter_map(|identifier| {
                Some((
                    identifier.system?.text(bytes),
                    identifier.value?.text(bytes),
                ))
            })
            .collect()
    }

    /// Returns every place where a reference to a record can stand, with its number: the references, from 0; other
    /// links, from [`LINK`]; those of the narrative, from [`NARRATIVE`].
    pub fn places<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (u32, TextRange)> + 'a {
        let references = self.references.iter().map(|reference| reference.part);
        let narrative = self.div.filter(|_| self.div_links).into_iter();
        let narrative = narrative.flat_map(move |div| {
            let inside = move |part: TextRange| TextRange {
                start: div.start + part.start,
                end: div.start + part.end,
            };
            narrative::links(div.of(bytes)).into_iter().map(inside)
        });
        (0..LINK)
            .zip(references)
            .chain((LINK..NARRATIVE).zip(self.links.iter().copied()))
            .chain((NARRATIVE..END).zip(narrative))
    }

    /// Returns the place of a number that [`Scanned::places`] gave.
    pub fn place_of(&self, bytes: &[u8], number: u32) -> Option<TextRange> {
        match number {
            ..LINK => self
                .references
                .get(number as usize)
                .map(|reference| reference.part),
            LINK..NARRATIVE => self.links.get((number - LINK) as usize).copied(),
            _ => self
                .places(bytes)
                .find(|(found, _)| *found == number)
                .map(|(_, part)| part),
        }
    }

    fn clear(&mut self) {
        let Self {
            whole,
            resource_type,
            id,
            url,
            identifiers,
            references,
            contained,
            links,
            div,
            div_links,
        } = self;
        *whole = TextRange::default();
        *resource_type = None;
        *id = None;
        *url = None;
        identifiers.clear();
        references.clear();
        contained.clear();
        links.clear();
        *div = None;
        *div_links = false;
    }
}

/// A business identifier of the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Identifier {
    /// The text of `system`.
    pub system: Option<TextRange>,
    /// The text of `value`.
    pub value: Option<TextRange>,
}

/// A literal reference. Its element is `path::of(bytes, reference.part.start)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The text of the reference.
    pub part: TextRange,
    /// Whether it stands inside an `extension` or `modifierExtension`, which not every store follows.
    pub in_extension: bool,
    /// Whether it stands inside `contained`.
    pub in_contained: bool,
}

/// Scans records, one after the other, without allocating once it has seen a few.
pub struct Scanner {
    collector: Collector,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner").finish_non_exhaustive()
    }
}

impl Scanner {
    /// Makes a scanner.
    pub fn new() -> Self {
        Self {
            collector: Collector::new(),
        }
    }

    /// Scans one record: one JSON object, white space around it allowed.
    ///
    /// # Errors
    ///
    /// The text is not JSON (RFC 8259, UTF-8), nests deeper than [`MAX_DEPTH`], is not an object, or one of
    /// the members that the scan looks for occurs twice, so that readers of the JSON could differ about it.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<&Scanned, SyntaxError> {
        let collector = &mut self.collector;
        collector.start();
        match Machine::new(MAX_DEPTH).run(bytes, true, collector) {
            Ok(_) if collector.found.whole.is_empty() => Err(SyntaxError {
                offset: 0,
                what: NOT_AN_OBJECT,
                path: path::of(bytes, 0),
            }),
            Ok(_) => Ok(&self.collector.found),
            Err(JsonFault { offset, what }) => Err(SyntaxError {
                offset,
                what,
                path: path::of(bytes, offset),
            }),
        }
    }

    /// Returns what the last scan found; of a scan that failed, a part of it.
    pub fn found(&self) -> &Scanned {
        &self.collector.found
    }

    /// Forgets the last scan, as if of an object without members, and returns that.
    pub fn nothing(&mut self) -> &Scanned {
        self.collector.found.clear();
        &self.collector.found
    }
}

#[cfg(test)]
mod tests;
