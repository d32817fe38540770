//! `stoker check`: the manifest and every record, without asking any target. All problems at once.

use std::{path::PathBuf, sync::mpsc};

use super::{
    Context, Error, Exit, given, number,
    planning::{self, Planning},
    scratch::Scratch,
    select::Selection,
};
use crate::{
    diagnostic::{Diagnostic, Severity, TextPosition},
    event::LoadId,
    plan::{
        Action, Group, PlanHeader, PlannedSource, ReasonCode, Step, Summary, file, text::plural,
    },
    progress::Watcher,
    send::Stop,
    source::{Malformed, Origin},
    unit::grouped,
};

/// Arguments of `stoker check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The manifest; `-` reads it from standard input
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// The highest number of problems of records to show
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = number::any, allow_negative_numbers = true)]
    most: usize,
}

/// Runs the verb.
pub(super) async fn run(args: CheckArgs, context: Context) -> Result<Exit, Error> {
    if given::is_plan(&args.manifest) {
        return Err(given::no_manifest(&args.manifest));
    }
    let manifest = given::read_manifest(&args.manifest, &args.selection, context)?;
    let header = planning::header(&manifest);
    let most = args.most;
    // Standard input is read once, and its records may be looked at again.
    let scratch = given::reads_stdin(&manifest)
        .then(Scratch::create)
        .transpose()?;
    let how = Planning {
        header: &header,
        scratch: std::env::temp_dir(),
        spool: scratch.as_ref().map(|scratch| scratch.run().spool()),
        watcher: &Watcher::none(),
        stop: &Stop::default(),
    };
    let (told, malformed) = mpsc::channel();
    let mut tally = Tally::new(most, told);
    let planned = how.plan(
        move || {
            Ok(Collect {
                steps: Vec::new(),
                most,
            })
        },
        move |file, m| {
            // A record that is too large is told with its step, because it is about what the target takes.
            if m.code() == ReasonCode::Malformed {
                tally.take(&file.origin, m);
            }
        },
    );
    let (surveyed, Collect { steps, .. }) = planned.await?;
    let mut problems = surveyed.problems;
    let is_wrong = problems.iter().any(|p| p.severity == Severity::Error);
    let mut repeated = 0;
    for (problem, records) in malformed {
        repeated += records - 1;
        problems.push(problem);
    }
    problems.extend(steps.iter().map(|step| of_step(step, &surveyed.sources)));
    problems.extend(surveyed.summary.warnings.iter().map(Diagnostic::warning));
    context.printer.problems(&problems);
    let unsupported = surveyed.summary.unsupported();
    let files: u64 = surveyed.summary.loads.iter().map(|load| load.files).sum();
    let records = surveyed.summary.records();
    let shown = problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count() as u64
        + repeated;
    let more = unsupported.saturating_sub(shown);
    if more > 0 {
        context
            .printer
            .message(&format!("… and {more} more; --most shows more of them"));
    }
    let checked = format!(
        "checked {} in {}",
        plural(records, "record"),
        plural(files, "file")
    );
    let wrong = problems.len()
        - problems
            .iter()
            .filter(|p| p.severity == Severity::Warning)
            .count();
    context.printer.result(&match (is_wrong, unsupported) {
        (false, 0) => format!("{checked}: all can be loaded"),
        (false, _) => format!("{checked}: {unsupported} cannot be loaded"),
        (true, _) => format!(
            "{checked}: nothing can be loaded before {} mended",
            match wrong {
                1 => "the error is".to_owned(),
                wrong => format!("the {wrong} errors are"),
            }
        ),
    });
    Ok(match (is_wrong, unsupported) {
        (true, _) => Exit::Usage,
        (false, 0) => Exit::Well,
        (false, _) => Exit::SomeFailed,
    })
}

/// Keeps the records that cannot be loaded.
struct Collect {
    steps: Vec<Step>,
    most: usize,
}

