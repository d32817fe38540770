//! The command line: reads arguments and the environment, writes to the terminal, chooses the exit code.
//!
//! One file a verb, and no verb uses another: what several share has a file of its own (`planning`, `session`, `state`, …).
//! Nothing below this module reads an environment variable, prints, or exits.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use futures::FutureExt as _;

mod check;
mod closing;
mod connect;
mod create;
mod dry_run;
mod emulate;
mod exit;
mod generate;
mod get;
mod given;
mod indent;
mod init;
mod interrupt;
mod live;
mod load;
mod local;
mod log;
mod made;
mod metrics;
mod not_there;
mod number;
mod observed;
mod online;
mod open_files;
mod plan;
mod planning;
mod printer;
mod prior_runs;
pub mod render;
mod report;
mod reset;
mod resume;
mod resuming;
mod runs;
mod scratch;
mod secrets;
mod select;
mod session;
mod single;
mod sources;
mod state;
mod store;
mod stores;
mod summary;
mod terminal;
mod unload;
mod unloading;
mod verify;
mod watch;
mod watching;
mod wrap;

pub use exit::{Error, Exit};
use printer::Printer;
use terminal::Terminal;
use watching::ProgressKind;

/// Loads healthcare data stores from a manifest, with a true outcome for every record.
#[derive(Debug, Parser)]
#[command(
    name = "stoker",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 all settled well · 1 some records were not loaded, or differ (verify), or stay (unload, reset) · 2 usage or manifest · \
    3 stopped by max_errors · 4 target or credentials · 5 journal, disk or standard output · \
    10 plan --detailed-exitcode: there is work to do · 70 a bug in Stoker · 130 interrupted (a server of `emulate` ends so as meant, with 0)"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Args)]
