//! The way to an embedded local store, whoever serves it.
//!
//! Several processes may load into one directory at once; one of them serves it. When that one ends or is killed, whoever is
//! left opens the directory itself, and goes on: a request that surely was not looked at is sent again at once, one whose
//! fate is unknown fails like on any other server, and is settled like there.
//!
//! Requests are built for the address that was found first. The server that they go to, and their token, are decided
//! here.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{HeaderName, HeaderValue, Request, Response, header, uri};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use url::Url;

use super::{Error, Exit};
use crate::{
    emulator::{self, CLIENT, EXPECTED, INSTANCE, LEAVING, Opened, Server},
    gate::{Fault, FaultKind, Transport},
};

/// The greatest number of moves of a request that was not looked at to yet another server of the store: one each time a
/// server has ended.
const MOVES: usize = 20;

/// A local store, and the place at which it is served at the moment.
#[derive(Debug)]
pub(super) struct LocalStore {
    dir: PathBuf,
    transport: Arc<dyn Transport>,
    place: Mutex<Arc<Place>>,
    /// `None` once the store is closed.
    own: tokio::sync::Mutex<Option<Own>>,
}

/// The share of this process in the store.
#[derive(Debug, Default)]
struct Own {
    /// The server, where this process is the one that serves.
    server: Option<Server>,
    /// When the store was last looked for in vain, and why.
    lost: Option<(Instant, String)>,
}

/// The place at which the store is served.
#[derive(Debug)]
struct Place {
    url: Url,
    authority: uri::Authority,
    authorization: Option<HeaderValue>,
    instance: HeaderValue,
}

impl LocalStore {
    /// Opens the store in a directory, and serves it if nobody does. Requests are put on the wire by `transport`.
    pub(super) async fn open(dir: &Path, transport: Arc<dyn Transport>) -> Result<Self, Error> {
        let (place, server) = open(dir).await.map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            transport,
            place: Mutex::new(Arc::new(place)),
            own: tokio::sync::Mutex::new(Some(Own { server, lost: None })),
        })
    }

    /// Returns the address of the server that was found.
    pub(super) fn url(&self) -> Url {
        self.place().url.clone()
    }

    /// Ends the server, if this process is the one that serves. The store is not opened again.
    pub(super) async fn close(&self) {
        let own = self.own.lock().await.take();
        if let Some(server) = own.and_then(|own| own.server) {
            server.stop().await;
        }
    }

    fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds the store's server again, or becomes it; tells whether that is another than the one given.
    async fn find(&self, last: &Place) -> Result<bool, String> {
        let began = Instant::now();
        let mut own = self.own.lock().await;
        let Some(own) = &mut *own else {
            return Ok(false);
        };
        if self.place().instance != last.instance {
            // Another request has met the same.
            return Ok(true);
        }
        if let Some((at, why)) = &own.lost
            && *at >= began
        {
            return Err(why.clone());
        }
        let (place, opened) = match open(&self.dir).await {
            Ok(found) => found,
            Err(error) => {
                let why = error.to_string();
                own.lost = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        };
        if place.instance == last.instance {
            return Ok(false);
        }
        let by = if opened.is_some() { "this" } else { "another" };
        tracing::info!(url = %place.url, "the local store is served by {by} process now");
        // One that was served here before has stopped listening, or it would have been found.
        own.server = opened;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(place);
        Ok(true)
    }

    /// Turns the answer that the store has no room into what it is here: a full disk of this machine, where no waiting helps.
    fn unless_full(&self, response: Response<Bytes>) -> Result<Response<Bytes>, Fault> {
        if response.status() != ::http::StatusCode::INSUFFICIENT_STORAGE {
            return Ok(response);
        }
        let dir = self.dir.display();
        Err(Fault::new(
            FaultKind::NoRoom,
            format!("no space is left on the disk of the local store in `{dir}`"),
        ))
    }

    async fn attempt(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let (parts, body) = request.into_parts();
        let mut moves = 0;
        loop {
            let place = self.place();
            let mut parts = parts.clone();
            place.address(&mut parts);
            let answer = self
                .transport
                .call(Request::from_parts(parts, body.clone()))
                .await;
            let fault = match answer {
                Ok(response) if place.gave(&response) => return self.unless_full(response),
                // Another process has the address now, and a store's server would not have looked at what is meant for
                // another; or the server is about to end: nothing has happened.
                Ok(_) => Fault::new(
                    FaultKind::Connect,
                    format!("the local store in `{}` has moved", self.dir.display()),
                ),
                Err(fault) => fault,
            };
            let found = self.find(&place).await;
            moves += 1;
            match found {
                // Looked for all the same: the next request shall not meet this, too.
                _ if fault.kind.may_have_been_sent() => return Err(fault),
                Ok(true) if moves < MOVES => {}
                Ok(_) => return Err(fault),
                Err(what) => {
                    let kind = FaultKind::Connect;
                    return Err(Fault::new(kind, what));
                }
            }
        }
    }
}

