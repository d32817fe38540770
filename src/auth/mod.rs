//! Proves to a target who we are: one trait, and one implementation per kind of credentials.
//!
//! Secrets live here and nowhere else; they are never printed, not even by `Debug`. Which credentials go to
//! which host is decided where a request is built for a target (`gate`), never after a redirect.

use std::fmt;

use futures::future::BoxFuture;
use http::HeaderValue;

/// Gives the `Authorization` header for a request. Asked anew for every attempt; tokens are cached inside.
pub trait Credentials: Send + Sync + fmt::Debug {
    /// Returns the header (marked sensitive), or none where nothing is sent.
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>>;

    /// Takes note that the server answered 401 to the last header, so that the next one is a new one.
    ///
    /// Returns whether there is any point in trying again.
    fn refused(&self) -> bool;

    /// Returns the quota project that the credentials name, for `x-goog-user-project`.
    fn quota_project(&self) -> Option<&str> {
        None
    }
}

/// Why no header could be given.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What went wrong, and for which credentials; no secret, no token.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
    /// Trying again may help: the token server could not be reached.
    pub transient: bool,
}
