//! Messages into an HL7v2 store of the local dataset.

use fs_err as fs;

use super::bed::Bed;
use crate::support::data;

const MANIFEST: &str = "version: 1\nname: feed\ntargets: { t: { local: { dir: store, hl7v2_store: hl7v2 } } }\nloads: [ { name: feed, files: [\"in/**/*\"] } ]\n";

/// A message about a patient, with segments that end as wanted.
fn message(control: &str, patient: &str, end: &str) -> String {
    [
        format!("MSH|^~\\&|APP|FAC|R|RF|20260101080000||ADT^A04|{control}|P|2.5"),
        "EVN|A04|20260101080000".to_owned(),
        format!("PID|1||{patient}^^^CLINIC^MR||Plantedname^Anna"),
    ]
    .map(|segment| segment + end)
    .concat()
}

fn bed() -> Bed {
    let bed = Bed::new();
    bed.write("m.yaml", MANIFEST);
    bed
}

#[test]
fn messages_are_loaded_once_whatever_ends_their_segments() {
    let bed = bed();
    bed.write(
        "in/a.hl7",
        &[message("1", "p1", "\r"), message("2", "p1", "\r")].concat(),
    );
    bed.write("in/b.txt", &message("1", "p1", "\r\n"));
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(
        ran.out.contains("2 records to send") && ran.out.contains("1 duplicate"),
        "{}",
        ran.out
    );
    bed.run(&["load", "m.yaml", "--dry-run"]).exits(0);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), bed.count("duplicate")), (2, 1));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 2);
    let types = bed.report()["types"].clone();
    assert!(types["ADT^A04"].is_object(), "{types}");
    // A store that is asked record by record has them all.
    let ran = bed.run(&["plan", "m.yaml", "--online"]).exits(0);
    assert!(!ran.out.contains("Plantedname"), "{}", ran.out);
}

#[test]
fn a_file_that_cannot_be_read_shifts_no_order() {
    let bed = bed();
    bed.write("in/1.hl7", &message("1", "p1", "\r"));
    // Damaged as a whole, and bytes that are no message: steps of the plan all the same.
    bed.write("in/2.gz", "");
    let stray = format!("# a remark\n{}", message("2", "p1", "\r"));
    bed.write("in/3.hl7", &stray);
    bed.write("in/4.hl7", &message("3", "p1", "\r"));
    let copied = message("1", "p9", "\r") + &message("1", "p1", "\r");
    bed.write("in/5.hl7", &copied);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("duplicate")), (4, 1));
    let plan = fs::read_to_string(bed.newest_run().join("plan.ndjson")).unwrap();
    let steps = plan.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.get("step").cloned()
    });
    let steps: Vec<serde_json::Value> = steps.collect();
    // Each message follows the one before it of its patient, and a copy names its original.
    let mut before = None;
    for (number, step) in steps.iter().enumerate() {
        if let Some(original) = step[11].get("duplicate") {
            assert_eq!(original["step"], 0, "{step}");
            continue;
        }
        let is_sent = step[11].get("send").is_some();
        let follows = step[12].as_array().unwrap();
        let is_of_another = number == 5;
        let expected = before.filter(|_| is_sent && !is_of_another);
        let found = follows.get(1).and_then(serde_json::Value::as_u64);
        assert_eq!(found, expected, "{number}: {step}");
        if is_sent && !is_of_another {
            before = Some(number as u64);
        }
    }
    assert_eq!(steps.len(), 7);
}

#[test]
fn what_is_sent_otherwise_than_before_is_loaded_anew() {
    let bed = bed();
    bed.write("in/a.hl7", &message("1", "p1", "\n"));
    bed.run(&["load", "m.yaml"]).exits(0);
    let files = "files: [\"in/**/*\"]";
    let as_is = MANIFEST.replace(files, &format!("{files}, segments: as-is"));
    bed.write("m.yaml", &as_is);
    // Other bytes are another message.
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 1);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 1);
}

