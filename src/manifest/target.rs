//! Targets: which store, how to talk to it, and how to prove who we are.

use std::{collections::BTreeMap, time::Duration};

use url::{Host, Url};

use super::{
    Auth, GoogleFhir, Retry, SecretPlace, Store, TargetSettings, Tls,
    document::{Entry, Node, Spot, Value},
    read::over,
    reader::{Reader, get, speaks_of_secrets},
    resolve::unfit,
    schema, substitute,
};
use crate::{
    diagnostic::Diagnostic,
    unit::{Rate, parse_bytes_rate, parse_duration},
};

/// The Healthcare API (healthcare-api reference, "Base and common parameters").
const GOOGLE_ENDPOINT: &str = "https://healthcare.googleapis.com/";

/// Enough to keep a remote store busy over a slow line, few enough for a small server.
const DEFAULT_CONCURRENCY: u32 = 32;

/// Google's own samples wait so long for FHIR requests.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Truncated exponential backoff up to 32 s is Google's advice; eight attempts reach it once.
const DEFAULT_RETRY: Retry = Retry {
    attempts: 8,
    base: Duration::from_millis(500),
    max: Duration::from_secs(32),
};

/// Longer than a restart of a store takes, shorter than a person's patience with a run that stands still.
const DEFAULT_GIVE_UP_AFTER: Duration = Duration::from_mins(10);

/// Headers that are Stoker's, or the connection's, to set.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "if-none-exist",
    "x-goog-user-project",
];

/// Resolves a target; none if its store could not be read.
pub(super) fn settings(
    reader: &mut Reader<'_>,
    entry: &Entry,
    defaults: &[Entry],
) -> Option<TargetSettings> {
    if let Some(why) = unfit(&entry.key) {
        let message = format!("{:?} cannot be a name: {why}", entry.key);
        reader.report(entry.key_spot, Diagnostic::error(message));
    }
    let what = format!("the target `{}`", entry.key);
    let own = reader.map(&entry.key, &entry.node, Some(schema::Target::KEYS))?;
    let entries = over(own, defaults);
    let store = store(reader, &what, entry.key_spot, own);
    if let Some(ensure) = own.iter().find(|entry| entry.key == "ensure")
        && get(own, "google").is_none()
    {
        let message = "`ensure` creates stores of the Healthcare API, and this target is none";
        let hint = "leave it out; the local store takes `local: { dir: …, store: { … } }`";
        reader.report(ensure.key_spot, Diagnostic::error(message).hint(hint));
    }
    let auth = match get(&entries, "auth") {
        Some(node) => auth(reader, node),
        None if get(own, "google").is_some() => Some(Auth::Google { credentials: None }),
        None => Some(Auth::None),
    };
    let common = common(reader, &entries);
    let (store, url_spot) = store?;
    let url = match &store {
        Store::GoogleFhir(google) => Some(&google.endpoint),
        Store::Fhir { url } => Some(url),
        Store::Local { .. } => None,
    };
    if let (Some(url), Some(auth)) = (url, &auth)
        && *auth != Auth::None
        && is_in_the_clear(url)
    {
        reader.report(
            url_spot,
            Diagnostic::error("credentials would cross the network in the clear")
                .hint("use `https://`, or `auth: none` if the server asks for none"),
        );
    }
    Some(TargetSettings {
        name: entry.key.clone(),
        store,
        auth: auth?,
        ..common
    })
}

/// Reads defaults for their problems only.
pub(super) fn settings_of_defaults(reader: &mut Reader<'_>, defaults: &[Entry]) {
    if let Some(node) = get(defaults, "auth") {
        auth(reader, node);
    }
    common(reader, defaults);
}

