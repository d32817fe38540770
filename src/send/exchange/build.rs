//! Makes the request of an attempt from the bodies of its records.
//!
//! Bodies are read from the files and rewritten on threads that may wait for a disk. Those of a small request are read before
//! it holds a slot; those of a large one are read while its text is made, and bytes that are too large to be held are left
//! where they lie, to be read as they go to the wire. The text itself is the target's to write.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use super::{Batch, records::Unsent};
use crate::{
    gate::{BuildError, Exchange},
    plan::Step,
    send::{Error, work::READ_LATE},
    target::{Parcel, Unbuilt},
};

/// The reason why a large request could not be made.
enum Unmade {
    Read(Error),
    Made(Unbuilt),
}

impl Batch<'_> {
    /// Returns the parcel that travels in the request.
    pub(super) fn parcel(&self) -> Parcel<'_> {
        Parcel {
            settings: &self.load.settings,
            packaging: self.packaging,
            steps: &self.unsent.steps,
            replaces: &self.held,
            stretches: &self.unsent.stretches,
        }
    }

    /// Tells whether its bodies are read only when its text is made.
    fn is_read_late(&self) -> bool {
        self.packaging.is_some() && self.cost().bytes > READ_LATE
    }

    /// Finds where the bytes of records lie that are too large to be held, and makes sure that they are what was planned.
    pub(super) async fn find_stretches(&mut self) -> Result<(), BuildError> {
        // A target that is not known is told of where the bodies are read.
        let rewriter = &self.load.rewriter;
        let is_large = |step: &Step| rewriter.is_streamed(step).unwrap_or(false);
        let Unsent {
            steps, stretches, ..
        } = &self.unsent;
        if !stretches.is_empty() || !steps.iter().any(is_large) {
            return Ok(());
        }
        let (rewriter, steps) = (Arc::clone(rewriter), steps.clone());
        let found = tokio::task::spawn_blocking(move || rewriter.stretches(&steps));
        match found.await {
            Ok(Ok(found)) => self.unsent.stretches = found,
            Ok(Err(error)) => return Err(self.fail(error)),
            Err(error) => return Err(self.fail(Error::of_task(&error))),
        }
        Ok(())
    }

    /// Takes the memory of its bodies, and reads them, unless they are read when the request is made.
    pub(super) async fn read_bodies(&mut self) -> Result<(), BuildError> {
        if !self.unsent.bodies.is_empty() {
            return Ok(());
        }
        if self.unsent.permits.is_empty() {
            let size = self.cost().bytes;
            self.unsent.permits = vec![self.load.setup.budget.acquire(size).await];
        }
        if self.is_read_late() {
            return Ok(());
        }
        let (rewriter, steps) = (Arc::clone(&self.load.rewriter), self.unsent.steps.clone());
        let together = self.is_together();
        let read = tokio::task::spawn_blocking(move || rewriter.read(&steps, together));
        match read.await {
            Ok(Ok(read)) => self.unsent.bodies = read,
            Ok(Err(error)) => return Err(self.fail(error)),
            Err(error) => return Err(self.fail(Error::of_task(&error))),
        }
        Ok(())
    }

    /// Makes the request.
    pub(super) async fn make(&mut self) -> Result<Request<Bytes>, BuildError> {
        let Unsent {
            bodies, stretches, ..
        } = &self.unsent;
        if bodies.is_empty() && self.is_read_late() || !stretches.is_empty() {
            return self.make_large().await;
        }
        let mut bodies = bodies.iter().cloned();
        let made = self.target().write(&self.parcel(), &mut bodies);
        made.map_err(|unbuilt| self.unbuilt(unbuilt))
    }

    /// Makes a large request while its bodies are read.
    async fn make_large(&mut self) -> Result<Request<Bytes>, BuildError> {
        let (load, unsent) = (self.load, &self.unsent);
        let (rewriter, steps) = (Arc::clone(&load.rewriter), unsent.steps.clone());
        let (settings, together) = (Arc::clone(&load.settings), self.is_together());
        let (target, packaging) = (Arc::clone(&load.link.target), self.packaging);
        let (replaces, stretches) = (self.held.clone(), unsent.stretches.clone());
        let made = tokio::task::spawn_blocking(move || {
            let mut failed = None;
            // At a record that cannot be read the bodies end, and the text made until then is dropped.
            let mut bodies = rewriter.each(&steps, together).map_while(|body| {
                let body = body.map_err(|error| failed = Some(error));
                body.ok()
            });
            let parcel = Parcel {
                settings: &settings,
                packaging,
                steps: &steps,
                replaces: &replaces,
                stretches: &stretches,
            };
            let made = target.write(&parcel, &mut bodies);
            drop(bodies);
            match failed {
                Some(error) => Err(Unmade::Read(error)),
                None => made.map_err(Unmade::Made),
            }
        });
        match made.await {
            Ok(Ok(request)) => Ok(request),
            Ok(Err(Unmade::Read(error))) => Err(self.fail(error)),
            Ok(Err(Unmade::Made(unbuilt))) => Err(self.unbuilt(unbuilt)),
            Err(error) => Err(self.fail(Error::of_task(&error))),
        }
    }

    /// Ends the run because of a record of which no request can be made, and names its place.
    fn unbuilt(&mut self, unbuilt: Unbuilt) -> BuildError {
        let mut steps = self.unsent.steps.iter();
        let step = steps.find(|step| Some(step.number) == unbuilt.record);
        let error = match step {
            Some(step) => {
                let place = self.load.place(step.position);
                Error::Source(format!("cannot make a request of {place}: {}", unbuilt.why))
            }
            None => Error::Internal(unbuilt.why.to_owned()),
        };
        self.fail(error)
    }
}
