//! One request on its way: a record by itself, or a Bundle with its entries.
//!
//! The gate asks for a request at every attempt and hands back what came of it. A Bundle's answer is read entry
//! by entry: what was taken is settled and never sent again, what may be tried again stays, the rest is rejected.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Error, Setup,
    doubt::Doubtful,
    dress::{Dresser, wire_span},
    earlier::Doubt,
    feed::{READ_LATE, Work},
    load::Load,
    request::{bundle_text, make},
    settle::{self, Attempted},
};
use crate::{
    event::{Event, LoadId},
    fhir::outcome,
    gate::{
        BuildError, BytePermit, Conclusion, Cost, Exchange, Fault, Moment, Safety, Verdict, verdict,
    },
    journal::Settlement,
    manifest::LoadSettings,
    plan::{BundleType, Step},
    record::{Interaction, Outcome},
    target::fhir::{Requests, accepted, entries, is_fhirs},
};

/// A request and what has become of its records so far.
pub(super) struct Batch<'a> {
    /// The records that have no outcome yet.
    steps: Vec<Step>,
    bundle: Option<BundleType>,
    /// They go together or not at all.
    atomic: bool,
    /// What goes to the wire of each of `steps`; empty while parked.
    bodies: Vec<Bytes>,
    permits: Vec<BytePermit>,
    settled: Vec<Settlement>,
    /// Attempts made, those of before its answer was lost among them.
    pub(super) attempts: u32,
    origin: &'a Load,
    load: LoadId,
    settings: Arc<LoadSettings>,
    requests: &'a Requests,
    setup: Arc<Setup>,
    dresser: Arc<Dresser>,
    on_wire: Arc<AtomicBool>,
    ready: Option<OwnedSemaphorePermit>,
    /// What the last attempt brought, for records that are given up.
    last: Last,
    /// Some attempt may have had its effect without an answer that says so.
    doubt: bool,
    /// Entries of a Bundle that was taken, of which the answer does not tell.
    doubtful: Vec<Step>,
    /// When its records were first about to be sent, where they must not be sent twice.
    pub(super) since: Option<Timestamp>,
    /// The journal holds them as about to be sent.
    is_intended: bool,
    /// One of those that may be about to be sent.
    pub(super) intent: Option<OwnedSemaphorePermit>,
    failure: Option<Error>,
}

#[derive(Debug, Default)]
struct Last {
    status: Option<u16>,
    body: Bytes,
    fault: Option<String>,
}

/// Why the text of a large Bundle could not be made.
enum Unmade {
    Read(Error),
    Made(BuildError),
}

impl From<BuildError> for Unmade {
    fn from(error: BuildError) -> Self {
        Self::Made(error)
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Concluded {
    /// What became of its records.
    pub(super) settled: Vec<Settlement>,
    /// Those of which nobody can tell without asking.
    pub(super) doubtful: Option<Doubtful>,
}

/// A Bundle that was refused as a whole.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its records.
    pub(super) steps: Vec<Step>,
    /// What went to the wire of each; empty where it has been let go.
    pub(super) bodies: Vec<Bytes>,
    /// The status.
    pub(super) status: u16,
    /// What the store said.
    pub(super) answer: Bytes,
    /// Attempts made.
    pub(super) attempts: u32,
}

impl<'a> Batch<'a> {
    pub(super) fn new(work: Work, load: &'a Load, on_wire: Arc<AtomicBool>) -> Self {
        let Work {
            steps,
            bundle,
            atomic,
            bodies,
            permits,
            blocked: _,
            stands: _,
        } = work;
        Self {
            steps,
            bundle,
            atomic,
            bodies,
            permits,
            settled: Vec::new(),
            attempts: 0,
            origin: load,
            load: load.id,
            settings: Arc::clone(&load.settings),
            requests: &load.link.requests,
            setup: Arc::clone(&load.setup),
            dresser: Arc::clone(&load.dresser),
            on_wire,
            ready: None,
            last: Last::default(),
            doubt: false,
            doubtful: Vec::new(),
            since: None,
            is_intended: false,
            intent: None,
            failure: None,
        }
    }

    /// Lets go of the permission to be made ready as soon as it waits for another attempt.
    pub(super) fn hold(&mut self, ready: Option<OwnedSemaphorePermit>) {
        self.ready = ready;
    }

    /// When a Bundle that need not stay together was refused as a whole: what is left of it, and what the store said.
    pub(super) fn refused_whole(&mut self, conclusion: &Conclusion) -> Option<Refused> {
        let is_bundle = self.bundle.is_some() && !self.atomic && self.steps.len() > 1;
        let status = self.last.status?;
        let is_refused = conclusion.verdict == Verdict::Rejected;
        if !is_bundle || !is_refused || self.failure.is_some() {
            return None;
        }
        self.withdraw();
        Some(Refused {
            steps: std::mem::take(&mut self.steps),
            bodies: std::mem::take(&mut self.bodies),
            status,
            answer: std::mem::take(&mut self.last.body),
            attempts: self.attempts,
        })
    }

