//! The beginning of a load, before anything is sent, and the reads that go before the sending.

use super::*;

fn at_work(what: &str, done: u64, all: u64) -> Event {
    Event::AtWork {
        what: what.to_owned(),
        done,
        all,
    }
}

#[test]
fn bars_show_at_once_what_is_done_before_anything_is_sent() {
    let (terminal, target) = terminal(60);
    let mut run = Run::new(Bars::new(target, Ink::default()));
    run.counters.observe(&at_work("asking the stores", 0, 0));
    run.wait(Duration::from_millis(100));
    assert!(terminal.lines.text().contains("asking the stores"));
    let comparing = at_work("comparing", 1_200, 5_000);
    run.counters.observe(&comparing);
    run.wait(Duration::from_millis(100));
    let text = terminal.lines.text();
    assert!(text.contains("comparing: 1,200 of 5,000 records"), "{text}");
}

#[test]
fn lines_say_what_is_done_where_it_takes_long_enough_to_wonder() {
    let paper = Paper::default();
    let mut run = Run::new(Lines::new(Box::new(paper.clone())));
    run.counters.observe(&at_work("asking the stores", 0, 0));
    run.wait(Duration::from_millis(100));
    run.counters.observe(&at_work("comparing", 0, 0));
    run.wait(Duration::from_millis(100));
    assert_eq!(paper.text(), "", "all of it is over in a moment");
    run.wait(Duration::from_millis(600));
    assert_eq!(paper.text(), "comparing\n");
    run.counters.observe(&at_work("comparing", 7, 0));
    run.wait(Duration::from_secs(2));
    assert_eq!(paper.text(), "comparing\n", "a line every five seconds");
    run.wait(Duration::from_secs(4));
    assert_eq!(paper.text(), "comparing\ncomparing: 7 records\n");
}

#[test]
fn a_load_that_reads_before_it_sends_says_so() {
    let (terminal, target) = terminal(100);
    let mut run = Run::new(Bars::new(target, Ink::default()));
    run.start(&[("people", 40)]);
    let reading = |is_over| Event::Reading {
        load: LoadId(0),
        records: 16,
        is_over,
    };
    run.counters.observe(&reading(false));
    run.wait(Duration::from_millis(200));
    let text = terminal.lines.text();
    assert!(text.contains("looks up 16 at the target"), "{text}");
    run.counters.observe(&reading(true));
    terminal.lines.0.lock().unwrap().clear();
    run.wait(Duration::from_millis(200));
    let text = terminal.lines.text();
    assert!(
        text.contains("people") && !text.contains("looks up"),
        "{text}"
    );
}
