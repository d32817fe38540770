//! FHIR's resources, as planning takes them: what is done with each, what travels together, and how they name each other.
//!
//! `bundle` knows what the types of Bundles mean, `entry` what an entry's own request asks for, `left_out` what is no
//! record to load, `names` what resources are called and what their references ask for. The results are known by the
//! planner and the graph.

use crate::{
    event::LoadId,
    fhir::{
        reference::{is_address, is_id},
        request::RequestUrl,
        types::is_known_type,
    },
    manifest::{LoadSettings, Missing},
    plan::{Action, Planner, Reason, ReasonCode, Step, graph::Graph, hash, text::plural},
    record::{Operation, StepId},
    source::{BundleStart, Found, Malformed, SourceFile},
    target::{self, Endpoint, Facts},
};
use bundle::Bundle;
use keys::{ResourceKeys, base_of};
use names::Names;

mod bundle;
mod condition;
mod entry;
mod keys;
mod left_out;
mod names;

/// Decides about the resources of a plan, one after the other.
#[derive(Debug, Default)]
pub(super) struct Resources {
    bundle: Option<Bundle>,
    names: Names,
    /// The base under which the target of the load is known.
    base: Option<String>,
    /// Entries whose `ifNoneExist` is not in the standard's form: how many, and the first.
    fronts: Option<(u64, String)>,
}

impl Resources {
    /// Goes on to the load that the planner has gone on to.
    pub(super) fn load(&mut self, planner: &Planner<'_>) {
        let target = planner.target();
        let endpoint = target.and_then(|target| Endpoint::of(&target.settings, None).ok());
        self.base = endpoint.map(|endpoint| endpoint.base.to_string());
    }

    /// Takes a record into the graph.
    pub(super) fn name(
        &mut self,
        graph: &mut Graph,
        load: LoadId,
        settings: &LoadSettings,
        found: &Found<'_>,
    ) -> u32 {
        self.names.record(graph, load, settings, found)
    }

    /// Begins a Bundle; the records that follow are its entries.
    pub(super) fn bundle_start(
        &mut self,
        planner: &mut Planner<'_>,
        file: &SourceFile,
        start: &BundleStart,
    ) {
        self.names.bundle_start(start);
        self.bundle = Some(Bundle::begin(planner, file, start));
    }

    /// Ends a Bundle: what waited goes out.
    pub(super) fn bundle_end(&mut self, planner: &mut Planner<'_>, graph: &mut Graph) {
        self.names.bundle_end(graph);
        if let Some(bundle) = self.bundle.take() {
            bundle.end(planner);
        }
    }

    /// Takes note of bytes that are no record: a transaction is all or nothing.
    pub(super) fn malformed(&mut self, planner: &mut Planner<'_>, malformed: &Malformed) {
        if let Some(bundle) = &mut self.bundle {
            let reason = Planner::why_malformed(malformed);
            bundle.refuse(planner, malformed.position.entry, &reason);
        }
    }

    /// Says what there is to say of all of them.
    pub(super) fn finish(self, planner: &mut Planner<'_>) {
        if let Some((count, first)) = self.fronts {
            planner.warn(format!(
                "{} whose ifNoneExist begins with `Type?` or `?` (the first is {first}): what follows that is sent, as the standard has it",
                plural(count, "entry").replace("entrys", "entries")
            ));
        }
    }

    /// Decides about a record.
    pub(super) fn record(&mut self, planner: &mut Planner<'_>, found: &Found<'_>) {
        match found.entry {
            Some(entry) if self.is_executed() => self.entry(planner, found, entry),
            Some(entry) => {
                if let Some(refused) = self.refused() {
                    refuse(planner, found, refused);
                } else if entry.resource.is_none() {
                    refuse(
                        planner,
                        found,
                        Reason::new(ReasonCode::NoResource, "the entry holds no resource"),
                    );
                } else {
                    Self::single(planner, found);
                }
            }
            None => Self::single(planner, found),
        }
    }

    /// Decides about a record that travels by itself.
    fn single(planner: &mut Planner<'_>, found: &Found<'_>) {
        match judge(planner, found) {
            Ok(interaction) => {
                if let Some(reason) = too_large(planner, found) {
                    return refuse(planner, found, reason);
                }
                let step = step(planner, found, Action::Send(interaction));
                planner.push(step, planner.current());
            }
            Err(reason) => refuse(planner, found, reason),
        }
    }
}

/// Says of a resource that the target takes none as large, whatever it travels in.
fn too_large(planner: &Planner<'_>, found: &Found<'_>) -> Option<Reason> {
    let limit = planner.facts().limits.resource_bytes?;
    let length = found.body().length;
    let message = || format!("it has {length} bytes, and the target takes {limit}");
    (length > limit).then(|| Reason::new(ReasonCode::TooLarge, message()))
}