    /// Settles what is left when the gate is done with it, but for what may have arrived without anybody's knowing.
    pub(super) fn conclude(mut self, conclusion: &Conclusion) -> Result<Concluded, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let attempted = Attempted {
            attempts: self.attempts,
            latency: Some(conclusion.latency),
        };
        for settled in &mut self.settled {
            settled.line.latency_us.get_or_insert_with(|| {
                u64::try_from(conclusion.latency.as_micros()).unwrap_or(u64::MAX)
            });
        }
        let left = std::mem::take(&mut self.steps);
        let Last {
            status,
            body,
            fault,
        } = std::mem::take(&mut self.last);
        let what = match (&fault, status) {
            (Some(fault), _) => fault.clone(),
            (None, Some(status)) => format!("the store answered {status}"),
            (None, None) => "no answer came".to_owned(),
        };
        let gave_up = |what: &str| match attempted.attempts {
            0 | 1 => what.to_owned(),
            attempts => format!("{what}; given up after {attempts} attempts"),
        };
        let culprit = self
            .atomic
            .then(|| outcome::entry(&outcome::read(&body)))
            .flatten()
            .filter(|&at| at < left.len() && left.len() > 1);
        let culprit = culprit.and_then(|at| Some((at, left.get(at)?.position)));
        let culprit = culprit.map(|(at, position)| {
            let file = self.setup.plan.source_name(position.source);
            (at, position.display(file).to_string())
        });
        let is_together = self.atomic && left.len() > 1;
        for (index, step) in left.into_iter().enumerate() {
            let record = step.number;
            // Given up: if it is not known to be refused, it is not known at all.
            let is_doubtful = match &conclusion.verdict {
                Verdict::Again { .. } | Verdict::Partial { .. } => self.doubt,
                verdict => *verdict == Verdict::Unknown,
            };
            if is_doubtful {
                self.doubtful.push(step);
                continue;
            }
            self.settled.push(match (&conclusion.verdict, status) {
                (Verdict::Done, Some(status)) => {
                    let interaction = step.action.interaction().unwrap_or(Interaction::Create);
                    let place = crate::target::fhir::Accepted::default();
                    settle::accepted(record, interaction, status, place, attempted)
                }
                (Verdict::Stop(reason), _) if self.may_have_been_sent(conclusion) => {
                    let doubt = Doubt {
                        since: self.since,
                        tag: self.dresser.tag(&step),
                        is_replayed: false,
                    };
                    settle::unknown(record, status, attempted, reason.to_string(), &doubt)
                }
                (Verdict::Stop(reason), _) => {
                    let reason = reason.to_string();
                    settle::told(record, Outcome::Pending, status, attempted, reason)
                }
                (_, Some(status)) => {
                    let note = match &culprit {
                        Some((at, _)) if *at == index => {
                            Some("its transaction was refused because of it".to_owned())
                        }
                        Some((_, place)) => {
                            Some(format!("its transaction was refused because of {place}"))
                        }
                        None if is_together => {
                            Some("its transaction was refused as a whole".to_owned())
                        }
                        None => (attempted.attempts > 1).then(|| gave_up(&what)),
                    };
                    let mut settled = settle::rejected(record, status, &body, attempted, note);
                    if culprit.as_ref().is_some_and(|(at, _)| *at != index) {
                        // The element is one of the other's.
                        settled.line.expression.clear();
                    }
                    settled
                }
                (_, None) => {
                    settle::told(record, Outcome::Rejected, None, attempted, gave_up(&what))
                }
            });
        }
        let doubtful = (!self.doubtful.is_empty()).then(|| Doubtful {
            steps: self.doubtful,
            bundle: self.bundle,
            atomic: self.atomic,
            since: self.since,
            status,
            attempted,
            what: gave_up(&what),
        });
        Ok(Concluded {
            settled: self.settled,
            doubtful,
        })
    }

    /// Lets go of what is left because the run is stopping. Nothing of it is on the wire, and its last attempt, if
    /// there was one, is known to have had no effect or may be repeated; so it counts as not tried.
    pub(super) fn abandon(self) -> Vec<Settlement> {
        let intended = if self.is_intended {
            self.doubtful_records()
        } else {
            Vec::new()
        };
        let mut settled = self.settled;
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        let left = self
            .steps
            .iter()
            .filter(|step| intended.contains(&step.number));
        settled.extend(left.map(|step| {
            let note = "interrupted before it was sent";
            settle::told(step.number, Outcome::Pending, None, attempted, note)
        }));
        settled
    }