#[test]
fn a_refused_message_is_kept_as_it_stood_and_loads_when_it_is_mended() {
    let bed = bed();
    // The store takes ASCII and UTF-8 only.
    let refused = message("1", "p1", "\r").replace("|P|2.5", "|P|2.5||||||8859/1");
    bed.write(
        "in/a.hl7",
        &[refused.clone(), message("2", "p2", "\r")].concat(),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("rejected")), (1, 1));
    let run = bed.newest_run();
    for text in [
        ran.out,
        ran.err,
        fs::read_to_string(run.join("report.json")).unwrap(),
        fs::read_to_string(run.join("journal.ndjson")).unwrap(),
        fs::read_to_string(run.join("plan.ndjson")).unwrap(),
    ] {
        assert!(!text.contains("Plantedname"), "{text}");
    }
    let kept = run.join("rejected/feed.hl7");
    assert_eq!(fs::read_to_string(&kept).unwrap(), refused);
    fs::write(&kept, refused.replace("8859/1", "UNICODE UTF-8")).unwrap();
    let manifest = run.join("rejected/manifest.yaml");
    bed.run(&["load", manifest.to_str().unwrap()]).exits(0);
    assert_eq!(bed.count("created"), 1);
}

#[test]
fn what_is_no_message_is_counted_and_named() {
    let bed = bed();
    bed.write("in/a.hl7", &message("1", "p1", "\n"));
    bed.write("in/notes.txt", "not a message\n");
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unsupported")), (1, 1));
    assert!(
        ran.out.contains("notes.txt:1") && ran.out.contains("no-message"),
        "{}",
        ran.out
    );
}

/// What receivers stumble over is said before anything is sent; nothing of the message is.
#[test]
fn what_a_header_lacks_and_bytes_that_are_not_as_it_says_are_named() {
    let bed = bed();
    let good = message("1", "p1", "\r");
    let with = |name: &str, from: &str, to: &str| {
        assert!(good.contains(from), "{name}");
        let text = good.replace(from, to);
        // One byte for each character: what is not ASCII is no UTF-8 then.
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        bed.write("in/x", "");
        fs::write(bed.path(&format!("in/{name}")), bytes).unwrap();
    };
    let rows = [
        (
            "no-id",
            "|1|P|",
            "||P|",
            Some("MSH-10, the control id, is empty"),
        ),
        (
            "no-type",
            "ADT^A04",
            "",
            Some("MSH-9, the type of the message, is empty"),
        ),
        (
            "no-time",
            "|20260101080000||",
            "|soon||",
            Some("MSH-7 is no time"),
        ),
        (
            "untold",
            "name^Anna",
            "name^\u{c4}nna",
            Some("names no character set, and byte"),
        ),
        ("good", "|P|2.5", "|P|2.5", None),
    ];
    for (name, from, to, words) in rows {
        with(name, from, to);
        let ran = bed.run(&["plan", "m.yaml"]);
        let said = format!("{}{}", ran.out, ran.err);
        let is_named = said.lines().any(|line| {
            line.contains(&format!("in/{name}:1"))
                && words.is_some_and(|words| line.contains(words))
        });
        assert_eq!(is_named, words.is_some(), "{name}: {said}");
        assert!(!said.contains("Plantedname"), "{said}");
        fs::remove_file(bed.path(&format!("in/{name}"))).unwrap();
    }
    with("utf-8", "|P|2.5", "|P|2.5||||||UNICODE UTF-8");
    let text = fs::read(bed.path("in/utf-8")).unwrap();
    let at = memchr::memmem::find(&text, b"Anna").unwrap();
    let mut text = text;
    text[at] = 0xc4;
    fs::write(bed.path("in/utf-8"), &text).unwrap();
    let ran = bed.run(&["plan", "m.yaml"]);
    let words = format!("byte {at} is not UTF-8, which MSH-18 names");
    assert!(
        ran.err.contains(&words) || ran.out.contains(&words),
        "{}{}",
        ran.out,
        ran.err
    );
}

/// A store that takes ASCII and UTF-8 knows them by some names only: the plan says so, and what is converted is taken.
#[test]
fn a_character_set_by_another_name_is_warned_of_and_converted() {
    let bed = bed();
    for (number, name) in ["utf-8", "UTF8", "US-ASCII", "ISO IR6"]
        .into_iter()
        .enumerate()
    {
        let control = (number + 1).to_string();
        let text = message(&control, "p1", "\r");
        let text = text.replace("|P|2.5", &format!("|P|2.5||||||{name}"));
        bed.write(&format!("in/{number}.hl7"), &text);
    }
    bed.write(
        "in/good.hl7",
        &message("9", "p1", "\r").replace("|P|2.5", "|P|2.5||||||UNICODE UTF-8"),
    );
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    let warned = ran
        .out
        .matches("the target does not take its character set")
        .count();
    assert_eq!(warned, 4, "{}", ran.out);
    assert!(ran.out.contains("UTF-8, by another name"), "{}", ran.out);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("rejected")), (1, 4));
    let files = "files: [\"in/**/*\"]";
    let converts = MANIFEST.replace(files, &format!("{files}, charset: convert"));
    bed.write("m.yaml", &converts);
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert!(!ran.err.contains("character set"), "{}", ran.err);
    assert_eq!((bed.count("created"), bed.count("unchanged")), (4, 1));
}

