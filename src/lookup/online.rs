//! What a target holds already of a plan's records: for `stoker plan --online`.
//!
//! Reads only. Nothing is kept but counts: also what a condition found is not, for a plan names each record once. How many
//! records are asked about at a time is bounded by the gate's look-ups.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{Matches, content, one};
use crate::{
    event::LoadId,
    fhir::{Scanner, bundle},
    gate::{Failure, Gate},
    manifest::LoadSettings,
    plan::{
        Action, LoadSummary, Step,
        file::{self, Entry, Saved},
    },
    record::Interaction,
    source::Bodies,
    target::fhir::{Requests, criteria},
};

/// What a load would do, given what its target holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Online {
    /// Records that the target does not hold.
    pub create: u64,
    /// Records that would get a new version: their content differs, be it only in a reference that `load` rewrites.
    pub update: u64,
    /// Records that the target holds as they are, or whose condition is met already.
    pub leave: u64,
    /// Records whose condition several resources meet.
    pub refused: u64,
    /// Records of which the target does not say.
    pub unknown: u64,
}

impl Online {
    /// Returns the number of records that would change something.
    pub fn work(&self) -> u64 {
        self.create + self.update + self.refused + self.unknown
    }

    fn count(&mut self, found: Found) {
        *match found {
            Found::Create => &mut self.create,
            Found::Update => &mut self.update,
            Found::Leave => &mut self.leave,
            Found::Refused => &mut self.refused,
            Found::Unknown => &mut self.unknown,
        } += 1;
    }
}

/// Why the targets could not be asked about a plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan cannot be read.
    #[error(transparent)]
    Plan(#[from] file::Error),
    /// A target gave no answer: it is down, or the credentials failed.
    #[error("target `{target}`: {failure}")]
    Target {
        /// Its name in the manifest.
        target: String,
        /// What went wrong.
        failure: Failure,
    },
    /// A target no longer takes the credentials.
    #[error("target `{target}` does not accept the credentials (401)")]
    Credentials {
        /// Its name in the manifest.
        target: String,
    },
}

/// What is known of one record, or why no other record needs to be asked about.
type Answer = Result<Found, Error>;

#[derive(Debug, Clone, Copy)]
enum Found {
    Create,
    Update,
    Leave,
    Refused,
    Unknown,
}

/// How many records are asked about at a time; the gate lets no more look-ups through either.
const AT_A_TIME: usize = 64;

/// Asks the targets about every record of a plan that would be sent. `gates` has the gate and the requests of each target;
/// `told` is told how many records more are known of.
///
/// # Errors
///
/// When the plan cannot be read, or a target gives no answers any more. A record of which an answer does not say is
/// counted, not an error.
pub async fn ask(
    plan: &Saved,
    bodies: &Bodies,
    gates: &BTreeMap<String, (&Gate, &Requests)>,
    told: &dyn Fn(u64),
) -> Result<Vec<Online>, Error> {
    let mut loads = Vec::with_capacity(plan.header.loads.len());
    for (index, settings) in (0_u32..).zip(&plan.header.loads) {
        let mut counts = Online::default();
        let Some(&(gate, requests)) = gates.get(&settings.target) else {
            loads.push(counts);
            continue;
        };
        let asker = Asker {
            gate,
            requests,
            bodies,
            settings,
        };
        let missing = plan
            .header
            .target_of(LoadId(index))
            .is_some_and(|target| target.facts.missing);
        if missing {
            // Where there is no store yet, everything is new.
            let totals = plan.summary.loads.get(index as usize);
            counts.create = totals.map_or(0, LoadSummary::sent);
            told(counts.create);
            loads.push(counts);
            continue;
        }
        let steps = plan.steps(LoadId(index))?.filter_map(|entry| match entry {
            Ok(Entry::Step(step)) if step.action.interaction().is_some() => Some(Ok(step)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let mut found = stream::iter(steps)
            .map(|step| async { asker.one(&step?).await })
            .buffer_unordered(AT_A_TIME);
        while let Some(found) = found.next().await {
            counts.count(found?);
            told(1);
        }
        loads.push(counts);
    }
    Ok(loads)
}

struct Asker<'a> {
    gate: &'a Gate,
    requests: &'a Requests,
    bodies: &'a Bodies,
    settings: &'a LoadSettings,
}

impl Asker<'_> {
    async fn one(&self, step: &Step) -> Answer {
        match step.action.interaction() {
            Some(Interaction::Update) => self.update(step).await,
            Some(Interaction::ConditionalCreate) => self.condition(step, Found::Leave).await,
            Some(Interaction::ConditionalUpdate) => self.condition(step, Found::Update).await,
            Some(Interaction::Create) => Ok(Found::Create),
            _ => Ok(Found::Update),
        }
    }

    async fn update(&self, step: &Step) -> Answer {
        let id = step.id.as_deref().unwrap_or_default();
        let read = self
            .gate
            .look_up(|| self.requests.read(&step.kind, id))
            .await;
        let response = read.map_err(|failure| self.no_answer(failure))?;
        Ok(match response.status().as_u16() {
            200 => match self.bodies.read(step.position.source, step.body) {
                Ok(body) if content::is_same(&body, response.body()) => Found::Leave,
                Ok(_) => Found::Update,
                Err(_) => Found::Unknown,
            },
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Unknown,
        })
    }

    async fn condition(&self, step: &Step, hit: Found) -> Answer {
        let Some(query) = self.query(step) else {
            return Ok(Found::Unknown);
        };
        let asked = one(self.gate, self.requests, &step.kind, &query).await;
        Ok(match asked.map_err(|failure| self.no_answer(failure))? {
            Matches::None => Found::Create,
            Matches::One(_) => hit,
            Matches::Several => Found::Refused,
            Matches::Refused(401) => return Err(self.refused()),
            Matches::Refused(_) => Found::Unknown,
        })
    }

    fn no_answer(&self, failure: Failure) -> Error {
        Error::Target {
            target: self.settings.target.clone(),
            failure,
        }
    }

    fn refused(&self) -> Error {
        Error::Credentials {
            target: self.settings.target.clone(),
        }
    }

    /// Returns the condition of a record: its entry's own, or that of the load.
    fn query(&self, step: &Step) -> Option<String> {
        if matches!(step.action, Action::Entry(_)) && self.settings.interaction.is_none() {
            let source = step.position.source;
            let entry = self.bodies.read(source, step.position.span).ok()?;
            let request = bundle::envelope(&entry).ok()?.request?;
            if let Some(condition) = request.if_none_exist {
                let text = condition.text(&entry);
                return Some(text.trim_start_matches('?').to_owned());
            }
            let url = request.url?.text(&entry).into_owned();
            return Some(url.split_once('?')?.1.to_owned());
        }
        let body = self.bodies.read(step.position.source, step.body).ok()?;
        let mut scanner = Scanner::new();
        let identifiers = scanner.scan(&body).ok()?.identifiers_of(&body);
        let pairs = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
        criteria(&self.settings.identity, &step.kind, &pairs)
    }
}
