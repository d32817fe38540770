//! Writes a manifest that loads rejected records again, with the settings of the run that they come from.
//!
//! It is written in the manifest's own shape (design §8) from the settings that the plan holds: these name the places
//! of secrets and hold none, and their paths do not depend on where this manifest stands.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;
use serde_yaml::Value;

use crate::{
    manifest::{
        Auth, Characters, Concurrency, Existing, Format, LoadSettings, MessageOrder, Missing,
        PackagingChoice, SecretPlace, Segments, Settle, Store, TargetSettings, Transactions,
        Versioned,
    },
    record::Operation,
    unit::{ByteSize, Rate, Window},
};

/// The parts of which the manifest is made.
#[derive(Debug, Clone, Copy)]
pub struct Skeleton<'a> {
    /// The name of the manifest whose records were rejected.
    pub name: &'a str,
    /// The directory of its state, if it names one.
    pub state: Option<&'a Path>,
    /// The targets of the manifest.
    pub targets: &'a [&'a TargetSettings],
    /// The loads of the manifest.
    pub loads: &'a [LoadSettings],
}

/// The part of a load that is loaded again.
#[derive(Debug, Clone)]
pub struct Again {
    /// The load, by its place.
    pub load: usize,
    /// The globs of its files.
    pub files: Vec<String>,
    /// The store holds the records already, and they are updated.
    pub standing: bool,
}

#[derive(Serialize)]
struct Manifest {
    version: u32,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    targets: BTreeMap<String, Target>,
    loads: Vec<Load>,
}