#[test]
fn files_whose_numbers_are_not_in_order_are_warned_of() {
    let bed = bed();
    for number in [1, 2, 10] {
        bed.write(
            &format!("in/m{number}.hl7"),
            &message(&number.to_string(), "p1", "\r"),
        );
    }
    let words = "in/m10.hl7 is taken before in/m2.hl7";
    for verb in ["plan", "check", "load"] {
        let ran = bed.run(&[verb, "m.yaml"]).exits(0);
        assert!(
            [&*ran.out, &*ran.err].concat().contains(words),
            "{verb}: {}{}",
            ran.out,
            ran.err
        );
    }
    let files = "files: [\"in/**/*\"]";
    bed.write(
        "m.yaml",
        &MANIFEST.replace(files, &format!("{files}, order: none")),
    );
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(!ran.out.contains(words) && !ran.err.contains(words));
    bed.write("m.yaml", MANIFEST);
    for number in [1, 2] {
        let from = bed.path(&format!("in/m{number}.hl7"));
        fs::rename(from, bed.path(&format!("in/m0{number}.hl7"))).unwrap();
    }
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(!ran.out.contains("is taken before"), "{}", ran.out);
}

#[test]
fn only_what_is_done_with_messages_may_be_asked_for() {
    let bed = bed();
    for (interaction, code) in [("ingest", 0), ("create", 0), ("update", 2), ("store", 2)] {
        let files = format!("files: [\"in/**/*\"], interaction: {interaction}");
        bed.write("m.yaml", &MANIFEST.replace("files: [\"in/**/*\"]", &files));
        bed.write(
            &format!("in/{interaction}.hl7"),
            &message(interaction, "p", "\r"),
        );
        let ran = bed.run(&["load", "m.yaml"]).exits(code);
        assert!(
            code == 0 || ran.err.contains("`ingest` and `create`"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn messages_of_the_set_end_as_they_should() {
    let Some(set) = data::set("hl7v2") else {
        return;
    };
    let bed = bed();
    let manifest = MANIFEST.replace("in/**/*", &format!("{}/**/*.*", set.display()));
    bed.write("m.yaml", &manifest);
    bed.run(&["load", "m.yaml"]).exits(1);
    let messages = bed.count("created") + bed.count("duplicate") + bed.count("rejected");
    // 2,161 by the set's own count; the store refuses six for a character set that it does not take.
    assert_eq!((messages, bed.count("rejected")), (2_161, 6));
    assert_eq!(bed.count("unknown") + bed.count("pending"), 0);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(bed.count("created"), 0);
}

#[test]
fn ends_that_are_sent_as_they_stand_are_named() {
    let bed = bed();
    bed.write("in/lf.hl7", &message("1", "p1", "\n"));
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(!ran.out.contains("segments end in LF"), "{}", ran.out);
    let changed = "segment ends  changed to CR 1";
    assert!(ran.out.contains(changed), "{}", ran.out);
    let as_is = MANIFEST.replace("files:", "segments: as-is, files:");
    bed.write("m.yaml", &as_is);
    let ran = bed.run(&["plan", "m.yaml"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(
        said.contains("in/lf.hl7:1: its segments end in LF"),
        "{said}"
    );
    assert!(!said.contains("changed to CR"), "{said}");
    bed.write("m.yaml", MANIFEST);
    bed.write("in/lf.hl7", &message("1", "p1", "\r"));
    let ran = bed.run(&["plan", "m.yaml"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(!said.contains("changed to CR"), "{said}");
    bed.write("m.yaml", &as_is);
    let ran = bed.run(&["plan", "m.yaml"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(!said.contains("segments end in LF"), "{said}");
}

#[test]
fn one_message_is_created_without_what_stands_around_it() {
    let bed = bed();
    for (number, around) in [
        ("", ""),
        ("\u{b}", "\u{1c}\r"),
        ("BHS|^~\\&|\r", "BTS|1\r"),
        ("\u{feff}\r\n", "\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let plain = message(&number.to_string(), "p1", "\r");
        bed.write("one.hl7", &format!("{}{plain}{}", around.0, around.1));
        bed.run(&["create", "one.hl7", "--manifest", "m.yaml", "--target", "t"])
            .exits(0);
    }
}
