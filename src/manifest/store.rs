//! The kind of store that a target is, and the settings of stores.

use std::collections::BTreeMap;

use url::Url;

use super::{
    Format, GoogleStore, Store,
    document::{Entry, Node, Spot, Value},
    reader::{Reader, get},
    schema,
};
use crate::diagnostic::Diagnostic;

/// The Healthcare API (healthcare-api reference, "Base and common parameters").
pub const GOOGLE_ENDPOINT: &str = "https://healthcare.googleapis.com/";

/// Reads which store it is, and the place of its URL.
pub(super) fn store(
    reader: &mut Reader<'_>,
    what: &str,
    spot: Spot,
    entries: &[Entry],
) -> Option<(Store, Spot)> {
    let kinds: Vec<&Entry> = entries
        .iter()
        .filter(|entry| {
            ["google", "fhir", "local", "dicomweb", "mllp"].contains(&entry.key.as_str())
        })
        .collect();
    let entry = match kinds.as_slice() {
        [only] => *only,
        [] => {
            reader.report(
                spot,
                Diagnostic::error(format!("{what} names no store"))
                    .hint("add one of `google: { … }`, `fhir: { url: … }`, `dicomweb: { url: … }`, `mllp: { address: … }` and `local: DIR`"),
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
        "dicomweb" => {
            let map = reader.map("dicomweb", &entry.node, Some(schema::Dicomweb::KEYS))?;
            let Some(node) = get(map, "url") else {
                reader.report_missing("`dicomweb`", entry.key_spot, "url");
                return None;
            };
            let url = web_url(reader, "url", node)?;
            Some((Store::Dicomweb { url }, node.spot))
        }
        "mllp" => {
            let map = reader.map("mllp", &entry.node, Some(schema::Mllp::KEYS))?;
            let Some(node) = get(map, "address") else {
                reader.report_missing("`mllp`", entry.key_spot, "address");
                return None;
            };
            let address = address(reader, node)?;
            // Encryption hangs on the target's settings of TLS as well: it is read with those.
            let tls = false;
            Some((Store::Mllp { address, tls }, node.spot))
        }
        _ => local(reader, entry),
    }
}

/// Reads a host and a port.
fn address(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text("address", node)?;
    let url = Url::parse(&format!("mllp://{}", text.value));
    let is_bare = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && matches!(url.path(), "" | "/")
    };
    match url {
        Ok(url) if url.has_host() && url.port().is_some() && is_bare(&url) => Some(text.value),
        _ => {
            let message = format!("`{}` is not an address for `mllp`", text.written);
            let hint = "write host and port, like `mllp.example:2575`";
            reader.report(text.spot, Diagnostic::error(message).hint(hint));
            None
        }
    }
}

/// The keys by which a kind of store is named.
const STORE_KEYS: [(&str, Format); 3] = [
    ("fhir_store", Format::Fhir),
    ("dicom_store", Format::Dicom),
    ("hl7v2_store", Format::Hl7v2),
];

/// Reads which store of a dataset is meant, by the one key that names it.
fn which(
    reader: &mut Reader<'_>,
    what: &str,
    map: &[Entry],
) -> Result<Option<(Format, String)>, ()> {
    let format = |entry: &Entry| {
        let of_key = STORE_KEYS.iter().find(|(key, _)| *key == entry.key);
        of_key.map(|(_, format)| *format)
    };
    let named: Vec<(&Entry, Format)> = map
        .iter()
        .filter_map(|entry| Some((entry, format(entry)?)))
        .collect();
    match named.as_slice() {
        [] => Ok(None),
        [(entry, format)] => match segment(reader, &entry.key, &entry.node) {
            Some(id) => Ok(Some((*format, id))),
            None => Err(()),
        },
        [(first, _), (second, _), ..] => {
            let message = format!(
                "{what} names two stores, `{}` and `{}`",
                first.key, second.key
            );
            let hint = "make each a target of its own";
            reader.report(second.key_spot, Diagnostic::error(message).hint(hint));
            Err(())
        }
    }
}

fn google(reader: &mut Reader<'_>, entry: &Entry, ensure: Option<&Node>) -> Option<(Store, Spot)> {
    let map = reader.map("google", &entry.node, Some(schema::Google::KEYS))?;
    let named = which(reader, "`google`", map);
    let format = match &named {
        Ok(Some((format, _))) => *format,
        _ => Format::Fhir,
    };
    let ensure = ensure.and_then(|node| self::ensure(reader, node, format));
    let mut part = |key: &str| {
        if let Some(node) = get(map, key) {
            return segment(reader, key, node);
        }
        reader.report_missing("`google`", entry.key_spot, key);
        None
    };
    let (project, location, dataset) = (part("project"), part("location"), part("dataset"));
    if let Ok(None) = named {
        reader.report_missing("`google`", entry.key_spot, "fhir_store");
    }
    let endpoint = get(map, "endpoint");
    let url = match endpoint {
        Some(node) => web_url(reader, "endpoint", node),
        None => Url::parse(GOOGLE_ENDPOINT).ok(),
    };
    let store = Store::Google(GoogleStore {
        endpoint: url?,
        project: project?,
        location: location?,
        dataset: dataset?,
        store: named.ok().flatten()?.1,
        format,
        ensure,
    });
    Some((store, endpoint.map_or(entry.key_spot, |node| node.spot)))
}

/// Reads a part of a resource name. The API alone knows which ids exist; a text that would change the path is refused.
pub(super) fn segment(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<String> {
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
    let (dir, store, named) = match &entry.node.value {
        Value::Map(_) => {
            let map = reader.map("local", &entry.node, Some(schema::LocalStore::KEYS))?;
            let named = which(reader, "`local`", map).ok()?;
            let format = named.as_ref().map_or(Format::Fhir, |(format, _)| *format);
            let store = get(map, "store")
                .and_then(|node| fields(reader, "store", node, format))
                .unwrap_or_default();
            let Some(dir) = get(map, "dir") else {
                reader.report_missing("`local`", entry.key_spot, "dir");
                return None;
            };
            (reader.path("dir", dir)?, store, named)
        }
        _ => (reader.path("local", &entry.node)?, BTreeMap::new(), None),
    };
    let (format, id) = match named {
        Some((format, id)) => (format, Some(id).filter(|id| id != format.usual_id())),
        None => (Format::Fhir, None),
    };
    let store = Store::Local {
        dir,
        store,
        format,
        id,
    };
    Some((store, entry.node.spot))
}

/// Settings of a store, by the Healthcare API's own names.
type Fields = BTreeMap<String, serde_json::Value>;

fn ensure(reader: &mut Reader<'_>, node: &Node, format: Format) -> Option<Fields> {
    let mut store = if let Value::Map(_) = node.value {
        fields(reader, "ensure", node, format)?
    } else if reader.boolean("ensure", node)? {
        BTreeMap::new()
    } else {
        return None;
    };
    if format != Format::Fhir {
        return Some(store);
    }
    // The API refuses a store without a version.
    store
        .entry("version".to_owned())
        .or_insert_with(|| "R4".into());
    Some(store)
}

fn fields(reader: &mut Reader<'_>, name: &str, node: &Node, format: Format) -> Option<Fields> {
    const VERSIONS: [(&str, &str); 4] = [
        ("R4", "R4"),
        ("R5", "R5"),
        ("STU3", "STU3"),
        ("DSTU2", "DSTU2"),
    ];
    const PARSING: [(&str, &str); 2] = [("ENABLED", "ENABLED"), ("DISABLED", "DISABLED")];
    let keys = match format {
        Format::Fhir => schema::FhirStore::KEYS,
        Format::Dicom => schema::DicomStore::KEYS,
        Format::Hl7v2 => schema::Hl7V2Store::KEYS,
    };
    let mut store = BTreeMap::new();
    for entry in reader.map(name, node, Some(keys))? {
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

/// Reads an address: http or https, and nothing secret in it.
pub(super) fn web_url(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<Url> {
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
