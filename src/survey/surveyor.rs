//! Takes what is read of the sources to the planner, and what is decided to the plan's draft.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Error, OnMalformed, Survey, known,
    problems::{check_rates, nothing_matches, out_of_order},
    resources::Resources,
};
use crate::{
    diagnostic::Diagnostic,
    event::{Event, LoadId, Observe},
    manifest::LoadSettings,
    plan::{
        Decision, PlanHeader, PlannedSource, Planner, Step, batch, capability_check,
        file::{self, Sink},
        graph::{Graph, NONE, SourceGroup},
        independent::IndependentLoad,
        schedule::Arrangement,
        staging::StagingWriter,
    },
    record::SourceId,
    source::{self, Bodies, Ceiling, Fingerprint, Form, Item, Origin, SourceFile, Spool, Stamp},
    spill::MemoryBudget,
};

/// The number of records after which watchers are told the progress of reading.
const TELL_EVERY: u64 = 1_000;

/// The result of reading a file.
struct Read {
    fingerprint: Fingerprint,
    spooled: bool,
    /// The file from which its plain bytes can be read again.
    bytes: Option<PathBuf>,
}

/// The sources as far as they are read, and the plan as far as it is made.
pub(super) struct Surveyor<'a, 'h> {
    header: &'h PlanHeader,
    planner: Planner<'h>,
    resources: Resources,
    graph: Graph,
    room: Arc<MemoryBudget>,
    draft: StagingWriter,
    load: LoadId,
    /// The number of the steps to come that belong to the last group.
    left_in_group: u32,
    /// The steps of each load that needs no graph.
    plain: Vec<Option<IndependentLoad>>,
    observe: &'a dyn Observe,
    is_stopped: &'a dyn Fn() -> bool,
    malformed: OnMalformed<'a>,
    records: u64,
    bytes: u64,
    sources: Vec<PlannedSource>,
    /// The files of the sources that can be read again.
    readable: Vec<(SourceId, PathBuf)>,
    problems: Vec<Diagnostic>,
    /// Bundles of the file that is being read.
    bundles: u64,
}

impl<'a, 'h> Surveyor<'a, 'h> {
    pub(super) fn new(
        header: &'h PlanHeader,
        scratch: &Path,
        observe: &'a dyn Observe,
        is_stopped: &'a dyn Fn() -> bool,
        malformed: OnMalformed<'a>,
    ) -> Result<Self, Error> {
        let room = MemoryBudget::new(header.run.memory.0, scratch);
        Ok(Self {
            header,
            planner: Planner::new(header),
            resources: Resources::default(),
            graph: Graph::new(header, Arc::clone(&room)),
            draft: StagingWriter::create(scratch).map_err(|e| file::Error::draft(&e))?,
            load: LoadId(0),
            room,
            left_in_group: 0,
            plain: Vec::new(),
            observe,
            is_stopped,
            malformed,
            records: 0,
            bytes: 0,
            sources: Vec::new(),
            readable: Vec::new(),
            problems: Vec::new(),
            bundles: 0,
        })
    }

    /// Reads the sources of a load.
    pub(super) fn load(
        &mut self,
        id: LoadId,
        load: &LoadSettings,
        spool: Option<&Spool>,
    ) -> Result<(), Error> {
        self.planner.load(id);
        self.resources.load(&self.planner);
        self.load = id;
        let start = self.draft.offset();
        let is_plain = self.graph.is_needless(id) || !load.format.has_references();
        self.plain
            .push(is_plain.then(|| IndependentLoad::at(start)));
        self.problems.extend(known::read(&mut self.graph, id, load));
        let target = self.header.target_of(id);
        let refused = target.and_then(|target| batch::refused(load, target));
        self.problems.extend(refused);
        let found = source::find(&load.files);
        self.problems.extend(out_of_order(load, &found.files));
        self.problems.extend(found.problems);
        self.problems
            .extend(found.unmatched.iter().map(nothing_matches));
        for mut file in found.files {
            file.id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
            file.form = file.form.within(load.format);
            self.source(file, spool)?;
        }
        self.planner.load_end();
        self.write()
    }