    /// Tells whether its bodies are read only when its text is made.
    fn is_read_late(&self) -> bool {
        self.bundle.is_some() && self.cost().bytes > READ_LATE
    }

    /// Makes the text of a large Bundle while its bodies are read.
    async fn build_large(&mut self, bundle: BundleType) -> Result<Request<Bytes>, BuildError> {
        let (dresser, steps) = (Arc::clone(&self.dresser), self.steps.clone());
        let (settings, atomic) = (Arc::clone(&self.settings), self.atomic);
        let made = tokio::task::spawn_blocking(move || {
            let bodies = dresser.each(&steps, atomic);
            let bodies = bodies.map(|body| body.map_err(Unmade::Read));
            bundle_text(&settings, bundle, &steps, bodies)
        });
        match made.await {
            Ok(Ok(text)) => Ok(self.requests.bundle(text)),
            Ok(Err(Unmade::Read(error))) => {
                let build_error = BuildError::new(&error.to_string());
                self.failure = Some(error);
                Err(build_error)
            }
            Ok(Err(Unmade::Made(error))) => Err(error),
            Err(error) => Err(BuildError::new(&error.to_string())),
        }
    }

    fn may_have_been_sent(&self, conclusion: &Conclusion) -> bool {
        conclusion.may_have_been_sent && self.safety() == Safety::Once
    }

    /// What was sent may have been taken, and nobody can tell.
    fn not_understood(&mut self) -> Verdict {
        self.doubt = true;
        if self.safety() == Safety::Once {
            Verdict::Unknown
        } else {
            Verdict::Again {
                after: None,
                brake: false,
            }
        }
    }

    /// Returns which records must not be sent twice. Those that go together share their fate.
    fn doubtful_records(&self) -> Vec<u64> {
        let is_once = |step: &&Step| {
            let interaction = step.action.interaction();
            self.atomic || !interaction.is_some_and(Interaction::is_idempotent)
        };
        let steps = self.steps.iter().filter(is_once);
        steps.map(|step| step.number).collect()
    }

    /// Notes that none of it arrived, and that it is tried again.
    fn withdraw(&mut self) {
        self.intent = None;
        if std::mem::take(&mut self.is_intended) {
            self.setup.ledger.withdraw(&self.doubtful_records());
        }
    }

    /// Reads the answer to a Bundle that was taken as a whole.
    fn read_bundle(&mut self, response: &Response<Bytes>) -> Verdict {
        let answers = match entries(response.body(), self.steps.len()) {
            Ok(answers) => answers,
            Err(why) => {
                self.last.fault = Some(why);
                return self.not_understood();
            }
        };
        let attempted = Attempted {
            attempts: self.attempts,
            latency: None,
        };
        let (steps, bodies) = (
            std::mem::take(&mut self.steps),
            std::mem::take(&mut self.bodies),
        );
        let (mut brake, mut is_again) = (false, false);
        let mut done = Vec::new();
        let mut bodies = bodies.into_iter();
        for (step, answer) in steps.into_iter().zip(answers) {
            let body = bodies.next();
            let interaction = step.action.interaction().unwrap_or(Interaction::Create);
            let outcome = Bytes::from(answer.outcome.unwrap_or_default());
            match verdict::of_status(safety_of(interaction), answer.status) {
                Verdict::Done => {
                    let (status, accepted) = (answer.status, answer.accepted);
                    let settled =
                        settle::accepted(step.number, interaction, status, accepted, attempted);
                    done.push((settled, step));
                }
                Verdict::Again { brake: asked, .. } | Verdict::Partial { brake: asked, .. }
                    if self.bundle == Some(BundleType::Batch) =>
                {
                    brake |= asked;
                    is_again = true;
                    self.last = Last {
                        status: Some(answer.status),
                        body: outcome,
                        fault: None,
                    };
                    self.steps.push(step);
                    self.bodies.extend(body);
                }
                Verdict::Unknown => {
                    self.last.status = Some(answer.status);
                    self.doubtful.push(step);
                }
                _ => {
                    let status = answer.status;
                    let settled = settle::rejected(step.number, status, &outcome, attempted, None);
                    done.push((settled, step));
                }
            }
        }
        if is_again {
            done = self.origin.hand_over(done);
        }
        self.settled
            .extend(done.into_iter().map(|(settled, _)| settled));
        if is_again {
            Verdict::Partial { after: None, brake }
        } else {
            Verdict::Done
        }
    }
}