#[derive(Serialize, Default)]
#[serde(default)]
struct Target {
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

#[derive(Serialize)]
struct Google {
    project: String,
    location: String,
    dataset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fhir_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dicom_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hl7v2_store: Option<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    fhir_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dicom_store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hl7v2_store: Option<String>,
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

#[derive(Serialize)]
struct Load {
    name: String,
    target: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    files: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compare: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<BundleOf>,
    #[serde(skip_serializing_if = "is_default")]
    transactions: Transactions,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<Value>,
    #[serde(skip_serializing_if = "is_default")]
    versioned: Versioned,
    #[serde(skip_serializing_if = "Option::is_none")]
    settle: Option<Settle>,
    #[serde(skip_serializing_if = "is_default")]
    segments: Segments,
    #[serde(skip_serializing_if = "is_default")]
    charset: Characters,
    #[serde(skip_serializing_if = "is_default")]
    order: MessageOrder,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// This run first: what it loaded is what the mended records refer to.
    known: Vec<String>,
}

#[derive(Serialize)]
struct BundleOf {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<PackagingChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_entries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Skeleton<'_> {
    /// Renders the manifest for the loads that have rejected records; `path` is what people type for it.
    ///
    /// # Errors
    ///
    /// When it cannot be put into YAML.
    pub fn render(&self, loads: &[Again], path: &str) -> Result<String, serde_yaml::Error> {
        let chosen: Vec<_> = loads
            .iter()
            .filter_map(|again| Some((self.loads.get(again.load)?, again)))
            .collect();
        let is_chosen = |name: &String| {
            let mut chosen = chosen.iter();
            chosen.any(|(load, again)| load.name == *name && !again.standing)
        };
        let targets = self.targets.iter().copied();
        let manifest = Manifest {
            version: 1,
            name: format!("{}-rejected", self.name),
            state: self.state.map(shown),
            targets: targets
                .filter(|target| chosen.iter().any(|(load, _)| load.target == target.name))
                .map(|settings| (settings.name.clone(), target(settings)))
                .collect(),
            loads: chosen
                .iter()
                .map(|(settings, again)| {
                    let mut load = load(settings);
                    load.after.retain(is_chosen);
                    load.files.extend(again.files.iter().cloned());
                    if again.standing {
                        load.name.push_str("-standing");
                        load.interaction = Some(Operation::Update.as_str());
                    }
                    load
                })
                .collect(),
        };
        let text = serde_yaml::to_value(&manifest)
            .map(|value| self.with_headers(escaped(value)))
            .and_then(|manifest| serde_yaml::to_string(&manifest))?;
        Ok(format!(
            "# Loads the records that were rejected: mend the files beside this one, then\n#   stoker load {path}\n\
             # What the server said of each stands in `answers.ndjson`.\n{text}"
        ))
    }
}

impl Skeleton<'_> {
    /// Puts the headers in again as they are written: their variables have not been filled in.
    fn with_headers(&self, mut manifest: Value) -> Value {
        for settings in self.targets {
            let mut target = manifest
                .get_mut("targets")
                .and_then(|targets| targets.get_mut(settings.name.as_str()));
            for (name, written) in &settings.headers {
                if let Some(value) = target
                    .as_deref_mut()
                    .and_then(|target| target.get_mut("headers")?.get_mut(name.as_str()))
                {
                    *value = Value::from(written.as_str());
                }
            }
        }
        manifest
    }
}

fn target(settings: &TargetSettings) -> Target {
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
                fhir_store: (store.format == Format::Fhir).then(|| store.store.clone()),
                dicom_store: (store.format == Format::Dicom).then(|| store.store.clone()),
                hl7v2_store: (store.format == Format::Hl7v2).then(|| store.store.clone()),
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
            target.local = Some(Local {
                dir: shown(dir),
                fhir_store: (*format == Format::Fhir && id != format.usual_id())
                    .then(|| id.clone()),
                dicom_store: (*format == Format::Dicom).then(|| id.clone()),
                hl7v2_store: (*format == Format::Hl7v2).then(|| id.clone()),
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

fn load(settings: &LoadSettings) -> Load {
    let identity = &settings.identity;
    let mut systems: serde_yaml::Mapping = identity
        .systems
        .iter()
        .map(|(kind, systems)| {
            let systems = systems.iter().map(|s| Value::from(s.as_str())).collect();
            (Value::from(kind.as_str()), Value::Sequence(systems))
        })
        .collect();
    if identity.missing == Missing::Create {
        systems.insert(Value::from("missing"), Value::from("create"));
    }
    Load {
        name: settings.name.clone(),
        target: settings.target.clone(),
        after: settings.after.clone(),
        files: Vec::new(),
        interaction: settings.interaction.map(word),
        identity: (!systems.is_empty()).then_some(Value::Mapping(systems)),
        compare: match (settings.compare, settings.existing.bytes) {
            (_, true) => Some(Value::from("bytes")),
            (true, false) => Some(Value::from(true)),
            (false, false) => None,
        },
        bundle: (!is_default(&settings.packaging)).then(|| BundleOf {
            kind: settings.packaging.kind,
            max_entries: settings.packaging.max_entries.map(u32::from),
            max_bytes: settings.packaging.max_bytes.map(|size| size.0),
        }),
        transactions: settings.transactions,
        duplicates: match settings.existing.what {
            Existing::Skip if is_default(&settings.duplicates) => None,
            Existing::Skip => serde_yaml::to_value(settings.duplicates).ok(),
            existing => serde_yaml::to_value(existing).ok(),
        },
        versioned: settings.versioned,
        settle: settings.settle,
        segments: settings.messages.segments,
        charset: settings.messages.charset,
        order: settings.messages.order,
        labels: settings.messages.labels.clone(),
        known: std::iter::once("..".to_owned())
            .chain(settings.known.iter().map(|path| shown(path)))
            .collect(),
    }
}

/// Returns the manifest's word for what is done with records.
fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::CreateMessage => Operation::Create.as_str(),
        Operation::Transmit => Operation::Ingest.as_str(),
        other => other.as_str(),
    }
}

/// A path that holds from any folder: the manifest stands in another one than that which it repeats.
fn shown(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// Renders a duration exactly, as a manifest writes it.
fn duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1000.0)
    }
}

/// Renders a rate in bytes exactly: `ByteSize` rounds.
fn bytes_rate(rate: Rate) -> String {
    let bytes = rate.amount.get();
    let window = match rate.window {
        Window::Second => "s",
        Window::Minute => "min",
    };
    let exact = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")]
        .into_iter()
        .find(|(unit, _)| bytes.is_multiple_of(*unit));
    match exact {
        Some((unit, name)) => format!("{} {name}/{window}", bytes / unit),
        None => format!("{} B/{window}", ByteSize(bytes.into()).0),
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(k, v)| (Value::from(k), v));
    Value::Mapping(entries.collect())
}

