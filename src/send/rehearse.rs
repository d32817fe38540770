//! Builds every request of a plan and sends none: the pipeline with its last stage left out.

use std::sync::Arc;

use super::{Error, dress::Dresser, request::make, two_steps::second, versions::Held};
use crate::{
    event::LoadId,
    plan::{
        Action, BundleType, Step,
        file::{Entry, Saved},
    },
    source::Bodies,
    target::fhir::Requests,
};

/// What a rehearsal built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Builds every request of a plan.
///
/// # Errors
///
/// When the plan or a source cannot be read, or a request cannot be made of a record.
pub fn rehearse(plan: &Arc<Saved>, bodies: &Arc<Bodies>) -> Result<Rehearsed, Error> {
    let mut rehearsed = Rehearsed::default();
    let dresser = Dresser {
        plan: Arc::clone(plan),
        bodies: Arc::clone(bodies),
        precedence: None,
        bases: Vec::new(),
        journal: None,
    };
    // Nothing is sent there; the names in the requests do not matter.
    let base =
        url::Url::parse("https://dry-run.invalid/").map_err(|e| Error::Plan(e.to_string()))?;
    let requests = Requests::new(&base);
    let failed = |e: crate::plan::file::Error| Error::Plan(e.to_string());
    for (index, settings) in (0u32..).zip(&plan.header.loads) {
        let mut entries = plan.steps(LoadId(index)).map_err(failed)?;
        while let Some(entry) = entries.next() {
            let (bundle, count) = match entry.map_err(failed)? {
                Entry::Group(group) => (Some(group.bundle), group.records),
                Entry::Step(step) if step.action.interaction().is_none() => continue,
                Entry::Step(step) => {
                    let steps = [step];
                    let read = dresser.read(&steps, false)?;
                    let is_entry = matches!(
                        steps,
                        [Step {
                            action: Action::Entry(_),
                            ..
                        }]
                    );
                    let bundle = is_entry.then_some(BundleType::Batch);
                    rehearsed.count(make(
                        &requests,
                        settings,
                        bundle,
                        &steps,
                        &read,
                        &Held::new(),
                    ));
                    if let [step] = steps
                        && step.is_in_two_steps()
                    {
                        let id = step.id.clone().unwrap_or_default();
                        let steps = [second(step, id)];
                        let read = dresser.read(&steps, false)?;
                        rehearsed.count(make(
                            &requests,
                            settings,
                            None,
                            &steps,
                            &read,
                            &Held::new(),
                        ));
                    }
                    continue;
                }
            };
            let mut steps = Vec::with_capacity(count as usize);
            while steps.len() < count as usize {
                match entries.next() {
                    Some(Ok(Entry::Step(step))) => steps.push(step),
                    _ => return Err(Error::Plan("a group of the plan is cut short".to_owned())),
                }
            }
            let read = dresser.read(&steps, bundle == Some(BundleType::Transaction))?;
            rehearsed.count(make(
                &requests,
                settings,
                bundle,
                &steps,
                &read,
                &Held::new(),
            ));
        }
    }
    Ok(rehearsed)
}

impl Rehearsed {
    fn count(&mut self, made: Result<http::Request<bytes::Bytes>, crate::gate::BuildError>) {
        if let Ok(request) = made {
            self.requests += 1;
            self.bytes += request.body().len() as u64;
        }
    }
}
