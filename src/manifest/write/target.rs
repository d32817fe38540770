//! A target of the manifest, in its own shape.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_yaml::Value;

use super::value::{bytes_rate, duration, map, object, shown};
use crate::manifest::{Auth, Concurrency, Format, SecretPlace, Store, TargetSettings};

#[derive(Serialize, Default)]
#[serde(default)]
pub(super) struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    google: Option<Google>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fhir: Option<Fhir>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dicomweb: Option<Fhir>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mllp: Option<Mllp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Local>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ensure: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_rate: Option<String>,
    concurrency: Concurrency,
    timeout: String,
    retry: Retry,
    give_up_after: String,
}

/// The name of a store, under the key of what it holds.
#[derive(Serialize, Default)]
#[expect(clippy::struct_field_names, reason = "the keys of a manifest")]
struct StoreName {
    #[serde(skip_serializing_if = "Option::is_none")]
    fhir_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dicom_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hl7v2_store: Option<String>,
}

impl StoreName {
    fn of(format: Format, name: &str) -> Self {
        let name = Some(name.to_owned());
        match format {
            Format::Fhir => Self {
                fhir_store: name,
                ..Self::default()
            },
            Format::Dicom => Self {
                dicom_store: name,
                ..Self::default()
            },
            Format::Hl7v2 => Self {
                hl7v2_store: name,
                ..Self::default()
            },
        }
    }
}

#[derive(Serialize)]
struct Google {
    project: String,
    location: String,
    dataset: String,
    #[serde(flatten)]
    store_name: StoreName,
    endpoint: String,
}

#[derive(Serialize)]
struct Fhir {
    url: String,
}

#[derive(Serialize)]
struct Mllp {
    address: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

#[derive(Serialize)]
struct Local {
    dir: String,
    #[serde(flatten)]
    store_name: StoreName,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Value>,
}

#[derive(Serialize)]
struct Tls {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Serialize, Default)]
struct Retry {
    attempts: u32,
    base: String,
    max: String,
}

/// Renders a target, with what its settings say.
pub(super) fn target(settings: &TargetSettings) -> Target {
    let mut target = Target {
        auth: auth(settings),
        proxy: settings.proxy.as_ref().map(ToString::to_string),
        headers: settings.headers.clone(),
        quota_project: settings.quota_project.clone(),
        rate: settings.rate.map(|rate| rate.to_string()),
        bytes_rate: settings.bytes_rate.map(bytes_rate),
        concurrency: settings.concurrency,
        timeout: duration(settings.timeout),
        retry: Retry {
            attempts: settings.retry.attempts,
            base: duration(settings.retry.base),
            max: duration(settings.retry.max),
        },
        give_up_after: duration(settings.give_up_after),
        ..Target::default()
    };
    let tls = &settings.tls;
    if tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some() {
        target.tls = Some(Tls {
            ca: tls.ca.as_deref().map(shown),
            certificate: tls.certificate.as_deref().map(shown),
            key: tls.key.as_deref().map(shown),
        });
    }
    match &settings.store {
        Store::Google(store) => {
            target.google = Some(Google {
                project: store.project.clone(),
                location: store.location.clone(),
                dataset: store.dataset.clone(),
                store_name: StoreName::of(store.format, &store.store),
                endpoint: store.endpoint.to_string(),
            });
            target.ensure = store.ensure.as_ref().map(|fields| {
                if fields.is_empty() {
                    Value::Bool(true)
                } else {
                    object(fields)
                }
            });
        }
        Store::Fhir { url } => {
            target.fhir = Some(Fhir {
                url: url.to_string(),
            });
        }
        Store::Dicomweb { url } => {
            target.dicomweb = Some(Fhir {
                url: url.to_string(),
            });
        }
        Store::Mllp { address, tls } => {
            target.mllp = Some(Mllp {
                address: address.clone(),
                tls: *tls,
            });
        }
        Store::Local {
            dir,
            store,
            format,
            id,
        } => {
            let id = id.clone().unwrap_or_else(|| format.usual_id().to_owned());
            // A local store is one of FHIR where nothing else is said.
            let is_usual = *format == Format::Fhir && id == format.usual_id();
            target.local = Some(Local {
                dir: shown(dir),
                store_name: if is_usual {
                    StoreName::default()
                } else {
                    StoreName::of(*format, &id)
                },
                store: (!store.is_empty()).then(|| object(store)),
            });
        }
    }
    target
}

/// Renders what differs from what a target of its kind has by itself.
fn auth(settings: &TargetSettings) -> Option<Value> {
    let google = matches!(settings.store, Store::Google(_));
    match &settings.auth {
        Auth::None if google => Some(Value::from("none")),
        Auth::None => None,
        Auth::Google { credentials: None } if google => None,
        Auth::Google { credentials: None } => Some(Value::from("google")),
        Auth::Google {
            credentials: Some(file),
        } => Some(map([(
            "google",
            map([("credentials", Value::from(shown(file)))]),
        )])),
        Auth::Bearer(place) => Some(map([("bearer", secret(place))])),
        Auth::Basic { user, password } => Some(map([(
            "basic",
            map([
                ("user", Value::from(user.as_str())),
                ("password", secret(password)),
            ]),
        )])),
    }
}

fn secret(place: &SecretPlace) -> Value {
    match place {
        SecretPlace::Env(name) => map([("env", Value::from(name.as_str()))]),
        SecretPlace::File(file) => map([("file", Value::from(shown(file)))]),
    }
}
