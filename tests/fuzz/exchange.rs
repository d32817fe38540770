//! A message sent over MLLP to a receiver that answers with any bytes, and closes.

#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "also part of a crate of its own"
)]

use std::time::Duration;

use bytes::Bytes;
use stoker::gate::{
    mllp::{MllpOptions, MllpTransport},
    transport::Transport as _,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Messages that want an answer of the application, of the receiver as well, and none.
const MESSAGES: [&str; 3] = [
    "MSH|^~\\&|A|B|C|D|2025||ADT^A01|77|P|2.5\rPID|1||7\r",
    "MSH|^~\\&|A|B|C|D|2025||ADT^A01|77|P|2.5|||AL|AL\rPID|1||7\r",
    "MSH|^~\\&|A|B|C|D|2025||ADT^A01|77|P|2.5|||NE|NE\rPID|1||7\r",
];

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    static LISTENER: TcpListener =
        RUNTIME.with(|runtime| runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap());
}

pub(super) fn check(input: &[u8]) {
    let message = MESSAGES[input.len() % MESSAGES.len()];
    RUNTIME.with(|runtime| {
        LISTENER.with(|listener| runtime.block_on(exchange(listener, message, input)));
    });
}

async fn exchange(listener: &TcpListener, message: &'static str, input: &[u8]) {
    let transport = MllpTransport::new(&MllpOptions {
        address: listener.local_addr().unwrap().to_string(),
        tls: None,
        timeout: Duration::from_secs(20),
    })
    .unwrap();
    let request =
        http::Request::post("mllp://receiver/").body(Bytes::from_static(message.as_bytes()));
    let receiver = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut frame = vec![0; message.len() + 3];
        stream.read_exact(&mut frame).await.unwrap();
        // The sender may have closed before all of it has come.
        let _ = stream.write_all(input).await;
        let _ = stream.shutdown().await;
        // What commits a block comes before the end; without it the kernel would take back what was sent.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let sender = async {
        let answered = transport.call(request.unwrap()).await;
        // Connections that are kept are closed with it.
        drop(transport);
        answered
    };
    let (answered, ()) = tokio::join!(sender, receiver);
    match answered {
        Ok(answer) => {
            // What is no acknowledgement is taken for none of it.
            assert!(
                matches!(answer.status().as_u16(), 200 | 204 | 422 | 425),
                "{answer:?}"
            );
            assert!(answer.body().len() <= input.len());
        }
        Err(fault) => assert!(fault.what.is_ascii(), "words of ours alone"),
    }
}
