//! Reads a journal back: the last word on every record, whatever was killed when.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::{
    Error, RecordStates,
    format::{
        BriefLine, ConsultedLine, EndLine, IntendLine, JournalLine, Line, SessionLine, SettleLine,
        Tally, VERSION,
    },
};
use crate::{checksum, record::Outcome, record::StepId};

/// The index of a journal: per record the offset of its last line, not the line.
#[derive(Debug)]
pub struct JournalIndex {
    /// The first line of the file: its version, the run's name and mark, and the Stoker that began it.
    pub journal: JournalLine,
    /// The sessions so far.
    pub sessions: Vec<SessionLine>,
    /// The last tally of each session.
    pub tallies: BTreeMap<u32, Tally>,
    /// The closing line of the last session, if it ended in order.
    pub end: Option<EndLine>,
    /// The number of sessions that ended in order; the others were killed, or one goes on.
    pub ended: usize,
    /// The closing line of each session that ended in order, by the session's number.
    pub ends: BTreeMap<u32, EndLine>,
    /// The loads of earlier runs have been looked up.
    pub is_consulted: bool,
    /// The run sent nothing, and is kept in brief.
    pub brief: Option<BriefLine>,
    /// The answers of that.
    pub consulted: ConsultedLine,
    /// When it had last been written to as reading began; none where nobody can tell.
    pub written: Option<SystemTime>,
    marks: Marks,
    /// Those for which something was about to be removed, and that were not settled since.
    removed: HashSet<StepId>,
    path: PathBuf,
    pub(super) file: fs_err::File,
    /// The checksum of the first line, the seed of all others.
    pub(super) seed: u32,
    /// The length of the whole lines, in bytes; beyond them stands a torn tail.
    pub whole: u64,
}

/// The state of a record by its journal.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordState {
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
#[derive(Debug, Default, Clone)]
struct Marks {
    // Shared by those that were forked, until one of them changes a page.
    pages: HashMap<u64, Arc<[u64; PAGE]>>,
}

/// Marks of a page: 4 kB, so that the map's own cost per page does not matter.
const PAGE: usize = 512;

impl Marks {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is less than a page"
    )]
    fn place(record: StepId) -> usize {
        (record.0 % PAGE as u64) as usize
    }

    fn slot(&mut self, record: StepId) -> &mut u64 {
        let page = self
            .pages
            .entry(record.0 / PAGE as u64)
            .or_insert_with(|| Arc::new([NOTHING; PAGE]));
        // The remainder is less than the page's length.
        &mut Arc::make_mut(page)[Self::place(record)]
    }

    fn get(&self, record: StepId) -> u64 {
        self.pages
            .get(&(record.0 / PAGE as u64))
            .map_or(NOTHING, |page| page[Self::place(record)])
    }

    fn last(&self) -> Option<StepId> {
        let (page, marks) = self.pages.iter().max_by_key(|(page, _)| **page)?;
        let last = marks.iter().rposition(|mark| *mark != NOTHING)?;
        Some(StepId(page * PAGE as u64 + last as u64))
    }
}

pub(super) const NOTHING: u64 = 0;
const INTENDED: u64 = 1;
const SETTLED: u64 = 2;
pub(super) const BITS: u32 = 4;

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

pub(super) fn is_standing(mark: u64) -> bool {
    outcome_of(mark) == Some(Outcome::Pending)
}

/// Advice on a run whose journal is damaged.
pub(super) const WAY_ON: &str = "put the file back from a copy. Without one, what this run has loaded is not known any more: \
    where the records are updates, load the manifest again; where they are creates, look into the store first";

