use std::{os::unix::fs::PermissionsExt as _, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, Flow, LoadId, LoadPlanned, Observe as _, SettledBefore, TargetState},
    journal::RunDirectory,
};

fn directory(folder: &Path) -> RunDirectory {
    RunDirectory::create(folder, "clinic", "2026-11-23T07:00:00Z".parse().unwrap()).unwrap()
}

fn sample(second: u64, target: &str) -> Sample {
    Sample {
        at_ms: second * 1_000,
        for_ms: 1_000,
        session: 1,
        target: target.to_owned(),
        outcomes: BTreeMap::from([(Outcome::Created, second), (Outcome::Rejected, 1)]),
        attempts: 3,
        latency: vec![(20, 1), (30 + u8::try_from(second % 4).unwrap(), 2)],
        in_flight: 4,
        slots: u32::try_from(second).unwrap(),
        bytes_sent: 10,
        ..Sample::default()
    }
}

fn planned(target: &str) -> LoadPlanned {
    LoadPlanned {
        name: "people".to_owned(),
        target: target.to_owned(),
        records: 9,
        bytes: 9,
        after: Vec::new(),
        before: SettledBefore::default(),
    }
}

#[test]
fn a_bucket_holds_what_it_says() {
    for micros in (0..40).map(|power| 1_u64 << power) {
        let latency = Duration::from_micros(micros);
        let place = bucket(latency);
        assert!(place < BUCKETS);
        if place < BUCKETS - 1 {
            let slack = Duration::from_nanos(100);
            assert!(latency <= upper(place) + slack, "{latency:?} {place}");
            assert!(place == 0 || latency > upper(place - 1), "{latency:?}");
        }
    }
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    assert_eq!(upper(4), Duration::from_micros(200));
}

#[test]
fn a_quantile_is_the_upper_end_of_its_bucket() {
    let mut one = Sample::default();
    assert_eq!(one.quantile(0.5), None);
    one.latency = vec![(4, 98), (8, 1), (12, 1)];
    assert_eq!(one.quantile(0.5), Some(upper(4)));
    assert_eq!(one.quantile(0.99), Some(upper(8)));
    assert_eq!(one.quantile(1.0), Some(upper(12)));
}

proptest! {
    #[test]
    fn folding_loses_no_count(seconds in prop::collection::vec((0_u64..500, 0_usize..3), 0..200), most in 4_usize..64) {
        let names = ["a", "b", "c"];
        let samples: Vec<_> = seconds.iter().map(|(second, target)| sample(*second, names[*target])).collect();
        let width = width(&samples, most, 1_000);
        let folded = fold(samples.clone(), width);
        prop_assert!(folded.len() <= most);
        let sums = |samples: &[Sample]| {
            let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
            let latencies = samples.iter().flat_map(|s| &s.latency).map(|(_, count)| count).sum::<u64>();
            (sum(Sample::settled), sum(|s| s.attempts), sum(|s| s.bytes_sent), latencies)
        };
        prop_assert_eq!(sums(&samples), sums(&folded));
        prop_assert_eq!(samples.iter().map(|s| s.slots).max(), folded.iter().map(|s| s.slots).max());
        prop_assert_eq!(samples.iter().map(Sample::end_ms).max(), folded.iter().map(Sample::end_ms).max());
        prop_assert!(folded.iter().all(|s| s.for_ms <= width + 1_000));
        prop_assert!(folded.iter().all(|s| s.latency.is_sorted()));
    }
}

#[test]
fn sessions_are_not_folded_into_each_other() {
    let later = Sample {
        session: 2,
        ..sample(1, "a")
    };
    let folded = fold(vec![sample(0, "a"), later], 60_000);
    assert_eq!(folded.len(), 2);
}

