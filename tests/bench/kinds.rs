//! Bare loops and sinks for messages and instances: what a client of the same transport could do at the most.
//!
//! - `make DIR COUNT`: writes `feed.hl7` (messages, each about a patient of its own) and `images/` (tiny instances, 50 a study);
//! - `sink ADDRESS MLLP-ADDRESS MILLISECONDS`: takes messages by HTTP (`messages:ingest`) and by MLLP, and instances by STOW, keeps nothing,
//!   and answers as a store does, after so long;
//! - `bare ingest|mllp|stow DIR ADDRESS CONCURRENCY`: sends them, and prints how many seconds that took.
//!
//! `tests/bench/kinds.sh` compares the bare loops with `stoker load`.

#![expect(clippy::print_stdout, reason = "it is what the benchmark is for")]

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    http::header,
    response::IntoResponse,
    routing::{any, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use stoker::{
    dicom::{
        multipart::Boundary,
        sample::{self, SampleInstance},
    },
    hl7v2::{
        ack::{self, Code},
        digest::Digest,
        header::MessageHeader,
        mllp,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How many instances travel in one request: what `stoker load` sends by itself.
const TOGETHER: usize = 50;
/// How large a message may be for the sink.
const LARGEST: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments.as_slice() {
        ["make", dir, count] => make(Path::new(dir), count.parse().expect("a number")),
        ["sink", http, frames, delay] => {
            let delay = delay.parse().expect("a number");
            DELAY.get_or_init(|| Duration::from_millis(delay));
            runtime.block_on(sink(http, frames));
        }
        ["bare", what, dir, address, concurrency] => {
            let concurrency = concurrency.parse().expect("a number");
            runtime.block_on(bare(what, Path::new(dir), address, concurrency));
        }
        _ => println!("skipped: give make, sink or bare, with what they need"),
    }
}

fn make(dir: &Path, count: usize) {
    fs_err::create_dir_all(dir.join("images")).expect("a folder");
    let mut feed = String::new();
    for number in 0..count {
        // Writing to a String cannot fail.
        let _ = write!(
            feed,
            "MSH|^~\\&|REG|WARD|EHR|CLINIC|20260101120000||ADT^A04^ADT_A01|m{number}|P|2.5.1\rEVN|A04|20260101120000\r\
             PID|1||p{number}^^^CLINIC^MR||Test^Person{number}||19700101|F|||1 Main St^^Town^ST^12345||555-0100\r\
             PV1|1|O|CLINIC^1^1||||1234^Doc^Test|||||||||||V{number}\r"
        );
        let (study, series) = (number / TOGETHER, number / TOGETHER);
        let (study, series) = (format!("1.2.826.{study}"), format!("1.2.826.{series}.1"));
        let instance = format!("{series}.{number}");
        let sample = SampleInstance {
            study: &study,
            series: &series,
            instance: &instance,
            modality: "OT",
            name: "Test^Person",
            patient: "p",
            date: "20260101",
            description: "Made up",
            number: 1,
            rows: 64,
            columns: 64,
            frames: 1,
        };
        let path = dir.join(format!("images/{number:06}.dcm"));
        let mut file = std::io::BufWriter::new(fs_err::File::create(path).expect("a file"));
        sample::write(&sample, &mut file).expect("written");
    }
    fs_err::write(dir.join("feed.hl7"), feed).expect("written");
}

/// How long the sink thinks about each request.
static DELAY: OnceLock<Duration> = OnceLock::new();

async fn think() {
    if let Some(delay) = DELAY.get().filter(|delay| !delay.is_zero()) {
        tokio::time::sleep(*delay).await;
    }
}

/// Takes everything and keeps nothing.
async fn sink(http: &str, frames: &str) {
    let app = Router::new()
        .route("/dicom/studies", post(stored))
        .route("/{*path}", any(taken))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20));
    let listener = TcpListener::bind(http).await.expect("a port");
    let frames = TcpListener::bind(frames).await.expect("a port");
    tokio::spawn(async move {
        loop {
            let (stream, _) = frames.accept().await.expect("a connection");
            tokio::spawn(acknowledge(stream));
        }
    });
    println!("ready");
    axum::serve(listener, app).await.expect("serving");
}

/// Answers a message as `messages.ingest` does, and any question as a store that is there.
async fn taken(body: Bytes) -> impl IntoResponse {
    think().await;
    let message: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let data = message.as_ref().and_then(|m| m["message"]["data"].as_str());
    let answer = match data.and_then(|data| STANDARD.decode(data).ok()) {
        Some(message) => {
            let id = Digest::of(&message).message_id();
            let name = format!("projects/p/locations/l/datasets/d/hl7V2Stores/s/messages/{id}");
            json!({ "hl7Ack": STANDARD.encode(answer_to(&message)), "message": { "name": name } })
        }
        None => json!({}),
    };
    (
        [(header::CONTENT_TYPE, "application/json")],
        answer.to_string(),
    )
}

fn answer_to(message: &[u8]) -> Vec<u8> {
    let header = MessageHeader::of(message).expect("a header");
    ack::build(&header, Code::Accepted, "20260101120000", "1", "")
}

