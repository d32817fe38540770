//! Reads records for the wire, and lets their target make them ready: what they refer to gets the name that the store gave
//! it. The plan knows where references lead, `dependencies` the ids that came of it, the target what is changed in the
//! bytes.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Seek as _, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;

use super::{Error, dependencies::DependencyTracker};
use crate::{
    journal::JournalLine,
    manifest::{LoadSettings, Settle},
    plan::{self, Step, To, file::Saved},
    record::{Operation, Span, StepId, Stretch},
    source::Bodies,
    target::{Naming, Purpose, Search, Target, Unwritten},
};

/// Reads records and makes them ready.
#[derive(Debug)]
pub(super) struct BodyRewriter {
    pub(super) plan: Arc<Saved>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) dependencies: Option<Arc<DependencyTracker>>,
    /// Per load: its target, where it is connected to.
    pub(super) targets: Vec<Option<Arc<dyn Target>>>,
    /// Names the run in the tags of its records.
    pub(super) journal: Option<JournalLine>,
}

/// The bytes of a record that somebody looks at.
pub(super) enum Opened {
    /// They are held.
    Held(Bytes),
    /// They are too many to be held.
    Lies(Stretch),
}

impl Opened {
    /// Returns what reads them from their beginning.
    pub(super) fn read(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Held(bytes) => Ok(Box::new(io::Cursor::new(Bytes::clone(bytes)))),
            Self::Lies(Stretch { path, span, .. }) => {
                let mut file = fs_err::File::open(path)?;
                file.seek(SeekFrom::Start(span.start))?;
                Ok(Box::new(io::BufReader::new(file).take(span.length)))
            }
        }
    }
}

/// Returns the bytes of a record that go to the wire: the whole entry, or the resource.
pub(super) fn wire_span(step: &Step) -> Span {
    step.wire()
}

impl BodyRewriter {
    /// Reads what goes to the wire of each record. With `together`, the records travel in one transaction.
    ///
    /// # Errors
    ///
    /// When a source has changed, or a reference leads to a record of which nothing is known yet.
    pub(super) fn read(&self, steps: &[Step], together: bool) -> Result<Vec<Bytes>, Error> {
        self.each(steps, together).collect()
    }

    /// Reads records to look at them. References to what has no name yet are left as they stand in the source.
    pub(super) fn read_to_look(&self, steps: &[Step]) -> Result<Vec<Bytes>, Error> {
        let tag = |step: &Step| self.tag(step);
        self.read_with(steps, &|to| kept_name(steps, to), Purpose::Looking, &tag)
    }

