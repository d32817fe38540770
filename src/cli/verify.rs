//! `stoker verify`: compares what the stores hold with what the sources say.

use std::{cell::Cell, collections::HashMap, fmt::Write as _, path::PathBuf, sync::Arc};

use serde::Serialize;

use super::{
    Context, Error, Exit, carry, connect, interrupt, load, plan as planning, runs,
    scratch::Scratch,
    select::Selection,
    stores,
    unload::{SHOWN_EVERY, records},
};
use crate::{
    diagnostic::Diagnostic,
    journal::{self, RunDirectory},
    manifest::Store as Settings,
    plan::file::Saved,
    report::text::{plain, quoted},
    send::{
        Stop,
        verify::{self, Differing, Kind, Outcome, Verified, Verify},
    },
    source::Bodies,
    unit::grouped,
};

/// Arguments of `stoker verify`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// A run (its directory, or its name), or a manifest
    #[arg(value_name = "RUN|MANIFEST")]
    what: PathBuf,
    /// Read so many records, drawn from all [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    sample: Option<u64>,
    /// Read every record, and name those that no source says
    #[arg(long)]
    all: bool,
    /// Only count what the stores hold, type by type
    #[arg(long, conflicts_with_all = ["all", "sample"])]
    counts: bool,
    /// What the stores hold besides is no difference
    #[arg(long)]
    ignore_extra: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// So many records are read where nothing else is said: if one in a hundred is not the same, it is found out nearly always.
const SAMPLE: u64 = 1_000;

/// Runs the verb.
pub(super) async fn run(args: VerifyArgs, context: Context) -> Result<Exit, Error> {
    let stop = Stop::default();
    interrupt::listen(stop.clone());
    let work = async {
        if args.what.is_file() {
            of_manifest(&args, &stop, context).await
        } else {
            of_run(&args, context).await
        }
    };
    tokio::select! {
        done = work => done,
        () = stop.stopping() => Err(Error::new(Exit::Interrupted, "interrupted; nothing was written")),
    }
}

async fn of_run(args: &VerifyArgs, context: Context) -> Result<Exit, Error> {
    let run = runs::find(Some(&args.what))?;
    let history = journal::read(&run.journal()).map_err(Error::disk)?;
    if history.brief.is_some() {
        let message = format!("{} sent nothing, and is kept in brief", quoted(run.path()));
        return Err(Error::usage(message).hint("verify the manifest: `stoker verify MANIFEST`"));
    }
    let saved = Saved::open(&run.plan()).map_err(Error::disk)?;
    let was_spooled = run.spool().exists();
    let checked = carry::check_sources(&saved, &run, false, WAY_ON).await;
    let verified = match checked {
        Ok(()) => verify(args, Arc::new(saved), &history, &run, false, context).await,
        Err(error) => Err(error),
    };
    // What was spooled to be read again is not needed any more.
    if !was_spooled {
        let _ = fs_err::remove_dir_all(run.spool());
    }
    verified
}

/// What can be done about sources that are not what they were.
const WAY_ON: &str = "put it back as it was, or verify the manifest: `stoker verify MANIFEST` goes by what the files say now";

async fn of_manifest(args: &VerifyArgs, stop: &Stop, context: Context) -> Result<Exit, Error> {
    if load::is_plan(&args.what) {
        let message = format!("{} is a saved plan", quoted(&args.what));
        return Err(Error::usage(message).hint("name a run, or the manifest"));
    }
    let manifest = planning::read_manifest(&args.what, &Selection::default(), context)?;
    let header = planning::header(&manifest, planning::documented(&manifest));
    for target in &header.targets {
        connect::refuse_missing(&target.settings)?;
    }
    let connections = connect::connect_all(&header).await?;
    let verified = async {
        let header = connect::with_facts(header, &connections).await?;
        let scratch = Scratch::create()?;
        let surveyed = planning::survey(None, &header, &scratch, stop, context).await?;
        planning::refuse_problems(&surveyed.problems, context)?;
        let saved = Saved::open(&scratch.run().plan()).map_err(Error::disk)?;
        let saved = Arc::new(saved);
        planning::consult(false, &saved, &scratch, &connections, context).await?;
        let history = journal::read(&scratch.run().journal()).map_err(Error::disk)?;
        verify(args, saved, &history, scratch.run(), true, context).await
    }
    .await;
    connect::close_all(connections).await;
    verified
}