/// Answers a STOW request: each part ends with its instance's UID at a known place, which is looked for as bytes.
async fn stored(body: Bytes) -> impl IntoResponse {
    think().await;
    // SOPInstanceUID in explicit little endian.
    let tag = memchr::memmem::Finder::new(b"\x08\0\x18\0UI");
    let mut items = Vec::new();
    for at in tag.find_iter(&body) {
        let length = usize::from(u16::from_le_bytes([body[at + 6], body[at + 7]]));
        let uid = String::from_utf8_lossy(&body[at + 8..at + 8 + length]).into_owned();
        let uid = uid.trim_end_matches('\0');
        items.push(json!({ "00081155": { "vr": "UI", "Value": [uid] } }));
    }
    let answer = json!({ "00081199": { "vr": "SQ", "Value": items } });
    (
        [(header::CONTENT_TYPE, "application/dicom+json")],
        answer.to_string(),
    )
}

async fn acknowledge(mut stream: TcpStream) {
    let mut decoder = mllp::Decoder::new(LARGEST);
    let mut buffer = vec![0; 1 << 16];
    stream.set_nodelay(true).expect("an option");
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        decoder.feed(&buffer[..count]);
        while let Ok(Some(mllp::Received::Block(message))) = decoder.received() {
            think().await;
            let framed = mllp::frame(&answer_to(&message)).expect("a frame");
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    }
}

async fn bare(what: &str, dir: &Path, address: &str, concurrency: usize) {
    let began = Instant::now();
    let count = match what {
        "ingest" => ingest(dir, address, concurrency).await,
        "mllp" => transmit(dir, address, concurrency).await,
        "stow" => store(dir, address, concurrency).await,
        _ => panic!("ingest, mllp or stow"),
    };
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} in {seconds:.3} s, {:.0}/s", count as f64 / seconds);
}

/// Splits the feed before each MSH.
fn messages(dir: &Path) -> Arc<Vec<Bytes>> {
    let feed = Bytes::from(fs_err::read(dir.join("feed.hl7")).expect("the feed"));
    let mut starts: Vec<usize> = memchr::memmem::find_iter(&feed, b"MSH|").collect();
    starts.push(feed.len());
    let messages = starts.windows(2).map(|pair| feed.slice(pair[0]..pair[1]));
    Arc::new(messages.collect())
}

fn client(concurrency: usize) -> reqwest::Client {
    reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(concurrency)
        .build()
        .expect("a client")
}

async fn ingest(dir: &Path, address: &str, concurrency: usize) -> usize {
    let messages = messages(dir);
    let client = client(concurrency);
    let tasks = (0..concurrency).map(|first| {
        let (client, messages) = (client.clone(), Arc::clone(&messages));
        let url = format!("{address}/messages:ingest");
        tokio::spawn(async move {
            for message in messages.iter().skip(first).step_by(concurrency) {
                let body = json!({ "message": { "data": STANDARD.encode(message) } });
                let request = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .body(body.to_string());
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
                let _ = answer.bytes().await.expect("a body");
            }
        })
    });
    for ended in futures::future::join_all(tasks).await {
        ended.expect("sent");
    }
    messages.len()
}

/// Tells whether an answer came. The last byte of the one before it may have come late, and stands before it then.
fn has_block(decoder: &mut mllp::Decoder) -> bool {
    while let Some(received) = decoder.received().expect("frames") {
        if matches!(received, mllp::Received::Block(_)) {
            return true;
        }
    }
    false
}

async fn transmit(dir: &Path, address: &str, concurrency: usize) -> usize {
    let messages = messages(dir);
    let tasks = (0..concurrency).map(|first| {
        let (messages, address) = (Arc::clone(&messages), address.to_owned());
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let mut decoder = mllp::Decoder::new(LARGEST);
            let mut buffer = vec![0; 1 << 16];
            for message in messages.iter().skip(first).step_by(concurrency) {
                let framed = mllp::frame(message).expect("a frame");
                stream.write_all(&framed).await.expect("sent");
                while !has_block(&mut decoder) {
                    let count = stream.read(&mut buffer).await.expect("an answer");
                    assert!(count > 0, "the sink hung up");
                    decoder.feed(&buffer[..count]);
                }
            }
        })
    });
    for ended in futures::future::join_all(tasks).await {
        ended.expect("sent");
    }
    messages.len()
}

async fn store(dir: &Path, address: &str, concurrency: usize) -> usize {
    let mut files: Vec<_> = fs_err::read_dir(dir.join("images"))
        .expect("the images")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let files = Arc::new(files);
    let client = client(concurrency);
    let tasks = (0..concurrency).map(|first| {
        let (client, files) = (client.clone(), Arc::clone(&files));
        let url = format!("{address}/studies");
        tokio::spawn(async move {
            for files in files.chunks(TOGETHER).skip(first).step_by(concurrency) {
                let boundary = Boundary::of(7);
                let mut body = Vec::new();
                for file in files {
                    body.extend_from_slice(boundary.head().as_bytes());
                    body.extend_from_slice(&fs_err::read(file).expect("an image"));
                }
                body.extend_from_slice(boundary.tail().as_bytes());
                let request = client
                    .post(&url)
                    .header("content-type", boundary.content_type())
                    .header("accept", "application/dicom+json")
                    .body(body);
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
                let _ = answer.bytes().await.expect("a body");
            }
        })
    });
    for ended in futures::future::join_all(tasks).await {
        ended.expect("sent");
    }
    files.len()
}
