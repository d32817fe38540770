//! Tells those who watch of work that carries no load: for each target its requests, and what became of its records.

use std::{collections::HashMap, sync::Arc};

use crate::{
    event::{Event, LoadId, LoadPlanned, Observe, SettledBefore, Unobserved},
    journal::Removal,
    lookup::{OpenStore, Watch},
    send::verify::{Audience, Verification},
    unload::Done,
};

/// Those who watch, and the targets in the order in which they are counted.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    observe: Arc<dyn Observe>,
    targets: Vec<String>,
}

impl Audience for Observed {
    fn found(&self, target: &str, what: Verification, records: u64) {
        Self::found(self, target, what.as_str(), records);
    }
}

impl Done for Observed {
    fn done(&self, target: &str, outcome: Removal) {
        Self::found(self, target, outcome.as_str(), 1);
    }
}

impl Observed {
    /// Begins to tell of work on the records of targets: the name of each, and how many there are.
    pub(super) fn begin(observe: Arc<dyn Observe>, targets: Vec<(String, u64)>) -> Self {
        let planned = targets.iter().map(|(target, records)| LoadPlanned {
            name: String::new(),
            target: target.clone(),
            records: *records,
            bytes: 0,
            after: Vec::new(),
            before: SettledBefore::default(),
        });
        let loads = planned.collect();
        observe.observe(&Event::Started { loads });
        Self {
            observe,
            targets: targets.into_iter().map(|(target, _)| target).collect(),
        }
    }

    /// Nobody watches.
    pub(super) fn nobody() -> Self {
        Self {
            observe: Arc::new(Unobserved),
            targets: Vec::new(),
        }
    }

    fn load(&self, target: &str) -> LoadId {
        let at = self.targets.iter().position(|name| name == target);
        let at = at.and_then(|at| u32::try_from(at).ok());
        // One that was not announced is counted nowhere.
        LoadId(at.unwrap_or(u32::MAX))
    }

    /// Returns what is told of the requests to a target.
    pub(super) fn watch(&self, target: &str) -> Watch {
        Watch {
            observe: Arc::clone(&self.observe),
            load: self.load(target),
        }
    }

    /// Tells what was found of records of a target, or done to them.
    pub(super) fn found(&self, target: &str, outcome: &'static str, records: u64) {
        self.observe.observe(&Event::LookedAfter {
            load: self.load(target),
            outcome,
            records,
        });
    }

    /// Tells how the ways to the stores are just now.
    pub(super) fn sample(&self, stores: &HashMap<String, Option<OpenStore>>) {
        for (name, store) in stores {
            if let Some(store) = store {
                self.observe.observe(&Event::Target {
                    name: name.clone(),
                    state: store.gate.state(),
                });
            }
        }
    }

    /// Tells that nothing is asked any more.
    pub(super) fn finish(&self) {
        self.observe.observe(&Event::Finished);
    }
}
