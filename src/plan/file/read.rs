//! Reads a plan: its beginning and end at once, its steps as a stream.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Error, ReadLine};
use crate::{
    checksum,
    event::LoadId,
    plan::{Group, PlanHeader, PlannedSource, Step, Summary, VERSION},
    record::{SourceId, StepId},
};

/// A plan on disk, open for reading: everything but its steps is in memory.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Everything that holds for all steps.
    pub header: PlanHeader,
    /// The totals.
    pub summary: Summary,
    /// The sources, by their number.
    pub sources: Vec<PlannedSource>,
    loads: Vec<(u64, u64, u64)>,
    path: PathBuf,
    /// The checksum of the first line, the seed of all others.
    seed: u32,
}

/// Advice on a plan that is damaged.
const WAY_ON: &str = "put the file back from a copy, or plan again";

/// The first line of a plan of any version, with a checksum or without.
#[derive(Deserialize)]
struct AnyHeader {
    header: AnyVersion,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// An entry of a load: a step, or the head of a group of steps.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanEntry {
    /// The next steps travel together.
    Group(Group),
    /// A step.
    Step(Step),
}

impl Saved {
    /// Returns the folder in which it stands.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Opens a plan.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |why: String| Error {
            what: "cannot read the plan",
            path: Some(path.to_owned()),
            why,
        };
        let io = |e: std::io::Error| fail(e.to_string());
        let mut file = fs_err::File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => fail(format!("there is no such file; {WAY_ON}")),
            _ => io(error),
        })?;
        let unfinished = || {
            fail(format!(
                "it is not a whole plan (its last line is missing or damaged); {WAY_ON}"
            ))
        };
        let (start, mut last) = last_line(&mut file).map_err(io)?;
        if last.is_empty() {
            return Err(unfinished());
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut first = Vec::new();
        BufReader::new(&file)
            .read_until(b'\n', &mut first)
            .map_err(io)?;
        let seed = checksum::strip(&mut first, checksum::FIRST, 0);
        if let Ok(AnyHeader { header }) = serde_json::from_slice(&first)
            && header.version != VERSION
        {
            return Err(fail(format!(
                "it has version {}, and this Stoker reads version {VERSION}; plan again",
                header.version
            )));
        }
        let seed = seed.map_err(|e| fail(format!("line 1: {e}; {WAY_ON}")))?;
        let header = match serde_json::from_slice(&first) {
            Ok(ReadLine::Header(header)) => *header,
            Ok(_) => return Err(fail("it does not begin with a header".to_owned())),
            Err(e) => return Err(fail(format!("line 1: {e}"))),
        };
        let end = checksum::strip(&mut last, seed, start).map(|_| serde_json::from_slice(&last));
        let Ok(Ok(ReadLine::End(end))) = end else {
            return Err(unfinished());
        };
        // The paths of a plan that is read where it was made are read as they were written.
        let is_elsewhere = std::path::absolute(".").map_err(io)? != header.root;
        let root = is_elsewhere.then(|| header.root.clone());
        let header = if is_elsewhere {
            header.rooted()
        } else {
            header
        };
        let mut saved = Self {
            header,
            summary: end.summary,
            sources: Vec::new(),
            loads: end.loads,
            path: path.to_owned(),
            seed,
        };
        let mut lines = saved.lines(end.sources)?;
        while let Some(line) = lines.next_line()? {
            match serde_json::from_slice(line) {
                Ok(ReadLine::Source(source)) => saved.sources.push(match &root {
                    Some(root) => source.rooted(root),
                    None => *source,
                }),
                Ok(_) => return Err(fail("a source was expected".to_owned())),
                Err(e) => return Err(fail(e.to_string())),
            }
        }
        Ok(saved)
    }

    /// Checks every line, so that damage is known of before anything is sent.
    pub fn verify(&self) -> Result<(), Error> {
        let mut lines = self.lines((0, u64::MAX))?;
        while lines.next_line()?.is_some() {}
        Ok(())
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the steps of a load, in order.
    pub fn steps(&self, load: LoadId) -> Result<Steps, Error> {
        let index = load.0 as usize;
        let (start, end, first) = match self.loads.get(index) {
            Some(found) => *found,
            // A load of which nothing is written has no steps.
            None if index < self.header.loads.len() => (0, 0, 0),
            None => return Err(Error::no_load(&self.path, load)),
        };
        Ok(Steps {
            lines: self.lines((start, end))?,
            load,
            next: first,
        })
    }

    /// Returns the numbers of a load's records: they follow each other, load by load.
    pub fn numbers(&self, load: LoadId) -> std::ops::Range<StepId> {
        let first = |index: usize| self.loads.get(index).map(|load| StepId(load.2));
        let index = load.0 as usize;
        match (first(index), first(index + 1)) {
            (Some(begin), Some(end)) => begin..end,
            (Some(begin), None) => begin..StepId(u64::MAX),
            (None, _) => StepId(0)..StepId(0),
        }
    }

    /// Reads steps of a load from a place that [`Steps::place`] told; the first has the number `first`.
    pub fn steps_at(&self, load: LoadId, offset: u64, first: u64) -> Result<Steps, Error> {
        let end = self.loads.get(load.0 as usize).map_or(0, |load| load.1);
        Ok(Steps {
            // One step is read, or a group; what is read ahead of it would be thrown away.
            lines: self.lines_with(SMALL, (offset, end))?,
            load,
            next: first,
        })
    }

    /// Returns how many operations the largest request to a target has.
    pub fn largest_request(&self, target: &str) -> u32 {
        let loads = self.header.loads.iter().zip(&self.summary.loads);
        let of_target = loads.filter(|(load, _)| load.target == target);
        of_target
            .map(|(_, totals)| std::cmp::max(totals.largest_group, 1))
            .max()
            .unwrap_or(1)
    }

    /// Returns the name under which a source is shown.
    pub fn source_name(&self, source: SourceId) -> &str {
        self.sources
            .get(source.0 as usize)
            .map_or("?", |source| &source.name)
    }

    fn lines(&self, stretch: (u64, u64)) -> Result<Lines, Error> {
        self.lines_with(LARGE, stretch)
    }

    fn lines_with(&self, buffer: usize, (start, end): (u64, u64)) -> Result<Lines, Error> {
        let fail = |e: std::io::Error| Error {
            what: "cannot read the plan",
            path: Some(self.path.clone()),
            why: e.to_string(),
        };
        let mut file = fs_err::File::open(&self.path).map_err(fail)?;
        file.seek(SeekFrom::Start(start)).map_err(fail)?;
        Ok(Lines {
            file: BufReader::with_capacity(buffer, file.take(end.saturating_sub(start))),
            line: Vec::with_capacity(256),
            path: self.path.clone(),
            offset: start,
            seed: self.seed,
        })
    }
}

