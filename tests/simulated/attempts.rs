//! When the gate tries again, when it gives up, and what it then says.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, rngs::SmallRng};
use stoker::{
    auth::{self, Credentials},
    gate::{ByteBudget, Conclusion, FaultKind, Moment, Safety, StopReason, Verdict},
};
use tokio::time::Instant;

use super::{
    carry_all, gate, gate_with, settings,
    store::{Reply, Store},
    work::Work,
};

fn budget() -> Arc<ByteBudget> {
    Arc::new(ByteBudget::new(64_000_000))
}

async fn carry_one(store: &Arc<Store>, prepare: impl Fn(&mut Work)) -> (Work, Conclusion) {
    let gate = gate(store, &settings());
    carry_all(&gate, &budget(), 1, 10, prepare).await.remove(0)
}

#[tokio::test(start_paused = true)]
async fn latency_is_the_last_attempt_on_the_wire() {
    let store = Store::new(0, |_, seen| match seen.attempt {
        1 => Reply::status(429).after(Duration::from_secs(9)),
        _ => Reply::status(201).after(Duration::from_millis(70)),
    });
    let (work, end) = carry_one(&store, |_| {}).await;
    assert_eq!(end.verdict, Verdict::Done);
    assert_eq!((end.attempts, end.status), (2, Some(201)));
    assert_eq!(end.latency.as_millis(), 70);
    let words: Vec<_> = work
        .moments
        .iter()
        .map(|moment| match moment {
            Moment::Sent { .. } => "sent",
            Moment::Answered { .. } => "answered",
            Moment::Retrying { .. } => "retrying",
        })
        .collect();
    assert_eq!(words, ["sent", "answered", "retrying", "sent", "answered"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_refusing_uses_up_the_attempts() {
    for (status, safety, attempts) in [
        (429, Safety::Once, 5),
        (503, Safety::Idempotent, 5),
        (500, Safety::Idempotent, 5),
        (500, Safety::Once, 1),
        (422, Safety::Once, 1),
    ] {
        let store = Store::new(0, move |_, _| Reply::status(status));
        let (_, end) = carry_one(&store, |work| work.safety = safety).await;
        assert_eq!(end.attempts, attempts, "{status} {safety:?}");
        assert_eq!(end.status, Some(status));
        assert_ne!(end.verdict, Verdict::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_fault_ends_what_must_not_be_sent_twice() {
    for kind in [
        FaultKind::Timeout,
        FaultKind::Interrupted,
        FaultKind::Response,
    ] {
        let store = Store::new(0, move |_, seen| match seen.attempt {
            1 => Reply::fault(kind).takes_place(),
            _ => Reply::status(201),
        });
        let (_, once) = carry_one(&store, |_| {}).await;
        assert_eq!(
            (once.verdict, once.attempts),
            (Verdict::Unknown, 1),
            "{kind:?}"
        );
        assert_eq!(store.effects(0), 1);
        let store = Store::new(0, move |_, seen| match seen.attempt {
            1 => Reply::fault(kind).takes_place(),
            _ => Reply::status(201),
        });
        let (_, twice) = carry_one(&store, |work| work.safety = Safety::Idempotent).await;
        assert_eq!(
            (twice.verdict, twice.attempts),
            (Verdict::Done, 2),
            "{kind:?}"
        );
    }
}

/// A server that lets go of a connection is well: the next one takes the request, and at once.
#[tokio::test(start_paused = true)]
async fn who_is_turned_away_comes_again_at_once_and_then_waits() {
    for safety in [Safety::Once, Safety::Idempotent] {
        let store = Store::new(0, |_, seen| match seen.attempt {
            1 => Reply::fault(FaultKind::TurnedAway),
            _ => Reply::status(201),
        });
        let (work, end) = carry_one(&store, |work| work.safety = safety).await;
        assert_eq!((end.verdict, end.attempts), (Verdict::Done, 2));
        assert_eq!(work.waits(), [Duration::ZERO]);
    }
    // One that does nothing else is down, and no record is given up for it.
    let store = Store::new(0, |_, _| Reply::fault(FaultKind::TurnedAway));
    let (work, end) = carry_one(&store, |_| {}).await;
    let is_down = matches!(end.verdict, Verdict::Stop(StopReason::TargetDown { .. }));
    assert!(is_down, "{end:?}");
    assert!(!end.may_have_been_sent);
    assert!(work.waits()[1..].iter().any(|wait| !wait.is_zero()));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_the_least_wait_in_both_its_forms() {
    let store = Store::new(0, |_, seen| match seen.attempt {
        1 => Reply::status(503).header("retry-after", "90"),
        2 => {
            let date = std::time::SystemTime::now() + Duration::from_mins(2);
            Reply::status(429).header("retry-after", &httpdate::fmt_http_date(date))
        }
        3 => Reply::status(503).header("retry-after", "31536000"),
        _ => Reply::status(201),
    });
    let (work, end) = carry_one(&store, |_| {}).await;
    assert_eq!(end.verdict, Verdict::Done);
    for (wait, least) in work.waits().iter().zip([90, 118]) {
        let least = Duration::from_secs(least);
        assert!(
            *wait >= least && *wait <= least + least / 4 + Duration::from_secs(33),
            "{wait:?}"
        );
    }
    // The last is longer than `give_up_after`, and ends with it.
    let all: Duration = work.waits().iter().sum();
    assert!((599..=600).contains(&all.as_secs()), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_are_jittered_over_their_whole_span() {
    // Half of the work is taken at once, so that the store does not seem to be down.
    let is_refused = |work: usize| work.is_multiple_of(2);
    let store = Store::new(0, move |_, seen| {
        let is_refused = is_refused(seen.work.unwrap()) && seen.attempt < 3;
        Reply::status(if is_refused { 503 } else { 201 })
    });
    let gate = gate(&store, &settings());
    let mut ended = carry_all(&gate, &budget(), 800, 10, |_| {}).await;
    ended.retain(|(work, _)| is_refused(work.number));
    for (attempt, span) in [(0, 500), (1, 1000)] {
        let waits: Vec<u128> = ended
            .iter()
            .map(|(work, _)| work.waits()[attempt].as_millis())
            .collect();
        assert!(waits.iter().all(|wait| *wait <= span));
        for quarter in 0..4 {
            let inside =
                |wait: &&u128| (span * quarter / 4..=span * (quarter + 1) / 4).contains(*wait);
            let share = waits.iter().filter(inside).count();
            assert!(
                (50..150).contains(&share),
                "{attempt} {quarter}: {share} of 400"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bundle_shrinks_and_costs_what_is_left() {
    let store = Store::new(0, |_, seen| {
        Reply::status(if seen.operations > 1 { 207 } else { 201 })
    });
    let (_, end) = carry_one(&store, |work| work.operations = 8).await;
    assert_eq!(end.verdict, Verdict::Done);
    let operations: Vec<_> = store.seen().iter().map(|seen| seen.operations).collect();
    assert_eq!(operations, [8, 4, 2, 1]);
}

/// Hands out a new token when the old one was refused; the good one is number `good`.
#[derive(Debug)]
struct Tokens {
    number: AtomicU32,
    renewals: u32,
}

impl Credentials for Tokens {
    fn header(
        &self,
    ) -> futures::future::BoxFuture<'_, Result<Option<http::HeaderValue>, auth::Error>> {
        let number = self.number.load(Ordering::SeqCst);
        Box::pin(async move { Ok(Some(format!("Bearer {number}").parse().unwrap())) })
    }

    fn refused(&self) -> bool {
        self.number.fetch_add(1, Ordering::SeqCst) < self.renewals
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed_and_a_refused_one_ends_the_run() {
    let accepts = |_: &mut rand::rngs::SmallRng, seen: &super::store::Seen| {
        let good = seen.authorization.as_deref() == Some("Bearer 1");
        Reply::status(if good { 201 } else { 401 })
    };
    let tokens = |renewals| {
        Arc::new(Tokens {
            number: AtomicU32::new(0),
            renewals,
        })
    };
    let store = Store::new(0, accepts);
    let renewing = gate_with(&store, tokens(1), &settings());
    let (_, end) = carry_all(&renewing, &budget(), 1, 10, |_| {})
        .await
        .remove(0);
    assert_eq!((end.verdict, end.attempts), (Verdict::Done, 2));
    let store = Store::new(0, |_, _| Reply::status(401));
    let refused = gate_with(&store, tokens(9), &settings());
    let (_, end) = carry_all(&refused, &budget(), 1, 10, |_| {})
        .await
        .remove(0);
    assert!(
        matches!(end.verdict, Verdict::Stop(StopReason::Credentials { .. })),
        "{end:?}"
    );
    assert_eq!(end.attempts, 4);
    assert_eq!(store.effects(0), 0);
}

/// Tokens that expire one after the other have each been good for somebody.
#[tokio::test(start_paused = true)]
async fn tokens_that_expire_soon_are_renewed_for_ever() {
    let expired = Mutex::new(BTreeSet::new());
    let store = Store::new(0, move |random: &mut SmallRng, seen| {
        let token = seen.authorization.clone().unwrap();
        let mut expired = expired.lock().unwrap();
        if random.random_bool(0.02) {
            expired.insert(token.clone());
        }
        Reply::status(if expired.contains(&token) { 401 } else { 201 })
    });
    let tokens = Arc::new(Tokens {
        number: AtomicU32::new(0),
        renewals: u32::MAX,
    });
    let gate = gate_with(&store, tokens, &settings());
    let ended = carry_all(&gate, &budget(), 2000, 10, |_| {}).await;
    assert!(ended.iter().all(|(_, end)| end.verdict == Verdict::Done));
}

/// Another host gets none of what was made for this one.
#[tokio::test(start_paused = true)]
async fn credentials_go_to_their_own_host_only() {
    let store = Store::new(0, |_, _| Reply::status(201));
    let tokens = Arc::new(Tokens {
        number: AtomicU32::new(1),
        renewals: 0,
    });
    let gate = gate_with(&store, tokens, &settings());
    for url in [
        "https://store.example/fhir/Patient",
        "https://other.example/fhir/Patient",
        "http://store.example/fhir/Patient",
        "https://store.example:8443/fhir/Patient",
    ] {
        carry_all(&gate, &budget(), 1, 10, |work| work.url = url).await;
    }
    let sent: Vec<bool> = store
        .seen()
        .iter()
        .map(|seen| seen.authorization.is_some())
        .collect();
    assert_eq!(sent, [true, false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_uses_up_no_attempts_and_is_given_up() {
    let start = Instant::now();
    let store = Store::new(0, move |_, _| {
        if start.elapsed() < Duration::from_mins(9) {
            Reply::fault(FaultKind::Connect)
        } else {
            Reply::status(201)
        }
    });
    let (_, end) = carry_one(&store, |_| {}).await;
    assert_eq!(end.verdict, Verdict::Done);
    assert!(end.attempts > 5, "it came back within the time");
    let store = Store::new(0, |_, _| Reply::fault(FaultKind::Connect));
    let (_, end) = carry_one(&store, |_| {}).await;
    let Verdict::Stop(StopReason::TargetDown { down, .. }) = end.verdict else {
        panic!("{end:?}");
    };
    assert!(down >= Duration::from_mins(10) && down < Duration::from_mins(11));
}
