//! A request on its way in, whose body is read when somebody needs it.

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::emulator::body::{MAX_BUNDLE, discard, read};
use crate::emulator::reply::Refusal;

/// A request whose body is read when somebody needs it.
pub(super) struct Incoming {
    pub(super) parts: Parts,
    pub(super) body: Content,
}

pub(super) enum Content {
    Coming(Body),
    Here(Bytes),
}

impl Incoming {
    pub(super) async fn body(&mut self) -> Result<Bytes, Refusal> {
        let body = match &mut self.body {
            Content::Here(bytes) => return Ok(bytes.clone()),
            Content::Coming(body) => std::mem::take(body),
        };
        let bytes = read(body, MAX_BUNDLE).await?;
        self.body = Content::Here(bytes.clone());
        Ok(bytes)
    }

    /// Reads the body to its end, and keeps nothing of it: an instance may be larger than memory.
    pub(super) async fn discard(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.body, Content::Here(Bytes::new())) {
            Content::Coming(body) => discard(body).await,
            Content::Here(_) => Ok(()),
        }
    }

    /// Reads a part of the body, and no more.
    pub(super) async fn begin_body(self) {
        if let Content::Coming(body) = self.body {
            // The part that came, and whether one did, is lost anyway.
            let _ = body.into_data_stream().next().await;
        }
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.parts.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}
