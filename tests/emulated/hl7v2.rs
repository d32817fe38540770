//! HL7v2 stores of the embedded local store, over real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use serde_json::{Value, json};
use stoker::emulator::{Options, Provided, Scenario};
use stoker::hl7v2::ack::{Ack, Code};
use stoker::hl7v2::digest::Digest;
use stoker::hl7v2::segment::normalised;
use stoker::hl7v2::split::{MessageSplitter, Piece};

use super::bed::{Answer, Bed, DATASETS, options, started};
use crate::support::data;

const STORES: &str = "v1/projects/p/locations/l/datasets/d/hl7V2Stores";
const STORE: &str = "v1/projects/p/locations/l/datasets/d/hl7V2Stores/h";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// The sample of Google's documentation.
const SAMPLE: &str = "MSH|^~\\&|A|SEND_FACILITY|A|A|20180101000000||TYPE^A|20180101000000|T|0.0|||AA||00|ASCII\rEVN|A00|20180101040000\rPID||14\u{1}111^^^^MRN|11111111^^^^MRN~1111111111^^^^ORGNMBR";

async fn call(bed: &Bed, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    bed.call_with(method, path, &JSON, &body).await
}

async fn get(bed: &Bed, path: &str) -> Answer {
    call(bed, "GET", path, &Value::Null).await
}

/// A bed with an HL7v2 store of those fields.
async fn bed(fields: Value) -> Bed {
    let bed = Bed::new().await;
    call(&bed, "POST", &format!("{STORES}?hl7V2StoreId=h"), &fields)
        .await
        .is(200);
    bed
}

fn message(text: &str) -> Value {
    json!({"message": {"data": STANDARD.encode(text)}})
}

