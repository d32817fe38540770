//! The stores from which records are read back, or deleted: how many go in one request, and whether they are there at all.

use std::{collections::HashMap, sync::Arc};

use super::{Error, connect, connect::Connection, observed::Observed};
use crate::{
    emulator,
    gate::AnswerBudget,
    lookup::{OpenStore, StoreWays, Watch},
    manifest::{Format, Store as Settings, TargetSettings},
    plan::PlanHeader,
    target::Facts,
};

/// Connects to targets; a local store that is not there is not made.
pub(super) async fn connect(
    header: &PlanHeader,
    names: &[&str],
) -> Result<HashMap<String, Connection>, Error> {
    let answers = Arc::new(AnswerBudget::of_memory(header.run.memory.0));
    let mut connections = HashMap::new();
    for name in names {
        let settings = settings(header, name)?;
        let is_there = match &settings.store {
            Settings::Local { dir, .. } => emulator::is_there(dir),
            _ => true,
        };
        if is_there {
            let connection = connect::connect(settings, &answers).await?;
            connections.insert((*name).to_owned(), connection);
        }
    }
    Ok(connections)
}

/// Returns the stores of targets; none of one that is not there. `circle` is how many records are deleted together at the most.
pub(super) async fn of(
    header: &PlanHeader,
    names: &[&str],
    connections: &HashMap<String, Connection>,
    circle: u32,
    observed: &Observed,
) -> Result<HashMap<String, Option<OpenStore>>, Error> {
    let mut stores = HashMap::new();
    for name in names {
        let store = match connections.get(*name) {
            Some(connection) => {
                let settings = settings(header, name)?;
                store(settings, connection, circle, observed.watch(name)).await?
            }
            None => None,
        };
        stores.insert((*name).to_owned(), store);
    }
    Ok(stores)
}

async fn store(
    settings: &TargetSettings,
    connection: &Connection,
    circle: u32,
    watch: Watch,
) -> Result<Option<OpenStore>, Error> {
    let facts = connection.facts().await?;
    if facts.missing {
        return Ok(None);
    }
    let (batch, transaction) = sizes(&facts, settings);
    // The rate keeps room for the largest request, so none is foreseen that does not come.
    let circle = if circle <= transaction { circle } else { 0 };
    let link = connection.link(batch.max(circle))?;
    Ok(Some(OpenStore {
        gate: link.gate,
        target: link.target,
        batch: batch as usize,
        transaction: transaction as usize,
        requests: link.slots as usize,
        checks_references: facts.integrity,
        ways: StoreWays::default(),
        watch,
    }))
}

fn settings<'a>(header: &'a PlanHeader, name: &str) -> Result<&'a TargetSettings, Error> {
    let mut targets = header.targets.iter();
    let target = targets.find(|target| target.settings.name == name);
    let target = target.map(|target| &target.settings);
    target.ok_or_else(|| Error::internal(format!("the plan has no target `{name}`")))
}

/// The number of records that are read or deleted in one batch: as many as are loaded in one.
const BATCH: u32 = 50;

/// The most entries of a transaction that deletes: Google's limit.
const MOST: u32 = 4_500;

/// Returns how many records a batch and a transaction may have; 1 and 0 where the target executes none.
fn sizes(facts: &Facts, settings: &TargetSettings) -> (u32, u32) {
    if settings.store.format() != Format::Fhir {
        return (1, 0);
    }
    let batch = match facts.batch {
        Some(true) => BATCH
            .min(facts.limits.batch_entries.unwrap_or(BATCH))
            .min(settings.rate_entries().unwrap_or(BATCH)),
        _ => 1,
    };
    // A circle goes as a whole or not at all: it may take half a window of the rate.
    let transaction = if facts.transaction == Some(false) {
        0
    } else {
        let rate = settings.rate.map_or(MOST, |rate| rate.amount.get() / 2);
        let limit = facts.limits.transaction_entries.unwrap_or(MOST);
        limit.min(rate).min(MOST)
    };
    (batch.max(1), transaction)
}
