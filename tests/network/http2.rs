//! HTTP/2: what a reset means, and as many connections as the requests under way need.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::extract::{ConnectInfo, State};
use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use stoker::gate::{
    Transport,
    http::{HttpTransport, TransportOptions},
    transport::FaultKind,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    server::{attempt, each},
    tls::{Authority, trusting},
};

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
}

/// Starts an HTTP/2 server that answers the first request of every connection with these bytes, and counts.
async fn serve_http2(authority: &Authority, answer: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let acceptor = authority.acceptor("localhost", &[b"h2"]);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let address = each(move |stream| {
        let (acceptor, answer, counted) = (acceptor.clone(), answer.clone(), Arc::clone(&counted));
        async move {
            const SETTINGS: u8 = 4;
            const HEADERS: u8 = 1;
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                if stream.read_exact(&mut payload).await.is_err() {
                    return;
                }
                if head[3] == HEADERS {
                    counted.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    })
    .await;
    (address, requests)
}

#[tokio::test]
async fn http2_tells_requests_that_were_never_looked_at_from_those_that_were() {
    const RST_STREAM: u8 = 3;
    const GOAWAY: u8 = 7;
    const NO_ERROR: [u8; 4] = [0; 4];
    const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let last_stream = |last: u8, code: [u8; 4]| [[0, 0, 0, last], code].concat();
    for (answer, kind) in [
        (frame(RST_STREAM, 1, &REFUSED_STREAM), FaultKind::TurnedAway),
        (
            frame(GOAWAY, 0, &last_stream(0, NO_ERROR)),
            FaultKind::TurnedAway,
        ),
        (
            frame(RST_STREAM, 1, &INTERNAL_ERROR),
            FaultKind::Interrupted,
        ),
        (
            frame(GOAWAY, 0, &last_stream(0, INTERNAL_ERROR)),
            FaultKind::Interrupted,
        ),
    ] {
        let authority = Authority::new();
        let (address, requests) = serve_http2(&authority, answer).await;
        let url = format!("https://localhost:{}", address.port());
        let fault = attempt(&trusting(&authority), &url).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{}", fault.what);
        assert_eq!(requests.load(Ordering::SeqCst), 1, "tried once");
    }
}

/// Connections over TLS.
struct Listener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // Who gives up a connection that is not needed after all does so here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// The one who asks.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Listener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Of each connection: requests under way, and the most at a time.
type Seen = Arc<Mutex<HashMap<SocketAddr, (u32, u32)>>>;

async fn answer(State(seen): State<Seen>, ConnectInfo(peer): ConnectInfo<Peer>) -> &'static str {
    let count = |change: i32| {
        let mut seen = seen.lock().unwrap();
        let (now, most) = seen.entry(peer.0).or_default();
        *now = now.checked_add_signed(change).unwrap();
        *most = (*most).max(*now);
    };
    count(1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    count(-1);
    "{}"
}

#[tokio::test]
async fn no_http2_connection_gets_more_requests_than_a_server_takes() {
    let authority = Authority::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", tcp.local_addr().unwrap().port());
    let acceptor = authority.acceptor("localhost", &[b"h2"]);
    let seen = Seen::default();
    let app = axum::Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&seen))
        .into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(Listener { tcp, acceptor }, app).await });
    let transport = HttpTransport::new(&TransportOptions {
        concurrency: 200,
        ..trusting(&authority)
    });
    let transport = transport.unwrap();
    let call = || async {
        let request = Request::post(&url).body(Bytes::from("{}")).unwrap();
        transport.call(request).await.unwrap().version()
    };
    // The first answer tells how the server speaks.
    assert_eq!(call().await, http::Version::HTTP_2);
    for version in join_all((0..200).map(|_| call())).await {
        assert_eq!(version, http::Version::HTTP_2);
    }
    let connections = std::mem::take(&mut *seen.lock().unwrap());
    let most: Vec<u32> = connections.values().map(|(_, most)| *most).collect();
    assert!(most.iter().all(|most| *most < 100), "{most:?}");
    assert_eq!(most.iter().sum::<u32>(), 200, "all at once: {most:?}");
    // Few at a time stay together.
    join_all((0..20).map(|_| call())).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
}
