//! A request that may be repeated, on its way through the gate.

use bytes::Bytes;
use http::{Request, Response};

use super::{Error, Store};
use crate::gate::{BuildError, Cost, Exchange, Fault, Moment, Safety, Verdict, verdict};

struct Errand {
    request: Request<Bytes>,
    operations: u32,
    answer: Option<Response<Bytes>>,
}

impl Exchange for Errand {
    fn safety(&self) -> Safety {
        Safety::Idempotent
    }

    fn cost(&self) -> Cost {
        Cost {
            operations: self.operations,
            bytes: self.request.body().len() as u64,
        }
    }

    async fn unpark(&mut self) -> Result<(), BuildError> {
        Ok(())
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        Ok(self.request.clone())
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let verdict =
            verdict::classify(Safety::Idempotent, answer.as_ref(), jiff::Timestamp::now());
        self.answer = answer.ok();
        verdict
    }

    fn park(&mut self) {}

    fn observe(&mut self, _: Moment) {}
}

impl Store {
    /// Sends a request for so many records, as often as the gate lets it be tried. None is returned where no answer came that
    /// tells.
    ///
    /// # Errors
    ///
    /// When the target is down, or does not take the credentials.
    pub(super) async fn ask(
        &self,
        request: Request<Bytes>,
        records: usize,
    ) -> Result<Option<Response<Bytes>>, Error> {
        let mut errand = Errand {
            request,
            operations: u32::try_from(records).unwrap_or(u32::MAX),
            answer: None,
        };
        let concluded = self.gate.carry(&mut errand).await;
        match concluded.verdict {
            Verdict::Done | Verdict::Rejected => Ok(errand.answer),
            Verdict::Stop(reason) => Err(Error::Target {
                target: self.gate.name().to_owned(),
                hint: reason.hint(),
                what: reason.to_string(),
            }),
            _ => Ok(None),
        }
    }
}
