//! The pages of `docs/` and the README: their commands can be run, their links lead somewhere, and none is left out of the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::bed::Bed;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages, by their paths.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut paths = vec![root().join("README.md")];
    for entry in fs_err::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    let read = |path: PathBuf| {
        let text = fs_err::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The commands in the blocks of a page, without what they print.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("```").skip(1).step_by(2);
    let of_shell = |block: &&str| block.starts_with("console\n") || block.starts_with("sh\n");
    let lines = blocks.filter(of_shell).flat_map(str::lines);
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter_map(|line| {
        line.strip_prefix("$ ")
            .unwrap_or(line)
            .strip_prefix("stoker ")
    })
}

#[test]
fn every_command_of_every_page_can_be_run() {
    let bed = Bed::with_samples();
    let mut seen = BTreeSet::new();
    for (path, page) in pages() {
        for command in commands(&page) {
            let mut words = command.split_whitespace();
            let verb = words.next().unwrap();
            let help = bed.run(&[verb, "--help"]);
            assert_eq!(help.code, 0, "{}: no verb `{verb}`", path.display());
            for word in words.clone().filter(|word| word.starts_with("--")) {
                assert!(help.out.contains(word), "{}: {command}", path.display());
            }
            // What is named of this project is there.
            let files = words.filter(|word| word.starts_with("manifests/"));
            for file in files {
                assert!(bed.path(file).is_file(), "{}: {command}", path.display());
            }
            seen.insert(command.to_owned());
        }
    }
    assert!(seen.len() >= 8, "{seen:?}");
}

/// The commands of a pipeline, as they stand on its page, one after the other.
#[test]
fn the_commands_of_a_pipeline_work() {
    let bed = Bed::with_samples();
    let page = fs_err::read_to_string(root().join("docs/pipelines.md")).unwrap();
    let commands: Vec<&str> = commands(&page).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        // Everything is there already when the plan is made.
        let _ = bed.run(&arguments).exits(0);
    }
}

#[test]
fn links_lead_to_what_is_there() {
    let mut count = 0;
    for (path, page) in pages() {
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.starts_with("http") {
                continue;
            }
            count += 1;
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", path.display());
        }
    }
    assert!(count > 30, "{count}");
}

/// A renderer takes a link to a page of text for one to a page of the book, and leaves the others as they are.
#[test]
fn links_hold_in_the_book_as_well() {
    let settings = fs_err::read_to_string(root().join("docs/book.toml")).unwrap();
    assert!(settings.contains("build-dir = \"../book\""), "{settings}");
    for (path, page) in pages() {
        let is_of_book = path.starts_with(root().join("docs"));
        for link in page.split("](").skip(1).filter(|_| is_of_book) {
            let link = link.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            let is_page = Path::new(file)
                .extension()
                .is_some_and(|extension| extension == "md");
            let is_outside = file.starts_with("../");
            assert!(
                file.starts_with("http") || !(is_page && is_outside),
                "{}: {link}",
                path.display()
            );
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let pages = pages();
    let summary = &pages[&root().join("docs/SUMMARY.md")];
    for entry in fs_err::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(summary.contains(&format!("](decisions/{name})")), "{name}");
    }
    for path in pages.keys() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !matches!(name, "README.md" | "SUMMARY.md") {
            assert!(summary.contains(&format!("]({name})")), "{name}");
        }
    }
}
