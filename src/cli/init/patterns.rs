//! The patterns of the loads that `stoker init` writes: no file stands in two of them, and none is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{InitArgs, Kind};
use crate::{diagnostic::Severity, manifest::FilePattern, source};

/// A file that has been looked at, and the load that it falls into; none if it is left out.
pub(super) struct Sorted {
    pub(super) path: PathBuf,
    pub(super) kind: Option<Kind>,
}

/// The files of a directory that a pattern finds.
pub(super) fn find(args: &InitArgs, pattern: &str) -> source::SourceListing {
    source::find(&[FilePattern {
        pattern: pattern.to_owned(),
        exclude: false,
        folder: args.dir.clone(),
        place: (args.out.clone(), 1, 1),
    }])
}

/// An ending, however its letters are written: `.[jJ][sS][oO][nN]`.
fn any_case(ending: &str) -> String {
    ending
        .chars()
        .map(|c| match c {
            c if !c.is_ascii_alphabetic() => c.to_string(),
            c => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
        })
        .collect()
}

/// The pattern of all files: messages and instances have any name.
pub(super) fn everything() -> String {
    "**/*".to_owned()
}

/// Returns the patterns of a load: globs where they find no file of another load and none that is left out, or only few,
/// which are taken away again; else the files themselves. So no file stands in two loads.
pub(super) fn patterns(args: &InitArgs, kind: Kind, sorted: &[Sorted]) -> Vec<String> {
    let inside = |path: &Path| path.strip_prefix(&args.dir).unwrap_or(path).to_owned();
    let trees = trees(args, kind, sorted);
    let glob = |path: &Path, written: fn(&str) -> String| {
        let tree = trees.iter().find(|tree| path.starts_with(tree));
        tree.map_or_else(
            || glob(kind, &inside(path), written),
            |tree| {
                let all = glob(kind, &inside(&tree.join("any")), written);
                format!("{}**/*", all.trim_end_matches('*'))
            },
        )
    };
    // By the ending in small letters: where the files write it in several ways, so does their glob.
    let mut alike: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for file in sorted.iter().filter(|file| file.kind == Some(kind)) {
        let glob = glob(&file.path, str::to_ascii_lowercase);
        alike.entry(glob).or_default().push(&file.path);
    }
    let globs = alike.into_iter().map(|(lower, own)| {
        let is_lower = |path: &&&Path| lower == glob(path, str::to_owned);
        let shows = own.iter().find(|path| !is_lower(path));
        let glob = shows.map(|path| glob(path, any_case));
        (glob.unwrap_or(lower), own)
    });
    let kind_of: BTreeMap<&Path, Option<Kind>> = sorted
        .iter()
        .map(|file| (file.path.as_path(), file.kind))
        .collect();
    let (mut taken, mut excluded) = (Vec::new(), Vec::new());
    for (glob, own) in globs {
        let found = find(args, &glob);
        let foreign: Vec<PathBuf> = found
            .files
            .iter()
            .filter_map(|file| match &file.origin {
                source::Origin::File(path) => Some(path.clone()),
                source::Origin::Stdin => None,
            })
            .filter(|path| kind_of.get(path.as_path()) != Some(&Some(kind)))
            .collect();
        let base =
            |path: &Path| kind == Kind::Bundles && kind_of.get(path) == Some(&Some(Kind::Base));
        let (base, foreign): (Vec<_>, Vec<_>) = foreign.into_iter().partition(|path| base(path));
        // A file that the glob would also find but for its name is a problem, and told already.
        let unnamed = found.problems.iter().any(|p| p.severity == Severity::Error);
        // Of several loads one has the glob: a file that is added later stands in that one alone.
        let mut others: BTreeMap<Kind, usize> = BTreeMap::new();
        for path in &foreign {
            if let Some(other) = kind_of.get(path.as_path()).copied().flatten() {
                *others.entry(other).or_default() += 1;
            }
        }
        let is_of_another = others
            .iter()
            .any(|(other, files)| (*files, kind) > (own.len(), *other));
        if unnamed || is_of_another || foreign.len() > own.len() {
            taken.extend(
                own.iter()
                    .map(|path| written(args, &inside(path).to_string_lossy())),
            );
            continue;
        }
        taken.push(written(args, &glob));
        if !base.is_empty() {
            excluded.push(format!(
                "!{}",
                path_of(args, "**/*{hospital,practitioner}Information*.json")
            ));
        }
        // The manifest itself is not there yet.
        if glob.ends_with('*')
            && let Some(manifest) = beside(args, &glob)
        {
            excluded.push(format!("!{}", path_of(args, &manifest)));
        }
        excluded.extend(
            foreign
                .iter()
                .map(|path| format!("!{}", path_of(args, &inside(path).to_string_lossy()))),
        );
    }
    excluded.dedup();
    taken.extend(excluded);
    taken
}

