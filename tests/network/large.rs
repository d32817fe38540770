//! Large bodies: the time of a request is counted from the last piece that moved.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use stoker::{
    gate::{
        http::{HttpTransport, TransportOptions},
        transport::{FaultKind, Transport as _},
    },
    record::{self, BodyPiece, Span, StreamedBody, Stretch},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const TIMEOUT: Duration = Duration::from_secs(1);

/// The size of the body: more than the buffers of two sockets hold.
const SIZE: usize = 48 << 20;

/// Sends a body to a server that reads 4 MB of it every 300 ms, up to `wanted` bytes, and answers where that is all.
async fn send(wanted: usize) -> Result<u16, FaultKind> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = vec![0; 1 << 20];
        let (mut read, mut portions) = (0, 0);
        while read < wanted {
            if read >= portions {
                tokio::time::sleep(Duration::from_millis(300)).await;
                portions += 4 << 20;
            }
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read += length,
            }
        }
        if wanted >= SIZE {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let options = TransportOptions {
        timeout: TIMEOUT,
        ..TransportOptions::default()
    };
    let transport = HttpTransport::new(&options).unwrap();
    let mut request = Request::post(format!("http://{address}/studies"))
        .body(Bytes::new())
        .unwrap();
    let piece = Bytes::from(vec![b'x'; SIZE / 64]);
    request.extensions_mut().insert(StreamedBody {
        pieces: vec![BodyPiece::Bytes(piece); 64],
    });
    let answered = transport.call(request).await;
    server.abort();
    answered
        .map(|response| response.status().as_u16())
        .map_err(|fault| fault.kind)
}

#[tokio::test]
async fn a_body_that_moves_may_take_longer_than_the_timeout() {
    // Some 3.6 s in all.
    assert_eq!(send(SIZE).await, Ok(200));
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    for wanted in [0, 8 << 20] {
        let ended = tokio::time::timeout(Duration::from_secs(30), send(wanted)).await;
        assert_eq!(
            ended.unwrap(),
            Err(FaultKind::Timeout),
            "after {wanted} bytes"
        );
    }
}

/// Sends a file that another hand may write to meanwhile. Returns the status or fault, and how many bytes of the body came.
async fn send_file(change: impl FnOnce(&std::path::Path)) -> (Result<u16, FaultKind>, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut came, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let head = came.windows(4).position(|four| four == b"\r\n\r\n");
            let body = head.map_or(0, |head| came.len() - head - 4);
            if body == FILE {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                return body;
            }
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return body,
                Ok(length) => came.extend_from_slice(&piece[..length]),
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.dcm");
    let bytes = vec![b'a'; FILE];
    fs_err::write(&path, &bytes).unwrap();
    let span = Span {
        start: 0,
        length: FILE as u64,
    };
    let hash = record::hash(&bytes);
    change(&path);
    let transport = HttpTransport::new(&TransportOptions::default()).unwrap();
    let mut request = Request::post(format!("http://{address}/studies"))
        .body(Bytes::new())
        .unwrap();
    let stretch = Stretch { path, span, hash };
    request.extensions_mut().insert(StreamedBody {
        pieces: vec![BodyPiece::Stretch(stretch)],
    });
    let answered = transport.call(request).await;
    let answered = answered.map(|response| response.status().as_u16());
    (answered.map_err(|fault| fault.kind), server.await.unwrap())
}

const FILE: usize = 1 << 20;

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_never_arrives_whole() {
    assert_eq!(send_file(|_| {}).await, (Ok(200), FILE));
    let changes: [fn(&std::path::Path); 3] = [
        |path| {
            let mut other = vec![b'a'; FILE];
            other[7] = b'b';
            fs_err::write(path, other).unwrap();
        },
        |path| fs_err::write(path, b"short").unwrap(),
        |path| fs_err::remove_file(path).unwrap(),
    ];
    for change in changes {
        let (answered, came) = send_file(change).await;
        assert_eq!(answered, Err(FaultKind::Request));
        assert!(came < FILE, "{came}");
    }
}
