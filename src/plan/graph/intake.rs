//! Takes records into the graph: what they are called, and what their references ask for.
//!
//! What these come to is known when all records are there (`resolve`), but for references within one Bundle: they are compared
//! with its `fullUrl`s when it ends, as texts, whatever they are.

use std::collections::HashMap;

use super::{
    Graph, HERE, LINK, NATIVE, NONE, Node, ORDINALS, STATE, STATE_CONDITION, STATE_DANGLING,
    STATE_GLOBAL, STATE_NODE, STATE_NOTHING, VERSIONED,
};
use crate::{
    event::LoadId,
    fhir::{
        reference::{Form, classify, is_address, is_uuid, split_fragment},
        types::is_known_type,
    },
    plan::{
        condition,
        key::{Global, Place, Wanted, base_of},
    },
    source::{BundleKind, BundleStart, Found},
};

/// The Bundle whose entries are coming.
#[derive(Debug)]
pub(super) struct OpenBundle {
    /// It is executed as it is.
    is_executed: bool,
    full_urls: HashMap<u64, Named>,
    /// References that may be to one of its own: where, by which key, and whether that is the reference to the letter; of each
    /// the likeliest key first.
    local: Vec<(u32, u64, bool)>,
}

/// Who has a `fullUrl`.
#[derive(Debug, Clone, Copy)]
struct Named {
    node: Node,
    /// It is an address, by which a store finds it.
    is_address: bool,
    /// It is also the name of a definition: who writes it means that, wherever it is held, unless it is a reference.
    is_definition: bool,
}

impl Graph {
    /// Begins a Bundle; the records that follow stand in it.
    pub(in crate::plan) fn bundle_start(&mut self, start: &BundleStart) {
        self.bundle = Some(OpenBundle {
            is_executed: matches!(start.kind, BundleKind::Transaction | BundleKind::Batch),
            full_urls: HashMap::new(),
            local: Vec::new(),
        });
    }

    /// Ends a Bundle: references to its own entries are resolved.
    pub(in crate::plan) fn bundle_end(&mut self) {
        let Some(bundle) = self.bundle.take() else {
            return;
        };
        for (reference, key, is_literal) in bundle.local {
            let (Some(named), Some(wanted), Some(mark)) = (
                bundle.full_urls.get(&key),
                self.wanted.get_mut(reference as usize),
                self.marks.get_mut(reference as usize),
            ) else {
                continue;
            };
            let is_canonical = named.is_definition && *mark & ORDINALS >= LINK;
            if *mark & STATE != STATE_NODE && !is_canonical {
                *wanted = u64::from(named.node);
                // Only an address to the letter is found by every server: a relative reference, or one with a version or a
                // fragment, is written anew.
                let native = if named.is_address && is_literal {
                    NATIVE
                } else {
                    0
                };
                *mark = (*mark & !STATE) | STATE_NODE | native;
            }
        }
    }

    /// Takes a record.
    pub(in crate::plan) fn record(&mut self, load: LoadId, found: &Found<'_>) -> Node {
        let (Some(&look), Some(settings)) = (
            self.looks.get(load.0 as usize),
            self.loads.get(load.0 as usize),
        ) else {
            return self.blank(load);
        };
        let is_executed = self.bundle.as_ref().is_some_and(|b| b.is_executed);
        let condition = condition::key(&self.keys, look.target, settings, is_executed, found);
        // The same resource has another id in every export, and is the same all the same.
        let id = found.scanned.id.unwrap_or_default();
        let (before, after) = found.bytes.split_at_checked(id.start).unwrap_or_default();
        let content = self
            .keys
            .content(&[before, after.get(id.len()..).unwrap_or_default()]);
        let node = self.push(load, content);
        if let Some(condition) = condition {
            self.conditions.push(condition, node);
        }
        let full_url = found
            .entry
            .as_ref()
            .and_then(|entry| Some(entry.envelope.full_url?.text(entry.bytes)));
        if let (Some(kind), Some(id)) = (found.resource_type(), found.id()) {
            let key = self.keys.resource(look.target, &kind, &id);
            // An id that is none names a record as well, but an empty one only where no other has it.
            let names = match id.as_ref() {
                "" => &mut self.aliases,
                _ => &mut self.identities,
            };
            names.push(key, node);
        }
        if let Some(url) = &full_url {
            let key = self.keys.url(look.target, url);
            self.aliases.push(key, node);
            if let Some(bundle) = &mut self.bundle {
                let facts = self.targets.get(look.target as usize).map(|t| &t.facts);
                let is_type =
                    |kind: &str| is_known_type(kind) || facts.is_some_and(|f| f.takes(kind));
                let own = found.scanned.url.map(|own| own.text(found.bytes));
                bundle.full_urls.entry(key).or_insert(Named {
                    node,
                    is_address: is_address(url, is_type),
                    is_definition: own.is_some_and(|own| own == *url),
                });
            }
        }
        if look.references {
            if let Some(kind) = found.resource_type() {
                for (system, value) in found.scanned.identifiers_of(found.bytes) {
                    let key = self.keys.identifier(look.target, &kind, &system, &value);
                    self.identifiers.push(key, node);
                }
            }
            self.references(look.target, found, full_url.as_deref());
        }
        node
    }

