//! Conditional references are asked about once, however many records hold them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{Request, Response};
use stoker::{
    gate::{Fault, Gate, Transport},
    lookup::{Lookups, Matches},
    target::fhir::Fhir,
};

use super::{Nobody, settings};

/// Answers every search with the one practitioner that it has, after `troubles` answers of 503.
#[derive(Debug)]
struct Directory {
    asked: AtomicU32,
    troubles: u32,
}

impl Transport for Directory {
    fn call(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        const FOUND: &str = r#"{"resourceType":"Bundle","type":"searchset","total":1,
            "entry":[{"resource":{"resourceType":"Practitioner","id":"p"}}]}"#;
        let in_trouble = self.asked.fetch_add(1, Relaxed) < self.troubles;
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let (status, body) = if in_trouble { (503, "") } else { (200, FOUND) };
            let answer = Response::builder().status(status);
            Ok(answer.body(Bytes::from_static(body.as_bytes())).unwrap())
        })
    }
}

/// Asks for `queries` all at once; returns what was found, and how many requests it took.
async fn ask(
    lookups: &Lookups,
    directory: &Arc<Directory>,
    queries: &[&str],
) -> (Vec<Matches>, u32) {
    let base = "https://store.example/fhir/".parse().unwrap();
    let transport = Arc::clone(directory) as Arc<dyn Transport>;
    let gate = Gate::new(transport, Arc::new(Nobody), &settings(), &base).unwrap();
    let store = Fhir::new(&base, None);
    let before = directory.asked.load(Relaxed);
    let asked = queries
        .iter()
        .map(|query| lookups.one(&gate, &store, "Practitioner", query));
    let found = join_all(asked).await.into_iter().map(Result::unwrap);
    (found.collect(), directory.asked.load(Relaxed) - before)
}

fn directory(troubles: u32) -> Arc<Directory> {
    let asked = AtomicU32::new(0);
    Arc::new(Directory { asked, troubles })
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_make_one_request() {
    let (lookups, directory) = (Lookups::default(), directory(0));
    let queries: Vec<&str> = ["identifier=1", "identifier=2"].repeat(500);
    let (found, requests) = ask(&lookups, &directory, &queries).await;
    assert_eq!(requests, 2);
    assert!(found.iter().all(|m| *m == Matches::One("p".to_owned())));
    let (_, requests) = ask(&lookups, &directory, &queries).await;
    assert_eq!(requests, 0, "what was found is kept");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_shared_by_those_who_wait_and_forgotten_by_those_who_come_later() {
    // A look-up is tried as often as a record.
    let (lookups, directory) = (Lookups::default(), directory(5));
    let queries = ["identifier=1"; 100];
    let (found, requests) = ask(&lookups, &directory, &queries).await;
    assert_eq!(requests, 5);
    assert!(found.iter().all(|m| *m == Matches::Refused(503)));
    let (found, requests) = ask(&lookups, &directory, &queries).await;
    assert_eq!(requests, 1);
    assert!(found.iter().all(|m| *m == Matches::One("p".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_empty_query_asks_nobody() {
    let (found, requests) = ask(&Lookups::default(), &directory(0), &["", "&"]).await;
    assert_eq!((found, requests), (vec![Matches::Several; 2], 0));
}