/// Reads a journal. A torn tail is ignored; any other line that cannot be read, or does not fit its checksum, is an error, and
/// so is a journal that has become shorter than it was when a session ended.
pub fn read(path: &Path) -> Result<JournalIndex, Error> {
    let fail = |why: String| Error {
        what: "cannot read the journal",
        path: path.to_owned(),
        why,
    };
    let file = fs_err::File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut lines = BufReader::with_capacity(1 << 20, &file);
    let mut history: Option<JournalIndex> = None;
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
        let damaged = |why: &dyn std::fmt::Display| fail(format!("line {number}: {why}; {WAY_ON}"));
        if let Some(history) = &mut history {
            checksum::strip(&mut line, history.seed, offset).map_err(|e| damaged(&e))?;
            let parsed: Line = serde_json::from_slice(&line).map_err(|e| damaged(&e))?;
            history.take(&parsed, offset);
        } else {
            let seed = checksum::strip(&mut line, checksum::FIRST, offset);
            let journal = match serde_json::from_slice(&line) {
                Ok(Line::Journal(journal)) if journal.version != VERSION => {
                    return Err(fail(format!(
                        "it has version {}, and this Stoker reads version {VERSION}: the Stoker that began it ({}) can go on with it",
                        journal.version, journal.stoker
                    )));
                }
                Ok(Line::Journal(journal)) => journal,
                Ok(_) => return Err(fail("it does not begin with a `journal` line".to_owned())),
                Err(e) => match seed {
                    Err(damage) => return Err(damaged(&damage)),
                    Ok(_) => return Err(damaged(&e)),
                },
            };
            let seed = seed.map_err(|e| damaged(&e))?;
            let read = fs_err::File::open(path).map_err(|e| fail(e.to_string()))?;
            history = Some(JournalIndex::begin(journal, seed, path, read));
        }
        offset += length as u64;
        if let Some(history) = &mut history {
            history.whole = offset;
        }
    }
    let history = history.ok_or_else(|| fail(format!("it is empty; {WAY_ON}")))?;
    let was = Length::read(&path.with_extension("length"));
    if history.whole < was {
        return Err(fail(format!(
            "its end is missing: it had {was} bytes when its last session ended, and {} are left; {WAY_ON}",
            history.whole
        )));
    }
    Ok(history)
}

/// The length of a journal when a session ended in order: a tail that goes missing later leaves no trace in the file
/// itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Length {
    bytes: u64,
}

impl Length {
    /// Reads it; one that is not there, or was torn, says nothing.
    fn read(path: &Path) -> u64 {
        let told = fs_err::read(path)
            .ok()
            .and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        told.map_or(0, |length| length.bytes)
    }

    /// Writes it.
    pub(super) fn write(path: &Path, bytes: u64) -> std::io::Result<()> {
        let mut file = super::private_file(path)?;
        serde_json::to_writer(&mut file, &Self { bytes }).map_err(std::io::Error::other)
    }
}

/// The number of bytes that are read in one go where many lines are wanted.
const WINDOW: usize = 1 << 16;

impl JournalIndex {
    /// Begins the index of a journal of which only the first line has been read, or written.
    pub(super) fn begin(journal: JournalLine, seed: u32, path: &Path, file: fs_err::File) -> Self {
        Self {
            journal,
            sessions: Vec::new(),
            tallies: BTreeMap::new(),
            end: None,
            ended: 0,
            ends: BTreeMap::new(),
            is_consulted: false,
            consulted: ConsultedLine::default(),
            brief: None,
            marks: Marks::default(),
            removed: HashSet::new(),
            written: file.metadata().and_then(|held| held.modified()).ok(),
            path: path.to_owned(),
            file,
            seed,
            whole: 0,
        }
    }

    /// Returns the same once more, for whoever goes on with it. The findings of each take memory of their own.
    pub(super) fn fork(&self) -> Result<Self, Error> {
        let file = fs_err::File::open(&self.path).map_err(|e| self.fail(e.to_string()))?;
        Ok(Self {
            journal: self.journal.clone(),
            sessions: self.sessions.clone(),
            tallies: self.tallies.clone(),
            end: self.end.clone(),
            ended: self.ended,
            ends: self.ends.clone(),
            is_consulted: self.is_consulted,
            consulted: self.consulted.clone(),
            brief: self.brief.clone(),
            marks: self.marks.clone(),
            removed: self.removed.clone(),
            written: self.written,
            path: self.path.clone(),
            file,
            seed: self.seed,
            whole: self.whole,
        })
    }

