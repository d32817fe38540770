//! The search for Google's credentials: Application Default Credentials, AIP-4110.
//!
//! The file that the user names · `GOOGLE_APPLICATION_CREDENTIALS` · gcloud's
//! `application_default_credentials.json` · the metadata server · `gcloud auth print-access-token`. The first
//! that is there counts, and is an error when it cannot be used: going on to the next would load a store as
//! somebody else.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::{Duration, timeout};

use super::{
    place::{Kind, Named, Source},
    provider::{Problem, Provider},
};
use crate::{
    auth::{Environment, Error},
    small_file::{self, SmallFileError},
};

/// The longest that the metadata server may take to show itself; `GCE_METADATA_TIMEOUT` of Google's own libraries is 3
/// s as well.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

const LOGIN: &str =
    "run `gcloud auth application-default login`, or name a key file with --credentials";

/// The result of a search of files.
pub(super) enum Found {
    /// These credentials.
    At(Source),
    /// No file; the machine itself is left to be asked.
    Nowhere(Search),
}

/// The places that are still to be asked when there is no file.
pub(super) struct Search {
    well_known: Option<PathBuf>,
    metadata: Option<Source>,
    /// There is a `gcloud` command.
    gcloud: bool,
}

/// Looks for a credential file.
pub(super) fn find(credentials: Option<&Path>, env: &Environment<'_>) -> Result<Found, Error> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .any(|name| set(name).is_some());
    let file = |path: PathBuf, named| Source::file(path, named, proxy).map(Found::At);

    if let Some(path) = credentials {
        return file(path.to_owned(), Named::User);
    }
    if let Some(path) = set("GOOGLE_APPLICATION_CREDENTIALS") {
        return file(path.into(), Named::Variable);
    }
    let folder = set("CLOUDSDK_CONFIG").map(PathBuf::from).or_else(|| {
        if cfg!(windows) {
            set("APPDATA").map(|data| PathBuf::from(data).join("gcloud"))
        } else {
            set("HOME").map(|home| PathBuf::from(home).join(".config/gcloud"))
        }
    });
    let well_known = folder.map(|folder| folder.join("application_default_credentials.json"));
    if let Some(path) = well_known.as_ref().filter(|path| path.exists()) {
        return file(path.clone(), Named::Gcloud);
    }
    let metadata = match (set("GCE_METADATA_HOST"), set("NO_GCE_CHECK").as_deref()) {
        (Some(host), _) => Some(Source::MetadataAt(host)),
        (None, Some("true" | "True" | "TRUE" | "1")) => None,
        (None, _) => Some(Source::Metadata),
    };
    // Not asked unless the environment that was passed in leads to it: whoever passes an environment
    // without it must not end up with the login of the machine.
    let command = if cfg!(windows) {
        "gcloud.cmd"
    } else {
        "gcloud"
    };
    let gcloud = set("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
    });
    Ok(Found::Nowhere(Search {
        well_known,
        metadata,
        gcloud,
    }))
}

impl Search {
    /// Asks the metadata server, then `gcloud`; the first that gives a token counts.
    pub(super) async fn ask_machine(self) -> Result<(Source, Provider), Error> {
        if let Some(source) = self.metadata.clone()
            && let Ok(Ok(provider)) = timeout(METADATA_TIMEOUT, Provider::of_machine(&source)).await
        {
            return Ok((source, provider));
        }
        if self.gcloud
            && let Ok(provider) = Provider::of_machine(&Source::Gcloud).await
        {
            return Ok((Source::Gcloud, provider));
        }
        let file = match &self.well_known {
            Some(path) => format!("no file {}", path.display()),
            None => "no home directory to look for gcloud's file".to_owned(),
        };
        let metadata = match &self.metadata {
            Some(Source::MetadataAt(host)) => format!("no answer from a metadata server at {host}"),
            Some(_) => "no metadata server of Google Cloud".to_owned(),
            None => "the metadata server not asked (NO_GCE_CHECK)".to_owned(),
        };
        let gcloud = if self.gcloud {
            "no token from `gcloud auth print-access-token`"
        } else {
            "no `gcloud` command"
        };
        Err(Error::new(
            format!(
                "no Google credentials found: no --credentials, GOOGLE_APPLICATION_CREDENTIALS not set, {file}, \
                 {metadata}, {gcloud}"
            ),
            LOGIN,
        ))
    }
}

impl Source {
    fn file(path: PathBuf, named: Named, proxy: bool) -> Result<Self, Error> {
        let read = read(&path)
            .and_then(|json| Kind::of(&json))
            .map_err(|why| unreadable(&path, named, &why, LOGIN));
        let kind = read?;
        Ok(Self::File {
            path,
            named,
            kind,
            proxy,
        })
    }

    /// Builds what gets tokens from these credentials; reads their file, asks nobody.
    pub(super) fn provider(&self) -> Result<Provider, Error> {
        match self {
            Self::File {
                path,
                named,
                kind,
                proxy,
            } => read(path)
                .and_then(|json| Provider::of_file(*kind, json, *proxy))
                .map_err(|why| unreadable(path, *named, &why, kind.renewal())),
            Self::Metadata | Self::MetadataAt(_) | Self::Gcloud => Ok(Provider::later(self)),
        }
    }

    pub(super) fn quota_project(&self) -> Option<String> {
        let Self::File { path, .. } = self else {
            return None;
        };
        let json = read(path).ok()?;
        let project = json.get("quota_project_id")?.as_str()?;
        (!project.is_empty()).then(|| project.to_owned())
    }

    /// Says why there is no token, for whom, and what to do. `worked` tells that there was one before.
    pub(super) fn error(&self, problem: &Problem, worked: bool) -> Error {
        let who = match self {
            Self::File {
                path, named, kind, ..
            } => format!(
                "credential file {} ({}, {})",
                path.display(),
                kind.name(),
                named.words()
            ),
            Self::Metadata => "the metadata server of Google Cloud".to_owned(),
            Self::MetadataAt(host) => format!("the metadata server at {host} (GCE_METADATA_HOST)"),
            Self::Gcloud => "`gcloud auth print-access-token`".to_owned(),
        };
        let hint = match self {
            _ if problem.transient => "check the network and the proxy settings",
            Self::File { kind, .. } => kind.renewal(),
            _ => LOGIN,
        };
        Error::new(format!("no token from {who}: {}", problem.what), hint)
            .transient_if(problem.transient || (worked && problem.vague))
    }
}

impl Named {
    fn words(self) -> &'static str {
        match self {
            Self::User => "named by --credentials or the manifest",
            Self::Variable => "named by GOOGLE_APPLICATION_CREDENTIALS",
            Self::Gcloud => "gcloud's application default credentials",
        }
    }
}

fn unreadable(path: &Path, named: Named, why: &str, hint: &str) -> Error {
    Error::new(
        format!(
            "credential file {} ({}): {why}",
            path.display(),
            named.words()
        ),
        hint,
    )
}

/// Reads a credential file. The errors hold nothing of its content.
fn read(path: &Path) -> Result<Value, String> {
    let text = small_file::read(path, small_file::LARGEST).map_err(|why| match why {
        SmallFileError::Missing => why.to_string(),
        why => format!("it cannot be read: {why}"),
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        format!(
            "it is not JSON, at line {} column {}",
            error.line(),
            error.column()
        )
    })
}
