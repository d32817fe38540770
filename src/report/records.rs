//! `records.ndjson`, one line for every record of the plan, and `ids.ndjson`, which id the store gave to whom.
//!
//! Both say again what plan and journal say. A run of up to [`FEW`] records has them in its directory; of a larger one they
//! are made when somebody asks for them, and would otherwise take more room than everything else together.
//!
//! ```json
//! {"record":0,"load":"people","target":"clinic","position":{"file":"a.ndjson","index":0,"line":1,"start":0,"length":91},"type":"Patient","interaction":"create","outcome":"created","attempts":1,"status":201,"id":"…","version":"…","latency_us":1830}
//! {"target":"clinic","source":"Patient/p1","url":"urn:uuid:…","assigned":"Patient/…","record":0}
//! ```

use std::{io::Write, path::Path};

use serde::Serialize;

use super::{
    Error,
    atomic_file::AtomicFile,
    join::{JoinedRun, Record},
};
use crate::{
    journal::RunDirectory,
    plan::file::Saved,
    record::{Operation, Outcome, StepId},
};

#[derive(Serialize)]
struct RecordLine<'a> {
    record: StepId,
    load: &'a str,
    target: &'a str,
    position: PositionLine<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction: Option<Operation>,
    outcome: Outcome,
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    expression: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// The position of a record, as all documents with a line a record write it.
#[derive(Serialize)]
pub(super) struct PositionLine<'a> {
    file: &'a str,
    index: u64,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u32>,
    start: u64,
    length: u64,
}

impl<'a> PositionLine<'a> {
    pub(super) fn of(plan: &'a Saved, record: &Record) -> Self {
        let position = record.step.position;
        Self {
            file: plan.source_name(position.source),
            index: position.index,
            line: position.line,
            entry: position.entry,
            start: position.span.start,
            length: position.span.length,
        }
    }
}

#[derive(Serialize)]
struct IdLine<'a> {
    target: &'a str,
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    assigned: String,
    record: StepId,
}

/// The number of records up to which a run has both files in its directory.
pub const FEW: u64 = 10_000;

/// Writes a line for every record of a run.
///
/// # Errors
///
/// When plan or journal cannot be read, or `out` not be written.
pub fn write_records(run: &RunDirectory, out: &mut dyn Write) -> Result<(), Error> {
    JoinedRun::open(run)?.walk(|plan, record, _| line(out, &record_line(plan, record)))
}

/// Writes which id the store gave to whom.
///
/// # Errors
///
/// When plan or journal cannot be read, or `out` not be written.
pub fn write_ids(run: &RunDirectory, out: &mut dyn Write) -> Result<(), Error> {
    JoinedRun::open(run)?.walk(|plan, record, _| match id_line(plan, record) {
        Some(id) => line(out, &id),
        None => Ok(()),
    })
}

/// Writes `ids.ndjson` into the directory of a run where it is not there: for those who refer to its records.
///
/// # Errors
///
/// When plan or journal cannot be read, or the file not be written.
pub fn keep_ids(run: &RunDirectory) -> Result<(), Error> {
    let path = run.path().join("ids.ndjson");
    if path.exists() {
        return Ok(());
    }
    let mut staged = AtomicFile::create(&path)?;
    JoinedRun::open(run)?.walk(|plan, record, _| match id_line(plan, record) {
        Some(id) => staged.line(&id),
        None => Ok(()),
    })?;
    staged.finish()
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, value)
        .map_err(std::io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(Error::Out)
}

fn record_line<'a>(plan: &'a Saved, record: &'a Record) -> RecordLine<'a> {
    let step = &record.step;
    let load = plan.header.loads.get(step.load.0 as usize);
    RecordLine {
        record: step.number,
        load: load.map_or("", |load| load.name.as_str()),
        target: load.map_or("", |load| load.target.as_str()),
        position: PositionLine::of(plan, record),
        kind: &step.kind,
        interaction: step.action.operation(),
        outcome: record.outcome,
        attempts: record.attempts,
        status: record.status,
        id: record.id.as_deref(),
        version: record.version.as_deref(),
        latency_us: record.latency_us,
        code: record.code.as_deref(),
        expression: &record.expression,
        note: record.note.as_deref(),
    }
}

fn id_line<'a>(plan: &'a Saved, record: &'a Record) -> Option<IdLine<'a>> {
    let step = &record.step;
    let load = plan.header.loads.get(step.load.0 as usize);
    // The store holds the record under its id, be it without the references that close its cycle; after a delete it
    // holds nothing.
    let held = step.action.operation() != Some(Operation::Delete);
    let id = record
        .id
        .as_ref()
        .filter(|_| held && !step.kind.is_empty())?;
    Some(IdLine {
        target: load.map_or("", |load| load.target.as_str()),
        url: step.full_url.as_deref(),
        source: step.id.as_ref().map(|id| format!("{}/{id}", step.kind)),
        assigned: format!("{}/{id}", step.kind),
        record: step.number,
    })
}

/// Both files, being written.
#[derive(Debug)]
pub(super) struct Records {
    records: AtomicFile,
    ids: AtomicFile,
}

impl Records {
    pub(super) fn create(directory: &Path) -> Result<Self, Error> {
        Ok(Self {
            records: AtomicFile::create(&directory.join("records.ndjson"))?,
            ids: AtomicFile::create(&directory.join("ids.ndjson"))?,
        })
    }

    pub(super) fn take(&mut self, plan: &Saved, record: &Record) -> Result<(), Error> {
        self.records.line(&record_line(plan, record))?;
        match id_line(plan, record) {
            Some(id) => self.ids.line(&id),
            None => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        self.records.finish()?;
        self.ids.finish()
    }
}