/// Returns what is done with a resource on its own, or why nothing can be.
fn judge(planner: &Planner<'_>, found: &Found<'_>) -> Result<Operation, Reason> {
    let kind = found
        .resource_type()
        .ok_or_else(|| Reason::new(ReasonCode::NoType, "it has no resourceType"))?;
    check_type(planner.facts(), &kind)?;
    let load = planner.settings();
    let interaction = load.interaction.unwrap_or(Operation::Create);
    match interaction {
        Operation::Update => match found.id() {
            Some(id) if is_id(&id) => Ok(interaction),
            Some(_) => Err(Reason::new(
                ReasonCode::BadId,
                "its id is not one that FHIR allows",
            )),
            None => Err(Reason::new(
                ReasonCode::NoId,
                "an update needs an id, and it has none that is text",
            )),
        },
        Operation::ConditionalCreate | Operation::ConditionalUpdate => {
            let identifiers = found.scanned.identifiers_of(found.bytes);
            let pairs = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
            let has = target::fhir::criteria(&load.identity, &kind, &pairs).is_some();
            match (has, load.identity.missing) {
                (true, _) => Ok(interaction),
                (false, Missing::Create) => Ok(Operation::Create),
                (false, Missing::Refuse) => Err(Reason::new(
                    ReasonCode::NoIdentifier,
                    "it has no identifier of a system that `identity` names for its type",
                )),
            }
        }
        other => Ok(other),
    }
}

fn check_type(facts: &Facts, kind: &str) -> Result<(), Reason> {
    if facts.takes(kind) {
        return Ok(());
    }
    Err(match (is_known_type(kind), &facts.types) {
        (true, Some(_)) => Reason::new(
            ReasonCode::TypeNotTaken,
            "the target does not take its type",
        ),
        (true, None) => Reason::new(
            ReasonCode::UnknownType,
            "its resourceType is not one of FHIR R4's",
        ),
        (false, _) => Reason::new(
            ReasonCode::UnknownType,
            "its resourceType is not one of FHIR's",
        ),
    })
}

fn step(planner: &Planner<'_>, found: &Found<'_>, action: Action) -> Step {
    let facts = planner.facts();
    let is_type = |kind: &str| is_known_type(kind) || facts.takes(kind);
    let of_url = || {
        let entry = found.entry?;
        let url = entry.envelope.request?.url?.text(entry.bytes);
        Some(RequestUrl::read(&url).kind.to_owned())
    };
    let full_url = || {
        let entry = found.entry?;
        let url = entry.envelope.full_url?.text(entry.bytes).into_owned();
        is_address(&url, is_type).then_some(url)
    };
    Step {
        number: StepId(0),
        load: planner.load_id(),
        position: found.position,
        body: found.body(),
        // A carrier of a patch is no resource of the store.
        kind: found
            .resource_type()
            .filter(|_| action.operation() != Some(Operation::Patch))
            .map(std::borrow::Cow::into_owned)
            .or_else(of_url)
            .filter(|kind| is_type(kind))
            .unwrap_or_default(),
        id: found
            .id()
            .filter(|id| is_id(id))
            .map(std::borrow::Cow::into_owned),
        full_url: full_url(),
        hash: match (&action, found.entry) {
            (Action::Entry(_), Some(entry)) => hash(entry.bytes),
            (Action::Send(_), _) | (Action::Entry(_), None) => hash(found.bytes),
            _ => 0,
        },
        action,
        links: Vec::new(),
        first: None,
    }
}

fn refuse(planner: &mut Planner<'_>, found: &Found<'_>, reason: Reason) {
    let step = step(planner, found, Action::Unsupported(reason));
    planner.push(step, planner.current());
}

/// Takes the names under which an earlier run's record is held at the target of a load, `Type/id` and `fullUrl`, and what it
/// became.
pub(super) fn know(
    graph: &mut Graph,
    load: LoadId,
    source: Option<&str>,
    url: Option<&str>,
    assigned: &str,
) {
    let Some(target) = graph.look(load).map(|look| look.target) else {
        return;
    };
    let base = url.and_then(base_of);
    let base = base.filter(|base| graph.base(target) != Some(base));
    for name in source.into_iter().chain(url) {
        let keys = ResourceKeys(graph.keys());
        let (key, base) = match name.split_once('/') {
            Some((kind, id)) if is_id(id) && !kind.contains(':') => {
                (keys.resource(target, kind, id), base)
            }
            // An address means one record, from wherever it is referred to.
            _ => (keys.url(target, name), None),
        };
        graph.know(key, base, assigned);
    }
}