    fn references(&mut self, target: u16, found: &Found<'_>, full_url: Option<&str>) {
        let bound = self.targets.get(target as usize);
        let place = Place {
            target,
            in_bundle: self.bundle.is_some(),
            base: full_url.and_then(base_of),
            own: bound.and_then(|target| target.base.as_deref()),
        };
        let takes = |kind: &str| bound.is_some_and(|target| target.facts.takes(kind));
        // What stands in a Bundle that is stored as it is refers to its own entries first; it is left alone.
        let is_bundle = found.scanned.is(found.bytes, "Bundle");
        let mut count = 0;
        for (ordinal, part) in found.scanned.places(found.bytes) {
            let is_reference = ordinal < LINK;
            let text = part.text(found.bytes);
            count += u64::from(is_reference);
            if is_bundle || (is_reference && is_within(found, &text)) {
                if is_reference {
                    self.wanted.push(0);
                    self.marks.push(STATE_NOTHING | ordinal);
                }
                continue;
            }
            if !is_reference && !may_lead_to_a_record(&text, place) {
                continue;
            }
            let Wanted {
                local,
                global,
                versioned,
            } = self.keys.wanted(place, &text, takes);
            let (key, state) = match global {
                Global::Nothing => (0, STATE_DANGLING),
                Global::Record { key, here } if is_reference && here => (key, STATE_GLOBAL | HERE),
                // An address on the web is a link to a record only where that stands beside it.
                Global::Record { here: false, .. } if !is_reference && is_web(&text) => {
                    (0, STATE_DANGLING)
                }
                Global::Record { key, .. } => (key, STATE_GLOBAL),
                Global::Condition(key) if is_reference => (key, STATE_CONDITION),
                // What is no reference leads to a record, or is none of ours.
                Global::Condition(_) => continue,
            };
            if let Some(bundle) = &mut self.bundle {
                let at = u32::try_from(self.wanted.len()).unwrap_or(NONE);
                let literal = [true, false, false];
                let local = local.into_iter().zip(literal);
                let local = local.filter_map(|(key, literal)| Some((at, key?, literal)));
                bundle.local.extend(local);
            }
            let versioned = if versioned { VERSIONED } else { 0 };
            self.wanted.push(key);
            self.marks.push(state | versioned | ordinal);
        }
        if count > 0 {
            *self.scanned.entry(target).or_default() += count;
        }
    }
}

/// Tells whether a reference is to what its own record contains, or to the record itself (`#`).
fn is_within(found: &Found<'_>, reference: &str) -> bool {
    let contained = |id: &str| {
        let mut ids = found.scanned.contained.iter();
        ids.any(|part| part.text(found.bytes) == id)
    };
    let id = reference.strip_prefix('#');
    id.is_some_and(|id| id.is_empty() || contained(id))
}

/// Tells whether what is no reference may lead to a record: most are words, or lead elsewhere, and nothing is kept of them.
fn may_lead_to_a_record(link: &str, place: Place<'_>) -> bool {
    let (plain, _) = split_fragment(link);
    match classify(plain) {
        Form::Relative(_) | Form::Urn(_) => true,
        Form::Absolute { base, .. } => place.in_bundle || place.own == Some(base),
        Form::Contained(_) | Form::Conditional { .. } => false,
        Form::Other => {
            let is_url = plain.contains(':') || is_uuid(plain);
            is_url && place.in_bundle && plain.len() <= 255 && !plain.contains(char::is_whitespace)
        }
    }
}

fn is_web(link: &str) -> bool {
    link.starts_with("http://") || link.starts_with("https://")
}
