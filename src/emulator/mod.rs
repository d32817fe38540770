//! The embedded local store: a server on loopback that speaks the Healthcare API's FHIR and HL7v2 paths.
//!
//! It keeps datasets, FHIR stores and resources, HL7v2 stores and messages in SQLite in one directory and survives restarts. `stoker load`
//! starts it in process for `local:` targets, `stoker emulate` as a server; both talk to it over HTTP like to any
//! other store. It knows nothing of plans, gates or targets.
//!
//! Published behaviour of the API is followed to the letter, otherwise the FHIR R4 specification is. With a
//! [`Scenario`] it does wrong on purpose, so that clients can be tried. Left out: profile validation, search beyond the
//! parameters of `parameters`, raw Binary bodies, versions other than R4 (creating such a store is refused).
//!
//! One process serves a directory, and other processes find it there ([`open`]). Its end is theirs to mend: a server
//! that stops answers [`LEAVING`] to whatever still comes, one that was killed does not answer at all, and the next
//! process to ask opens the directory itself.

mod access;
mod admin;
mod app;
mod body;
mod buckets;
mod bundle;
mod call;
mod capability;
mod collection;
mod database;
pub mod dicom;
mod error;
pub mod fault;
mod files;
mod google;
pub mod hl7v2;
mod instant;
mod integrity;
mod interaction;
mod json;
mod kind;
mod layout;
mod leave;
mod listen;
mod lock;
mod matching;
mod methods;
mod operation;
mod options;
mod pages;
mod parameters;
mod patch;
mod period;
mod query;
mod registry;
mod reply;
mod resource;
mod rewrite;
mod route;
mod rows;
mod search;
mod serve;
mod server;
mod settings;
mod single;
mod stores;
mod values;

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

pub use self::error::Error;
pub use self::fault::{Scenario, ScenarioError};
pub use self::leave::{CLIENT, EXPECTED, INSTANCE, LEAVING};
pub use self::options::{Options, Provided};
use self::server::start;
pub use self::server::{Server, Token};

/// The wait for another process that has the lock and does not answer, although it says where it listens.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait for one that says nothing: it is about to begin, or it ends what it has begun.
const CHANGE: Duration = Duration::from_secs(20);

/// Tells whether a directory holds a local store: opening one that does not would make it.
pub fn is_there(dir: &Path) -> bool {
    lock::is_there(dir)
}

/// A local store: started here, or found running.
#[derive(Debug)]
pub enum Opened {
    /// This process serves it.
    Started(Server),
    /// Another server holds the directory, and answers.
    Running {
        /// The address at which the server listens.
        url: Url,
        /// The token that its requests must carry, if they must.
        token: Option<Token>,
        /// The id of its process.
        pid: u32,
        /// Names this start of it, as its answers do in [`INSTANCE`].
        instance: String,
    },
}

/// Opens the store in the directory: starts a server, or finds the one that holds it.
///
/// # Errors
///
/// When the directory, the database or the address cannot be used, or when the lock's holder does not answer
/// within five seconds.
pub async fn open(options: Options) -> Result<Opened, Error> {
    if !options.bind.ip().is_loopback() {
        return Err(Error::NotLoopback(options.bind));
    }
    let dir = options.dir.clone();
    let io = |source| Error::Io {
        dir: dir.clone(),
        source,
    };
    let path = dir.join("store.sqlite");
    lock::prepare(&dir, &path).map_err(io)?;
    let began = Instant::now();
    loop {
        if let Some(lock) = lock::Lock::take(&dir).map_err(io)? {
            return start(options, &path, lock).await.map(Opened::Started);
        }
        let note = lock::note(&dir);
        if let Some(note) = &note
            && lock::answers(note).await
        {
            let token = note.token.clone().map(Token);
            return Ok(Opened::Running {
                url: note.url.clone(),
                token,
                pid: note.pid,
                instance: note.instance.clone(),
            });
        }
        if began.elapsed() >= note.as_ref().map_or(CHANGE, |_| PATIENCE) {
            return Err(Error::Held {
                dir,
                pid: note.map(|note| note.pid),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
