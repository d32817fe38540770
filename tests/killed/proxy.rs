//! Stands between Stoker and the store, and knows when which request has come how far.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};

use super::bench::When;

pub(super) struct Proxy {
    pub(super) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    store: String,
    client: reqwest::Client,
    writes: AtomicUsize,
    /// The process, and when it is to be killed.
    plan: Mutex<Option<(u32, When)>>,
    is_time: AtomicBool,
}

impl Proxy {
    pub(super) async fn start(store: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            store: store.to_owned(),
            client: reqwest::Client::new(),
            writes: AtomicUsize::new(0),
            plan: Mutex::new(None),
            is_time: AtomicBool::new(false),
        });
        let app = axum::Router::new()
            .fallback(pass)
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, inner }
    }

    pub(super) fn expect(&self, process: u32, when: When) {
        *self.inner.plan.lock().unwrap() = Some((process, when));
    }

    pub(super) fn let_pass(&self) {
        *self.inner.plan.lock().unwrap() = None;
    }

    pub(super) fn is_time(&self) -> bool {
        self.inner.is_time.load(Ordering::Acquire)
    }

    pub(super) fn writes(&self) -> usize {
        self.inner.writes.load(Ordering::Acquire)
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_write = parts.method != http::Method::GET && parts.uri.path().contains("/fhir");
    let number = if is_write {
        inner.writes.fetch_add(1, Ordering::AcqRel) + 1
    } else {
        0
    };
    let plan = *inner.plan.lock().unwrap();
    let is = |at: usize| is_write && number == at;
    if let Some((_, When::AfterIntent(at))) = plan
        && is(at)
    {
        inner.is_time.store(true, Ordering::Release);
        std::future::pending::<()>().await;
    }
    let url = format!(
        "{}{}",
        inner.store,
        parts.uri.path_and_query().unwrap().as_str()
    );
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = inner
        .client
        .request(parts.method, url)
        .headers(headers)
        .body(body);
    let answer = answer.send().await.unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("transfer-encoding");
    let body = answer.bytes().await.unwrap();
    match plan {
        Some((_, When::AfterCommit(at))) if is(at) => {
            inner.is_time.store(true, Ordering::Release);
            std::future::pending::<()>().await;
        }
        Some((process, When::AfterAnswer(at))) if is(at) => {
            // It sleeps while its answer arrives, and never wakes.
            let stopped = Command::new("/bin/kill")
                .args(["-STOP", &process.to_string()])
                .status();
            assert!(stopped.unwrap().success());
            let inner = Arc::clone(&inner);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                inner.is_time.store(true, Ordering::Release);
            });
        }
        _ => {}
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
