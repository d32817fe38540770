//! Connections: how many there are at a time, how long a request may take to come, and how all of it ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::serve::Listener;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at a time; others wait for one to end. Loads keep up to 256 each, and half of the files that a process may
/// open by default are left for other things.
const CONNECTIONS: usize = 512;
/// The longest that the head of a request may take, and that a connection may be idle. Stoker lets idle ones go after
/// four seconds.
const HEAD: Duration = Duration::from_secs(10);

/// Serves until told to quit, or until the one who could tell is gone; then requests in flight are answered.
pub(super) async fn serve<L, A, F>(mut listener: L, mut quit: watch::Receiver<bool>, answer: A)
where
    L: Listener,
    A: Fn(L::Addr, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
    L::Addr: Clone + Sync,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let ((io, from), place) = tokio::select! {
            biased;
            // An error means that the sender is gone.
            _ = quit.wait_for(|quit| *quit) => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (quit, answer) = (quit.clone(), answer.clone());
        connections.spawn(async move {
            carry(io, quit, move |request| answer(from.clone(), request)).await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn carry<I, A, F>(io: I, mut quit: watch::Receiver<bool>, answer: A)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Body>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    let begun = Arc::new(AtomicBool::new(false));
    let has_begun = Arc::clone(&begun);
    let service = service_fn(move |request: Request<Incoming>| {
        has_begun.store(true, Ordering::Relaxed);
        let answered = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    // A client's version of HTTP is found out without a limit of time.
    let mut first = std::pin::pin!(tokio::time::sleep(HEAD));
    let (mut is_first, mut goes_on) = (true, true);
    loop {
        tokio::select! {
            // A client that goes away, or is too slow, is no event.
            _ = connection.as_mut() => return,
            () = first.as_mut(), if is_first => {
                if !begun.load(Ordering::Relaxed) {
                    return;
                }
                is_first = false;
            }
            _ = quit.wait_for(|quit| *quit), if goes_on => {
                goes_on = false;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
