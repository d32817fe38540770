//! The speed that the gate finds by itself, against stores whose best speed is known: by trying fixed settings.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{Request, Response};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use stoker::{
    gate::{ByteBudget, Fault, Gate, GateSettings, Transport, Verdict},
    manifest::Concurrency,
};
use tokio::time::Instant;

use super::{Nobody, settings, work::Work};

/// What a store can take.
#[derive(Debug, Clone, Copy)]
struct Powers {
    /// Requests that it works on at a time.
    capacity: usize,
    /// How long it works on one, a fifth more or less.
    service: Duration,
    /// Whether it refuses those beyond, or lets them wait.
    refuses: bool,
    /// Requests that it takes in any second, the others are answered 429.
    quota: Option<usize>,
    /// Of the requests, this part is refused at random.
    refused: f64,
}

impl Powers {
    fn of(capacity: usize, service: u64) -> Self {
        Self {
            capacity,
            service: Duration::from_millis(service),
            refuses: false,
            quota: None,
            refused: 0.0,
        }
    }

    fn refusing(self) -> Self {
        Self {
            refuses: true,
            ..self
        }
    }
}

type Course = fn(Duration) -> Powers;

struct LimitedStore {
    start: Instant,
    course: Course,
    state: Mutex<State>,
    gate: OnceLock<Weak<Gate>>,
}

#[derive(Debug)]
struct State {
    random: SmallRng,
    /// When each of the store's hands is free.
    hands: BinaryHeap<Reverse<Instant>>,
    in_work: usize,
    in_flight: usize,
    taken: VecDeque<Instant>,
    /// Answers, by the second in which the request came: taken and refused.
    seconds: Vec<(u64, u64)>,
}

impl fmt::Debug for LimitedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedStore")
    }
}

impl LimitedStore {
    fn new(seed: u64, course: Course) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            course,
            state: Mutex::new(State {
                random: SmallRng::seed_from_u64(seed),
                hands: BinaryHeap::new(),
                in_work: 0,
                in_flight: 0,
                taken: VecDeque::new(),
                seconds: Vec::new(),
            }),
            gate: OnceLock::new(),
        })
    }

    /// Takes a request in; tells when its answer is there, and whether it is taken.
    fn receive(&self) -> (Instant, bool) {
        let now = Instant::now();
        let powers = (self.course)(self.start.elapsed());
        let mut state = self.state.lock().unwrap();
        state.in_flight += 1;
        if let Some(gate) = self.gate.get().and_then(Weak::upgrade) {
            let slots = gate.state().slots as usize;
            assert!(state.in_flight <= slots, "{} of {slots}", state.in_flight);
        }
        while state
            .taken
            .front()
            .is_some_and(|at| *at + Duration::from_secs(1) <= now)
        {
            state.taken.pop_front();
        }
        let is_over = powers.quota.is_some_and(|quota| state.taken.len() >= quota)
            || powers.refuses && state.in_work >= powers.capacity
            || state.random.random_bool(powers.refused);
        let second = usize::try_from(self.start.elapsed().as_secs()).unwrap();
        if state.seconds.len() <= second {
            state.seconds.resize(second + 1, (0, 0));
        }
        if is_over {
            state.seconds[second].1 += 1;
            return (now + Duration::from_millis(2), false);
        }
        state.seconds[second].0 += 1;
        state.taken.push_back(now);
        state.in_work += 1;
        while state.hands.len() > powers.capacity {
            state.hands.pop();
        }
        while state.hands.len() < powers.capacity {
            state.hands.push(Reverse(now));
        }
        let Reverse(free) = state.hands.pop().unwrap();
        let service = powers.service.mul_f64(state.random.random_range(0.8..1.2));
        let done = std::cmp::max(free, now) + service;
        state.hands.push(Reverse(done));
        (done, true)
    }
}

impl Transport for LimitedStore {
    fn call(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            let (done, is_taken) = self.receive();
            tokio::time::sleep_until(done).await;
            let mut state = self.state.lock().unwrap();
            state.in_flight -= 1;
            state.in_work -= usize::from(is_taken);
            let status = if is_taken { 201 } else { 429 };
            Ok(Response::builder()
                .status(status)
                .body(Bytes::new())
                .unwrap())
        })
    }
}

/// What a run came to.
#[derive(Debug)]
struct Ran {
    taken: u64,
    /// Of the requests after a time, how many were refused.
    refused: f64,
    log: String,
}

