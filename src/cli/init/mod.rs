//! `stoker init DIR`: looks at a directory and writes a manifest that loads it, in a way that can be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Context, Error, Exit, printer::harmless_json};
use crate::{
    diagnostic::{Diagnostic, Severity, shown},
    fhir::types::has_type_shape,
    hl7v2,
    manifest::Format,
    source::{self, BundleKind, Item, SourceFile},
    unit::grouped,
};

mod left_out;
mod patterns;

use left_out::{LeftOut, unlike_its_name};
use patterns::{Sorted, everything, find, patterns};

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

/// Records of a file that are looked at: enough to tell what it holds, few enough for a huge directory.
const LOOKED_AT: u64 = 50;

/// The findings in a kind of file, as far as it was looked at.
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
    /// HL7v2 messages.
    Messages,
    /// DICOM instances.
    Images,
}

impl Kind {
    /// Returns the name of the target that holds what it loads.
    fn target(self) -> &'static str {
        match self {
            Self::Base | Self::Resources | Self::Ndjson | Self::Bundles => "local",
            Self::Messages => "messages",
            Self::Images => "images",
        }
    }
}

/// Says which files are of no kind that is loaded.
fn passed_by(others: &[&Path]) -> Option<String> {
    const NAMED: usize = 5;
    let first = others.first()?;
    let names: Vec<String> = others.iter().take(NAMED).map(|path| shown(path)).collect();
    let names = match others.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{}, and {} more", names.join(", "), grouped(more as u64)),
    };
    let is_archive = |path: &&Path| {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let archives = [".zip", ".tar", ".tgz", ".7z", ".rar", ".tar.bz2", ".tar.xz"];
        archives.iter().any(|ending| name.ends_with(ending))
    };
    let hint = if others.iter().any(is_archive) {
        " (archives are not read: unpack them first)"
    } else {
        ""
    };
    Some(match others.len() {
        1 => format!("passed by {}, which holds no records{hint}", shown(first)),
        count => {
            let count = grouped(count as u64);
            format!("passed by {count} files that hold no records: {names}{hint}")
        }
    })
}

/// Runs the verb.
pub(super) fn run(args: &InitArgs, context: Context) -> Result<Exit, Error> {
    if !args.dir.exists() {
        let what = format!("there is no directory `{}`", shown(&args.dir));
        return Err(Error::usage(what).hint("check the path"));
    }
    if !args.dir.is_dir() {
        let what = format!("`{}` is not a directory", shown(&args.dir));
        return Err(Error::usage(what).hint(
            "name the folder that the files lie in; `stoker create FILE` loads a single record",
        ));
    }
    if args.out.exists() && !args.force {
        return Err(Error::usage(format!("`{}` exists", shown(&args.out)))
            .hint("--force replaces it; --out writes to another file"));
    }
    let found = find(args, &everything());
    let mut kinds: BTreeMap<Kind, Looked> = BTreeMap::new();
    let mut sorted = Vec::new();
    let mut left_out = LeftOut::default();
    let mut others: Vec<&Path> = Vec::new();
    for file in &found.files {
        let source::Origin::File(path) = &file.origin else {
            continue;
        };
        let seen = match source::beginning(path, hl7v2::ENOUGH) {
            Ok(beginning) => match super::single::format_of(&beginning) {
                Format::Fhir if file.form == source::Form::Unrecognized => {
                    match unlike_its_name(path, &beginning) {
                        Some(why) => left_out.add(file.origin.to_string(), why.to_owned()),
                        None => others.push(path.as_path()),
                    }
                    continue;
                }
                Format::Fhir => look(file),
                format => look_at(file, format),
            },
            Err(why) => Err(why.to_string()),
        };
        let kind = match seen {
            Ok((kind, looked)) => {
                let total = kinds.entry(kind).or_default();
                total.files += 1;
                total.records += looked.records;
                total.without_id += looked.without_id;
                total.types.extend(looked.types);
                Some(kind)
            }
            Err(why) => {
                left_out.add(file.origin.to_string(), why);
                None
            }
        };
        sorted.push(Sorted {
            path: path.clone(),
            kind,
        });
    }
    let mut left_out = left_out.problems();
    // The place of these would be in the manifest that is only being written.
    left_out.extend(found.problems.into_iter().map(|problem| Diagnostic {
        severity: Severity::Warning,
        place: None,
        ..problem
    }));
    if kinds.is_empty() {
        context.printer.problems(&left_out);
        return Err(
            Error::usage(format!("`{}` holds no file to load", shown(&args.dir)))
                .hint("Stoker reads resources in .json, .ndjson and .jsonl, and HL7v2 messages and DICOM instances in files of any name; all of them also compressed (.gz, .zst)"),
        );
    }
    let loads: Vec<(Kind, Looked, Vec<String>)> = kinds
        .into_iter()
        .map(|(kind, looked)| (kind, looked, patterns(args, kind, &sorted)))
        .collect();
    let manifest = write(args, &loads);
    fs_err::write(&args.out, &manifest)
        .map_err(|error| Error::elsewhere(error, "`--out FILE` names another place"))?;
    context.printer.problems(&left_out);
    if let Some(words) = passed_by(&others) {
        context.printer.message(&words);
    }
    context.printer.result(&format!(
        "wrote {}; see what it would do with: stoker plan {}",
        shown(&args.out),
        crate::report::format::quoted(&args.out)
    ));
    Ok(Exit::Well)
}

