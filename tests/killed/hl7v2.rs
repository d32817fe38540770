//! A local store that is killed while messages are ingested: what it has acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stoker::hl7v2::digest::Digest;
use tokio::sync::Mutex;

use super::store::Store;

const MESSAGES: &str =
    "v1/projects/local/locations/local/datasets/stoker/hl7V2Stores/hl7v2/messages";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_message_survives() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    let number = Arc::new(AtomicUsize::new(0));
    let client = reqwest::Client::new();
    for round in 1..=8 {
        let store = Store::start(folder.path());
        let url = format!("{}/{MESSAGES}", store.url);
        // Everything from the rounds before is there.
        for id in acknowledged.lock().await.iter() {
            let read = client
                .get(format!("{url}/{id}?view=BASIC"))
                .send()
                .await
                .unwrap();
            assert_eq!(read.status(), 200, "round {round}: {id} is lost");
        }
        let before = acknowledged.lock().await.len();
        let senders = (0..8).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            let (acknowledged, number) = (Arc::clone(&acknowledged), Arc::clone(&number));
            tokio::spawn(async move {
                loop {
                    let id = number.fetch_add(1, Ordering::Relaxed);
                    let text = format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|{id}|P|2.5\rPID|1||{id}\r");
                    let body = serde_json::json!({"message": {"data": STANDARD.encode(&text)}});
                    let request = client.post(format!("{url}:ingest")).body(body.to_string());
                    let request = request.header("content-type", "application/json");
                    // Once it is killed, nothing answers any more.
                    let Ok(answer) = request.send().await else {
                        return;
                    };
                    if answer.status() != 200 || answer.text().await.is_err() {
                        return;
                    }
                    let id = Digest::of(text.as_bytes()).message_id();
                    acknowledged.lock().await.push(id);
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        while acknowledged.lock().await.len() < before + 20 * round {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(store);
        for sender in senders {
            sender.await.unwrap();
        }
    }
}