async fn verify(
    args: &VerifyArgs,
    saved: Arc<Saved>,
    history: &journal::History,
    run: &RunDirectory,
    is_whole: bool,
    context: Context,
) -> Result<Exit, Error> {
    let header = &saved.header;
    let mut names: Vec<&str> = Vec::new();
    for load in &header.loads {
        let target = header
            .targets
            .iter()
            .find(|t| t.settings.name == load.target);
        let is_receiver = target.is_some_and(|t| matches!(t.settings.store, Settings::Mllp { .. }));
        if is_receiver {
            let what = format!(
                "target `{}` is a receiver over MLLP, which cannot be asked what it has: load `{}` is left out",
                load.target, load.name
            );
            context.printer.problems(&[Diagnostic::warning(what)]);
        } else if !names.contains(&load.target.as_str()) {
            names.push(&load.target);
        }
    }
    let bodies = Arc::new(Bodies::new(carry::readable(&saved.sources, &run.spool())));
    let connections = stores::connect(header, &names).await?;
    let verified = async {
        let stores = stores::of(header, &names, &connections, 0).await?;
        let verify = Verify {
            plan: &saved,
            bodies: &bodies,
            history,
            stores: &stores,
            sample: (!args.all).then(|| args.sample.unwrap_or(SAMPLE)),
            counts_only: args.counts,
            is_whole,
        };
        carry_out(&verify, context).await
    }
    .await;
    connect::close_all(connections).await;
    let told = Told {
        args,
        verified: verified?,
        context,
    };
    told.tell()
}

async fn carry_out(verify: &Verify<'_>, context: Context) -> Result<Verified, Error> {
    let read = Cell::new(0_u64);
    let told = |more: u64| read.set(read.get() + more);
    let mut going = std::pin::pin!(verify.run(&told));
    loop {
        tokio::select! {
            ended = &mut going => return ended.map_err(failed),
            () = tokio::time::sleep(SHOWN_EVERY) => {
                context.printer.message(&format!("{} compared", records(read.get())));
            }
        }
    }
}

fn failed(error: verify::Error) -> Error {
    match error {
        verify::Error::Unreadable(_) | verify::Error::Journal(_) => Error::disk(error),
        verify::Error::Silent(ref silent) => {
            let hint = silent.hint.clone();
            let failed = Error::new(Exit::Target, &error);
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        }
        verify::Error::Target { target, failure } => {
            connect::at_target(&target, connect::failed(&failure))
        }
    }
}

/// What was found, and how it is told.
struct Told<'a> {
    args: &'a VerifyArgs,
    verified: Verified,
    context: Context,
}

#[derive(Serialize)]
struct Report<'a> {
    same: bool,
    sample: bool,
    read: u64,
    outcomes: HashMap<&'static str, u64>,
    kinds: Vec<Row<'a>>,
    differing: Vec<DifferingRow<'a>>,
    matched_and_looked_for: u64,
    in_doubt: Doubt,
    not_loaded: u64,
}

#[derive(Serialize)]
struct Doubt {
    there: u64,
    not_there: u64,
    unproven: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    target: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    counts: &'a Kind,
}

#[derive(Serialize)]
struct DifferingRow<'a> {
    target: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<At<'a>>,
}

#[derive(Serialize)]
struct At<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Same, "same"),
    (Outcome::Changed, "changed"),
    (Outcome::Missing, "missing"),
    (Outcome::Extra, "extra"),
    (Outcome::Unknown, "unknown"),
];

