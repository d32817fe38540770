//! `stoker init DIR`: looks at a directory and writes a manifest that loads it, in a way that can be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Context, Error, Exit};
use crate::{
    fhir::types::has_type_shape,
    manifest::FilePattern,
    source::{self, BundleKind, Item, SourceFile},
};

/// Arguments of `stoker init`.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The directory of files to be loaded
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where to write the manifest
    #[arg(long, value_name = "FILE", default_value = "stoker.yaml")]
    out: PathBuf,
    /// Replace a manifest that exists
    #[arg(long)]
    force: bool,
}

/// How many records of a file are looked at: enough to tell what it holds, few enough for a huge directory.
const LOOKED_AT: u64 = 50;

/// What a kind of file holds, as far as it was looked at.
#[derive(Debug, Default)]
struct Looked {
    files: u64,
    records: u64,
    without_id: u64,
    types: BTreeSet<String>,
}

/// The loads that a directory falls into, in the order in which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Bundles that are executed: Synthea's hospitals and practitioners among them.
    Base,
    /// Single resources and Bundles that are split.
    Resources,
    /// NDJSON.
    Ndjson,
    /// Transactions and batches.
    Bundles,
}

/// Runs the verb.
pub(super) fn run(args: &InitArgs, context: Context) -> Result<Exit, Error> {
    if !args.dir.is_dir() {
        return Err(Error::usage(format!(
            "`{}` is not a directory",
            args.dir.display()
        )));
    }
    if args.out.exists() && !args.force {
        return Err(Error::usage(format!("`{}` exists", args.out.display()))
            .hint("--force replaces it; --out writes to another file"));
    }
    let found = source::find(&[FilePattern {
        pattern:
            "**/*.{json,ndjson,jsonl,json.gz,ndjson.gz,jsonl.gz,json.zst,ndjson.zst,jsonl.zst}"
                .to_owned(),
        exclude: false,
        folder: args.dir.clone(),
        place: (args.out.clone(), 1, 1),
    }]);
    let mut kinds: BTreeMap<Kind, (Looked, BTreeSet<String>)> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for file in &found.files {
        match look(file) {
            Ok((kind, looked)) => {
                let (total, patterns) = kinds.entry(kind).or_default();
                total.files += 1;
                total.records += looked.records;
                total.without_id += looked.without_id;
                total.types.extend(looked.types);
                patterns.insert(pattern(kind, file, &args.dir));
            }
            Err(why) => unreadable.push(format!("{}: {why}", file.origin)),
        }
    }
    if kinds.is_empty() {
        return Err(
            Error::usage(format!("`{}` holds no file to load", args.dir.display()))
                .hint("Stoker reads .json, .ndjson and .jsonl, also with .gz or .zst"),
        );
    }
    let manifest = write(args, &kinds);
    fs_err::write(&args.out, &manifest).map_err(Error::disk)?;
    for problem in &unreadable {
        context
            .printer
            .problems(&[crate::diagnostic::Diagnostic::warning(format!(
                "left out {problem}"
            ))]);
    }
    context.printer.result(&format!(
        "wrote {}; see what it would do with: stoker plan {}",
        args.out.display(),
        args.out.display()
    ));
    Ok(Exit::Well)
}

