//! The last stage of a dry run: a transport that sends nothing that writes.
//!
//! Everything before it is what a load does. A write is answered as by a store that takes everything, with ids made up, so that
//! what refers to its records can be built too; a read goes out as it would in a load, because what it finds decides what
//! is sent. Of a store that is yet to be made nothing can be read: it is empty.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};

use crate::{
    gate::{CallFailure, Fault, FaultKind, Gate, Transport},
    target::Target,
};

/// A transport that sends reads only.
#[derive(Debug)]
pub struct DryRunTransport {
    /// The way of the reads; none where the store does not exist yet.
    reads: Option<Arc<Gate>>,
    /// The store whose answers are made up.
    target: Arc<dyn Target>,
}

impl DryRunTransport {
    /// Makes a dry run for a store. Reads go through `reads`, under its rate; with none the store is empty.
    pub fn new(target: Arc<dyn Target>, reads: Option<Arc<Gate>>) -> Self {
        Self { reads, target }
    }
}

impl Transport for DryRunTransport {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            if request.method() != Method::GET {
                return Ok(self.target.dry_run(&request));
            }
            match &self.reads {
                None => Ok(self.target.empty(&request)),
                Some(gate) => {
                    let read = gate.call_interactive(|| request.clone()).await;
                    read.map_err(|failure| unread(&failure))
                }
            }
        })
    }
}

/// It has been tried as often as there is a point in it.
fn unread(failure: &CallFailure) -> Fault {
    Fault::new(FaultKind::Request, failure.to_string())
}
