//! `stoker generate`: what other tools need to know about Stoker.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Context, Error, Exit, environment, state};
use crate::{journal::RunDirectory, manifest};

/// Arguments of `stoker generate`.
#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print the page that lists every key of the manifest (docs/manifest.md), in Markdown
    ManifestReference,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the names that a shell completes: of runs, and of loads and targets of a manifest
    #[command(hide = true)]
    Names {
        /// Which names
        which: Which,
        /// The words of the command line, one of which may be a manifest, and the last of which may be empty
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Write man pages into a directory
    Man {
        /// The directory
        dir: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// Of runs beside the manifest, the latest first.
    Runs,
    /// Of loads.
    Loads,
    /// Of targets.
    Targets,
}

/// The names that a shell asks the program for, besides flags and files. Completion by the program itself would be more at home
/// in `clap_complete`; there it is not stable yet.
const BASH: &str = include_str!("completions.bash");
const FISH: &str = include_str!("completions.fish");
const ZSH: &str = include_str!("completions.zsh");

/// The beginning of the last lines of `clap_complete`'s script for zsh, which register it; ours take their place.
const ZSH_END: &str = "\nif [ \"$funcstack[1]\" = \"_stoker\" ]; then";

/// Returns the script that completes command lines in a shell.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stoker", &mut script);
    let names = match shell {
        Shell::Bash => BASH,
        Shell::Fish => {
            // The last word on an option is the one that fish shows: it is the one with the description.
            script.splice(0..0, FISH.bytes());
            ""
        }
        Shell::Zsh => {
            let end = memchr::memmem::rfind(&script, ZSH_END.as_bytes());
            script.truncate(end.unwrap_or(script.len()));
            ZSH
        }
        _ => "",
    };
    script.extend_from_slice(names.as_bytes());
    script
}

/// Returns names to choose from; none where there is nothing to be read, as nobody wants to be told of it at a prompt.
fn names(which: Which, words: &[OsString]) -> Vec<String> {
    if matches!(which, Which::Runs) {
        let runs = RunDirectory::all(&state::nearest()).unwrap_or_default();
        return runs.iter().rev().map(RunDirectory::name).collect();
    }
    let is_manifest = |word: &&Path| {
        let is_yaml = word.extension().is_some_and(|e| e == "yaml" || e == "yml");
        is_yaml && word.is_file()
    };
    let read = words.iter().map(Path::new).find(is_manifest);
    let read = read.and_then(|path| manifest::read(path, &environment()).ok());
    let Some((manifest, _)) = read else {
        return Vec::new();
    };
    match which {
        Which::Targets => manifest.targets.into_iter().map(|t| t.name).collect(),
        _ => manifest.loads.into_iter().map(|load| load.name).collect(),
    }
}

/// Runs the verb.
pub(super) fn run(args: &GenerateArgs, context: Context) -> Result<Exit, Error> {
    match &args.what {
        What::Schema => context.printer.json(&format!("{:#}", manifest::schema())),
        What::ManifestReference => context.printer.document(&manifest::reference()),
        What::Completions { shell } => {
            context.printer.result_bytes(&completions(*shell));
        }
        What::Names { which, words } => {
            for name in names(*which, words) {
                context.printer.result(&name);
            }
        }
        What::Man { dir } => {
            let elsewhere = |error| Error::elsewhere(error, "name another folder for them");
            fs_err::create_dir_all(dir).map_err(elsewhere)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(elsewhere)?;
            context
                .printer
                .message(&format!("wrote man pages to {}", dir.display()));
        }
    }
    Ok(Exit::Well)
}
