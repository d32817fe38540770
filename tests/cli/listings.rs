//! Servers that list oddly what they hold, and answer the read of one record with another: what is not known is not said.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use super::{
    bed::Bed,
    deletions::{MISSING, loaded},
    responder::{response, start_raw},
};

/// A page of patients, and where the next one is.
fn page(ids: &[&str], next: Option<&str>) -> String {
    let entries = ids
        .iter()
        .map(|id| json!({"resource": {"resourceType": "Patient", "id": id}}));
    let link = next.map(|url| json!({"relation": "next", "url": url}));
    let bundle = json!({"resourceType": "Bundle", "type": "searchset", "link": Vec::from_iter(link), "entry": entries.collect::<Vec<_>>()});
    response("200 OK", "", &bundle.to_string())
}

fn counted(total: u64) -> String {
    let bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": total});
    response("200 OK", "", &bundle.to_string())
}

fn verified(bed: &Bed, code: i32) -> Value {
    let run = bed.newest_run();
    let ran = bed
        .run(&["verify", run.to_str().unwrap(), "--all", "--json"])
        .exits(code);
    serde_json::from_str(&ran.out).unwrap()
}

/// Verifies against a server whose count and whose pages are these; returns the report.
fn listed(total: u64, first: &str, further: &str, code: i32) -> (Bed, Value) {
    let (first, further) = (first.to_owned(), further.to_owned());
    let (bed, _) = loaded(move |_, asked| {
        if asked.path.contains("_summary=count") {
            return Some(counted(total));
        }
        if asked.path.contains("page=") {
            return Some(further.clone());
        }
        asked.path.contains('?').then(|| first.clone())
    });
    let report = verified(&bed, code);
    (bed, report)
}

const OURS: [&str; 3] = ["p0", "p1", "p2"];

#[test]
fn a_next_page_at_another_host_is_not_asked_for() {
    let asked = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&asked);
    let other = start_raw(move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
        page(&["x"], None)
    });
    let first = page(&OURS, Some(&format!("{other}/Patient?page=2")));
    let (bed, report) = listed(5, &first, MISSING, 1);
    let why = report["not_listed"][0]["why"].as_str().unwrap();
    assert!(why.contains("another host"), "{report}");
    assert_eq!(report["same"], false);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody was asked there");
    let run = bed.newest_run();
    let text = bed
        .run(&["verify", run.to_str().unwrap(), "--all"])
        .exits(1)
        .out;
    assert!(
        text.contains("Not listed  Patient of target t") && !text.contains("nothing differs"),
        "{text}"
    );
    let page = fs_err::read_to_string(run.join("verify.html")).unwrap();
    assert!(page.contains("Not listed") && !page.contains("Nothing differs"));
    let ran = bed
        .run(&["verify", run.to_str().unwrap(), "--all", "--ignore-extra"])
        .exits(0);
    assert!(!ran.out.contains("Not listed"), "{}", ran.out);
}

#[test]
fn a_listing_that_does_not_come_to_its_end_is_no_proof_that_nothing_is_there_besides() {
    let first = page(&OURS, Some("Patient?page=2"));
    let refused = response("404 Not Found", "", MISSING);
    let unreadable = response("200 OK", "", "<html>");
    for (further, what) in [
        (&refused, "answered 404"),
        (&unreadable, "cannot be read"),
        (&first, "the same page again"),
        // It ends, and names fewer than there are.
        (&page(&[], None), "names 3, and it holds 5"),
    ] {
        let (_, report) = listed(5, &first, further, 1);
        let why = report["not_listed"][0]["why"].as_str().unwrap();
        assert!(why.contains(what), "{what}: {report}");
    }
}

#[test]
fn a_count_that_is_too_small_hides_nothing() {
    for total in [0, 2] {
        let (_, report) = listed(total, &page(&["p0", "p1", "p2", "x"], None), MISSING, 1);
        assert_eq!(report["outcomes"]["extra"], 1, "{total}: {report}");
        assert!(report["not_listed"].is_null(), "{report}");
    }
    let (_, report) = listed(3, MISSING, MISSING, 0);
    assert_eq!(report["outcomes"]["same"], 3, "{report}");
}

#[test]
fn a_record_that_is_answered_with_another_is_not_known() {
    let outcome =
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}"#;
    let other = r#"{"resourceType":"Patient","id":"p2"}"#;
    let is_odd = Arc::new(AtomicU32::new(0));
    let odd = Arc::clone(&is_odd);
    let (bed, _) = loaded(move |_, asked| match asked.path {
        path if path.contains("_summary=count") => Some(counted(3)),
        path if path.contains('?') => Some(page(&OURS, None)),
        "Patient/p0" if asked.method == "GET" && odd.load(Ordering::SeqCst) == 1 => {
            Some(response("200 OK", "", outcome))
        }
        "Patient/p1" if asked.method == "GET" && odd.load(Ordering::SeqCst) == 1 => {
            Some(response("200 OK", "", other))
        }
        _ => None,
    });
    is_odd.store(1, Ordering::SeqCst);
    let report = verified(&bed, 1);
    let outcomes = &report["outcomes"];
    assert_eq!(
        (&outcomes["unknown"], &outcomes["same"]),
        (&json!(2), &json!(1)),
        "{report}"
    );
    assert!(
        report["differing"][0]["note"]
            .as_str()
            .unwrap()
            .contains("another name"),
        "{report}"
    );
}
