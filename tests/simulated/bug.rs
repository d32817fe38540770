//! What is Stoker's own fault is told as such, and not blamed on plan, source or disk.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use rand::{SeedableRng, rngs::SmallRng};
use stoker::{
    gate::{Fault, Transport},
    send::{self, Earlier},
};

use super::pipeline::{Settled, case, plan};

/// Has a bug.
#[derive(Debug)]
struct Panics;

impl Transport for Panics {
    fn call(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async { panic!("Plantedname") })
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_ends_the_run_as_an_internal_error() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(&mut SmallRng::seed_from_u64(1), true);
    let planned = plan(&case, folder.path());
    let setup = planned.setup(
        Arc::new(Panics),
        Arc::new(Settled::default()),
        Earlier::default(),
    );
    let error = send::run(setup).await.unwrap_err();
    assert!(matches!(error, send::Error::Internal(_)), "{error:?}");
    assert!(!error.to_string().contains("Plantedname"));
}
