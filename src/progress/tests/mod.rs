//! Tests of bars, lines and JSON, on terminals and papers of their own; `forecast` has those of what is foreseen.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use indicatif::{ProgressDrawTarget, TermLike};

use super::{
    Draw, Ink, Watcher,
    bars::Bars,
    counters::{Counters, Speeds},
    json::Json,
    lines::Lines,
};
use crate::{
    event::{Event, Flow, LoadId, LoadPlanned, Observe as _, SettledBefore, TargetState},
    record::Outcome,
};

mod beginning;
mod forecast;

/// A paper that keeps what was written, for tests that gave the writer away.
#[derive(Clone, Debug, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that keeps every text that was written to it as a line, and moves nowhere.
#[derive(Clone, Debug)]
struct Terminal {
    width: u16,
    lines: Paper,
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.width
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        writeln!(self.lines.clone(), "{line}")
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        // indicatif fills every line to the edge instead of breaking it; a bar is one call.
        writeln!(self.lines.clone(), "{text}")
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(width: u16) -> (Terminal, ProgressDrawTarget) {
    let terminal = Terminal {
        width,
        lines: Paper::default(),
    };
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
    (terminal, target)
}

/// A run that a test moves on, tick by tick.
struct Run<D> {
    counters: Counters,
    speeds: Speeds,
    now: Duration,
    draw: D,
}

impl<D: Draw> Run<D> {
    fn new(draw: D) -> Self {
        Self {
            counters: Counters::default(),
            speeds: Speeds::default(),
            now: Duration::ZERO,
            draw,
        }
    }

    fn started(draw: D, loads: &[(&str, u64)]) -> Self {
        let run = Self::new(draw);
        run.start(loads);
        run
    }

    fn start(&self, loads: &[(&str, u64)]) {
        let loads = loads.iter().map(|(name, records)| LoadPlanned {
            name: (*name).to_owned(),
            target: "clinic".to_owned(),
            records: *records,
            bytes: records * 100,
            after: Vec::new(),
            before: SettledBefore::default(),
        });
        self.counters.observe(&Event::Started {
            loads: loads.collect(),
        });
    }

    /// Begins with loads as `(name, records, loads that end before, records that had an outcome before)`.
    fn start_where_it_stands(&self, loads: &[(&str, u64, &[u32], u64)]) {
        let loads = loads
            .iter()
            .map(|(name, records, after, done)| LoadPlanned {
                name: (*name).to_owned(),
                target: "clinic".to_owned(),
                records: *records,
                bytes: records * 100,
                after: after.iter().copied().map(LoadId).collect(),
                before: SettledBefore {
                    done: *done,
                    rejected: done / 10,
                    failed: 0,
                },
            });
        self.counters.observe(&Event::Started {
            loads: loads.collect(),
        });
    }

    fn sent(&self, load: u32, count: u64) {
        for _ in 0..count {
            self.counters.observe(&Event::Sent {
                load: LoadId(load),
                bytes: 100,
            });
        }
    }

    fn settled(&self, load: u32, outcome: Outcome, count: u64) {
        for _ in 0..count {
            self.counters.observe(&Event::Answered {
                load: LoadId(load),
                status: Some(201),
                is_refused: false,
                latency: Duration::from_millis(1),
                bytes: 0,
            });
            self.counters.observe(&Event::Settled {
                load: LoadId(load),
                outcome,
                bytes: 100,
            });
        }
    }

    fn target(&self, flow: Flow, in_flight: u32, ceiling: Option<f64>) {
        self.target_at(flow, in_flight, ceiling, None);
    }

    fn target_at(&self, flow: Flow, in_flight: u32, ceiling: Option<f64>, rate: Option<&str>) {
        self.counters.observe(&Event::Target {
            name: "clinic".to_owned(),
            state: TargetState {
                flow,
                slots: 32,
                in_flight,
                ceiling,
                rate: rate.map(|rate| rate.parse().unwrap()),
            },
        });
    }

