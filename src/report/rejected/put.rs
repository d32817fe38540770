//! Puts a record into the file in which it is loaded again: a line by itself, an entry of a batch, its whole transaction.

use super::{
    super::{
        Error,
        atomic_file::{self, AtomicFile},
        join::Record,
    },
    Files, Lines, Rejected, is_rejected,
    parcel::Parcel,
};
use crate::{
    journal::private_directory,
    manifest::Format,
    plan::{Group, Packaging, file::Saved},
    record::Position,
    target::{self, Standing},
};

/// The entries of a batch of rejected entries, where the target names no limit: small enough for the
/// servers that Stoker knows, large enough that a million entries are a thousand files.
const ENTRIES: u32 = 1_000;

/// The bytes of such a batch, where the target names no limit.
const PARCEL_BYTES: u64 = 10_000_000;

/// Behind the load's name: the folder of its rejected instances.
pub(super) const INSTANCES: &str = ".instances";

/// A transaction whose steps are passing by.
#[derive(Debug)]
pub(super) struct Travelling {
    group: Group,
    entries: Vec<Position>,
    rejected: bool,
}

/// The place of a record in `rejected/`, and the reason why it has none.
pub(super) type Placed = (Option<String>, Option<String>);

impl Rejected<'_> {
    /// Writes a record that stands in the store and is not whole, under the id that it has there.
    pub(super) fn standing(&mut self, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let id = record.id.as_deref().unwrap_or_default();
        let body = (self.bodies)(step.position.source, step.body);
        let body = body.and_then(|body| target::under(&body, id));
        self.line(".standing.ndjson", body, |files| &mut files.standing)
    }

    /// Writes a record that travelled alone.
    pub(super) fn single(&mut self, plan: &Saved, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let body = (self.bodies)(step.position.source, step.body);
        let load = plan.header.loads.get(step.load.0 as usize);
        let format = load.map_or(Format::default(), |load| load.format);
        match target::standing(format) {
            (Standing::Lines, ending) => self.line(ending, body, |files| &mut files.records),
            (Standing::Behind, ending) => self.behind(ending, body),
            (Standing::Apart, ending) => self.apart(ending, body),
        }
    }

    /// Writes a record into a file of its own.
    fn apart(&mut self, ending: &str, body: Result<Vec<u8>, String>) -> Result<Placed, Error> {
        let folder = self.name(INSTANCES);
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        match body {
            Ok(body) => {
                files.instances += 1;
                let name = format!("{folder}/{:06}{ending}", files.instances);
                private_directory(&self.path(&folder)?)
                    .map_err(|error| Error::write(&self.run.rejected(), &error))?;
                atomic_file::write(&self.path(&name)?, &body)?;
                Ok((Some(name), None))
            }
            Err(why) => Ok((None, Some(self.unreadable(why)))),
        }
    }

    /// Writes a record as it stands, behind those before it.
    fn behind(&mut self, ending: &str, body: Result<Vec<u8>, String>) -> Result<Placed, Error> {
        let name = self.name(ending);
        let path = self.path(&name)?;
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        match body {
            Ok(body) => {
                let lines = match &mut files.messages {
                    Some(lines) => lines,
                    none => none.insert(Lines {
                        file: AtomicFile::create(&path)?,
                        count: 0,
                    }),
                };
                lines.file.write(&body)?;
                if !body.ends_with(b"\r") && !body.ends_with(b"\n") {
                    lines.file.write(b"\r")?;
                }
                lines.count += 1;
                Ok((Some(format!("{name} (message {})", lines.count)), None))
            }
            Err(why) => {
                files.whole = false;
                Ok((None, Some(self.unreadable(why))))
            }
        }
    }

    fn line(
        &mut self,
        suffix: &str,
        body: Result<Vec<u8>, String>,
        lines: impl Fn(&mut Files) -> &mut Option<Lines>,
    ) -> Result<Placed, Error> {
        let name = self.name(suffix);
        let path = self.path(&name)?;
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        match body {
            Ok(mut body) => {
                let lines = match lines(files) {
                    Some(lines) => lines,
                    none => none.insert(Lines {
                        file: AtomicFile::create(&path)?,
                        count: 0,
                    }),
                };
                one_line(&mut body);
                lines.file.write(&body)?;
                lines.file.write(b"\n")?;
                lines.count += 1;
                Ok((Some(format!("{name}:{}", lines.count)), None))
            }
            Err(why) => {
                files.whole = false;
                Ok((None, Some(self.unreadable(why))))
            }
        }
    }

    /// Writes an entry of a batch.
    pub(super) fn entry(&mut self, plan: &Saved, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let limits = plan
            .header
            .target_of(step.load)
            .map(|target| target.facts.limits);
        let most = limits.and_then(|l| l.batch_entries).unwrap_or(ENTRIES);
        let room = limits.and_then(|l| l.request_bytes).unwrap_or(PARCEL_BYTES);
        let span = step.position.span;
        let body = match (self.bodies)(step.position.source, span) {
            Ok(body) => body,
            Err(why) => {
                if let Some((
                    _,
                    Files {
                        entries: Some(parcel),
                        ..
                    },
                )) = &mut self.load
                {
                    parcel.whole = false;
                }
                return Ok((None, Some(self.unreadable(why))));
            }
        };
        let full = matches!(&self.load, Some((_, Files { entries: Some(parcel), .. }))
            if parcel.entries >= most || parcel.bytes + span.length > room);
        let (mut next, mut ended) = (None, None);
        if let Some((_, files)) = &mut self.load {
            if full {
                ended = files.entries.take();
            }
            if files.entries.is_none() {
                files.parcels += 1;
                next = Some(files.parcels);
            }
        }
        if let Some(parcel) = ended {
            parcel.finish()?;
        }
        if let Some(number) = next {
            let path = self.path(&self.entries_name(number))?;
            let parcel = Parcel::create(&path, Packaging::Batch)?;
            if let Some((_, files)) = &mut self.load {
                files.entries = Some(parcel);
            }
        }
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        let number = files.parcels;
        let Some(parcel) = &mut files.entries else {
            return Ok((None, None));
        };
        let index = parcel.entries;
        parcel.push(&body)?;
        Ok((
            Some(format!("{} (entry {index})", self.entries_name(number))),
            None,
        ))
    }

    /// Remembers where an entry of a transaction is, and writes the transaction after its last one.
    pub(super) fn transaction(&mut self, record: &Record, group: Group) -> Result<Placed, Error> {
        if self
            .group
            .as_ref()
            .is_none_or(|open| open.group.id != group.id)
        {
            self.end_group()?;
        }
        let travelling = self.group.get_or_insert_with(|| Travelling {
            group,
            entries: Vec::new(),
            rejected: false,
        });
        let index = travelling.entries.len();
        travelling.entries.push(record.step.position);
        let rejected = is_rejected(record);
        travelling.rejected |= rejected;
        let mut unreadable = None;
        if travelling.entries.len() >= group.records as usize {
            unreadable = self.end_group()?;
        }
        let place = rejected.then(|| format!("{} (entry {index})", self.transaction_name(group)));
        Ok((place, unreadable))
    }

    /// Writes the transaction that was passing by, where its records are wanted.
    ///
    /// Not all of a group's records may stand in it: those that came without a request travel alone when they are loaded
    /// again, and find each other by themselves.
    pub(super) fn end_group(&mut self) -> Result<Option<String>, Error> {
        match self.group.take() {
            Some(travelling) if travelling.rejected => self.write_transaction(&travelling),
            _ => Ok(None),
        }
    }

    fn write_transaction(&mut self, travelling: &Travelling) -> Result<Option<String>, Error> {
        let path = self.path(&self.transaction_name(travelling.group))?;
        let mut parcel = Parcel::create(&path, Packaging::Transaction)?;
        for position in &travelling.entries {
            match (self.bodies)(position.source, position.span) {
                Ok(body) => parcel.push(&body)?,
                // A part of a transaction is another transaction: all of it, or nothing.
                Err(why) => {
                    let others = travelling.entries.len() as u64 - 1;
                    self.written.unreadable += others;
                    return Ok(Some(self.unreadable(why)));
                }
            }
        }
        if let Some((_, files)) = &mut self.load {
            files.transactions += 1;
        }
        parcel.finish()?;
        Ok(None)
    }
}

/// Replaces raw line breaks by spaces. Inside a JSON string a line break is always escaped.
fn one_line(body: &mut [u8]) {
    for byte in body {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