/// The number of bytes that are read in one go of a whole load.
const LARGE: usize = 1 << 18;

/// The number of bytes that are read in one go of a single step, which has some 300.
const SMALL: usize = 1 << 10;

/// Returns the last line and where it begins; an empty one if no line break ends it.
fn last_line(file: &mut fs_err::File) -> std::io::Result<(u64, Vec<u8>)> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut take = std::cmp::min(length, 64 * 1024);
    loop {
        file.seek(SeekFrom::Start(length - take))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        if tail.last() != Some(&b'\n') {
            return Ok((length, Vec::new()));
        }
        tail.pop();
        match memchr::memrchr(b'\n', &tail) {
            Some(start) => {
                let offset = length - take + start as u64 + 1;
                return Ok((offset, tail.split_off(start + 1)));
            }
            None if take == length => return Ok((0, tail)),
            None => take = std::cmp::min(length, take * 4),
        }
    }
}

#[derive(Debug)]
struct Lines {
    file: BufReader<std::io::Take<fs_err::File>>,
    line: Vec<u8>,
    path: PathBuf,
    /// The offset of the next line.
    offset: u64,
    seed: u32,
}

impl Lines {
    fn next_line(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let length = self
            .file
            .read_until(b'\n', &mut self.line)
            .map_err(|e| self.fail(&e))?;
        if length == 0 {
            return Ok(None);
        }
        let seed = if self.offset == 0 {
            checksum::FIRST
        } else {
            self.seed
        };
        checksum::strip(&mut self.line, seed, self.offset)
            .map_err(|e| self.fail(&format!("line {}: {e}; {WAY_ON}", self.number())))?;
        self.offset += length as u64;
        Ok(Some(&self.line))
    }

    /// Returns the number of the line that has just been read, from 1. It is counted only when somebody has to be told.
    fn number(&self) -> u64 {
        let before = fs_err::File::open(&self.path).map(|file| file.take(self.offset));
        let Ok(mut before) = before.map(BufReader::new) else {
            return 0;
        };
        let mut breaks = 0;
        while let Ok(read) = before.fill_buf().map(<[u8]>::to_vec)
            && !read.is_empty()
        {
            breaks += memchr::memchr_iter(b'\n', &read).count() as u64;
            before.consume(read.len());
        }
        breaks + 1
    }

    fn fail(&self, why: &impl std::fmt::Display) -> Error {
        Error {
            what: "cannot read the plan",
            path: Some(self.path.clone()),
            why: why.to_string(),
        }
    }
}

/// The steps of a load, read from a file.
#[derive(Debug)]
pub struct Steps {
    lines: Lines,
    load: LoadId,
    next: u64,
}

impl Steps {
    /// Returns where the next entry begins, and the number of the next step.
    pub fn place(&self) -> (u64, u64) {
        (self.lines.offset, self.next)
    }
}

impl Iterator for Steps {
    type Item = Result<PlanEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (load, number) = (self.load, self.next);
        let parsed = match self.lines.next_line() {
            Ok(None) => return None,
            Ok(Some(line)) => serde_json::from_slice::<ReadLine<'_>>(line)
                .map_err(|e| e.to_string())
                .and_then(|line| match line {
                    ReadLine::Group(group) => Ok(PlanEntry::Group(group)),
                    ReadLine::Step(step) => {
                        let step = step.owned(load, StepId(number));
                        step.map(PlanEntry::Step).map_err(str::to_owned)
                    }
                    _ => Err("a step was expected".to_owned()),
                }),
            Err(e) => return Some(Err(e)),
        };
        if let Ok(PlanEntry::Step(_)) = &parsed {
            self.next += 1;
        }
        Some(parsed.map_err(|e| self.lines.fail(&e)))
    }
}
