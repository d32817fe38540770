//! No files of a folder use each other in a circle, and nobody uses a verb of the command line.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, root, sources};

/// Files that still do, by their folder: none. Each would be a knot to be undone.
const KNOTS: &[(&str, &[&str])] = &[];

/// The modules of the crate, with what each uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Reads which modules use which, by `use` and by paths.
fn uses() -> Uses {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut texts = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap().with_extension("");
        let mut parts: Vec<String> = inside
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        texts.insert(parts.join("::"), code(&file));
    }
    let names: BTreeSet<String> = texts.keys().cloned().collect();
    let of = |(module, text): (&String, &String)| {
        let used: BTreeSet<String> = paths(text)
            .iter()
            .filter_map(|path| resolved(module, path, &names))
            .filter(|used| used != module)
            .collect();
        (module.clone(), used)
    };
    texts.iter().map(of).collect()
}

/// Returns the paths in a text that begin with `crate`, `super` or `self`, those in groups among them.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand(String::new(), &text[at..], &mut found);
        }
    }
    found
}

/// Reads a path, and every path of a group at its end. Returns what comes after.
fn expand<'t>(before: String, text: &'t str, found: &mut Vec<String>) -> &'t str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let path = before + &text[..end];
    let mut rest = &text[end..];
    if !path.ends_with("::") || !rest.starts_with('{') {
        found.push(path.trim_end_matches(':').to_owned());
        return rest;
    }
    rest = &rest[1..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return rest;
        }
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        let left = rest.len();
        rest = expand(path.clone(), rest, found);
        rest = rest.strip_prefix(" as ").map_or(rest, |renamed| {
            renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
        });
        if rest.len() == left {
            // What is no path is passed over.
            rest = rest.get(1..).unwrap_or_default();
        }
    }
}

/// Returns the module that a path in a module leads to.
fn resolved(module: &str, path: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut segments = path.split("::").peekable();
    while let Some(&segment) = segments.peek() {
        match segment {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            "self" => {}
            _ => break,
        }
        segments.next();
    }
    let mut best = None;
    for segment in segments {
        at.push(segment);
        let name = at.join("::");
        if !names.contains(&name) {
            break;
        }
        best = Some(name);
    }
    best
}

/// Returns the circles among the parts of each folder.
fn circles(uses: &Uses) -> BTreeSet<(String, Vec<String>)> {
    let folders: BTreeSet<&str> = uses
        .keys()
        .filter_map(|name| Some(name.rsplit_once("::")?.0))
        .collect();
    let mut all = BTreeSet::new();
    for folder in folders {
        let part = |name: &str| {
            let rest = name.strip_prefix(folder)?.strip_prefix("::")?;
            Some(rest.split("::").next().unwrap().to_owned())
        };
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, used) in uses {
            let Some(from) = part(module) else { continue };
            let to = used.iter().filter_map(|used| part(used));
            let to = to.filter(|to| *to != from);
            edges.entry(from.clone()).or_default().extend(to);
        }
        let reach = |from: &String| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(at) = next.pop() {
                for to in edges.get(at).into_iter().flatten() {
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
            seen
        };
        let reaches: BTreeMap<&String, BTreeSet<&String>> =
            edges.keys().map(|part| (part, reach(part))).collect();
        for (from, reached) in &reaches {
            if reached.contains(from) {
                let back = |to: &&&String| reaches.get(**to).is_some_and(|r| r.contains(from));
                let circle = reached.iter().filter(back);
                let circle = circle.map(|to| (*to).clone()).collect();
                all.insert((folder.to_owned(), circle));
            }
        }
    }
    all
}

#[test]
fn no_files_go_in_circles_but_those_that_are_known() {
    let known: BTreeSet<(String, Vec<String>)> = KNOTS
        .iter()
        .map(|(folder, files)| {
            let files = files.iter().map(|file| (*file).to_owned());
            ((*folder).to_owned(), files.collect())
        })
        .collect();
    let found = circles(&uses());
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "circles that are not known: {new:#?}\ncircles that are no more: {gone:#?}"
    );
}

/// Returns the verbs of the command line, by their files: what `cli/mod.rs` runs.
fn verbs() -> BTreeSet<String> {
    let text = code(&root().join("cli/mod.rs"));
    let before = |(at, _): (usize, &str)| {
        let mut words = text[..at].rsplit(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.next().unwrap().to_owned()
    };
    text.match_indices("::run(").map(before).collect()
}

#[test]
fn nobody_uses_a_verb_but_the_command_line() {
    let verbs = verbs();
    assert!(["load", "plan", "watch"].iter().all(|v| verbs.contains(*v)));
    let verb = |module: &str| {
        let file = module.strip_prefix("cli::")?.split("::").next()?;
        verbs.get(file).cloned()
    };
    let mut wrong = Vec::new();
    for (module, used) in uses() {
        let of_verbs = used.iter().filter(|used| verb(used).is_some());
        let others = of_verbs.filter(|used| module != "cli" && verb(used) != verb(&module));
        wrong.extend(others.map(|used| format!("{module} uses {used}")));
    }
    assert!(
        wrong.is_empty(),
        "what several share belongs in a file of its own:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_circle_is_seen() {
    let uses = |pairs: &[(&str, &str)]| {
        let mut uses = Uses::new();
        for (from, to) in pairs {
            uses.entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
            uses.entry((*to).to_owned()).or_default();
        }
        uses
    };
    let line = uses(&[("a::x", "a::y"), ("a::y::z", "b::x"), ("b::x", "a::x")]);
    assert_eq!(circles(&line).len(), 0);
    let knot = uses(&[("a::x", "a::y"), ("a::y::z", "a::w"), ("a::w", "a::x::v")]);
    let expected = (
        "a".to_owned(),
        vec!["w".to_owned(), "x".to_owned(), "y".to_owned()],
    );
    assert_eq!(circles(&knot).into_iter().collect::<Vec<_>>(), [expected]);
    let found = paths("use super::{a::{b, c as d}, e};\nlet x = crate::f::g();");
    assert_eq!(
        found,
        ["crate::f::g", "super::a::b", "super::a::c", "super::e"]
    );
}
