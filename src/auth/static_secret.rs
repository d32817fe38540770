//! A bearer token or a password that the user keeps in a variable or a file.
//!
//! A variable is read once. A file is read again when it has changed, and when its content is refused: tools
//! that renew tokens (Kubernetes, Vault agents, SMART helpers) write them over, and some do so a moment too late.

use std::{
    fmt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use http::HeaderValue;
use tokio::time::Instant;

use super::{Credentials, Environment, Error, RENEWAL_WINDOW, Secret};
use crate::{manifest::SecretPlace, small_file};

/// Credentials whose secret stands in a variable or a file.
pub(super) struct SecretCredentials {
    place: SecretPlace,
    form: Form,
    current: Mutex<Current>,
}

/// The form of the header that is made of the secret.
enum Form {
    Bearer,
    Basic { user: String },
}

struct Current {
    header: HeaderValue,
    /// When the file was written, as far as its file system tells.
    written: Option<SystemTime>,
    /// When another secret than the one before was read.
    renewed: Option<Instant>,
    /// When this secret was read first.
    since: Instant,
}

/// The time for which a file is watched whose secret has expired: what renews it does so by its own clock, seconds before or
/// after.
const LATE: Duration = Duration::from_secs(30);

/// A secret that is refused within this time was never good: tokens live for minutes at the least.
const LIFE: Duration = Duration::from_mins(1);

/// The pause between looks at such a file.
const LOOK: Duration = Duration::from_millis(500);

impl SecretCredentials {
    pub(super) fn bearer(place: &SecretPlace, env: &Environment<'_>) -> Result<Self, Error> {
        Self::read(place, Form::Bearer, env)
    }

    pub(super) fn basic(
        user: &str,
        password: &SecretPlace,
        env: &Environment<'_>,
    ) -> Result<Self, Error> {
        // RFC 7617, section 2: the first colon ends the user name.
        if user.contains(':') || user.chars().any(char::is_control) {
            return Err(Error::new(
                "the user name for basic authentication contains a colon or a control character",
                "write the user name alone; the password goes into a variable or a file",
            ));
        }
        let user = user.to_owned();
        Self::read(password, Form::Basic { user }, env)
    }

    fn read(place: &SecretPlace, form: Form, env: &Environment<'_>) -> Result<Self, Error> {
        let (header, written) = match place {
            SecretPlace::Env(name) => {
                let text = env(name).ok_or_else(|| {
                    Error::new(
                        format!("variable {name} is not set; it should hold {}", form.noun()),
                        format!("export {name}, or name another variable or a file under `auth`"),
                    )
                })?;
                (form.header(&text, &format!("variable {name}"))?, None)
            }
            SecretPlace::File(path) => {
                let written = written(path);
                (form.header_of_file(path)?, written)
            }
        };
        Ok(Self {
            place: place.clone(),
            form,
            current: Mutex::new(Current {
                header,
                written,
                renewed: None,
                since: Instant::now(),
            }),
        })
    }

    /// Reads the file when it was written since it was last read.
    fn fresh(&self) -> Result<HeaderValue, Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let SecretPlace::File(path) = &self.place {
            let written = written(path);
            if written != current.written || written.is_none() {
                // The writer of the file may be in the middle of it: trying again may help.
                let header = self
                    .form
                    .header_of_file(path)
                    .map_err(|error| error.transient_if(true))?;
                current.take(header, written);
            }
        }
        Ok(current.header.clone())
    }
}

impl Current {
    fn take(&mut self, header: HeaderValue, written: Option<SystemTime>) {
        if header != self.header {
            self.header = header;
            self.since = Instant::now();
            self.renewed = Some(self.since);
        }
        self.written = written;
    }
}

