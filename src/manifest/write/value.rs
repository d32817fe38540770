//! Values as a manifest writes them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_yaml::Value;

use crate::unit::{ByteSize, Rate, Window};

/// A path that holds from any folder: the manifest stands in another one than that which it repeats.
pub(super) fn shown(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// Renders a duration exactly, as a manifest writes it.
pub(super) fn duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1000.0)
    }
}

/// Renders a rate in bytes exactly: `ByteSize` rounds.
pub(super) fn bytes_rate(rate: Rate) -> String {
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

pub(super) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(k, v)| (Value::from(k), v));
    Value::Mapping(entries.collect())
}

pub(super) fn object(fields: &BTreeMap<String, serde_json::Value>) -> Value {
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
pub(super) fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Sequence(values) => Value::Sequence(values.into_iter().map(escaped).collect()),
        Value::Mapping(fields) => {
            Value::Mapping(fields.into_iter().map(|(k, v)| (k, escaped(v))).collect())
        }
        other => other,
    }
}