    /// Reads a source, and keeps what it was.
    fn source(&mut self, file: SourceFile, spool: Option<&Spool>) -> Result<(), Error> {
        self.planner.file();
        let Read {
            fingerprint,
            spooled,
            bytes,
        } = self.read(&file, spool)?;
        self.readable.extend(bytes.map(|bytes| (file.id, bytes)));
        let path = match file.origin {
            Origin::File(path) => Some(path),
            Origin::Stdin => None,
        };
        self.sources.push(PlannedSource {
            id: file.id,
            load: self.load,
            name: path
                .as_ref()
                .map_or("-".to_owned(), |path| path.display().to_string()),
            path,
            form: file.form,
            spooled,
            fingerprint,
        });
        Ok(())
    }

    /// Puts all that was read in order, and writes the plan.
    pub(super) fn arrange(mut self, sink: &mut dyn Sink) -> Result<Survey, Error> {
        self.resources.finish(&mut self.planner);
        let mut summary = self.planner.finish();
        let (header, sources, mut problems) = (self.header, self.sources, self.problems);
        let bodies = Bodies::new(self.readable);
        // Standard input cannot be read again, and what is said of a record does without its content then.
        let read = |source, span| bodies.read(source, span).ok().map(|bytes| bytes.to_vec());
        let arrangement = Arrangement {
            header,
            graph: self.graph,
            draft: self.draft.finish().map_err(|e| file::Error::draft(&e))?,
            plain: self.plain,
            firsts: vec![0; header.loads.len()],
            sources: &sources,
            read: &read,
            unread: None,
            summary: &mut summary,
        };
        problems.extend(arrangement.write(sink)?);
        self.room.check().map_err(|e| file::Error::draft(&e))?;
        problems.extend(check_rates(header, &summary));
        problems.extend(capability_check::check(header, &mut summary));
        summary
            .references
            .retain(|_, references| !references.is_empty());
        sink.end(&sources, &summary)?;
        Ok(Survey {
            summary,
            sources,
            problems,
        })
    }