/// Reads what does not depend on the store; name, store and credentials are left open.
fn common(reader: &mut Reader<'_>, entries: &[Entry]) -> TargetSettings {
    TargetSettings {
        name: String::new(),
        store: Store::Local {
            dir: std::path::PathBuf::new(),
            store: BTreeMap::new(),
        },
        auth: Auth::None,
        tls: get(entries, "tls")
            .and_then(|node| tls(reader, node))
            .unwrap_or_default(),
        proxy: get(entries, "proxy").and_then(|node| web_url(reader, "proxy", node)),
        headers: get(entries, "headers")
            .map(|node| headers(reader, node))
            .unwrap_or_default(),
        quota_project: get(entries, "quota_project")
            .and_then(|node| segment(reader, "quota_project", node)),
        rate: get(entries, "rate").and_then(|node| reader.unit("rate", node, str::parse::<Rate>)),
        bytes_rate: get(entries, "bytes_rate")
            .and_then(|node| reader.unit("bytes_rate", node, parse_bytes_rate)),
        concurrency: get(entries, "concurrency")
            .and_then(|node| reader.number("concurrency", node, &(1..=1024)))
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(DEFAULT_CONCURRENCY),
        timeout: get(entries, "timeout")
            .and_then(|node| duration(reader, "timeout", node))
            .unwrap_or(DEFAULT_TIMEOUT),
        retry: get(entries, "retry")
            .and_then(|node| retry(reader, node))
            .unwrap_or(DEFAULT_RETRY),
        give_up_after: get(entries, "give_up_after")
            .and_then(|node| duration(reader, "give_up_after", node))
            .unwrap_or(DEFAULT_GIVE_UP_AFTER),
    }
}

/// Reads which store it is, and the place of its URL.
fn store(
    reader: &mut Reader<'_>,
    what: &str,
    spot: Spot,
    entries: &[Entry],
) -> Option<(Store, Spot)> {
    let kinds: Vec<&Entry> = entries
        .iter()
        .filter(|entry| ["google", "fhir", "local"].contains(&entry.key.as_str()))
        .collect();
    let entry = match kinds.as_slice() {
        [only] => *only,
        [] => {
            reader.report(
                spot,
                Diagnostic::error(format!("{what} names no store"))
                    .hint("add one of `google: { … }`, `fhir: { url: … }` and `local: DIR`"),
            );
            return None;
        }
        [first, second, ..] => {
            reader.report(
                second.key_spot,
                Diagnostic::error(format!(
                    "{what} names two stores, `{}` and `{}`",
                    first.key, second.key
                ))
                .hint("make each a target of its own"),
            );
            return None;
        }
    };
    match entry.key.as_str() {
        "google" => google(reader, entry, get(entries, "ensure")),
        "fhir" => {
            let map = reader.map("fhir", &entry.node, Some(schema::Fhir::KEYS))?;
            let Some(node) = get(map, "url") else {
                reader.report_missing("`fhir`", entry.key_spot, "url");
                return None;
            };
            let url = web_url(reader, "url", node)?;
            Some((Store::Fhir { url }, node.spot))
        }
        _ => local(reader, entry),
    }
}

fn google(reader: &mut Reader<'_>, entry: &Entry, ensure: Option<&Node>) -> Option<(Store, Spot)> {
    let ensure = ensure.and_then(|node| self::ensure(reader, node));
    let map = reader.map("google", &entry.node, Some(schema::Google::KEYS))?;
    let mut part = |key: &str| {
        if let Some(node) = get(map, key) {
            return segment(reader, key, node);
        }
        reader.report_missing("`google`", entry.key_spot, key);
        None
    };
    let (project, location, dataset, fhir_store) = (
        part("project"),
        part("location"),
        part("dataset"),
        part("fhir_store"),
    );
    let endpoint = get(map, "endpoint");
    let url = match endpoint {
        Some(node) => web_url(reader, "endpoint", node),
        None => Url::parse(GOOGLE_ENDPOINT).ok(),
    };
    let store = Store::GoogleFhir(GoogleFhir {
        endpoint: url?,
        project: project?,
        location: location?,
        dataset: dataset?,
        fhir_store: fhir_store?,
        ensure,
    });
    Some((store, endpoint.map_or(entry.key_spot, |node| node.spot)))
}

