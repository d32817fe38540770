//! Reads the sources of all loads through the planner into a sink, as a stream.
//!
//! This is the part of planning that touches files; every decision is the planner's.

mod known;
mod problems;
mod resources;
mod surveyor;

use std::{path::Path, sync::Arc};

pub use self::problems::pattern_problems;
use self::{
    problems::{check_rates, nothing_matches},
    resources::Resources,
    surveyor::{Read, Surveyor},
};
use crate::{
    diagnostic::Diagnostic,
    event::{LoadId, Observe},
    plan::{
        PlanHeader, PlannedSource, Planner, Summary, batch, capability_check,
        file::{self, Sink},
        graph::Graph,
        independent::IndependentLoad,
        schedule::Arrangement,
        staging::StagingWriter,
    },
    record::SourceId,
    source::{self, Bodies, Malformed, Origin, SourceFile, Spool},
    spill::MemoryBudget,
};

/// The findings of a survey.
#[derive(Debug)]
pub struct Survey {
    /// The totals.
    pub summary: Summary,
    /// The sources, by their number.
    pub sources: Vec<PlannedSource>,
    /// The problems that stand in the way of a load; nothing may be sent while there are errors.
    pub problems: Vec<Diagnostic>,
}

/// The reason why a survey could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan could not be written.
    #[error(transparent)]
    Plan(#[from] file::Error),
    /// A source cannot be read to its end, through no fault of its own.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The survey was interrupted.
    #[error("interrupted while the sources were being read; nothing was sent")]
    Interrupted,
}

/// A callback that is shown every malformed record as it is found, for `check`.
pub type OnMalformed<'a> = &'a mut dyn FnMut(&SourceFile, &Malformed);

/// Reads all sources and writes the plan.
///
/// Sources that cannot be read twice go through `spool`; until their order is known, the steps stand in a nameless file
/// in the directory `scratch`. `is_stopped` is asked between records.
pub fn survey(
    header: &PlanHeader,
    sink: &mut dyn Sink,
    spool: Option<&Spool>,
    scratch: &Path,
    observe: &dyn Observe,
    is_stopped: &dyn Fn() -> bool,
    malformed: OnMalformed<'_>,
) -> Result<Survey, Error> {
    sink.header(header)?;
    let room = MemoryBudget::new(header.run.memory.0, scratch);
    let mut surveyor = Surveyor {
        header,
        planner: Planner::new(header),
        resources: Resources::default(),
        graph: Graph::new(header, Arc::clone(&room)),
        draft: StagingWriter::create(scratch).map_err(|e| file::Error::draft(&e))?,
        load: LoadId(0),
        room: Arc::clone(&room),
        left_in_group: 0,
        plain: Vec::new(),
        observe,
        is_stopped,
        malformed,
        records: 0,
        bytes: 0,
        bundles: 0,
    };
    let mut sources: Vec<PlannedSource> = Vec::new();
    let mut plain = Vec::new();
    let mut problems = Vec::new();
    for (index, load) in header.loads.iter().enumerate() {
        let id = LoadId(u32::try_from(index).unwrap_or(u32::MAX));
        surveyor.planner.load(id);
        surveyor.resources.load(&surveyor.planner);
        surveyor.load = id;
        let start = surveyor.draft.offset();
        let is_plain = surveyor.graph.is_needless(id) || !load.format.has_references();
        surveyor
            .plain
            .push(is_plain.then(|| IndependentLoad::at(start)));
        problems.extend(known::read(&mut surveyor.graph, id, load));
        let target = header.target_of(id);
        problems.extend(target.and_then(|target| batch::refused(load, target)));
        let found = source::find(&load.files);
        problems.extend(found.problems);
        problems.extend(found.unmatched.iter().map(nothing_matches));
        for mut file in found.files {
            file.id = SourceId(u32::try_from(sources.len()).unwrap_or(u32::MAX));
            file.form = file.form.within(load.format);
            let path = match &file.origin {
                Origin::File(path) => Some(path.clone()),
                Origin::Stdin => None,
            };
            surveyor.planner.file();
            let Read {
                fingerprint,
                spooled,
                bytes,
            } = surveyor.read(&file, spool)?;
            plain.extend(bytes.map(|bytes| (file.id, bytes)));
            sources.push(PlannedSource {
                id: file.id,
                load: id,
                name: path
                    .as_ref()
                    .map_or("-".to_owned(), |path| path.display().to_string()),
                path,
                form: file.form,
                spooled,
                fingerprint,
            });
        }
        surveyor.planner.load_end();
        surveyor.write()?;
    }
    let Surveyor {
        mut planner,
        resources,
        graph,
        draft,
        plain: plain_loads,
        ..
    } = surveyor;
    resources.finish(&mut planner);
    let mut summary = planner.finish();
    let bodies = Bodies::new(plain);
    let read = |source, span| bodies.read(source, span).ok().map(|bytes| bytes.to_vec());
    let arrangement = Arrangement {
        header,
        graph,
        draft: draft.finish().map_err(|e| file::Error::draft(&e))?,
        plain: plain_loads,
        firsts: vec![0; header.loads.len()],
        sources: &sources,
        read: &read,
        summary: &mut summary,
    };
    problems.extend(arrangement.write(sink)?);
    room.check().map_err(|e| file::Error::draft(&e))?;
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
