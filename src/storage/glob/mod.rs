//! Globs of a load into files, in the order in which they were written. Standard input (`-`) is passed over.
//!
//! `*` and `?` stay within one folder, `**` crosses them, `{a,b}` and `[a-z]` choose. A later `!` pattern takes away what
//! the patterns before it have found. Hidden files and folders are found only where the pattern names their dot; files that
//! would be found but for that, or for the case of letters, are told.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use super::{Listing, Origin};
use crate::{
    diagnostic::{Diagnostic, shown},
    manifest::FilePattern,
    path::{normal, tidy},
};

mod odd;

use odd::{Oddity, oddities, problem};

/// The advice where a folder cannot be looked into.
const PERMISSIONS: &str = "check who may read the folder and those above it";

/// Finds the files that globs name.
pub(super) fn list(patterns: &[FilePattern]) -> Listing {
    let mut listing = Listing::default();
    // By the absolute path, for exclusions; `known` by the real one, so that links lead to a file once.
    let mut found: Vec<(PathBuf, PathBuf, usize)> = Vec::new();
    let mut known = HashSet::new();
    let mut folders = RealFolders::default();
    let mut odd: Vec<(usize, Oddity, PathBuf)> = Vec::new();
    // Each with the path that it is about, where it is about one.
    let mut problems: Vec<(Option<PathBuf>, Diagnostic)> = Vec::new();
    for (number, pattern) in patterns.iter().enumerate() {
        // Standard input is no file.
        if pattern.pattern == "-" {
            continue;
        }
        let compiled = match Compiled::new(pattern) {
            Ok(compiled) => compiled,
            Err(message) => {
                problems.push((None, problem(pattern, message)));
                continue;
            }
        };
        if pattern.exclude {
            odd.retain(|(_, _, path)| !compiled.excludes(&absolute(path), path));
            problems.retain(|(path, _)| {
                let path = path.as_deref();
                !path.is_some_and(|path| compiled.excludes_all_of(path))
            });
            found.retain(|(key, path, _)| {
                let keep = !compiled.excludes(key, path);
                if !keep {
                    known.remove(&folders.real(path));
                }
                keep
            });
            continue;
        }
        let mut met = Met::default();
        compiled.walk(pattern, &mut met);
        let is_told =
            !met.problems.is_empty() || met.odd.iter().any(|(what, _)| *what <= Oddity::NotUtf8);
        if met.matched.is_empty() && !is_told {
            listing.unmatched.push(pattern.clone());
        }
        let met_problems = met.problems.into_iter();
        problems.extend(met_problems.map(|(path, problem)| (Some(path), problem)));
        odd.extend(met.odd.into_iter().map(|(what, path)| (number, what, path)));
        let mut matched = met.matched;
        // Of several ways to a file the shortest is kept: not the one through a link to a folder above.
        matched.sort_by_cached_key(|path| (path.components().count(), path.clone()));
        matched.retain(|path| known.insert(folders.real(path)));
        matched.sort();
        for path in matched {
            found.push((absolute(&path), tidy(&path), number));
        }
    }
    // A file that another pattern names is not left out.
    odd.retain(|(_, what, path)| {
        *what <= Oddity::Irregular || !known.contains(&folders.real(path))
    });
    found.retain(|(_, path, number)| {
        let is_text = path.to_str().is_some();
        if !is_text {
            odd.push((*number, Oddity::NotUtf8, path.clone()));
        }
        is_text
    });
    let problems = problems.into_iter().map(|(_, problem)| problem);
    listing.problems.extend(problems);
    listing.problems.extend(oddities(patterns, odd));
    listing.found = found
        .into_iter()
        .map(|(_, path, number)| (number, Origin::File(path)))
        .collect();
    listing
}

/// The one name of a file, however a pattern has reached it: an exclusion may be written in another way.
fn absolute(path: &Path) -> PathBuf {
    // Only an empty path has none, or a process whose folder is gone; then the path is all that there is.
    normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// The path itself, behind all links.
fn real(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| normal(path))
}

/// The real paths of folders, each looked up once: a folder may hold a million files.
#[derive(Default)]
struct RealFolders(HashMap<PathBuf, PathBuf>);

impl RealFolders {
    /// The file itself, behind all links.
    fn real(&mut self, path: &Path) -> PathBuf {
        let is_plain = fs_err::symlink_metadata(path).is_ok_and(|found| !found.is_symlink());
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if is_plain => {
                let folder = if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                };
                if let Some(known) = self.0.get(folder) {
                    return known.join(name);
                }
                let found = real(folder);
                let file = found.join(name);
                self.0.insert(folder.to_owned(), found);
                file
            }
            _ => real(path),
        }
    }
}

