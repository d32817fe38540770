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
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Error, Setup,
    feed::{Work, read_bodies, wire_span},
    settle::{self, Attempted},
};
use crate::{
    event::{Event, LoadId},
    fhir::{Scanner, bundle},
    gate::{
        BuildError, BytePermit, Conclusion, Cost, Exchange, Fault, Moment, Safety, Verdict, verdict,
    },
    journal::Settlement,
    manifest::LoadSettings,
    plan::{BundleType, Step},
    record::{Interaction, Outcome},
    target::fhir::{Requests, accepted, criteria, entries},
};

/// A request and what has become of its records so far.
pub(super) struct Batch<'a> {
    /// The records that have no outcome yet.
    steps: Vec<Step>,
    bundle: Option<BundleType>,
    /// What goes to the wire of each of `steps`; empty while parked.
    bodies: Vec<Bytes>,
    permit: Option<BytePermit>,
    settled: Vec<Settlement>,
    attempts: u32,
    load: LoadId,
    settings: Arc<LoadSettings>,
    requests: &'a Requests,
    setup: Arc<Setup>,
    on_wire: Arc<AtomicBool>,
    ready: Option<OwnedSemaphorePermit>,
    /// What the last attempt brought, for records that are given up.
    last: Last,
    failure: Option<Error>,
}