    /// A target that is down for a time, seen every second.
    fn outage(&mut self, seconds: u32) {
        for passed in 0..seconds {
            self.target(down(passed), 1, None);
            self.wait(SECOND);
        }
        self.target(Flow::Open, 8, None);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += super::TICK;
            let view = self.counters.view(self.now, &mut self.speeds);
            self.draw.draw(&view);
        }
    }

    fn finish(&mut self) {
        let view = self.counters.view(self.now, &mut self.speeds);
        self.draw.finish(&view);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn down(seconds: u32) -> Flow {
    Flow::Down {
        since: seconds * SECOND,
        left: (300 - seconds) * SECOND,
        what: "store.example:443: connection refused".to_owned(),
    }
}

#[test]
fn lines_come_seldom_and_say_how_it_goes() {
    let paper = Paper::default();
    let mut run = Run::new(Lines::new(Box::new(paper.clone())));
    run.counters.observe(&Event::Scanning {
        records: 1_234,
        bytes: 5_000_000,
    });
    run.wait(5 * SECOND);
    run.start(&[("people", 300), ("results", 1)]);
    run.sent(0, 8);
    run.sent(1, 1);
    for _ in 0..7 {
        run.wait(SECOND);
        run.sent(0, 10);
        run.settled(0, Outcome::Created, 10);
    }
    run.settled(1, Outcome::Rejected, 1);
    run.counters.observe(&Event::Retrying {
        load: LoadId(0),
        after: SECOND,
    });
    run.wait(SECOND);
    run.counters.observe(&Event::Stopping {
        reason: "1 record failed".to_owned(),
    });
    run.wait(2 * SECOND);
    run.finish();
    insta::assert_snapshot!(paper.text(), @r##"
    reading the sources: 1,234 records, 5.0 MB
    40 of 301 records, 13%, 8.0/s, 32.5 s left, 9 in flight
    results: 1 of 1 record, 1 rejected
    stopping: 1 record failed
    71 of 301 records, 23%, 6.3/s, 36.9 s left, 8 in flight, 1 retry, 1 rejected
    71 of 301 records in 15.0 s, 1 retry, 1 rejected
    "##);
}

#[test]
fn lines_say_once_that_a_target_is_down_and_once_that_it_is_back() {
    let paper = Paper::default();
    let mut run = Run::started(Lines::new(Box::new(paper.clone())), &[("people", 300)]);
    run.target(Flow::Open, 8, None);
    run.sent(0, 8);
    run.wait(SECOND);
    run.outage(12);
    run.wait(SECOND);
    // It asks to wait again and again.
    for asked in 0..20 {
        run.target(Flow::Braked(SECOND * 3 / 4), 2, None);
        run.wait(SECOND / 4);
        run.target(Flow::Open, asked, Some(95.26));
        run.wait(SECOND / 4);
    }
    run.finish();
    insta::assert_snapshot!(paper.text(), @r##"
    clinic: down (store.example:443: connection refused), trying again; gives up in 5m 00s
    0 of 300 records, 0%, 0.0/s, 8 of 32 in flight, clinic down for 3 s, trying again; gives up in 4m 57s
    0 of 300 records, 0%, 0.0/s, 8 of 32 in flight, clinic down for 8 s, trying again; gives up in 4m 52s
    clinic: back after 11 s
    clinic: asked us to wait 1 s
    0 of 300 records, 0%, 0.0/s, 8 of 32 in flight
    clinic: asked us to wait 1 s
    0 of 300 records, 0%, 0.0/s, 8 of 32 in flight
    clinic: asked us to wait 1 s
    0 of 300 records, 0%, 0.0/s, 8 of 32 in flight
    0 of 300 records in 26.0 s
    "##);
}

#[test]
fn bars_say_how_sending_goes() {
    let mut lines = Vec::new();
    let states = [
        (Flow::Open, 8, None, None),
        (Flow::Open, 0, None, Some("20/s")),
        (Flow::Open, 1_024, Some(95.26), Some("6000/min")),
        (Flow::Braked(SECOND * 31 / 10), 2, None, None),
        (Flow::Braked(90 * SECOND), 0, Some(1234.5), None),
        (down(12), 1, None, Some("20/s")),
        (down(299), 1, None, None),
        (down(300), 1, None, None),
    ];
    for (flow, in_flight, ceiling, rate) in states {
        // indicatif leaves out what comes too soon after the last, so each has a terminal of its own.
        let (terminal, target) = terminal(120);
        let mut run = Run::started(Bars::new(target, Ink::default()), &[("people", 300)]);
        run.target_at(flow, in_flight, ceiling, rate);
        run.wait(SECOND / 10);
        let text = terminal.lines.text();
        let last = text.lines().rfind(|line| line.contains("to clinic"));
        lines.push(last.unwrap_or_default().trim_end().to_owned());
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    to clinic: 8 of 32 in flight
    to clinic: 0 of 32 in flight, at most 20/s by its rate
    to clinic: 1,024 of 32 in flight, at most 95.3/s
    to clinic: asked us to wait 4 s  2 of 32 in flight
    to clinic: asked us to wait 1m 30s  0 of 32 in flight, at most 1,235/s
    to clinic: down for 12 s, trying again; gives up in 4m 48s (store.example:443: connection refused)
    to clinic: down for 4m 59s, trying again; gives up in 1 s (store.example:443: connection refused)
    to clinic: down for 5m 00s, trying again; gives up if it fails (store.example:443: connection refused)
    "##);
}

#[test]
fn json_comes_every_second_with_the_same_members() {
    let paper = Paper::default();
    let mut run = Run::new(Json::new(Box::new(paper.clone())));
    run.counters.observe(&Event::Scanning {
        records: 3,
        bytes: 99,
    });
    run.wait(SECOND / 10);
    run.start(&[("people", 4)]);
    run.target(Flow::Open, 2, Some(95.26));
    run.sent(0, 2);
    run.settled(0, Outcome::Created, 1);
    run.wait(SECOND);
    run.target(Flow::Braked(3 * SECOND), 1, None);
    run.wait(SECOND);
    run.target(down(12), 1, None);
    run.settled(0, Outcome::Blocked, 1);
    run.counters.observe(&Event::Stopping {
        reason: "interrupted".to_owned(),
    });
    run.finish();
    insta::assert_snapshot!(paper.text(), @r##"
    {"progress":1,"phase":"scanning","elapsed_ms":100,"scanned_records":3,"scanned_bytes":99,"records":0,"done":0,"bytes":0,"records_per_second":0.0,"remaining_ms":null,"in_flight":0,"retries":0,"rejected":0,"failed":0,"stopping":null,"loads":[],"targets":[]}
    {"progress":1,"phase":"loading","elapsed_ms":1100,"records":4,"done":1,"bytes":100,"records_per_second":1.0,"remaining_ms":3139,"in_flight":1,"retries":0,"rejected":0,"failed":0,"stopping":null,"loads":[{"name":"people","target":"clinic","records":4,"done":1,"bytes":100,"records_per_second":1.0,"remaining_ms":3139,"in_flight":1,"retries":0,"rejected":0,"failed":0}],"targets":[{"name":"clinic","flow":"open","slots":32,"in_flight":2,"ceiling":95.3}]}
    {"progress":1,"phase":"loading","elapsed_ms":2100,"records":4,"done":1,"bytes":100,"records_per_second":0.5,"remaining_ms":9608,"in_flight":1,"retries":0,"rejected":0,"failed":0,"stopping":null,"loads":[{"name":"people","target":"clinic","records":4,"done":1,"bytes":100,"records_per_second":0.5,"remaining_ms":9608,"in_flight":1,"retries":0,"rejected":0,"failed":0}],"targets":[{"name":"clinic","flow":"braked","slots":32,"in_flight":1,"ceiling":null,"wait_ms":3000}]}
    {"progress":1,"phase":"finished","elapsed_ms":2100,"records":4,"done":2,"bytes":200,"records_per_second":0.0,"remaining_ms":null,"in_flight":0,"retries":0,"rejected":0,"failed":1,"stopping":"interrupted","loads":[{"name":"people","target":"clinic","records":4,"done":2,"bytes":200,"records_per_second":0.0,"remaining_ms":null,"in_flight":0,"retries":0,"rejected":0,"failed":1}],"targets":[{"name":"clinic","flow":"down","slots":32,"in_flight":1,"ceiling":null,"down_ms":12000,"gives_up_in_ms":288000,"because":"store.example:443: connection refused"}]}
    "##);
    for line in paper.text().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn bars_never_wrap_however_narrow_the_terminal() {
    for width in [20, 40, 80, 200] {
        let (terminal, target) = terminal(width);
        let mut run = Run::new(Bars::new(
            target,
            Ink {
                is_coloured: true,
                is_ascii: false,
            },
        ));
        run.counters.observe(&Event::Scanning {
            records: 123_456_789,
            bytes: u64::MAX / 2,
        });
        run.wait(SECOND);
        let loads = [
            ("people", 100_000),
            ("a load with a very long name indeed", 5),
        ];
        let mut run = Run::started(run.draw, &loads);
        run.sent(0, 500);
        run.target(down(100), 1, None);
        run.settled(0, Outcome::Rejected, 20);
        run.settled(1, Outcome::Created, 5);
        run.wait(SECOND);
        run.counters.observe(&Event::Stopping {
            reason: "more records failed than the manifest allows".to_owned(),
        });
        run.wait(SECOND);
        run.finish();
        let text = terminal.lines.text();
        for line in text.lines() {
            let plain = console_width(line);
            assert!(plain <= usize::from(width), "{width}: {plain}: {line:?}");
        }
        if width == 200 {
            assert!(text.contains("\x1b[31m20 rejected"), "{text}");
            assert!(text.contains("stopping: more records failed"), "{text}");
            assert!(text.contains("123,456,789 records"), "{text}");
        }
    }
}

/// The columns of a line without its colours.
fn console_width(line: &str) -> usize {
    let mut width = 0;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            '\r' => {}
            _ => width += 1,
        }
    }
    width
}

#[test]
fn bars_show_a_line_a_load_and_a_total() {
    let (terminal, target) = terminal(100);
    let mut run = Run::started(
        Bars::new(target, Ink::default()),
        &[("people", 20), ("results", 400)],
    );
    run.sent(0, 20);
    run.sent(1, 50);
    for _ in 0..10 {
        run.settled(0, Outcome::Created, 2);
        run.settled(1, Outcome::Updated, 4);
        run.wait(SECOND);
    }
    run.settled(1, Outcome::Rejected, 1);
    run.wait(SECOND);
    run.finish();
    let text = terminal.lines.text();
    assert!(!text.contains('\x1b'), "colour was not asked for");
    let last = |name: &str| {
        let mut lines = text.lines().filter(|line| line.contains(name));
        lines.next_back().unwrap_or_default().trim_end().to_owned()
    };
    insta::assert_snapshot!([last("people"), last("results"), last("total")].join("\n"), @r##"
    ████████████████ people    20/20   100%  2.2/s
    █▋               results   41/400   10%  1 rejected  3.4/s  ETA 1m 45s
    ██▍              total     61/420   14%  1 rejected  5.1/s  ETA 1m 45s
    "##);
}

#[test]
fn a_terminal_of_ascii_gets_ascii() {
    let (terminal, target) = terminal(100);
    let ink = Ink {
        is_coloured: false,
        is_ascii: true,
    };
    let mut run = Run::started(Bars::new(target, ink), &[("people", 20)]);
    run.sent(0, 20);
    run.settled(0, Outcome::Created, 10);
    run.wait(SECOND);
    run.finish();
    let text = terminal.lines.text();
    assert!(
        text.contains("####") && text.contains("---- people"),
        "{text}"
    );
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn what_was_not_tried_is_not_done() {
    let mut run = Run::started(Lines::new(Box::new(io::sink())), &[("people", 3)]);
    run.settled(0, Outcome::Created, 1);
    run.settled(0, Outcome::Pending, 2);
    let view = run.counters.view(run.now, &mut run.speeds);
    assert_eq!((view.total.done, view.total.bytes), (1, 100));
    // Nobody is told of loads that the plan does not have.
    run.settled(7, Outcome::Created, 1);
    let view = run.counters.view(run.now, &mut run.speeds);
    assert_eq!(view.total.done, 1);
}

#[test]
fn a_watcher_counts_from_many_threads_and_finishes_once() {
    let paper = Paper::default();
    let watcher = Watcher::lines(Box::new(paper.clone()));
    let observer = watcher.observer();
    observer.observe(&Event::Started {
        loads: vec![LoadPlanned {
            name: "people".to_owned(),
            target: "clinic".to_owned(),
            records: 4_000,
            bytes: 0,
            after: Vec::new(),
            before: SettledBefore::default(),
        }],
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    observer.observe(&Event::Settled {
                        load: LoadId(0),
                        outcome: Outcome::Created,
                        bytes: 1,
                    });
                }
            });
        }
    });
    assert_eq!(watcher.suspend(|| 7), 7);
    watcher.finish();
    watcher.finish();
    let text = paper.text();
    assert!(text.contains("4,000 of 4,000 records"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_load_that_waits_for_another_says_so() {
    let (terminal, target) = terminal(80);
    let mut run = Run::new(Bars::new(target, Ink::default()));
    run.start_where_it_stands(&[("people", 100, &[], 0), ("results", 40, &[0], 0)]);
    run.sent(0, 10);
    run.settled(0, Outcome::Created, 10);
    run.wait(SECOND);
    let text = terminal.lines.text();
    let last = text.lines().rfind(|line| line.contains("results"));
    let last = last.unwrap().trim();
    assert_eq!(last, "results    0/40     0%  waits for people");
    let mut view = || {
        run.counters.view(run.now, &mut run.speeds).loads[1]
            .waits_for
            .clone()
    };
    assert_eq!(view().as_deref(), Some("people"));
    run.counters.observe(&Event::Stopping {
        reason: "interrupted".to_owned(),
    });
    run.settled(0, Outcome::Created, 90);
    assert_eq!(
        run.counters.view(run.now, &mut run.speeds).loads[1].waits_for,
        None
    );
}

#[test]
fn words_without_room_are_left_out_whole() {
    let mut shown = Vec::new();
    for (columns, flow) in [
        (120, Flow::Open),
        (80, down(12)),
        (62, Flow::Braked(5 * SECOND)),
        (40, Flow::Braked(5 * SECOND)),
        (30, Flow::Open),
    ] {
        let (terminal, target) = terminal(columns);
        let mut bars = Bars::new(target, Ink::default());
        bars.fit(columns);
        let mut run = Run::started(bars, &[("people", 12_000)]);
        run.target(flow, 1, None);
        run.sent(0, 1_200);
        run.settled(0, Outcome::Created, 1_199);
        run.settled(0, Outcome::Rejected, 1);
        // indicatif leaves out what comes too soon after the last.
        run.wait(SECOND);
        let text = terminal.lines.text();
        for name in ["people", "to clinic"] {
            let line = text.lines().rfind(|line| line.contains(name));
            shown.push(line.unwrap_or_default().trim_end().to_owned());
        }
    }
    insta::assert_snapshot!(shown.join("\n"), @r"
    █▋               people   1,200/12,000   10%  1 rejected  2,352/s  ETA -
    to clinic: 1 of 32 in flight
    █▋               people   1,200/12,000   10%  1 rejected  0.0/s  ETA -
    to clinic: down for 12 s, trying again; gives up in 4m 48s (connection refused)
    █▋               people   10%  1 rejected  ETA -
    to clinic: asked us to wait 5 s  1 of 32 in flight
    people   10%  1 rejected  ETA -
    to clinic: asked us to wait 5 s
    people   10%  1 rejected
    to clinic: 1 of 32 in flight
    ");
}
