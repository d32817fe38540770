//! Takes resources into the graph: their names, and what their references ask for.
//!
//! The records that references lead to are known when all records are there, but for references within one Bundle:
//! these are compared with its `fullUrl`s when it ends, as texts, whatever they are.

use std::collections::HashMap;

use super::{
    condition,
    keys::{Global, Place, ResourceKeys, Wanted, base_of},
};
use crate::{
    event::LoadId,
    fhir::{
        reference::{ReferenceForm, classify, is_address, is_uuid, split_fragment},
        types::is_known_type,
    },
    manifest::LoadSettings,
    plan::graph::{Asks, Graph, NamedBy, Node},
    record::LINK,
    source::{BundleKind, BundleStart, Found},
    target::fhir::identifying,
};

/// The Bundle whose entries are coming.
#[derive(Debug)]
struct OpenBundle {
    /// It is executed as it is.
    is_executed: bool,
    full_urls: HashMap<u64, Named>,
    /// References that may be to one of its own entries: the place, the key, and whether the key is the reference to
    /// the letter; of each the likeliest key first.
    local: Vec<(u32, u64, bool)>,
}

/// The owner of a `fullUrl`.
#[derive(Debug, Clone, Copy)]
struct Named {
    node: Node,
    /// The `fullUrl` is an address, by which a store finds its owner.
    is_address: bool,
    /// The `fullUrl` is also the name of a definition: a link that writes it means the definition, wherever that is
    /// held, unless the link is a reference.
    is_definition: bool,
}

/// The names of the resources that come.
#[derive(Debug, Default)]
pub(super) struct Names {
    bundle: Option<OpenBundle>,
}

impl Names {
    /// Begins a Bundle; the records that follow stand in it.
    pub(super) fn bundle_start(&mut self, start: &BundleStart) {
        self.bundle = Some(OpenBundle {
            is_executed: matches!(start.kind, BundleKind::Transaction | BundleKind::Batch),
            full_urls: HashMap::new(),
            local: Vec::new(),
        });
    }

    /// Ends a Bundle: references to its own entries are resolved.
    pub(super) fn bundle_end(&mut self, graph: &mut Graph) {
        let Some(bundle) = self.bundle.take() else {
            return;
        };
        for (reference, key, is_literal) in bundle.local {
            if let Some(named) = bundle.full_urls.get(&key) {
                // Only an address to the letter is found by every server: a relative reference, or one with a version or a
                // fragment, is written anew.
                let is_native = named.is_address && is_literal;
                graph.resolve_to(reference, named.node, is_native, named.is_definition);
            }
        }
    }

