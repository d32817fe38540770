//! What the store sees: never more in flight than slots, never more in a window than the rate, nothing doubled.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use stoker::{
    gate::{ByteBudget, FaultKind, Safety, Verdict},
    manifest::Concurrency,
    unit::Rate,
};
use tokio::time::Instant;

use super::{
    carry_all, gate, seeds, settings,
    store::{Reply, Seen, Store},
};

/// Answers with every kind of trouble, a third of the time.
fn troubled(random: &mut SmallRng, _: &Seen) -> Reply {
    let reply = match random.random_range(0..30) {
        0 => Reply::status(429).header("retry-after", "5"),
        1 => Reply::status(429),
        2 => Reply::status(503).header("retry-after", "Thu, 01 Jan 1970 00:00:02 GMT"),
        3 => Reply::status(500),
        4 => Reply::status(502).takes_place(),
        5 => Reply::fault(FaultKind::Timeout).takes_place(),
        6 => Reply::fault(FaultKind::Interrupted),
        7 => Reply::fault(FaultKind::Response).takes_place(),
        8 => Reply::fault(FaultKind::Connect),
        9 => Reply::status(422),
        10 => Reply::fault(FaultKind::TurnedAway),
        _ => Reply::status(201),
    };
    reply.after(Duration::from_millis(random.random_range(1..400)))
}

/// The most that a store saw in any window that is open at its end.
fn peak(seen: &[Seen], window: Duration, units: impl Fn(&Seen) -> u64) -> u64 {
    let mut inside = VecDeque::new();
    let (mut sum, mut peak) = (0, 0);
    for request in seen {
        inside.push_back(request);
        sum += units(request);
        while let Some(first) = inside.front()
            && request.at >= first.at + window
        {
            sum -= units(first);
            inside.pop_front();
        }
        peak = peak.max(sum);
    }
    peak
}

/// How many bytes of bodies may be there at a time: two of them.
const BODIES: u64 = 8 * 1024;

