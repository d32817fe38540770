//! What the README promises, and every example manifest.

use super::bed::Bed;

#[test]
fn quickstart_loads_the_clinic_and_a_second_run_changes_nothing() {
    let bed = Bed::with_samples();
    bed.run(&["load", "manifests/quickstart.yaml"]).exits(0);
    assert_eq!(
        (bed.count("created"), bed.report()["records"].as_u64()),
        (69, Some(69))
    );
    let get = ["get", "Patient/anna-lindqvist", "--local", ".stoker/store"];
    let before = bed.run(&get).exits(0).out;
    assert!(before.contains("\"resourceType\": \"Patient\""), "{before}");

    bed.run(&["load", "manifests/quickstart.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 69);
    // Version and time of the last change are part of it.
    assert_eq!(bed.run(&get).exits(0).out, before);
}

#[test]
fn one_command_loads_all_three_kinds_and_get_returns_one_of_each() {
    let bed = Bed::with_samples();
    bed.run(&["load", "manifests/hospital.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 69 + 16 + 4);
    bed.run(&["load", "manifests/hospital.yaml"]).exits(0);
    assert_eq!(bed.count("unchanged"), 69 + 16 + 4);
    let records = fs_err::read_to_string(bed.newest_run().join("records.ndjson")).unwrap();
    let id_of = |load: &str| {
        let mut records = records.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record
        });
        let record = records.find(|record| record["load"] == load).unwrap();
        record["id"].as_str().unwrap().to_owned()
    };
    let store = ["--local", ".stoker/store"];
    let get = |what: &str| bed.run(&[&["get", what], &store[..]].concat()).exits(0).out;
    assert!(get("Patient/anna-lindqvist").contains("Patient"));
    assert!(get(&format!("messages/{}", id_of("messages"))).starts_with("MSH|"));
    let image = id_of("images");
    bed.run(&[&["get", &image, "--out", "image.dcm"], &store[..]].concat())
        .exits(0);
    let bytes = fs_err::read(bed.path("image.dcm")).unwrap();
    assert_eq!(bytes.get(128..132), Some(&b"DICM"[..]));
}

#[test]
fn every_example_manifest_loads() {
    let bed = Bed::with_samples();
    let listening = Emulator::start(&bed);
    let google = format!("{}/", listening.url.trim_end_matches('/'));
    let none: &[(&str, &str)] = &[];
    let emulator = [
        ("PROJECT", "clinic"),
        ("ENDPOINT", google.as_str()),
        ("AUTH", "none"),
    ];
    let cases = [
        ("google", &emulator[..], 69 + 6 + 20),
        ("several-targets", none, 69 + 69 + 20),
        ("ndjson", none, 69 + 25),
        ("ci", none, 69 + 20),
        ("quickstart", none, 69),
        ("messages", none, 16),
        ("hospital", none, 69 + 16 + 4),
    ];
    for (manifest, variables, records) in cases {
        let path = format!("manifests/{manifest}.yaml");
        bed.run_with(variables, &["check", &path]).exits(0);
        bed.run_with(variables, &["plan", "--offline", &path])
            .exits(0);
        let ran = bed.run_with(variables, &["load", &path]).exits(0);
        assert!(
            ran.out.contains(&format!("all {records} records loaded")),
            "{manifest}: {}",
            ran.out
        );
    }
    // The store that google.yaml made is any FHIR server's equal.
    let base = format!(
        "{google}v1/projects/clinic/locations/us-central1/datasets/clinic/fhirStores/r4/fhir"
    );
    let variables = [("FHIR_URL", base.as_str()), ("FHIR_TOKEN", "any")];
    let ran = bed
        .run_with(&variables, &["load", "manifests/fhir-server.yaml"])
        .exits(0);
    assert!(ran.out.contains("all 69 records loaded"), "{}", ran.out);
}

#[test]
fn create_prints_the_id_and_get_finds_it() {
    let bed = Bed::new();
    bed.write("observation.json", r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":20.00}}"#);
    let id = bed
        .run(&["create", "observation.json", "--local", "store"])
        .exits(0)
        .out;
    let resource = format!("Observation/{}", id.trim());
    let got = bed
        .run(&["get", &resource, "--local", "store"])
        .exits(0)
        .out;
    assert!(got.contains("\"value\": 20.00"), "{got}");
    let missing = bed
        .run(&["get", "Observation/none", "--local", "store"])
        .exits(1);
    assert!(
        missing.err.contains("Observation/none is not in the store"),
        "{}",
        missing.err
    );
}

#[test]
fn init_writes_a_manifest_that_loads() {
    let bed = Bed::with_samples();
    bed.run(&["init", "resources/clinic"]).exits(0);
    bed.run(&["check", "stoker.yaml"]).exits(0);
    bed.run(&["load", "stoker.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 69);
    assert!(
        bed.run(&["init", "resources/clinic"])
            .exits(2)
            .err
            .contains("--force")
    );
}

/// `stoker emulate` on a free port, ended with the test.
struct Emulator {
    child: std::process::Child,
    url: String,
}

impl Emulator {
    fn start(bed: &Bed) -> Self {
        use std::io::{BufRead, BufReader};
        let mut child = bed
            .command(&["emulate", "--dir", "served", "--listen", "127.0.0.1:0"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn init_knows_all_three_kinds_by_their_content() {
    let bed = Bed::with_samples();
    for folder in ["clinic", "hl7v2", "imaging"] {
        let run = bed.run(&[
            "init",
            &format!("resources/{folder}"),
            "--out",
            &format!("{folder}.yaml"),
        ]);
        run.exits(0);
    }
    // All in one folder, under names that say nothing.
    let mixed = bed.path("mixed");
    fs_err::create_dir_all(&mixed).unwrap();
    let copy = |from: &str, to: &str| {
        fs_err::copy(bed.path(&format!("resources/{from}")), mixed.join(to)).unwrap();
    };
    copy("hl7v2/04-yuki-tanaka.hl7", "feed.txt");
    copy("imaging/IM000001", "1.2.840.10008");
    copy("imaging/katarzyna-wojcik-hand.dcm", "hand.json");
    copy("imaging/README.md", "README.md");
    bed.write(
        "mixed/a.json",
        r#"{"resourceType":"Basic","id":"a","code":{"text":"x"}}"#,
    );
    let ran = bed
        .run(&["init", "mixed", "--out", "mixed/stoker.yaml"])
        .exits(0);
    let written = fs_err::read_to_string(bed.path("mixed/stoker.yaml")).unwrap();
    for word in [
        "fhir",
        "hl7v2_store: hl7v2",
        "dicom_store: dicom",
        "name: images",
        "name: messages",
    ] {
        assert!(
            word == "fhir" || written.contains(word),
            "{word}: {written} {}",
            ran.err
        );
    }
    bed.run(&["load", "mixed/stoker.yaml"]).exits(0);
    let report = fs_err::read_dir(bed.path("mixed/.stoker/runs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let report = fs_err::read_to_string(report.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["outcomes"]["created"], 4, "{report:#}");
}

#[test]
fn init_names_a_medium_of_instances_once_however_many_folders_it_has() {
    let bed = Bed::with_samples();
    let bytes = fs_err::read(bed.path("resources/imaging/katarzyna-wojcik-hand.dcm")).unwrap();
    for folder in ["PAT0/ST0/SE0", "PAT0/ST0/SE1", "PAT1/ST0/SE0"] {
        for tree in ["disc/DICOM", "disc/mixed"] {
            let folder = bed.path(&format!("{tree}/{folder}"));
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("IM0001"), &bytes).unwrap();
        }
    }
    bed.write("disc/mixed/PAT0/ST0/readme.txt", "no instance");
    bed.write("disc/README.TXT", "no instance");
    bed.run(&["init", "disc"]).exits(0);
    let written = fs_err::read_to_string(bed.path("stoker.yaml")).unwrap();
    let patterns: Vec<&str> = written
        .lines()
        .filter(|line| line.contains("disc/"))
        .collect();
    let expected = [
        "      - \"disc/DICOM/**/*\"",
        "      - \"disc/mixed/PAT0/ST0/SE0/*\"",
        "      - \"disc/mixed/PAT0/ST0/SE1/*\"",
        "      - \"disc/mixed/PAT1/ST0/SE0/*\"",
    ];
    assert_eq!(patterns, expected, "{written}");
    let planned = bed.run(&["plan", "stoker.yaml"]).exits(0);
    assert!(planned.out.contains("6 in 6 files"), "{}", planned.out);
}

#[test]
fn init_says_of_files_of_messages_and_instances_why_it_leaves_them_out() {
    let bed = Bed::new();
    let message = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1||Plantedname\r";
    bed.write("in/good.hl7", message);
    bed.write(
        "in/segment-first.hl7",
        &format!("ZXX|Plantedname\r{message}"),
    );
    bed.write("in/log.out", &format!("2026-01-01 sent\n{message}"));
    bed.write("in/words.hl7", "Plantedname");
    bed.write("in/empty.hl7", "");
    bed.write("in/picture.DCM", "Plantedname");
    bed.write("in/notes.txt", "Plantedname");
    let ran = bed.run(&["init", "in"]).exits(0);
    let said = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "in/segment-first.hl7: other bytes stand before its first message",
        "in/log.out: other bytes stand before",
        "in/words.hl7: it does not begin with a message",
        "in/empty.hl7: it is empty",
        "in/picture.DCM: no DICOM file",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(
        said.contains("passed by in/notes.txt, which holds no records"),
        "{said}"
    );
    assert!(!said.contains("Plantedname"), "{said}");
}

#[test]
fn init_knows_messages_and_instances_that_are_compressed() {
    let bed = Bed::with_samples();
    fs_err::create_dir_all(bed.path("packed/deep")).unwrap();
    let pack = |from: &str, to: &str| {
        let bytes = fs_err::read(bed.path(&format!("resources/{from}"))).unwrap();
        let to = bed.path(&format!("packed/{to}"));
        if to.extension().is_some_and(|end| end == "zst") {
            fs_err::write(to, zstd::encode_all(bytes.as_slice(), 1).unwrap()).unwrap();
        } else {
            let file = fs_err::File::create(to).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, &bytes).unwrap();
            encoder.finish().unwrap();
        }
    };
    pack("hl7v2/04-yuki-tanaka.hl7", "tanaka.hl7.gz");
    pack("hl7v2/05-orders.hl7", "orders.HL7.GZ");
    pack("hl7v2/06-results.hl7", "deep/results.zst");
    pack("imaging/katarzyna-wojcik-hand.dcm", "deep/hand.dcm.gz");
    pack("lab/results.ndjson", "results.ndjson.gz");
    // Cut in the midst, as a copy that did not end.
    let cut = fs_err::read(bed.path("packed/tanaka.hl7.gz")).unwrap();
    fs_err::write(bed.path("packed/deep/cut.hl7.gz"), &cut[..12]).unwrap();
    let ran = bed.run(&["init", "packed"]).exits(0);
    let written = fs_err::read_to_string(bed.path("stoker.yaml")).unwrap();
    for pattern in [
        "packed/*.[hH][lL]7.[gG][zZ]",
        "packed/deep/*.zst",
        "packed/deep/*.dcm.gz",
        "packed/*.ndjson.gz",
    ] {
        assert!(
            written.contains(&format!("- \"{pattern}\"")),
            "{pattern}: {written}{}",
            ran.err
        );
    }
    assert!(!written.contains("cut.hl7"), "{written}");
    let planned = bed.run(&["plan", "stoker.yaml"]).exits(0);
    for kind in ["ADT", "ORM", "ORU", "CR", "Observation"] {
        assert!(planned.out.contains(kind), "{kind}: {}", planned.out);
    }
}