    /// Takes a record.
    pub(super) fn record(
        &mut self,
        graph: &mut Graph,
        load: LoadId,
        settings: &LoadSettings,
        found: &Found<'_>,
    ) -> Node {
        let Some(look) = graph.look(load) else {
            return graph.blank(load);
        };
        let target = look.target;
        let is_executed = self.bundle.as_ref().is_some_and(|b| b.is_executed);
        let keys = ResourceKeys(graph.keys());
        let condition = condition::key(keys, target, settings, is_executed, found);
        // The same resource has another id in every export, and is the same all the same.
        let id = found.scanned.id.unwrap_or_default();
        let (before, after) = found.bytes.split_at_checked(id.start).unwrap_or_default();
        let after = after.get(id.len()..).unwrap_or_default();
        let content = graph.keys().content(&[before, after]);
        let node = graph.push(load, content);
        if let Some(condition) = condition {
            graph.name(NamedBy::Condition, condition, node);
        }
        let full_url = found
            .entry
            .as_ref()
            .and_then(|entry| Some(entry.envelope.full_url?.text(entry.bytes)));
        if let (Some(kind), Some(id)) = (found.resource_type(), found.id()) {
            let key = ResourceKeys(graph.keys()).resource(target, &kind, &id);
            // An id that is none names a record as well, but an empty one only where no other has it.
            let by = match id.as_ref() {
                "" => NamedBy::Alias,
                _ => NamedBy::Identity,
            };
            graph.name(by, key, node);
            if let Some(base) = full_url.as_deref().and_then(base_of)
                && graph.base(target) != Some(base)
            {
                graph.settle_at(node, base);
            }
        }
        if let Some(url) = &full_url {
            let key = ResourceKeys(graph.keys()).url(target, url);
            graph.name(NamedBy::Alias, key, node);
            if let Some(bundle) = &mut self.bundle {
                let is_type = |kind: &str| is_known_type(kind) || graph.takes(target, kind);
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
                    let keys = ResourceKeys(graph.keys());
                    let key = keys.identifier(target, &kind, &system, &value);
                    graph.name(NamedBy::Identifier, key, node);
                }
            }
            self.references(graph, target, found, full_url.as_deref());
        }
        identify(graph, target, node, settings, found);
        node
    }

    fn references(
        &mut self,
        graph: &mut Graph,
        target: u16,
        found: &Found<'_>,
        full_url: Option<&str>,
    ) {
        // A Bundle that is stored as it is refers to its own entries first; it is left alone.
        let is_bundle = found.scanned.is(found.bytes, "Bundle");
        let mut count = 0;
        for (ordinal, part) in found.scanned.places(found.bytes) {
            let place = Place {
                target,
                in_bundle: self.bundle.is_some(),
                base: full_url.and_then(base_of),
                own: graph.base(target),
            };
            let is_reference = ordinal < LINK;
            let text = part.text(found.bytes);
            count += u64::from(is_reference);
            if is_bundle || (is_reference && is_within(found, &text)) {
                if is_reference {
                    graph.reference(ordinal, Asks::Within, false);
                }
                continue;
            }
            if !is_reference && !may_lead_to_a_record(&text, place) {
                continue;
            }
            let takes = |kind: &str| graph.takes(target, kind);
            let Wanted {
                local,
                global,
                versioned,
            } = ResourceKeys(graph.keys()).wanted(place, &text, takes);
            let asks = match global {
                Global::Nothing => Asks::Nothing,
                Global::Record { key, here } if is_reference && here => {
                    Asks::Record { key, here: true }
                }
                // An address on the web is a link to a record only where that stands beside it.
                Global::Record { here: false, .. } if !is_reference && is_web(&text) => {
                    Asks::Nothing
                }
                Global::Record { key, .. } => Asks::Record { key, here: false },
                Global::Condition(key) if is_reference => Asks::Condition(key),
                // A link that is no reference leads to a record, or is none of ours.
                Global::Condition(_) => continue,
            };
            let at = graph.reference(ordinal, asks, versioned);
            if let Some(bundle) = &mut self.bundle {
                let literal = [true, false, false];
                let local = local.into_iter().zip(literal);
                let local = local.filter_map(|(key, literal)| Some((at, key?, literal)));
                bundle.local.extend(local);
            }
        }
        graph.count_references(target, count);
    }
}

/// Takes note of the identifier by which a record is found in the store.
fn identify(
    graph: &mut Graph,
    target: u16,
    node: Node,
    settings: &LoadSettings,
    found: &Found<'_>,
) {
    let Some(kind) = found.resource_type() else {
        return;
    };
    if !settings.identity.systems.contains_key(kind.as_ref()) {
        return;
    }
    let identifiers = found.scanned.identifiers_of(found.bytes);
    let pairs = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
    if let Some((system, value)) = identifying(&settings.identity, &kind, &pairs) {
        let key = ResourceKeys(graph.keys()).identifier(target, &kind, system, value);
        graph.name(NamedBy::Identifying, key, node);
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
        ReferenceForm::Relative(_) | ReferenceForm::Urn(_) => true,
        ReferenceForm::Absolute { base, .. } => place.in_bundle || place.own == Some(base),
        ReferenceForm::Contained(_) | ReferenceForm::Conditional { .. } => false,
        ReferenceForm::Other => {
            let is_url = plain.contains(':') || is_uuid(plain);
            is_url && place.in_bundle && plain.len() <= 255 && !plain.contains(char::is_whitespace)
        }
    }
}

fn is_web(link: &str) -> bool {
    link.starts_with("http://") || link.starts_with("https://")
}
