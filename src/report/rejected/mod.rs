//! `rejected/`: what the store refused, so that it can be mended and loaded again, and what the store said of it.
//!
//! For a load `people`:
//!
//! - `people.ndjson`: the rejected records that travelled alone, one a line;
//! - `people.standing.ndjson`: those that were created without the references that close a cycle and could not be
//!   updated with them, under the ids that the store gave them;
//! - `people.entries.json` (`people.entries-2.json` …): a batch Bundle of the rejected entries that were sent as
//!   their own `request` said;
//! - `people.transaction-7.json`: a rejected transaction, whole, as group 7 of the plan;
//! - `people.answers.ndjson`: what the server said, in the order of the plan, with the positions;
//! - `manifest.yaml`: loads all of these.
//!
//! Bytes are carried: only the line breaks of a pretty-printed record become spaces, which is exact, because JSON
//! has no raw line break inside a string. This is the only module that handles content of records.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Bodies, Error, Written, records::PositionLine, staged::Staged, walk::Record};
use crate::{
    event::LoadId,
    fhir::{
        Scanner,
        splice::{renamed, splice},
    },
    journal::{RunDirectory, private_directory},
    plan::{Action, BundleType, Group, file::Saved},
    record::{Interaction, Outcome, Position},
};

mod answers;
mod bundle;
mod manifest;

use answers::{AnswerLine, Answers, answer};
use bundle::{Bundle, keep_or_finish};

/// The entries of a batch Bundle of rejected entries, where the target names no limit: small enough for the
/// servers that Stoker knows, large enough that a million entries are a thousand files.
const ENTRIES: u32 = 1_000;

/// The bytes of such a Bundle, where the target names no limit.
const BUNDLE_BYTES: u64 = 10_000_000;

/// The directory `rejected/`, being written.
pub(super) struct Rejected<'a> {
    run: RunDirectory,
    bodies: &'a Bodies<'a>,
    stems: Vec<String>,
    answers: Option<Answers>,
    load: Option<(LoadId, Files)>,
    /// Per load that has rejected records: the globs of its files.
    loads: Vec<Again>,
    group: Option<Travelling>,
    written: Written,
    manifest: manifest::Skeleton,
}

/// What is loaded again of a load.
#[derive(Debug)]
struct Again {
    load: LoadId,
    files: Vec<String>,
    /// The store holds them already, and they are updated.
    standing: bool,
}

/// The files of one load.
#[derive(Debug, Default)]
struct Files {
    records: Option<Staged>,
    standing: Option<Staged>,
    standing_lines: u64,
    /// Whether all of its records could be read.
    whole: bool,
    lines: u64,
    entries: Option<Bundle>,
    bundles: u32,
    transactions: u64,
    answers: Option<Staged>,
}

/// A transaction whose steps are passing by.
#[derive(Debug)]
struct Travelling {
    group: Group,
    entries: Vec<Position>,
    rejected: bool,
}

impl<'a> Rejected<'a> {
    pub(super) fn new(run: &RunDirectory, plan: &Saved, bodies: &'a Bodies<'a>) -> Self {
        Self {
            run: run.clone(),
            bodies,
            stems: stems(plan.header.loads.iter().map(|load| load.name.as_str())),
            answers: None,
            load: None,
            loads: Vec::new(),
            group: None,
            written: Written::default(),
            manifest: manifest::Skeleton::of(&plan.header),
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
                if group.bundle == BundleType::Transaction && keeps_request(plan, record) =>
            {
                self.transaction(record, group)?
            }
            _ if rejected && record.id.is_some() => self.standing(record)?,
            _ if rejected && keeps_request(plan, record) => self.entry(plan, record)?,
            _ if rejected => self.single(record)?,
            _ => (None, None),
        };
        self.answer(plan, record, place, unreadable)
    }

    /// Writes a record that stands in the store and is not whole, under the id that it has there.
    fn standing(&mut self, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let id = record.id.as_deref().unwrap_or_default();
        let body = (self.bodies)(step.position.source, step.body).and_then(|body| {
            let mut scanner = Scanner::new();
            let found = scanner.scan(&body).map_err(|error| error.to_string())?;
            let edits: Vec<_> = renamed(found, &body, id).into_iter().collect();
            splice(&body, &edits).map_err(|error| error.to_string())
        });
        let name = self.name(".standing.ndjson");
        let path = self.path(&name)?;
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        match body {
            Ok(mut body) => {
                let file = match &mut files.standing {
                    Some(file) => file,
                    None => files.standing.insert(Staged::create(&path)?),
                };
                one_line(&mut body);
                file.write(&body)?;
                file.write(b"\n")?;
                files.standing_lines += 1;
                Ok((Some(format!("{name}:{}", files.standing_lines)), None))
            }
            Err(why) => {
                files.whole = false;
                Ok((None, Some(self.unreadable(why))))
            }
        }
    }

    /// Writes a record that travelled alone.
    fn single(&mut self, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let body = (self.bodies)(step.position.source, step.body);
        let name = self.name(".ndjson");
        let path = self.path(&name)?;
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        match body {
            Ok(mut body) => {
                let file = match &mut files.records {
                    Some(file) => file,
                    None => files.records.insert(Staged::create(&path)?),
                };
                one_line(&mut body);
                file.write(&body)?;
                file.write(b"\n")?;
                files.lines += 1;
                Ok((Some(format!("{name}:{}", files.lines)), None))
            }
            Err(why) => {
                files.whole = false;
                Ok((None, Some(self.unreadable(why))))
            }
        }
    }

