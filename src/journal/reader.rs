//! Reads a journal back: the last word on every record, whatever was killed when.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    format::{
        EndLine, Ending, IntendLine, JournalLine, Line, SessionLine, SettleLine, Tally, VERSION,
    },
};
use crate::record::Outcome;

/// What a journal says, compactly: per record where its last line stands, not the line.
#[derive(Debug)]
pub struct History {
    /// What the file is.
    pub journal: JournalLine,
    /// The sessions so far.
    pub sessions: Vec<SessionLine>,
    /// The last tally of each session.
    pub tallies: BTreeMap<u32, Tally>,
    /// How the last session ended, if it ended in order.
    pub end: Option<EndLine>,
    /// How many sessions ended in order; the others were killed, or one goes on.
    pub ended: usize,
    /// What earlier runs had loaded has been looked up.
    pub is_consulted: bool,
    marks: Marks,
    path: PathBuf,
    file: fs_err::File,
    /// How many bytes are whole lines; what follows is a torn tail.
    pub whole: u64,
}

/// What a journal says of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// Nothing.
    Untouched,
    /// It was about to be sent, and no more is known.
    Intended(IntendLine),
    /// The store holds it without the references that close its cycle; they are still to come.
    Standing(SettleLine),
    /// It was settled.
    Settled(SettleLine),
}

/// Per record: what kind of line its last one was, and where that line stands.
///
/// The low four bits are 0 for nothing, 1 for an `intend`, otherwise 2 and the place of the outcome among all; the
/// others the offset of the line. `pending` among these says that the record stands in the store and is not whole yet.
///
/// Kept in pages, so that neither growing nor a damaged line that names a record far beyond the plan takes more
/// memory than the records that were named: 8 bytes each where they are dense.
#[derive(Debug, Default)]
struct Marks {
    pages: HashMap<u64, Box<[u64; PAGE]>>,
}

/// Marks of a page: 4 kB, so that the map's own cost per page does not matter.
const PAGE: usize = 512;

impl Marks {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is less than a page"
    )]
    fn place(record: u64) -> usize {
        (record % PAGE as u64) as usize
    }

    fn slot(&mut self, record: u64) -> &mut u64 {
        let page = self
            .pages
            .entry(record / PAGE as u64)
            .or_insert_with(|| Box::new([NOTHING; PAGE]));
        // The remainder is less than the page's length.
        &mut page[Self::place(record)]
    }

    fn get(&self, record: u64) -> u64 {
        self.pages
            .get(&(record / PAGE as u64))
            .map_or(NOTHING, |page| page[Self::place(record)])
    }

    fn last(&self) -> Option<u64> {
        let (page, marks) = self.pages.iter().max_by_key(|(page, _)| **page)?;
        let last = marks.iter().rposition(|mark| *mark != NOTHING)?;
        Some(page * PAGE as u64 + last as u64)
    }
}

const NOTHING: u64 = 0;
const INTENDED: u64 = 1;
const SETTLED: u64 = 2;
const BITS: u32 = 4;

/// The mark of a settled record.
fn settled_mark(outcome: Outcome, offset: u64) -> u64 {
    let place = Outcome::ALL.iter().position(|o| *o == outcome);
    (offset << BITS) | (SETTLED + place.unwrap_or_default() as u64)
}

/// The outcome that a mark tells.
fn outcome_of(mark: u64) -> Option<Outcome> {
    let place = (mark % (1 << BITS)).checked_sub(SETTLED)?;
    Outcome::ALL.get(usize::try_from(place).ok()?).copied()
}

fn is_standing(mark: u64) -> bool {
    outcome_of(mark) == Some(Outcome::Pending)
}

/// Reads a journal. A torn tail is ignored; any other line that cannot be read is an error.
pub fn read(path: &Path) -> Result<History, Error> {
    let fail = |why: String| Error {
        what: "cannot read the journal",
        path: path.to_owned(),
        why,
    };
    let file = fs_err::File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut lines = BufReader::with_capacity(1 << 20, &file);
    let mut history: Option<History> = None;
    let mut line = Vec::new();
    let (mut offset, mut number) = (0u64, 0u64);
    loop {
        line.clear();
        let length = lines
            .read_until(b'\n', &mut line)
            .map_err(|e| fail(e.to_string()))?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        number += 1;
        let parsed: Line =
            serde_json::from_slice(&line).map_err(|e| fail(format!("line {number}: {e}")))?;
        match (&mut history, parsed) {
            (None, Line::Journal(journal)) if journal.version == VERSION => {
                history = Some(History {
                    journal,
                    sessions: Vec::new(),
                    tallies: BTreeMap::new(),
                    end: None,
                    ended: 0,
                    is_consulted: false,
                    marks: Marks::default(),
                    path: path.to_owned(),
                    file: fs_err::File::open(path).map_err(|e| fail(e.to_string()))?,
                    whole: 0,
                });
            }
            (None, Line::Journal(journal)) => {
                return Err(fail(format!(
                    "it has version {}, and this Stoker reads version {VERSION}",
                    journal.version
                )));
            }
            (None, _) => return Err(fail("it does not begin with a `journal` line".to_owned())),
            (Some(history), parsed) => history.take(parsed, offset),
        }
        offset += length as u64;
        if let Some(history) = &mut history {
            history.whole = offset;
        }
    }
    history.ok_or_else(|| fail("it is empty".to_owned()))
}