    /// Reads one file. A problem of the file itself is told as one of its records.
    fn read(&mut self, file: &SourceFile, spool: Option<&Spool>) -> Result<Read, Error> {
        if file.form == Form::Unrecognized {
            return self.unrecognized(file);
        }
        self.bundles = 0;
        let target = self.header.target_of(self.load);
        let largest = target.and_then(|target| target.facts.limits.resource_bytes);
        let mut failed = None;
        let messages = self.header.loads.get(self.load.0 as usize);
        let messages = messages
            .map(|load| load.messages.clone())
            .unwrap_or_default();
        let ceiling = Ceiling::of(largest);
        let reading = source::read_as(file, spool, ceiling, &messages, &mut |item| match self
            .take(file, &item)
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let reading = reading?;
        // Of an empty Bundle that is said already.
        if reading.records + reading.malformed + self.bundles == 0 {
            // A file may be compressed, and come to nothing.
            let is_file = matches!(file.origin, Origin::File(_));
            let words = if is_file && reading.bytes == 0 {
                "is empty"
            } else {
                "holds no records"
            };
            self.planner.warn(format!("{} {words}", file.origin));
        }
        if let Some(note) = reading.note {
            self.planner.warn(format!("{}: {note}", file.origin));
        }
        let spooled = match (&file.origin, &reading.plain) {
            (Origin::File(path), Some(plain)) => path != plain,
            _ => true,
        };
        Ok(Read {
            fingerprint: reading.fingerprint.unwrap_or_else(unread),
            spooled,
            bytes: reading.plain,
        })
    }

    /// A file in a form that is not read is one step, so that it is counted and seen.
    fn unrecognized(&mut self, file: &SourceFile) -> Result<Read, Error> {
        // Of what is gone by now there is nothing to count, and nothing is read of it.
        let stamp = file.origin.storage().stamp(&file.origin).ok().flatten();
        let size = stamp.map_or(0, |stamp| stamp.size);
        let node = self.blank();
        self.planner.found(node);
        self.planner.unrecognized(file, size);
        self.write()?;
        Ok(Read {
            fingerprint: Fingerprint {
                stamp: Stamp {
                    size,
                    ..Stamp::NOTHING
                },
                ..unread()
            },
            spooled: false,
            bytes: None,
        })
    }

    fn take(&mut self, file: &SourceFile, item: &Item<'_>) -> Result<(), Error> {
        match item {
            Item::Record(found) if self.resources.leaves_out(&mut self.planner, found) => {}
            Item::Record(found) => {
                let settings = self.header.loads.get(self.load.0 as usize);
                let node = match settings.filter(|_| !self.is_plain()) {
                    Some(settings) => {
                        self.resources
                            .name(&mut self.graph, self.load, settings, found)
                    }
                    None => NONE,
                };
                self.planner.found(node);
                self.resources.record(&mut self.planner, found);
                self.bytes += found.body().length;
            }
            Item::Facets(found) => {
                self.planner.facets(file, found);
                self.bytes += found.position.span.length;
            }
            Item::Remark(remark) => {
                self.planner.remark(file, remark);
                return Ok(());
            }
            Item::BundleStart(start) => {
                self.resources.bundle_start(&mut self.planner, file, start);
                self.bundles += 1;
                return Ok(());
            }
            Item::BundleEnd => {
                self.resources
                    .bundle_end(&mut self.planner, &mut self.graph);
            }
            Item::Malformed(malformed) => {
                (self.malformed)(file, malformed);
                let node = self.blank();
                self.planner.found(node);
                self.resources.malformed(&mut self.planner, malformed);
                self.planner.malformed(malformed);
            }
        }
        self.records += 1;
        if self.records.is_multiple_of(TELL_EVERY) {
            self.observe.observe(&Event::Scanning {
                records: self.records,
                bytes: self.bytes,
            });
            self.room.check().map_err(|e| file::Error::draft(&e))?;
            if (self.is_stopped)() {
                return Err(Error::Interrupted);
            }
        }
        self.write()
    }

    /// Tells whether the records of this load need no graph.
    fn is_plain(&self) -> bool {
        matches!(self.plain.last(), Some(Some(_)))
    }

    /// Takes something that is no record into the graph.
    fn blank(&mut self) -> u32 {
        if self.is_plain() {
            NONE
        } else {
            self.graph.blank(self.load)
        }
    }

    /// Writes down what has been decided of a load that needs no graph.
    fn write_plain(&mut self) -> Result<(), Error> {
        let failed = |e: std::io::Error| file::Error::draft(&e);
        let settings = self.header.loads.get(self.load.0 as usize);
        let target = self.header.target_of(self.load);
        let parts = settings
            .zip(target)
            .map(|(load, target)| batch::part(load, target));
        let Some(Some(plain)) = self.plain.last_mut() else {
            return Ok(());
        };
        let mut decided = self.planner.decided();
        while let Some(decision) = decided.next() {
            match decision {
                // The steps of a group follow it without a gap.
                Decision::Group { group, split } => {
                    let steps: Vec<Step> = decided
                        .by_ref()
                        .take(group.records as usize)
                        .filter_map(|decision| match decision {
                            Decision::Step { step, .. } => Some(step),
                            Decision::Group { .. } => None,
                        })
                        .collect();
                    let parts = parts.filter(|_| split);
                    plain
                        .group(&mut self.draft, group, parts, &steps)
                        .map_err(failed)?;
                }
                Decision::Step { step, .. } => {
                    plain.step(&mut self.draft, &step).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.is_plain() {
            return self.write_plain();
        }
        for decision in self.planner.decided() {
            match decision {
                Decision::Group { group, split } => {
                    self.left_in_group = group.records;
                    self.graph.groups.push(SourceGroup {
                        group,
                        first: NONE,
                        end: 0,
                        split,
                    });
                }
                Decision::Step { step, found } => {
                    let mut number = NONE;
                    if self.left_in_group > 0
                        && let Some(last) = self.graph.groups.last_mut()
                    {
                        self.left_in_group -= 1;
                        last.first = std::cmp::min(last.first, found);
                        last.end = std::cmp::max(last.end, found + 1);
                        number = u32::try_from(self.graph.groups.len() - 1).unwrap_or(NONE);
                    }
                    let line = self.draft.push(&step).map_err(|e| file::Error::draft(&e))?;
                    self.graph.decide(found, line, &step, number);
                }
            }
        }
        Ok(())
    }
}

/// Of a source whose bytes say nothing about what is loaded.
fn unread() -> Fingerprint {
    Fingerprint {
        stamp: Stamp::NOTHING,
        sha256: String::new(),
    }
}
