//! The places of Google's credentials, and the kinds of their files.

use std::path::PathBuf;

use serde_json::Value;

/// The place of credentials.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A credential file.
    File {
        path: PathBuf,
        named: Named,
        kind: Kind,
        /// The environment names a proxy, which `gcp_auth` does not use.
        proxy: bool,
    },
    /// The metadata server of a machine in Google Cloud.
    Metadata,
    /// A metadata server at another address (`GCE_METADATA_HOST`): host and port.
    MetadataAt(String),
    /// The account that the `gcloud` command is logged in with.
    Gcloud,
}

/// The giver of a credential file's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named {
    /// `--credentials`, or the manifest.
    User,
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    Variable,
    /// Nobody: gcloud wrote it.
    Gcloud,
}

/// The kinds of credential files that can be used (`type` in the file).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ServiceAccount,
    AuthorizedUser,
    ExternalAccount,
    ImpersonatedServiceAccount,
}

impl Kind {
    /// Reads the kind of a credential file.
    pub(super) fn of(json: &Value) -> Result<Self, String> {
        match json.get("type").and_then(Value::as_str) {
            Some("service_account") => Ok(Self::ServiceAccount),
            Some("authorized_user") => Ok(Self::AuthorizedUser),
            Some("external_account") => Ok(Self::ExternalAccount),
            Some("impersonated_service_account") => Ok(Self::ImpersonatedServiceAccount),
            Some(known @ ("external_account_authorized_user" | "gdch_service_account")) => {
                Err(format!("credentials of type `{known}` are not supported"))
            }
            // Not quoted: if this is some other file, its content is not for the terminal.
            Some(_) => Err("its `type` is none that Google hands out".to_owned()),
            None => Err("it has no `type`, so it is not a Google credential file".to_owned()),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_account",
            Self::AuthorizedUser => "authorized_user",
            Self::ExternalAccount => "external_account",
            Self::ImpersonatedServiceAccount => "impersonated_service_account",
        }
    }

    /// Says how to get such credentials anew.
    pub(super) fn renewal(self) -> &'static str {
        match self {
            Self::ServiceAccount => {
                "check that the key still exists and this machine's clock is right, or create a new key: \
                 `gcloud iam service-accounts keys create`"
            }
            Self::AuthorizedUser => {
                "run `gcloud auth application-default login`, or name a key file with --credentials"
            }
            Self::ExternalAccount => {
                "check the workload identity pool, and that the job may ask for an identity token; then \
                 `gcloud iam workload-identity-pools create-cred-config`"
            }
            Self::ImpersonatedServiceAccount => {
                "grant roles/iam.serviceAccountTokenCreator on the impersonated account, or run \
                 `gcloud auth application-default login --impersonate-service-account=ACCOUNT`"
            }
        }
    }
}
