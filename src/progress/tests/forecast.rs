//! Tests of what is foreseen: how long a load takes, and when nothing can be told.

use super::*;
use crate::progress::rate::Speed;

#[test]
fn a_forecast_is_made_neither_too_soon_nor_while_nothing_moves() {
    let mut speed = Speed::default();
    let mut now = Duration::ZERO;
    let mut done = 0;
    speed.wait(now);
    for tick in 1..=100 {
        now += crate::progress::TICK;
        done += 5;
        speed.look(now, done);
        if tick < 10 {
            assert_eq!(speed.remaining(100), None, "tick {tick}");
        }
    }
    // A steady speed is told without a bias from the beginning.
    assert!(
        (speed.per_second() - 50.0).abs() < 0.01,
        "{}",
        speed.per_second()
    );
    assert_eq!(
        speed.remaining(100).map(|left| left.as_secs_f64().round()),
        Some(2.0)
    );
    assert_eq!(speed.remaining(0), None);
    let mut forecasts = Vec::new();
    for _ in 0..6_000 {
        now += crate::progress::TICK;
        speed.look(now, done);
        forecasts.extend(speed.remaining(100));
    }
    assert!(
        forecasts.is_sorted(),
        "a pause makes it longer, not shorter"
    );
    assert_eq!(speed.remaining(100), None, "after ten minutes nobody knows");
}

#[test]
fn a_run_that_goes_on_begins_where_it_stands() {
    let paper = Paper::default();
    let mut run = Run::new(Lines::new(Box::new(paper.clone())));
    run.start_where_it_stands(&[("people", 1_000, &[], 400)]);
    for _ in 0..50 {
        run.sent(0, 1);
        run.settled(0, Outcome::Created, 1);
        run.wait(crate::progress::TICK);
    }
    let text = paper.text();
    // Records that were done before are no speed of now, and the forecast is for the rest.
    assert!(
        text.contains("450 of 1,000 records, 45%, 10.0/s, 55"),
        "{text}"
    );
    assert!(text.contains("40 rejected"), "{text}");

    let (paper, json) = (Paper::default(), Paper::default());
    let mut rerun = Run::new(Lines::new(Box::new(paper.clone())));
    rerun.start_where_it_stands(&[("people", 7_160, &[], 7_160)]);
    rerun.finish();
    assert!(
        paper.text().starts_with("7,160 of 7,160 records in"),
        "{}",
        paper.text()
    );
    let mut rerun = Run::new(Json::new(Box::new(json.clone())));
    rerun.start_where_it_stands(&[("people", 7_160, &[], 7_160)]);
    rerun.finish();
    assert!(json.text().contains(r#""done":7160"#), "{}", json.text());
}

#[test]
fn the_total_ends_when_the_last_load_does() {
    let foreseen = |after: &[u32]| {
        let mut run = Run::new(Json::new(Box::new(Paper::default())));
        run.start_where_it_stands(&[
            ("slow", 1_000, &[], 0),
            ("fast", 10_000, &[], 0),
            ("late", 3_030, after, 0),
        ]);
        for _ in 0..50 {
            for (load, count) in [(0, 1), (1, 100)] {
                run.sent(load, count);
                run.settled(load, Outcome::Created, count);
            }
            run.wait(crate::progress::TICK);
        }
        let view = run.counters.view(run.now, &mut run.speeds);
        let seconds = |left: Option<Duration>| (left.unwrap().as_millis() + 500) / 1000;
        assert_eq!(seconds(view.loads[0].remaining), 95);
        assert_eq!(seconds(view.loads[1].remaining), 5);
        seconds(view.total.remaining)
    };
    // One that has not begun goes as fast as all do, 1,010 a second.
    assert_eq!(foreseen(&[]), 95);
    assert_eq!(foreseen(&[1]), 95);
    assert_eq!(foreseen(&[0]), 98);
    assert_eq!(foreseen(&[0, 1]), 98);
}

#[test]
fn nothing_is_foreseen_while_a_target_is_down() {
    let paper = Paper::default();
    let mut run = Run::new(Lines::new(Box::new(paper.clone())));
    run.start(&[("people", 1_000)]);
    for _ in 0..10 {
        run.sent(0, 20);
        run.settled(0, Outcome::Created, 20);
        run.wait(SECOND);
    }
    run.outage(60);
    run.wait(SECOND / 2);
    let view = run.counters.view(run.now, &mut run.speeds);
    let text = paper.text();
    let (before, during) = text.split_once("clinic: down").unwrap();
    assert!(before.contains(" left, "), "{text}");
    assert!(!during.contains(" left, "), "{text}");
    assert!(during.contains("in flight, clinic down for"), "{text}");
    // The speed of before holds for afterwards.
    let left = view.total.remaining.unwrap();
    assert!(left < Duration::from_mins(1), "{left:?}");
}

#[test]
fn what_a_target_asked_to_wait_belongs_to_the_time_that_is_left() {
    let mut run = Run::new(Json::new(Box::new(Paper::default())));
    run.start(&[("people", 100)]);
    for _ in 0..5 {
        run.sent(0, 10);
        run.settled(0, Outcome::Created, 10);
        run.wait(SECOND);
    }
    let left = |run: &mut Run<Json>| {
        let view = run.counters.view(run.now, &mut run.speeds);
        let seconds = view.loads[0].remaining.unwrap().as_secs();
        assert_eq!(view.total.remaining.unwrap().as_secs(), seconds);
        seconds
    };
    let before = left(&mut run);
    run.target(Flow::Braked(60 * SECOND), 0, None);
    run.wait(SECOND / 10);
    assert!((60 + before..=61 + before).contains(&left(&mut run)));
}

/// A forecast by a speed that is past is none: with nothing settled for some time, hours were foreseen.
#[test]
fn nothing_is_foreseen_while_nothing_is_settled() {
    let paper = Paper::default();
    let mut run = Run::new(Lines::new(Box::new(paper.clone())));
    run.start(&[("people", 1_000)]);
    for _ in 0..10 {
        run.sent(0, 20);
        run.settled(0, Outcome::Created, 20);
        run.wait(SECOND);
    }
    run.sent(0, 1);
    run.wait(SECOND * 11);
    let foreseen = |run: &mut Run<Lines>| {
        let view = run.counters.view(run.now, &mut run.speeds);
        (view.total.remaining, view.loads[0].remaining)
    };
    assert_eq!(foreseen(&mut run), (None, None));
    run.settled(0, Outcome::Created, 1);
    run.wait(SECOND);
    let (total, load) = foreseen(&mut run);
    assert!(total.is_some() && load.is_some(), "{total:?} {load:?}");
}
