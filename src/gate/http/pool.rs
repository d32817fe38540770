//! Several connections to a server that speaks HTTP/2.
//!
//! A client keeps one HTTP/2 connection to a host, and a server limits the requests that are under way on a connection
//! (nginx 128, Google's front ends 100, and no server ought to take fewer: RFC 9113, section 6.5.2). A request beyond that
//! waits within the client, unseen: it has left the gate, and is not on the wire. So each lane is a client of its own, and
//! gets fewer than any server refuses. With HTTP/1.1 there is a connection for each request anyway, and one lane.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ::http::Version;
use reqwest::Client;

use super::options::HttpSetupError;

/// Requests at a time in a lane: fewer than the hundred that every server ought to take, and few enough that encryption, which
/// is one task's work for each connection, is shared among the cores.
const STREAMS: usize = 64;

/// Makes a client.
type Make = Box<dyn Fn() -> Result<Client, HttpSetupError> + Send + Sync>;

/// Clients, each with a connection of its own.
pub(super) struct ConnectionPool {
    make: Make,
    client: Client,
    /// The first is that of `client`.
    all: Box<[PooledConnection]>,
    /// The server answers over HTTP/2.
    speaks_http2: AtomicBool,
}

#[derive(Default)]
struct PooledConnection {
    /// None yet, or that of the first lane.
    client: OnceLock<Client>,
    in_flight: AtomicUsize,
}

/// A place in a lane, given back when it is dropped.
pub(super) struct Lease<'a> {
    pub(super) client: &'a Client,
    in_flight: Option<&'a AtomicUsize>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(in_flight) = self.in_flight {
            in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl ConnectionPool {
    /// Makes as many connections as `concurrency` under way may need, and opens the first.
    pub(super) fn new(make: Make, concurrency: usize) -> Result<Self, HttpSetupError> {
        let client = make()?;
        let all: Box<[PooledConnection]> = (0..concurrency.div_ceil(STREAMS))
            .map(|_| PooledConnection::default())
            .collect();
        if let Some(first) = all.first() {
            let _ = first.client.set(client.clone());
        }
        Ok(Self {
            make,
            client,
            all,
            speaks_http2: AtomicBool::new(false),
        })
    }

    /// Takes note of how the server speaks.
    pub(super) fn heard(&self, version: Version) {
        let is_http2 = version == Version::HTTP_2;
        if is_http2 != self.speaks_http2.load(Ordering::Relaxed) {
            self.speaks_http2.store(is_http2, Ordering::Relaxed);
        }
    }

    /// Takes a place: in the first lane that has room, or else in the one with the fewest.
    pub(super) fn take(&self) -> Lease<'_> {
        if !self.speaks_http2.load(Ordering::Relaxed) {
            return Lease {
                client: &self.client,
                in_flight: None,
            };
        }
        let enter = |lane: &&PooledConnection| {
            let add = |count| (count < STREAMS).then_some(count + 1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            lane.in_flight.fetch_update(set, get, add).is_ok()
        };
        let roomy = self.all.iter().find(enter);
        let lane = roomy.or_else(|| {
            let count = |lane: &&PooledConnection| lane.in_flight.load(Ordering::Relaxed);
            let lane = self.all.iter().min_by_key(count)?;
            lane.in_flight.fetch_add(1, Ordering::Relaxed);
            Some(lane)
        });
        // The function that made the first client makes the others; should a file have gone meanwhile, the first
        // serves.
        let open = || (self.make)().unwrap_or_else(|_| self.client.clone());
        Lease {
            client: lane.map_or(&self.client, |lane| lane.client.get_or_init(open)),
            in_flight: lane.map(|lane| &lane.in_flight),
        }
    }
}

// Clients would show more than they should.
impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool")
            .field("lanes", &self.all.len())
            .finish_non_exhaustive()
    }
}
