//! The server's words on records, for those who ask to see them (`--show-content`). Content: it stands in `rejected/`.

use super::{Error, rejected::Answers};
use crate::{journal::RunDirectory, record::StepId, target};

/// The most characters of one answer that are shown on a terminal; all of it stands in `rejected/answers.ndjson`.
const SHOWN: usize = 400;

/// Reads what the server said.
#[derive(Debug)]
pub struct Words(Answers);

impl Words {
    /// Opens the answers of a run; there need not be any.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn open(run: &RunDirectory) -> Result<Self, Error> {
        Ok(Self(Answers::open(run)?))
    }

    /// Returns what the server said of a record, as one line.
    pub(super) fn of(&mut self, record: StepId) -> Option<String> {
        // A line that cannot be read any more has nothing to show.
        let said = self.0.of(record).ok()??;
        let said = target::said(said.answer.as_bytes());
        let mut words = String::new();
        for word in said.split_whitespace() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        if words.chars().count() > SHOWN {
            words = words.chars().take(SHOWN).collect();
            words.push('…');
        }
        (!words.is_empty()).then_some(words)
    }
}
