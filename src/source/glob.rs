//! Globs of a load into files, in the order in which they were written.
//!
//! `*` and `?` stay within one folder, `**` crosses them, `{a,b}` and `[a-z]` choose. A later `!` pattern takes away what
//! stands before it. Hidden files and folders are found only where the pattern names their dot.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use super::{Form, Origin, SourceFile};
use crate::{
    diagnostic::{Diagnostic, Place},
    manifest::FilePattern,
    path::{normal, tidy},
    record::SourceId,
};

/// What globs came to.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The files, each once, in the order of the patterns and by path within one; numbered from 0.
    pub files: Vec<SourceFile>,
    /// Patterns (none of those with `!`) that match no file.
    pub unmatched: Vec<FilePattern>,
    /// Patterns that cannot be read, folders where files belong, folders that cannot be opened.
    pub problems: Vec<Diagnostic>,
}

/// Finds the files of a load.
pub fn find(patterns: &[FilePattern]) -> Listing {
    let mut listing = Listing::default();
    // By the written path, for exclusions; `known` by the real one, so that links lead to a file once.
    let mut found: Vec<(PathBuf, Origin)> = Vec::new();
    let mut known = HashSet::new();
    for pattern in patterns {
        if pattern.pattern == "-" {
            if known.insert(PathBuf::from("-")) {
                found.push((PathBuf::from("-"), Origin::Stdin));
            }
            continue;
        }
        let compiled = match Compiled::new(pattern) {
            Ok(compiled) => compiled,
            Err(message) => {
                listing.problems.push(problem(pattern, message));
                continue;
            }
        };
        if pattern.exclude {
            found.retain(|(key, origin)| {
                let keep = *origin == Origin::Stdin || !compiled.excludes(key);
                if let (false, Origin::File(path)) = (keep, origin) {
                    known.remove(&real(path));
                }
                keep
            });
            continue;
        }
        let mut matched = Vec::new();
        compiled.walk(pattern, &mut matched, &mut listing.problems);
        if matched.is_empty() {
            listing.unmatched.push(pattern.clone());
        }
        // Of several ways to a file the shortest is kept: not the one through a link to a folder above.
        matched.sort_by_cached_key(|path| (path.components().count(), path.clone()));
        matched.retain(|path| known.insert(real(path)));
        matched.sort();
        for path in matched {
            found.push((normal(&path), Origin::File(tidy(&path))));
        }
    }
    listing.files = (0..)
        .zip(found)
        .map(|(number, (_, origin))| SourceFile {
            id: SourceId(number),
            form: match &origin {
                Origin::File(path) => Form::of(path),
                Origin::Stdin => Form::Either,
            },
            origin,
        })
        .collect();
    listing
}

fn problem(pattern: &FilePattern, message: String) -> Diagnostic {
    let (file, line, column) = &pattern.place;
    Diagnostic::error(message).at(Place {
        file: file.clone(),
        line: *line,
        column: *column,
        length: pattern.pattern.chars().count().max(1),
    })
}

/// The file itself, behind all links.
fn real(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| normal(path))
}

/// A pattern, split into the folder it begins in and the glob below that.
struct Compiled {
    root: PathBuf,
    /// None if there is nothing to match: the root is the file.
    glob: Option<Glob>,
    /// An exclusion such as `!**/draft-*`, which is meant wherever the files are.
    anywhere: bool,
}

struct Glob {
    whole: GlobMatcher,
    /// The parts of the pattern that name hidden files or folders.
    hidden: Vec<GlobMatcher>,
    depth: usize,
}

fn matcher(glob: &str) -> Result<GlobMatcher, String> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| format!("the glob cannot be read: {}", error.kind()))
}

