//! Servers of other versions of FHIR: their types are theirs.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{bed::Bed, responder};

/// A server of R5 that creates under ids of its own, and keeps what it was sent.
fn server() -> (String, Arc<Mutex<Vec<Value>>>) {
    let held: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = Arc::clone(&held);
    let types = ["Basic", "Patient", "SubscriptionTopic"];
    let resources: Vec<Value> = types.iter().map(|kind| json!({ "type": kind })).collect();
    let capabilities = json!({
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance",
        "fhirVersion": "5.0.0", "rest": [{ "mode": "server", "resource": resources }],
    })
    .to_string();
    let url = responder::start_raw(move |head, body| {
        let line = head.lines().next().unwrap_or_default();
        if line.contains("/metadata") {
            return responder::response("200 OK", "", &capabilities);
        }
        let resource: Value = serde_json::from_str(body).unwrap();
        let kind = resource["resourceType"].as_str().unwrap().to_owned();
        let mut held = kept.lock().unwrap();
        held.push(resource);
        let location = format!("Location: /fhir/{kind}/srv{}/_history/1\r\n", held.len());
        responder::response("201 Created", &location, "")
    });
    (url, held)
}

#[test]
fn types_that_r4_does_not_know_are_referred_to_by_their_own_names() {
    let bed = Bed::new();
    let (url, held) = server();
    let basic = |reference: &str| {
        format!(
            r#"{{"resourceType":"Basic","code":{{"text":"x"}},"subject":{{"reference":"{reference}"}}}}"#
        )
    };
    let topic = "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    bed.write(
        "b.json",
        &format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{}}},{{"fullUrl":"{topic}","resource":{{"resourceType":"SubscriptionTopic","id":"t","url":"urn:x","status":"active"}}}}]}}"#,
            basic(topic)
        ),
    );
    bed.write("l.ndjson", &basic("SubscriptionTopic/t"));
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: t\ntargets: {{ t: {{ fhir: {{ url: '{url}' }} }} }}\nloads:\n  - {{ name: l, target: t, files: ['*.*json'], interaction: create }}\n"
        ),
    );
    let planned = bed.run(&["plan", "m.yaml"]).exits(0);
    for said in [
        "2  to records of this plan",
        "target `t` speaks FHIR 5.0.0",
        "which references a record cannot be without is known of R4 only",
    ] {
        assert!(planned.out.contains(said), "{said}\n{}", planned.out);
    }
    bed.run(&["load", "m.yaml"]).exits(0);
    let held = held.lock().unwrap();
    assert_eq!(held[0]["resourceType"], "SubscriptionTopic");
    let to: Vec<&Value> = held
        .iter()
        .skip(1)
        .map(|basic| &basic["subject"]["reference"])
        .collect();
    assert_eq!(to, ["SubscriptionTopic/srv1", "SubscriptionTopic/srv1"]);
}
