//! Reads and deletions, which may be repeated, on their way through the gate: several records in one request where the store
//! takes that.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};

use crate::{
    event::{Event, LoadId, Observe, Unobserved},
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
    /// True where it refuses to delete what others refer to, and false where it does not; none where nobody knows.
    pub checks_references: Option<bool>,
    /// The ways of the store that were found out on the way.
    pub ways: StoreWays,
    /// Those who are told of the requests.
    pub watch: Watch,
}

/// Those who watch the requests to a store.
#[derive(Debug, Clone)]
pub struct Watch {
    /// They.
    pub observe: Arc<dyn Observe>,
    /// The number under which the store's requests are counted.
    pub load: LoadId,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            observe: Arc::new(Unobserved),
            load: LoadId(0),
        }
    }
}

impl Watch {
    fn tell(&self, moment: &Moment) {
        let load = self.load;
        self.observe.observe(&match *moment {
            Moment::Sent { bytes } => Event::Sent { load, bytes },
            Moment::Answered {
                status,
                is_refused,
                latency,
                bytes,
            } => Event::Answered {
                load,
                status,
                is_refused,
                latency,
                bytes,
            },
            Moment::Retrying { after } => Event::Retrying { load, after },
        });
    }
}

/// The ways of a store that were found out while its records were deleted.
#[derive(Debug, Default)]
pub struct StoreWays {
    /// The kinds of records that it answers for: a miss of one is a miss of the record, and not of the address.
    kinds: Mutex<HashSet<String>>,
    /// It refuses deletions that name a version, though it has that very version.
    refuses_versions: AtomicBool,
    /// Deletions in a row that it gave no answer to, however often they were tried.
    unanswered: AtomicU32,
}

impl StoreWays {
    /// Takes note that the store answers for a kind.
    pub fn note_kind(&self, kind: &str) {
        if !self.knows(kind) {
            self.kinds().insert(kind.to_owned());
        }
    }

    /// Tells whether the store answers for a kind.
    pub fn knows(&self, kind: &str) -> bool {
        self.kinds().contains(kind)
    }

    /// Takes note that the store takes no deletion that names a version.
    pub fn note_refuses_versions(&self) {
        self.refuses_versions.store(true, Ordering::Relaxed);
    }

    /// Tells whether that was noted.
    pub fn refuses_versions(&self) -> bool {
        self.refuses_versions.load(Ordering::Relaxed)
    }

    /// Takes note whether an answer came to a deletion. Returns how many in a row had none.
    fn note_answer(&self, came: bool) -> u32 {
        if came {
            self.unanswered.store(0, Ordering::Relaxed);
            0
        } else {
            self.unanswered.fetch_add(1, Ordering::Relaxed) + 1
        }
    }

    /// Returns how often anything is tried at the most: less often where the deletions before it were not answered.
    fn attempts(&self) -> Option<u32> {
        const FEW: u32 = 2;
        const UNANSWERED: u32 = 3;
        (self.unanswered.load(Ordering::Relaxed) >= UNANSWERED).then_some(FEW)
    }

    fn kinds(&self) -> MutexGuard<'_, HashSet<String>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
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

struct Errand<'a> {
    watch: &'a Watch,
    request: Request<Bytes>,
    operations: u32,
    attempts: Option<u32>,
    answer: Option<Response<Bytes>>,
}

impl Exchange for Errand<'_> {
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

    fn attempts(&self) -> Option<u32> {
        self.attempts
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let now = jiff::Timestamp::now();
        let verdict = verdict::classify(Safety::Idempotent, answer.as_ref(), now);
        self.answer = answer.ok();
        verdict
    }

    fn park(&mut self) {}

    fn observe(&mut self, moment: Moment) {
        self.watch.tell(&moment);
    }
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
    at_most(gate, request, records, None, &Watch::default()).await
}

/// As [`errand`], tried this often at the most.
async fn at_most(
    gate: &Gate,
    request: Request<Bytes>,
    records: usize,
    attempts: Option<u32>,
    watch: &Watch,
) -> Result<Option<Response<Bytes>>, Silent> {
    let mut errand = Errand {
        watch,
        request,
        operations: u32::try_from(records).unwrap_or(u32::MAX),
        attempts,
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

/// The number of deletions without an answer, with none answered between, after which no more are sent.
const GIVEN_UP: u32 = 100;

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
        at_most(&self.gate, request, records, None, &self.watch).await
    }

    /// Sends the deletion of a record: see [`errand`]. It is tried less often where none of those before was answered.
    ///
    /// # Errors
    ///
    /// When the target is down, does not take the credentials, or answers no deletion.
    pub async fn ask_to_delete(
        &self,
        request: Request<Bytes>,
    ) -> Result<Option<Response<Bytes>>, Silent> {
        let answer = at_most(&self.gate, request, 1, self.ways.attempts(), &self.watch).await?;
        if self.ways.note_answer(answer.is_some()) <= GIVEN_UP {
            return Ok(answer);
        }
        Err(Silent {
            target: self.gate.name().to_owned(),
            what: format!(
                "it failed at {GIVEN_UP} deletions in a row, however often they were tried"
            ),
            hint: Some("look into the server's log".to_owned()),
        })
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
        let attempts = self.ways.attempts();
        let answer = at_most(&self.gate, request, names.len(), attempts, &self.watch).await?;
        let Some(answer) = answer else {
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
