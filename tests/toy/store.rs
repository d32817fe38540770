//! A toy store: one record a line over TCP, nothing of HTTP. `PUT id text` is answered `OK id`, `BUSY` or `BAD why`; `GET id`
//! is answered `HAS text` or `NONE`.
//!
//! Here stands all that Stoker has to know of it: a target and a transport.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use stoker::{
    gate::{Fault, FaultKind, Transport},
    manifest::LoadSettings,
    record::Step,
    target::{
        Accepted, Answer, Difference, Little, Matches, Parcel, Refusal, Said, Target, Unbuilt,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What the store holds, and how often each record was put.
pub(super) type Shelf = Arc<Mutex<BTreeMap<String, (String, u32)>>>;

/// Starts a store; every seventh request finds it busy, every eleventh loses its answer, and `bad` is refused.
pub(super) async fn serve() -> (SocketAddr, Shelf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shelf, requests) = (Shelf::default(), Arc::new(Mutex::new(0_u32)));
    let kept = Arc::clone(&shelf);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (shelf, requests) = (Arc::clone(&kept), Arc::clone(&requests));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                let number = {
                    let mut requests = requests.lock().unwrap();
                    *requests += 1;
                    *requests
                };
                let answer = answer(line.trim_end(), number, &shelf);
                if !number.is_multiple_of(11) {
                    let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, shelf)
}

fn answer(line: &str, number: u32, shelf: &Shelf) -> String {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut shelf = shelf.lock().unwrap();
    match (verb, rest.split_once(' ')) {
        ("PUT", _) if number.is_multiple_of(7) => "BUSY\n".to_owned(),
        ("PUT", Some(("bad", _))) => "BAD taste\n".to_owned(),
        ("PUT", Some((id, text))) => {
            let (held, times) = shelf.entry(id.to_owned()).or_default();
            text.clone_into(held);
            *times += 1;
            format!("OK {id}\n")
        }
        _ => match shelf.get(rest) {
            Some((text, _)) => format!("HAS {text}\n"),
            None => "NONE\n".to_owned(),
        },
    }
}

/// What the core knows of the store.
#[derive(Debug)]
pub(super) struct Toy;

impl Toy {
    fn request(verb: &str, id: &str, body: Bytes) -> Request<Bytes> {
        let request = Request::builder()
            .method(verb)
            .uri(format!("toy://toy/{id}"));
        request.body(body).unwrap()
    }
}

impl Target for Toy {
    fn base(&self) -> &'static str {
        "toy://toy/"
    }

    fn write(
        &self,
        parcel: &Parcel<'_>,
        bodies: &mut dyn Iterator<Item = Bytes>,
    ) -> Result<Request<Bytes>, Unbuilt> {
        match (parcel.steps.first(), bodies.next()) {
            (Some(step), Some(body)) => Ok(Self::request("PUT", &self.address(step), body)),
            _ => Err(Unbuilt {
                record: None,
                why: "there is nothing to send",
            }),
        }
    }

    fn answers(
        &self,
        _: &Parcel<'_>,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Option<Answer>>, String> {
        let said = match answer.body().strip_prefix(b"OK ") {
            Some(_) => Said::Taken(Accepted::default()),
            None => Said::Little(Little::Text),
        };
        Ok(vec![Some(Answer {
            status: 200,
            said,
            outcome: None,
        })])
    }

    fn refusal(&self, _: Option<&str>, answer: &[u8]) -> Refusal {
        Refusal {
            code: answer.starts_with(b"BAD").then(|| "bad".to_owned()),
            text: String::from_utf8_lossy(answer).into_owned(),
            ..Refusal::default()
        }
    }

    fn read(&self, _: &str, id: &str) -> Request<Bytes> {
        Self::request("GET", id, Bytes::new())
    }

    fn search(&self, _: &str, _: &str) -> Request<Bytes> {
        Self::request("GET", "nothing", Bytes::new())
    }

    fn matches(&self, _: &str, _: &[u8]) -> Matches {
        Matches::None
    }

    fn held(&self, _: &str, _: &HeaderMap, _: &[u8]) -> Accepted {
        Accepted::default()
    }

    fn is_ours(&self, _: &Step, ours: &Bytes, answer: &Response<Bytes>) -> Option<bool> {
        Some(answer.body().strip_prefix(b"HAS ") == Some(ours))
    }

    fn differences(
        &self,
        _: &Step,
        _: &LoadSettings,
        ours: &Bytes,
        answer: &Response<Bytes>,
    ) -> Result<Vec<Difference>, &'static str> {
        let is_same = ours == answer.body();
        Ok((!is_same).then(Difference::of_bytes).into_iter().collect())
    }

    fn alive(&self) -> Result<Request<Bytes>, url::ParseError> {
        Ok(Self::request("GET", "nothing", Bytes::new()))
    }

    fn dry_run(&self, _: &Request<Bytes>) -> Response<Bytes> {
        Response::new(Bytes::from_static(b"OK x"))
    }

    fn empty(&self, _: &Request<Bytes>) -> Response<Bytes> {
        Response::new(Bytes::from_static(b"NONE"))
    }
}

/// The way to the store: a connection and a line each way.
#[derive(Debug)]
pub(super) struct Line(pub(super) SocketAddr);

impl Transport for Line {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(async move {
            let fault = |kind, what: &str| Fault::new(kind, what.to_owned());
            let stream = TcpStream::connect(self.0).await;
            let mut stream =
                BufReader::new(stream.map_err(|_| fault(FaultKind::Connect, "no connection"))?);
            let id = request.uri().path().trim_start_matches('/');
            let body = String::from_utf8_lossy(request.body());
            let line = format!("{} {id} {body}", request.method());
            let line = format!("{}\n", line.trim_end());
            let sent = stream.get_mut().write_all(line.as_bytes());
            sent.await
                .map_err(|_| fault(FaultKind::Interrupted, "the connection broke"))?;
            let mut answer = String::new();
            let read = stream.read_line(&mut answer).await;
            if read.unwrap_or(0) == 0 {
                return Err(fault(FaultKind::Interrupted, "the connection was closed"));
            }
            let status = match answer.trim_end() {
                "BUSY" => 429,
                "NONE" => 404,
                answer if answer.starts_with("BAD") => 400,
                _ => 200,
            };
            let body = Bytes::from(answer.trim_end().to_owned());
            Ok(Response::builder().status(status).body(body).unwrap())
        })
    }
}