/// Looks at a file of messages, or at an instance.
fn look_at(file: &SourceFile, format: Format) -> Result<(Kind, Looked), String> {
    let mut looked = Looked {
        files: 1,
        ..Looked::default()
    };
    let file = SourceFile {
        form: file.form.within(format),
        ..file.clone()
    };
    let mut refused = None;
    source::glance(&file, &mut |item| {
        if let Item::Facets(found) = item {
            looked.records += 1;
            match &found.refused {
                Some(reason) => refused = Some(reason.message.clone()),
                None => looked.types.extend(Some(found.kind.into_owned())),
            }
        }
        if looked.records < LOOKED_AT {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .map_err(|error| error.to_string())?;
    looked.types.remove("");
    match (refused, looked.types.is_empty()) {
        (Some(why), true) => Err(why),
        _ if format == Format::Dicom => Ok((Kind::Images, looked)),
        _ => Ok((Kind::Messages, looked)),
    }
}

fn look(file: &SourceFile) -> Result<(Kind, Looked), String> {
    let mut looked = Looked {
        files: 1,
        ..Looked::default()
    };
    let (mut executed, mut malformed) = (false, None);
    source::glance(file, &mut |item| {
        match item {
            Item::BundleStart(start) => {
                executed |= matches!(start.kind, BundleKind::Transaction | BundleKind::Batch);
            }
            Item::Facets(_) => looked.records += 1,
            Item::BundleEnd | Item::Remark(_) => {}
            Item::Malformed(problem) => {
                malformed.get_or_insert_with(|| problem.to_string());
            }
            Item::Record(found) => {
                looked.records += 1;
                looked.without_id += u64::from(found.id().is_none());
                // A text without the shape of a type's name says nothing about what the file holds.
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

/// Writes the manifest for the loads that were found.
fn write(args: &InitArgs, loads: &[(Kind, Looked, Vec<String>)]) -> String {
    let name = args
        .dir
        .canonicalize()
        .ok()
        .and_then(|dir| {
            dir.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_else(|| "load".to_owned());
    let mut out = format!("version: 1\nname: {}\n\n", quoted(&name));
    let is_needed = |target: &str| loads.iter().any(|(kind, ..)| kind.target() == target);
    write_targets(&mut out, is_needed);
    line(&mut out, "");
    line(&mut out, "loads:");
    let mut before: Option<&str> = None;
    for (kind, looked, patterns) in loads {
        write_load(&mut out, *kind, looked, patterns, before);
        if *kind == Kind::Base {
            before = Some("base");
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Writes the targets that the loads need, and one of Google's to begin with.
fn write_targets(out: &mut String, is_needed: impl Fn(&str) -> bool) {
    let locals = [
        (
            "local",
            ".stoker/store     # an embedded store; needs no account and no server",
        ),
        (
            "messages",
            "{ dir: .stoker/store, hl7v2_store: hl7v2 }   # beside it, in the same directory",
        ),
        (
            "images",
            "{ dir: .stoker/store, dicom_store: dicom }   # beside it, in the same directory",
        ),
    ];
    line(out, "targets:");
    for (name, local) in locals {
        if is_needed(name) {
            line(out, &format!("  {name}:\n    local: {local}"));
        }
    }
    line(out, "  # google:");
    line(
        out,
        "  #   google: { project: \"${PROJECT}\", location: us-central1, dataset: demo, fhir_store: r4 }",
    );
    line(
        out,
        "  #   ensure: { version: R4, enableUpdateCreate: true }",
    );
    line(out, "  #   rate: 500/s");
}

/// Writes a load; `before` is the load that has to be over before transactions go.
fn write_load(
    out: &mut String,
    kind: Kind,
    looked: &Looked,
    patterns: &[String],
    before: Option<&str>,
) {
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
        Kind::Messages => (
            "messages",
            "HL7v2 messages, those of one patient in the order of the files",
        ),
        Kind::Images => (
            "images",
            "DICOM instances, by their own UIDs, so that it can be repeated",
        ),
    };
    line(out, &format!("  - name: {load}   # {why}"));
    line(out, &format!("    target: {}", kind.target()));
    if let (Kind::Bundles, Some(before)) = (kind, before) {
        line(out, &format!("    after: [{before}]"));
    }
    line(out, "    files:");
    for pattern in patterns {
        line(out, &format!("      - {}", quoted(pattern)));
    }
    let types: Vec<&str> = looked.types.iter().take(6).map(String::as_str).collect();
    let more = if looked.types.len() > 6 { ", …" } else { "" };
    if !types.is_empty() {
        line(out, &format!("    # holds {}{more}", types.join(", ")));
    }
    write_interaction(out, kind, looked);
}

/// Writes what is done with the records of a load, or how to make it repeatable.
fn write_interaction(out: &mut String, kind: Kind, looked: &Looked) {
    let lines: &[&str] = match kind {
        // An entry's own request says what is done with it.
        Kind::Base | Kind::Bundles => &[
            "# Loading transactions that create is not repeatable. To repeat it, uncomment:",
            "# interaction: update",
        ],
        Kind::Messages | Kind::Images => &[],
        Kind::Resources | Kind::Ndjson if looked.without_id == 0 => {
            &["interaction: update   # by the files' ids, so that it can be repeated"]
        }
        Kind::Resources | Kind::Ndjson => &[
            "# Some records have no id. With identifiers that identify, this becomes repeatable:",
            "# interaction: conditional-create",
            "# identity: { Patient: [\"https://clinic.example/mrn\"], missing: create }",
            "interaction: create",
        ],
    };
    for text in lines {
        line(out, &format!("    {text}"));
    }
}

/// A JSON string is a YAML string, so that any file name can stand in a manifest. `$` begins a variable.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text.replace("${", "$${")).to_string();
    // YAML takes no control characters, and a terminal should not.
    harmless_json(&json)
}
