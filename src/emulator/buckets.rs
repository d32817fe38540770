//! The folder that stands for Cloud Storage: `gs://bucket/object` is `buckets/bucket/object` in the store's directory.

use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;

use super::google::invalid;
use super::reply::Refusal;

/// The folder in the store's directory.
const FOLDER: &str = "buckets";

/// Splits `gs://bucket/object`.
fn split(uri: &str) -> Result<(&str, &str), Refusal> {
    let rest = uri.strip_prefix("gs://").unwrap_or_default();
    let (bucket, object) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    let is_inside = Path::new(bucket).components().all(is_plain)
        && Path::new(object).components().all(is_plain);
    if bucket.is_empty() || !is_inside {
        return Err(invalid(format!(
            "invalid Cloud Storage URI \"{uri}\": expected gs://{{bucket_id}}/{{object_id}}"
        )));
    }
    Ok((bucket, object))
}

/// Returns the folder of a bucket, and a matcher of the objects that a URI names, by their paths in it.
pub(super) fn objects(dir: &Path, uri: &str) -> Result<Vec<PathBuf>, Refusal> {
    let (bucket, object) = split(uri)?;
    let wrong = || {
        invalid(format!(
            "invalid wildcards in \"{uri}\": `*` and `?` stay within a folder, `**` stands at the end, before an extension at most"
        ))
    };
    if let Some(at) = object.find("**") {
        let (before, behind) = (object.get(..at), object.get(at + 2..).unwrap_or_default());
        let is_end =
            behind.is_empty() || (behind.starts_with('.') && !behind.contains(['*', '?', '/']));
        if !is_end || before.is_some_and(|before| before.contains(['*', '?'])) {
            return Err(wrong());
        }
    }
    // `**` reaches into folders, also behind a part of a name, which a glob writes otherwise.
    let crosses = object.contains("**");
    let literal = object.replace(['[', ']', '{', '}', '!'], "?");
    let pattern = literal.replace("**", "*");
    let glob = GlobBuilder::new(&pattern)
        .literal_separator(!crosses)
        .build();
    let glob = glob.map_err(|_| wrong())?.compile_matcher();
    let root = dir.join(FOLDER).join(bucket);
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        // An unreadable entry is no object.
        let Ok(entry) = entry else { continue };
        let inside = entry.path().strip_prefix(&root).unwrap_or(entry.path());
        if entry.file_type().is_file() && glob.is_match(inside) {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

/// Returns the folder that a prefix names.
pub(super) fn folder(dir: &Path, uri: &str) -> Result<PathBuf, Refusal> {
    let (bucket, object) = split(uri)?;
    Ok(dir.join(FOLDER).join(bucket).join(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_googles_wildcards() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("buckets/b");
        fs_err::create_dir_all(root.join("in/deep")).unwrap();
        for name in ["in/a.ndjson", "in/b.ndjson", "in/c.txt", "in/deep/d.ndjson"] {
            fs_err::write(root.join(name), "").unwrap();
        }
        for (uri, count) in [
            ("gs://b/in/a.ndjson", 1),
            ("gs://b/in/*", 3),
            ("gs://b/in/?.ndjson", 2),
            ("gs://b/in/**", 4),
            ("gs://b/in/**.ndjson", 3),
            ("gs://b/**", 4),
            ("gs://b/*", 0),
            ("gs://other/**", 0),
        ] {
            assert_eq!(objects(dir.path(), uri).unwrap().len(), count, "{uri}");
        }
        for uri in [
            "",
            "gs://",
            "b/in",
            "s3://b/x",
            "gs://b/../../x",
            "gs://../x",
            "gs://b//etc",
            "gs://b/**/x",
            "gs://b/*/**",
        ] {
            assert!(objects(dir.path(), uri).is_err(), "{uri}");
        }
        assert!(folder(dir.path(), "gs://b/../x").is_err());
    }
}