impl file::Sink for Collect {
    fn header(&mut self, _: &PlanHeader) -> Result<(), file::Error> {
        Ok(())
    }
    fn load(&mut self, _: LoadId) -> Result<(), file::Error> {
        Ok(())
    }
    fn group(&mut self, _: &Group) -> Result<(), file::Error> {
        Ok(())
    }
    fn step(&mut self, step: &Step) -> Result<(), file::Error> {
        let is_malformed = matches!(&step.action, Action::Unsupported(reason) if reason.code == ReasonCode::Malformed);
        let is_unsupported = matches!(step.action, Action::Unsupported(_));
        if is_unsupported && !is_malformed && self.steps.len() < self.most {
            self.steps.push(step.clone());
        }
        Ok(())
    }
    fn end(&mut self, _: &[PlannedSource], _: &Summary) -> Result<(), file::Error> {
        Ok(())
    }
}

/// Repetitions of a mistake within a file that are told one by one; more are one problem with a count.
const REPETITIONS: usize = 3;

/// Tells the mistakes of a file when it is over.
struct Tally {
    told: mpsc::Sender<(Diagnostic, u64)>,
    /// The number of problems that may still be told.
    left: usize,
    file: Option<Origin>,
    mistakes: Vec<Mistake>,
}

/// A mistake that a file has once or several times.
struct Mistake {
    what: &'static str,
    count: u64,
    first: Vec<Diagnostic>,
}

impl Tally {
    fn new(most: usize, told: mpsc::Sender<(Diagnostic, u64)>) -> Self {
        Self {
            told,
            left: most,
            file: None,
            mistakes: Vec::new(),
        }
    }

    fn take(&mut self, origin: &Origin, malformed: &Malformed) {
        if self.file.as_ref() != Some(origin) {
            self.tell();
            self.file = Some(origin.clone());
        }
        let what = malformed.problem.what;
        let known = self.mistakes.iter_mut().find(|known| known.what == what);
        if let Some(known) = known {
            known.count += 1;
            if known.first.len() < REPETITIONS {
                known.first.push(of_malformed(origin, malformed));
            }
        } else {
            self.mistakes.push(Mistake {
                what,
                count: 1,
                first: vec![of_malformed(origin, malformed)],
            });
        }
    }

    fn tell(&mut self) {
        for Mistake { count, first, .. } in std::mem::take(&mut self.mistakes) {
            let is_each = count == first.len() as u64;
            let shown = if is_each { first.len() } else { 1 };
            for mut problem in first.into_iter().take(shown.min(self.left)) {
                self.left -= 1;
                if !is_each {
                    let more = grouped(count - 1);
                    problem.message = format!("{} (and {more} more in this file)", problem.message);
                }
                // The receiver is there for longer than the planning.
                let _ = self.told.send((problem, if is_each { 1 } else { count }));
            }
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.tell();
    }
}

fn of_malformed(origin: &Origin, malformed: &Malformed) -> Diagnostic {
    let problem = Diagnostic::error(malformed.to_string()).at(TextPosition {
        file: match origin {
            Origin::File(path) => path.clone(),
            Origin::Stdin => origin.to_string().into(),
        },
        line: usize::try_from(malformed.line).unwrap_or(usize::MAX),
        column: usize::try_from(malformed.column).unwrap_or(usize::MAX),
        length: 1,
    });
    match malformed.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn of_step(step: &Step, sources: &[PlannedSource]) -> Diagnostic {
    let file = sources
        .get(step.position.source.0 as usize)
        .map_or("?", |s| s.name.as_str());
    let (message, path) = match &step.action {
        Action::Unsupported(reason) => (reason.message.clone(), reason.path.clone()),
        _ => (String::new(), None),
    };
    let what = match (step.kind.as_str(), step.position.entry) {
        ("", None) => String::new(),
        (kind, None) => format!("{kind}, "),
        ("", Some(entry)) => format!("entry {entry}, "),
        (kind, Some(entry)) => format!("entry {entry} ({kind}), "),
    };
    let at = path.map(|path| format!("at {path}, ")).unwrap_or_default();
    let which = format!("{what}{at}");
    let which = which.strip_suffix(", ").map(|which| format!("{which}: "));
    let which = which.unwrap_or_default();
    Diagnostic::error(format!("cannot be loaded: {which}{message}")).at(TextPosition {
        file: file.into(),
        line: usize::try_from(step.position.line).unwrap_or(usize::MAX),
        column: 1,
        length: 1,
    })
}