impl Form {
    fn noun(&self) -> &'static str {
        match self {
            Self::Bearer => "a bearer token",
            Self::Basic { .. } => "the password for basic authentication",
        }
    }

    fn header_of_file(&self, path: &Path) -> Result<HeaderValue, Error> {
        let place = path.display().to_string();
        let read = small_file::read(path, small_file::LARGEST).map_err(|why| why.to_string());
        let text = read.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
        });
        let text = text.map_err(|why| {
            Error::new(
                format!("{} could not be read from {place}: {why}", self.noun()),
                "name a file under `auth` that this user may read",
            )
        })?;
        self.header(&text, &place)
    }

    /// Makes the header of the text that was found at a place. The errors never hold the text.
    fn header(&self, text: &str, place: &str) -> Result<HeaderValue, Error> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(Error::new(
                format!("{place} is empty; it should hold {}", self.noun()),
                "put the secret there, without quotes",
            ));
        }
        match self {
            Self::Bearer => {
                // RFC 6750, section 2.1: visible characters only, so no space either.
                if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(Error::new(
                        format!("{place} does not hold a bearer token: it contains spaces, line breaks or other characters that no token has"),
                        "put the token alone there, without `Bearer` and without quotes",
                    ));
                }
                Secret::new(text).header("Bearer")
            }
            Self::Basic { user } => {
                let pair = STANDARD.encode(format!("{user}:{text}"));
                Secret::new(pair).header("Basic")
            }
        }
        .ok_or_else(|| {
            Error::new(
                format!("{place} holds characters that no header can carry"),
                "put the secret alone there",
            )
        })
    }
}

fn written(path: &Path) -> Option<SystemTime> {
    fs_err::metadata(path).and_then(|data| data.modified()).ok()
}

impl Credentials for SecretCredentials {
    fn header(&self) -> BoxFuture<'_, Result<Option<HeaderValue>, Error>> {
        Box::pin(std::future::ready(self.fresh().map(Some)))
    }

    fn refused(&self) -> bool {
        let SecretPlace::File(path) = &self.place else {
            return false;
        };
        let written = written(path);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(header) = self.form.header_of_file(path) {
            current.take(header, written);
        } else {
            // The next header is read from the file again, and says what is wrong with it.
            current.written = None;
            return true;
        }
        current
            .renewed
            .is_some_and(|at| at.elapsed() < RENEWAL_WINDOW)
    }

    fn renewed_elsewhere(&self) -> BoxFuture<'_, bool> {
        let read = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            (current.header.clone(), current.since)
        };
        let (refused, since) = read;
        let is_file = matches!(self.place, SecretPlace::File(_));
        Box::pin(async move {
            if !is_file || since.elapsed() < LIFE {
                return false;
            }
            let end = Instant::now() + LATE;
            while Instant::now() < end {
                tokio::time::sleep(LOOK).await;
                // A file that cannot be read is one that is just being written.
                if self.fresh().is_ok_and(|header| header != refused) {
                    return true;
                }
            }
            false
        })
    }
}

impl fmt::Debug for SecretCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCredentials")
            .field("form", &self.form.noun())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn write(path: &Path, token: &str) {
        fs_err::write(path, token).unwrap();
    }

    async fn minutes(minutes: u64) {
        tokio::time::advance(Duration::from_mins(minutes)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_renewed_late_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "first");
        let place = SecretPlace::File(path.clone());
        let held = SecretCredentials::bearer(&place, &|_| None).unwrap();
        let held = Arc::new(held);
        assert!(!held.renewed_elsewhere().await, "it was never good");
        minutes(5).await;
        assert!(!held.refused());
        let waiting = Arc::clone(&held);
        let waits = tokio::spawn(async move { waiting.renewed_elsewhere().await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!waits.is_finished());
        write(&path, "second");
        assert!(waits.await.unwrap());
        let header = held.header().await.unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_not_renewed_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "first");
        let place = SecretPlace::File(path);
        let held = SecretCredentials::bearer(&place, &|_| None).unwrap();
        minutes(5).await;
        let began = Instant::now();
        assert!(!held.renewed_elsewhere().await);
        assert!(began.elapsed() >= LATE);
    }
}