#[derive(Debug, Default)]
struct Last {
    status: Option<u16>,
    body: Bytes,
    fault: Option<String>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        work: Work,
        load: LoadId,
        settings: Arc<LoadSettings>,
        requests: &'a Requests,
        setup: Arc<Setup>,
        on_wire: Arc<AtomicBool>,
        ready: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let Work {
            steps,
            bundle,
            bodies,
            permit,
        } = work;
        Self {
            steps,
            bundle,
            bodies,
            permit: Some(permit),
            settled: Vec::new(),
            attempts: 0,
            load,
            settings,
            requests,
            setup,
            on_wire,
            ready,
            last: Last::default(),
            failure: None,
        }
    }

    /// Settles what is left when the gate is done with it.
    pub(super) fn conclude(mut self, conclusion: &Conclusion) -> Result<Vec<Settlement>, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let attempted = Attempted {
            attempts: conclusion.attempts,
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
        let gave_up = |what: &str| match conclusion.attempts {
            0 | 1 => what.to_owned(),
            attempts => format!("{what}; given up after {attempts} attempts"),
        };
        for step in left {
            let record = step.number;
            self.settled.push(match (&conclusion.verdict, status) {
                (Verdict::Done, Some(status)) => {
                    let interaction = step.action.interaction().unwrap_or(Interaction::Create);
                    let place = crate::target::fhir::Accepted::default();
                    settle::accepted(record, interaction, status, place, attempted)
                }
                (Verdict::Stop(reason), _) => settle::told(
                    record,
                    if self.may_have_been_sent(conclusion) {
                        Outcome::Unknown
                    } else {
                        Outcome::Pending
                    },
                    status,
                    attempted,
                    reason.to_string(),
                ),
                (Verdict::Unknown, _) => {
                    let note = gave_up(&format!("{what}; whether it took the record is not known"));
                    settle::told(record, Outcome::Unknown, status, attempted, note)
                }
                (_, Some(status)) => {
                    let note = (conclusion.attempts > 1).then(|| gave_up(&what));
                    settle::rejected(record, status, &body, attempted, note)
                }
                (_, None) => {
                    settle::told(record, Outcome::Rejected, None, attempted, gave_up(&what))
                }
            });
        }
        Ok(self.settled)
    }

    /// Lets go of what is left because the run is stopping. Nothing of it is on the wire, and its last attempt, if
    /// there was one, is known to have had no effect or may be repeated; so it counts as not tried.
    pub(super) fn abandon(self, intended: &[u64]) -> Vec<Settlement> {
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

    fn may_have_been_sent(&self, conclusion: &Conclusion) -> bool {
        conclusion.may_have_been_sent && self.safety() == Safety::Once
    }

    /// Reads the answer to a Bundle that was taken as a whole.
    fn read_bundle(&mut self, response: &Response<Bytes>) -> Verdict {
        let answers = match entries(response.body(), self.steps.len()) {
            Ok(answers) => answers,
            Err(why) => {
                self.last.fault = Some(why);
                return if self.safety() == Safety::Once {
                    Verdict::Unknown
                } else {
                    Verdict::Again {
                        after: None,
                        brake: false,
                    }
                };
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
        for ((step, body), answer) in steps.into_iter().zip(bodies).zip(answers) {
            let interaction = step.action.interaction().unwrap_or(Interaction::Create);
            let outcome = Bytes::from(answer.outcome.unwrap_or_default());
            match verdict::of_status(safety_of(interaction), answer.status) {
                Verdict::Done => self.settled.push(settle::accepted(
                    step.number,
                    interaction,
                    answer.status,
                    answer.accepted,
                    attempted,
                )),
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
                    self.bodies.push(body);
                }
                Verdict::Unknown => self.settled.push(settle::told(
                    step.number,
                    Outcome::Unknown,
                    Some(answer.status),
                    attempted,
                    format!(
                        "the store answered {}; whether it took the record is not known",
                        answer.status
                    ),
                )),
                _ => self.settled.push(settle::rejected(
                    step.number,
                    answer.status,
                    &outcome,
                    attempted,
                    None,
                )),
            }
        }
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
        let bytes = self
            .steps
            .iter()
            .map(|step| wire_span(step, self.bundle).length)
            .sum();
        Cost {
            operations: u32::try_from(self.steps.len()).unwrap_or(u32::MAX),
            bytes,
        }
    }

    async fn build(&mut self) -> Result<Request<Bytes>, BuildError> {
        if self.bodies.is_empty() {
            let size = self.cost().bytes;
            self.permit = Some(self.setup.budget.acquire(size).await);
            let (bodies, plan) = (Arc::clone(&self.setup.bodies), Arc::clone(&self.setup.plan));
            let (steps, bundle) = (self.steps.clone(), self.bundle);
            let read =
                tokio::task::spawn_blocking(move || read_bodies(&bodies, &plan, &steps, bundle));
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
        make(
            self.requests,
            &self.settings,
            self.bundle,
            &self.steps,
            &self.bodies,
        )
    }

    fn read(&mut self, answer: Result<Response<Bytes>, Fault>) -> Verdict {
        let verdict = verdict::classify(self.safety(), answer.as_ref(), jiff::Timestamp::now());
        match answer {
            Err(fault) => {
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
                self.setup
                    .counts
                    .answered(Some(status), response.body().len() as u64);
                self.last = Last {
                    status: Some(status),
                    body: response.body().clone(),
                    fault: None,
                };
                match (&verdict, self.bundle) {
                    (Verdict::Done, Some(_)) => return self.read_bundle(&response),
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
        self.permit = None;
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
                self.setup.counts.retried();
                self.setup.observe.observe(&Event::Retrying { load, after });
            }
        }
    }
}

/// Makes the request of one record, or of the records of a Bundle.
pub(super) fn make(
    requests: &Requests,
    settings: &LoadSettings,
    bundle: Option<BundleType>,
    steps: &[Step],
    bodies: &[Bytes],
) -> Result<Request<Bytes>, BuildError> {
    if let Some(bundle_type) = bundle {
        return make_bundle(requests, settings, bundle_type, steps, bodies);
    }
    let (Some(step), Some(body)) = (steps.first(), bodies.first()) else {
        return Err(BuildError::new("there is nothing to send"));
    };
    let (kind, body) = (step.kind.as_str(), body.clone());
    let conditions = || {
        conditions(settings, kind, &body).ok_or_else(|| {
            BuildError::new("its identifier is no longer what it was when it was planned")
        })
    };
    Ok(match step.action.interaction() {
        Some(Interaction::Update) => {
            requests.update(kind, step.id.as_deref().unwrap_or_default(), body)
        }
        Some(Interaction::ConditionalCreate) => {
            let criteria = conditions()?;
            requests.create(kind, body, Some(&criteria))
        }
        Some(Interaction::ConditionalUpdate) => {
            let criteria = conditions()?;
            requests.conditional_update(kind, &criteria, body)
        }
        _ => requests.create(kind, body, None),
    })
}

/// The entries go out as they stand in the file, unless the load sets the interaction: then each gets a request of
/// its own, around the same resource bytes.
fn make_bundle(
    requests: &Requests,
    settings: &LoadSettings,
    bundle_type: BundleType,
    steps: &[Step],
    bodies: &[Bytes],
) -> Result<Request<Bytes>, BuildError> {
    let kind = bundle_type.as_str();
    if settings.interaction.is_none() {
        return Ok(requests.bundle(kind, bodies.iter().map(AsRef::as_ref)));
    }
    let entries = steps
        .iter()
        .zip(bodies)
        .map(|(step, entry)| remade(settings, step, entry))
        .collect::<Result<Vec<Vec<u8>>, BuildError>>()?;
    Ok(requests.bundle(kind, entries.iter().map(Vec::as_slice)))
}

fn safety_of(interaction: Interaction) -> Safety {
    if interaction.is_idempotent() {
        Safety::Idempotent
    } else {
        Safety::Once
    }
}

/// Returns the criteria that identify a resource, from its own bytes: they never stand in a plan (design §10).
fn conditions(settings: &LoadSettings, kind: &str, body: &[u8]) -> Option<String> {
    let mut scanner = Scanner::new();
    let found = scanner.scan(body).ok()?;
    let identifiers = found.identifiers_of(body);
    criteria(
        &settings.identity,
        kind,
        &identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref())),
    )
}

/// Makes an entry anew around its resource, with the request that the load asks for.
fn remade(settings: &LoadSettings, step: &Step, entry: &[u8]) -> Result<Vec<u8>, BuildError> {
    let changed = || BuildError::new("an entry is no longer what it was when it was planned");
    let envelope = bundle::envelope(entry).map_err(|_| changed())?;
    let resource = envelope
        .resource
        .map(|part| part.of(entry))
        .ok_or_else(changed)?;
    let kind = step.kind.as_str();
    let (method, url, if_none_exist) = match step.action.interaction() {
        Some(Interaction::Update) => (
            "PUT",
            format!("{kind}/{}", step.id.as_deref().unwrap_or_default()),
            None,
        ),
        Some(Interaction::ConditionalUpdate) => {
            let criteria = conditions(settings, kind, resource).ok_or_else(changed)?;
            ("PUT", format!("{kind}?{criteria}"), None)
        }
        Some(Interaction::ConditionalCreate) => {
            let criteria = conditions(settings, kind, resource).ok_or_else(changed)?;
            ("POST", kind.to_owned(), Some(criteria))
        }
        // A delete or patch has no resource to put under another request; it goes out as it is.
        Some(Interaction::Delete | Interaction::Patch) => return Ok(entry.to_vec()),
        _ => ("POST", kind.to_owned(), None),
    };
    let mut request = serde_json::json!({ "method": method, "url": url });
    if let (Some(criteria), Some(members)) = (if_none_exist, request.as_object_mut()) {
        members.insert("ifNoneExist".to_owned(), criteria.into());
    }
    let mut out = Vec::with_capacity(entry.len() + 64);
    out.push(b'{');
    if let Some(full_url) = &envelope.full_url {
        out.extend_from_slice(b"\"fullUrl\":");
        out.extend_from_slice(
            serde_json::json!(full_url.text(entry))
                .to_string()
                .as_bytes(),
        );
        out.push(b',');
    }
    out.extend_from_slice(b"\"resource\":");
    out.extend_from_slice(resource);
    out.extend_from_slice(b",\"request\":");
    out.extend_from_slice(request.to_string().as_bytes());
    out.push(b'}');
    Ok(out)
}