    /// As [`BodyRewriter::read`], one by one.
    pub(super) fn each<'s>(
        &'s self,
        steps: &'s [Step],
        together: bool,
    ) -> impl Iterator<Item = Result<Bytes, Error>> + 's {
        let own = match (steps.first(), steps.last(), together) {
            (Some(first), Some(last), true) => first.number..last.number.next(),
            _ => StepId(0)..StepId(0),
        };
        // Those that others of the transaction refer to by a link of the plan, and not by the text in the file.
        let links = steps
            .iter()
            .filter(|_| together)
            .flat_map(|step| &step.links);
        let links = links.filter_map(|link| match link.to {
            To::Step(to) => Some(to),
            To::Resource(_) | To::Search => None,
        });
        let linked: HashSet<StepId> = links.filter(|to| own.contains(to)).collect();
        steps.iter().map(move |step| {
            let bytes = self.bytes(step)?;
            let inside = |to: StepId| {
                let is_own = own.contains(&to);
                let at = steps.binary_search_by_key(&to, |step| step.number);
                let at = at.ok().filter(|_| is_own);
                at.and_then(|at| steps.get(at))
            };
            let target = self.target_of(step)?;
            let own_name = |to: StepId| kept_name(std::slice::from_ref(step), to);
            let names = |to: StepId| {
                let beside = inside(to).map(|beside| target.address(beside));
                let known = beside.or_else(|| self.arrived(to));
                known.or_else(|| own_name(to))
            };
            let naming = Naming {
                settings: self.settings_of(step)?,
                names: &names,
                purpose: match self.dependencies {
                    Some(_) => Purpose::Sending,
                    None => Purpose::DryRun,
                },
                is_linked: linked.contains(&step.number),
                tag: self.tag(step),
            };
            self.rewrite(step, &naming, bytes)
        })
    }

    /// Reads records as a store has them that took them with these tags, those of one transaction as these resources.
    pub(super) fn read_as_stored(
        &self,
        steps: &[Step],
        resources: &HashMap<StepId, String>,
        tags: &HashMap<StepId, String>,
    ) -> Result<Vec<Bytes>, Error> {
        let stored = |to: StepId| {
            let known = resources.get(&to).cloned();
            known.or_else(|| kept_name(steps, to))
        };
        let tag = |step: &Step| tags.get(&step.number).cloned();
        self.read_with(steps, &stored, Purpose::Comparing, &tag)
    }

    fn read_with(
        &self,
        steps: &[Step],
        inside: &dyn Fn(StepId) -> Option<String>,
        purpose: Purpose,
        tag: &dyn Fn(&Step) -> Option<String>,
    ) -> Result<Vec<Bytes>, Error> {
        let names = |to: StepId| inside(to).or_else(|| self.arrived(to));
        steps
            .iter()
            .map(|step| {
                let naming = Naming {
                    settings: self.settings_of(step)?,
                    names: &names,
                    purpose,
                    is_linked: false,
                    tag: tag(step),
                };
                let bytes = self.bytes(step)?;
                self.rewrite(step, &naming, bytes)
            })
            .collect()
    }

    /// Returns what a record is called that has arrived.
    fn arrived(&self, record: StepId) -> Option<String> {
        self.dependencies.as_ref()?.resource(record)
    }

    /// Returns where the bytes of records lie that their target sends without holding them.
    pub(super) fn stretches(&self, steps: &[Step]) -> Result<HashMap<StepId, Stretch>, Error> {
        let mut stretches = HashMap::new();
        for step in steps {
            if self.is_streamed(step)? {
                let read = self.bodies.stretch(step.position.source, wire_span(step));
                let stretch = read.map_err(|e| self.failed(step, &e.kind.to_string()))?;
                if step.hash != 0 && stretch.hash != step.hash {
                    return Err(self.changed(step));
                }
                stretches.insert(step.number, stretch);
            }
        }
        Ok(stretches)
    }

    /// Opens the bytes of a record to look at them: where its target sends it from its file, from there.
    pub(super) fn open(&self, step: &Step) -> Result<Opened, Error> {
        let step = std::slice::from_ref(step);
        let stretch = self.stretches(step)?.into_values().next();
        Ok(match stretch {
            Some(stretch) => Opened::Lies(stretch),
            None => Opened::Held(
                self.read_to_look(step)?
                    .into_iter()
                    .next()
                    .unwrap_or_default(),
            ),
        })
    }

    /// Tells whether a record is too large to be held, and its target sends it as it stands in its file.
    pub(super) fn is_streamed(&self, step: &Step) -> Result<bool, Error> {
        let from = self.target_of(step)?.streams_from();
        Ok(from.is_some_and(|from| wire_span(step).length >= from))
    }

    fn bytes(&self, step: &Step) -> Result<Bytes, Error> {
        if self.is_streamed(step)? {
            return Ok(Bytes::new());
        }
        // A record that came as an entry was hashed as one, also where its resource goes out alone in a second request.
        let hashed = step.wire_as(step.first.as_ref().unwrap_or(&step.action));
        let bytes = self
            .bodies
            .read(step.position.source, hashed)
            .map_err(|error| self.failed(step, &error.kind.to_string()))?;
        if step.hash != 0 && plan::hash(&bytes) != step.hash {
            return Err(self.changed(step));
        }
        if hashed == wire_span(step) {
            return Ok(bytes);
        }
        // The body lies within what was hashed.
        let start = usize::try_from(step.body.start.saturating_sub(hashed.start));
        let length = usize::try_from(step.body.length);
        let (Ok(start), Ok(length)) = (start, length) else {
            return Err(self.changed(step));
        };
        match start.checked_add(length) {
            Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
            _ => Err(self.changed(step)),
        }
    }

    fn failed(&self, step: &Step, why: &str) -> Error {
        let file = self.plan.source_name(step.position.source);
        Error::Source(format!(
            "cannot read {}: {why}",
            step.position.display(file)
        ))
    }

    /// Returns the conditional references of a record that the store has to be asked about.
    pub(super) fn searches(&self, step: &Step) -> Result<Vec<Search>, Error> {
        if !step.links.iter().any(|link| link.to == To::Search) {
            return Ok(Vec::new());
        }
        let bytes = self.bytes(step)?;
        let searches = self.target_of(step)?.searches(step, &bytes);
        searches.map_err(|_| self.changed(step))
    }

    /// Sent as it stands in the source, the reference would lead to something else.
    fn unnamed(&self, step: &Step, to: StepId) -> Error {
        let file = self.plan.source_name(step.position.source);
        Error::Internal(format!(
            "{} was about to be sent before it was known what became of record {to}, to which it refers",
            step.position.display(file)
        ))
    }

    fn changed(&self, step: &Step) -> Error {
        self.failed(step, "it is no longer what it was when it was planned")
    }

    fn rewrite(&self, step: &Step, naming: &Naming<'_>, bytes: Bytes) -> Result<Bytes, Error> {
        let target = self.target_of(step)?;
        let rewritten = target.rewrite(step, naming, bytes);
        rewritten.map_err(|unwritten| match unwritten {
            Unwritten::Changed => self.changed(step),
            Unwritten::Unnamed(to) => self.unnamed(step, to),
        })
    }

    fn target_of(&self, step: &Step) -> Result<&dyn Target, Error> {
        let target = self.targets.get(step.load.0 as usize);
        target.and_then(Option::as_deref).ok_or_else(|| {
            Error::Internal(format!(
                "nobody is connected to the target of load {}",
                step.load.0
            ))
        })
    }

    fn settings_of(&self, step: &Step) -> Result<&LoadSettings, Error> {
        let settings = self.plan.header.loads.get(step.load.0 as usize);
        settings.ok_or_else(|| Error::Internal(format!("there is no load {}", step.load.0)))
    }

    /// Returns what marks a record as this run's: only a create can be doubled, and only where the load asks for it.
    pub(super) fn tag(&self, step: &Step) -> Option<String> {
        let load = self.plan.header.loads.get(step.load.0 as usize)?;
        // The update that completes a created record keeps its tag.
        let action = step.first.as_ref().unwrap_or(&step.action);
        let is_tagged =
            load.settles_by() == Settle::Tag && action.operation() == Some(Operation::Create);
        let journal = self.journal.as_ref()?;
        is_tagged.then(|| journal.tag(step.number))
    }
}

/// Returns what a record is called whatever becomes of it: an update names it itself.
fn kept_name(steps: &[Step], record: StepId) -> Option<String> {
    let step = steps.iter().find(|step| step.number == record)?;
    let is_kept = step.action.operation() == Some(Operation::Update);
    let id = step.id.as_ref().filter(|_| is_kept)?;
    Some(format!("{}/{id}", step.kind))
}
