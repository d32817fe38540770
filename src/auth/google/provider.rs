//! Gets tokens from Google credentials, by the library that can.
//!
//! `gcp_auth` 0.12 does service account keys, the metadata server and the `gcloud` command. Its gaps:
//!
//! - `authorized_user`: it reads one fixed path, whatever `CLOUDSDK_CONFIG` says, and cannot be given a file;
//! - `external_account` and `impersonated_service_account`: it does not know them;
//! - a metadata server at another address than the usual;
//! - proxies: it connects directly, always.
//!
//! google-cloud-auth does these. Behind a proxy it also does service account keys: it signs the token itself
//! (AIP-4111), so there is no token server to reach.

use std::sync::Arc;

use gcp_auth::{CustomServiceAccount, GCloudAuthorizedUser, MetadataServiceAccount, TokenProvider};
use google_cloud_auth::{
    build_errors, credentials, credentials::AccessTokenCredentials, errors::CredentialsError,
};
use serde_json::Value;

use super::{
    SCOPE,
    place::{Kind, Source},
};
use crate::auth::Secret;

/// Gets tokens, and keeps them until they expire.
pub(super) enum Provider {
    /// By `gcp_auth`, from a service account key.
    Key(Box<CustomServiceAccount>),
    /// By `gcp_auth`, from the metadata server.
    Metadata(Box<MetadataServiceAccount>),
    /// By `gcp_auth`, from the `gcloud` command, which is waited for.
    Gcloud(Arc<GCloudAuthorizedUser>),
    /// By google-cloud-auth.
    Library(AccessTokenCredentials),
    /// From the machine itself, asked when the first token is.
    Later(Source, tokio::sync::OnceCell<Box<Self>>),
}

/// The reason why there is no token, in words that hold nothing a server said.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) what: String,
    /// Trying again may help.
    pub(super) transient: bool,
    /// The library does not tell whether trying again may help.
    pub(super) vague: bool,
}

impl Provider {
    /// Builds from the content of a credential file. Must be called within a tokio runtime.
    pub(super) fn of_file(kind: Kind, json: Value, proxy: bool) -> Result<Self, String> {
        let built = match kind {
            Kind::ServiceAccount if !proxy => {
                check_token_uri(&json)?;
                return CustomServiceAccount::from_json(&json.to_string())
                    .map(|account| Self::Key(Box::new(account)))
                    .map_err(|error| match error {
                        gcp_auth::Error::Json(..) => {
                            "a field of a service account key is missing: \
                            it needs client_email, private_key and token_uri"
                                .to_owned()
                        }
                        gcp_auth::Error::Io(..) => {
                            "the certificates of this system cannot be loaded".to_owned()
                        }
                        _ => "its private_key is not an RSA key in PKCS#8 PEM".to_owned(),
                    });
            }
            Kind::ServiceAccount => credentials::service_account::Builder::new(json)
                .with_access_specifier(credentials::service_account::AccessSpecifier::from_scopes(
                    [SCOPE],
                ))
                .build_access_token_credentials(),
            // The scopes of a user were fixed at login; asking for others is refused.
            Kind::AuthorizedUser => {
                credentials::user_account::Builder::new(json).build_access_token_credentials()
            }
            Kind::ExternalAccount => credentials::external_account::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
            Kind::ImpersonatedServiceAccount => credentials::impersonated::Builder::new(json)
                .with_scopes([SCOPE])
                .build_access_token_credentials(),
        };
        built
            .map(Self::Library)
            .map_err(|error| of_building(kind, &error))
    }

    /// Puts off what can only be built by asking.
    pub(super) fn later(source: &Source) -> Self {
        Self::Later(source.clone(), tokio::sync::OnceCell::new())
    }

    /// Asks the metadata server or `gcloud` for a first token.
    pub(super) async fn of_machine(source: &Source) -> Result<Self, Problem> {
        match source {
            Source::Metadata => MetadataServiceAccount::new()
                .await
                .map(|account| Self::Metadata(Box::new(account)))
                .map_err(|error| Problem::of_gcp_auth(&error)),
            Source::MetadataAt(host) => {
                let provider = credentials::mds::Builder::default()
                    .with_endpoint(format!("http://{host}"))
                    .with_scopes([SCOPE])
                    .build_access_token_credentials()
                    .map(Self::Library)
                    .map_err(|_| Problem::new("its address is not valid"))?;
                Box::pin(provider.token()).await.map(|_| provider)
            }
            Source::Gcloud => blocking(GCloudAuthorizedUser::new)
                .await?
                .map(|account| Self::Gcloud(Arc::new(account)))
                .map_err(|error| Problem::of_gcp_auth(&error)),
            Source::File { .. } => Err(Problem::new("it is a file")),
        }
    }

