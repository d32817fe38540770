//! `rejected/`: what the store refused, so that it can be mended and loaded again, and what the store said of it.
//!
//! For a load `people`:
//!
//! - `people.ndjson`: the rejected records that travelled alone, one a line;
//! - `people.instances/`: the same of DICOM instances, a file each;
//! - `people.hl7`: the same of messages, one behind the other as they stand in their files;
//! - `people.standing.ndjson`: those that were created without the references that close a cycle and could not be
//!   updated with them, under the ids that the store gave them;
//! - `people.entries.json` (`people.entries-2.json` …): a batch Bundle of the rejected entries that were sent as
//!   their own `request` said;
//! - `people.transaction-7.json`: a rejected transaction, whole, as group 7 of the plan;
//! - `manifest.yaml`: loads all of these.
//!
//! And for all loads `answers.ndjson`, what the server said: the journal writes it as answers come, and it is written again
//! here in the order of the plan, with the positions.
//!
//! Bytes are carried: only the line breaks of a pretty-printed record become spaces, which is exact, because JSON
//! has no raw line break inside a string. This is the only module that handles content of records.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    Error, ReadBody, WrittenFiles, atomic_file::AtomicFile, format, join::Record,
    records::PositionLine,
};
use crate::{
    event::LoadId,
    journal::{RunDirectory, private_directory},
    manifest::{
        TargetSettings,
        write::{Again, Skeleton},
    },
    plan::{Action, Group, Packaging, PlanHeader, file::Saved},
    record::{Operation, Outcome},
};

mod answers;
mod parcel;
mod put;

pub(super) use answers::Answers;
use answers::{AnswerLine, answer};
use parcel::{Parcel, keep_or_finish};
use put::{INSTANCES, Travelling};

/// The directory `rejected/`, being written.
pub(super) struct Rejected<'a> {
    run: RunDirectory,
    bodies: &'a ReadBody<'a>,
    stems: Vec<String>,
    /// The journal's answers of the server, and the file of the same with positions.
    answers: Option<(Answers, AtomicFile)>,
    load: Option<(LoadId, Files)>,
    /// Per load that has rejected records: the globs of its files.
    loads: Vec<Again>,
    group: Option<Travelling>,
    written: WrittenFiles,
    header: PlanHeader,
}

/// A file with a record in each line.
#[derive(Debug)]
struct Lines {
    file: AtomicFile,
    count: u64,
}

/// The files of one load.
#[derive(Debug, Default)]
struct Files {
    records: Option<Lines>,
    /// Messages, one behind the other.
    messages: Option<Lines>,
    /// The number of instances with a file of their own.
    instances: u64,
    standing: Option<Lines>,
    /// True if all of its records could be read.
    whole: bool,
    entries: Option<Parcel>,
    parcels: u32,
    transactions: u64,
}

impl<'a> Rejected<'a> {
    pub(super) fn new(run: &RunDirectory, plan: &Saved, bodies: &'a ReadBody<'a>) -> Self {
        Self {
            run: run.clone(),
            bodies,
            stems: stems(plan.header.loads.iter().map(|load| load.name.as_str())),
            answers: None,
            load: None,
            loads: Vec::new(),
            group: None,
            written: WrittenFiles::default(),
            header: plan.header.clone(),
        }
    }

    /// Takes the next record of the plan.
    pub(super) fn take(&mut self, plan: &Saved, record: &Record) -> Result<(), Error> {
        let load = record.step.load;
        if self
            .load
            .as_ref()
            .is_none_or(|(current, _)| *current != load)
        {
            self.end_load()?;
            self.load = Some((load, Files::new()));
        }
        let rejected = is_rejected(record);
        let (place, unreadable) = match record.group {
            Some(group)
                if group.packaging == Packaging::Transaction && keeps_request(plan, record) =>
            {
                self.transaction(record, group)?
            }
            _ if rejected && record.id.is_some() => self.standing(record)?,
            _ if rejected && keeps_request(plan, record) => self.entry(plan, record)?,
            _ if rejected => self.single(plan, record)?,
            _ => (None, None),
        };
        self.answer(plan, record, place, unreadable)
    }

    /// Writes what the server said of a record that is not well.
    fn answer(
        &mut self,
        plan: &Saved,
        record: &Record,
        place: Option<String>,
        unreadable: Option<String>,
    ) -> Result<(), Error> {
        let told = matches!(record.outcome, Outcome::Rejected | Outcome::Unknown);
        if !told {
            return Ok(());
        }
        if self.answers.is_none() {
            let path = self.path("answers.ndjson")?;
            self.answers = Some((Answers::open(&self.run)?, AtomicFile::create(&path)?));
        }
        let Some((answers, file)) = &mut self.answers else {
            return Ok(());
        };
        let said = answers.of(record.step.number)?;
        if said.is_none() && record.outcome != Outcome::Rejected {
            return Ok(());
        }
        let load = plan.header.loads.get(record.step.load.0 as usize);
        file.line(&AnswerLine {
            record: record.step.number,
            load: load.map_or("", |load| load.name.as_str()),
            position: PositionLine::of(plan, record),
            kind: &record.step.kind,
            outcome: record.outcome,
            status: record.status.or(said.as_ref().and_then(|s| s.status)),
            rejected: place,
            unreadable,
            answer: said.as_ref().map(|said| answer(&said.answer)),
        })
    }

