//! Makes the bytes of a record ready for the wire: its references get the ids that the store gave to what they refer to.
//!
//! New text is put in at the byte spans that a scan finds; everything else stays as it stands in the source (design
//! §3). Where references lead is the plan's business, which ids came of it `precedence`'s.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{Error, entry, precedence::Precedence};
use crate::{
    event::LoadId,
    fhir::{
        Part, Scanned, Scanner,
        cut::cut_with,
        escape, path,
        reference::{Form, classify, split_fragment},
        scan::LINK,
        splice::{renamed, splice},
        tag,
    },
    journal::JournalLine,
    manifest::{Settle, Versioned},
    plan::{self, Action, Link, Step, To, file::Saved},
    record::{Operation, Span},
    source::Bodies,
    target::fhir::{TAG_SYSTEM, full_url},
};

/// Reads records and makes them ready.
#[derive(Debug)]
pub(super) struct Dresser {
    pub(super) plan: Arc<Saved>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) precedence: Option<Arc<Precedence>>,
    /// Per load: the base under which its target is known to its own clients.
    pub(super) bases: Vec<String>,
    /// Names the run in the tags of its records.
    pub(super) journal: Option<JournalLine>,
}

/// How a record is made ready.
struct Wire<'a> {
    /// How others that travel with it are named.
    inside: &'a dyn Fn(u64) -> Option<String>,
    /// What its store would resolve by itself is named, too.
    resolves: bool,
    /// What has no name yet is left as it stands in the source: the record is looked at, and not sent.
    is_lenient: bool,
    tag: Option<String>,
}

/// A conditional reference that only the store can resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// Its place among the references of the record.
    pub(super) reference: u32,
    /// The type that is searched.
    pub(super) kind: String,
    /// What stands behind the question mark: content.
    pub(super) query: String,
    /// The element in the record.
    pub(super) path: String,
}

/// Returns the bytes of a record that go to the wire: the whole entry, or the resource.
pub(super) fn wire_span(step: &Step) -> Span {
    step.wire()
}

impl Dresser {
    /// Reads what goes to the wire of each record. With `together`, the records travel in one transaction.
    ///
    /// # Errors
    ///
    /// When a source has changed, or a reference leads to a record of which nothing is known yet.
    pub(super) fn read(&self, steps: &[Step], together: bool) -> Result<Vec<Bytes>, Error> {
        self.each(steps, together).collect()
    }

    /// Reads records to look at them. References to what has no name yet are left as they stand in the source.
    pub(super) fn read_to_look(&self, steps: &[Step]) -> Result<Vec<Bytes>, Error> {
        let tag = |step: &Step| self.tag(step);
        self.read_with(steps, &|to| kept_name(steps, to), false, &tag)
    }

