//! Reads a journal back: the last word on every record, whatever was killed when.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Error,
    format::{EndLine, JournalLine, Line, SessionLine, SettleLine, Tally, VERSION},
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
    /// How the last session that ended in order ended.
    pub end: Option<EndLine>,
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
    Intended,
    /// The store holds it without the references that close its cycle; they are still to come.
    Standing(SettleLine),
    /// It was settled.
    Settled(SettleLine),
}

/// Per record: 0 nothing, 1 intended, otherwise 2 + twice the offset of its last `settle` line, and 1 more where that
/// says that the record stands in the store and is not whole yet.
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
const FIRST_OFFSET: u64 = 2;
const STANDING: u64 = 1;

fn is_standing(mark: u64) -> bool {
    mark >= FIRST_OFFSET && (mark - FIRST_OFFSET) % 2 == STANDING
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
            Line::Session(session) => self.sessions.push(session),
            Line::Intend(records) => {
                for record in records {
                    let mark = self.marks.slot(record);
                    if *mark == NOTHING {
                        *mark = INTENDED;
                    }
                }
            }
            Line::Settle(settled) => {
                let mark = self.marks.slot(settled.record);
                match (settled.outcome, settled.id) {
                    (Outcome::Pending, Some(_)) => *mark = FIRST_OFFSET + offset * 2 + STANDING,
                    // Its second request was not made; its first has been all the same.
                    (Outcome::Pending, None) if is_standing(*mark) => {}
                    (Outcome::Pending, None) => *mark = NOTHING,
                    _ => *mark = FIRST_OFFSET + offset * 2,
                }
            }
            Line::Tally(tally) => {
                self.tallies.insert(tally.session, tally);
            }
            Line::End(end) => self.end = Some(end),
        }
    }

    /// Tells whether a record has been settled.
    pub fn is_settled(&self, record: u64) -> bool {
        let mark = self.mark_of(record);
        mark >= FIRST_OFFSET && !is_standing(mark)
    }

    /// Tells whether the store holds a record without the references that close its cycle.
    pub fn is_standing(&self, record: u64) -> bool {
        is_standing(self.mark_of(record))
    }

    /// Tells whether a record was about to be sent and no more is known.
    pub fn is_interrupted(&self, record: u64) -> bool {
        self.mark_of(record) == INTENDED
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
        let offset = match mark {
            NOTHING => return Ok(Fate::Untouched),
            INTENDED => return Ok(Fate::Intended),
            mark => (mark - FIRST_OFFSET) / 2,
        };
        let line = self.line_at(offset).map_err(|why| Error {
            what: "cannot read the journal",
            path: self.path.clone(),
            why,
        })?;
        match line {
            Line::Settle(settled) if is_standing(mark) => Ok(Fate::Standing(settled)),
            Line::Settle(settled) => Ok(Fate::Settled(settled)),
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