    fn unreadable(&mut self, why: String) -> String {
        self.written.unreadable += 1;
        self.written
            .unreadable_because
            .get_or_insert_with(|| why.clone());
        why
    }

    fn end_load(&mut self) -> Result<(), Error> {
        self.end_group()?;
        let Some((load, files)) = self.load.take() else {
            return Ok(());
        };
        let stem = self.stem(load).to_owned();
        let mut globs = Vec::new();
        if let Some(lines) = files.records {
            keep_or_finish(lines.file, files.whole)?;
            globs.push(format!("{stem}.ndjson"));
        }
        if let Some(lines) = files.messages {
            keep_or_finish(lines.file, files.whole)?;
            globs.push(format!("{stem}.hl7"));
        }
        if files.instances > 0 {
            globs.push(format!("{stem}{INSTANCES}/*"));
        }
        if let Some(parcel) = files.entries {
            parcel.finish()?;
        }
        if files.parcels > 0 {
            globs.push(format!("{stem}.entries*.json"));
        }
        if files.transactions > 0 {
            globs.push(format!("{stem}.transaction-*.json"));
        }
        if !globs.is_empty() {
            self.loads.push(Again {
                load: load.0 as usize,
                files: globs,
                standing: false,
            });
        }
        if let Some(lines) = files.standing {
            keep_or_finish(lines.file, files.whole)?;
            self.loads.push(Again {
                load: load.0 as usize,
                files: vec![format!("{stem}.standing.ndjson")],
                standing: true,
            });
        }
        Ok(())
    }

    /// Ends the last load and writes the manifest, if there is anything to load.
    pub(super) fn finish(mut self) -> Result<WrittenFiles, Error> {
        self.end_load()?;
        if let Some((_, file)) = self.answers.take() {
            file.finish()?;
        }
        if !self.loads.is_empty() {
            let path = self.path("manifest.yaml")?;
            let header = &self.header;
            let targets: Vec<&TargetSettings> = header
                .targets
                .iter()
                .map(|target| &target.settings)
                .collect();
            let skeleton = Skeleton {
                name: &header.name,
                state: header.run.state.as_deref(),
                targets: &targets,
                loads: &header.loads,
            };
            let text = skeleton.render(&self.loads, &format::quoted(&path));
            let text = text.map_err(|error| Error::write(&path, &error))?;
            super::atomic_file::write(&path, text.as_bytes())?;
            self.written.rejected_manifest = Some(path);
        }
        Ok(self.written)
    }

    fn stem(&self, load: LoadId) -> &str {
        self.stems
            .get(load.0 as usize)
            .map_or("load", String::as_str)
    }

    fn name(&self, suffix: &str) -> String {
        let stem = self.load.as_ref().map_or("load", |(l, _)| self.stem(*l));
        format!("{stem}{suffix}")
    }

    fn entries_name(&self, number: u32) -> String {
        match number {
            1 => self.name(".entries.json"),
            n => self.name(&format!(".entries-{n}.json")),
        }
    }

    fn transaction_name(&self, group: Group) -> String {
        self.name(&format!(".transaction-{}.json", group.id.0))
    }

    /// Returns the path of a file in `rejected/`, which is made when its first file is.
    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let directory = self.run.rejected();
        private_directory(&directory).map_err(|e| Error::write(&directory, &e))?;
        Ok(directory.join(name))
    }
}

impl Files {
    fn new() -> Self {
        Self {
            whole: true,
            ..Self::default()
        }
    }
}

/// Tells whether a record was kept from the store by a refusal: its own, or that of one it needs.
///
/// Both are loaded again together, once the one has been mended.
fn is_rejected(record: &Record) -> bool {
    match record.outcome {
        Outcome::Rejected => true,
        // Blocked by the plan: what it needs cannot be loaded at all.
        Outcome::Blocked => record.step.action.operation().is_some(),
        _ => false,
    }
}

/// Tells whether a record can only be repeated by what its Bundle entry says.
///
/// A load's own `interaction` says the same of a bare resource, and without one a bare resource is created.
fn keeps_request(plan: &Saved, record: &Record) -> bool {
    let load = plan.header.loads.get(record.step.load.0 as usize);
    match record.step.action {
        Action::Entry(_) => true,
        Action::Send(Operation::Create)
        | Action::Unsupported(_)
        | Action::Duplicate(_)
        | Action::Blocked(_) => false,
        Action::Send(_) => {
            record.step.position.entry.is_some()
                && load.is_some_and(|load| load.interaction.is_none())
        }
    }
}

/// Makes file names of loads' names: letters, digits, `-` and `_`, none of them twice, not even on a file system
/// that ignores case. `answers.ndjson` is the journal's.
fn stems<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = BTreeSet::from(["answers".to_owned()]);
    names
        .map(|name| {
            let plain: String = name
                .chars()
                .map(|c| {
                    if c.is_alphanumeric() || "-_".contains(c) {
                        c
                    } else {
                        '-'
                    }
                })
                .collect();
            let mut stem = plain.clone();
            let mut number = 1;
            while !taken.insert(stem.to_lowercase()) {
                number += 1;
                stem = format!("{plain}-{number}");
            }
            stem
        })
        .collect()
}
