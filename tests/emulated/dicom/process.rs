//! The store as a process of its own: what it has acknowledged survives `kill -9`, and it holds no instance in memory.

use std::{io::Write as _, path::Path, time::Duration};

use fs_err as fs;
use futures::StreamExt as _;
use reqwest::{Body, Client};
use serde_json::Value;
use stoker::dicom::{
    multipart::Boundary,
    sample::{self, SampleInstance},
};

use super::{Bed, instance, instances};
use crate::killed::store::Store;

const DATASETS: &str = "v1/projects/p/locations/l/datasets";
const STORE: &str = "v1/projects/p/locations/l/datasets/d/dicomStores/s";

async fn made(url: &str) {
    for path in [
        format!("{DATASETS}?datasetId=d"),
        format!("{DATASETS}/d/dicomStores?dicomStoreId=s"),
    ] {
        let answer = Client::new()
            .post(format!("{url}/{path}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// Stores one instance; tells whether that was acknowledged.
async fn stored(client: &Client, url: &str, bytes: Vec<u8>) -> bool {
    let request = client.post(format!("{url}/{STORE}/dicomWeb/studies"));
    let request = request.header("content-type", "application/dicom");
    match request.body(bytes).send().await {
        Ok(answer) => answer.status() == 200,
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4_u32 {
        let store = Store::start(folder.path());
        if round == 0 {
            made(&store.url).await;
        }
        let client = Client::new();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for lane in 0..4 {
            let (client, url, tell) = (client.clone(), store.url.clone(), tell.clone());
            tokio::spawn(async move {
                for number in 0..1_000 {
                    let number = round * 10_000 + lane * 1_000 + number;
                    if !stored(&client, &url, instance(1, number, 50)).await {
                        return;
                    }
                    let _ = tell.send(number);
                }
            });
        }
        drop(tell);
        for _ in 0..10 + 7 * round {
            acknowledged.push(told.recv().await.unwrap());
        }
        // SIGKILL, with requests in flight.
        drop(store);
        while let Some(number) = told.recv().await {
            acknowledged.push(number);
        }
    }
    let store = Store::start(folder.path());
    for number in &acknowledged {
        let path = format!("studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.{number}");
        let get = Client::new().get(format!("{}/{STORE}/dicomWeb/{path}", store.url));
        let get = get.header("accept", "application/dicom; transfer-syntax=*");
        let back = get.send().await.unwrap().bytes().await.unwrap();
        assert!(back == instance(1, *number, 50), "{number}");
    }
    let coming = folder.path().join("store/dicom/incoming");
    assert!(!coming.exists() || fs::read_dir(coming).unwrap().next().is_none());
}

/// Writes an instance of 100 MB of a document, and 200 MB of pixels behind it.
fn large(path: &Path) {
    let sample = SampleInstance {
        study: "1.2",
        series: "1.2.3",
        instance: "1.2.3.4",
        modality: "XC",
        name: "Rivera^Ana",
        patient: "p-1",
        date: "20240314",
        description: "Film",
        number: 1,
        rows: 1_000,
        columns: 1_000,
        frames: 200,
    };
    let mut head = Vec::new();
    // Only what stands before the pixels is taken from it.
    sample::write(
        &SampleInstance {
            rows: 1,
            columns: 2,
            frames: 2,
            ..sample
        },
        &mut head,
    )
    .unwrap();
    head.truncate(head.len() - 16);
    let mut file = fs::File::create(path).unwrap();
    let dimensions = |head: &mut [u8], element: u8, size: u16| {
        let tag = [0x28, 0, element, 0, b'U', b'S', 2, 0];
        let at = head.windows(8).position(|window| window == tag).unwrap();
        head[at + 8..at + 10].copy_from_slice(&size.to_le_bytes());
    };
    dimensions(&mut head, 0x10, 1_000);
    dimensions(&mut head, 0x11, 1_000);
    file.write_all(&head).unwrap();
    let piece = vec![b'x'; 1_000_000];
    file.write_all(b"\x42\0\x11\0OB\0\0").unwrap();
    file.write_all(&100_000_000_u32.to_le_bytes()).unwrap();
    (0..100).for_each(|_| file.write_all(&piece).unwrap());
    file.write_all(b"\xE0\x7F\x10\0OB\0\0").unwrap();
    file.write_all(&200_000_000_u32.to_le_bytes()).unwrap();
    (0..200).for_each(|_| file.write_all(&piece).unwrap());
}

/// How much memory a process has had at most, in bytes.
fn peak(store: &Store) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", store.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let number = line.trim().trim_end_matches(" kB").trim();
    number.parse::<u64>().unwrap() * 1_024
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(target_os = "linux"), ignore = "memory is read from /proc")]
async fn an_instance_of_300_mb_is_never_held() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.dcm");
    large(&file);
    // Every request passes the faults, which do nothing but wait.
    let faults = folder.path().join("faults.yaml");
    fs::write(&faults, "rules: [{ fault: { latency: { fixed: 1ms } } }]").unwrap();
    let store = Store::start_with(folder.path(), &["--faults", "faults.yaml"]);
    made(&store.url).await;
    let before = peak(&store);
    let boundary = Boundary::of(3);
    let client = Client::new();
    let pieces = fs_err::tokio::File::open(&file).await.unwrap();
    let around = |text: String| futures::stream::iter([Ok(bytes::Bytes::from(text))]);
    let body = around(boundary.head())
        .chain(tokio_util::io::ReaderStream::new(pieces))
        .chain(around(boundary.tail()));
    let request = client.post(format!("{}/{STORE}/dicomWeb/studies", store.url));
    let request = request.header("content-type", boundary.content_type());
    let request = request.header("accept", "application/dicom+json");
    let answer = request.body(Body::wrap_stream(body)).send().await.unwrap();
    let status = answer.status();
    let set: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        (status.as_u16(), instances(&set, "00081199").len()),
        (200, 1),
        "{set}"
    );
    let one = format!(
        "{}/{STORE}/dicomWeb/studies/1.2/series/1.2.3/instances/1.2.3.4",
        store.url
    );
    let get = async |path: &str, accept: &str| {
        let get = client.get(format!("{one}{path}")).header("accept", accept);
        get.send().await.unwrap()
    };
    let mut back = get("", "application/dicom; transfer-syntax=*").await;
    let (bytes, mut at) = (fs::read(&file).unwrap(), 0);
    while let Some(piece) = back.chunk().await.unwrap() {
        assert!(piece == bytes[at..at + piece.len()], "at {at}");
        at += piece.len();
    }
    assert_eq!(at, bytes.len());
    let described = get("/metadata", "application/dicom+json")
        .await
        .text()
        .await
        .unwrap();
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described[0]["00280010"]["Value"][0], 1_000);
    let uri = described[0]["00420011"]["BulkDataURI"].as_str().unwrap();
    let document = client.get(uri).send().await.unwrap().bytes().await.unwrap();
    assert!(document.len() > 100_000_000, "{}", document.len());
    let more = peak(&store) - before;
    // Some of what passes is kept by the allocator: of 1.2 GB as much as of 300 MB, and less than either by far.
    assert!(more < 160 << 20, "{more} bytes more");
}

#[tokio::test]
async fn a_body_that_ends_early_stores_nothing() {
    let bed = Bed::new().await;
    let boundary = Boundary::of(5);
    let one = instance(1, 1, 1);
    let whole = [
        boundary.head().as_bytes(),
        &one,
        boundary.head().as_bytes(),
        &one[..300],
    ]
    .concat();
    let request = bed.client.post(bed.url("/dicomWeb/studies")).body(whole);
    let request = request.header("content-type", boundary.content_type());
    assert_eq!(request.send().await.unwrap().status(), 400);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(bed.json("/dicomWeb/instances").await.0, 204);
    let coming = bed.dir.path().join("dicom/incoming");
    assert!(fs::read_dir(coming).unwrap().next().is_none());
    bed.server.stop().await;
}