/// Returns the highest folders that hold nothing but instances, in several folders: media and archives have one for each series. The
/// directory itself is none, for the manifest may lie there.
fn trees(args: &InitArgs, kind: Kind, sorted: &[Sorted]) -> Vec<PathBuf> {
    if kind != Kind::Images {
        return Vec::new();
    }
    let own: BTreeSet<&Path> = sorted
        .iter()
        .filter(|file| file.kind == Some(kind))
        .map(|file| file.path.as_path())
        .collect();
    let above = |path: &Path| -> Vec<PathBuf> {
        let folders = path.ancestors().skip(1);
        folders
            .take_while(|folder| *folder != args.dir && folder.starts_with(&args.dir))
            .map(Path::to_owned)
            .collect()
    };
    let found = find(args, &everything());
    let mixed: BTreeSet<PathBuf> = (found.files.iter())
        .filter_map(|file| match &file.origin {
            source::Origin::File(path) if !own.contains(path.as_path()) => Some(above(path)),
            _ => None,
        })
        .flatten()
        .collect();
    // The folders of instances in each of the highest.
    let mut trees: BTreeMap<PathBuf, BTreeSet<&Path>> = BTreeMap::new();
    for path in own {
        let highest = above(path)
            .into_iter()
            .rfind(|folder| !mixed.contains(folder));
        if let (Some(highest), Some(folder)) = (highest, path.parent()) {
            trees.entry(highest).or_default().insert(folder);
        }
    }
    let several = trees.into_iter().filter(|(_, folders)| folders.len() > 1);
    several.map(|(tree, _)| tree).collect()
}

/// Returns the manifest as a file below the directory, where a glob that takes names of any ending would find it.
fn beside(args: &InitArgs, glob: &str) -> Option<String> {
    let folder = args.out.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
    let inside = folder.strip_prefix(args.dir.canonicalize().ok()?).ok()?;
    let of_glob = glob.rsplit_once('/').map_or("", |(folder, _)| folder);
    let name = args.out.file_name()?;
    (inside == Path::new(of_glob)).then(|| inside.join(name).to_string_lossy().into_owned())
}

/// Returns a pattern as the manifest's folder sees it.
fn path_of(args: &InitArgs, pattern: &str) -> String {
    match relative(&args.dir, &args.out).as_str() {
        "" => pattern.to_owned(),
        folder => format!("{folder}/{pattern}"),
    }
}

/// As [`path_of`], but a name that begins with `!` is no exclusion.
fn written(args: &InitArgs, pattern: &str) -> String {
    let path = path_of(args, pattern);
    if path.starts_with('!') {
        format!("./{path}")
    } else {
        path
    }
}

/// Returns the glob that stands for a file, by its path below the directory: all files of its ending in its folder, but
/// Synthea's base files by their names. `written` says how the ending is.
fn glob(kind: Kind, inside: &Path, written: impl Fn(&str) -> String) -> String {
    let name = inside.file_name().unwrap_or_default().to_string_lossy();
    if kind == Kind::Base {
        let word = if name.contains("hospital") {
            "hospital"
        } else {
            "practitioner"
        };
        return format!("**/*{word}Information*.json");
    }
    let folder = inside.parent().unwrap_or(Path::new("")).to_string_lossy();
    // A folder may be called like a glob; then a class of one character means the character.
    let folder: String = folder
        .chars()
        .map(|c| match c {
            '*' | '?' | '[' | ']' | '{' | '}' | '\\' => format!("[{c}]"),
            c => c.to_string(),
        })
        .collect();
    // Instances and messages are known by their content, whatever they are called.
    let ending = match kind {
        Kind::Images | Kind::Messages => written(extension(&name)),
        _ => written(ending(&name)),
    };
    match folder.as_str() {
        "" => format!("*{ending}"),
        folder => format!("{folder}/*{ending}"),
    }
}

/// Returns the ending of a name, with its dot, where it looks like one: not of `1.2.840.10008`. That of a compressed file
/// has the ending before `.gz` as well: `feed.hl7.gz` → `.hl7.gz`.
fn extension(name: &str) -> &str {
    let packed = [".gz", ".zst"].into_iter().find(|end| {
        let tail = name
            .len()
            .checked_sub(end.len())
            .and_then(|at| name.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    });
    let plain = name.len() - packed.map_or(0, str::len);
    // The whole of an ending where nothing is packed: `plain` is the end of the name then.
    let inner = last_ending(name.get(..plain).unwrap_or(name));
    name.get(plain - inner.len()..).unwrap_or_default()
}

fn last_ending(name: &str) -> &str {
    let ending = name.rfind('.').and_then(|at| name.get(at..));
    let is_ending = |ending: &&str| {
        let letters = ending.bytes().skip(1);
        (2..=6).contains(&ending.len())
            && letters.clone().all(|c| c.is_ascii_alphanumeric())
            && letters.clone().any(|c| c.is_ascii_alphabetic())
    };
    ending.filter(is_ending).unwrap_or_default()
}

/// Returns the ending of a name as it is written: `patients.ndjson.gz` → `.ndjson.gz`.
fn ending(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    let packed = [".gz", ".zst"].into_iter().find(|end| lower.ends_with(end));
    let plain = lower.len() - packed.map_or(0, str::len);
    let form = lower.get(..plain).and_then(|name| name.rfind('.'));
    form.and_then(|at| name.get(at..)).unwrap_or(name)
}

/// Returns the directory as the manifest's folder sees it.
fn relative(dir: &Path, manifest: &Path) -> String {
    let folder = manifest.parent().filter(|p| !p.as_os_str().is_empty());
    match (folder, dir.canonicalize()) {
        (Some(folder), Ok(dir)) if dir.is_absolute() => match (folder.canonicalize(), dir) {
            (Ok(folder), dir) => dir.strip_prefix(&folder).map_or_else(
                |_| dir.display().to_string(),
                |inside| inside.display().to_string(),
            ),
            (Err(_), dir) => dir.display().to_string(),
        },
        _ => {
            let shown = dir.display().to_string();
            let shown = shown.trim_end_matches('/');
            if shown == "." {
                String::new()
            } else {
                shown.to_owned()
            }
        }
    }
}
