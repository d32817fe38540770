//! A plan on disk: segments of lines that are written and read as a stream, never one JSON value.
//!
//! ```json
//! {"header":{…}}
//! {"step":[source,index,line,entry,start,length,body start,body length,type,id,fullUrl,action,links,known links,late,[hash]]}
//! {"group":{"id":0,"bundle":"transaction","records":146,"bytes":338112}}
//! {"source":{…}}
//! {"end":{"summary":{…},"loads":[[start,end,first step],…],"sources":[start,end]}}
//! ```
//!
//! The steps of a load are one stretch of lines, so that every load is read by itself; the last line says where
//! each stretch is. A file without that line was not finished and is refused.

use std::{
    borrow::Cow,
    io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Action, Group, Header, Link, PlannedSource, Step, Summary, To, VERSION};
use crate::{
    event::LoadId,
    record::{Position, SourceId, Span},
};

/// A plan could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{what} `{}`: {why}", path.display())]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    why: String,
}

/// Takes a plan as it is being made.
pub trait Sink {
    /// Takes the beginning. Called once, first.
    fn header(&mut self, header: &Header) -> Result<(), Error>;
    /// Begins a load; the steps that follow are its own.
    fn load(&mut self, load: LoadId) -> Result<(), Error>;
    /// Announces that the next steps travel together.
    fn group(&mut self, group: &Group) -> Result<(), Error>;
    /// Takes a step.
    fn step(&mut self, step: &Step) -> Result<(), Error>;
    /// Takes all sources and the summary. Called once, last.
    fn end(&mut self, sources: &[PlannedSource], summary: &Summary) -> Result<(), Error>;
    /// Tells whether steps need not be made for it.
    fn discards(&self) -> bool {
        false
    }
}

impl Error {
    /// The draft of a plan could not be written or read.
    pub(super) fn draft(error: &std::io::Error) -> Self {
        Self {
            what: "cannot keep the draft of the plan",
            path: PathBuf::from("its scratch directory"),
            why: error.to_string(),
        }
    }
}

/// Keeps nothing: for those who only want the summary.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn discards(&self) -> bool {
        true
    }

    fn header(&mut self, _: &Header) -> Result<(), Error> {
        Ok(())
    }
    fn load(&mut self, _: LoadId) -> Result<(), Error> {
        Ok(())
    }
    fn group(&mut self, _: &Group) -> Result<(), Error> {
        Ok(())
    }
    fn step(&mut self, _: &Step) -> Result<(), Error> {
        Ok(())
    }
    fn end(&mut self, _: &[PlannedSource], _: &Summary) -> Result<(), Error> {
        Ok(())
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenLine<'a> {
    Header(&'a Header),
    Group(&'a Group),
    Step(StepLine<'a>),
    Source(&'a PlannedSource),
    End(EndRef<'a>),
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are steps, and one is there at a time"
)]
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadLine<'a> {
    Header(Box<Header>),
    Group(Group),
    #[serde(borrow)]
    Step(StepLine<'a>),
    Source(Box<PlannedSource>),
    End(Box<End>),
}

#[derive(Serialize, Deserialize)]
struct StepLine<'a>(
    SourceId,
    u64,
    u64,
    Option<u32>,
    u64,
    u64,
    u64,
    u64,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    Cow<'a, Action>,
    /// Links to steps: reference, step, reference, step …
    Vec<u64>,
    /// Links to resources that are there already; those to be searched for have no name.
    Vec<(u32, String)>,
    /// The references, of those to steps, that come with a second request.
    Vec<u32>,
    /// The two halves of the hash.
    (u64, u64),
);

#[derive(Serialize)]
struct EndRef<'a> {
    summary: &'a Summary,
    loads: &'a [(u64, u64, u64)],
    sources: (u64, u64),
}

#[derive(Deserialize)]
struct End {
    summary: Summary,
    loads: Vec<(u64, u64, u64)>,
    sources: (u64, u64),
}

/// Writes a plan to a file that only its owner may read.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<fs_err::File>,
    path: PathBuf,
    offset: u64,
    steps: u64,
    /// Per load: start, end, number of the first step.
    loads: Vec<(u64, u64, u64)>,
    line: Vec<u8>,
}

impl Writer {
    /// Creates the file; one that exists is replaced.
    pub fn create(path: &Path) -> Result<Self, Error> {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        let file = fs_err::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| writing(path, &e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            path: path.to_owned(),
            offset: 0,
            steps: 0,
            loads: Vec::new(),
            line: Vec::with_capacity(256),
        })
    }

    fn write(&mut self, line: &WrittenLine<'_>) -> Result<(), Error> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)
            .map_err(|e| writing(&self.path, &std::io::Error::other(e)))?;
        self.line.push(b'\n');
        self.file
            .write_all(&self.line)
            .map_err(|e| writing(&self.path, &e))?;
        self.offset += self.line.len() as u64;
        Ok(())
    }

    fn end_load(&mut self) {
        if let Some(last) = self.loads.last_mut() {
            last.1 = self.offset;
        }
    }
}

