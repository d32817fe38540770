//! Makes the bytes of a record ready for a FHIR store: its references get the ids that the store gave to what they refer to.
//!
//! New text is put in at the byte spans that a scan finds; everything else stays as it stands in the source. The
//! records that references lead to are the plan's business, the ids that these got the core's.

use std::collections::HashMap;

use bytes::Bytes;

use super::{condition::TAG_SYSTEM, entry, write::full_url};
use crate::{
    fhir::{
        Scanned, Scanner, TextRange,
        cut::cut_with,
        escape, path,
        reference::{ReferenceForm, classify, split_fragment},
        splice::{renamed, splice},
        tag,
    },
    manifest::Versioned,
    record::{Action, LINK, Link, Operation, Step, To},
    target::{Naming, Purpose, Search, Unwritten},
};

/// Makes a record ready; `base` is the one under which the store is known to its own clients.
pub(super) fn rewrite(
    base: &str,
    scanner: &mut Scanner,
    step: &Step,
    naming: &Naming<'_>,
    bytes: Bytes,
) -> Result<Bytes, Unwritten> {
    let is_left = |link: &Link| {
        link.to == To::Search
            || link.native && naming.purpose != Purpose::Comparing
            || link.reference == Link::FOLLOWS
    };
    let resource = resource_part(step);
    let body = resource.of(&bytes);
    let is_named = || memchr::memmem::find(body, b"\"id\"").is_some();
    let is_bare = step.links.iter().all(is_left) && naming.tag.is_none();
    if is_bare && !(drops_id(step) && is_named()) {
        return Ok(bytes);
    }
    let found = scanner.scan(body).map_err(|_| Unwritten::Changed)?;
    let mut edits: Vec<(TextRange, String)> = late(step, found, body)?;
    // Under an id of the store's a record is updated as what it is there.
    if step.action == Action::Send(Operation::Update) {
        edits.extend(step.id.as_deref().and_then(|id| renamed(found, body, id)));
    }
    for link in step
        .links
        .iter()
        .filter(|link| !link.late && !is_left(link))
    {
        let to = match &link.to {
            To::Search => continue,
            To::Resource(resource) => resource.clone(),
            To::Step(to) => match (naming.names)(*to) {
                Some(resource) => resource,
                None if naming.purpose.is_lenient() => continue,
                // All records that it refers to have arrived before it is read.
                None => return Err(Unwritten::Unnamed(*to)),
            },
        };
        let place = found.place_of(body, link.reference);
        let place = place.ok_or(Unwritten::Changed)?;
        let old = place.text(body);
        let new = rewritten(base, naming.settings.versioned, &old, &to);
        // A reference that is cut out, with its element, needs nothing any more.
        let is_cut =
            |(part, _): &(TextRange, String)| (part.start..part.end).contains(&place.start);
        if new != old && !edits.iter().any(is_cut) {
            edits.push((place, escape(&new).into_owned()));
        }
    }
    edits.sort_by_key(|(part, _)| part.start);
    let after = bytes.len().saturating_sub(resource.end);
    let bytes = spliced(bytes, resource.start, edits)?;
    let Some(code) = &naming.tag else {
        return Ok(bytes);
    };
    // The comma behind the tag depends on what the cuts have left around its place.
    let resource = TextRange {
        start: resource.start,
        end: bytes.len().saturating_sub(after),
    };
    let inserted =
        tag::insertion(resource.of(&bytes), TAG_SYSTEM, code).map_err(|_| Unwritten::Changed)?;
    spliced(bytes, resource.start, vec![inserted])
}

/// Changes the entry around a resource that keeps its own request. `is_unnamed`: others refer to it, and it has no address
/// by which they could.
pub(super) fn wrapped(
    step: &Step,
    is_remade: bool,
    is_unnamed: bool,
    entry: Bytes,
) -> Result<Bytes, Unwritten> {
    let Action::Entry(operation) = step.action else {
        return Ok(entry);
    };
    if is_remade || !(is_unnamed || operation == Operation::ConditionalCreate) {
        return Ok(entry);
    }
    let name = is_unnamed.then(|| full_url(step));
    let edits = entry::edits(&entry, name.as_deref()).map_err(|_| Unwritten::Changed)?;
    spliced(entry, 0, edits)
}

/// Returns the conditional references of a record that the store has to be asked about.
pub(super) fn searches(step: &Step, bytes: &[u8]) -> Result<Vec<Search>, Unwritten> {
    let wanted = || step.links.iter().filter(|link| link.to == To::Search);
    let resource = resource_part(step).of(bytes);
    let mut scanner = Scanner::new();
    let found = scanner.scan(resource).map_err(|_| Unwritten::Changed)?;
    let searches = wanted().filter_map(|link| {
        let part = found.place_of(resource, link.reference)?;
        let text = part.text(resource);
        match classify(split_fragment(&text).0) {
            ReferenceForm::Conditional {
                resource_type,
                query,
            } => Some(Search {
                reference: link.reference,
                kind: resource_type.to_owned(),
                query: query.to_owned(),
                path: path::of(resource, part.start),
            }),
            _ => None,
        }
    });
    Ok(searches.collect())
}

