//! Ways to prove to a target who we are. A secret in a manifest is refused, and shown nowhere.

use super::{
    Auth, SecretPlace,
    document::{Entry, Node, Value},
    reader::{Reader, get},
    schema, substitute,
};
use crate::diagnostic::Diagnostic;

const AUTH_FORMS: &str = "write `none`, `google`, `{ google: { credentials: FILE } }`, `{ bearer: { env: NAME } }` \
     or `{ basic: { user: …, password: { env: NAME } } }`";

/// Reads the settings by which Stoker proves who we are.
pub(super) fn auth(reader: &mut Reader<'_>, node: &Node) -> Option<Auth> {
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

/// Reads a map that holds exactly one of some keys. Another key or value in it may be a secret and is not shown.
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
