//! A store in memory whose answers a test chooses, from a seed, in virtual time.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use rand::{SeedableRng, rngs::SmallRng};
use stoker::gate::{Fault, FaultKind, Gate, Transport};
use tokio::time::Instant;

/// Tells the store which piece of work a request belongs to, and how many operations it holds.
pub(super) const WORK: &str = "x-work";
pub(super) const OPERATIONS: &str = "x-operations";

/// A request as the store sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) work: Option<usize>,
    /// How often this work has come, from 1.
    pub(super) attempt: u32,
    pub(super) operations: u64,
    pub(super) bytes: u64,
    /// Writes that have taken place before.
    pub(super) taken: u64,
    /// Requests in flight, this one included.
    pub(super) in_flight: usize,
    pub(super) authorization: Option<String>,
}

/// What the store does with a request.
pub(super) struct Reply {
    after: Duration,
    /// The write takes place, whatever the answer says.
    takes_place: bool,
    answer: Result<Response<Bytes>, Fault>,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        let answer = Response::builder().status(status).body(Bytes::new());
        Self {
            after: Duration::from_millis(50),
            takes_place: (200..300).contains(&status),
            answer: Ok(answer.unwrap()),
        }
    }

    pub(super) fn fault(kind: FaultKind) -> Self {
        let what = format!("simulated {kind:?}");
        Self {
            after: Duration::from_millis(50),
            takes_place: false,
            answer: Err(Fault::new(kind, what)),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().unwrap();
        self.answer
            .as_mut()
            .unwrap()
            .headers_mut()
            .insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: &'static str) -> Self {
        *self.answer.as_mut().unwrap().body_mut() = Bytes::from_static(body.as_bytes());
        self
    }

    pub(super) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    pub(super) fn takes_place(mut self) -> Self {
        self.takes_place = true;
        self
    }
}

type Behaviour = dyn Fn(&mut SmallRng, &Seen) -> Reply + Send + Sync;

pub(super) struct Store {
    start: Instant,
    behaviour: Box<Behaviour>,
    state: Mutex<State>,
    /// Whose slots are watched.
    pub(super) gate: OnceLock<Weak<Gate>>,
}

struct State {
    random: SmallRng,
    seen: Vec<Seen>,
    effects: HashMap<usize, u32>,
    taken: u64,
    in_flight: usize,
    most_in_flight: usize,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(super) fn new(
        seed: u64,
        behaviour: impl Fn(&mut SmallRng, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            behaviour: Box::new(behaviour),
            state: Mutex::new(State {
                random: SmallRng::seed_from_u64(seed),
                seen: Vec::new(),
                effects: HashMap::new(),
                taken: 0,
                in_flight: 0,
                most_in_flight: 0,
            }),
            gate: OnceLock::new(),
        })
    }

    /// All requests, in the order in which they came.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.state.lock().unwrap().most_in_flight
    }

    /// How often the write of this work took place.
    pub(super) fn effects(&self, work: usize) -> u32 {
        let state = self.state.lock().unwrap();
        state.effects.get(&work).copied().unwrap_or_default()
    }

    fn receive(&self, request: &Request<Bytes>) -> (Option<usize>, Reply) {
        let mut state = self.state.lock().unwrap();
        let text = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let work = text(WORK).map(|work| work.parse().unwrap());
        let before = state.seen.iter().rev().find(|seen| seen.work == work);
        let seen = Seen {
            at: self.start.elapsed(),
            work,
            attempt: before.map_or(1, |seen| seen.attempt + 1),
            operations: text(OPERATIONS).map_or(1, |count| count.parse().unwrap()),
            bytes: request.body().len() as u64,
            taken: state.taken,
            in_flight: state.in_flight + 1,
            authorization: text("authorization"),
        };
        state.in_flight += 1;
        state.most_in_flight = state.most_in_flight.max(state.in_flight);
        if let Some(gate) = self.gate.get().and_then(Weak::upgrade) {
            let slots = gate.state().slots as usize;
            assert!(state.in_flight <= slots, "{} of {slots}", state.in_flight);
        }
        let reply = (self.behaviour)(&mut state.random, &seen);
        state.seen.push(seen);
        (work, reply)
    }
}

impl Transport for Store {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            let (work, reply) = self.receive(&request);
            tokio::time::sleep(reply.after).await;
            let mut state = self.state.lock().unwrap();
            state.in_flight -= 1;
            if let Some(work) = work
                && reply.takes_place
            {
                *state.effects.entry(work).or_default() += 1;
                state.taken += 1;
            }
            reply.answer
        })
    }
}
