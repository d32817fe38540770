//! Writes a plan as it is being made.

use std::{
    io::{BufWriter, Write},
    path::Path,
};

use super::{EndRef, Error, Sink, WrittenLine, step::StepLine};
use crate::{
    checksum,
    event::LoadId,
    plan::{Group, PlanHeader, PlannedSource, Step, Summary},
};

/// Writes a plan to a file that only its owner may read.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<fs_err::File>,
    offset: u64,
    steps: u64,
    /// Per load: start, end, number of the first step.
    loads: Vec<(u64, u64, u64)>,
    line: Vec<u8>,
    /// The same line with its checksum.
    checked: Vec<u8>,
    /// The checksum of the first line, the seed of all others.
    seed: u32,
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
            .map_err(|e| writing(&e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 18, file),
            offset: 0,
            steps: 0,
            loads: Vec::new(),
            line: Vec::with_capacity(256),
            checked: Vec::with_capacity(256),
            seed: checksum::FIRST,
        })
    }

    fn write(&mut self, line: &WrittenLine<'_>) -> Result<(), Error> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)
            .map_err(|e| writing(&std::io::Error::other(e)))?;
        self.checked.clear();
        let sum = checksum::append(&mut self.checked, &self.line, self.seed, self.offset);
        if self.offset == 0 {
            self.seed = sum;
        }
        self.file
            .write_all(&self.checked)
            .map_err(|e| writing(&e))?;
        self.offset += self.checked.len() as u64;
        Ok(())
    }

    fn end_load(&mut self) {
        if let Some(last) = self.loads.last_mut() {
            last.1 = self.offset;
        }
    }
}

fn writing(error: &std::io::Error) -> Error {
    Error {
        what: "cannot write the plan",
        // The words of the system name it.
        path: None,
        why: error.to_string(),
    }
}

impl Sink for Writer {
    fn header(&mut self, header: &PlanHeader) -> Result<(), Error> {
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
        self.file.flush().map_err(|e| writing(&e))?;
        self.file.get_ref().sync_data().map_err(|e| writing(&e))
    }
}
