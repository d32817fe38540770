//! Google's credentials: found, turned into tokens, renewed when refused.
//!
//! `find` looks for them in the order of Application Default Credentials, `provider` gets tokens from them by
//! the library that can. Both libraries keep a token until it expires; neither can be told to drop one, so a
//! refused token is answered by building the provider anew from its file.
//!
//! The libraries read these variables by themselves: the proxy variables (google-cloud-auth only),
//! `AWS_*` and `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES` for federated credentials, `PATH` for `gcloud`.

mod find;
mod place;
mod provider;

use std::{
    fmt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use http::HeaderValue;
use tokio::time::{Instant, timeout};

use self::{
    find::Found,
    place::Source,
    provider::{Problem, Provider},
};
use super::{Credentials, Environment, Error, RENEWAL_WINDOW, Secret};

/// The scope that loading needs, and no more (Cloud Healthcare API, "Authorization scopes").
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-healthcare";

/// The longest that a token may take. The libraries set no timeout; Google's token servers answer within a second, and
/// federation asks up to three servers in turn, with retries.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Google credentials of any kind.
pub(super) struct Google {
    source: Source,
    quota_project: Option<String>,
    // Held while a token is fetched: the requests that wait for it find it cached, and do not all ask.
    state: tokio::sync::Mutex<State>,
    refusal: Mutex<Refusal>,
}

#[derive(Default)]
struct State {
    provider: Option<Provider>,
    last: Option<(Secret, HeaderValue)>,
}

#[derive(Default)]
struct Refusal {
    /// The provider is to be built anew before the next token.
    pending: bool,
    /// When that was last asked for.
    at: Option<Instant>,
}

impl Google {
    pub(super) async fn open(
        credentials: Option<&Path>,
        env: &Environment<'_>,
    ) -> Result<Self, Error> {
        let (found, provider) = match find::find(credentials, env)? {
            Found::At(source) => {
                let provider = source.provider()?;
                (source, provider)
            }
            Found::Nowhere(search) => search.ask_machine().await?,
        };
        // AIP-4110: the variable goes before the file.
        let quota_project = env("GOOGLE_CLOUD_QUOTA_PROJECT")
            .filter(|project| !project.is_empty())
            .or_else(|| found.quota_project());
        if let Some(project) = &quota_project
            && HeaderValue::from_str(project).is_err()
        {
            return Err(Error::new(
                "the quota project has characters that no project's id has",
                "look at GOOGLE_CLOUD_QUOTA_PROJECT, or at `quota_project_id` in the credential file: else another project \
                 would pay",
            ));
        }
        Ok(Self {
            source: found,
            quota_project,
            state: tokio::sync::Mutex::new(State {
                provider: Some(provider),
                last: None,
            }),
            refusal: Mutex::default(),
        })
    }

    async fn token_header(&self) -> Result<HeaderValue, Error> {
        let mut state = self.state.lock().await;
        let State { provider, last } = &mut *state;
        let refused = std::mem::take(&mut self.refusal().pending);
        // Taken out, so that a failure (or a caller that gives up) leaves the next one to begin anew:
        // google-cloud-auth would repeat its last error for ten seconds, or for ever.
        let current = match provider.take().filter(|_| !refused) {
            Some(current) => current,
            None => self.source.provider()?,
        };
        let token = timeout(TOKEN_TIMEOUT, current.token())
            .await
            .unwrap_or_else(|_| Err(Problem::timeout()))
            .map_err(|problem| self.source.error(&problem, last.is_some()))?;
        *provider = Some(current);
        if let Some((known, header)) = last
            && *known == token
        {
            return Ok(header.clone());
        }
        let header = token.header("Bearer").ok_or_else(|| {
            self.source
                .error(&Problem::new("the token holds odd characters"), false)
        })?;
        *last = Some((token, header.clone()));
        Ok(header)
    }

    fn refusal(&self) -> std::sync::MutexGuard<'_, Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credentials for Google {
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>> {
        Box::pin(async { self.token_header().await.map(Some) })
    }

    fn refused(&self) -> bool {
        let mut refusal = self.refusal();
        if refusal.at.is_none_or(|at| at.elapsed() >= RENEWAL_WINDOW) {
            *refusal = Refusal {
                pending: true,
                at: Some(Instant::now()),
            };
        }
        true
    }

    fn quota_project(&self) -> Option<&str> {
        self.quota_project.as_deref()
    }
}

impl fmt::Debug for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Google")
            .field("source", &self.source)
            .field("quota_project", &self.quota_project)
            .finish_non_exhaustive()
    }
}
