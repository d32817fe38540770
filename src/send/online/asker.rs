//! Asks a target about one record: whether it holds it, and holds it as the load would leave it.
//!
//! A record is named or compared as a load would send it, its references rewritten. The answers are counted by others.

use std::collections::HashMap;

use bytes::Bytes;
use http::Response;

use super::{Change, Error, sent::Sent};
use crate::{
    gate::{CallFailure, Gate},
    lookup::{self, Lookups, Matches},
    manifest::LoadSettings,
    plan::{Action, Link, Step, To},
    record::{Operation, Outcome},
    send::{Earlier, rewrite::BodyRewriter},
    target::{Likeness, Target},
};

/// The result for one record, or the reason why no other record needs to be asked about.
pub(super) type Answer = Result<Found, Error>;

/// The effect that a load would have on a record.
#[derive(Debug)]
pub(super) enum Found {
    Create,
    /// With what changes, where that is asked for.
    Update(Option<Box<Change>>),
    Leave,
    Refused,
    Unknown,
}

/// The word of earlier runs on a record, and what a load makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// They have not loaded it: it is sent.
    No,
    /// They have loaded it, and the load compares it itself before it believes that.
    Compared,
    /// They have loaded it, and it is left alone.
    Left,
}

/// Asks a target about the records of one load.
pub(super) struct Asker<'a> {
    pub(super) gate: &'a Gate,
    pub(super) target: &'a dyn Target,
    pub(super) rewriter: &'a BodyRewriter,
    pub(super) lookups: &'a Lookups,
    pub(super) settings: &'a LoadSettings,
    pub(super) earlier: &'a Earlier,
    /// True if changes are compared element by element.
    pub(super) differs: bool,
}

