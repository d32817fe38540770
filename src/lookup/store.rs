//! Reads and deletions, which may be repeated, on their way through the gate: several records in one request where the store
//! takes that.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{
    gate::{BuildError, Cost, Exchange, Fault, Gate, Moment, Safety, Verdict, verdict},
    target::{Named, Target},
};

/// A store whose records are read back, or deleted.
#[derive(Debug)]
pub struct OpenStore {
    /// The way to the store.
    pub gate: Arc<Gate>,
    /// The target, which writes requests and reads answers as the store understands them.
    pub target: Arc<dyn Target>,
    /// The highest number of records that are read, or deleted, in one request; 1 where each has one of its own.
    pub batch: usize,
    /// The highest number of records that are deleted all or none; 0 where it executes no transactions.
    pub transaction: usize,
    /// The highest number of requests under way at a time.
    pub requests: usize,
    /// The kinds of records that it is known to answer for.
    pub known: KnownKinds,
}

/// The kinds of records that a store is known to answer for: a miss of one is a miss of the record, and not of the address.
#[derive(Debug, Default)]
pub struct KnownKinds(Mutex<HashSet<String>>);

impl KnownKinds {
    /// Takes note of a kind.
    pub fn add(&self, kind: &str) {
        if !self.has(kind) {
            self.kinds().insert(kind.to_owned());
        }
    }

    /// Tells whether a kind is known.
    pub fn has(&self, kind: &str) -> bool {
        self.kinds().contains(kind)
    }

    fn kinds(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why a target gives no answers any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target `{target}`: {what}")]
pub struct Silent {
    /// The target's name in the manifest.
    pub target: String,
    /// The failure.
    pub what: String,
    /// The advice.
    pub hint: Option<String>,
}

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
        let now = jiff::Timestamp::now();
        let verdict = verdict::classify(Safety::Idempotent, answer.as_ref(), now);
        self.answer = answer.ok();
        verdict
    }

    fn park(&mut self) {}

    fn observe(&mut self, _: Moment) {}
}

/// Sends a request for `records` that may be repeated, under the rate and within the slots of what is loaded, as often as
/// the gate lets it be tried. None is returned where no answer came that tells.
///
/// # Errors
///
/// When the target is down, or does not take the credentials.
pub async fn errand(
    gate: &Gate,
    request: Request<Bytes>,
    records: usize,
) -> Result<Option<Response<Bytes>>, Silent> {
    let mut errand = Errand {
        request,
        operations: u32::try_from(records).unwrap_or(u32::MAX),
        answer: None,
    };
    let concluded = gate.execute(&mut errand).await;
    match concluded.verdict {
        Verdict::Done | Verdict::Rejected => Ok(errand.answer),
        Verdict::Stop(reason) => Err(Silent {
            target: gate.name().to_owned(),
            hint: reason.hint(),
            what: reason.to_string(),
        }),
        _ => Ok(None),
    }
}

impl OpenStore {
    /// Sends a request for `records`: see [`errand`].
    ///
    /// # Errors
    ///
    /// When the target is down, or does not take the credentials.
    pub async fn ask(
        &self,
        request: Request<Bytes>,
        records: usize,
    ) -> Result<Option<Response<Bytes>>, Silent> {
        errand(&self.gate, request, records).await
    }

    /// Sends one request for several records; none is returned of those that have to be asked about by themselves.
    ///
    /// # Errors
    ///
    /// As for [`OpenStore::ask`].
    pub async fn in_one(
        &self,
        names: &[Named<'_>],
        request: Request<Bytes>,
    ) -> Result<Vec<Option<Response<Bytes>>>, Silent> {
        let nothing = vec![None; names.len()];
        let Some(answer) = self.ask(request, names.len()).await? else {
            return Ok(nothing);
        };
        if !answer.status().is_success() {
            return Ok(nothing);
        }
        // Records of an unreadable answer are asked for once more, one by one.
        let mut answers = self.target.apart(names, &answer).unwrap_or(nothing);
        for answer in &mut answers {
            // A status that speaks of the moment only.
            let passes = |answer: &Response<Bytes>| {
                matches!(answer.status().as_u16(), 401 | 408 | 425 | 429 | 500..)
            };
            if answer.as_ref().is_some_and(passes) {
                *answer = None;
            }
        }
        Ok(answers)
    }

    /// Reads records, together where the store takes that. A record that the answer does not tell of is read by itself,
    /// by `single`; none is returned where no answer came that tells.
    ///
    /// # Errors
    ///
    /// As for [`OpenStore::ask`].
    pub async fn read(
        &self,
        names: &[Named<'_>],
        single: &(dyn Fn(usize) -> Request<Bytes> + Sync),
    ) -> Result<Vec<Option<Response<Bytes>>>, Silent> {
        let mut answers = vec![None; names.len()];
        if self.batch > 1
            && names.len() > 1
            && let Some(request) = self.target.read_all(names)
        {
            answers = self.in_one(names, request).await?;
        }
        for (at, answer) in answers.iter_mut().enumerate() {
            if answer.is_none() {
                *answer = self.ask(single(at), 1).await?;
            }
        }
        Ok(answers)
    }
}
