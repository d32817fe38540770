//! Whole layers in virtual time, against stores in memory, over many seeds.
//!
//! `STOKER_SEEDS` chooses how many instead of the usual number, which is one that takes seconds:
//!
//! ```text
//! STOKER_SEEDS=20000 cargo test --release --test tests simulated
//! ```
//!
//! A range, such as `1122..1123`, repeats those that failed.

mod attempts;
mod bug;
mod company;
mod crash;
mod doubt;
mod fhir_store;
mod gone;
mod lookups;
mod pacing;
mod pipeline;
mod replaced;
mod speed;
mod store;
mod trouble;
mod work;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use stoker::{
    auth::{self, Credentials},
    gate::{ByteBudget, Conclusion, Gate, GateSettings},
    manifest::{Concurrency, Retry},
};

use self::{store::Store, work::Work};

fn settings() -> GateSettings {
    GateSettings {
        name: "clinic".to_owned(),
        slots: Concurrency::fixed(8),
        rate: None,
        bytes_rate: None,
        retry: Retry {
            attempts: 5,
            base: Duration::from_millis(500),
            max: Duration::from_secs(32),
        },
        give_up_after: Duration::from_mins(10),
        largest_request: 1,
        quota_project: None,
        seed: Some(0),
    }
}

/// Nobody asks who we are.
#[derive(Debug)]
struct Nobody;

impl Credentials for Nobody {
    fn header(
        &self,
    ) -> futures::future::BoxFuture<'_, Result<Option<http::HeaderValue>, auth::Error>> {
        Box::pin(async { Ok(None) })
    }

    fn refused(&self) -> bool {
        false
    }
}

/// The seeds with which a simulation is repeated.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let given = std::env::var("STOKER_SEEDS").ok();
    let number = |text: &str| text.parse().expect("STOKER_SEEDS is a number or a range");
    match given.as_deref().map(|given| given.split_once("..")) {
        None => 0..usual,
        Some(Some((first, end))) => number(first)..number(end),
        Some(None) => 0..given.as_deref().map_or(usual, number),
    }
}

fn gate(store: &Arc<Store>, settings: &GateSettings) -> Gate {
    gate_with(store, Arc::new(Nobody), settings)
}

fn gate_with(
    store: &Arc<Store>,
    credentials: Arc<dyn Credentials>,
    settings: &GateSettings,
) -> Gate {
    let base = "https://store.example/fhir/".parse().unwrap();
    Gate::new(Arc::clone(store) as _, credentials, settings, &base).unwrap()
}

/// Carries so many pieces of work at once, each set up by `prepare`.
async fn carry_all(
    gate: &Gate,
    budget: &Arc<ByteBudget>,
    count: usize,
    size: u64,
    prepare: impl Fn(&mut Work),
) -> Vec<(Work, Conclusion)> {
    let prepare = &prepare;
    join_all((0..count).map(|number| async move {
        let mut work = Work::new(number, size, budget);
        prepare(&mut work);
        let conclusion = gate.execute(&mut work).await;
        work.let_go();
        (work, conclusion)
    }))
    .await
}