    /// As [`Dresser::read`], one by one.
    pub(super) fn each<'s>(
        &'s self,
        steps: &'s [Step],
        together: bool,
    ) -> impl Iterator<Item = Result<Bytes, Error>> + 's {
        let mut scanner = Scanner::new();
        let own = match (steps.first(), steps.last(), together) {
            (Some(first), Some(last), true) => first.number..last.number + 1,
            _ => 0..0,
        };
        // Those whom others of the transaction refer to by a link of the plan, and not by what stands in the file.
        let links = steps
            .iter()
            .filter(|_| together)
            .flat_map(|step| &step.links);
        let links = links.filter_map(|link| match link.to {
            To::Step(to) => Some(to),
            To::Resource(_) | To::Search => None,
        });
        let linked: HashSet<u64> = links.filter(|to| own.contains(to)).collect();
        steps.iter().map(move |step| {
            let bytes = self.bytes(step)?;
            let inside = |to: u64| {
                let is_own = own.contains(&to);
                let at = steps.binary_search_by_key(&to, |step| step.number);
                let at = at.ok().filter(|_| is_own);
                at.and_then(|at| steps.get(at)).map(inside)
            };
            let made = Wire {
                inside: &|to| inside(to).or_else(|| kept_name(std::slice::from_ref(step), to)),
                resolves: false,
                is_lenient: self.precedence.is_none(),
                tag: self.tag(step),
            };
            let dressed = self.dress(&mut scanner, step, made, bytes)?;
            let is_unnamed = step.full_url.is_none() && linked.contains(&step.number);
            self.wrapped(step, is_unnamed, dressed)
        })
    }

    /// Reads records as a store has them that took them with these tags, those of one transaction as these resources.
    pub(super) fn read_as_stored(
        &self,
        steps: &[Step],
        resources: &HashMap<u64, String>,
        tags: &HashMap<u64, String>,
    ) -> Result<Vec<Bytes>, Error> {
        let stored = |to: u64| {
            let known = resources.get(&to).cloned();
            known.or_else(|| kept_name(steps, to))
        };
        let tag = |step: &Step| tags.get(&step.number).cloned();
        self.read_with(steps, &stored, true, &tag)
    }

    fn read_with(
        &self,
        steps: &[Step],
        inside: &dyn Fn(u64) -> Option<String>,
        resolves: bool,
        tag: &dyn Fn(&Step) -> Option<String>,
    ) -> Result<Vec<Bytes>, Error> {
        let mut scanner = Scanner::new();
        steps
            .iter()
            .map(|step| {
                let made = Wire {
                    inside,
                    resolves,
                    is_lenient: true,
                    tag: tag(step),
                };
                let bytes = self.bytes(step)?;
                self.dress(&mut scanner, step, made, bytes)
            })
            .collect()
    }

    fn bytes(&self, step: &Step) -> Result<Bytes, Error> {
        // What came as an entry was hashed as one, also where its resource goes out by itself in a second request.
        let hashed = step.wire_as(step.first.as_ref().unwrap_or(&step.action));
        let bytes = self
            .bodies
            .read(step.position.source, hashed)
            .map_err(|error| self.failed(step, &error.kind.to_string()))?;
        if step.hash != 0 && plan::hash(&bytes) != step.hash {
            return Err(self.changed(step));
        }
        if hashed == wire_span(step) {
            return Ok(bytes);
        }
        let resource = part_of(step.body, hashed);
        if resource.end > bytes.len() {
            return Err(self.changed(step));
        }
        Ok(bytes.slice(resource.start..resource.end))
    }

    fn failed(&self, step: &Step, why: &str) -> Error {
        let file = self.plan.source_name(step.position.source);
        Error::Source(format!(
            "cannot read {}: {why}",
            step.position.display(file)
        ))
    }

    /// Returns the conditional references of a record that the store has to be asked about.
    pub(super) fn searches(&self, step: &Step) -> Result<Vec<Search>, Error> {
        let wanted = || step.links.iter().filter(|link| link.to == To::Search);
        if wanted().next().is_none() {
            return Ok(Vec::new());
        }
        let bytes = self.bytes(step)?;
        let resource = resource_part(step);
        let mut scanner = Scanner::new();
        let found = scanner
            .scan(resource.of(&bytes))
            .map_err(|_| self.changed(step))?;
        let searches = wanted().filter_map(|link| {
            let part = found.place_of(resource.of(&bytes), link.reference)?;
            let text = part.text(resource.of(&bytes));
            match classify(split_fragment(&text).0) {
                Form::Conditional {
                    resource_type,
                    query,
                } => Some(Search {
                    reference: link.reference,
                    kind: resource_type.to_owned(),
                    query: query.to_owned(),
                    path: path::of(resource.of(&bytes), part.start),
                }),
                _ => None,
            }
        });
        Ok(searches.collect())
    }

    /// Sent as it stands in the source, the reference would lead to something else.
    fn unnamed(&self, step: &Step, to: u64) -> Error {
        let file = self.plan.source_name(step.position.source);
        Error::Internal(format!(
            "{} was about to be sent before it was known what became of record {to}, to which it refers",
            step.position.display(file)
        ))
    }

    fn changed(&self, step: &Step) -> Error {
        self.failed(step, "it is no longer what it was when it was planned")
    }

    fn dress(
        &self,
        scanner: &mut Scanner,
        step: &Step,
        made: Wire<'_>,
        bytes: Bytes,
    ) -> Result<Bytes, Error> {
        let Wire {
            inside,
            resolves,
            is_lenient,
            tag,
        } = made;
        let is_left = |link: &Link| {
            link.to == To::Search || link.native && !resolves || link.reference == Link::FOLLOWS
        };
        let resource = resource_part(step);
        let body = resource.of(&bytes);
        let is_named = || memchr::memmem::find(body, b"\"id\"").is_some();
        let is_bare = step.links.iter().all(is_left) && tag.is_none();
        if is_bare && !(drops_id(step) && is_named()) {
            return Ok(bytes);
        }
        let found = scanner.scan(body).map_err(|_| self.changed(step))?;
        let mut edits: Vec<(Part, String)> = self.late(step, found, body)?;
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
                To::Step(to) => {
                    let arrived = || self.precedence.as_ref().and_then(|p| p.resource(*to));
                    match inside(*to).or_else(arrived) {
                        Some(resource) => resource,
                        None if is_lenient => continue,
                        // What it needs has arrived before it is read.
                        None => return Err(self.unnamed(step, *to)),
                    }
                }
            };
            let Some(place) = found.place_of(body, link.reference) else {
                return Err(self.changed(step));
            };
            let old = place.text(body);
            let new = self.rewritten(step.load, &old, &to);
            // What is cut out, with what holds it, needs nothing any more.
            let is_cut = |(part, _): &(Part, String)| (part.start..part.end).contains(&place.start);
            if new != old && !edits.iter().any(is_cut) {
                edits.push((place, escape(&new).into_owned()));
            }
        }
        edits.sort_by_key(|(part, _)| part.start);
        let after = bytes.len().saturating_sub(resource.end);
        let bytes = self.spliced(step, bytes, resource.start, edits)?;
        let Some(code) = tag else {
            return Ok(bytes);
        };
        // Whether a comma follows the tag depends on what the cuts have left around its place.
        let resource = Part {
            start: resource.start,
            end: bytes.len().saturating_sub(after),
        };
        let inserted = tag::insertion(resource.of(&bytes), TAG_SYSTEM, &code)
            .map_err(|_| self.changed(step))?;
        self.spliced(step, bytes, resource.start, vec![inserted])
    }

    /// Puts edits, whose places are those in the resource, into what goes to the wire, where it begins at `start`.
    fn spliced(
        &self,
        step: &Step,
        bytes: Bytes,
        start: usize,
        mut edits: Vec<(Part, String)>,
    ) -> Result<Bytes, Error> {
        if edits.is_empty() {
            return Ok(bytes);
        }
        for (part, _) in &mut edits {
            part.start += start;
            part.end += start;
        }
        splice(&bytes, &edits)
            .map(Bytes::from)
            .map_err(|_| self.changed(step))
    }

    /// Changes what stands around the resource of an entry that keeps its own request. `is_unnamed`: others refer to it, and
    /// it has no address by which they could.
    fn wrapped(&self, step: &Step, is_unnamed: bool, entry: Bytes) -> Result<Bytes, Error> {
        let Action::Entry(interaction) = step.action else {
            return Ok(entry);
        };
        let load = self.plan.header.loads.get(step.load.0 as usize);
        let is_remade = load.is_some_and(|load| load.interaction.is_some());
        if is_remade || !(is_unnamed || interaction == Operation::ConditionalCreate) {
            return Ok(entry);
        }
        let name = is_unnamed.then(|| full_url(step));
        let edits = entry::edits(&entry, name.as_deref()).map_err(|_| self.changed(step))?;
        self.spliced(step, entry, 0, edits)
    }

    /// Returns what marks a record as this run's: only a create can be doubled, and only where the load asks for it.
    pub(super) fn tag(&self, step: &Step) -> Option<String> {
        let load = self.plan.header.loads.get(step.load.0 as usize)?;
        // The update that completes a created record keeps its tag.
        let action = step.first.as_ref().unwrap_or(&step.action);
        let is_tagged =
            load.settles_by() == Settle::Tag && action.operation() == Some(Operation::Create);
        let journal = self.journal.as_ref()?;
        is_tagged.then(|| journal.tag(step.number))
    }

    /// Returns what has to go so that a record can be created: an id that is none of FHIR's, and the references to what comes
    /// later.
    fn late(
        &self,
        step: &Step,
        found: &Scanned,
        body: &[u8],
    ) -> Result<Vec<(Part, String)>, Error> {
        // Only references are checked by stores; other links may lead nowhere for a while.
        let late = step
            .links
            .iter()
            .filter(|link| link.late && link.reference < LINK);
        let places = late.map(|link| found.place_of(body, link.reference));
        let places: Option<Vec<Part>> = places.collect();
        let places = places.ok_or_else(|| self.changed(step))?;
        let id = found.id.filter(|_| drops_id(step));
        if places.is_empty() && id.is_none() {
            return Ok(Vec::new());
        }
        let parts = cut_with(body, &places, id).map_err(|_| self.changed(step))?;
        Ok(parts
            .into_iter()
            .map(|part| (part, String::new()))
            .collect())
    }

    /// Returns a reference with the new resource in the place of the old one: base, version and fragment as they were,
    /// as far as they can hold.
    fn rewritten(&self, load: LoadId, old: &str, to: &str) -> String {
        let settings = self.plan.header.loads.get(load.0 as usize);
        let keeps = settings.is_some_and(|load| load.versioned == Versioned::Keep);
        let base = self.bases.get(load.0 as usize);
        // A text that is all fragment is a name of its own, if it leads anywhere.
        let (plain, fragment) = match split_fragment(old) {
            ("", _) => (old, ""),
            parts => parts,
        };
        let (base, version) = match classify(plain) {
            Form::Relative(target) => ("", target.version),
            Form::Absolute {
                base: given,
                target,
            } => (
                base.filter(|base| *base == given && !to.contains(':'))
                    .map_or("", String::as_str),
                target.version,
            ),
            _ => ("", None),
        };
        match version {
            Some(version) if keeps => format!("{base}{to}/_history/{version}{fragment}"),
            _ => format!("{base}{to}{fragment}"),
        }
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

/// Returns what a record is called whatever becomes of it: an update names it itself.
fn kept_name(steps: &[Step], record: u64) -> Option<String> {
    let step = steps.iter().find(|step| step.number == record)?;
    let is_kept = step.action.operation() == Some(Operation::Update);
    let id = step.id.as_ref().filter(|_| is_kept)?;
    Some(format!("{}/{id}", step.kind))
}

/// How an entry of a transaction names another entry of it.
fn inside(to: &Step) -> String {
    match (to.action.operation(), &to.id) {
        (Some(Operation::Update), Some(id)) => format!("{}/{id}", to.kind),
        _ => full_url(to),
    }
}

/// Returns the resource within what goes to the wire.
fn resource_part(step: &Step) -> Part {
    part_of(step.body, wire_span(step))
}

/// Returns a stretch of a source within another one that holds it.
fn part_of(inner: Span, outer: Span) -> Part {
    let start = usize::try_from(inner.start.saturating_sub(outer.start)).unwrap_or(usize::MAX);
    let length = usize::try_from(inner.length).unwrap_or(usize::MAX);
    Part {
        start,
        end: start.saturating_add(length),
    }
}
