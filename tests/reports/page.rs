//! `report.html`, as a text: what stands on it, and in which order.

use std::{collections::BTreeMap, path::Path};

use stoker::{
    journal::RunDirectory,
    record::Outcome,
    report,
    samples::{self, Sample},
};

use super::{
    run::{make, make_every},
    shown, unscripted,
};

/// Writes samples as a run writes them.
pub(super) fn write(run: &RunDirectory, samples: &[Sample]) {
    let lines = samples
        .iter()
        .map(|s| serde_json::to_string(s).unwrap() + "\n");
    fs_err::write(samples::path(run), lines.collect::<String>()).unwrap();
}

/// A second of a target that does well, but for every seventh.
pub(super) fn second(session: u32, target: &str, second: u64) -> Sample {
    let is_bad = second % 7 == 3;
    let level = u32::try_from(second % 20).unwrap();
    let bucket = 24 + u8::try_from(second % 12).unwrap();
    Sample {
        at_ms: second * 1_000,
        for_ms: 1_000,
        session,
        target: target.to_owned(),
        outcomes: BTreeMap::from([
            (Outcome::Created, 400 + 7 * (second % 13)),
            (Outcome::Rejected, second % 3),
        ]),
        attempts: 50,
        refusals: if is_bad { 9 } else { 0 },
        retries: if is_bad { 8 } else { 0 },
        latency: vec![(bucket, 40), (bucket + 5, 9), (bucket + 14, 1)],
        in_flight: 4 + level,
        slots: 8 + level,
        ceiling: (second > 10).then_some(450.5),
        braked_ms: if is_bad { 700 } else { 0 },
        down_ms: if second % 41 == 40 { 1_000 } else { 0 },
        bytes_sent: 800_000 + 1_000 * second,
        bytes_received: 90_000,
    }
}

/// The samples of the run that was killed and resumed an hour later.
pub(super) fn of_two_sessions(run: &RunDirectory) {
    let first = (0..3).map(|at| second(1, "clinic", at));
    let then = (3_600..3_604).map(|at| second(2, "clinic", at));
    let other = (3_602..3_604).map(|at| second(2, "try-out", at));
    write(run, &first.chain(then).chain(other).collect::<Vec<_>>());
}

/// What a screen reader reads of a page: no style, no script and what allows it, and no inside of a picture.
fn read_aloud(run: &RunDirectory, page: &str) -> String {
    let page = unscripted(page);
    let (before, policy) = page.split_once("; script-src 'sha256-").unwrap();
    let (_, after) = policy.split_once('\'').unwrap();
    let page = format!("{before}{after}");
    let mut text = String::new();
    let mut rest = &*page;
    while let Some((before, svg)) = rest.split_once("<svg ") {
        let (_, after) = svg.split_once("</svg>").unwrap();
        text.push_str(before);
        text.push_str("(picture)");
        rest = after;
    }
    text.push_str(rest);
    let (before, style) = text.split_once("<style>").unwrap();
    let (_, after) = style.split_once("</style>").unwrap();
    shown(run, &format!("{before}{after}"))
}

fn name(run: &RunDirectory) -> String {
    let name = run.path().file_name().unwrap();
    Path::new(name).display().to_string()
}

#[tokio::test]
async fn a_small_run_has_its_page() {
    let made = make().await;
    of_two_sessions(&made.run);
    let report = report::of(&made.run).unwrap();
    let page = report::page(&made.run, &report).unwrap();
    // Drawn twice it is the same.
    assert_eq!(page, report::page(&made.run, &report).unwrap());
    let text = read_aloud(&made.run, &page).replace(&name(&made.run), "NAME");
    insta::assert_snapshot!("a_small_run_page", text);
    // Both targets have six pictures, and all have one.
    assert_eq!(page.matches("<svg ").count(), 13);
    for word in ["killed: a later session went on", ">interrupted<"] {
        assert!(page.contains(word), "{word}");
    }
}

#[tokio::test]
async fn an_older_run_has_its_page_too() {
    let made = make_every().await;
    let report = report::of(&made.run).unwrap();
    let page = report::page(&made.run, &report).unwrap();
    assert!(page.contains("This run has no samples.ndjson"), "{page}");
    assert_eq!(page.matches("<svg ").count(), 1);
    // Neither is one whose samples are damaged a failure.
    fs_err::write(samples::path(&made.run), "no\n{}\n{\"torn").unwrap();
    let page = report::page(&made.run, &report).unwrap();
    assert!(page.contains("Nothing was sent"), "{page}");
    write(&made.run, &[second(1, "clinic", 1)]);
    let mut bytes = fs_err::read(samples::path(&made.run)).unwrap();
    bytes.extend(b"no\n");
    fs_err::write(samples::path(&made.run), bytes).unwrap();
    let page = report::page(&made.run, &report).unwrap();
    assert!(page.contains("1 line of samples.ndjson could not be read"));
    assert_eq!(page.matches("<svg ").count(), 7);
}
