//! The files that a verification leaves in the directory of its run: its progress while it goes on, then its report.
//! Files that hold values go where content may stand (design §10).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Context, Error, told::Told};
use crate::{
    journal::{self, JournalIndex, RunDirectory},
    report::html,
    send::verify::State,
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
    pub(super) fn state(
        self,
        history: &JournalIndex,
        fresh: bool,
        context: Context,
    ) -> Result<State, Error> {
        let directory = self.directory();
        journal::private_directory(&directory).map_err(Error::disk)?;
        let path = directory.join("verify.ndjson");
        let state = State::open(&path, history, fresh).map_err(Error::disk)?;
        if let Some(begun) = state.goes_on_since() {
            let begun = begun.strftime("%Y-%m-%dT%H:%M:%SZ");
            context.printer.message(&format!(
                "going on with the verification that was begun at {begun} (--fresh begins anew)"
            ));
        }
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

/// Writes a document whole or not at all.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("new");
    let written = journal::private_file(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs_err::rename(&new, path));
    written.map_err(Error::disk)
}