impl Exchange for Batch<'_> {
    fn safety(&self) -> Safety {
        let idempotent = self.steps.iter().all(|step| {
            step.action
                .interaction()
                .is_some_and(Interaction::is_idempotent)
        });
        if idempotent {
            Safety::Idempotent
        } else {
            Safety::Once
        }
    }

    fn cost(&self) -> Cost {
        let bytes = self.steps.iter().map(|step| wire_span(step).length).sum();
        Cost {
            operations: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            bytes,
        }
    }

    async fn unpark(&mut self) -> Result<(), BuildError> {
        if self.bodies.is_empty() {
            if self.permits.is_empty() {
                let size = self.cost().bytes;
                self.permits = vec![self.setup.budget.acquire(size).await];
            }
            if self.is_read_late() {
                return Ok(());
            }
            let (dresser, steps) = (Arc::clone(&self.dresser), self.steps.clone());
            let atomic = self.atomic;
            let read = tokio::task::spawn_blocking(move || dresser.read(&steps, atomic));
            match read.await {
                Ok(Ok(read)) => self.bodies = read,
                Ok(Err(error)) => {
                    let build_error = BuildError::new(&error.to_string());
                    self.failure = Some(error);
                    return Err(build_error);
                }
                Err(error) => return Err(BuildError::new(&error.to_string())),
            }
        }
        Ok(())
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        if self.safety() == Safety::Once && self.intent.is_none() {
            // It is never closed.
            self.intent = Arc::clone(&self.origin.intents).acquire_owned().await.ok();
        }
        if self.setup.ledger.waits_for_disk() {
            // The rate counts what leaves, and what waits for a disk after it was counted would leave in a burst.
            self.intend().await?;
        }
        if let (Some(bundle), true, true) =
            (self.bundle, self.bodies.is_empty(), self.is_read_late())
        {
            return self.build_large(bundle).await;
        }
        make(
            self.requests,
            &self.settings,
            self.bundle,
            &self.steps,
            &self.bodies,
        )
    }

    async fn intend(&mut self) -> Result<(), BuildError> {
        if self.is_intended || self.safety() == Safety::Idempotent {
            return Ok(());
        }
        self.since.get_or_insert_with(Timestamp::now);
        let intended = self.setup.ledger.intend(&self.doubtful_records()).await;
        self.is_intended = true;
        intended.map_err(|error| {
            let build_error = BuildError::new(&error.to_string());
            self.failure = Some(error.into());
            build_error
        })
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let verdict = verdict::classify(self.safety(), answer.as_ref(), jiff::Timestamp::now());
        match answer {
            Err(fault) => {
                self.doubt |= fault.kind.may_have_been_sent();
                self.setup.counts.answered(None, 0);
                self.last = Last {
                    status: None,
                    body: Bytes::new(),
                    fault: Some(fault.what),
                };
                verdict
            }
            Ok(response) => {
                let status = response.status().as_u16();
                // These say nothing about what had been done before them.
                self.doubt |= matches!(status, 500 | 502 | 504);
                self.setup
                    .counts
                    .answered(Some(status), response.body().len() as u64);
                self.last = Last {
                    status: Some(status),
                    // A copy: the answer itself holds on to a whole read buffer of its connection, and who waits for
                    // the next attempt must not.
                    body: Bytes::copy_from_slice(response.body()),
                    fault: None,
                };
                match (&verdict, self.bundle) {
                    (Verdict::Done, Some(_)) => return self.read_bundle(&response),
                    (Verdict::Done, None) if !is_fhirs(&response) => {
                        self.last.fault = Some(format!(
                            "the answer ({status}) is none of FHIR's: a proxy or a login page may have come between"
                        ));
                        return self.not_understood();
                    }
                    (Verdict::Done, None) => {
                        let attempted = Attempted {
                            attempts: self.attempts,
                            latency: None,
                        };
                        let place = accepted(response.headers(), response.body());
                        for step in self.steps.drain(..) {
                            let interaction =
                                step.action.interaction().unwrap_or(Interaction::Create);
                            self.settled.push(settle::accepted(
                                step.number,
                                interaction,
                                status,
                                place.clone(),
                                attempted,
                            ));
                        }
                    }
                    _ => {}
                }
                verdict
            }
        }
    }

    fn park(&mut self) {
        self.bodies.clear();
        self.permits.clear();
        self.ready = None;
    }

    fn observe(&mut self, moment: Moment) {
        let load = self.load;
        match moment {
            Moment::Sent { bytes } => {
                self.attempts += 1;
                self.on_wire.store(true, Ordering::Release);
                self.setup.counts.sent(bytes);
                self.setup.observe.observe(&Event::Sent { load });
            }
            Moment::Answered { status } => {
                self.on_wire.store(false, Ordering::Release);
                self.setup
                    .observe
                    .observe(&Event::Answered { load, status });
            }
            Moment::Retrying { after } => {
                // What must not be sent twice is tried again only where the store is known not to have taken it.
                self.withdraw();
                self.setup.counts.retried();
                self.setup.observe.observe(&Event::Retrying { load, after });
            }
        }
    }
}

fn safety_of(interaction: Interaction) -> Safety {
    if interaction.is_idempotent() {
        Safety::Idempotent
    } else {
        Safety::Once
    }
}