fn object(fields: &BTreeMap<String, serde_json::Value>) -> Value {
    let fields = fields.iter();
    Value::Mapping(
        fields
            .map(|(name, value)| (Value::from(name.as_str()), yaml(value)))
            .collect(),
    )
}

/// Turns JSON into YAML by hand: the numbers of `serde_json`, which keep their text, serialize as an object of
/// their own elsewhere.
fn yaml(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => {
            if let Some(integer) = number.as_i64() {
                Value::from(integer)
            } else {
                number
                    .as_f64()
                    .map_or_else(|| Value::from(number.to_string()), Value::from)
            }
        }
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(values) => Value::Sequence(values.iter().map(yaml).collect()),
        serde_json::Value::Object(fields) => Value::Mapping(
            fields
                .iter()
                .map(|(name, value)| (Value::from(name.as_str()), yaml(value)))
                .collect(),
        ),
    }
}

/// Keeps `${` in values from being read as a variable: the settings have been through that once.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Sequence(values) => Value::Sequence(values.into_iter().map(escaped).collect()),
        Value::Mapping(fields) => {
            Value::Mapping(fields.into_iter().map(|(k, v)| (k, escaped(v))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Again, Skeleton};
    use crate::manifest::{self, LoadSettings, TargetSettings};

    /// Reads a manifest that stands in `folder`.
    fn read(text: &str, folder: &Path) -> manifest::Manifest {
        manifest::read_text(text, &folder.join("m.yaml"), &|_| None)
            .unwrap()
            .0
    }

    /// Renders the manifest of rejected records of a manifest's first load.
    fn rejected(manifest: &manifest::Manifest, path: &Path) -> String {
        let targets: Vec<&TargetSettings> = manifest.targets.iter().collect();
        let skeleton = Skeleton {
            name: &manifest.name,
            state: manifest.run.state.as_deref(),
            targets: &targets,
            loads: &manifest.loads,
        };
        let again = Again {
            load: 0,
            files: vec!["people.ndjson".to_owned()],
            standing: false,
        };
        skeleton
            .render(&[again], &path.display().to_string())
            .unwrap()
    }

    #[test]
    fn bundles_and_references_are_carried_over_and_the_run_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/now");
        let below = run.join("rejected");
        fs_err::create_dir_all(&below).unwrap();
        fs_err::create_dir_all(dir.path().join("earlier")).unwrap();
        for ids in [
            run.join("ids.ndjson"),
            dir.path().join("earlier/ids.ndjson"),
        ] {
            fs_err::write(ids, "").unwrap();
        }
        for load in [
            "known: [earlier, earlier/ids.ndjson]",
            "bundle: none, duplicates: ignore, transactions: refuse",
            "bundle: { type: transaction, max_entries: 7, max_bytes: 1500001 }, versioned: keep",
            "transactions: keep, duplicates: error",
            "bundle: { max_bytes: 2 MB }, duplicates: last, known: earlier",
            "compare: true, interaction: update",
            "target: pictures, compare: bytes, duplicates: verify",
            "target: pictures, duplicates: replace",
        ] {
            let target = if load.contains("target") {
                ""
            } else {
                "target: a, "
            };
            let text = format!(
                "version: 1\ntargets: {{ a: {{ local: s }}, pictures: {{ local: {{ dir: s, dicom_store: d }} }} }}\nloads: [{{ name: a, files: x, {target}{load} }}]\n"
            );
            let first = read(&text, dir.path());
            let text = rejected(&first, &below.join("manifest.yaml"));
            let again = read(&text, &below);
            let (LoadSettings { known: before, .. }, LoadSettings { known: after, .. }) =
                (&first.loads[0], &again.loads[0]);
            assert_eq!(Some(after[0].as_path()), below.parent(), "{text}");
            assert_eq!(after[1..], before[..], "{text}");
            let expected = LoadSettings {
                files: again.loads[0].files.clone(),
                known: after.clone(),
                ..first.loads[0].clone()
            };
            assert_eq!(again.loads[0], expected, "{text}");
        }
    }
}