/// A pattern, split into the folder it begins in and the glob below that.
struct Compiled {
    root: PathBuf,
    /// The same as an absolute path.
    place: PathBuf,
    /// None if there is nothing to match: the root is the file.
    glob: Option<Glob>,
    /// An exclusion such as `!**/draft-*`, which is meant wherever the files are.
    anywhere: bool,
}

/// The findings of a pattern on its walk.
#[derive(Default)]
struct Met {
    matched: Vec<PathBuf>,
    odd: Vec<(Oddity, PathBuf)>,
    /// Each with the path that it is about.
    problems: Vec<(PathBuf, Diagnostic)>,
}

struct Glob {
    whole: GlobMatcher,
    /// The same without regard to upper and lower case.
    any_case: GlobMatcher,
    /// The parts of the pattern that name hidden files or folders.
    hidden: Vec<GlobMatcher>,
    /// The names that the folders on the way must have, as far as each level has a part of its own.
    folders: Vec<GlobMatcher>,
    depth: usize,
}

fn builder(glob: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(glob);
    builder.literal_separator(true).backslash_escape(true);
    builder
}

fn built(builder: &GlobBuilder<'_>) -> Result<GlobMatcher, String> {
    builder
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| format!("the glob cannot be read: {}", error.kind()))
}

fn matcher(glob: &str) -> Result<GlobMatcher, String> {
    built(&builder(glob))
}

impl Glob {
    fn new(glob: &str) -> Result<Self, String> {
        let hidden: Result<Vec<_>, _> = glob
            .split('/')
            .filter(|part| part.starts_with('.'))
            .map(matcher)
            .collect();
        let parts: Vec<&str> = glob.split('/').collect();
        // A `**` stands for any number of folders, and what is chosen from may hold a `/` itself.
        let is_own = |part: &&&str| {
            !part.contains("**") && part.matches('{').count() == part.matches('}').count()
        };
        let folders: Result<Vec<_>, _> = parts
            .iter()
            .take(parts.len() - 1)
            .take_while(is_own)
            .map(|part| matcher(part))
            .collect();
        Ok(Self {
            whole: matcher(glob)?,
            any_case: built(builder(glob).case_insensitive(true))?,
            hidden: hidden?,
            folders: folders?,
            // Choices with a `/` in them make a path shorter than the pattern, never longer.
            depth: if glob.contains("**") {
                usize::MAX
            } else {
                parts.len()
            },
        })
    }

    /// Tells whether files below a folder, or this file, may match; `level` counts from 1 below the root.
    fn may_lead(&self, entry: &walkdir::DirEntry) -> bool {
        let level = entry.depth();
        if level == 0 || !(entry.file_type().is_dir() || entry.path_is_symlink()) {
            return true;
        }
        let name = entry.file_name();
        let is_hidden = name.to_string_lossy().starts_with('.')
            && !self.hidden.iter().any(|hidden| hidden.is_match(name));
        // A link may lead to a file, which is on the last level.
        let is_file = entry.path_is_symlink() && !entry.path().is_dir();
        let is_on_the_way = self
            .folders
            .get(level - 1)
            .is_none_or(|folder| folder.is_match(name));
        is_file || (!is_hidden && is_on_the_way)
    }

    /// Tells what a file is to the pattern that does not match it, or only with its dot.
    fn is_found(&self, below: &Path) -> Result<(), Option<Oddity>> {
        let name = below.file_name().unwrap_or_default();
        let is_hidden = name.to_string_lossy().starts_with('.')
            && !self.hidden.iter().any(|hidden| hidden.is_match(name));
        match (self.whole.is_match(below), is_hidden) {
            (true, false) => Ok(()),
            (true, true) => Err(Some(Oddity::Hidden)),
            (false, false) if self.any_case.is_match(below) => Err(Some(Oddity::OtherCase)),
            (false, _) => Err(None),
        }
    }
}