struct Global {
    /// Show only what is wrong, and of a load that went well nothing
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log what happens at the targets (waits, retries, questions); twice: every request too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value_t = log::LogFormat::Text, value_name = "FORMAT")]
    log_format: log::LogFormat,
    /// Append the log to a file instead of showing it; without -v what -v shows
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<std::path::PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
    /// Also show what may be patients' data: the server's words about a record
    #[arg(long, global = true)]
    show_content: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`; with `CLICOLOR_FORCE` also elsewhere.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a manifest for a directory of files
    Init(init::InitArgs),
    /// Check a manifest and every record it names, without asking any target
    Check(check::CheckArgs),
    /// Show what a load would do
    Plan(plan::PlanArgs),
    /// Plan and load
    Load(load::LoadArgs),
    /// Go on with a run that was cut off
    Resume(resume::ResumeArgs),
    /// Show again what became of every record of a run
    Report(report::ReportArgs),
    /// Show the progress of a run that goes on in another process
    Watch(watch::WatchArgs),
    /// List the runs, or remove old ones
    Runs(runs::RunsArgs),
    /// Compare what the stores hold with what the sources say
    Verify(verify::VerifyArgs),
    /// Delete what a run created
    Unload(unload::UnloadArgs),
    /// Delete what all runs of a manifest created
    Reset(reset::ResetArgs),
    /// Create one resource from a JSON file and print its new id
    Create(create::CreateArgs),
    /// Print one resource
    Get(get::GetArgs),
    /// Serve the embedded local store
    Emulate(emulate::EmulateArgs),
    /// Generate the manifest's schema, shell completions or man pages
    Generate(generate::GenerateArgs),
}

/// The surroundings that a verb needs to know.
#[derive(Debug, Clone, Copy)]
struct Context {
    printer: Printer,
    show_content: bool,
    /// When the program began.
    started: tokio::time::Instant,
}

/// Runs the command line of this process to its end.
pub fn run() -> ExitCode {
    let started = tokio::time::Instant::now();
    exit::name_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            return end(
                Printer::new(false, Color::Auto, Terminal::of_environment()),
                tell(&told),
            );
        }
    };
    let printer = Printer::new(
        cli.global.quiet,
        cli.global.color,
        Terminal::of_environment(),
    );
    let progress = match &cli.verb {
        Verb::Load(args) => Some(args.sending.progress),
        Verb::Resume(args) => Some(args.sending.progress),
        Verb::Watch(args) => Some(args.progress),
        _ => None,
    };
    // From here on, whatever is said beside the result is said to a program.
    if progress == Some(ProgressKind::Json) {
        Printer::speak_json();
    }
    if let Err(error) = log::begin(
        cli.global.verbose,
        cli.global.log_format,
        cli.global.log_file.as_deref(),
        printer,
    ) {
        return end(printer, Err(error));
    }
    let context = Context {
        printer,
        show_content: cli.global.show_content,
        started,
    };
    let is_small = matches!(
        cli.verb,
        Verb::Init(_) | Verb::Check(_) | Verb::Report(_) | Verb::Generate(_)
    );
    if let (Err(error), false) = (open_files::raise(), is_small) {
        return end(printer, Err(error));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = Error::disk(format!("cannot start: {error}"));
            return end(printer, Err(error));
        }
    };
    let verb = async move {
        match cli.verb {
            Verb::Init(args) => init::run(&args, context),
            Verb::Check(args) => check::run(args, context).await,
            Verb::Plan(args) => plan::run(args, context).await,
            Verb::Load(args) => load::run(args, context).await,
            Verb::Resume(args) => resume::run(args, context).await,
            Verb::Report(args) => report::run(&args, context),
            Verb::Watch(args) => watch::run(args, context).await,
            Verb::Runs(args) => runs::run(&args, context),
            Verb::Verify(args) => verify::run(args, context).await,
            Verb::Unload(args) => unload::run(args, context).await,
            Verb::Reset(args) => reset::run(args, context).await,
            Verb::Create(args) => create::run(args, context).await,
            Verb::Get(args) => get::run(args, context).await,
            Verb::Emulate(args) => emulate::run(args, context).await,
            Verb::Generate(args) => generate::run(&args, context),
        }
    };
    let ended = runtime.block_on(async {
        // A panic is told like any other end.
        let ended = std::panic::AssertUnwindSafe(verb).catch_unwind().await;
        ended.unwrap_or_else(|_| {
            Err(Error::internal(
                "the work came to an end in the midst of it",
            ))
        })
    });
    // A thread that still reads a file or waits for a server must not keep the process alive.
    runtime.shutdown_background();
    end(printer, ended)
}

/// Prints what a command line asks for instead of a verb (help, the version), or the mistake in it.
fn tell(told: &clap::Error) -> Result<Exit, Error> {
    let written = told.print();
    if told.use_stderr() {
        return Ok(Exit::Usage);
    }
    match written {
        Ok(()) => Ok(Exit::Well),
        // As in `end`: the reader of a closed pipe has read enough.
        Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Disk),
        Err(why) => Err(Error::disk(format!(
            "cannot write to standard output: {why}"
        ))),
    }
}

fn end(printer: Printer, ended: Result<Exit, Error>) -> ExitCode {
    let exit = match ended {
        Ok(exit) => exit,
        Err(error) => {
            printer.problems(&error.problems);
            error.exit
        }
    };
    let Some(why) = printer.unwritten() else {
        return exit.into();
    };
    // A program that closed the pipe (`stoker plan … | head`) has read enough, and is told by the exit code only.
    if why.kind() != std::io::ErrorKind::BrokenPipe {
        let what = format!("cannot write to standard output: {why}");
        printer.problems(&[crate::diagnostic::Diagnostic::error(what)]);
    }
    match exit {
        Exit::Well | Exit::WorkToDo => Exit::Disk.into(),
        worse => worse.into(),
    }
}

/// Reads the environment for those who may not.
pub(super) fn environment() -> impl Fn(&str) -> Option<String> + Clone + Send + Sync {
    variable
}

/// Reads an environment variable; one that is not Unicode counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "`cli` is the place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns a time as logs and journals have it.
fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
