//! Stores that list all they hold at once are counted by type as well, where they can say.

use fs_err as fs;
use serde_json::{Value, json};

use stoker::dicom::sample::SampleInstance;

use super::{
    bed::Bed,
    responder::{response, start_raw},
};
use crate::support::instances::{uids, written};

fn image(bed: &Bed, name: &str, study: u32, modality: &str) {
    let uids = uids(study, 1);
    let sample = SampleInstance {
        modality,
        ..uids.tiny()
    };
    fs::create_dir_all(bed.path(name).parent().unwrap()).unwrap();
    fs::write(bed.path(name), written(&sample)).unwrap();
}

fn message(control: &str, kind: &str) -> String {
    format!("MSH|^~\\&|A|B|C|D|20260101||{kind}|{control}|P|2.5\rPID|1||p{control}\r")
}

fn manifest(bed: &Bed, name: &str, folder: &str) {
    bed.write(
        &format!("{name}.yaml"),
        &format!(
            "version: 1\nname: {name}\ntargets:\n  feed: {{ local: {{ dir: store, hl7v2_store: hl7v2 }} }}\n  \
             images: {{ local: {{ dir: store, dicom_store: dicom }} }}\nloads:\n\
             - {{ name: feed, target: feed, files: [\"{folder}/*.hl7\"] }}\n\
             - {{ name: images, target: images, files: [\"{folder}/*.dcm\"] }}\n"
        ),
    );
}

fn kind<'a>(report: &'a Value, target: &str) -> &'a Value {
    let kinds = report["kinds"].as_array().unwrap();
    kinds.iter().find(|row| row["target"] == target).unwrap()
}

#[test]
fn modalities_and_message_types_are_counted() {
    let bed = Bed::new();
    for (number, modality) in (1..).zip(["DX", "DX", ""]) {
        image(&bed, &format!("in/{number}.dcm"), number, modality);
    }
    for (control, kind) in [("1", "ADT^A04"), ("2", "ADT^A08"), ("3", "ORU^R01")] {
        bed.write(&format!("in/{control}.hl7"), &message(control, kind));
    }
    image(&bed, "more/4.dcm", 4, "MR");
    bed.write("more/4.hl7", &message("4", "ORM^O01"));
    manifest(&bed, "m", "in");
    manifest(&bed, "more", "more");
    bed.run(&["load", "m.yaml"]).exits(0);
    let run = bed.newest_run();
    let run = run.to_str().unwrap();
    let verify = |code: i32| -> Value {
        let ran = bed.run(&["verify", run, "--counts", "--json"]).exits(code);
        serde_json::from_str(&ran.out).unwrap()
    };
    let report = verify(0);
    let row =
        |kind: &str, expected, held| json!({"type": kind, "expected": expected, "held": held});
    assert_eq!(
        kind(&report, "images")["types"],
        json!([row("", 1, 1), row("DX", 2, 2)])
    );
    assert_eq!(
        kind(&report, "feed")["types"],
        json!([row("ADT", 2, 2), row("ORU", 1, 1)])
    );
    bed.run(&["load", "more.yaml"]).exits(0);
    let report = verify(1);
    assert_eq!(
        kind(&report, "images")["types"],
        json!([row("", 1, 1), row("DX", 2, 2), row("MR", 0, 1)])
    );
    assert_eq!(kind(&report, "feed")["types"][1], row("ORM", 0, 1));
    assert_eq!(report["outcomes"]["extra"], 2);
    let shown = bed.run(&["verify", run, "--counts"]).exits(1).out;
    for line in [
        "    (no type)                     1          1\n",
        "    MR                            0          1\n",
        "    ADT                           2          2\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let page = fs::read_to_string(format!("{run}/verify.html")).unwrap();
    assert!(page.contains("<td>MR</td>"), "{page}");
}

/// Lists two instances, and says nothing of their modality.
fn taciturn(head: &str, _: &str) -> String {
    let uid = |text: String| json!({ "vr": "UI", "Value": [text] });
    let body = if head.starts_with("POST") {
        let stored = [1, 2].map(|study| {
            json!({ "00081150": uid("1.2.840.10008.5.1.4.1.1.7".to_owned()), "00081155": uid(uids(study, 1).instance) })
        });
        json!({ "00081199": { "vr": "SQ", "Value": stored } })
    } else if head.contains("offset=0") {
        json!([1, 2].map(|study| {
            json!({ "0020000D": uid(format!("1.2.{study}")), "0020000E": uid(format!("1.2.{study}.1")), "00080018": uid(uids(study, 1).instance) })
        }))
    } else {
        json!([])
    };
    response("200 OK", "", &body.to_string()).replace("fhir+json", "dicom+json")
}

#[test]
fn a_server_that_does_not_tell_modalities_is_said_not_to() {
    let bed = Bed::new();
    let url = start_raw(taciturn);
    image(&bed, "in/1", 1, "DX");
    image(&bed, "in/2", 2, "MR");
    bed.write(
        "m.yaml",
        &format!("version: 1\nname: scans\ntargets: {{ t: {{ dicomweb: {{ url: '{url}' }} }} }}\nloads: [ {{ name: scans, files: ['in/*'] }} ]\n"),
    );
    bed.run(&["load", "m.yaml", "--progress", "none"]).exits(0);
    let ran = bed.run(&["verify", "--counts"]).exits(0);
    assert!(
        ran.out
            .contains("    DX                            1          ?\n")
            && ran.out.contains(
                "not counted by type: the store does not say the type of 2 of the 2 that it lists"
            ),
        "{}",
        ran.out
    );
}
