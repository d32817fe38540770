//! What a server may still be at work on, though nobody waits for it any more. A conditional write is not sent again beside itself:
//! many servers look first and write later. An update is, and is not rejected for being in its own way.

use std::{
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use super::{bed::Bed, responder};

const CAPABILITIES: &str = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;

/// The time that the server needs between looking and writing.
const SLOW: Duration = Duration::from_secs(3);

/// The requests that came to a server, and the resources that it has created.
#[derive(Debug, Default)]
struct Figures {
    came: AtomicU32,
    created: AtomicU32,
}

/// A bed with a record that is created where none fits its condition, at a server that needs some time for the first.
fn slow(at_work: Duration) -> (Bed, Arc<Figures>) {
    let figures = Arc::new(Figures::default());
    let kept = Arc::clone(&figures);
    let url = responder::start_side_by_side(move |line| {
        if !line.starts_with("POST") {
            return (200, "", CAPABILITIES);
        }
        let is_there = kept.created.load(Ordering::SeqCst) > 0;
        if kept.came.fetch_add(1, Ordering::SeqCst) == 0 {
            thread::sleep(at_work);
        }
        if is_there {
            return (200, "Location: Patient/1/_history/1\r\n", "");
        }
        kept.created.fetch_add(1, Ordering::SeqCst);
        (201, "Location: Patient/1/_history/1\r\n", "")
    });
    let bed = Bed::new();
    bed.write(
        "p.json",
        r#"{"resourceType":"Patient","identifier":[{"system":"https://ids.example","value":"1"}]}"#,
    );
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }}, timeout: 1s, retry: {{ base: 10ms }} }} }}\nloads: [ {{ \
             name: l, target: t, files: [p.json], interaction: conditional-create, bundle: none, identity: {{ Patient: \
             [\"https://ids.example\"] }} }} ]\n"
        ),
    );
    (bed, figures)
}

#[test]
fn a_conditional_create_whose_answer_was_lost_is_not_sent_beside_itself() {
    let (bed, figures) = slow(SLOW);
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(figures.created.load(Ordering::SeqCst), 1, "{}", ran.out);
    assert_eq!(bed.count("matched"), 1, "{}", ran.out);
}

/// Kills a load as soon as the server is at work on its request.
fn kill_at_work(child: &mut Child, figures: &Figures) {
    while figures.came.load(Ordering::SeqCst) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A load that was killed while the server was at work on its one request.
fn killed() -> (Bed, Arc<Figures>) {
    let (bed, figures) = slow(SLOW);
    let mut child = bed.command(&["load", "m.yaml"]).spawn().unwrap();
    kill_at_work(&mut child, &figures);
    (bed, figures)
}

/// Goes on in some way, and finds the resource that the killed session's request has created.
fn finds(bed: &Bed, figures: &Figures, again: &[&str]) {
    let ran = bed.run(again).exits(0);
    assert_eq!(figures.created.load(Ordering::SeqCst), 1, "{}", ran.out);
    assert_eq!(bed.count("matched"), 1, "{}", ran.out);
    assert!(ran.err.contains("sending begins in 10"), "{}", ran.err);
}

#[test]
fn what_a_killed_session_sent_is_not_sent_beside_itself_by_a_resumed_one() {
    let (bed, figures) = killed();
    let run = bed.newest_run();
    finds(&bed, &figures, &["resume", run.to_str().unwrap()]);
}

#[test]
fn what_a_killed_session_sent_is_not_sent_beside_itself_by_the_next_load() {
    let (bed, figures) = killed();
    finds(&bed, &figures, &["load", "m.yaml"]);
}

#[test]
fn what_a_killed_session_sent_is_not_sent_beside_itself_by_a_fresh_load() {
    let (bed, figures) = killed();
    finds(&bed, &figures, &["load", "--fresh", "m.yaml"]);
}

/// A run that was carried to its end leaves nothing at work.
#[test]
fn nothing_rests_after_a_run_that_has_ended() {
    let (bed, _) = slow(Duration::ZERO);
    bed.run(&["load", "m.yaml"]).exits(0);
    let ran = bed.run(&["load", "--fresh", "m.yaml"]).exits(0);
    assert!(!ran.err.contains("sending begins"), "{}", ran.err);
}

/// A bed with a record that is updated, at a server that needs some time for the first, and refuses whoever comes in between.
fn busy() -> (Bed, Arc<Figures>) {
    const CONFLICT: &str =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"conflict"}]}"#;
    let figures = Arc::new(Figures::default());
    let kept = Arc::clone(&figures);
    let url = responder::start_side_by_side(move |line| {
        if !line.starts_with("PUT") {
            return (200, "", CAPABILITIES);
        }
        if kept.came.fetch_add(1, Ordering::SeqCst) == 0 {
            thread::sleep(SLOW);
            kept.created.store(1, Ordering::SeqCst);
        }
        if kept.created.load(Ordering::SeqCst) == 0 {
            return (409, "Content-Type: application/fhir+json\r\n", CONFLICT);
        }
        (200, "ETag: W/\"1\"\r\n", "")
    });
    let bed = Bed::new();
    bed.write("p.json", r#"{"resourceType":"Patient","id":"1"}"#);
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }}, timeout: 1s, retry: {{ attempts: 100, base: 200ms, \
             max: 200ms }} }} }}\nloads: [ {{ name: l, target: t, files: [p.json], interaction: update }} ]\n"
        ),
    );
    (bed, figures)
}

#[test]
fn an_update_whose_answer_was_lost_is_not_rejected_for_being_in_its_own_way() {
    let (bed, figures) = busy();
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert!(figures.came.load(Ordering::SeqCst) > 2, "{}", ran.out);
}

#[test]
fn an_update_of_a_killed_session_is_not_rejected_for_being_in_its_own_way() {
    let (bed, figures) = busy();
    let mut child = bed.command(&["load", "m.yaml"]).spawn().unwrap();
    kill_at_work(&mut child, &figures);
    let run = bed.newest_run();
    let ran = bed.run(&["resume", run.to_str().unwrap()]).exits(0);
    assert!(figures.came.load(Ordering::SeqCst) > 2, "{}", ran.out);
}

/// A conflict that is none with an earlier request is not met again and again.
#[test]
fn a_conflict_of_a_run_that_has_ended_is_refused_at_once() {
    const CONFLICT: &str =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"conflict"}]}"#;
    let (bed, _) = busy();
    let came = Arc::new(AtomicU32::new(0));
    let kept = Arc::clone(&came);
    let url = responder::start_side_by_side(move |line| {
        if !line.starts_with("PUT") {
            return (200, "", CAPABILITIES);
        }
        kept.fetch_add(1, Ordering::SeqCst);
        (409, "Content-Type: application/fhir+json\r\n", CONFLICT)
    });
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets: {{ t: {{ fhir: {{ url: \"{url}\" }} }} }}\nloads: [ {{ name: l, target: t, files: [p.json], \
             interaction: update }} ]\n"
        ),
    );
    bed.run(&["load", "m.yaml"]).exits(1);
    let run = bed.newest_run();
    bed.run(&["resume", run.to_str().unwrap(), "--replay", "rejected"])
        .exits(1);
    assert_eq!(came.load(Ordering::SeqCst), 2);
}