async fn ingest(bed: &Bed, text: &str) -> Answer {
    call(
        bed,
        "POST",
        &format!("{STORE}/messages:ingest"),
        &message(text),
    )
    .await
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// A message of a type, a facility, a time and a patient.
fn made(kind: &str, facility: &str, time: &str, patient: &str, id: &str) -> String {
    format!("MSH|^~\\&|APP|{facility}|R|RF|{time}||{kind}|{id}|P|2.5\rPID|1||{patient}^^^^MR\r")
}

async fn listed(bed: &Bed, query: &[(&str, &str)]) -> Value {
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    get(bed, &format!("{STORE}/messages?{query}"))
        .await
        .is(200)
        .json()
}

/// The control ids of the messages that a filter finds.
async fn found(bed: &Bed, filter: &str, order: &str) -> Vec<String> {
    let page = listed(
        bed,
        &[
            ("filter", filter),
            ("orderBy", order),
            ("view", "PARSED_ONLY"),
        ],
    )
    .await;
    let messages = page["hl7V2Messages"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ids = messages.iter().map(|message| {
        let msh = &message["parsedData"]["segments"][0]["fields"];
        msh["9"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

#[tokio::test]
async fn stores_are_administered() {
    let bed = bed(json!({
        "parserConfig": {"version": "V3", "segmentTerminator": "DQ==", "schema": {"schemas": [{"messageSchemaConfigs": {"ADT_A01": {"name": "x", "minOccurs": 1}}}]}},
        "rejectDuplicateMessage": true,
        "labels": {"team": "a"},
        "notificationConfigs": [{"pubsubTopic": "projects/p/topics/t", "filter": "message_type=\"ADT\""}],
    }))
    .await;
    let store = get(&bed, STORE).await.is(200).json();
    assert_eq!(
        store["name"],
        "projects/p/locations/l/datasets/d/hl7V2Stores/h"
    );
    assert_eq!(store["parserConfig"]["version"], "V3");
    assert_eq!(
        store["parserConfig"]["schema"]["schemas"][0]["messageSchemaConfigs"]["ADT_A01"]["minOccurs"],
        1
    );
    assert_eq!(store["rejectDuplicateMessage"], true);
    call(
        &bed,
        "POST",
        &format!("{STORES}?hl7V2StoreId=h"),
        &json!({}),
    )
    .await
    .google(409, "ALREADY_EXISTS");
    call(
        &bed,
        "POST",
        &format!("{STORES}?hl7V2StoreId=a/b"),
        &json!({}),
    )
    .await
    .google(400, "INVALID_ARGUMENT");
    call(
        &bed,
        "POST",
        &format!("{STORES}?hl7V2StoreId=x"),
        &json!({"version": "R4"}),
    )
    .await
    .google(400, "INVALID_ARGUMENT");
    let odd = json!({"parserConfig": {"version": "V4"}});
    call(&bed, "POST", &format!("{STORES}?hl7V2StoreId=x"), &odd)
        .await
        .google(400, "INVALID_ARGUMENT");
    for id in ["i", "j"] {
        call(
            &bed,
            "POST",
            &format!("{STORES}?hl7V2StoreId={id}"),
            &Value::Null,
        )
        .await
        .is(200);
    }
    let page = get(&bed, &format!("{STORES}?pageSize=2"))
        .await
        .is(200)
        .json();
    assert_eq!(page["hl7V2Stores"].as_array().unwrap().len(), 2);
    let token = page["nextPageToken"].as_str().unwrap();
    let page = get(&bed, &format!("{STORES}?pageToken={token}"))
        .await
        .is(200)
        .json();
    assert!(
        page["hl7V2Stores"][0]["name"]
            .as_str()
            .unwrap()
            .ends_with("/j")
    );
    let page = get(&bed, &format!("{STORES}?filter=labels.team=a"))
        .await
        .is(200)
        .json();
    assert_eq!(page["hl7V2Stores"].as_array().unwrap().len(), 1);
    let change = json!({"rejectDuplicateMessage": false, "labels": {"team": "b"}});
    let patched = call(
        &bed,
        "PATCH",
        &format!("{STORE}?updateMask=rejectDuplicateMessage,labels"),
        &change,
    )
    .await;
    assert_eq!(patched.is(200).json()["labels"]["team"], "b");
    for (mask, change) in [
        ("", json!({})),
        ("name", json!({"name": "x"})),
        ("parserConfig", json!({"parserConfig": {"version": "V1"}})),
        (
            "parserConfig.version",
            json!({"parserConfig": {"version": "V1"}}),
        ),
        ("colour", json!({})),
    ] {
        call(
            &bed,
            "PATCH",
            &format!("{STORE}?updateMask={mask}"),
            &change,
        )
        .await
        .google(400, "INVALID_ARGUMENT");
    }
    for verb in ["setIamPolicy", "testIamPermissions"] {
        let body = json!({"policy": {"bindings": []}});
        let body = if verb == "setIamPolicy" {
            body
        } else {
            json!({"permissions": ["x"]})
        };
        call(&bed, "POST", &format!("{STORE}:{verb}"), &body)
            .await
            .is(200);
    }
    get(&bed, &format!("{STORE}:getIamPolicy")).await.is(200);
    call(&bed, "POST", &format!("{STORE}:explode"), &json!({}))
        .await
        .google(404, "UNIMPLEMENTED");
    // A restart keeps them, FHIR stores are another kind, and a dataset takes them with it.
    let bed = bed.restarted().await;
    assert_eq!(get(&bed, STORE).await.is(200).json()["labels"]["team"], "b");
    let fhir = get(&bed, &format!("{DATASETS}/d/fhirStores"))
        .await
        .is(200)
        .json();
    assert_eq!(fhir["fhirStores"].as_array().unwrap().len(), 1);
    call(&bed, "DELETE", &format!("{STORES}/j"), &Value::Null)
        .await
        .is(200);
    get(&bed, &format!("{STORES}/j"))
        .await
        .google(404, "NOT_FOUND");
    call(&bed, "DELETE", &format!("{DATASETS}/d"), &Value::Null)
        .await
        .is(200);
    get(&bed, STORE).await.google(403, "PERMISSION_DENIED");
    bed.call("POST", &format!("{DATASETS}?datasetId=d"), "")
        .await
        .is(200);
    get(&bed, STORE).await.google(404, "NOT_FOUND");
}

/// The request, the message and the acknowledgement are those of Google's documentation.
#[tokio::test]
async fn an_ingest_is_answered_as_google_does() {
    let bed = bed(json!({})).await;
    let answer = ingest(&bed, SAMPLE).await.is(200).json();
    let stored = &answer["message"];
    let id = "2yqbdhYHlk_ucSmWkcKOVm_N0p0OpBXgIlVG18rB-cw=";
    assert_eq!(
        stored["name"],
        format!("{}/messages/{id}", STORE.strip_prefix("v1/").unwrap())
    );
    assert_eq!(
        (
            &stored["sendFacility"],
            &stored["sendTime"],
            &stored["messageType"]
        ),
        (
            &json!("SEND_FACILITY"),
            &json!("2018-01-01T00:00:00Z"),
            &json!("TYPE")
        )
    );
    assert_eq!(
        stored["patientIds"][2],
        json!({"value": "1111111111", "type": "ORGNMBR"})
    );
    assert_eq!(
        stored["parsedData"]["segments"][2]["fields"]["3[1].5"],
        "ORGNMBR"
    );
    assert_eq!(decoded(&stored["data"]), SAMPLE.as_bytes());
    let ack = String::from_utf8(decoded(&answer["hl7Ack"])).unwrap();
    let parts: Vec<&str> = ack.split('|').collect();
    let (time, uuid) = (parts[6], parts[9]);
    assert_eq!(time.len(), 14);
    uuid::Uuid::parse_str(uuid).unwrap();
    assert_eq!(
        ack,
        format!("MSH|^~\\&|A|A|A|SEND_FACILITY|{time}||ACK|{uuid}|T|0.0\rMSA|AA|20180101000000")
    );
    // The same again: one message, the same acknowledgement, also after a restart.
    let bed = bed.restarted().await;
    let again = ingest(&bed, SAMPLE).await.is(200).json();
    assert_eq!(again, answer);
    let page = listed(&bed, &[]).await;
    assert_eq!(page, json!({"hl7V2Messages": [{"name": stored["name"]}]}));
    // Read by either spelling of the id.
    for id in [id.to_owned(), id.replace('=', "%3D")] {
        let read = get(&bed, &format!("{STORE}/messages/{id}"))
            .await
            .is(200)
            .json();
        assert_eq!(&read, stored);
    }
}

#[tokio::test]
async fn duplicates_are_refused_where_the_store_wants_it() {
    let bed = bed(json!({"rejectDuplicateMessage": true})).await;
    let text = made("ADT^A01", "F", "2025", "1", "M1");
    ingest(&bed, &text).await.is(200);
    for path in ["messages", "messages:ingest"] {
        let refused = call(&bed, "POST", &format!("{STORE}/{path}"), &message(&text))
            .await
            .is(409)
            .json();
        assert_eq!(refused["error"]["status"], "ALREADY_EXISTS");
        let nack = decoded(&refused["error"]["details"][0]["hl7Nack"]);
        let nack = Ack::parse(&nack).unwrap();
        assert_eq!((nack.code, nack.control_id), (Code::Error, &b"M1"[..]));
    }
}

#[tokio::test]
async fn what_cannot_be_parsed_is_refused_with_a_nack() {
    let bed = bed(json!({})).await;
    let latin = "MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.5||||||8859/1\rPID|1\r";
    let refused = ingest(&bed, latin).await;
    let message_ = refused.google(400, "INVALID_ARGUMENT");
    assert_eq!(
        message_,
        "unsupported encoding in message, only ASCII and UTF-8 are supported"
    );
    let lf = "MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.5||||||ASCII\nPID|1\n";
    for (text, id) in [(latin, "7"), (lf, "7"), ("no message", "")] {
        let refused = ingest(&bed, text).await.is(400).json();
        let nack = decoded(&refused["error"]["details"][0]["hl7Nack"]);
        let nack = Ack::parse(&nack).unwrap();
        assert_eq!(
            (nack.code, nack.control_id),
            (Code::Error, id.as_bytes()),
            "{text}"
        );
        call(&bed, "POST", &format!("{STORE}/messages"), &message(text))
            .await
            .google(400, "INVALID_ARGUMENT");
    }
    for body in [
        json!({}),
        json!({"message": {}}),
        json!({"message": "x"}),
        json!({"message": {"data": "*"}}),
        json!({"message": {"data": "TVNI", "colour": 1}}),
        json!({"message": {"data": "TVNI", "labels": {"UP": "x"}}}),
        json!({"data": "TVNI"}),
    ] {
        call(&bed, "POST", &format!("{STORE}/messages:ingest"), &body)
            .await
            .google(400, "INVALID_ARGUMENT");
    }
    let large = "A".repeat((10 << 20) + 4);
    let large = json!({"message": {"data": large}});
    call(&bed, "POST", &format!("{STORE}/messages"), &large)
        .await
        .google(413, "OUT_OF_RANGE");
    assert_eq!(listed(&bed, &[]).await, json!({}));
    bed.call_with(
        "POST",
        &format!("{STORE}/messages"),
        &[("content-type", "text/plain")],
        "{}",
    )
    .await
    .is(415);
    // Messages of that size are taken, and pages of them end early.
    let mut whole = made("ADT^A01", "F", "2025", "1", "M1");
    whole.push_str("OBX|1|ED|||");
    whole.push_str(&"x".repeat((10 << 20) / 4 * 3 - whole.len()));
    for id in 0..4 {
        let one = whole.replacen("M1", &format!("M{id}"), 1);
        ingest(&bed, &one).await.is(200);
    }
    let mut sizes = Vec::new();
    let mut token = String::new();
    loop {
        let page = listed(&bed, &[("view", "RAW_ONLY"), ("pageToken", &token)]).await;
        sizes.push(page["hl7V2Messages"].as_array().unwrap().len());
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(sizes, [3, 1]);
}

#[tokio::test]
async fn a_message_is_shown_by_view_and_parser() {
    for (version, number) in [("V1", "9"), ("V2", "10"), ("V3", "10")] {
        let bed = bed(json!({"parserConfig": {"version": version}})).await;
        let text = "MSH|^~\\&|APP|F|R|RF|2025||ADT^A01|M1|P|2.5\rPID|1||7^^^^MR||O\\T\\Hara\r";
        let created = call(&bed, "POST", &format!("{STORE}/messages"), &message(text))
            .await
            .is(200)
            .json();
        let name = created["name"].as_str().unwrap().to_owned();
        let id = name.rsplit('/').next().unwrap();
        assert_eq!(id, Digest::of(text.as_bytes()).message_id());
        let mut keys = BTreeMap::new();
        for view in [
            "RAW_ONLY",
            "PARSED_ONLY",
            "FULL",
            "SCHEMATIZED_ONLY",
            "BASIC",
            "",
        ] {
            let read = get(&bed, &format!("v1/{name}?view={view}"))
                .await
                .is(200)
                .json();
            let found: Vec<String> = read.as_object().unwrap().keys().cloned().collect();
            keys.insert(view, found);
            let segments = &read["parsedData"]["segments"];
            if segments.is_array() {
                assert_eq!(segments[0]["fields"][number], "M1", "{version}");
                let name = if version == "V3" {
                    "O&Hara"
                } else {
                    "O\\T\\Hara"
                };
                assert_eq!(segments[1]["fields"]["5"], name, "{version}");
                assert_eq!(segments[1]["setId"], "1");
            }
        }
        let common = [
            "createTime",
            "messageType",
            "name",
            "patientIds",
            "sendFacility",
            "sendTime",
        ];
        let with = |more: &[&str]| -> Vec<String> {
            let mut all: Vec<&str> = common.iter().copied().chain(more.iter().copied()).collect();
            all.sort_unstable();
            all.into_iter().map(str::to_owned).collect()
        };
        assert_eq!(keys["RAW_ONLY"], with(&["data"]));
        assert_eq!(keys["PARSED_ONLY"], with(&["parsedData"]));
        assert_eq!(keys["FULL"], with(&["data", "parsedData"]));
        assert_eq!(keys[""], keys["FULL"]);
        assert_eq!(keys["SCHEMATIZED_ONLY"], with(&[]));
        assert_eq!(keys["BASIC"], ["name"]);
        get(&bed, &format!("v1/{name}?view=WIDE"))
            .await
            .google(400, "INVALID_ARGUMENT");
        get(&bed, &format!("{STORE}/messages/none"))
            .await
            .google(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn messages_are_listed_filtered_and_ordered() {
    let bed = bed(json!({})).await;
    let zone = json!({"timeZone": "America/New_York"});
    call(
        &bed,
        "PATCH",
        &format!("{DATASETS}/d?updateMask=timeZone"),
        &zone,
    )
    .await
    .is(200);
    for (kind, facility, time, patient, id) in [
        ("ADT^A01", "NORTH", "20250103", "1", "a"),
        ("ADT^A08", "NORTH", "20250101", "1", "b"),
        ("ORU^R01", "SOUTH", "20250102233000", "2", "c"),
        ("ORU^R01", "SOUTH", "", "2", "d"),
    ] {
        ingest(&bed, &made(kind, facility, time, patient, id))
            .await
            .is(200);
    }
    for (filter, expected) in [
        ("message_type = \"ADT\"", vec!["b", "a"]),
        (
            "NOT message_type = \"ADT\" AND send_date = \"2025-01-02\"",
            vec!["c"],
        ),
        ("send_time >= \"2025-01-03T04:30:00Z\"", vec!["c", "a"]),
        (
            "PatientId(\"1\", \"MR\") send_facility = \"NORTH\"",
            vec!["b", "a"],
        ),
        (
            "create_time > \"2020-01-01T00:00:00Z\"",
            vec!["d", "b", "c", "a"],
        ),
        ("labels.\"x\":*", vec![]),
    ] {
        assert_eq!(found(&bed, filter, "send_time").await, expected, "{filter}");
    }
    assert_eq!(
        found(&bed, "", "send_time desc").await,
        ["a", "c", "b", "d"]
    );
    for (name, value) in [
        ("filter", "message_type != \"ADT\""),
        ("orderBy", "name"),
        ("pageSize", "x"),
        ("pageToken", "!"),
    ] {
        let path = format!(
            "{STORE}/messages?{}",
            url::form_urlencoded::Serializer::new(String::new())
                .append_pair(name, value)
                .finish()
        );
        get(&bed, &path).await.google(400, "INVALID_ARGUMENT");
    }
    // In pages, every message comes once.
    for order in ["", "send_time", "send_time desc"] {
        let mut names = Vec::new();
        let mut token = String::new();
        loop {
            let page = listed(
                &bed,
                &[("pageSize", "1"), ("pageToken", &token), ("orderBy", order)],
            )
            .await;
            names.extend(
                page["hl7V2Messages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|message| message["name"].to_string()),
            );
            match page["nextPageToken"].as_str() {
                Some(next) => next.clone_into(&mut token),
                None => break,
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4, "{order}");
    }
}

#[tokio::test]
async fn labels_are_merged_and_messages_deleted() {
    let bed = bed(json!({})).await;
    let text = made("ADT^A01", "F", "2025", "1", "M1");
    let body = json!({"message": {"data": STANDARD.encode(&text), "labels": {"a": "1", "b": "1"}}});
    let created = call(&bed, "POST", &format!("{STORE}/messages"), &body)
        .await
        .is(200)
        .json();
    let path = format!("v1/{}", created["name"].as_str().unwrap());
    let change = json!({"labels": {"b": "2", "c": "3"}});
    let patched = call(&bed, "PATCH", &format!("{path}?updateMask=labels"), &change)
        .await
        .is(200)
        .json();
    assert_eq!(patched["labels"], json!({"a": "1", "b": "2", "c": "3"}));
    assert_eq!(get(&bed, &path).await.is(200).json(), patched);
    for mask in ["", "data", "labels,data"] {
        call(&bed, "PATCH", &format!("{path}?updateMask={mask}"), &change)
            .await
            .google(400, "INVALID_ARGUMENT");
    }
    assert_eq!(found(&bed, "labels.\"b\"=\"2\"", "").await, ["M1"]);
    // What comes twice keeps the labels of the first.
    ingest(&bed, &text).await.is(200);
    assert_eq!(
        get(&bed, &path).await.is(200).json()["labels"],
        patched["labels"]
    );
    assert_eq!(
        call(&bed, "DELETE", &path, &Value::Null).await.is(200).text,
        "{}"
    );
    call(&bed, "DELETE", &path, &Value::Null)
        .await
        .google(404, "NOT_FOUND");
    get(&bed, &path).await.google(404, "NOT_FOUND");
}

/// Waits until an operation is done.
async fn done(bed: &Bed, begun: &Answer) -> Value {
    let name = begun.json()["name"].as_str().unwrap().to_owned();
    loop {
        let operation = get(bed, &format!("v1/{name}")).await.is(200).json();
        if operation["done"] == true {
            return operation;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn messages_are_exported_and_imported() {
    let bed = bed(json!({})).await;
    for number in 0..250 {
        let text = made(
            "ADT^A01",
            "F",
            "20250101",
            &number.to_string(),
            &number.to_string(),
        );
        let body = json!({"message": {"data": STANDARD.encode(text), "labels": {"n": number.to_string()}}});
        call(&bed, "POST", &format!("{STORE}/messages"), &body)
            .await
            .is(200);
    }
    let metrics = get(&bed, &format!("{STORE}:getHL7v2StoreMetrics"))
        .await
        .is(200)
        .json();
    assert_eq!(metrics["metrics"][0]["count"], "250");
    assert_eq!(metrics["metrics"][0]["messageType"], "ADT");
    let to = json!({"gcsDestination": {"uriPrefix": "gs://bucket/out", "messageView": "RAW_ONLY"}});
    let begun = call(&bed, "POST", &format!("{STORE}:export"), &to)
        .await
        .is(200);
    let operation = done(&bed, &begun).await;
    assert_eq!(operation["metadata"]["counter"], json!({"success": "250"}));
    assert!(
        operation["response"]["@type"]
            .as_str()
            .unwrap()
            .ends_with(".ExportMessagesResponse"),
        "{operation}"
    );
    let some = json!({"gcsDestination": {"uriPrefix": "gs://bucket/some/"}, "filter": "labels.n = 7", "startTime": "2024-01-01T00:00:00Z"});
    let begun = call(&bed, "POST", &format!("{STORE}:export"), &some)
        .await
        .is(200);
    assert_eq!(
        done(&bed, &begun).await["metadata"]["counter"],
        json!({"success": "1"})
    );

    let out = bed.dir.path().join("buckets/bucket/out");
    let files: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let [file] = &files[..] else {
        panic!("{files:?}")
    };
    let mut text = fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), 250);
    call(
        &bed,
        "POST",
        &format!("{STORES}?hl7V2StoreId=i"),
        &json!({}),
    )
    .await
    .is(200);
    let other = format!("{STORES}/i");
    // One line that is no message is counted, and the others are there.
    let lines: Vec<&str> = text.lines().take(2).collect();
    let spoilt = format!("{}\n{{\"data\":\"bm9uZQ==\"}}\n\n{}\n", lines[0], lines[1]);
    fs::create_dir_all(bed.dir.path().join("buckets/bucket/in")).unwrap();
    fs::write(
        bed.dir.path().join("buckets/bucket/in/spoilt.ndjson"),
        spoilt,
    )
    .unwrap();
    let from = |uri: &str| json!({"gcsSource": {"uri": uri}});
    let begun = call(
        &bed,
        "POST",
        &format!("{other}:import"),
        &from("gs://bucket/in/*.ndjson"),
    )
    .await
    .is(200);
    let operation = done(&bed, &begun).await;
    assert_eq!(
        operation["metadata"]["counter"],
        json!({"success": "2", "failure": "1"})
    );
    assert_eq!(operation["error"]["code"], 3);
    // Again and all: what is there is written over, labels too.
    text = text.replace("\"n\":\"0\"", "\"n\":\"zero\"");
    fs::write(file, text).unwrap();
    for _ in 0..2 {
        let begun = call(
            &bed,
            "POST",
            &format!("{other}:import"),
            &from("gs://bucket/out/**"),
        )
        .await
        .is(200);
        let operation = done(&bed, &begun).await;
        assert_eq!(operation["metadata"]["counter"], json!({"success": "250"}));
        assert!(operation["error"].is_null());
    }
    let page = get(&bed, &format!("{other}/messages?pageSize=1000"))
        .await
        .is(200)
        .json();
    assert_eq!(page["hl7V2Messages"].as_array().unwrap().len(), 250);
    let zero = get(
        &bed,
        &format!("{other}/messages?filter=labels.n=zero&view=FULL"),
    )
    .await
    .is(200)
    .json();
    assert_eq!(zero["hl7V2Messages"].as_array().unwrap().len(), 1);

    let begun = call(
        &bed,
        "POST",
        &format!("{other}:import"),
        &from("gs://bucket/none/**"),
    )
    .await
    .is(200);
    assert!(
        done(&bed, &begun).await["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no matching objects")
    );
    for body in [json!({}), from("gs://../x"), from("/etc/passwd")] {
        call(&bed, "POST", &format!("{other}:import"), &body)
            .await
            .google(400, "INVALID_ARGUMENT");
    }
    let topic = json!({"pubsubDestination": {"pubsubTopic": "t"}});
    call(&bed, "POST", &format!("{other}:export"), &topic)
        .await
        .google(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_store_is_rolled_back_to_a_time() {
    let bed = bed(json!({})).await;
    let create = async |id: &str, label: &str| {
        let text = made("ADT^A01", "F", "2025", "1", id);
        let body = json!({"message": {"data": STANDARD.encode(text), "labels": {"l": label}}});
        let made = call(&bed, "POST", &format!("{STORE}/messages"), &body).await;
        format!("v1/{}", made.is(200).json()["name"].as_str().unwrap())
    };
    // What is in the store: control ids with their labels.
    let contents = async || {
        let page = listed(&bed, &[("view", "FULL")]).await;
        let messages = page["hl7V2Messages"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let messages = messages.iter().map(|message| {
            let id = &message["parsedData"]["segments"][0]["fields"]["9"];
            format!(
                "{} {}",
                id.as_str().unwrap(),
                message["labels"]["l"].as_str().unwrap()
            )
        });
        let mut messages: Vec<String> = messages.collect();
        messages.sort();
        messages
    };
    let rolled = async |time: &str, more: Value| {
        let mut body = json!({"rollbackTime": time, "force": true, "resultGcsBucket": "results"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let begun = call(&bed, "POST", &format!("{STORE}:rollback"), &body)
            .await
            .is(200);
        done(&bed, &begun).await
    };
    let (kept, gone) = (create("kept", "old").await, create("gone", "old").await);
    let time = jiff::Timestamp::now().to_string();
    let change = json!({"labels": {"l": "new"}});
    call(&bed, "PATCH", &format!("{kept}?updateMask=labels"), &change)
        .await
        .is(200);
    call(&bed, "DELETE", &gone, &Value::Null).await.is(200);
    let brief = create("brief", "new").await;
    call(&bed, "DELETE", &brief, &Value::Null).await.is(200);
    create("fresh", "new").await;
    let after = jiff::Timestamp::now().to_string();
    let now = ["fresh new", "kept new"];
    assert_eq!(contents().await, now);
    // Without `force` nothing happens.
    let operation = rolled(&time, json!({"force": false})).await;
    assert_eq!(operation["metadata"]["counter"], json!({"success": "4"}));
    assert_eq!(contents().await, now);
    let results = fs::read_dir(bed.dir.path().join("buckets/results")).unwrap();
    let result = results.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    assert_eq!(result.collect::<String>().lines().count(), 4);
    rolled(&time, json!({"changeType": "UPDATE"})).await;
    assert_eq!(contents().await, ["fresh new", "kept old"]);
    let operation = rolled(&time, json!({})).await;
    assert!(
        operation["response"]["hl7v2Store"]
            .as_str()
            .unwrap()
            .ends_with("/h")
    );
    assert_eq!(contents().await, ["gone old", "kept old"]);
    // A rollback is a change, too.
    rolled(&after, json!({})).await;
    assert_eq!(contents().await, now);
    for body in [
        json!({}),
        json!({"rollbackTime": "yesterday", "resultGcsBucket": "b"}),
        json!({"rollbackTime": time}),
        json!({"rollbackTime": time, "resultGcsBucket": "../b"}),
        json!({"rollbackTime": time, "resultGcsBucket": "b", "changeType": "ODD"}),
    ] {
        call(&bed, "POST", &format!("{STORE}:rollback"), &body)
            .await
            .google(400, "INVALID_ARGUMENT");
    }
}

/// Every message of the set of real files that is in a character set the API takes is stored, and comes back byte for byte.
#[tokio::test]
async fn real_messages_are_stored_byte_for_byte() {
    let Some(folder) = data::set("hl7v2") else {
        return;
    };
    let bed = bed(json!({"parserConfig": {"version": "V3"}})).await;
    let list = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let mut sent: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for path in list
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next())
    {
        let file = fs::read(folder.join(path)).unwrap();
        MessageSplitter::whole(&file, &mut |piece| {
            if let Piece::Message(message) = piece {
                let made = normalised(message.bytes).into_owned();
                sent.insert(Digest::of(&made).message_id(), made);
            }
        });
    }
    let (mut taken, mut refused) = (0, BTreeMap::<String, usize>::new());
    for (id, data) in &sent {
        let body = json!({"message": {"data": STANDARD.encode(data)}});
        let answer = call(&bed, "POST", &format!("{STORE}/messages:ingest"), &body).await;
        if answer.status == 200 {
            let answer = answer.json();
            assert!(answer["message"]["name"].as_str().unwrap().ends_with(id));
            let ack = decoded(&answer["hl7Ack"]);
            assert_eq!(Ack::parse(&ack).unwrap().code, Code::Accepted);
            taken += 1;
        } else {
            let why = answer.google(400, "INVALID_ARGUMENT");
            *refused.entry(why).or_default() += 1;
        }
    }
    let mut stored = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let page = listed(
            &bed,
            &[
                ("pageSize", "1000"),
                ("view", "RAW_ONLY"),
                ("pageToken", &page_token),
            ],
        )
        .await;
        for message in page["hl7V2Messages"].as_array().unwrap() {
            let id = message["name"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap();
            stored.insert(id.to_owned(), decoded(&message["data"]));
        }
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut page_token),
            None => break,
        }
    }
    assert_eq!(stored.len(), taken);
    assert!(stored.iter().all(|(id, data)| sent.get(id) == Some(data)));
    // Some say that they are in ISO 8859-1.
    let encoding = "unsupported encoding in message, only ASCII and UTF-8 are supported";
    assert_eq!((sent.len(), taken), (2121, 2115));
    assert_eq!(refused, BTreeMap::from([(encoding.to_owned(), 6)]));
}

#[tokio::test]
async fn faults_strike_hl7v2_too() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = "rules:\n- { when: { request: [create], until: 1 }, fault: { answer: { status: 503 } } }\n- { when: { request: [create], until: 1 }, fault: { reset: after_write } }\n";
    let server = started(Options {
        faults: Some(Scenario::parse(scenario, std::path::Path::new("f.yaml")).unwrap()),
        provide: Some(Provided {
            dataset: "projects/p/locations/l/datasets/d".to_owned(),
            store: "f".to_owned(),
            fields: [("version".to_owned(), json!("R4"))].into(),
            hl7v2: Some("h".to_owned()),
            dicom: None,
        }),
        ..options(dir.path())
    })
    .await;
    let client = reqwest::Client::new();
    let text = made("ADT^A01", "F", "2025", "1", "M1");
    let ingest = async || {
        let url = format!("{}{STORE}/messages:ingest", server.url());
        let request = client.post(url).header("content-type", "application/json");
        request.body(message(&text).to_string()).send().await
    };
    let answer = Answer::of(ingest().await.unwrap()).await;
    answer.google(503, "UNAVAILABLE");
    // The answer is lost, the message is there: its id is that of its bytes.
    ingest().await.unwrap_err();
    let id = Digest::of(text.as_bytes()).message_id();
    let read = client
        .get(format!("{}{STORE}/messages/{id}", server.url()))
        .send()
        .await
        .unwrap();
    Answer::of(read).await.is(200);
    Answer::of(ingest().await.unwrap()).await.is(200);
    server.stop().await;
}