/// Reads a part of a resource name. Which ids exist is the API's to say; what would change the path is refused.
fn segment(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<String> {
    let text = reader.text(key, node)?;
    let stray = |c: char| c.is_whitespace() || c.is_control() || "/\\?#%".contains(c);
    if text.value.contains(stray) || text.value == "." || text.value == ".." {
        let message = format!("`{}` is not an id for `{key}`", text.written);
        let hint = "write the id alone, without slashes or spaces";
        reader.report(text.spot, Diagnostic::error(message).hint(hint));
        return None;
    }
    Some(text.value)
}

fn local(reader: &mut Reader<'_>, entry: &Entry) -> Option<(Store, Spot)> {
    let (dir, store) = match &entry.node.value {
        Value::Map(_) => {
            let map = reader.map("local", &entry.node, Some(schema::LocalStore::KEYS))?;
            let store = get(map, "store")
                .and_then(|node| fhir_store(reader, "store", node))
                .unwrap_or_default();
            let Some(dir) = get(map, "dir") else {
                reader.report_missing("`local`", entry.key_spot, "dir");
                return None;
            };
            (reader.path("dir", dir)?, store)
        }
        _ => (reader.path("local", &entry.node)?, BTreeMap::new()),
    };
    Some((Store::Local { dir, store }, entry.node.spot))
}

type FhirStore = BTreeMap<String, serde_json::Value>;

fn ensure(reader: &mut Reader<'_>, node: &Node) -> Option<FhirStore> {
    let mut store = if let Value::Map(_) = node.value {
        fhir_store(reader, "ensure", node)?
    } else if reader.boolean("ensure", node)? {
        BTreeMap::new()
    } else {
        return None;
    };
    // The API refuses a store without a version.
    store
        .entry("version".to_owned())
        .or_insert_with(|| "R4".into());
    Some(store)
}

fn fhir_store(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<FhirStore> {
    const VERSIONS: [(&str, &str); 4] = [
        ("R4", "R4"),
        ("R5", "R5"),
        ("STU3", "STU3"),
        ("DSTU2", "DSTU2"),
    ];
    const PARSING: [(&str, &str); 2] = [("ENABLED", "ENABLED"), ("DISABLED", "DISABLED")];
    let mut store = BTreeMap::new();
    for entry in reader.map(name, node, Some(schema::FhirStore::KEYS))? {
        let Entry { key, node, .. } = entry;
        let value = match key.as_str() {
            "version" => reader.word(key, node, &VERSIONS).map(Into::into),
            "complexDataTypeReferenceParsing" => reader.word(key, node, &PARSING).map(Into::into),
            "notificationConfigs" | "streamConfigs" => {
                if !matches!(node.value, Value::List(_) | Value::Null) {
                    let message = format!("`{key}` must be a list");
                    reader.report(entry.key_spot, Diagnostic::error(message));
                }
                reader.json(key, node)
            }
            "labels" => reader.map(key, node, None).map(|labels| {
                let label = |label: &Entry| {
                    let text = reader.text(&label.key, &label.node)?;
                    Some((label.key.clone(), text.value.into()))
                };
                serde_json::Value::Object(labels.iter().filter_map(label).collect())
            }),
            key if key.ends_with("Config") || key.ends_with("Destination") => reader
                .map(key, node, None)
                .and_then(|_| reader.json(key, node)),
            key => reader.boolean(key, node).map(Into::into),
        };
        if let Some(value) = value {
            store.insert(key.clone(), value);
        }
    }
    Some(store)
}

fn web_url(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<Url> {
    let text = reader.text(key, node)?;
    let example = if key == "proxy" {
        "http://proxy.example:3128"
    } else {
        "https://fhir.example/r4"
    };
    let url = match Url::parse(&text.value) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => url,
        _ => {
            let message = format!("`{key}` must be a URL that begins with `http://` or `https://`");
            // A URL that does not parse may still hold a password.
            if text.value.contains('@') {
                reader.hide(node);
            }
            let hint = format!("write it like `{example}`");
            reader.report(node.spot, Diagnostic::error(message).hint(hint));
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        reader.hide(node);
        let hint = if key == "proxy" {
            "leave `proxy` out, and give it in the environment (`HTTPS_PROXY`)"
        } else {
            "take them out, and name their place: `auth: { basic: { user: …, password: { env: NAME } } }`"
        };
        let message = format!("`{key}` holds credentials");
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        reader.hide(node);
        let message = format!("`{key}` must end with its path");
        let hint = "take out what begins with `?` or `#`";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
        return None;
    }
    Some(url)
}

/// Tells whether what is sent there can be read on the way.
fn is_in_the_clear(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !loopback
}

fn duration(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<Duration> {
    let duration = reader.unit(key, node, parse_duration)?;
    if duration.is_zero() {
        let message = format!("`{key}` must be more than nothing");
        reader.report(node.spot, Diagnostic::error(message));
    }
    Some(duration)
}

fn retry(reader: &mut Reader<'_>, node: &Node) -> Option<Retry> {
    let map = reader.map("retry", node, Some(schema::Retry::KEYS))?;
    let attempts = get(map, "attempts")
        .and_then(|node| reader.number("attempts", node, &(1..=100)))
        .and_then(|number| u32::try_from(number).ok());
    let base = get(map, "base").and_then(|node| duration(reader, "base", node));
    let max = get(map, "max").and_then(|node| duration(reader, "max", node));
    let retry = Retry {
        attempts: attempts.unwrap_or(DEFAULT_RETRY.attempts),
        base: base.unwrap_or(DEFAULT_RETRY.base),
        max: max.unwrap_or(DEFAULT_RETRY.max),
    };
    if retry.base > retry.max {
        let at = get(map, "base").or(get(map, "max")).unwrap_or(node);
        let message = "`base` is longer than `max`";
        let hint = "waits double from `base` to `max`; they are 500ms and 32s unless set";
        reader.report(at.spot, Diagnostic::error(message).hint(hint));
    }
    Some(retry)
}

fn tls(reader: &mut Reader<'_>, node: &Node) -> Option<Tls> {
    let map = reader.map("tls", node, Some(schema::Tls::KEYS))?;
    let mut path = |key: &str| get(map, key).and_then(|node| reader.path(key, node));
    let tls = Tls {
        ca: path("ca"),
        certificate: path("certificate"),
        key: path("key"),
    };
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if get(map, one).is_some() && get(map, other).is_none() {
            reader.report_missing(&format!("`tls` has `{one}` but it"), node.spot, other);
        }
    }
    Some(tls)
}

fn headers(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for entry in reader.map("headers", node, None).unwrap_or_default() {
        let name = entry.key.to_ascii_lowercase();
        if ["authorization", "proxy-authorization", "cookie"].contains(&name.as_str()) {
            reader.hide(&entry.node);
            let message = format!("`{}` is not set by `headers`", entry.key);
            let hint = "name the place of the secret: `auth: { bearer: { env: NAME } }`";
            reader.report(entry.key_spot, Diagnostic::error(message).hint(hint));
            continue;
        }
        if speaks_of_secrets(&name) {
            reader.hide(&entry.node);
            let message = format!(
                "the value of `{}` is kept in plans and runs as it is",
                entry.key
            );
            let hint = "if it is a secret, use `auth` instead";
            reader.report(entry.key_spot, Diagnostic::warning(message).hint(hint));
        }
        if OWN_HEADERS.contains(&name.as_str()) {
            let message = format!("`{}` is set by Stoker", entry.key);
            reader.report(
                entry.key_spot,
                Diagnostic::error(message).hint("leave it out"),
            );
        }
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("{:?} is not the name of a header", entry.key);
            reader.report(entry.key_spot, Diagnostic::error(message));
        }
        let Some(text) = reader.text(&entry.key, &entry.node) else {
            continue;
        };
        if http::HeaderValue::from_str(&text.value).is_err() {
            let message = format!("the value of `{}` cannot stand in a header", entry.key);
            let hint = "it holds a line break or another control character";
            reader.report(text.spot, Diagnostic::error(message).hint(hint));
        }
        headers.insert(entry.key.clone(), text.value);
    }
    headers
}

const AUTH_FORMS: &str = "write `none`, `google`, `{ google: { credentials: FILE } }`, `{ bearer: { env: NAME } }` \
     or `{ basic: { user: …, password: { env: NAME } } }`";

fn auth(reader: &mut Reader<'_>, node: &Node) -> Option<Auth> {
    let Value::Map(_) = node.value else {
        let word = match &node.value {
            Value::Text(_) => reader.text("auth", node)?.value,
            _ => String::new(),
        };
        return match word.as_str() {
            "none" => Some(Auth::None),
            "google" => Some(Auth::Google { credentials: None }),
            _ => {
                // It may be a token.
                reader.hide(node);
                let message = "`auth` is not a way to authenticate that is known";
                reader.report(node.spot, Diagnostic::error(message).hint(AUTH_FORMS));
                None
            }
        };
    };
    let entry = only_entry(reader, "auth", node, schema::AuthSettings::KEYS)?;
    match entry.key.as_str() {
        "google" => {
            let map = reader.map("google", &entry.node, Some(schema::GoogleAuth::KEYS))?;
            let Some(node) = get(map, "credentials") else {
                reader.report_missing("`google`", entry.key_spot, "credentials");
                return None;
            };
            let credentials = Some(reader.path("credentials", node)?);
            Some(Auth::Google { credentials })
        }
        "bearer" => secret(reader, "bearer", &entry.node).map(Auth::Bearer),
        _ => {
            let map = reader.map("basic", &entry.node, Some(schema::Basic::KEYS))?;
            let user = get(map, "user");
            let password = get(map, "password");
            for (key, node) in [("user", user), ("password", password)] {
                if node.is_none() {
                    reader.report_missing("`basic`", entry.key_spot, key);
                }
            }
            let password = password.and_then(|node| secret(reader, "password", node));
            let user = user.and_then(|node| reader.text("user", node));
            Some(Auth::Basic {
                user: user?.value,
                password: password?,
            })
        }
    }
}

/// Reads a map that holds exactly one of some keys. What else stands in it may be a secret and is not shown.
fn only_entry<'n>(
    reader: &mut Reader<'_>,
    name: &str,
    node: &'n Node,
    keys: &[&'static str],
) -> Option<&'n Entry> {
    let entries = reader.map(name, node, None)?;
    let (known, unknown): (Vec<_>, Vec<_>) = entries
        .iter()
        .partition(|entry| keys.contains(&entry.key.as_str()));
    for entry in &unknown {
        reader.hide(&entry.node);
        reader.report_unknown(entry, keys);
    }
    match known.as_slice() {
        [only] => Some(*only),
        [] => {
            if unknown.is_empty() {
                reader.report(node.spot, Diagnostic::error(format!("`{name}` is empty")));
            }
            None
        }
        [first, second, ..] => {
            let message = format!("`{name}` has both `{}` and `{}`", first.key, second.key);
            reader.report(
                second.key_spot,
                Diagnostic::error(message).hint("keep one of them"),
            );
            None
        }
    }
}

/// Reads where a secret is kept. A secret itself is refused, and shown nowhere.
fn secret(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<SecretPlace> {
    let forms = format!(
        "name the variable or the file that holds it: `{name}: {{ env: NAME }}` or `{name}: {{ file: PATH }}`"
    );
    let Value::Map(_) = &node.value else {
        if let Value::Null = node.value {
            let message = format!("`{name}` is empty");
            reader.report(node.spot, Diagnostic::error(message).hint(forms));
            return None;
        }
        reader.hide(node);
        let message = format!("`{name}` is written as a literal, and a manifest holds no secrets");
        reader.report(node.spot, Diagnostic::error(message).hint(forms));
        return None;
    };
    let entry = only_entry(reader, name, node, schema::SecretPlace::KEYS)?;
    if entry.key == "file" {
        return reader.path("file", &entry.node).map(SecretPlace::File);
    }
    match &entry.node.value {
        Value::Text(variable) if substitute::is_name(variable) => {
            Some(SecretPlace::Env(variable.clone()))
        }
        _ => {
            // It may be the secret itself.
            reader.hide(&entry.node);
            let message = "`env` must be the name of an environment variable";
            let hint = "write the name alone, such as `FHIR_TOKEN`, without `$`";
            reader.report(entry.node.spot, Diagnostic::error(message).hint(hint));
            None
        }
    }
}
