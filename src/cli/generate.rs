//! `stoker generate`: what other tools need to know about Stoker.

use std::path::PathBuf;

use clap::{CommandFactory, Subcommand};
use clap_complete::Shell;

use super::{Cli, Context, Error, Exit};
use crate::manifest;

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
    /// Write man pages into a directory
    Man {
        /// The directory
        dir: PathBuf,
    },
}

/// Runs the verb.
pub(super) fn run(args: &GenerateArgs, context: Context) -> Result<Exit, Error> {
    match &args.what {
        What::Schema => context.printer.json(&format!("{:#}", manifest::schema())),
        What::ManifestReference => context.printer.result(&manifest::reference()),
        What::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "stoker", &mut out);
            context.printer.result_bytes(&out);
        }
        What::Man { dir } => {
            fs_err::create_dir_all(dir).map_err(Error::disk)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(Error::disk)?;
            context
                .printer
                .message(&format!("wrote man pages to {}", dir.display()));
        }
    }
    Ok(Exit::Well)
}
