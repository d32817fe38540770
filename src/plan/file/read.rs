//! Reads a plan: its beginning and end at once, its steps as a stream.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Error, ReadLine};
use crate::{
    event::LoadId,
    plan::{Group, Header, PlannedSource, Step, Summary, VERSION},
    record::SourceId,
};

/// A plan on disk, open for reading: everything but its steps is in memory.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Everything that holds for all steps.
    pub header: Header,
    /// The totals.
    pub summary: Summary,
    /// The sources, by their number.
    pub sources: Vec<PlannedSource>,
    loads: Vec<(u64, u64, u64)>,
    path: PathBuf,
}

/// What the steps of a load are read as.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
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
            path: path.to_owned(),
            why,
        };
        let io = |e: std::io::Error| fail(e.to_string());
        let mut file = fs_err::File::open(path).map_err(io)?;
        let last = last_line(&mut file).map_err(io)?;
        let unfinished = || fail("it is not a whole plan (its last line is missing)".to_owned());
        let Ok(ReadLine::End(end)) = serde_json::from_slice::<ReadLine<'_>>(&last) else {
            return Err(unfinished());
        };
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let mut first = Vec::new();
        BufReader::new(&file)
            .read_until(b'\n', &mut first)
            .map_err(io)?;
        let header = match serde_json::from_slice(&first) {
            Ok(ReadLine::Header(header)) => *header,
            Ok(_) => return Err(fail("it does not begin with a header".to_owned())),
            Err(e) => return Err(fail(format!("line 1: {e}"))),
        };
        if header.version != VERSION {
            return Err(fail(format!(
                "it has version {}, and this Stoker reads version {VERSION}; plan again",
                header.version
            )));
        }
        // Where it was made, its paths are read as they were written.
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

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the steps of a load, in order.
    pub fn steps(&self, load: LoadId) -> Result<Steps, Error> {
        let (start, end, first) = self.loads.get(load.0 as usize).copied().unwrap_or_default();
        Ok(Steps {
            lines: self.lines((start, end))?,
            load,
            next: first,
        })
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
            path: self.path.clone(),
            why: e.to_string(),
        };
        let mut file = fs_err::File::open(&self.path).map_err(fail)?;
        file.seek(SeekFrom::Start(start)).map_err(fail)?;
        Ok(Lines {
            file: BufReader::with_capacity(buffer, file.take(end.saturating_sub(start))),
            line: Vec::with_capacity(256),
            path: self.path.clone(),
            offset: start,
        })
    }
}

/// What is read in one go of a whole load.
const LARGE: usize = 1 << 18;

/// What is read in one go of a single step: some 300 bytes.
const SMALL: usize = 1 << 10;

fn last_line(file: &mut fs_err::File) -> std::io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut take = std::cmp::min(length, 64 * 1024);
    loop {
        file.seek(SeekFrom::Start(length - take))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        if tail.last() != Some(&b'\n') {
            return Ok(Vec::new());
        }
        tail.pop();
        match memchr::memrchr(b'\n', &tail) {
            Some(start) => return Ok(tail.split_off(start + 1)),
            None if take == length => return Ok(tail),
            None => take = std::cmp::min(length, take * 4),
        }
    }
}

#[derive(Debug)]
struct Lines {
    file: BufReader<std::io::Take<fs_err::File>>,
    line: Vec<u8>,
    path: PathBuf,
    /// Where the next line begins.
    offset: u64,
}

impl Lines {
    fn next_line(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let length = self
            .file
            .read_until(b'\n', &mut self.line)
            .map_err(|e| self.fail(&e))?;
        self.offset += length as u64;
        Ok((length > 0).then_some(&self.line))
    }

    fn fail(&self, why: &impl std::fmt::Display) -> Error {
        Error {
            what: "cannot read the plan",
            path: self.path.clone(),
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
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (load, number) = (self.load, self.next);
        let parsed = match self.lines.next_line() {
            Ok(None) => return None,
            Ok(Some(line)) => serde_json::from_slice::<ReadLine<'_>>(line)
                .map_err(|e| e.to_string())
                .and_then(|line| match line {
                    ReadLine::Group(group) => Ok(Entry::Group(group)),
                    ReadLine::Step(step) => Ok(Entry::Step(step.owned(load, number))),
                    _ => Err("a step was expected".to_owned()),
                }),
            Err(e) => return Some(Err(e)),
        };
        if let Ok(Entry::Step(_)) = &parsed {
            self.next += 1;
        }
        Some(parsed.map_err(|e| self.lines.fail(&e)))
    }
}
