//! Records of several servers that have the same type and id: each stays itself, and references lead to the one of their own server.

use serde_json::{Value, json};

use super::{bed::Bed, references::store};

/// A Bundle of entries with their addresses at a server.
fn bundle(server: &str, resources: &[Value]) -> String {
    let entry = |resource: &Value| {
        let (kind, id) = (&resource["resourceType"], &resource["id"]);
        let url = format!(
            "http://{server}.example/fhir/{}/{}",
            kind.as_str().unwrap(),
            id.as_str().unwrap()
        );
        json!({"fullUrl": url, "resource": resource})
    };
    let entries: Vec<Value> = resources.iter().map(entry).collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string()
}

fn patient(server: &str) -> Value {
    json!({"resourceType": "Patient", "id": "1", "language": server})
}

fn observation(server: &str, id: &str, subject: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "language": server,
        "code": {"text": "x"}, "subject": {"reference": subject}})
}

fn manifest(interaction: &str) -> String {
    format!(
        "version: 1\nname: t\ntargets: {{ t: {{ local: store }} }}\nloads: [ {{ name: l, target: t, files: [\"in/*\"], interaction: {interaction} }} ]\n"
    )
}

/// The patients of the store, after each observation was found to be of the patient of its server.
fn patients(bed: &Bed) -> usize {
    let kinds = ["Patient".to_owned(), "Observation".to_owned()];
    let held = store(bed, &kinds);
    for (name, resource) in &held {
        if let Some(subject) = resource["subject"]["reference"].as_str() {
            assert_eq!(
                held[subject]["language"], resource["language"],
                "{name} is of the patient of another server"
            );
        }
    }
    held.keys()
        .filter(|name| name.starts_with("Patient/"))
        .count()
}

/// Whatever the order of the files: copies of one server's are one, also where a copy has no address, and those of two servers
/// are two.
#[test]
fn records_of_two_servers_are_two() {
    let files = [
        bundle("a", &[patient("a"), observation("a", "a1", "Patient/1")]),
        bundle(
            "b",
            &[
                patient("b"),
                observation("b", "b1", "http://b.example/fhir/Patient/1"),
            ],
        ),
        bundle("b", &[patient("b"), observation("b", "b2", "Patient/1")]),
        // By its server, the one of the other file.
        bundle("b", &[observation("b", "b3", "Patient/1")]),
        bundle("a", &[patient("a")]),
        patient("a").to_string(),
    ];
    for order in [
        [0, 1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
        [3, 5, 0, 2, 1, 4],
        [0, 5, 3, 1, 4, 2],
    ] {
        let bed = Bed::new();
        for (place, file) in order.iter().enumerate() {
            bed.write(&format!("in/{place}.json"), &files[*file]);
        }
        bed.write("m.yaml", &manifest("create"));
        let ran = bed.run(&["load", "m.yaml"]).exits(0);
        let counts = (bed.count("created"), bed.count("duplicate"));
        assert_eq!(counts, (6, 3), "{order:?}: {}", ran.out);
        assert_eq!(patients(&bed), 2, "{order:?}");
        bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 0, "{order:?}");
        assert_eq!(patients(&bed), 2, "{order:?}");
    }
}

/// Where the store keeps the ids of the files, there is room for one: the other is a duplicate, and said to differ.
#[test]
fn under_one_id_there_is_room_for_one() {
    let bed = Bed::new();
    bed.write("in/a.json", &bundle("a", &[patient("a")]));
    bed.write("in/b.json", &bundle("b", &[patient("b")]));
    bed.write("m.yaml", &manifest("update"));
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), bed.count("duplicate")), (1, 1));
    assert!(ran.err.contains("differ"), "{}", ran.err);
}

/// A record that refers by type and id means a record of its own server, and none of another's that has the same name.
#[test]
fn a_name_of_another_server_is_not_meant() {
    let bed = Bed::new();
    bed.write("in/a.json", &bundle("a", &[patient("a")]));
    bed.write(
        "in/b.json",
        &bundle("b", &[observation("b", "b1", "Patient/1")]),
    );
    bed.write("m.yaml", &manifest("create"));
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    let counts = (bed.count("created"), bed.count("rejected"));
    assert_eq!(counts, (1, 1), "{}", ran.out);
    assert!(ran.out.contains("Patient"), "{}", ran.out);
}

/// A record that has no address, in one of its copies, is meant from everywhere.
#[test]
fn a_copy_without_an_address_is_meant_from_everywhere() {
    let refers = bundle("b", &[observation("a", "b1", "Patient/1")]);
    let held = bundle("a", &[patient("a")]);
    let plain = patient("a").to_string();
    for files in [
        [&refers, &held, &plain],
        [&plain, &held, &refers],
        [&held, &plain, &refers],
    ] {
        let bed = Bed::new();
        for (place, file) in files.iter().enumerate() {
            bed.write(&format!("in/{place}.json"), file);
        }
        bed.write("m.yaml", &manifest("create"));
        bed.run(&["load", "m.yaml"]).exits(0);
        assert_eq!(bed.count("created"), 2);
        assert_eq!(patients(&bed), 1);
    }
}

/// What is added later finds the records of its own server in the earlier run, whatever the order in which they stand there.
#[test]
fn increments_find_the_records_of_their_own_server() {
    for order in [["a", "b"], ["b", "a"]] {
        let bed = Bed::new();
        for (place, server) in order.iter().enumerate() {
            bed.write(
                &format!("in/{place}.json"),
                &bundle(server, &[patient(server)]),
            );
        }
        bed.write("m.yaml", &manifest("create"));
        bed.run(&["load", "m.yaml"]).exits(0);
        let runs = std::fs::read_dir(bed.path(".stoker/runs")).unwrap();
        let run = runs.map(|run| run.unwrap().path()).next().unwrap();
        std::fs::create_dir(bed.path("more")).unwrap();
        for server in order {
            let later = bundle(server, &[observation(server, server, "Patient/1")]);
            bed.write(&format!("more/{server}.json"), &later);
        }
        let more = manifest("create").replace("in/*", "more/*");
        let more = format!("{more}known: [ {:?} ]\n", run.to_str().unwrap());
        bed.write("more.yaml", &more);
        bed.run(&["load", "more.yaml"]).exits(0);
        assert_eq!(patients(&bed), 2, "{order:?}");
        // Without an address nobody can tell whose patient is meant.
        bed.write(
            "more/c.json",
            &observation("c", "c", "Patient/1").to_string(),
        );
        let ran = bed.run(&["load", "more.yaml"]).exits(1);
        assert_eq!(bed.count("rejected"), 1, "{}", ran.out);
    }
}