impl Asker<'_> {
    /// Tells whether earlier runs have loaded a record, and what the load makes of that.
    pub(super) fn known(&self, step: &Step) -> Known {
        let is_compared =
            self.settings.compare && step.action.operation() == Some(Operation::Update);
        match self.earlier.is_settled(step.number) {
            false => Known::No,
            true if is_compared => Known::Compared,
            true => Known::Left,
        }
    }

    /// Finds out the effect that the load would have on a record, or has not for what earlier runs have loaded of it.
    pub(super) async fn one(&self, Sent { step, beside }: &Sent, known: Known) -> Answer {
        // The store took it under a name that nobody knows.
        if known != Known::No && self.earlier.outcome(step.number) == Some(Outcome::Unknown) {
            return Ok(Found::Leave);
        }
        match step.action.operation() {
            Some(Operation::Update) => self.update(step, beside, known).await,
            // Its condition has done its work: what it was loaded as is asked for.
            Some(
                Operation::Create
                | Operation::Transmit
                | Operation::ConditionalCreate
                | Operation::ConditionalUpdate,
            ) if known != Known::No => self.loaded(step).await,
            Some(Operation::ConditionalCreate) => self.condition(step, Found::Leave).await,
            Some(Operation::ConditionalUpdate) => self.condition(step, Found::Update(None)).await,
            Some(Operation::Create | Operation::Transmit) => Ok(Found::Create),
            Some(operation) if operation.keeps_id() => self.by_name(step).await,
            _ => Ok(Found::Update(None)),
        }
    }

    /// Reads what the store has under an id.
    async fn read(&self, kind: &str, id: &str) -> Result<Response<Bytes>, Error> {
        let read = self
            .gate
            .call_interactive(|| self.target.read(kind, id))
            .await;
        read.map_err(|failure| self.no_answer(failure))
    }

    /// Asks for a record under the name that the store gave it when an earlier run loaded it.
    async fn loaded(&self, step: &Step) -> Answer {
        let resource = self
            .earlier
            .resource(step)
            .map_err(crate::send::Error::from)?;
        let named = resource.as_deref().and_then(|named| named.split_once('/'));
        let Some((kind, id)) = named else {
            return Ok(Found::Leave);
        };
        let response = self.read(kind, id).await?;
        Ok(match response.status().as_u16() {
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Leave,
        })
    }

    /// Asks for a record whose name tells what it is.
    async fn by_name(&self, step: &Step) -> Answer {
        let Some(id) = step.id.as_deref() else {
            return Ok(Found::Unknown);
        };
        let response = self.read(&step.kind, id).await?;
        Ok(match response.status().as_u16() {
            _ if self.target.is_nothing(&response) => Found::Create,
            200 => Found::Leave,
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Unknown,
        })
    }

    async fn update(&self, step: &Step, beside: &HashMap<String, String>, known: Known) -> Answer {
        let Some(id) = step.id.as_deref() else {
            return Ok(Found::Unknown);
        };
        let response = self.read(&step.kind, id).await?;
        Ok(match response.status().as_u16() {
            200 => match self.body(step, beside).await? {
                Some(body) if self.target.is_alike(Likeness::Same, &body, response.body()) => {
                    Found::Leave
                }
                body if self.differs => {
                    let change = self.change(step, id, body, &response, known);
                    Found::Update(Some(Box::new(change)))
                }
                _ => Found::Update(None),
            },
            404 | 410 => Found::Create,
            401 => return Err(self.refused()),
            _ => Found::Unknown,
        })
    }

    /// Compares a record element by element with what the store holds under its id.
    fn change(
        &self,
        step: &Step,
        id: &str,
        body: Option<Bytes>,
        response: &Response<Bytes>,
        known: Known,
    ) -> Change {
        let differences = body.and_then(|body| {
            let told = self
                .target
                .differences(step, self.settings, &body, response);
            told.ok()
        });
        let file = self.rewriter.plan.source_name(step.position.source);
        Change {
            number: step.number,
            load: self.settings.name.clone(),
            position: step.position.display(file).to_string(),
            kind: step.kind.clone(),
            id: id.to_owned(),
            left_alone: known == Known::Left,
            differences,
        }
    }

    /// Returns a resource as the store would have it, its references rewritten; none where one of them leads nowhere yet.
    async fn body(
        &self,
        step: &Step,
        beside: &HashMap<String, String>,
    ) -> Result<Option<Bytes>, Error> {
        let mut step = step.clone();
        for link in &mut step.links {
            link.late = false;
        }
        for search in self.rewriter.searches(&step)? {
            let (kind, query) = (&search.kind, &search.query);
            let asked = self.lookups.one(self.gate, self.target, kind, query);
            match asked.await.map_err(|failure| self.no_answer(failure))? {
                Matches::One(id) => step.links.push(Link {
                    reference: search.reference,
                    to: To::Resource(format!("{kind}/{id}")),
                    late: false,
                    native: false,
                }),
                Matches::Refused(401) => return Err(self.refused()),
                _ => return Ok(None),
            }
        }
        // A link that the server resolves by itself within a request is put in below, by the records beside this one.
        step.links
            .retain(|link| link.to != To::Search && !link.native);
        if let Action::Entry(interaction) = step.action {
            // The record is compared, not the entry around it.
            // The hash is that of the whole entry.
            step.hash = 0;
            step.action = Action::Send(interaction);
        }
        if !beside.is_empty() {
            let body = self.rewriter.bodies.read(step.position.source, step.body);
            // A body that cannot be read here cannot be read below either, and is said there.
            for (reference, resource) in self.target.beside(&body.unwrap_or_default(), beside) {
                if step.links.iter().all(|link| link.reference != reference) {
                    step.links.push(Link {
                        reference,
                        to: To::Resource(resource),
                        late: false,
                        native: false,
                    });
                }
            }
        }
        Ok(self.rewriter.read_to_look(&[step])?.pop())
    }

    async fn condition(&self, step: &Step, hit: Found) -> Answer {
        let Some(query) = self.query(step) else {
            return Ok(Found::Unknown);
        };
        let asked = lookup::one(self.gate, self.target, &step.kind, &query).await;
        Ok(match asked.map_err(|failure| self.no_answer(failure))? {
            Matches::None => Found::Create,
            Matches::One(_) => hit,
            Matches::Several => Found::Refused,
            Matches::Refused(401) => return Err(self.refused()),
            Matches::Refused(_) => Found::Unknown,
        })
    }

    fn no_answer(&self, failure: CallFailure) -> Error {
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

    /// Returns the condition of a record: its own request's, or that of the load.
    fn query(&self, step: &Step) -> Option<String> {
        // A record with a request of its own has its condition in the request; another has it in its body.
        let span = match &step.action {
            Action::Entry(_) => step.position.span,
            _ => step.body,
        };
        let body = self.rewriter.bodies.read(step.position.source, span).ok()?;
        self.target.condition(self.settings, step, &body)
    }
}
