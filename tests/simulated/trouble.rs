//! How the gate treats a target in trouble: brakes, outages, budgets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use stoker::{
    auth::{self, Credentials},
    gate::{ByteBudget, Conclusion, FaultKind, Flow, GateSettings, Safety, StopReason, Verdict},
    manifest::Concurrency,
};
use tokio::time::Instant;

use super::{
    carry_all, gate, gate_with, seeds, settings,
    store::{Reply, Seen, Store},
};

fn budget() -> Arc<ByteBudget> {
    Arc::new(ByteBudget::new(64_000_000))
}

const fn seconds(from: u64, to: u64) -> std::ops::Range<Duration> {
    Duration::from_secs(from)..Duration::from_secs(to)
}

/// The longest time in which nothing came.
fn longest_silence(seen: &[Seen]) -> Duration {
    let pairs = seen.iter().zip(seen.iter().skip(1));
    pairs
        .map(|(one, next)| next.at.saturating_sub(one.at))
        .max()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_for_the_whole_target() {
    let store = Store::new(0, |_, seen| {
        if seconds(1, 2).contains(&seen.at) {
            Reply::status(429).header("retry-after", "30")
        } else {
            Reply::status(201)
        }
    });
    let gate = gate(&store, &settings());
    let budget = budget();
    let watch = async {
        tokio::time::sleep(Duration::from_secs(11)).await;
        gate.state()
    };
    let (ended, state) = tokio::join!(carry_all(&gate, &budget, 1000, 10, |_| {}), watch);
    assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
    let Flow::Braked(left) = state.flow else {
        panic!("{state:?}");
    };
    assert!((19..=21).contains(&left.as_secs()), "{left:?}");
    let seen = store.seen();
    let silence = longest_silence(&seen);
    assert!(silence >= Duration::from_secs(30), "{silence:?}");
    let refused = ended.iter().filter(|(_, end)| end.attempts > 1).count();
    assert_eq!(refused, 8, "those that were under way when it began");
}

/// A target that refuses some and takes others meant only those.
#[tokio::test(start_paused = true)]
async fn a_brake_ends_when_a_later_request_is_taken() {
    let store = Store::new(1, |random: &mut SmallRng, _| {
        if random.random_bool(0.1) {
            Reply::status(429).header("retry-after", "5")
        } else {
            Reply::status(201)
        }
    });
    let gate = gate(&store, &settings());
    let start = Instant::now();
    let ended = carry_all(&gate, &budget(), 4000, 10, |_| {}).await;
    assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
    // 4,000 requests of 50 ms in 8 slots take 25 s, and some 400 brakes of 5 s would add half an hour.
    assert!(
        start.elapsed() < Duration::from_mins(2),
        "{:?}",
        start.elapsed()
    );
    for (work, _) in &ended {
        for wait in work.waits() {
            assert!(wait >= Duration::from_secs(5), "the record itself waits");
        }
    }
}

/// Whatever a target asks for, it is asked once more when the patience is over, and not before; then the run ends, or goes on.
#[tokio::test(start_paused = true)]
async fn no_wait_goes_beyond_giving_up() {
    for (asked, is_back) in [
        ("3600", false),
        ("99999999999999999999", false),
        ("Fri, 31 Dec 9999 23:59:59 GMT", false),
        ("3600", true),
    ] {
        let store = Store::new(0, move |_, seen| {
            if is_back && seen.at >= Duration::from_secs(5) {
                Reply::status(201)
            } else {
                Reply::status(429).header("retry-after", asked)
            }
        });
        let settings = GateSettings {
            give_up_after: Duration::from_secs(6),
            ..settings()
        };
        let gate = gate(&store, &settings);
        let start = Instant::now();
        let ended = carry_all(&gate, &budget(), 100, 10, |_| {}).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(6), "{asked}: {took:?}");
        assert!(took < Duration::from_secs(9), "{asked}: {took:?}");
        for (_, end) in &ended {
            match &end.verdict {
                Verdict::Done => assert!(is_back),
                Verdict::Stop(reason @ StopReason::TargetDown { .. }) => {
                    assert!(!is_back);
                    let reason = reason.to_string();
                    assert!(reason.contains("429 and asks to wait 1h"), "{reason}");
                }
                other => panic!("{asked}: {other:?}"),
            }
        }
        // Those under way, and the one that asks again.
        let before = store.seen().iter().filter(|s| s.at.as_secs() < 7).count();
        assert!(is_back || before <= 9, "{before}");
        let start = Instant::now();
        let request = || http::Request::get("https://store.example/fhir/metadata");
        let _ = gate
            .call_interactive(|| request().body(bytes::Bytes::new()).unwrap())
            .await;
        assert!(
            start.elapsed() < Duration::from_secs(6),
            "a read waits no longer"
        );
    }
}