/// Loads a store for a time, with work for more than any slots.
fn run(seed: u64, course: Course, slots: Concurrency, time: Duration, settled: u64) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = LimitedStore::new(seed, course);
        let settings = GateSettings {
            slots,
            seed: Some(seed),
            ..settings()
        };
        let base = "https://store.example/fhir/".parse().unwrap();
        let gate = Arc::new(
            Gate::new(Arc::clone(&store) as _, Arc::new(Nobody), &settings, &base).unwrap(),
        );
        store.gate.set(Arc::downgrade(&gate)).unwrap();
        let budget = Arc::new(ByteBudget::new(1 << 30));
        let numbers = AtomicUsize::new(0);
        let workers = join_all((0..2048).map(|_| async {
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let mut work = Work::new(number, 10, &budget);
                let end = gate.execute(&mut work).await;
                let is_fair = matches!(end.verdict, Verdict::Done | Verdict::Again { .. });
                assert!(is_fair, "{end:?}");
            }
        }));
        let mut log = String::new();
        let watch = async {
            loop {
                tokio::time::sleep(time / 20).await;
                writeln!(log, "{:?} {:?}", store.start.elapsed(), gate.state()).unwrap();
            }
        };
        tokio::select! {
            _ = workers => unreachable!("there is always work"),
            () = watch => unreachable!("it watches on"),
            () = tokio::time::sleep(time) => {}
        }
        let seconds = std::mem::take(&mut store.state.lock().unwrap().seconds);
        let sum = |seconds: &[(u64, u64)]| {
            let sum = seconds.iter().copied();
            sum.fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1))
        };
        writeln!(log, "{seconds:?}").unwrap();
        let later = seconds
            .get(usize::try_from(settled).unwrap()..)
            .unwrap_or_default();
        let (taken, refused) = sum(later);
        Ran {
            taken: sum(&seconds).0,
            refused: refused as f64 / std::cmp::max(taken + refused, 1) as f64,
            log,
        }
    })
}

/// Runs a scenario with several seeds: at least nine tenths of what the best of the fixed settings reaches, and once
/// settled, so many seconds after the start, fewer than two in a hundred requests refused.
fn scenario(seeds: u64, course: Course, time: Duration, settled: u64, fixed: &[u32]) {
    let all: Vec<(u64, u32)> = fixed
        .iter()
        .map(|&slots| {
            let fixed = Concurrency::fixed(slots);
            (run(0, course, fixed, time, settled).taken, slots)
        })
        .collect();
    let (best, slots) = all.iter().max().copied().unwrap();
    let finds = Concurrency { min: 1, max: 1024 };
    for seed in 0..seeds {
        let found = run(seed, course, finds, time, settled);
        let part = found.taken as f64 / best as f64;
        let Ran { refused, log, .. } = found;
        assert!(
            part >= 0.9 && refused < 0.02,
            "seed {seed}: {part:.3} of the {best} of {slots} slots, {refused:.4} refused; of all {all:?}\n{log}"
        );
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn capacity_4() {
    scenario(
        5,
        |_| Powers::of(4, 20).refusing(),
        MINUTE,
        5,
        &[2, 3, 4, 5, 8, 16],
    );
}

#[test]
fn capacity_4_with_a_queue() {
    scenario(5, |_| Powers::of(4, 20), MINUTE, 5, &[2, 4, 8]);
}

#[test]
fn capacity_64_at_300_ms() {
    scenario(5, |_| Powers::of(64, 300), MINUTE, 10, &[32, 64, 128]);
}

#[test]
fn capacity_64_at_300_ms_and_no_queue() {
    scenario(
        5,
        |_| Powers::of(64, 300).refusing(),
        MINUTE,
        10,
        &[32, 48, 64, 80, 128],
    );
}

#[test]
fn capacity_512_at_2_ms() {
    scenario(
        1,
        |_| Powers::of(512, 2),
        Duration::from_secs(1),
        1,
        &[512, 1024],
    );
}

/// Sixty-four, then eight for half a minute, then sixty-four again. All that lies ten seconds after the start is to be
/// settled, the changes too: they are for the gate to be quick about.
#[test]
fn a_store_that_degrades_and_recovers() {
    scenario(
        5,
        |at| {
            let is_ill = (20..50).contains(&at.as_secs());
            Powers::of(if is_ill { 8 } else { 64 }, 100).refusing()
        },
        Duration::from_secs(90),
        10,
        &[8, 16, 32, 64, 128],
    );
}

#[test]
fn a_quota_of_100_a_second() {
    scenario(
        5,
        |_| Powers {
            quota: Some(100),
            ..Powers::of(1000, 50)
        },
        Duration::from_mins(2),
        10,
        &[1, 2, 4, 5, 6, 8, 16],
    );
}

/// A store that refuses a part whatever the limit is no reason to go slowly.
#[test]
fn refusals_at_random() {
    let course = |_| Powers {
        refused: 0.02,
        ..Powers::of(64, 50)
    };
    let time = Duration::from_secs(30);
    let best = run(0, course, Concurrency::fixed(64), time, 10).taken;
    for seed in 0..5 {
        let found = run(seed, course, Concurrency { min: 1, max: 256 }, time, 10);
        let part = found.taken as f64 / best as f64;
        assert!(part > 0.6, "seed {seed}: {part:.3}\n{}", found.log);
    }
}

/// With a rate that is lower than what the store takes, nothing is gained by more slots, and the rate is used.
#[test]
fn a_rate_that_is_set() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = LimitedStore::new(0, |_| Powers::of(1000, 50));
        let settings = GateSettings {
            slots: Concurrency { min: 1, max: 1024 },
            rate: Some("100/s".parse().unwrap()),
            ..settings()
        };
        let base = "https://store.example/fhir/".parse().unwrap();
        let gate = Gate::new(Arc::clone(&store) as _, Arc::new(Nobody), &settings, &base).unwrap();
        let budget = Arc::new(ByteBudget::new(1 << 30));
        let start = Instant::now();
        super::carry_all(&gate, &budget, 3000, 10, |_| {}).await;
        assert!(start.elapsed() < Duration::from_secs(34));
        let state = gate.state();
        assert!(state.slots <= 16, "{state:?}");
    });
}