/// Puts edits, whose places are those in the resource, into what goes to the wire, where it begins at `start`.
fn spliced(
    bytes: Bytes,
    start: usize,
    mut edits: Vec<(TextRange, String)>,
) -> Result<Bytes, Unwritten> {
    if edits.is_empty() {
        return Ok(bytes);
    }
    for (part, _) in &mut edits {
        part.start += start;
        part.end += start;
    }
    splice(&bytes, &edits)
        .map(Bytes::from)
        .map_err(|_| Unwritten::Changed)
}

/// Returns what has to go so that a record can be created: an id that is none of FHIR's, and the references to what comes
/// later.
fn late(step: &Step, found: &Scanned, body: &[u8]) -> Result<Vec<(TextRange, String)>, Unwritten> {
    // Only references are checked by stores; other links may lead nowhere for a while.
    let late = step
        .links
        .iter()
        .filter(|link| link.late && link.reference < LINK);
    let places = late.map(|link| found.place_of(body, link.reference));
    let places: Option<Vec<TextRange>> = places.collect();
    let places = places.ok_or(Unwritten::Changed)?;
    let id = found.id.filter(|_| drops_id(step));
    if places.is_empty() && id.is_none() {
        return Ok(Vec::new());
    }
    let parts = cut_with(body, &places, id).map_err(|_| Unwritten::Changed)?;
    Ok(parts
        .into_iter()
        .map(|part| (part, String::new()))
        .collect())
}

/// Returns a reference with the new resource in the place of the old one: base, version and fragment as they were,
/// as far as they can hold.
fn rewritten(own: &str, versioned: Versioned, old: &str, to: &str) -> String {
    let keeps = versioned == Versioned::Keep;
    // A text that is all fragment is a name of its own, if it leads anywhere.
    let (plain, fragment) = match split_fragment(old) {
        ("", _) => (old, ""),
        parts => parts,
    };
    let (base, version) = match classify(plain) {
        ReferenceForm::Relative(target) => ("", target.version),
        ReferenceForm::Absolute {
            base: given,
            target,
        } => (
            if own == given && !to.contains(':') {
                own
            } else {
                ""
            },
            target.version,
        ),
        _ => ("", None),
    };
    match version {
        Some(version) if keeps => format!("{base}{to}/_history/{version}{fragment}"),
        _ => format!("{base}{to}{fragment}"),
    }
}

/// Tells whether an id in the body would only be in the way: who creates gets an id of the store's, and one that is none of
/// FHIR's (the plan keeps no such) is refused by many.
fn drops_id(step: &Step) -> bool {
    let creates = matches!(
        step.action.operation(),
        Some(Operation::Create | Operation::ConditionalCreate)
    );
    creates && step.id.is_none()
}

/// Returns the address by which an entry of a transaction names another entry of it: `Type/id` of an update, else its
/// `fullUrl`.
pub(super) fn address(to: &Step) -> String {
    match (to.action.operation(), &to.id) {
        (Some(Operation::Update), Some(id)) => format!("{}/{id}", to.kind),
        _ => full_url(to),
    }
}

/// Returns the resource within what goes to the wire.
fn resource_part(step: &Step) -> TextRange {
    part_of(step.body, step.wire())
}

/// Returns a stretch of a source within another one that holds it.
fn part_of(inner: crate::record::Span, outer: crate::record::Span) -> TextRange {
    let start = usize::try_from(inner.start.saturating_sub(outer.start)).unwrap_or(usize::MAX);
    let length = usize::try_from(inner.length).unwrap_or(usize::MAX);
    TextRange {
        start,
        end: start.saturating_add(length),
    }
}
/// Returns what the references of a resource mean among those that travel with it, by their `fullUrl`s.
pub(super) fn beside(body: &[u8], names: &HashMap<String, String>) -> Vec<(u32, String)> {
    let mut scanner = Scanner::new();
    // An unreadable resource is compared as it is, and is not equal.
    let Ok(found) = scanner.scan(body) else {
        return Vec::new();
    };
    let meant = found.places(body).filter_map(|(reference, part)| {
        let text = part.text(body);
        let (plain, _) = split_fragment(&text);
        let resource = names.get(text.as_ref()).or_else(|| names.get(plain))?;
        Some((reference, resource.clone()))
    });
    meant.collect()
}
