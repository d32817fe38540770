//! How the gate treats refusals that may be about the target: a store that vanished, rights that were taken away.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use stoker::gate::{ByteBudget, Conclusion, Flow, Gate, Safety, StopReason, Verdict};
use tokio::time::Instant;

use super::{
    carry_all, gate, settings,
    store::{Reply, Seen, Store},
    work::Work,
};

/// A gate that knows whom to ask; the store sees such a question as a request without work.
fn asking(store: &Arc<Store>) -> Gate {
    let read = Request::get("https://store.example/fhir/metadata");
    gate(store, &settings()).with_witness(read.body(Bytes::new()).unwrap())
}

fn budget() -> Arc<ByteBudget> {
    Arc::new(ByteBudget::new(64_000_000))
}

fn metadata() -> Reply {
    Reply::status(200).body("{\"resourceType\":\"CapabilityStatement\"}")
}

fn is_question(seen: &Seen) -> bool {
    seen.work.is_none()
}

fn questions(store: &Store) -> usize {
    store.seen().iter().filter(|seen| is_question(seen)).count()
}

fn count(ended: &[(Work, Conclusion)], is: impl Fn(&Verdict) -> bool) -> usize {
    ended.iter().filter(|(_, end)| is(&end.verdict)).count()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_vanishes_is_waited_for() {
    for status in [403, 404, 410, 302] {
        let store = Store::new(0, move |_, seen| {
            let is_gone = (5..125).contains(&seen.at.as_secs());
            match (is_gone, is_question(seen)) {
                (true, _) => Reply::status(status),
                (false, true) => metadata(),
                (false, false) => Reply::status(201),
            }
        });
        let gate = asking(&store);
        let budget = budget();
        let watch = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            gate.state()
        };
        let (ended, state) = tokio::join!(carry_all(&gate, &budget, 2000, 10, |_| {}), watch);
        assert_eq!(count(&ended, |verdict| *verdict == Verdict::Done), 2000);
        let Flow::Down { what, .. } = &state.flow else {
            panic!("{state:?}");
        };
        assert!(what.contains(&status.to_string()), "{what}");
        assert_eq!(gate.state().flow, Flow::Open);
        let seen = store.seen();
        let during = seen
            .iter()
            .filter(|seen| !is_question(seen) && (7..125).contains(&seen.at.as_secs()))
            .count();
        assert!(
            (4..20).contains(&during),
            "{during} probes in two minutes, {status}"
        );
        assert!(questions(&store) < 40, "{}", questions(&store));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_ends_the_run_and_burns_no_record() {
    let store = Store::new(0, |_, seen| match is_question(seen) {
        _ if seen.at.as_secs() >= 5 => Reply::status(404),
        true => metadata(),
        false => Reply::status(201),
    });
    let gate = asking(&store);
    let start = Instant::now();
    let ended = carry_all(&gate, &budget(), 2000, 10, |_| {}).await;
    let limits = Duration::from_mins(10)..Duration::from_secs(640);
    assert!(limits.contains(&start.elapsed()), "{:?}", start.elapsed());
    let done = count(&ended, |verdict| *verdict == Verdict::Done);
    let stopped = count(
        &ended,
        |verdict| matches!(verdict, Verdict::Stop(StopReason::TargetDown { what, .. }) if what.contains("404")),
    );
    assert_eq!((done + stopped, done < 1000), (2000, true));
}

/// A server that answers 404 or 405 for a type it does not have, and metadata that say that it is there.
#[tokio::test(start_paused = true)]
async fn what_is_refused_by_a_store_that_is_there_is_rejected() {
    for status in [404, 405, 410] {
        for share in [1, 10] {
            let store = Store::new(0, move |_, seen| match seen.work {
                None => metadata(),
                Some(work) if work.is_multiple_of(share) => Reply::status(status),
                Some(_) => Reply::status(201),
            });
            let gate = asking(&store);
            let start = Instant::now();
            let ended = carry_all(&gate, &budget(), 1000, 10, |_| {}).await;
            let rejected = count(&ended, |verdict| *verdict == Verdict::Rejected);
            let done = count(&ended, |verdict| *verdict == Verdict::Done);
            assert_eq!((rejected, done), (1000 / share, 1000 - 1000 / share));
            assert!(ended.iter().all(|(_, end)| end.attempts == 1));
            // 1,000 requests of 50 ms in 8 slots, and as many questions at the most.
            assert!(
                start.elapsed() < Duration::from_secs(15),
                "{:?}",
                start.elapsed()
            );
            assert!(questions(&store) <= rejected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_asked_rejects_after_all_attempts() {
    let store = Store::new(0, |_, seen| {
        Reply::status(if is_question(seen) { 500 } else { 404 })
    });
    let (_, end) = carry_all(&asking(&store), &budget(), 1, 10, |_| {})
        .await
        .remove(0);
    assert!(matches!(end.verdict, Verdict::Again { .. }), "{end:?}");
    assert_eq!((end.attempts, end.status), (5, Some(404)));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_everything_is_shut_out() {
    for status in [302, 403, 407] {
        // Rights that were taken away after the first 500 writes; what is only read is still answered.
        let store = Store::new(0, move |_, seen| match seen.work {
            None => metadata(),
            Some(_) if seen.taken >= 500 => Reply::status(status),
            Some(_) => Reply::status(201),
        });
        let ended = carry_all(&asking(&store), &budget(), 10_000, 10, |_| {}).await;
        let rejected = count(&ended, |verdict| *verdict == Verdict::Rejected);
        assert!(rejected < 60, "{rejected}");
        let stopped = count(
            &ended,
            |verdict| matches!(verdict, Verdict::Stop(StopReason::ShutOut { status: s, .. }) if *s == status),
        );
        let done = count(&ended, |verdict| *verdict == Verdict::Done);
        assert!((500..510).contains(&done), "{done}");
        assert_eq!(rejected + stopped + done, 10_000);
        assert!(store.seen().len() < 800, "{}", store.seen().len());
    }
}

/// A policy about some records is theirs, however many there are, as long as others get through.
#[tokio::test(start_paused = true)]
async fn who_is_refused_much_is_not_shut_out() {
    let store = Store::new(0, |_, seen| match seen.work {
        None => metadata(),
        Some(work) if work.is_multiple_of(10) => Reply::status(201),
        // What is wrong with a record got through, too.
        Some(work) if work.is_multiple_of(15) => Reply::status(422),
        Some(_) => Reply::status(403),
    });
    let ended = carry_all(&asking(&store), &budget(), 3000, 10, |_| {}).await;
    let rejected = count(&ended, |verdict| *verdict == Verdict::Rejected);
    assert_eq!(rejected, 2700);
}

/// Reads that a store answers with 404 as they should keep nobody from finding out that it is gone, and end no outage.
#[tokio::test(start_paused = true)]
async fn look_ups_wait_for_a_store_that_vanished() {
    let back = 60;
    let start = Arc::new(OnceLock::new());
    let began = Arc::clone(&start);
    let store = Store::new(0, move |_, seen| {
        let now = began.get_or_init(Instant::now).elapsed();
        match is_question(seen) {
            _ if (1..back).contains(&now.as_secs()) => Reply::status(404),
            true => metadata(),
            false => Reply::status(201),
        }
    });
    let gate = asking(&store);
    let budget = budget();
    let read = || {
        Request::get("https://store.example/fhir/Patient?identifier=1")
            .body(Bytes::new())
            .unwrap()
    };
    let search = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let found = gate.call_for_record(read).await.unwrap();
        (found.status().as_u16(), store_time(&start))
    };
    let all = carry_all(&gate, &budget, 500, 10, |work| {
        work.safety = Safety::Idempotent;
    });
    let (ended, (status, at)) = tokio::join!(all, search);
    assert_eq!(count(&ended, |verdict| *verdict == Verdict::Done), 500);
    assert_eq!(status, 200);
    assert!(at >= Duration::from_secs(back), "{at:?}");
}

fn store_time(start: &OnceLock<Instant>) -> Duration {
    start.get().map_or(Duration::ZERO, Instant::elapsed)
}