    /// Takes the next line, which begins at `offset`.
    pub(super) fn take(&mut self, line: &Line, offset: u64) {
        match line {
            Line::Journal(_) => {}
            Line::Session(session) => {
                self.sessions.push(session.clone());
                self.end = None;
            }
            Line::Intend(intend) => {
                for record in &intend.records {
                    *self.marks.slot(*record) = (offset << BITS) | INTENDED;
                }
            }
            Line::Consulted(line) => {
                self.is_consulted = true;
                self.consulted.clone_from(line);
            }
            Line::Withdraw(records) => {
                for record in records {
                    let mark = self.marks.slot(*record);
                    if *mark % (1 << BITS) == INTENDED {
                        *mark = NOTHING;
                    }
                }
            }
            Line::Remove(records) => self.removed.extend(records),
            Line::Settle(settled) => {
                // One that the store refused may be tried once more, and takes the place then.
                if settled.outcome.is_well() {
                    self.removed.remove(&settled.record);
                }
                let mark = self.marks.slot(settled.record);
                *mark = match (settled.outcome, &settled.id) {
                    // Its second request was not made; its first has been all the same.
                    (Outcome::Pending, None) if is_standing(*mark) => *mark,
                    (Outcome::Pending, None) => NOTHING,
                    (outcome, _) => settled_mark(outcome, offset),
                };
            }
            Line::Tally(tally) => {
                self.tallies.insert(tally.session, tally.clone());
            }
            Line::End(end) => {
                self.end = Some(end.clone());
                self.ended += 1;
                self.ends.insert(end.session, end.clone());
            }
            Line::Brief(brief) => self.brief = Some(brief.clone()),
        }
    }

    /// Tells how a record was settled, if it was.
    pub fn outcome(&self, record: StepId) -> Option<Outcome> {
        outcome_of(self.mark_of(record)).filter(|outcome| *outcome != Outcome::Pending)
    }

    /// Tells whether the store holds a record without the references that close its cycle.
    pub fn is_standing(&self, record: StepId) -> bool {
        is_standing(self.mark_of(record))
    }

    /// Tells whether a record was about to be sent and no more is known.
    pub fn is_interrupted(&self, record: StepId) -> bool {
        self.mark_of(record) % (1 << BITS) == INTENDED
    }

    /// Tells whether what the store had under the name of a record was about to be removed, and the record has not taken its place.
    pub fn is_removed(&self, record: StepId) -> bool {
        self.removed.contains(&record)
    }

    /// Tells whether nothing of the run is left to do: it ended in order, and of no record is it open what became of it.
    pub fn is_over(&self) -> bool {
        let is_done = self.end.as_ref().is_some_and(|end| end.how.is_done());
        is_done && self.counts().1 == 0
    }

    /// Counts the records that were settled, and those that were about to be sent and of which no more is known.
    pub fn counts(&self) -> (u64, u64) {
        let marks = || self.marks.pages.values().flat_map(|page| page.iter());
        let interrupted = marks().filter(|mark| **mark % (1 << BITS) == INTENDED);
        let settled = marks().filter(|mark| outcome_of(**mark).is_some());
        (settled.count() as u64, interrupted.count() as u64)
    }

    pub(super) fn mark_of(&self, record: StepId) -> u64 {
        self.marks.get(record)
    }

    /// Returns the highest record that the journal speaks of.
    pub fn last_record(&self) -> Option<StepId> {
        self.marks.last()
    }

    /// Returns how many bytes the marks of all records take.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.marks.pages.len() * size_of::<[u64; PAGE]>()
    }

    pub(super) fn fail(&self, why: String) -> Error {
        Error {
            what: "cannot read the journal",
            path: self.path.clone(),
            why,
        }
    }

    /// Returns what the journal says of a record.
    pub fn fate(&self, record: StepId) -> Result<RecordState, Error> {
        // Only this line is wanted; it is some 150 bytes.
        self.windows_of(1 << 9).of(record)
    }

    /// Reads what the journal says of many records, best in about the order in which they were settled.
    pub fn fates(&self) -> RecordStates<'_> {
        self.windows_of(WINDOW)
    }

    fn windows_of(&self, window: usize) -> RecordStates<'_> {
        RecordStates::of_history(self, window)
    }
}
