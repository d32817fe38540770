//! Makes the journal of a run that is over brief: its sessions stay, the lines of its records go.
//!
//! The caller has kept elsewhere what the records came to, as `report` does.

use std::io::Write as _;

use super::{
    Error, Journal, JournalIndex, RunDirectory,
    files::Lines,
    format::{BriefLine, Line},
    private_file,
    reader::Length,
};
use crate::checksum;

impl Journal {
    /// Makes the journal of a run that is over brief: its sessions stay, the lines of its records go.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then it stays as it was.
    pub fn shorten(run: &RunDirectory, told: &JournalIndex, brief: BriefLine) -> Result<(), Error> {
        let mut lines = Lines::of(Line::Journal(told.journal.clone()));
        for session in &told.sessions {
            lines.push(Line::Session(session.clone()));
            if let Some(tally) = told.tallies.get(&session.number) {
                lines.push(Line::Tally(tally.clone()));
            }
        }
        if let Some(end) = &told.end {
            lines.push(Line::End(end.clone()));
        }
        lines.push(Line::Brief(brief));
        let (mut checked, mut seed) = (Vec::new(), checksum::FIRST);
        for object in lines.json.split(|b| *b == b'\n').take(lines.said.len()) {
            let offset = checked.len() as u64;
            let sum = checksum::append(&mut checked, object, seed, offset);
            if offset == 0 {
                seed = sum;
            }
        }
        let (path, length) = (run.journal(), run.length());
        let unnamed = path.with_extension("new");
        let written = (|| {
            let mut file = private_file(&unnamed)?;
            file.write_all(&checked)?;
            file.sync_data()?;
            // A journal may be longer than was noted, and never shorter.
            match fs_err::remove_file(&length) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs_err::rename(&unnamed, &path)?;
            Length::write(&length, checked.len() as u64)
        })();
        written.map_err(|error: std::io::Error| Error {
            what: "cannot shorten the journal",
            path,
            why: error.to_string(),
        })
    }
}