impl Compiled {
    fn new(pattern: &FilePattern) -> Result<Self, String> {
        let text = pattern.pattern.as_str();
        let literal = pattern.folder.join(text);
        let is_magic = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        // A file may be called like a glob; then it is meant.
        if text.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        if !is_magic(text) || literal.is_file() {
            return Ok(Self {
                root: literal,
                glob: None,
                anywhere: false,
            });
        }
        let magic = text.split_inclusive('/').take_while(|part| !is_magic(part));
        let fixed: usize = magic.map(str::len).sum();
        let (folder, glob) = text.split_at(fixed);
        if glob.split('/').any(|part| part == "..") {
            return Err("`..` cannot stand after a wildcard".to_owned());
        }
        let hidden: Result<Vec<_>, _> = glob
            .split('/')
            .filter(|part| part.starts_with('.'))
            .map(matcher)
            .collect();
        let parts = glob.split('/').count();
        Ok(Self {
            root: if folder.is_empty() {
                pattern.folder.clone()
            } else {
                pattern.folder.join(folder)
            },
            anywhere: folder.is_empty() && glob.starts_with("**/"),
            glob: Some(Glob {
                whole: matcher(glob)?,
                hidden: hidden?,
                depth: if glob.contains("**") || glob.contains('{') {
                    usize::MAX
                } else {
                    parts
                },
            }),
        })
    }

    fn excludes(&self, key: &Path) -> bool {
        let root = normal(&self.root);
        match (&self.glob, key.strip_prefix(&root)) {
            (None, Ok(_)) => true, // the file, or a folder that it is in
            (Some(glob), Ok(below)) if glob.whole.is_match(below) => true,
            (Some(glob), _) => self.anywhere && glob.whole.is_match(key),
            (None, Err(_)) => false,
        }
    }

    fn walk(
        &self,
        pattern: &FilePattern,
        matched: &mut Vec<PathBuf>,
        problems: &mut Vec<Diagnostic>,
    ) {
        let Some(glob) = &self.glob else {
            match fs_err::metadata(&self.root) {
                Ok(metadata) if metadata.is_file() => matched.push(self.root.clone()),
                Ok(metadata) if metadata.is_dir() => {
                    let folder = pattern.pattern.trim_end_matches('/');
                    problems.push(
                        problem(pattern, format!("`{folder}` is a folder"))
                            .hint(format!("write `{folder}/**/*.json` for the files in it")),
                    );
                    // It is told once, as a folder, and not again as matching nothing.
                    return;
                }
                Ok(_) => problems.push(problem(
                    pattern,
                    format!("`{}` is not a regular file", pattern.pattern),
                )),
                Err(_) => {}
            }
            return;
        };
        // An empty folder setting is the current directory.
        let root = if self.root.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.root
        };
        if !root.is_dir() {
            return;
        }
        let walk = WalkDir::new(root).follow_links(true).max_depth(glob.depth);
        let visible = |entry: &walkdir::DirEntry| {
            let name = entry.file_name();
            entry.depth() == 0
                || !name.to_string_lossy().starts_with('.')
                || glob.hidden.iter().any(|hidden| hidden.is_match(name))
        };
        let mut failures: HashMap<PathBuf, String> = HashMap::new();
        for entry in walk.into_iter().filter_entry(visible) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let path = entry.path();
                    let below = path.strip_prefix(root).unwrap_or(path);
                    if glob.whole.is_match(below) {
                        matched.push(if self.root.as_os_str().is_empty() {
                            below.to_owned()
                        } else {
                            path.to_owned()
                        });
                    }
                }
                Ok(_) => {}
                // A link to a folder above: its files are found there.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    // A link to nothing is no file.
                    let dangling = path.is_symlink() && !path.exists();
                    if !dangling && let Some(error) = error.io_error() {
                        failures.insert(path, error.to_string());
                    }
                }
            }
        }
        let mut failures: Vec<_> = failures.into_iter().collect();
        failures.sort();
        for (path, error) in failures {
            let message = format!("cannot look into `{}`: {error}", tidy(&path).display());
            problems.push(problem(pattern, message));
        }
    }
}
