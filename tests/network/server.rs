//! Servers that do what a test wants, on ports that the system chooses.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use stoker::gate::{
    http::{HttpTransport, TransportOptions},
    transport::{Fault, Transport as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Text in a path, query or body that must turn up in no error.
pub(crate) const CONTENT: &str = "Mustermann";

/// Gives every connection to `handle`, each in a task of its own.
pub(crate) async fn each<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Reads one request, head and body, as text.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse::<usize>().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

/// Reads a request, answers with these bytes, closes.
pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = Arc::new(answer.into());
    each(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            read_request(&mut stream).await;
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
    })
    .await
}

/// A small HTTP server that keeps what it was asked.
#[derive(Clone)]
pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mock {
    /// Starts a server; `answer` gets the number of the request, from 0, and its text.
    pub(crate) async fn start(
        answer: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let address = each(move |mut stream| {
            let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            async move {
                let request = read_request(&mut stream).await;
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(request.clone());
                    kept.len() - 1
                };
                let (status, body) = answer(number, &request);
                let head = format!(
                    "HTTP/1.1 {status} Mock\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Metadata-Flavor: Google\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.ok();
            }
        })
        .await;
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// The settings of the tests: short enough that a hanging server does not hang the test.
pub(crate) fn options() -> TransportOptions {
    TransportOptions {
        timeout: Duration::from_secs(20),
        ..TransportOptions::default()
    }
}

pub(crate) fn post(url: &str) -> Request<Bytes> {
    Request::post(format!("{url}/fhir/Patient/{CONTENT}?name={CONTENT}"))
        .header("Authorization", format!("Bearer {CONTENT}"))
        .body(Bytes::from(format!("{{\"family\":\"{CONTENT}\"}}")))
        .unwrap()
}

/// Makes one attempt with a transport of its own.
pub(crate) async fn attempt(
    options: &TransportOptions,
    url: &str,
) -> Result<Response<Bytes>, Fault> {
    let transport = HttpTransport::new(options).unwrap();
    let answer = transport.call(post(url)).await;
    if let Err(fault) = &answer {
        let text = format!("{fault} {fault:?}");
        assert!(!text.contains(CONTENT) && !text.contains("/fhir"), "{text}");
    }
    answer
}
