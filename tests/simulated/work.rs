//! Pieces of work for the gate, which check how they are treated.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use stoker::gate::{
    BuildError, ByteBudget, BytePermit, Cost, Exchange, Fault, Moment, Safety, Verdict, verdict,
};

use super::store::{OPERATIONS, WORK};

/// A record or Bundle whose body can be read again.
pub(super) struct Work {
    pub(super) number: usize,
    pub(super) safety: Safety,
    pub(super) operations: u32,
    pub(super) size: u64,
    pub(super) url: &'static str,
    pub(super) moments: Vec<Moment>,
    budget: Arc<ByteBudget>,
    body: Option<(BytePermit, Bytes)>,
}

impl Work {
    pub(super) fn new(number: usize, size: u64, budget: &Arc<ByteBudget>) -> Self {
        Self {
            number,
            safety: Safety::Once,
            operations: 1,
            size,
            url: "https://store.example/fhir/Patient",
            moments: Vec::new(),
            budget: Arc::clone(budget),
            body: None,
        }
    }

    /// Lets go of the body once all is over.
    pub(super) fn let_go(&mut self) {
        self.body = None;
    }

    /// The waits between its attempts.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.moments
            .iter()
            .filter_map(|moment| match moment {
                Moment::Retrying { after } => Some(*after),
                _ => None,
            })
            .collect()
    }
}

impl Exchange for Work {
    fn safety(&self) -> Safety {
        self.safety
    }

    fn cost(&self) -> Cost {
        Cost {
            operations: self.operations,
            bytes: self.size,
        }
    }

    async fn unpark(&mut self) -> Result<(), BuildError> {
        if self.body.is_none() {
            let permit = self.budget.acquire(self.size).await;
            let length = usize::try_from(self.size).unwrap();
            self.body = Some((permit, Bytes::from(vec![b'.'; length])));
        }
        Ok(())
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        let (_, body) = self.body.as_ref().expect("no build without a body");
        let request = Request::post(self.url)
            .header(WORK, self.number.to_string())
            .header(OPERATIONS, self.operations.to_string());
        Ok(request.body(body.clone()).unwrap())
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        // A Bundle answered 207 has half of its entries settled.
        if let Ok(response) = &answer
            && response.status() == 207
            && self.operations > 1
        {
            self.operations = self.operations.div_ceil(2);
            return Verdict::Partial {
                after: None,
                brake: true,
            };
        }
        verdict::classify(self.safety, answer.as_ref(), jiff::Timestamp::now())
    }

    fn park(&mut self) {
        assert!(self.body.take().is_some(), "parked once");
    }

    fn observe(&mut self, moment: Moment) {
        self.moments.push(moment);
    }
}
