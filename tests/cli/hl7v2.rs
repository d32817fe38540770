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
