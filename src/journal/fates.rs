//! Reads what a journal says of single records: the line that holds, by its place.

use std::os::unix::fs::FileExt;

use super::{
    Error, JournalIndex,
    format::Line,
    reader::{BITS, NOTHING, RecordState, WAY_ON, is_standing},
};
use crate::{checksum, record::StepId};

/// Reads the lines of records. Records are settled in about the order of the plan, so that a few windows of the file hold
/// the lines of many that follow each other.
#[derive(Debug)]
pub struct RecordStates<'a> {
    history: &'a JournalIndex,
    /// The number of bytes that are read in one go.
    window: usize,
    /// The window that was used last comes first.
    windows: Vec<(u64, Vec<u8>)>,
    line: Vec<u8>,
}

/// The number of windows that are kept: the lines of records in flight at one time are spread over no more of the file.
const WINDOWS: usize = 8;

impl<'a> RecordStates<'a> {
    pub(super) fn of_history(history: &'a JournalIndex, window: usize) -> Self {
        Self {
            history,
            window,
            windows: Vec::new(),
            line: Vec::new(),
        }
    }

    /// Returns what the journal says of a record.
    pub fn of(&mut self, record: StepId) -> Result<RecordState, Error> {
        let mark = self.history.mark_of(record);
        if mark == NOTHING {
            return Ok(RecordState::Untouched);
        }
        let offset = mark >> BITS;
        let history = self.history;
        let line = self
            .line_at(offset)
            .map_err(|why| history.fail(format!("the line at byte {offset}: {why}; {WAY_ON}")))?;
        match line {
            Line::Settle(settled) if is_standing(mark) => Ok(RecordState::Standing(settled)),
            Line::Settle(settled) => Ok(RecordState::Settled(settled)),
            Line::Intend(intend) => Ok(RecordState::Intended(intend)),
            _ => Ok(RecordState::Untouched),
        }
    }

    fn line_at(&mut self, offset: u64) -> Result<Line, String> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        loop {
            let at = offset + line.len() as u64;
            let size = self.window as u64;
            let window = self.read(at / size).map_err(|e| e.to_string())?;
            let inside = usize::try_from(at % size).map_err(|e| e.to_string())?;
            let rest = window.get(inside..).unwrap_or_default();
            match memchr::memchr(b'\n', rest) {
                Some(end) => line.extend_from_slice(rest.get(..end).unwrap_or_default()),
                None if !rest.is_empty() => {
                    line.extend_from_slice(rest);
                    continue;
                }
                None => {}
            }
            break;
        }
        let parsed = checksum::strip(&mut line, self.history.seed, offset)
            .map_err(|e| e.to_string())
            .and_then(|_| serde_json::from_slice(&line).map_err(|e| e.to_string()));
        self.line = line;
        parsed
    }

    fn read(&mut self, number: u64) -> std::io::Result<&[u8]> {
        match self.windows.iter().position(|(n, _)| *n == number) {
            Some(0) => {}
            Some(at) => {
                if let Some(found) = self.windows.get_mut(..=at) {
                    found.rotate_right(1);
                }
            }
            None => {
                let mut buffer = match self.windows.len() {
                    WINDOWS.. => self
                        .windows
                        .pop()
                        .map(|(_, buffer)| buffer)
                        .unwrap_or_default(),
                    _ => Vec::new(),
                };
                // The file may grow meanwhile; the lines that are asked for were whole before.
                buffer.resize(self.window, 0);
                let mut read = 0;
                while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
                    let file = self.history.file.file();
                    match file.read_at(rest, number * self.window as u64 + read as u64)? {
                        0 => break,
                        length => read += length,
                    }
                }
                buffer.truncate(read);
                self.windows.insert(0, (number, buffer));
            }
        }
        Ok(self.windows.first().map_or(&[], |(_, window)| window))
    }
}