#[test]
fn what_happened_is_counted_at_its_target_once() {
    let recorder = Recorder::default();
    assert!(recorder.take(1, Duration::ZERO, Duration::ZERO).is_empty());
    let loads = vec![planned("one"), planned("two"), planned("one")];
    recorder.observe(&Event::Started { loads });
    for load in [0, 2, 2, 1] {
        let load = LoadId(load);
        recorder.observe(&Event::Sent { load, bytes: 100 });
        recorder.observe(&Event::Answered {
            load,
            status: Some(429),
            is_refused: load.0 == 2,
            latency: Duration::from_micros(150),
            bytes: 7,
        });
        recorder.observe(&Event::Settled {
            load,
            outcome: if load.0 == 1 {
                Outcome::Pending
            } else {
                Outcome::Created
            },
            bytes: 50,
        });
    }
    recorder.observe(&Event::Retrying {
        load: LoadId(1),
        after: Duration::ZERO,
    });
    let state = |flow, in_flight, ceiling| Event::Target {
        name: "two".to_owned(),
        state: TargetState {
            flow,
            slots: 8,
            in_flight,
            ceiling,
            rate: None,
        },
    };
    recorder.observe(&state(Flow::Braked(Duration::from_secs(1)), 5, Some(40.0)));
    std::thread::sleep(Duration::from_millis(20));
    recorder.observe(&state(Flow::Open, 0, Some(30.0)));
    let taken = recorder.take(3, Duration::from_secs(7), Duration::from_secs(1));
    let [one, two] = &*taken else {
        panic!("{taken:?}")
    };
    assert_eq!((one.at_ms, one.for_ms, one.session), (7_000, 1_000, 3));
    assert_eq!((one.attempts, one.refusals, one.retries), (3, 2, 0));
    assert_eq!(one.outcomes, BTreeMap::from([(Outcome::Created, 3)]));
    assert_eq!((one.bytes_sent, one.bytes_received), (300, 21));
    assert_eq!(one.latency, [(3, 3)]);
    assert_eq!((two.settled(), two.retries), (0, 1));
    assert_eq!((two.in_flight, two.slots), (5, 8));
    assert_eq!(two.ceiling, Some(30.0));
    assert!(two.braked_ms >= 20 && two.down_ms == 0, "{two:?}");
    let after = recorder.take(3, Duration::from_secs(8), Duration::from_secs(1));
    assert!(after.is_empty(), "{after:?}");
}

#[test]
fn a_torn_or_foreign_line_costs_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let run = directory(folder.path());
    assert_eq!(read(&run).unwrap(), None);
    let lines = [sample(1, "a"), sample(0, "a")].map(|s| serde_json::to_string(&s).unwrap());
    let huge = Sample {
        attempts: u64::MAX,
        ..sample(2, "a")
    };
    let text = format!(
        "{}\n{{\"no\":1}}\n{}\n{}\n{{\"at_ms\":9,\"for",
        lines[0],
        lines[1],
        serde_json::to_string(&huge).unwrap()
    );
    fs_err::write(path(&run), text).unwrap();
    let found = read(&run).unwrap().unwrap();
    assert_eq!(found.samples, [sample(0, "a"), sample(1, "a")]);
    assert_eq!(found.unreadable, 2);
    // A line appended by a later session does not continue the torn one.
    let sampling = Sampling::begin(&run, 2, Duration::from_secs(1));
    let watch = sampling.observer();
    watch.observe(&Event::Started {
        loads: vec![planned("a")],
    });
    watch.observe(&Event::Sent {
        load: LoadId(0),
        bytes: 1,
    });
    sampling.finish().unwrap();
    let found = read(&run).unwrap().unwrap();
    assert_eq!((found.samples.len(), found.unreadable), (3, 0));
    let last = found.samples.last().unwrap();
    assert_eq!((last.session, last.attempts), (2, 1));
    assert!(last.at_ms >= 2_000, "it begins where the last one ended");
    let mode = fs_err::metadata(path(&run)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn ten_hours_take_no_more_lines_than_half_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let run = directory(folder.path());
    let hours = 10 * 3_600;
    let mut lines = writer::Lines::open(run.clone()).unwrap();
    let mut most = 0;
    for second in 0..hours {
        lines.append(&[sample(second, "a")], 1).unwrap();
        most = std::cmp::max(most, lines.count);
    }
    assert!(most <= 2_048 + 128, "{most}");
    let found = read(&run).unwrap().unwrap();
    assert_eq!(found.samples.len(), lines.count);
    let attempts: u64 = found.samples.iter().map(|s| s.attempts).sum();
    assert_eq!(attempts, 3 * hours);
    // All of it is equally fine, but for the latest.
    assert!(found.samples.iter().all(|s| s.for_ms <= 32_000));
    // A later session goes on with the same width.
    let again = writer::Lines::open(run).unwrap();
    assert_eq!(again.width, lines.width);
}
