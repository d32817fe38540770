//! The loads of a manifest that a verb is about: `--load NAME`, `--target NAME`.

use std::collections::BTreeMap;

use super::Error;
use crate::{
    diagnostic::Diagnostic,
    manifest::{self, Manifest},
};

/// Chooses loads by their names, or by their targets'.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Selection {
    /// Only this load (may be given several times)
    #[arg(long = "load", value_name = "NAME")]
    loads: Vec<String>,
    /// Only loads into this target (may be given several times)
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
}

impl Selection {
    /// Tells whether everything is meant.
    pub(super) fn is_everything(&self) -> bool {
        self.loads.is_empty() && self.targets.is_empty()
    }

    /// Leaves in a manifest what is meant, and returns what its reader should know of the rest.
    pub(super) fn choose(&self, manifest: &mut Manifest) -> Result<Vec<Diagnostic>, Error> {
        if self.is_everything() {
            return Ok(Vec::new());
        }
        let loads: Vec<&str> = manifest.loads.iter().map(|l| l.name.as_str()).collect();
        let targets: Vec<&str> = manifest.targets.iter().map(|t| t.name.as_str()).collect();
        let unknown = [
            unknown("load", &self.loads, &loads),
            unknown("target", &self.targets, &targets),
        ];
        let unknown: Vec<Diagnostic> = unknown.into_iter().flatten().collect();
        if !unknown.is_empty() {
            return Err(Error::all(super::Exit::Usage, unknown));
        }
        let is_meant = |load: &manifest::LoadSettings| {
            (self.loads.is_empty() || self.loads.contains(&load.name))
                && (self.targets.is_empty() || self.targets.contains(&load.target))
        };
        let all = std::mem::take(&mut manifest.loads);
        let (mut chosen, left): (Vec<_>, Vec<_>) = all.into_iter().partition(is_meant);
        if chosen.is_empty() {
            let meant = left.iter().filter(|load| self.loads.contains(&load.name));
            let goes: Vec<String> = meant
                .map(|load| format!("`{}` goes to `{}`", load.name, load.target))
                .collect();
            let error = Error::usage("--load and --target leave no load");
            return Err(match goes.as_slice() {
                [] => error.hint("no load goes to this target"),
                goes => error.hint(goes.join(", ")),
            });
        }
        let afters: BTreeMap<String, Vec<String>> = (left.into_iter())
            .map(|load| (load.name, load.after))
            .collect();
        let left: Vec<String> = afters.keys().cloned().collect();
        let mut notes = Vec::new();
        for load in &mut chosen {
            let (mut gone, mut kept) = (Vec::new(), Vec::new());
            let mut names_of: Vec<String> = std::mem::take(&mut load.after);
            names_of.reverse();
            while let Some(name) = names_of.pop() {
                // The predecessors of a load that is left out are waited for all the same.
                match afters.get(&name) {
                    _ if gone.contains(&name) || kept.contains(&name) => {}
                    Some(after) => {
                        names_of.extend(after.iter().rev().cloned());
                        gone.push(name);
                    }
                    None => kept.push(name),
                }
            }
            load.after = kept;
            if !gone.is_empty() {
                notes.push(Diagnostic::warning(format!(
                    "load `{}` does not wait for {}, which {} left out",
                    load.name,
                    names(&gone),
                    if gone.len() == 1 { "is" } else { "are" }
                )));
            }
        }
        if !left.is_empty() {
            let what = format!("left out: {}", names(&left));
            notes.push(Diagnostic::warning(what).hint(
                "what refers to their records is sent as it stands; `known: [RUN]` rewrites it to the ids that an earlier run got",
            ));
        }
        manifest.loads = chosen;
        Ok(notes)
    }
}

fn names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn unknown(what: &str, wanted: &[String], known: &[&str]) -> Vec<Diagnostic> {
    let unknown = wanted.iter().filter(|name| !known.contains(&name.as_str()));
    unknown
        .map(|name| {
            let problem = Diagnostic::error(format!("the manifest has no {what} `{name}`"));
            match manifest::nearest(name, known.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!("it has {}", known.join(", "))),
            }
        })
        .collect()
}