    /// Returns a token that is valid now.
    pub(super) async fn token(&self) -> Result<Secret, Problem> {
        let by_gcp_auth = |answer: Result<Arc<gcp_auth::Token>, gcp_auth::Error>| {
            answer
                .map(|token| Secret::new(token.as_str()))
                .map_err(|error| Problem::of_gcp_auth(&error))
        };
        match self {
            Self::Key(account) => by_gcp_auth(account.token(&[SCOPE]).await),
            Self::Metadata(account) => by_gcp_auth(account.token(&[SCOPE]).await),
            Self::Gcloud(account) => {
                let account = Arc::clone(account);
                by_gcp_auth(blocking(async move || account.token(&[SCOPE]).await).await?)
            }
            Self::Library(account) => account
                .access_token()
                .await
                .map(|token| Secret::new(token.token))
                .map_err(|error| Problem::of_library(&error)),
            Self::Later(source, made) => {
                let provider = made
                    .get_or_try_init(|| async { Self::of_machine(source).await.map(Box::new) })
                    .await?;
                Box::pin(provider.token()).await
            }
        }
    }
}

/// Runs `gcp_auth`'s `gcloud` calls, which wait for the command within their future, on a thread of their own.
async fn blocking<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work()))
        .await
        .map_err(|_| Problem::new("the command was interrupted"))
}

/// `gcp_auth` panics on a token server that is not a URL.
fn check_token_uri(json: &Value) -> Result<(), String> {
    let valid = json
        .get("token_uri")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<http::Uri>().ok())
        .is_some_and(|uri| uri.host().is_some() && uri.scheme().is_some());
    if valid {
        Ok(())
    } else {
        Err("its token_uri is missing or not a URL".to_owned())
    }
}

fn of_building(kind: Kind, error: &build_errors::Error) -> String {
    let kind = kind.name();
    if error.is_not_supported() || error.is_unknown_type() {
        format!("credentials of type `{kind}` with these settings are not supported")
    } else {
        // The library's words may quote the file.
        format!("it lacks fields that credentials of type `{kind}` need, or holds wrong ones")
    }
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            transient: false,
            vague: false,
        }
    }

    pub(super) fn timeout() -> Self {
        Self {
            transient: true,
            ..Self::new("the token server did not answer in time")
        }
    }

    fn of_gcp_auth(error: &gcp_auth::Error) -> Self {
        use gcp_auth::Error;
        match error {
            Error::Http(..) | Error::Other("HTTP request failed", _) => Self {
                transient: true,
                ..Self::new("the token server could not be reached")
            },
            Error::Str("token request failed") => Self {
                vague: true,
                ..Self::new("the token server refused")
            },
            Error::Json(..) => Self {
                vague: true,
                ..Self::new("the token server's answer holds no token")
            },
            Error::Io(..) => Self::new("the command cannot be run, or a file not be read"),
            _ => Self {
                vague: true,
                ..Self::new("it gave none")
            },
        }
    }

    /// Puts google-cloud-auth's error into our words: its own hold the server's answer.
    fn of_library(error: &CredentialsError) -> Self {
        let first: &(dyn std::error::Error + 'static) = error;
        let chain = || std::iter::successors(Some(first), |error| error.source());
        let http = chain().find_map(|error| error.downcast_ref::<reqwest::Error>());
        let io = chain().find_map(|error| error.downcast_ref::<std::io::Error>());
        let mut what = match (http, io) {
            (Some(http), _) => match http.status() {
                Some(status) => format!("the token server answered {}", status.as_u16()),
                None if http.is_decode() => "the token server's answer holds no token".to_owned(),
                None if http.is_builder() => "the token server's URL is not valid".to_owned(),
                None => "the token server could not be reached".to_owned(),
            },
            (None, Some(io)) => format!("the subject token cannot be read: {}", io.kind()),
            (None, None) => "it gave none".to_owned(),
        };
        let text: String = chain().map(ToString::to_string).collect();
        if let Some(code) = OAUTH_CODES.iter().find(|code| text.contains(**code)) {
            what = format!("{what} ({code})");
        }
        Self {
            what,
            transient: error.is_transient(),
            vague: false,
        }
    }
}

/// The error codes of token servers (RFC 6749, section 5.2; RFC 8693, section 2.2.2): words of a standard, so
/// they may be shown where the rest of an answer may not.
const OAUTH_CODES: [&str; 8] = [
    "invalid_grant",
    "invalid_client",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
];
