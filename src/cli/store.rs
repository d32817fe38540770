//! The flags that name one store, for `create` and `get`.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::{Context, Error};
use crate::manifest::{self, Auth, Format, GoogleStore, Store, TargetSettings};

/// Names one store: by its Google resource name, by URL, as a local directory, or as a target of a manifest.
#[derive(Debug, Args)]
#[command(next_help_heading = "The store (one of --project …, --url, --local, --manifest)")]
pub(super) struct StoreArgs {
    /// Google Cloud project of the store
    #[arg(long, requires_all = ["location", "dataset", "store"], conflicts_with_all = ["url", "local", "manifest"])]
    project: Option<String>,
    /// Location, such as us-central1
    #[arg(long, requires = "project")]
    location: Option<String>,
    /// Dataset id
    #[arg(long, requires = "project")]
    dataset: Option<String>,
    /// Id of the store; its kind is that of the record
    #[arg(long, requires = "project")]
    store: Option<String>,
    /// Another address of the Cloud Healthcare API
    #[arg(long, value_name = "URL", default_value = manifest::GOOGLE_ENDPOINT)]
    endpoint: Url,
    /// Google credential file; without it, Application Default Credentials
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Service base URL of any FHIR R4 or DICOMweb server
    #[arg(long, conflicts_with_all = ["local", "manifest"])]
    url: Option<Url>,
    /// Name of the environment variable that holds a bearer token
    #[arg(long, value_name = "NAME", conflicts_with_all = ["credentials", "local", "manifest"])]
    bearer_env: Option<String>,
    /// Directory of an embedded local store
    #[arg(long, value_name = "DIR", conflicts_with = "manifest")]
    local: Option<PathBuf>,
    /// Manifest that has the target
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Name of the target in the manifest; may be left out if it has just one
    #[arg(long, value_name = "NAME", requires = "manifest")]
    target: Option<String>,
}

impl StoreArgs {
    /// Returns the settings of the store that the flags name.
    ///
    /// `format` is that of the record that goes there; a target of a manifest has its own.
    pub(super) fn settings(
        &self,
        format: Format,
        context: Context,
    ) -> Result<TargetSettings, Error> {
        if let Some(path) = &self.manifest {
            return self.of_manifest(path, context);
        }
        let bearer = self
            .bearer_env
            .clone()
            .map(|name| Auth::Bearer(manifest::SecretPlace::Env(name)));
        let google = Auth::Google {
            credentials: self.credentials.clone(),
        };
        let (store, auth) = if let Some(dir) = &self.local {
            (
                Store::Local {
                    dir: dir.clone(),
                    store: std::collections::BTreeMap::new(),
                    format,
                    id: None,
                },
                Auth::None,
            )
        } else if let Some(url) = &self.url {
            let auth = if self.credentials.is_some() {
                google
            } else {
                Auth::None
            };
            let url = url.clone();
            let store = match format {
                Format::Fhir => Store::Fhir { url },
                Format::Dicom => Store::Dicomweb { url },
                Format::Hl7v2 => {
                    let message = "a message goes into no server that is named by a URL alone";
                    return Err(Error::usage(message).hint(
                        "name an HL7v2 store with --local DIR or --project …, or a receiver of MLLP in a manifest: --manifest FILE --target NAME",
                    ));
                }
            };
            (store, bearer.unwrap_or(auth))
        } else if let (Some(project), Some(location), Some(dataset), Some(store)) =
            (&self.project, &self.location, &self.dataset, &self.store)
        {
            let store = GoogleStore {
                endpoint: self.endpoint.clone(),
                project: project.clone(),
                location: location.clone(),
                dataset: dataset.clone(),
                store: store.clone(),
                format,
                ensure: None,
            };
            (Store::Google(store), bearer.unwrap_or(google))
        } else {
            return Err(Error::usage("no store is named").hint(
                "name it with --local DIR, with --url URL, with --project, --location, --dataset and --store, \
                 or with --manifest FILE --target NAME",
            ));
        };
        Ok(TargetSettings::new("store", store, auth))
    }

    fn of_manifest(
        &self,
        path: &std::path::Path,
        context: Context,
    ) -> Result<TargetSettings, Error> {
        let manifest =
            super::given::read_manifest(path, &super::select::Selection::default(), context)?;
        let names: Vec<&str> = manifest.targets.iter().map(|t| t.name.as_str()).collect();
        let listed = names.join(", ");
        match (&self.target, manifest.targets.as_slice()) {
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Error::usage("the manifest has several targets")
                .hint(format!("choose one with --target: {listed}"))),
            (Some(name), targets) => targets
                .iter()
                .find(|t| t.name == *name)
                .cloned()
                .ok_or_else(|| {
                    Error::usage(format!("the manifest has no target `{name}`"))
                        .hint(format!("it has: {listed}"))
                }),
        }
    }
}
