//! Paths as people read them: `resources/a.json`, not `manifests/../resources/a.json`.

use std::path::{Component, Path, PathBuf};

/// Resolves `.` and `..` by the text alone, so that one file has one name. A path that comes to nothing is `.`.
///
/// Behind a link to a folder `..` leads elsewhere; [`tidy`] looks.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(normal.components().next_back(), Some(Component::Normal(_))) =>
            {
                normal.pop();
            }
            _ => normal.push(component),
        }
    }
    if normal.as_os_str().is_empty() {
        normal.push(".");
    }
    normal
}

/// Returns the shortest way to write a path that leads to the same place; the path itself where a link stands in between.
pub fn tidy(path: &Path) -> PathBuf {
    let short = normal(path);
    // Only on a way up can a link lead elsewhere.
    if !path.components().any(|part| part == Component::ParentDir) {
        return short;
    }
    let folder_of = |path: &Path| {
        // A path that does not exist yet lies in the first folder above it that does.
        path.ancestors().find_map(|folder| {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            fs_err::canonicalize(folder).ok()
        })
    };
    if folder_of(&short) == folder_of(path) {
        short
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved() {
        for (path, short) in [
            ("manifests/../resources/a.json", "resources/a.json"),
            ("./a/./b", "a/b"),
            ("../../a", "../../a"),
            ("a/..", "."),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(normal(Path::new(path)), Path::new(short));
        }
    }

    #[test]
    fn a_link_to_a_folder_is_no_detour() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for made in ["far/inner", "near"] {
            fs_err::create_dir_all(at(made)).unwrap();
        }
        fs_err::write(at("far/a.json"), "").unwrap();
        fs_err::os::unix::fs::symlink(at("far/inner"), at("near/link")).unwrap();
        // The path `..` behind the link leads to `far`, not `near`.
        assert_eq!(tidy(&at("near/link/../a.json")), at("near/link/../a.json"));
        assert_eq!(tidy(&at("near/../far/a.json")), at("far/a.json"));
    }
}