#[tokio::test(start_paused = true)]
async fn every_exchange_ends_once_truly_and_within_the_slots() {
    for seed in seeds(3000) {
        let store = Store::new(seed, troubled);
        let mut settings = settings();
        let slots = SmallRng::seed_from_u64(seed).random_range(1..12);
        // Every third with a number of slots that the gate finds.
        let finds = seed % 3 == 0;
        settings.slots = if finds {
            Concurrency { min: 1, max: slots }
        } else {
            Concurrency::fixed(slots)
        };
        let gate = Arc::new(gate(&store, &settings));
        // Then the store sees to it that no request is one too many.
        store.gate.set(Arc::downgrade(&gate)).unwrap();
        // Room for all, or for two at a time: then memory is what holds them back, and nobody waits for ever.
        let budget = Arc::new(ByteBudget::new(if seed % 2 == 0 {
            1 << 20
        } else {
            BODIES
        }));
        let ended = carry_all(&gate, &budget, 40, BODIES / 2 - 1, |work| {
            if work.number.is_multiple_of(2) {
                work.safety = Safety::Idempotent;
            }
        })
        .await;
        let most = store.most_in_flight();
        assert!(most <= slots as usize, "seed {seed}: {most}");
        if seed % 2 == 0 && !finds {
            assert_eq!(most, slots as usize, "seed {seed}: all slots are used");
        } else if seed % 2 == 1 {
            assert!(most <= 2, "seed {seed}: {most} bodies at a time");
        }
        let attempts: u32 = ended.iter().map(|(_, end)| end.attempts).sum();
        assert_eq!(attempts as usize, store.seen().len(), "seed {seed}");
        for (work, end) in &ended {
            let context = format!("seed {seed}, work {}: {end:?}", work.number);
            let effects = store.effects(work.number);
            if work.safety == Safety::Once {
                assert!(effects <= 1, "doubled: {context}");
            }
            match &end.verdict {
                Verdict::Done => assert!(effects >= 1, "lost: {context}"),
                Verdict::Rejected if work.safety == Safety::Once => {
                    assert_eq!(effects, 0, "denied: {context}");
                }
                Verdict::Rejected | Verdict::Unknown | Verdict::Again { .. } => {}
                other => panic!("{other:?}: {context}"),
            }
        }
        assert!(
            budget.try_acquire(BODIES - 1).is_some(),
            "seed {seed}: memory is given back"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_window_at_the_store_is_above_the_rates() {
    for seed in seeds(300) {
        let mut random = SmallRng::seed_from_u64(seed);
        let store = Store::new(seed, troubled);
        let mut settings = settings();
        let max = random.random_range(1..100);
        settings.slots = Concurrency { min: 1, max };
        let amount = random.random_range(3..300_u32);
        let window = if random.random_bool(0.2) { "min" } else { "s" };
        let rate: Rate = format!("{amount}/{window}").parse().unwrap();
        settings.rate = Some(rate);
        settings.largest_request = random.random_range(1..=amount / 3);
        let largest = settings.largest_request;
        settings.bytes_rate = random.random_bool(0.5).then(|| "40000/s".parse().unwrap());
        let gate = gate(&store, &settings);
        let budget = Arc::new(ByteBudget::new(1 << 20));
        let start = Instant::now();
        let ended = carry_all(&gate, &budget, 120, 1000, |work| {
            work.operations = 1 + u32::try_from(work.number).unwrap() % largest;
            if work.number % 10 == 3 {
                work.size = 15_000;
            }
        })
        .await;
        assert_eq!(ended.len(), 120);
        let seen = store.seen();
        let window = rate.window.duration();
        let most = peak(&seen, window, |seen| seen.operations);
        assert!(most <= u64::from(amount), "seed {seed}: {most} at {rate}");
        if let Some(bytes) = settings.bytes_rate {
            let most = peak(&seen, bytes.window.duration(), |seen| seen.bytes);
            assert!(
                most <= u64::from(bytes.amount.get()),
                "seed {seed}: {most} at {bytes}"
            );
        }
        // No slower than half of the rate, but for brakes and waits.
        let operations: u64 = seen.iter().map(|seen| seen.operations).sum();
        let least = window.mul_f64(operations as f64 / f64::from(amount));
        assert!(
            start.elapsed() < least * 2 + Duration::from_mins(5),
            "seed {seed}: {:?} at {rate}",
            start.elapsed()
        );
    }
}

/// Tokens taken before the slot would pile up here, and leave in one second.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_and_then_fast_gets_no_burst() {
    let store = Store::new(0, |_, seen| {
        let is_slow = seen.at < Duration::from_secs(5);
        Reply::status(201).after(Duration::from_millis(if is_slow { 4000 } else { 1 }))
    });
    let mut settings = settings();
    settings.rate = Some("100/s".parse().unwrap());
    settings.slots = Concurrency::fixed(64);
    let gate = gate(&store, &settings);
    let budget = Arc::new(ByteBudget::new(1 << 20));
    carry_all(&gate, &budget, 1500, 10, |_| {}).await;
    let seen = store.seen();
    assert!(peak(&seen, Duration::from_secs(1), |_| 1) <= 100);
    let last = seen.last().unwrap().at;
    // Two rounds of 64 until some 9 s, and then the rate.
    assert!(last < Duration::from_secs(25), "the rate is used: {last:?}");
}

/// A slot is given back before a wait: one slot serves the others while one waits a minute.
#[tokio::test(start_paused = true)]
async fn who_waits_holds_no_slot() {
    let store = Store::new(0, |_, seen| match (seen.work, seen.attempt) {
        // What asks one request to wait, and not the whole target.
        (Some(0), 1) => Reply::status(408).header("retry-after", "60"),
        _ => Reply::status(201),
    });
    let mut settings = settings();
    settings.slots = Concurrency::fixed(1);
    let gate = gate(&store, &settings);
    let budget = Arc::new(ByteBudget::new(1 << 20));
    carry_all(&gate, &budget, 100, 10, |_| {}).await;
    let last = store.seen().into_iter().filter(|seen| seen.work != Some(0));
    assert!(last.map(|seen| seen.at).max().unwrap() < Duration::from_secs(10));
    assert_eq!(store.most_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_overtaken_for_ever() {
    let store = Store::new(0, |_, _| Reply::status(201));
    let mut settings = settings();
    settings.rate = Some("100/s".parse().unwrap());
    settings.slots = Concurrency::fixed(64);
    settings.largest_request = 50;
    let gate = gate(&store, &settings);
    let budget = Arc::new(ByteBudget::new(1 << 20));
    carry_all(&gate, &budget, 1000, 10, |work| {
        if work.number == 70 {
            work.operations = 50;
        }
    })
    .await;
    let seen = store.seen();
    let place = seen.iter().position(|seen| seen.work == Some(70)).unwrap();
    assert!(place < 500, "not after all the others: {place}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    // A clock of its own for each: tokio's timers tick in whole milliseconds of it.
    let runs = [(); 2].map(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::new(7, troubled);
            let mut settings = settings();
            settings.slots = Concurrency { min: 1, max: 32 };
            let gate = gate(&store, &settings);
            let budget = Arc::new(ByteBudget::new(1 << 20));
            carry_all(&gate, &budget, 200, 10, |_| {}).await;
            store.seen()
        })
    });
    assert!(runs[0].len() > 200);
    assert_eq!(runs[0], runs[1]);
}