fn writing(path: &Path, error: &std::io::Error) -> Error {
    Error {
        what: "cannot write the plan",
        path: path.to_owned(),
        why: error.to_string(),
    }
}

impl Sink for Writer {
    fn header(&mut self, header: &Header) -> Result<(), Error> {
        self.write(&WrittenLine::Header(header))
    }

    fn load(&mut self, _: LoadId) -> Result<(), Error> {
        self.end_load();
        self.loads.push((self.offset, self.offset, self.steps));
        Ok(())
    }

    fn group(&mut self, group: &Group) -> Result<(), Error> {
        self.write(&WrittenLine::Group(group))
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        self.steps += 1;
        self.write(&WrittenLine::Step(StepLine::of(step)))
    }

    fn end(&mut self, sources: &[PlannedSource], summary: &Summary) -> Result<(), Error> {
        self.end_load();
        let start = self.offset;
        for source in sources {
            self.write(&WrittenLine::Source(source))?;
        }
        let loads = std::mem::take(&mut self.loads);
        let sources = (start, self.offset);
        self.write(&WrittenLine::End(EndRef {
            summary,
            loads: &loads,
            sources,
        }))?;
        self.file.flush().map_err(|e| writing(&self.path, &e))?;
        self.file
            .get_ref()
            .sync_data()
            .map_err(|e| writing(&self.path, &e))
    }
}

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
                Ok(ReadLine::Source(source)) => saved.sources.push(*source),
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

/// Writes a step as it stands in a plan, without its line break, load and number.
pub(super) fn write_step(out: &mut Vec<u8>, step: &Step) -> std::io::Result<()> {
    serde_json::to_writer(out, &StepLine::of(step)).map_err(std::io::Error::other)
}

/// Reads what [`write_step`] wrote.
pub(super) fn read_step(line: &[u8]) -> std::io::Result<Step> {
    let line: StepLine<'_> = serde_json::from_slice(line).map_err(std::io::Error::other)?;
    Ok(line.owned(LoadId(0), 0))
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves(hash: u128) -> (u64, u64) {
    ((hash >> 64) as u64, hash as u64)
}

impl<'a> StepLine<'a> {
    fn of(step: &'a Step) -> Self {
        let Position {
            source,
            index,
            line,
            entry,
            span,
        } = step.position;
        let (mut links, mut known, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for link in &step.links {
            late.extend(link.late.then_some(link.reference));
            match &link.to {
                To::Step(to) => links.extend([u64::from(link.reference), *to]),
                To::Resource(to) => known.push((link.reference, to.clone())),
                To::Search => known.push((link.reference, String::new())),
            }
        }
        Self(
            source,
            index,
            line,
            entry,
            span.start,
            span.length,
            step.body.start,
            step.body.length,
            Cow::Borrowed(&step.kind),
            step.id.as_deref().map(Cow::Borrowed),
            step.full_url.as_deref().map(Cow::Borrowed),
            Cow::Borrowed(&step.action),
            links,
            known,
            late,
            halves(step.hash),
        )
    }

    fn owned(self, load: LoadId, number: u64) -> Step {
        let Self(
            source,
            index,
            line,
            entry,
            start,
            length,
            body,
            body_length,
            kind,
            id,
            full_url,
            action,
            links,
            known,
            late,
            (high, low),
        ) = self;
        let to_steps = links.chunks_exact(2).filter_map(|pair| {
            let reference = u32::try_from(*pair.first()?).ok()?;
            Some(Link {
                reference,
                to: To::Step(*pair.last()?),
                late: late.contains(&reference),
            })
        });
        let to_resources = known.into_iter().map(|(reference, to)| Link {
            reference,
            to: if to.is_empty() {
                To::Search
            } else {
                To::Resource(to)
            },
            late: false,
        });
        Step {
            number,
            load,
            position: Position {
                source,
                index,
                line,
                entry,
                span: Span { start, length },
            },
            body: Span {
                start: body,
                length: body_length,
            },
            kind: kind.into_owned(),
            id: id.map(Cow::into_owned),
            full_url: full_url.map(Cow::into_owned),
            action: action.into_owned(),
            links: to_steps.chain(to_resources).collect(),
            hash: u128::from(high) << 64 | u128::from(low),
        }
    }
}

#[cfg(test)]
mod tests;
