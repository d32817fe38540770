//! Writes down what became of records, and then tells those who watch and those who wait: durable first (design §3).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Error, RunContext,
    dependencies::{Cause, DependencyTracker, StoredId},
};
use crate::{
    event::{Event, LoadId},
    journal::Settlement,
    record::Outcome,
};

/// The largest number of settlements that are written together.
const SETTLED_TOGETHER: usize = 256;

/// The settlement of a record, with the facts that watchers and dependent records want of it.
pub(super) struct RecordResult {
    pub(super) settlement: Settlement,
    pub(super) bytes: u64,
    pub(super) kind: String,
    /// The id in the file, under which an update keeps it.
    pub(super) own_id: Option<String>,
    /// The cause told to records that need this one, where it did not arrive, or nobody knows under which id.
    pub(super) cause: Option<Arc<Cause>>,
    /// Held until it is written down.
    pub(super) intent: Option<OwnedSemaphorePermit>,
}

/// Writes down what became of records, as many together as have come, and tells those who watch and those who wait.
pub(super) async fn commit_all(
    setup: Arc<RunContext>,
    dependencies: Option<Arc<DependencyTracker>>,
    load: LoadId,
    mut settled: mpsc::Receiver<Vec<RecordResult>>,
) -> Result<(), Error> {
    let mut batch = Vec::new();
    // Those that are ready go first: what they bring is written together, and nobody has to be woken for each.
    while settled.recv_many(&mut batch, SETTLED_TOGETHER).await > 0 {
        let mut settlements = Vec::with_capacity(batch.len());
        let mut told = Vec::with_capacity(batch.len());
        let mut intents = Vec::new();
        for told_of in batch.drain(..).flatten() {
            intents.extend(told_of.intent);
            let line = &told_of.settlement.line;
            let id = line.id.clone();
            let stood =
                (line.outcome == Outcome::Pending && id.is_some()).then(|| StoredId::of(line));
            told.push((
                line.record,
                stood,
                line.outcome,
                told_of.bytes,
                id.or(told_of.own_id).map(|id| (told_of.kind, id)),
                told_of.cause,
            ));
            settlements.push(told_of.settlement);
        }
        if let Err(error) = setup.ledger.settle(settlements).await {
            setup.stop.fail();
            return Err(error.into());
        }
        drop(intents);
        for (record, stood, outcome, bytes, resource, cause) in told {
            if let (Some(stood), Some((kind, id)), Some(dependencies)) =
                (stood, &resource, &dependencies)
            {
                dependencies.mark_partial(record, kind, id, stood);
                continue;
            }
            setup.observe.observe(&Event::Settled {
                load,
                outcome,
                bytes,
            });
            let Some(dependencies) = &dependencies else {
                continue;
            };
            match (resource, cause) {
                (Some((kind, id)), None) => dependencies.mark_stored(record, &kind, &id),
                // Not tried: the run is stopping, and a later session goes on with those who wait.
                _ if outcome == Outcome::Pending => {}
                (_, cause) => {
                    let unnamed = || Arc::new(Cause::unnamed(record));
                    dependencies.mark_failed(record, &cause.unwrap_or_else(unnamed));
                }
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
