//! Circles that no transaction holds, and that the store does not let go: what was taken out of their records is put back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::unload::{Stores, unload};

/// Loads a circle of six that no transaction holds under the rate, and nothing else.
fn load(stores: &Stores) {
    let slow = stores.target("fhir_store: fhir", ", rate: 6/s");
    stores.bed.write(
        "long.yaml",
        &format!(
            "version: 1\nname: long\ntargets: {{ slow: {slow} }}\nloads: [ {{ name: long, target: slow, files: [in/long.ndjson], interaction: create }} ]\n"
        ),
    );
    let _ = stores.bed.run(&["load", "long.yaml"]).exits(0);
}

fn locations(contents: &BTreeMap<String, String>) -> Vec<&String> {
    let of = contents.keys().filter(|name| name.starts_with("Location/"));
    of.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_that_cannot_be_opened_is_left_as_it_was() {
    // One update closes the circle when it is loaded; of those that open it the third is refused, and those that put back are not.
    let faults = "rules:\n- { when: { method: PUT, path: \"**/Location/*\", after: 3, until: 4 }, fault: { answer: { status: 422 } } }\n";
    let stores = Stores::start_as(&["--faults", "one.yaml"], &[("one.yaml", faults)]);
    let before = stores.before().await;
    load(&stores);
    let loaded = stores.contents().await;
    assert_eq!(locations(&loaded).len(), 6);
    let run = stores.bed.newest_run();
    let unloaded = unload(&stores.bed, &run, &["--yes"]).exits(1);
    assert!(
        unloaded.out.contains("could not be opened"),
        "{}",
        unloaded.out
    );
    assert_eq!(stores.contents().await, loaded, "{}", unloaded.out);
    // Its versions are others now.
    let _ = unload(&stores.bed, &run, &["--yes", "--changed"]).exits(0);
    assert_eq!(stores.contents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_that_others_refer_to_keeps_its_references() {
    let stores = Stores::start(&[]);
    let _ = stores.before().await;
    load(&stores);
    let loaded = stores.contents().await;
    for (number, name) in (0..).zip(locations(&loaded)) {
        let other: Value = json!({"resourceType": "Location", "id": format!("outside-{number}"), "partOf": {"reference": name}});
        let path = format!("fhirStores/fhir/fhir/Location/outside-{number}");
        stores.send(reqwest::Method::PUT, &path, Some(&other)).await;
    }
    let all = stores.contents().await;
    assert_eq!(all.len(), loaded.len() + 6);
    let run = stores.bed.newest_run();
    let unloaded = unload(&stores.bed, &run, &["--yes"]).exits(1);
    assert!(
        unloaded.out.contains("something in the store refers to it"),
        "{}",
        unloaded.out
    );
    assert_eq!(stores.contents().await, all, "{}", unloaded.out);
}