    /// Writes an entry of a batch.
    fn entry(&mut self, plan: &Saved, record: &Record) -> Result<Placed, Error> {
        let step = &record.step;
        let limits = plan
            .header
            .target_of(step.load)
            .map(|target| target.facts.limits);
        let most = limits.and_then(|l| l.batch_entries).unwrap_or(ENTRIES);
        let room = limits.and_then(|l| l.bundle_bytes).unwrap_or(BUNDLE_BYTES);
        let span = step.position.span;
        let body = match (self.bodies)(step.position.source, span) {
            Ok(body) => body,
            Err(why) => {
                if let Some((
                    _,
                    Files {
                        entries: Some(bundle),
                        ..
                    },
                )) = &mut self.load
                {
                    bundle.whole = false;
                }
                return Ok((None, Some(self.unreadable(why))));
            }
        };
        let full = matches!(&self.load, Some((_, Files { entries: Some(bundle), .. }))
            if bundle.entries >= most || bundle.bytes + span.length > room);
        let (mut next, mut ended) = (None, None);
        if let Some((_, files)) = &mut self.load {
            if full {
                ended = files.entries.take();
            }
            if files.entries.is_none() {
                files.bundles += 1;
                next = Some(files.bundles);
            }
        }
        if let Some(bundle) = ended {
            bundle.finish()?;
        }
        if let Some(number) = next {
            let path = self.path(&self.entries_name(number))?;
            let bundle = Bundle::create(&path, BundleType::Batch)?;
            if let Some((_, files)) = &mut self.load {
                files.entries = Some(bundle);
            }
        }
        let Some((_, files)) = &mut self.load else {
            return Ok((None, None));
        };
        let number = files.bundles;
        let Some(bundle) = &mut files.entries else {
            return Ok((None, None));
        };
        let index = bundle.entries;
        bundle.push(&body)?;
        Ok((
            Some(format!("{} (entry {index})", self.entries_name(number))),
            None,
        ))
    }

    /// Remembers where an entry of a transaction is, and writes the transaction after its last one.
    fn transaction(&mut self, record: &Record, group: Group) -> Result<Placed, Error> {
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
    fn end_group(&mut self) -> Result<Option<String>, Error> {
        match self.group.take() {
            Some(travelling) if travelling.rejected => self.write_transaction(&travelling),
            _ => Ok(None),
        }
    }

    fn write_transaction(&mut self, travelling: &Travelling) -> Result<Option<String>, Error> {
        let path = self.path(&self.transaction_name(travelling.group))?;
        let mut bundle = Bundle::create(&path, BundleType::Transaction)?;
        for position in &travelling.entries {
            match (self.bodies)(position.source, position.span) {
                Ok(body) => bundle.push(&body)?,
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
        bundle.finish()?;
        Ok(None)
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
            self.answers = Some(Answers::open(&self.run)?);
        }
        let said = match &mut self.answers {
            Some(answers) => answers.of(record.step.number)?,
            None => None,
        };
        if said.is_none() && record.outcome != Outcome::Rejected {
            return Ok(());
        }
        let path = self.path(&self.name(".answers.ndjson"))?;
        let Some((_, files)) = &mut self.load else {
            return Ok(());
        };
        let file = match &mut files.answers {
            Some(file) => file,
            None => files.answers.insert(Staged::create(&path)?),
        };
        file.line(&AnswerLine {
            record: record.step.number,
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
        if let Some(file) = files.records {
            keep_or_finish(file, files.whole)?;
            globs.push(format!("{stem}.ndjson"));
        }
        if let Some(bundle) = files.entries {
            bundle.finish()?;
        }
        if files.bundles > 0 {
            globs.push(format!("{stem}.entries*.json"));
        }
        if files.transactions > 0 {
            globs.push(format!("{stem}.transaction-*.json"));
        }
        if let Some(file) = files.answers {
            file.finish()?;
        }
        if !globs.is_empty() {
            self.loads.push(Again {
                load,
                files: globs,
                standing: false,
            });
        }
        if let Some(file) = files.standing {
            keep_or_finish(file, files.whole)?;
            self.loads.push(Again {
                load,
                files: vec![format!("{stem}.standing.ndjson")],
                standing: true,
            });
        }
        Ok(())
    }

    /// Ends the last load and writes the manifest, if there is anything to load.
    pub(super) fn finish(mut self) -> Result<Written, Error> {
        self.end_load()?;
        if !self.loads.is_empty() {
            let path = self.path("manifest.yaml")?;
            let text = self.manifest.render(&self.loads, &path)?;
            super::staged::write(&path, text.as_bytes())?;
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

/// Where a record stands in `rejected/`, and why it does not.
type Placed = (Option<String>, Option<String>);

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
        Outcome::Blocked => record.step.action.interaction().is_some(),
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
        Action::Send(Interaction::Create)
        | Action::Unsupported(_)
        | Action::Duplicate(_)
        | Action::Blocked(_) => false,
        Action::Send(_) => {
            record.step.position.entry.is_some()
                && load.is_some_and(|load| load.interaction.is_none())
        }
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