fn look(file: &SourceFile) -> Result<(Kind, Looked), String> {
    let mut looked = Looked {
        files: 1,
        ..Looked::default()
    };
    let (mut executed, mut malformed) = (false, None);
    source::read(file, None, &mut |item| {
        match item {
            Item::BundleStart(start) => {
                executed |= matches!(start.kind, BundleKind::Transaction | BundleKind::Batch);
            }
            Item::BundleEnd => {}
            Item::Malformed(problem) => {
                malformed.get_or_insert_with(|| problem.to_string());
            }
            Item::Record(found) => {
                looked.records += 1;
                looked.without_id += u64::from(found.id().is_none());
                // What is no name of a type says nothing about what the file holds.
                let kind = found.resource_type().filter(|kind| has_type_shape(kind));
                looked.types.extend(kind.map(std::borrow::Cow::into_owned));
            }
        }
        if looked.records < LOOKED_AT {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .map_err(|error| error.to_string())?;
    if looked.types.is_empty() {
        return Err(malformed.unwrap_or_else(|| "it holds no FHIR resource".to_owned()));
    }
    let base = ["hospitalInformation", "practitionerInformation"];
    let kind = match file.form {
        source::Form::Ndjson => Kind::Ndjson,
        _ if executed
            && base
                .iter()
                .any(|word| file.origin.to_string().contains(word)) =>
        {
            Kind::Base
        }
        _ if executed => Kind::Bundles,
        _ => Kind::Resources,
    };
    Ok((kind, looked))
}

/// Returns the glob that stands for a file: all files of its extension in its folder, but Synthea's base files by
/// their names.
fn pattern(kind: Kind, file: &SourceFile, dir: &Path) -> String {
    let source::Origin::File(path) = &file.origin else {
        return String::new();
    };
    let inside = path.strip_prefix(dir).unwrap_or(path.as_path());
    let name = inside
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if kind == Kind::Base {
        let word = if name.contains("hospital") {
            "hospital"
        } else {
            "practitioner"
        };
        return format!("**/*{word}Information*.json");
    }
    let folder = inside
        .parent()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    // `patients.ndjson.gz` → `.ndjson.gz`
    let extension = ["json", "ndjson", "jsonl"]
        .iter()
        .filter_map(|form| name.rfind(&format!(".{form}")))
        .max()
        .and_then(|at| name.get(at..))
        .unwrap_or(".json");
    match folder.as_str() {
        "" => format!("*{extension}"),
        folder => format!("{folder}/*{extension}"),
    }
}

fn write(args: &InitArgs, kinds: &BTreeMap<Kind, (Looked, BTreeSet<String>)>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    let name = args
        .dir
        .canonicalize()
        .ok()
        .and_then(|dir| {
            dir.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "load".to_owned());
    line("version: 1");
    line(&format!("name: {}", quoted(&name)));
    line("");
    line("targets:");
    line("  local:");
    line("    local: .stoker/store     # an embedded store; needs no account and no server");
    line("  # google:");
    line(
        "  #   google: { project: \"${PROJECT}\", location: us-central1, dataset: demo, fhir_store: r4 }",
    );
    line("  #   ensure: { version: R4, enableUpdateCreate: true }");
    line("  #   rate: 500/s");
    line("");
    line("loads:");
    let mut before: Option<&str> = None;
    for (kind, (looked, patterns)) in kinds {
        let (load, why) = match kind {
            Kind::Base => (
                "base",
                "hospitals and practitioners, which the other Bundles refer to",
            ),
            Kind::Resources => (
                "resources",
                "one resource a file, or Bundles that are split",
            ),
            Kind::Ndjson => ("ndjson", "one resource a line"),
            Kind::Bundles => (
                "bundles",
                "transactions and batches, sent whole as their entries ask for",
            ),
        };
        let types: Vec<&str> = looked.types.iter().take(6).map(String::as_str).collect();
        let more = if looked.types.len() > 6 { ", …" } else { "" };
        line(&format!("  - name: {load}   # {why}"));
        line("    target: local");
        if let (Kind::Bundles, Some(before)) = (kind, before) {
            line(&format!("    after: [{before}]"));
        }
        let folder = relative(&args.dir, &args.out);
        line("    files:");
        for pattern in patterns {
            let path = if folder.is_empty() {
                pattern.clone()
            } else {
                format!("{folder}/{pattern}")
            };
            line(&format!("      - {}", quoted(&path)));
        }
        if matches!(kind, Kind::Bundles) && kinds.contains_key(&Kind::Base) {
            line(&format!(
                "      - {}",
                quoted(&format!(
                    "!{folder}/**/*{{hospital,practitioner}}Information*.json"
                ))
            ));
        }
        line(&format!("    # holds {}{more}", types.join(", ")));
        match kind {
            // An entry's own request says what is done with it.
            Kind::Base | Kind::Bundles => {
                line(
                    "    # Loading transactions that create is not repeatable. To repeat it, uncomment:",
                );
                line("    # interaction: update");
            }
            Kind::Resources | Kind::Ndjson if looked.without_id == 0 => {
                line("    interaction: update   # by the files' ids, so that it can be repeated");
            }
            Kind::Resources | Kind::Ndjson => {
                line(
                    "    # Some records have no id. With identifiers that identify, this becomes repeatable:",
                );
                line("    # interaction: conditional-create");
                line(
                    "    # identity: { Patient: [\"https://clinic.example/mrn\"], missing: create }",
                );
                line("    interaction: create");
            }
        }
        if *kind == Kind::Base {
            before = Some("base");
        }
    }
    out
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

/// A JSON string is a YAML string, so that any file name can stand in a manifest. `$` begins a variable.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}
