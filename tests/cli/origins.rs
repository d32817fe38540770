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
