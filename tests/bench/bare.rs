//! A bare reqwest loop that POSTs every line of an NDJSON file: what a client could do at the most.
//!
//! `cargo bench --bench bare -- FILE URL CONCURRENCY` prints the requests and the seconds that sending took. Compare it
//! with `stoker load` of the same file by the same number of connections; `tests/bench/sink.sh` does so.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

#[expect(clippy::print_stdout, reason = "it is what the benchmark is for")]
fn main() {
    let arguments: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let [_, file, url, concurrency] = arguments.as_slice() else {
        println!("skipped: give FILE URL CONCURRENCY");
        return;
    };
    let concurrency: usize = concurrency.parse().expect("a number");
    let text = Bytes::from(fs_err::read(file).expect("the file"));
    let lines: Vec<Bytes> = text
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| text.slice_ref(line))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (lines, url) = (Arc::new(lines), Arc::new(format!("{url}/Patient")));
    let began = Instant::now();
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(concurrency)
            .build()
            .expect("a client");
        let tasks = (0..concurrency).map(|first| {
            let (client, lines, url) = (client.clone(), Arc::clone(&lines), Arc::clone(&url));
            tokio::spawn(async move {
                for line in lines.iter().skip(first).step_by(concurrency) {
                    let request = client
                        .post(url.as_str())
                        .header("content-type", "application/fhir+json")
                        .body(line.clone());
                    let response = request.send().await.expect("an answer");
                    assert_eq!(response.status(), 201);
                    let _ = response.bytes().await.expect("a body");
                }
            })
        });
        futures::future::join_all(tasks).await;
    });
    println!(
        "{} requests in {:.3} s",
        lines.len(),
        began.elapsed().as_secs_f64()
    );
}