impl History {
    fn take(&mut self, line: Line, offset: u64) {
        match line {
            Line::Journal(_) => {}
            Line::Session(session) => {
                self.sessions.push(session);
                self.end = None;
            }
            Line::Intend(intend) => {
                for record in intend.records {
                    *self.marks.slot(record) = (offset << BITS) | INTENDED;
                }
            }
            Line::Consulted(_) => self.is_consulted = true,
            Line::Withdraw(records) => {
                for record in records {
                    let mark = self.marks.slot(record);
                    if *mark % (1 << BITS) == INTENDED {
                        *mark = NOTHING;
                    }
                }
            }
            Line::Settle(settled) => {
                let mark = self.marks.slot(settled.record);
                *mark = match (settled.outcome, settled.id) {
                    // Its second request was not made; its first has been all the same.
                    (Outcome::Pending, None) if is_standing(*mark) => *mark,
                    (Outcome::Pending, None) => NOTHING,
                    (outcome, _) => settled_mark(outcome, offset),
                };
            }
            Line::Tally(tally) => {
                self.tallies.insert(tally.session, tally);
            }
            Line::End(end) => {
                self.end = Some(end);
                self.ended += 1;
            }
        }
    }

    /// Tells how a record was settled, if it was.
    pub fn outcome(&self, record: u64) -> Option<Outcome> {
        outcome_of(self.mark_of(record)).filter(|outcome| *outcome != Outcome::Pending)
    }

    /// Tells whether the store holds a record without the references that close its cycle.
    pub fn is_standing(&self, record: u64) -> bool {
        is_standing(self.mark_of(record))
    }

    /// Tells whether a record was about to be sent and no more is known.
    pub fn is_interrupted(&self, record: u64) -> bool {
        self.mark_of(record) % (1 << BITS) == INTENDED
    }

    /// Tells whether nothing of the run is left to do: it ended in order, and of no record is it open what became of it.
    pub fn is_over(&self) -> bool {
        let over = |end: &EndLine| matches!(end.how, Ending::Complete | Ending::Superseded);
        self.end.as_ref().is_some_and(over) && self.counts().1 == 0
    }

    /// Counts the records that were settled, and those that were about to be sent and of which no more is known.
    pub fn counts(&self) -> (u64, u64) {
        let marks = || self.marks.pages.values().flat_map(|page| page.iter());
        let interrupted = marks().filter(|mark| **mark % (1 << BITS) == INTENDED);
        let settled = marks().filter(|mark| outcome_of(**mark).is_some());
        (settled.count() as u64, interrupted.count() as u64)
    }

    fn mark_of(&self, record: u64) -> u64 {
        self.marks.get(record)
    }

    /// Returns the highest record that the journal speaks of.
    pub fn last_record(&self) -> Option<u64> {
        self.marks.last()
    }

    /// Returns how many bytes the marks of all records take.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.marks.pages.len() * size_of::<[u64; PAGE]>()
    }

    /// Returns what the journal says of a record.
    pub fn fate(&self, record: u64) -> Result<Fate, Error> {
        let mark = self.mark_of(record);
        if mark == NOTHING {
            return Ok(Fate::Untouched);
        }
        let line = self.line_at(mark >> BITS).map_err(|why| Error {
            what: "cannot read the journal",
            path: self.path.clone(),
            why,
        })?;
        match line {
            Line::Settle(settled) if is_standing(mark) => Ok(Fate::Standing(settled)),
            Line::Settle(settled) => Ok(Fate::Settled(settled)),
            Line::Intend(intend) => Ok(Fate::Intended(intend)),
            _ => Ok(Fate::Untouched),
        }
    }

    fn line_at(&self, offset: u64) -> Result<Line, String> {
        // A settle line is some 150 bytes; longer ones (many expressions) are read on.
        let mut line = Vec::with_capacity(512);
        let mut chunk = [0u8; 512];
        loop {
            let at = offset + line.len() as u64;
            let length = self
                .file
                .file()
                .read_at(&mut chunk, at)
                .map_err(|e| e.to_string())?;
            let read = chunk.get(..length).unwrap_or_default();
            match memchr::memchr(b'\n', read) {
                Some(end) => line.extend_from_slice(read.get(..end).unwrap_or_default()),
                None if length > 0 => {
                    line.extend_from_slice(read);
                    continue;
                }
                None => {}
            }
            return serde_json::from_slice(&line).map_err(|e| e.to_string());
        }
    }
}
