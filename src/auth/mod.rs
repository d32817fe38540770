//! Proves to a target who we are: one trait, and one implementation per kind of credentials.
//!
//! Secrets live here and nowhere else; they are never printed, not even by `Debug`. The credentials for a host are chosen
//! when a request is built for a target (`gate`), never after a redirect.
//!
//! `google` holds Google's credentials, `static_secret` a token or password that the user keeps in a variable or a
//! file. The environment is passed in by `cli`; what Google's libraries read by themselves is listed there.

mod google;
mod secret;
mod static_secret;

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::HeaderValue;

pub use secret::Secret;

use crate::manifest::Auth;

/// The time within which answers to requests that carried an older token may still come in.
///
/// A token that was renewed so recently is not renewed again: of many requests in flight that are all
/// answered 401, the first gets a new token and the others use it. As long as a usual request timeout.
const RENEWAL_WINDOW: Duration = Duration::from_mins(1);

/// Gives the value of an environment variable, if it is set.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + Send + Sync + 'a;

/// Gives the `Authorization` header for a request. Asked anew for every attempt; tokens are cached inside.
pub trait Credentials: Send + Sync + fmt::Debug {
    /// Returns the header (marked sensitive), or none where nothing is sent.
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>>;

    /// Takes note that the server answered 401 to the last header, so that the next one is a new one.
    ///
    /// Returns whether there is any point in trying again. The caller tries a request once more, not for
    /// ever: a server may refuse every token.
    fn refused(&self) -> bool;

    /// Waits for another secret, where somebody else renews it in its place and may be late. Returns whether there is one.
    fn renewed_elsewhere(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Returns the quota project that the credentials name, for `x-goog-user-project`.
    ///
    /// One that the manifest names goes before it.
    fn quota_project(&self) -> Option<&str> {
        None
    }
}

/// The reason why no header could be given.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// The failure, and the credentials that it is about; no secret, no token.
    pub what: String,
    /// The advice.
    pub hint: Option<String>,
    /// Trying again may help: the token server could not be reached.
    pub transient: bool,
}

impl Error {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: Some(hint.into()),
            transient: false,
        }
    }

    fn transient_if(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }
}

/// Opens the credentials that a target's settings name.
///
/// Files are read and checked here, so that a mistake is found before any work. A token is fetched only where
/// there is no other way to see whether the credentials exist: from the metadata server and from `gcloud`.
/// Must be called within a tokio runtime.
///
/// # Errors
///
/// When there are no such credentials, or they cannot be read; the error names what was tried, and where.
pub async fn open(auth: &Auth, env: &Environment<'_>) -> Result<Arc<dyn Credentials>, Error> {
    Ok(match auth {
        Auth::None => Arc::new(Nobody),
        Auth::Bearer(place) => Arc::new(static_secret::SecretCredentials::bearer(place, env)?),
        Auth::Basic { user, password } => Arc::new(static_secret::SecretCredentials::basic(
            user, password, env,
        )?),
        Auth::Google { credentials } => {
            Arc::new(google::Google::open(credentials.as_deref(), env).await?)
        }
    })
}

/// Makes credentials of a bearer token that is at hand: the one with which a local store's server was started.
pub fn bearer(token: &Secret) -> Arc<dyn Credentials> {
    Arc::new(Given(token.header("Bearer")))
}

/// A header that does not change.
#[derive(Debug)]
struct Given(Option<HeaderValue>);

impl Credentials for Given {
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn refused(&self) -> bool {
        false
    }
}

/// The advice when a server asks for credentials, and the manifest names none.
pub const MISSING: &str =
    "the target names no credentials; give it some, as with `auth: { bearer: { env: TOKEN } }`";

/// No credentials: nothing is sent.
#[derive(Debug)]
struct Nobody;

impl Credentials for Nobody {
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn refused(&self) -> bool {
        false
    }
}