/// A wait that is shorter than the patience, asked for again and again, does not multiply it; nor do our own waits.
#[tokio::test(start_paused = true)]
async fn waits_that_are_repeated_end_where_the_patience_does() {
    fn asking(seconds: &str) -> Reply {
        Reply::status(503).header("retry-after", seconds)
    }
    type Trouble = (&'static str, fn() -> Reply);
    let troubles: [Trouble; 9] = [
        ("0", || asking("0")),
        ("1", || asking("1")),
        ("3", || asking("3")),
        ("5", || asking("5")),
        ("6", || asking("6")),
        ("503", || Reply::status(503)),
        ("507", || Reply::status(507)),
        ("refused", || Reply::fault(FaultKind::Connect)),
        ("closed", || Reply::fault(FaultKind::TurnedAway)),
    ];
    for (trouble, reply) in troubles {
        for patience in [6, 14, 600] {
            for records in [3, 100] {
                // Few records have used up their attempts before a target counts as down.
                if records == 3 && (trouble.len() > 1 || trouble < "5" || patience > 6) {
                    continue;
                }
                let store = Store::new(0, move |_, seen| match seen.at.as_secs() {
                    0..2 if records > 3 => Reply::status(201),
                    _ => reply(),
                });
                let settings = GateSettings {
                    give_up_after: Duration::from_secs(patience),
                    ..settings()
                };
                let gate = gate(&store, &settings);
                let start = Instant::now();
                let works = if records > 3 { 2_000 } else { records };
                let ended = carry_all(&gate, &budget(), works, 10, |work| {
                    work.safety = Safety::Idempotent;
                })
                .await;
                let took = start.elapsed().as_secs_f64();
                let least = patience as f64;
                let case = format!("{trouble}, {patience} s, {records} records: {took}");
                assert!((least..least + 3.5).contains(&took), "{case}");
                let end = ended.iter().find_map(|(_, end)| match &end.verdict {
                    Verdict::Stop(StopReason::TargetDown { down, .. }) => Some(*down),
                    _ => None,
                });
                let down = end.unwrap_or_else(|| panic!("{case}: nothing stopped it"));
                let refused = |end: &&Conclusion| matches!(end.verdict, Verdict::Again { .. });
                let refused = ended.iter().map(|(_, end)| end).filter(refused).count();
                assert!(refused <= 8, "{case}: {refused} refused");
                assert!(down.as_secs_f64() < least + 1.0, "{case}: {down:?}");
            }
        }
    }
}

/// A target without room takes nothing, and no record is at fault; where it takes others, the one that is refused again and
/// again is too large for what is left.
#[tokio::test(start_paused = true)]
async fn no_room_is_about_the_target_unless_it_takes_others() {
    for (full_until, lone) in [(60, false), (u64::MAX, true)] {
        let store = Store::new(0, move |_, seen| {
            let is_full = seconds(1, full_until).contains(&seen.at);
            if if lone { seen.work == Some(0) } else { is_full } {
                Reply::status(507)
            } else {
                Reply::status(201)
            }
        });
        let gate = gate(&store, &settings());
        // Twice is not as good as once, and what had no room was not done.
        let ended = carry_all(&gate, &budget(), 1_000, 10, |work| {
            work.safety = Safety::Once;
        })
        .await;
        for (work, end) in &ended {
            let is_refused = matches!(end.verdict, Verdict::Again { .. });
            let case = format!("{lone}, {}: {:?}", work.number, end.verdict);
            assert_eq!(is_refused, lone && work.number == 0, "{case}");
            assert!(is_refused || end.verdict == Verdict::Done, "{case}");
        }
    }
}

/// What a target asks for of one record, while it takes others, is bounded as well.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_put_off_for_ever_is_refused() {
    let store = Store::new(0, |_, seen| {
        if seen.work == Some(0) {
            Reply::status(429).header("retry-after", "50")
        } else {
            Reply::status(201)
        }
    });
    let settings = GateSettings {
        give_up_after: Duration::from_mins(1),
        ..settings()
    };
    let gate = gate(&store, &settings);
    let ended = carry_all(&gate, &budget(), 100, 10, |_| {}).await;
    for (work, end) in &ended {
        let waited: Duration = work.waits().iter().sum();
        assert!(waited <= Duration::from_secs(75), "{waited:?}");
        let is_refused = matches!(end.verdict, Verdict::Again { .. });
        assert_eq!(is_refused, work.number == 0, "{:?}", end.verdict);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_is_probed_by_one_request_at_a_time() {
    for trouble in [
        || Reply::status(503),
        || Reply::status(502),
        || Reply::fault(FaultKind::Connect),
        || Reply::fault(FaultKind::TurnedAway),
        || Reply::fault(FaultKind::Timeout),
    ] {
        let store = Store::new(0, move |_, seen| {
            if seconds(5, 125).contains(&seen.at) {
                trouble()
            } else {
                Reply::status(201)
            }
        });
        let gate = gate(&store, &settings());
        let budget = budget();
        let watch = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            gate.state()
        };
        let all = carry_all(&gate, &budget, 2000, 10, |work| {
            work.safety = Safety::Idempotent;
        });
        let (ended, state) = tokio::join!(all, watch);
        assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
        assert!(matches!(state.flow, Flow::Down { .. }), "{state:?}");
        assert!(state.in_flight <= 1, "{state:?}");
        assert_eq!(gate.state().flow, Flow::Open);
        let seen = store.seen();
        let during = seen
            .iter()
            .filter(|seen| seconds(6, 125).contains(&seen.at))
            .count();
        assert!((4..20).contains(&during), "{during} probes in two minutes");
        let back = seen.iter().find(|seen| seen.at.as_secs() >= 125).unwrap();
        assert!(
            back.at.as_secs() < 125 + 33,
            "found out soon: {:?}",
            back.at
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_down_ends_the_run_and_burns_no_record() {
    let store = Store::new(0, |_, seen| {
        Reply::status(if seen.at.as_secs() < 5 { 201 } else { 503 })
    });
    let gate = gate(&store, &settings());
    let start = Instant::now();
    let ended = carry_all(&gate, &budget(), 2000, 10, |_| {}).await;
    let took = start.elapsed();
    let limits = seconds(600, 640);
    assert!(limits.contains(&took), "{took:?}");
    let mut stopped = 0;
    for (_, end) in &ended {
        match &end.verdict {
            Verdict::Done => {}
            Verdict::Stop(StopReason::TargetDown { .. }) => stopped += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(stopped > 1000);
    assert!(store.seen().len() - (2000 - stopped) < 60, "few probes");
}

/// What a store cannot take is given up, also when nothing else is left at the end of a run.
#[tokio::test(start_paused = true)]
async fn records_that_are_never_taken_do_not_look_like_an_outage() {
    let is_bad = |work: usize| work.is_multiple_of(50);
    let store = Store::new(0, move |_, seen| {
        Reply::status(if is_bad(seen.work.unwrap()) { 504 } else { 201 })
    });
    let gate = gate(&store, &settings());
    let start = Instant::now();
    let ended = carry_all(&gate, &budget(), 2000, 10, |work| {
        work.safety = Safety::Idempotent;
    })
    .await;
    for (work, end) in &ended {
        if is_bad(work.number) {
            assert!(matches!(end.verdict, Verdict::Again { .. }), "{end:?}");
            assert_eq!(end.attempts, 5);
        } else {
            assert_eq!((&end.verdict, end.attempts), (&Verdict::Done, 1));
        }
    }
    assert!(start.elapsed() < Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_their_budget() {
    for seed in seeds(100) {
        let share = SmallRng::seed_from_u64(seed).random_range(0.0..0.97);
        let store = Store::new(seed, move |random: &mut SmallRng, _| {
            let is_ill = random.random_bool(share);
            Reply::status(if is_ill { 503 } else { 201 })
                .after(Duration::from_millis(random.random_range(1..50)))
        });
        let mut settings = settings();
        settings.slots = Concurrency::fixed(32);
        settings.retry.base = Duration::from_millis(5);
        settings.retry.max = Duration::from_millis(50);
        let gate = gate(&store, &settings);
        carry_all(&gate, &budget(), 600, 10, |work| {
            work.safety = Safety::Idempotent;
        })
        .await;
        let mut retries = 0;
        for seen in &store.seen() {
            retries += u64::from(seen.attempt > 1);
            // One for each that was taken, ten a second, and a hundred at once.
            let free = 100.0 + 10.0 * seen.at.as_secs_f64();
            assert!(
                retries as f64 <= seen.taken as f64 + free,
                "seed {seed}: {retries} retries, {} taken, at {:?}",
                seen.taken,
                seen.at
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn contention_is_tried_again_with_fewer_at_a_time() {
    let contention = r#"{"resourceType":"OperationOutcome","issue":[{"code":"too-costly","severity":"error",
        "details":{"text":"operation_too_costly"}}]}"#;
    let aborted = r#"{"error":{"code":409,"status":"ABORTED","message":"aborted"}}"#;
    for (status, body) in [(429, contention), (409, aborted)] {
        let store = Store::new(0, move |_, seen| {
            if seen.in_flight > 16 {
                Reply::status(status).body(body)
            } else {
                Reply::status(201)
            }
        });
        let mut settings = settings();
        settings.slots = Concurrency { min: 1, max: 256 };
        settings.retry.attempts = 50;
        let gate = gate(&store, &settings);
        let ended = carry_all(&gate, &budget(), 6000, 10, |_| {}).await;
        assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
        let state = gate.state();
        assert!((8..=20).contains(&state.slots), "{state:?}");
        assert_eq!(state.ceiling, None, "it is no quota");
        let seen = store.seen();
        let refused = seen.len() - 6000;
        assert!(refused < 300, "{refused}");
    }
}

/// A token server that cannot be reached for a while.
#[derive(Debug)]
struct Away(AtomicU32);

impl Credentials for Away {
    fn header(&self) -> BoxFuture<'_, Result<Option<http::HeaderValue>, auth::Error>> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        Box::pin(async move {
            match left {
                Err(_) => Ok(None),
                Ok(_) => Err(auth::Error {
                    what: "no token server".to_owned(),
                    hint: None,
                    transient: true,
                }),
            }
        })
    }

    fn refused(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_is_away_is_waited_for() {
    for (failures, is_done) in [(20, true), (u32::MAX, false)] {
        let store = Store::new(0, |_, _| Reply::status(201));
        let away = Arc::new(Away(AtomicU32::new(failures)));
        let gate = gate_with(&store, away, &settings());
        let ended = carry_all(&gate, &budget(), 100, 10, |_| {}).await;
        for (_, end) in &ended {
            assert_eq!(end.verdict == Verdict::Done, is_done, "{end:?}");
            assert_eq!(
                end.attempts,
                u32::from(is_done),
                "what was not sent is no attempt"
            );
        }
    }
}

/// Memory is short, slots are few, the target brakes, goes away and comes back: still all of it ends.
#[tokio::test(start_paused = true)]
async fn memory_slots_brakes_and_outages_cannot_deadlock() {
    for seed in seeds(300) {
        let store = Store::new(seed, |random: &mut SmallRng, seen| {
            let is_away = seen.at.as_secs() % 60 > 45;
            let reply = match random.random_range(0..10) {
                _ if is_away => Reply::fault(FaultKind::Connect),
                0..3 => Reply::status(429),
                3 => Reply::status(503).header("retry-after", "7"),
                _ => Reply::status(201),
            };
            reply.after(Duration::from_millis(random.random_range(1..900)))
        });
        let mut settings = settings();
        let slots = 1 + u32::try_from(seed % 3).unwrap();
        settings.slots = Concurrency { min: 1, max: slots };
        settings.rate = seed.is_multiple_of(2).then(|| "20/s".parse().unwrap());
        settings.retry.attempts = 30;
        let gate = gate(&store, &settings);
        let budget = Arc::new(ByteBudget::new(8 * 1024));
        let all = carry_all(&gate, &budget, 60, 3000, |work| {
            // Larger than the whole budget: alone in memory.
            if work.number % 7 == 0 {
                work.size = 50_000;
            }
        });
        // Virtual time passes only when nothing else can happen, so a deadlock would end here.
        let ended = tokio::time::timeout(Duration::from_hours(24), all).await;
        let ended = ended.unwrap_or_else(|_| panic!("seed {seed}: deadlock"));
        assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
        assert!(
            budget.try_acquire(8 * 1024 - 1).is_some(),
            "seed {seed}: all memory is given back"
        );
        let state = gate.state();
        assert_eq!((state.flow, state.in_flight), (Flow::Open, 0));
    }
}

/// Every kind of trouble at once, at a tenth of the requests and whatever the load: a run is held up by it, but goes on.
#[tokio::test(start_paused = true)]
async fn a_tenth_of_all_in_trouble_is_no_reason_to_crawl() {
    for seed in 0..5 {
        let store = Store::new(seed, |random: &mut SmallRng, _| {
            let reply = match random.random_range(0..100) {
                0 => Reply::status(429).header("retry-after", "1"),
                1 => Reply::status(429),
                2 => Reply::status(503).header("retry-after", "1"),
                3 => Reply::status(500),
                4 => Reply::status(502),
                5 => Reply::status(504),
                6 => Reply::fault(FaultKind::Timeout).takes_place(),
                7 => Reply::fault(FaultKind::Interrupted),
                8 => Reply::fault(FaultKind::Connect),
                9 => Reply::fault(FaultKind::Response),
                _ => Reply::status(201),
            };
            reply.after(Duration::from_millis(random.random_range(5..20)))
        });
        let mut settings = settings();
        settings.slots = Concurrency { min: 1, max: 256 };
        settings.retry.attempts = 12;
        let gate = gate(&store, &settings);
        let start = Instant::now();
        let ended = carry_all(&gate, &budget(), 5000, 10, |work| {
            work.safety = Safety::Idempotent;
        })
        .await;
        assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
        // One at a time would take a minute without any trouble.
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "seed {seed}: {:?}",
            start.elapsed()
        );
    }
}