impl Compiled {
    fn new(pattern: &FilePattern) -> Result<Self, String> {
        let text = pattern.pattern.as_str();
        let literal = pattern.folder.join(text);
        let is_magic = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        if text.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        // A file may be called like a glob; then it is meant.
        if !is_magic(text) || literal.is_file() {
            return Ok(Self {
                place: absolute(&literal),
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
        let root = if folder.is_empty() {
            pattern.folder.clone()
        } else {
            pattern.folder.join(folder)
        };
        Ok(Self {
            place: absolute(if root.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &root
            }),
            root,
            anywhere: folder.is_empty() && glob.starts_with("**/"),
            glob: Some(Glob::new(glob)?),
        })
    }

    /// Tells whether it takes a file away, by its absolute path and the way in which it was reached.
    fn excludes(&self, absolute: &Path, path: &Path) -> bool {
        match (&self.glob, absolute.strip_prefix(&self.place)) {
            (None, Ok(_)) => true, // the file, or a folder that it is in
            (Some(glob), Ok(below)) if glob.whole.is_match(below) => true,
            (Some(glob), _) => self.anywhere && glob.whole.is_match(normal(path)),
            (None, Err(_)) => false,
        }
    }

    /// Tells whether it takes a path away, or all that a folder at this path may hold.
    fn excludes_all_of(&self, path: &Path) -> bool {
        // No file has this name: only a pattern that takes every name takes it.
        const ANY: &str = "\u{1}";
        let child = path.join(ANY);
        self.excludes(&absolute(path), path) || self.excludes(&absolute(&child), &child)
    }

    fn walk(&self, pattern: &FilePattern, met: &mut Met) {
        match &self.glob {
            Some(glob) => self.walk_folders(glob, pattern, met),
            None => self.look_at_one(pattern, met),
        }
    }

    /// Looks at the one path that the pattern names.
    fn look_at_one(&self, pattern: &FilePattern, met: &mut Met) {
        match fs_err::metadata(&self.root) {
            Ok(metadata) if metadata.is_file() => met.matched.push(self.root.clone()),
            Ok(metadata) if metadata.is_dir() => {
                let folder = pattern.pattern.trim_end_matches('/');
                let problem = problem(pattern, format!("`{folder}` is a folder"))
                    .hint(format!("write `{folder}/**/*.json` for the files in it"));
                met.problems.push((self.root.clone(), problem));
            }
            Ok(_) => met.odd.push((Oddity::Irregular, self.root.clone())),
            Err(_) if self.root.is_symlink() => {
                met.odd.push((Oddity::Dangling, self.root.clone()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = shown(&tidy(&self.root));
                let what = format!("cannot look at `{path}`: {}", error.kind());
                met.problems
                    .push((self.root.clone(), problem(pattern, what)));
            }
        }
    }

    fn walk_folders(&self, glob: &Glob, pattern: &FilePattern, met: &mut Met) {
        // An empty folder setting is the current directory.
        let root = if self.root.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.root
        };
        match fs_err::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let what = format!(
                    "cannot look into `{}`: {}",
                    shown(&tidy(root)),
                    error.kind()
                );
                let unseen = problem(pattern, what).hint(PERMISSIONS);
                met.problems.push((root.to_owned(), unseen));
                return;
            }
            Ok(_) | Err(_) => return,
        }
        let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
        let walk = WalkDir::new(root).follow_links(true).max_depth(glob.depth);
        let mut failures: HashMap<PathBuf, String> = HashMap::new();
        for entry in walk.into_iter().filter_entry(|entry| glob.may_lead(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => {
                    let path = entry.path();
                    let is_file = entry.file_type().is_file();
                    let path = if self.root.as_os_str().is_empty() {
                        below(path)
                    } else {
                        path.to_owned()
                    };
                    match glob.is_found(&below(entry.path())) {
                        Ok(()) if is_file => met.matched.push(path),
                        Ok(()) => met.odd.push((Oddity::Irregular, path)),
                        Err(Some(oddity)) if is_file => met.odd.push((oddity, path)),
                        Err(_) => {}
                    }
                }
                // A link to a folder above: its files are found there.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_owned();
                    let is_dangling = path.is_symlink() && !path.exists();
                    if is_dangling && glob.is_found(&below(&path)).is_ok() {
                        met.odd.push((Oddity::Dangling, path));
                    } else if !is_dangling && let Some(error) = error.io_error() {
                        failures.insert(path, error.to_string());
                    }
                }
            }
        }
        let mut failures: Vec<_> = failures.into_iter().collect();
        failures.sort();
        for (path, error) in failures {
            let message = format!("cannot look into `{}`: {error}", shown(&tidy(&path)));
            let unseen = problem(pattern, message).hint(PERMISSIONS);
            met.problems.push((path, unseen));
        }
    }
}