impl Told<'_> {
    fn is_same(&self) -> bool {
        let differ = OUTCOMES.iter().filter(|(outcome, _)| match outcome {
            Outcome::Same => false,
            Outcome::Extra => !self.args.ignore_extra,
            _ => true,
        });
        differ
            .map(|(outcome, _)| self.verified.of(*outcome))
            .sum::<u64>()
            == 0
    }

    fn tell(&self) -> Result<Exit, Error> {
        if self.args.json {
            self.context.printer.json(&self.json()?);
        } else {
            self.context.printer.result(self.text().trim_end());
        }
        Ok(if self.is_same() {
            Exit::Well
        } else {
            Exit::SomeFailed
        })
    }

    /// Those that are told: what is there besides, only where it counts.
    fn differing(&self) -> impl Iterator<Item = &Differing> {
        let differing = self.verified.differing.iter();
        differing.filter(|d| d.outcome != Outcome::Extra || !self.args.ignore_extra)
    }

    fn json(&self) -> Result<String, Error> {
        let verified = &self.verified;
        let is_shown = self.context.show_content;
        let [there, not_there, unproven] = verified.proven;
        let report = Report {
            same: self.is_same(),
            sample: verified.is_sample,
            read: verified.read,
            outcomes: OUTCOMES
                .into_iter()
                .map(|(outcome, word)| (word, verified.of(outcome)))
                .collect(),
            kinds: verified
                .kinds
                .iter()
                .map(|((target, kind), counts)| Row {
                    target,
                    kind,
                    counts,
                })
                .collect(),
            differing: self
                .differing()
                .map(|differing| DifferingRow {
                    target: &differing.target,
                    kind: &differing.kind,
                    id: differing.id.as_deref(),
                    place: differing.place.as_deref(),
                    outcome: differing.outcome,
                    status: differing.status,
                    note: differing.note,
                    differences: differing
                        .differences
                        .iter()
                        .map(|difference| At {
                            path: &difference.path,
                            source: difference.ours.as_deref().filter(|_| is_shown),
                            store: difference.theirs.as_deref().filter(|_| is_shown),
                        })
                        .collect(),
                })
                .collect(),
            matched_and_looked_for: verified.looked_for,
            in_doubt: Doubt {
                there,
                not_there,
                unproven,
            },
            not_loaded: verified.not_loaded,
        };
        serde_json::to_string_pretty(&report).map_err(Error::internal)
    }

    fn text(&self) -> String {
        let verified = &self.verified;
        let mut text = String::new();
        let words: Vec<String> = OUTCOMES
            .iter()
            .map(|(outcome, word)| (verified.of(*outcome), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{} {word}", grouped(count)))
            .collect();
        let what = match (self.args.counts, verified.is_sample) {
            (true, _) => "counted only".to_owned(),
            (_, true) => format!("a sample of {} was read", records(verified.read)),
            _ => format!("{} read", records(verified.read)),
        };
        let words = if words.is_empty() {
            "nothing differs".to_owned()
        } else {
            words.join(", ")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}; {what}");
        self.table(&mut text);
        self.list(&mut text);
        let [there, not_there, unproven] = verified.proven;
        if there + not_there + unproven > 0 {
            let _ = writeln!(
                text,
                "\nIn doubt  {} of which the run does not know whether they arrived: {} are there, {} are not, {} nobody knows of",
                records(there + not_there + unproven),
                grouped(there),
                grouped(not_there),
                grouped(unproven)
            );
        }
        if verified.looked_for > 0 {
            let _ = writeln!(
                text,
                "\n{} met a condition when they were loaded; that they are there was looked for, not what they hold",
                records(verified.looked_for)
            );
        }
        if verified.not_loaded > 0 {
            let _ = writeln!(
                text,
                "\nNot loaded, and not looked for: {} of the plan",
                records(verified.not_loaded)
            );
        }
        text
    }

    fn table(&self, text: &mut String) {
        let kinds = &self.verified.kinds;
        let mut last = "";
        for ((target, kind), counts) in kinds {
            if target != last {
                let _ = writeln!(
                    text,
                    "\n{target:<24} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
                    "sources", "store", "same", "changed", "missing", "extra", "unknown"
                );
                last = target;
            }
            let held = counts.held.map_or_else(|| "?".to_owned(), grouped);
            let name = if kind.is_empty() { "(all)" } else { kind };
            let cell = |count: u64| match count {
                0 => "-".to_owned(),
                count => grouped(count),
            };
            let _ = writeln!(
                text,
                "  {:<22} {:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
                plain(name),
                grouped(counts.expected),
                held,
                cell(counts.same),
                cell(counts.changed),
                cell(counts.missing),
                cell(counts.extra),
                cell(counts.unknown)
            );
        }
    }

    fn list(&self, text: &mut String) {
        for (outcome, word) in OUTCOMES {
            let found: Vec<&Differing> =
                self.differing().filter(|d| d.outcome == outcome).collect();
            if found.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n{word}");
            for differing in found.iter().take(NAMED) {
                let id = differing.id.as_deref().unwrap_or("no id");
                let place = differing.place.as_deref().unwrap_or_default();
                let status = differing.status.filter(|_| outcome == Outcome::Unknown);
                let status = status
                    .map(|status| format!("  {status}"))
                    .unwrap_or_default();
                let note = differing
                    .note
                    .map(|note| format!("  {note}"))
                    .unwrap_or_default();
                let kind = if differing.kind.is_empty() {
                    String::new()
                } else {
                    format!("{}  ", differing.kind)
                };
                let _ = writeln!(text, "  {kind}{id}  {place}{status}{note}");
                for difference in &differing.differences {
                    let _ = writeln!(text, "      {}", difference.path);
                    if self.context.show_content {
                        let of = |value: &Option<String>| {
                            value.clone().unwrap_or_else(|| "nothing".to_owned())
                        };
                        let (ours, theirs) = (of(&difference.ours), of(&difference.theirs));
                        let _ =
                            writeln!(text, "          source {ours}\n          store  {theirs}");
                    }
                }
            }
            if found.len() > NAMED {
                let _ = writeln!(
                    text,
                    "  … and {} more (--json names them)",
                    grouped((found.len() - NAMED) as u64)
                );
            }
        }
    }
}

/// So many of each outcome are named for people.
const NAMED: usize = 20;
