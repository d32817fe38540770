//! JSON Patch (RFC 6902).

use super::json::Json;
use super::reply::Refusal;

fn wrong(index: usize, what: &str) -> Refusal {
    Refusal::fhir(
        http::StatusCode::BAD_REQUEST,
        "value",
        "invalid_patch",
        format!("operation {index} of the patch: {what}"),
    )
}

/// Applies all operations, or fails at the first that cannot be.
pub(super) fn apply(document: &mut Json, patch: &Json) -> Result<(), Refusal> {
    let Json::List(operations) = patch else {
        return Err(Refusal::fhir(
            http::StatusCode::BAD_REQUEST,
            "value",
            "invalid_patch",
            "a patch is an array of operations",
        ));
    };
    for (index, operation) in operations.iter().enumerate() {
        one(document, operation).map_err(|what| wrong(index, what))?;
        // Copies of copies grow exponentially, in size and in depth.
        if !fits(document, MAX_DEPTH, &mut { MAX_SIZE }) {
            return Err(wrong(index, "the resource becomes too large"));
        }
    }
    Ok(())
}

/// Size limit of a resource (Google's limit of a request), counted in bytes of strings and in values.
const MAX_SIZE: usize = 10 << 20;
/// Depth limit, the same as for documents that are read.
const MAX_DEPTH: usize = 128;

fn fits(value: &Json, depth: usize, left: &mut usize) -> bool {
    let own = match value {
        Json::Text(text) | Json::Number(text) => text.len() + 1,
        _ => 1,
    };
    let Some(rest) = left.checked_sub(own) else {
        return false;
    };
    *left = rest;
    match value {
        Json::List(items) => depth > 0 && items.iter().all(|item| fits(item, depth - 1, left)),
        Json::Object(object) => {
            depth > 0 && object.values().all(|item| fits(item, depth - 1, left))
        }
        _ => true,
    }
}

fn one(document: &mut Json, operation: &Json) -> Result<(), &'static str> {
    let operation = operation.as_object().ok_or("expected an object")?;
    let pointer = |name: &str| -> Result<Vec<String>, &'static str> {
        let text = operation
            .get(name)
            .and_then(Json::as_text)
            .ok_or("a pointer is missing")?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let rest = text
            .strip_prefix('/')
            .ok_or("a pointer begins with a slash")?;
        Ok(rest
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect())
    };
    let value = || {
        operation
            .get("value")
            .cloned()
            .ok_or("the value is missing")
    };
    let path = pointer("path")?;
    match operation.get("op").and_then(Json::as_text) {
        Some("add") => add(document, &path, value()?),
        Some("remove") => remove(document, &path).map(drop),
        Some("replace") => {
            *find(document, &path).ok_or("nothing is at the path")? = value()?;
            Ok(())
        }
        Some("move") => {
            let from = pointer("from")?;
            if path.starts_with(&from) && path.len() > from.len() {
                return Err("a value cannot be moved into itself");
            }
            let moved = remove(document, &from)?;
            add(document, &path, moved)
        }
        Some("copy") => {
            let copied = find(document, &pointer("from")?)
                .ok_or("nothing is at the path")?
                .clone();
            add(document, &path, copied)
        }
        Some("test") => {
            let there = find(document, &path).ok_or("nothing is at the path")?;
            if *there == value()? {
                Ok(())
            } else {
                Err("the tested value differs")
            }
        }
        _ => Err("unknown op"),
    }
}

/// Reads an index; leading zeros are not allowed.
fn position(step: &str) -> Option<usize> {
    let canonical =
        step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { step.parse().ok() } else { None }
}

fn find<'a>(document: &'a mut Json, path: &[String]) -> Option<&'a mut Json> {
    path.iter().try_fold(document, |at, step| match at {
        Json::Object(object) => object.get_mut(step),
        Json::List(items) => items.get_mut(position(step)?),
        _ => None,
    })
}

fn add(document: &mut Json, path: &[String], value: Json) -> Result<(), &'static str> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find(document, parents) {
        Some(Json::Object(object)) => {
            object.insert(last.clone(), value);
            Ok(())
        }
        Some(Json::List(items)) => {
            let at = if last == "-" {
                Some(items.len())
            } else {
                position(last)
            };
            let at = at
                .filter(|at| *at <= items.len())
                .ok_or("the index is out of range")?;
            items.insert(at, value);
            Ok(())
        }
        _ => Err("nothing is at the path"),
    }
}

fn remove(document: &mut Json, path: &[String]) -> Result<Json, &'static str> {
    let Some((last, parents)) = path.split_last() else {
        return Err("the whole resource cannot be removed");
    };
    match find(document, parents) {
        Some(Json::Object(object)) => object.remove(last).ok_or("nothing is at the path"),
        Some(Json::List(items)) => {
            let at = position(last)
                .filter(|at| *at < items.len())
                .ok_or("the index is out of range")?;
            Ok(items.remove(at))
        }
        _ => Err("nothing is at the path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(document: &str, patch: &str) -> Option<String> {
        let mut document = Json::parse(document.as_bytes()).unwrap();
        apply(&mut document, &Json::parse(patch.as_bytes()).unwrap()).ok()?;
        Some(document.to_string())
    }

    #[test]
    fn operations() {
        let good = [
            (
                r#"{"a":1}"#,
                r#"[{"op":"add","path":"/b","value":[1.0]},{"op":"add","path":"/b/-","value":2}]"#,
                r#"{"a":1,"b":[1.0,2]}"#,
            ),
            (
                r#"{"a":[1,2]}"#,
                r#"[{"op":"remove","path":"/a/0"}]"#,
                r#"{"a":[2]}"#,
            ),
            (
                r#"{"a/b":1}"#,
                r#"[{"op":"move","from":"/a~1b","path":"/c"}]"#,
                r#"{"c":1}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"copy","from":"/a","path":"/b"},{"op":"replace","path":"/a","value":3}]"#,
                r#"{"a":3,"b":1}"#,
            ),
            (
                r#"{"a":1}"#,
                r#"[{"op":"test","path":"/a","value":1}]"#,
                r#"{"a":1}"#,
            ),
        ];
        for (document, patch, expected) in good {
            assert_eq!(patched(document, patch).as_deref(), Some(expected));
        }
        let bad = [
            r#"{"op":"add"}"#,
            r#"[{"op":"remove","path":""}]"#,
            r#"[{"op":"add","path":"/a/01","value":1}]"#,
            r#"[{"op":"add","path":"/a/9","value":1}]"#,
            r#"[{"op":"move","from":"/a","path":"/a/0"}]"#,
            r#"[{"op":"test","path":"/a","value":2}]"#,
            r#"[{"op":"replace","path":"/x","value":2}]"#,
        ];
        let doubling = format!(
            "[{}]",
            [r#"{"op":"copy","from":"","path":"/b"}"#; 200].join(",")
        );
        assert_eq!(patched(r#"{"a":[1]}"#, &doubling), None);
        for patch in bad {
            assert_eq!(patched(r#"{"a":[1]}"#, patch), None, "{patch}");
        }
    }
}
