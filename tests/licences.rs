//! Licences and bans of `.deny.toml`, held against what the crate is built of: offline, and with no tool beyond cargo.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

/// Returns the texts in quotes of a list in `.deny.toml`, its lines of comments left out.
fn list(text: &str, key: &str) -> BTreeSet<String> {
    let begin = text.find(&format!("{key} = [")).unwrap();
    let rest = &text[begin..];
    let body = &rest[..rest.find("\n]").unwrap()];
    let lines = body
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Tells whether an SPDX expression is satisfied by licences that are allowed. Parentheses stand around alternatives only.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    let every = |part: &str| part.split(" OR ").any(|one| allowed.contains(one.trim()));
    if expression.contains('(') {
        return plain.split(" AND ").all(every);
    }
    let all = |one: &str| one.split(" AND ").all(|part| allowed.contains(part.trim()));
    plain.split(" OR ").any(all)
}

#[test]
fn every_dependency_is_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs_err::read_to_string(root.join(".deny.toml")).unwrap();
    let (allowed, denied) = (list(&text, "allow"), list(&text, "deny"));
    assert!(allowed.contains("MIT") && denied.contains("openssl"));
    // Only what is built here: what other systems need may not have been fetched.
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if denied.contains(name) {
            wrong.push(format!("{name} is denied"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            wrong.push(format!("{name} comes from {source:?}"));
        }
        match package["license"].as_str() {
            Some(licence) if is_allowed(licence, &allowed) => {}
            Some(licence) => wrong.push(format!("{name} is under {licence}")),
            None if package["license_file"].is_string() => {}
            None => wrong.push(format!("{name} names no licence")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_expression_is_read() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Zlib".to_owned()]);
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "MIT AND Zlib",
        "(GPL-3.0 OR MIT) AND Zlib",
    ] {
        assert!(is_allowed(expression, &allowed), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-2.0"] {
        assert!(!is_allowed(expression, &allowed), "{expression}");
    }
}
