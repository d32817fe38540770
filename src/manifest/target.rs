//! Targets, and how to talk to them. The store itself is read by `store`, the credentials by `auth`.

use std::{collections::BTreeMap, time::Duration};

use url::{Host, Url};

use super::{
    Auth, Concurrency, Format, Retry, Store, TargetSettings, Tls,
    auth::auth,
    document::{Entry, Node, Value},
    name::unfit,
    parts::over,
    reader::{Reader, get, speaks_of_secrets},
    schema,
    store::{segment, store, web_url},
    substitute,
};
use crate::{
    diagnostic::Diagnostic,
    unit::{Rate, parse_bytes_rate, parse_duration},
};

/// The timeout of Google's own samples for FHIR requests.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Truncated exponential backoff up to 32 s is Google's advice; eight attempts reach it once.
const DEFAULT_RETRY: Retry = Retry {
    attempts: 8,
    base: Duration::from_millis(500),
    max: Duration::from_secs(32),
};

/// Longer than a restart of a store takes, shorter than a person's patience with a run that stands still.
const DEFAULT_GIVE_UP_AFTER: Duration = Duration::from_mins(10);

/// The part of what a rate allows in its window that one Bundle may have, so that it does not use up the window at
/// once (design §4).
const RATE_PART: u32 = 10;

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
    let mut common = common(reader, &entries);
    let (mut store, url_spot) = store?;
    let mut auth = auth;
    if let Store::Mllp { tls, .. } = &mut store {
        *tls = encryption(reader, own, &mut common.tls);
        without_http(reader, own);
        auth = Some(Auth::None);
    }
    let url = match &store {
        Store::Google(google) => Some(&google.endpoint),
        Store::Fhir { url } | Store::Dicomweb { url } => Some(url),
        // Its credentials, where it has any, are those of TLS.
        Store::Local { .. } | Store::Mllp { .. } => None,
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

/// Reads whether connections of MLLP are encrypted: as `mllp` says itself, or else where there are settings of TLS.
fn encryption(reader: &mut Reader<'_>, own: &[Entry], settings: &mut Tls) -> bool {
    let map = get(own, "mllp").map(|node| &node.value);
    let said = match map {
        Some(Value::Map(map)) => get(map, "tls"),
        _ => None,
    };
    let Some(node) = said else {
        return *settings != Tls::default();
    };
    let of_target = own.iter().find(|entry| entry.key == "tls");
    if matches!(node.value, Value::Map(_)) {
        if let Some(other) = of_target {
            let message = "the target has settings of TLS, and `mllp` has others";
            let hint = "write them in one of the two places";
            reader.report(other.key_spot, Diagnostic::error(message).hint(hint));
        }
        *settings = tls(reader, node).unwrap_or_default();
        return true;
    }
    let is_encrypted = reader.boolean("tls", node).unwrap_or(true);
    if !is_encrypted {
        if let Some(other) = of_target {
            let message = "`tls` has no effect: `mllp: { tls: false }` does not encrypt";
            reader.report(
                other.key_spot,
                Diagnostic::warning(message).hint("leave one of the two out"),
            );
        }
        *settings = Tls::default();
    }
    is_encrypted
}

/// Names the keys of a target that mean something for HTTP only.
fn without_http(reader: &mut Reader<'_>, own: &[Entry]) {
    for entry in own {
        let hint = match entry.key.as_str() {
            "auth" => "leave it out; a receiver knows its senders by a client's certificate: `tls`",
            "headers" | "quota_project" => "leave it out",
            "proxy" => "leave it out; connections go straight to the receiver",
            _ => continue,
        };
        let message = format!("`{}` has no effect with `mllp`", entry.key);
        reader.report(entry.key_spot, Diagnostic::warning(message).hint(hint));
    }
}

/// Reads defaults for their problems only.
pub(super) fn settings_of_defaults(reader: &mut Reader<'_>, defaults: &[Entry]) {
    if let Some(node) = get(defaults, "auth") {
        auth(reader, node);
    }
    common(reader, defaults);
}

/// A header whose value cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header `{name}` {why}")]
pub struct HeaderError {
    name: String,
    why: String,
}

impl TargetSettings {
    /// Returns how many entries a Bundle that Stoker fills may have under the rate; none where there is no rate.
    pub fn rate_entries(&self) -> Option<u32> {
        let rate = self.rate?;
        Some((rate.amount.get() / RATE_PART).max(1))
    }

    /// Returns the headers with their variables filled in.
    ///
    /// # Errors
    ///
    /// When a variable is not set, or the value is not a header's; names the header, and never a value.
    pub fn completed_headers(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, String>, HeaderError> {
        let complete = |(name, written): (&String, &String)| {
            let completed = substitute::complete(written, env).map_err(|problems| HeaderError {
                name: name.clone(),
                why: match problems.first() {
                    Some(substitute::Problem::Unset { name, .. }) => {
                        format!("needs the variable {name}, which is not set")
                    }
                    _ => "has a `${` that no variable follows".to_owned(),
                },
            })?;
            Ok((name.clone(), completed.text))
        };
        self.headers.iter().map(complete).collect()
    }

    /// Returns the settings of a target of which only the store and the credentials are given.
    pub fn new(name: &str, store: Store, auth: Auth) -> Self {
        Self {
            name: name.to_owned(),
            store,
            auth,
            tls: Tls::default(),
            proxy: None,
            headers: BTreeMap::new(),
            quota_project: None,
            rate: None,
            bytes_rate: None,
            concurrency: Concurrency::default(),
            timeout: DEFAULT_TIMEOUT,
            retry: DEFAULT_RETRY,
            give_up_after: DEFAULT_GIVE_UP_AFTER,
        }
    }
}

/// Reads what does not depend on the store; name, store and credentials are left open.
fn common(reader: &mut Reader<'_>, entries: &[Entry]) -> TargetSettings {
    TargetSettings {
        name: String::new(),
        store: Store::Local {
            dir: std::path::PathBuf::new(),
            store: BTreeMap::new(),
            format: Format::default(),
            id: None,
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
            .and_then(|node| concurrency(reader, node))
            .unwrap_or_default(),
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

/// Reads a number, or the two between which it is found.
fn concurrency(reader: &mut Reader<'_>, node: &Node) -> Option<Concurrency> {
    if !matches!(node.value, Value::Map(_)) {
        let number = reader.number("concurrency", node, &(1..=1024))?;
        return u32::try_from(number).ok().map(Concurrency::fixed);
    }
    let map = reader.map("concurrency", node, Some(schema::ConcurrencyRange::KEYS))?;
    let mut number = |key: &str| {
        let number = reader.number(key, get(map, key)?, &(1..=1024))?;
        u32::try_from(number).ok()
    };
    let (min, max) = (number("min"), number("max"));
    let default = Concurrency::default();
    let concurrency = Concurrency {
        min: min.unwrap_or(default.min),
        max: max.unwrap_or(default.max),
    };
    if concurrency.min > concurrency.max {
        let at = get(map, "min").or(get(map, "max")).unwrap_or(node);
        let message = "`min` is more than `max`";
        let hint = "the number is found between the two; they are 1 and 256 unless set";
        reader.report(at.spot, Diagnostic::error(message).hint(hint));
    }
    Some(concurrency)
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
        // Kept as it is written: plans and runs hold the names of variables, never their values.
        let Value::Text(written) = &entry.node.value else {
            continue;
        };
        if speaks_of_secrets(&name) && substitute::is_plain(written) {
            let message = format!(
                "the value of `{}` is kept in plans and runs as it is",
                entry.key
            );
            let hint =
                "if it is a secret, put it into a variable and write `${NAME}`, or use `auth`";
            reader.report(entry.key_spot, Diagnostic::warning(message).hint(hint));
        }
        headers.insert(entry.key.clone(), written.clone());
    }
    headers
}
