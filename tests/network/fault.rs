//! What each way to fail is called, and that nothing is tried twice or followed.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stoker::gate::{
    http::{HttpTransport, TransportOptions},
    transport::{FaultKind, Transport as _},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::server::{Mock, answering, attempt, each, options, post, read_request};

async fn fault(address: SocketAddr, options: &TransportOptions) -> (FaultKind, String) {
    let fault = attempt(options, &format!("http://{address}"))
        .await
        .unwrap_err();
    (fault.kind, fault.what.replace(&address.to_string(), "HOST"))
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(
        fault(address, &options()).await,
        (FaultKind::Connect, "HOST: connection refused".into())
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_sent_nothing() {
    let fault = attempt(&options(), "http://no-such-host.invalid")
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect, "{}", fault.what);
    assert!(
        fault.what.contains("no-such-host.invalid:80"),
        "{}",
        fault.what
    );
}

#[tokio::test]
async fn a_connection_closed_after_the_request_is_interrupted_and_not_tried_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let address = each(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            read_request(&mut stream).await;
            // Who only asks whether TLS is spoken sends no request.
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    assert_eq!(
        fault(address, &options()).await,
        (
            FaultKind::Interrupted,
            "HOST: connection closed before a response came".into()
        )
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_reset_is_interrupted() {
    // Closing with unread bytes makes the kernel send a reset.
    let address = each(|mut stream| async move {
        let mut one = [0; 1];
        stream.read_exact(&mut one).await.ok();
    })
    .await;
    let (kind, what) = fault(address, &options()).await;
    assert_eq!(kind, FaultKind::Interrupted, "{what}");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closes_is_interrupted_or_replaced() {
    // The first request is answered with keep-alive; the second is read on the same connection and dropped.
    let address = each(|mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .await
            .ok();
        read_request(&mut stream).await;
    })
    .await;
    let transport = HttpTransport::new(&options()).unwrap();
    let url = format!("http://{address}");
    assert_eq!(transport.call(post(&url)).await.unwrap().body(), "{}");
    let fault = transport.call(post(&url)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Interrupted, "{}", fault.what);
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let options = TransportOptions {
        timeout: Duration::from_millis(200),
        ..options()
    };
    let silent = each(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(
        fault(silent, &options).await,
        (FaultKind::Timeout, "HOST: no whole response in time".into())
    );

    let slow = each(|mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            .await
            .ok();
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(
        fault(slow, &options).await,
        (FaultKind::Timeout, "HOST: no whole response in time".into())
    );
}

#[tokio::test]
async fn a_response_cut_short_came_but_not_whole() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"half\":").await;
    assert_eq!(
        fault(address, &options()).await,
        (
            FaultKind::Response,
            "HOST: connection lost within the response".into()
        )
    );
}

#[tokio::test]
async fn garbage_is_no_response() {
    let address = answering("220 smtp.example ESMTP\r\n").await;
    assert_eq!(
        fault(address, &options()).await,
        (
            FaultKind::Response,
            "HOST answered with something that is not HTTP".into()
        )
    );
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test]
async fn compressed_responses_are_decoded() {
    let text = "{\"resourceType\":\"Bundle\"}".repeat(10_000);
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (encoding, body) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd)] {
        let address = answering(compressed(encoding, &body)).await;
        let response = attempt(&options(), &format!("http://{address}"))
            .await
            .unwrap();
        assert!(response.body() == text.as_str(), "{encoding}");
    }
}

#[tokio::test]
async fn a_damaged_compressed_response_is_a_fault_of_the_response() {
    let whole = gzip("{\"resourceType\":\"Bundle\"}".repeat(1000).as_bytes());
    let cut = &whole[..whole.len() / 2];
    for body in [cut, b"not gzip at all"] {
        let address = answering(compressed("gzip", body)).await;
        assert_eq!(
            fault(address, &options()).await,
            (
                FaultKind::Response,
                "HOST: the response cannot be decoded".into()
            )
        );
    }
}

#[tokio::test]
async fn a_response_may_not_be_larger_than_the_limit_also_when_it_grows_in_decoding() {
    let options = TransportOptions {
        max_response: 10_000,
        ..options()
    };
    let expected = (
        FaultKind::Response,
        "the response of HOST is larger than 10000 bytes".to_owned(),
    );
    let bomb = compressed("gzip", &gzip(&vec![b' '; 50_000_000]));
    let claimed = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
        .as_bytes()
        .to_vec();
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(20_000, b' ');
    for answer in [bomb, claimed, endless] {
        let address = answering(answer).await;
        assert_eq!(fault(address, &options).await, expected);
    }
    let mut exact = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    exact.resize(exact.len() + 10_000, b' ');
    let address = answering(exact).await;
    let response = attempt(&options, &format!("http://{address}"))
        .await
        .unwrap();
    assert_eq!(response.body().len(), 10_000);
}

/// What may come back is measured by what was sent, whatever the setting allows.
#[tokio::test]
async fn an_answer_is_bounded_by_what_was_sent() {
    let bomb = compressed("gzip", &gzip(&vec![b' '; 50_000_000]));
    let address = answering(bomb).await;
    let (kind, what) = fault(address, &options()).await;
    assert_eq!(kind, FaultKind::Response);
    let bytes: u64 = what.split(' ').rev().nth(1).unwrap().parse().unwrap();
    assert!((16 << 20..17 << 20).contains(&bytes), "{what}");
}

#[tokio::test]
async fn a_redirect_is_a_response_and_reaches_nobody_else() {
    let elsewhere = Mock::start(|_, _| (200, "{}".into())).await;
    for status in [301, 302, 307, 308] {
        let address = answering(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
            elsewhere.url("/stolen")
        ))
        .await;
        let response = attempt(&options(), &format!("http://{address}"))
            .await
            .unwrap();
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("location"));
    }
    assert_eq!(elsewhere.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_url_without_a_host_is_a_fault_of_the_request() {
    let transport = HttpTransport::new(&options()).unwrap();
    let request = http::Request::get("/only/a/path")
        .body(bytes::Bytes::new())
        .unwrap();
    let fault = transport.call(request).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Request);
    assert!(!fault.what.contains("only"), "{}", fault.what);
}

#[tokio::test]
async fn the_request_goes_out_as_it_was_built() {
    let mock = Mock::start(|_, _| (422, "{\"resourceType\":\"OperationOutcome\"}".into())).await;
    let response = attempt(&options(), &mock.url("")).await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.body(), "{\"resourceType\":\"OperationOutcome\"}");
    let seen = mock.seen();
    let request = seen[0].to_ascii_lowercase();
    assert!(request.starts_with("post /fhir/patient/mustermann?name=mustermann http/1.1\r\n"));
    assert!(request.contains("\r\nuser-agent: stoker/"), "{request}");
    assert!(request.contains("\r\nauthorization: bearer mustermann\r\n"));
    assert!(request.ends_with("{\"family\":\"mustermann\"}"));
}
