//! The files that a verification leaves in the directory of its run: its progress while it goes on, then its report. That of a
//! manifest leaves its progress in the state directory, and no report. Files that hold values go where content may stand
//! (design §10).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Context, Error, VerifyArgs, state, told::Told};
use crate::{
    diagnostic::Diagnostic,
    journal::{self, JournalIndex, RunDirectory},
    report::html,
    send::verify::{State, Subject, Verify},
};

/// The place for the files of a run's verification.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) run: &'a RunDirectory,
    pub(super) context: Context,
}

impl Kept<'_> {
    fn directory(self) -> PathBuf {
        if self.context.show_content {
            self.run.rejected()
        } else {
            self.run.path().to_owned()
        }
    }

    /// Opens the state, and says so where it goes on with an earlier verification.
    pub(super) fn state(self, history: &JournalIndex, fresh: bool) -> Result<State, Error> {
        let directory = self.directory();
        journal::private_directory(&directory).map_err(Error::disk)?;
        let path = directory.join("verify.ndjson");
        let state = State::open(&path, &Subject::of_run(history), fresh).map_err(Error::disk)?;
        tell(&state, "the run's journal has grown since", self.context);
        Ok(state)
    }

    /// Writes the report, and returns where its page is.
    pub(super) fn write(self, told: &Told<'_>) -> Result<PathBuf, Error> {
        let directory = self.directory();
        let page = directory.join("verify.html");
        let rendered = html::verified(&told.verified, &self.run.name(), self.context.show_content);
        journal::private_directory(&directory).map_err(Error::disk)?;
        put(&page, &rendered)?;
        put(&directory.join("verify.json"), &told.json()?)?;
        put(&directory.join("verify.txt"), &told.text())?;
        Ok(page)
    }
}

/// The progress of the verification of a manifest.
pub(super) struct Aside {
    pub(super) state: State,
    /// The folders that go with it where nobody else uses them: the innermost first.
    folders: Vec<PathBuf>,
}

impl Aside {
    /// Opens it. A verification whose progress cannot be kept is carried out all the same, and that is said.
    pub(super) fn open(
        verify: &Verify<'_>,
        args: &VerifyArgs,
        context: Context,
    ) -> Result<Option<Self>, Error> {
        let subject = Subject::of_sources(verify).map_err(super::failed)?;
        let state = state::of(&verify.plan.header);
        let mut folders = vec![state.join("verify")];
        if !state.exists() {
            folders.push(state.clone());
        }
        if context.show_content {
            folders.insert(0, state.join("verify/rejected"));
        }
        let directory = folders.first().cloned().unwrap_or_default();
        let what = args.what.as_deref().and_then(Path::file_name);
        let mut file = what.unwrap_or_default().to_owned();
        file.push(".ndjson");
        let path = directory.join(file);
        let opened = journal::private_directory(&directory)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                State::open(&path, &subject, args.fresh).map_err(|error| error.to_string())
            });
        match opened {
            Ok(state) => {
                let why = "the sources, or what is known of them, are not what they were then";
                tell(&state, why, context);
                Ok(Some(Self { state, folders }))
            }
            Err(why) => {
                let what = format!("how far the verification comes is not kept: {why}");
                let hint = "if it is cut off, it has to begin anew";
                let problem = Diagnostic::warning(what).hint(hint);
                context.printer.problems(&[problem]);
                Ok(None)
            }
        }
    }

    /// Ends the verification.
    pub(super) fn end(self) -> Result<(), Error> {
        self.state.end().map_err(Error::disk)?;
        for folder in self.folders {
            let _ = fs_err::remove_dir(folder);
        }
        Ok(())
    }
}

/// Says whether an earlier verification is of use. `why` is the reason why one that was cut off is not.
fn tell(state: &State, why: &str, context: Context) {
    let at = |begun: jiff::Timestamp| begun.strftime("%Y-%m-%dT%H:%M:%SZ");
    if let Some(begun) = state.goes_on_since() {
        context.printer.message(&format!(
            "going on with the verification that was begun at {} (--fresh begins anew)",
            at(begun)
        ));
    }
    if let Some(begun) = state.outdated_since() {
        context.printer.message(&format!(
            "the verification that was begun at {} and cut off is begun anew: {why}",
            at(begun)
        ));
    }
}

/// Writes a document whole or not at all.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    let written = journal::private_file(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs_err::rename(&new, path));
    written.map_err(Error::disk)
}