impl Transport for LocalStore {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        Box::pin(self.attempt(request))
    }
}

impl Place {
    /// Sends a request here, wherever it was built for.
    fn address(&self, parts: &mut ::http::request::Parts) {
        let mut uri = parts.uri.clone().into_parts();
        uri.authority = Some(self.authority.clone());
        if let Ok(uri) = uri::Uri::from_parts(uri) {
            parts.uri = uri;
        }
        let headers = &mut parts.headers;
        let process = HeaderValue::from(std::process::id());
        headers.insert(HeaderName::from_static(CLIENT), process);
        headers.insert(HeaderName::from_static(EXPECTED), self.instance.clone());
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
    }

    /// Tells whether an answer is that of the store's server, and one that it stands to.
    fn gave(&self, response: &Response<Bytes>) -> bool {
        let headers = response.headers();
        headers.get(INSTANCE) == Some(&self.instance) && !headers.contains_key(LEAVING)
    }
}

async fn open(dir: &Path) -> Result<(Place, Option<Server>), emulator::Error> {
    let options = emulator::Options {
        // Other users of this machine can reach loopback, but not read the store's directory.
        token: Some(uuid::Uuid::new_v4().simple().to_string()),
        ..emulator::Options::new(dir.to_owned())
    };
    let (url, token, instance, server) = match emulator::open(options).await? {
        Opened::Started(server) => (
            server.url().clone(),
            server.token().map(str::to_owned),
            server.instance().to_owned(),
            Some(server),
        ),
        Opened::Running {
            url,
            token,
            instance,
            ..
        } => {
            let token = token.map(|token| token.expose().to_owned());
            (url, token, instance, None)
        }
    };
    let unfit = |what: &str| emulator::Error::Io {
        dir: dir.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, what),
    };
    let authority = url.authority().parse();
    let authority = authority.map_err(|_| unfit("its note names no address"))?;
    let instance = HeaderValue::from_str(&instance);
    let instance = instance.map_err(|_| unfit("its note does not name its server"))?;
    let authorization = token.map(|token| {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok::<_, header::InvalidHeaderValue>(value)
    });
    let authorization = authorization.transpose();
    let place = Place {
        authority,
        authorization: authorization.map_err(|_| unfit("its note holds no token"))?,
        url,
        instance,
    };
    Ok((place, server))
}

/// Says why a local store could not be opened.
pub(super) fn failed(error: emulator::Error) -> Error {
    let hint = error.hint();
    let failed = Error::new(Exit::Target, error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers like what has got the address of a server that is gone.
    #[derive(Debug)]
    struct Foreign(Mutex<Vec<String>>);

    impl Transport for Foreign {
        fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
            let mut seen = self.0.lock().unwrap();
            seen.push(request.uri().to_string());
            let mut response = Response::new(Bytes::from_static(b"{}"));
            if seen.len() > 2 {
                let place = HeaderValue::from_static("somebody");
                response.headers_mut().insert(INSTANCE, place);
            }
            Box::pin(std::future::ready(Ok(response)))
        }
    }

    #[tokio::test]
    async fn what_another_process_answers_at_the_same_address_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = Arc::new(Foreign(Mutex::default()));
        let transport = Arc::clone(&foreign) as Arc<dyn Transport>;
        let store = LocalStore::open(dir.path(), transport).await.unwrap();
        let url = store.url();
        for _ in 0..3 {
            let request = Request::get("http://127.0.0.1:9/v1?x=y").body(Bytes::new());
            let fault = store.call(request.unwrap()).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Connect);
        }
        let seen = foreign.0.lock().unwrap().clone();
        assert!(seen.iter().all(|seen| *seen == format!("{url}v1?x=y")));
        store.close().await;
    }
}
