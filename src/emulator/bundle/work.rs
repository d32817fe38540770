//! The work of a transaction: what each of its entries comes to, and what they have to agree on.

use std::collections::{HashMap, HashSet};

use http::StatusCode;

use super::super::database::DatabaseSession;
use super::super::instant::Instant;
use super::super::integrity::{self, Link};
use super::super::interaction::{
    AMBIGUOUS, AMBIGUOUS_DELETE, Done, Interaction, apply, check_update, new_id, resolve_update,
};
use super::super::reply::Refusal;
use super::super::resource::Resource;
use super::super::rewrite::{Links, Rewriter, base as base_of};
use super::super::route::fhir::FhirPath;
use super::super::rows::{Current, complete, current, keep, remove};
use super::super::search::Criteria;
use super::super::stores::fhir::Store;
use super::entry::{Entry, Planned};
use super::expression;

/// The work that an entry calls for, as found before anything is written.
pub(super) enum Step {
    /// Carried out as it stands: deletes and patches.
    Other(Interaction),
    /// A resource that is new, or replaces another.
    Store {
        kind: &'static str,
        id: String,
        old: Option<Current>,
        method: &'static str,
    },
    /// A conditional create that matched.
    Matched(Done),
    /// The same conditional create as an earlier entry.
    Same(usize),
    Read(FhirPath),
}

fn conflict(what: impl Into<String>) -> Refusal {
    Refusal::fhir(StatusCode::BAD_REQUEST, "invariant", "invalid_bundle", what)
}

/// The state that the entries of a transaction share.
pub(super) struct Work<'a> {
    store: &'a Store,
    links: Links,
    /// Resources that are deleted or written: each at most once.
    touched: HashSet<(&'static str, String)>,
    /// The references of each entry that was stored: checked when everything is there.
    links_of: Vec<(usize, &'static str, String, Vec<Link>)>,
    /// Deleted resources, each with the entry that deleted it: nothing may refer to them in the end.
    deleted: Vec<(usize, &'static str, String)>,
    /// Conditions of creates, and the entry that came with each first.
    conditions: HashMap<(&'static str, Criteria), (usize, String)>,
}

impl<'a> Work<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            links: Links::default(),
            touched: HashSet::new(),
            links_of: Vec::new(),
            deleted: Vec::new(),
            conditions: HashMap::new(),
        }
    }

    /// Takes a resource away; whether others still refer to it counts when all entries are carried out.
    pub(super) fn delete(
        &mut self,
        session: &mut DatabaseSession,
        index: usize,
        interaction: Interaction,
    ) -> Result<Done, Refusal> {
        let (kind, id) = match interaction {
            Interaction::Delete { kind, id, guard } => {
                guard.check_existing(&session.connection, self.store, kind, &id)?;
                (kind, Some(id))
            }
            Interaction::DeleteWhere { kind, criteria } => {
                let store = self.store.key;
                let found = criteria.only(&session.connection, store, kind, AMBIGUOUS_DELETE)?;
                (kind, found.map(|found| found.id))
            }
            other => return apply(session, self.store, other),
        };
        if let Some(id) = &id {
            self.touch(kind, id)?;
            if let Some(old) = current(&session.connection, self.store, kind, id)? {
                remove(session, self.store, kind, id, &old)?;
                self.deleted.push((index, kind, id.clone()));
            }
        }
        Ok(Done {
            status: StatusCode::OK,
            kind,
            id: id.unwrap_or_default(),
            version: None,
            text: String::new(),
        })
    }

    /// Checks the references of all that was stored, and those to what was deleted.
    pub(super) fn check_links(&self, session: &DatabaseSession) -> Result<(), Refusal> {
        let connection = &session.connection;
        for (index, kind, id, links) in &self.links_of {
            integrity::check(connection, self.store, kind, id, links)
                .map_err(|refusal| refusal.inside(&format!("{}.resource", expression(*index))))?;
        }
        for (index, kind, id) in &self.deleted {
            integrity::check_unused(connection, self.store, kind, id)
                .map_err(|refusal| refusal.at(&expression(*index)))?;
        }
        Ok(())
    }

    pub(super) fn touch(&mut self, kind: &'static str, id: &str) -> Result<(), Refusal> {
        if self.touched.insert((kind, id.to_owned())) {
            return Ok(());
        }
        Err(conflict(format!(
            "the transaction changes {kind}/{id} more than once"
        )))
    }

    fn link(&mut self, entry: &Entry, kind: &str, id: &str) -> Result<(), Refusal> {
        match &entry.full_url {
            Some(full_url) if !self.links.insert(full_url, format!("{kind}/{id}")) => Err(
                conflict("two entries of the transaction have the same fullUrl"),
            ),
            _ => Ok(()),
        }
    }

    /// Finds out what an entry will do, and to which id.
    pub(super) fn resolve(
        &mut self,
        session: &DatabaseSession,
        base: &str,
        index: usize,
        entry: &Entry,
    ) -> Result<Step, Refusal> {
        Ok(match entry.plan(base)? {
            Planned::Read(path) => Step::Read(path),
            Planned::Write(Interaction::Create {
                resource,
                condition,
            }) => {
                let kind = resource.kind;
                if let Some(condition) = condition {
                    if let Some((first, id)) =
                        self.conditions.get(&(kind, condition.clone())).cloned()
                    {
                        self.link(entry, kind, &id)?;
                        return Ok(Step::Same(first));
                    }
                    if let Some(found) =
                        condition.only(&session.connection, self.store.key, kind, AMBIGUOUS)?
                    {
                        self.link(entry, kind, &found.id)?;
                        let version = Some(Instant(found.version));
                        let text = String::new();
                        return Ok(Step::Matched(Done {
                            status: StatusCode::OK,
                            kind,
                            id: found.id,
                            version,
                            text,
                        }));
                    }
                    let id = new_id();
                    self.conditions
                        .insert((kind, condition), (index, id.clone()));
                    self.link(entry, kind, &id)?;
                    return Ok(Step::Store {
                        kind,
                        id,
                        old: None,
                        method: "POST",
                    });
                }
                let id = new_id();
                self.link(entry, kind, &id)?;
                Step::Store {
                    kind,
                    id,
                    old: None,
                    method: "POST",
                }
            }
            Planned::Write(Interaction::Update {
                resource,
                id,
                guard,
            }) => {
                self.touch(resource.kind, &id)?;
                self.link(entry, resource.kind, &id)?;
                let old = check_update(session, self.store, &resource, &id, &guard)?;
                Step::Store {
                    kind: resource.kind,
                    id,
                    old,
                    method: "PUT",
                }
            }
            Planned::Write(Interaction::UpdateWhere {
                resource,
                criteria,
                guard,
            }) => {
                let (id, create) = resolve_update(session, self.store, &resource, &criteria)?;
                self.touch(resource.kind, &id)?;
                self.link(entry, resource.kind, &id)?;
                let old = if create {
                    None
                } else {
                    check_update(session, self.store, &resource, &id, &guard)?
                };
                Step::Store {
                    kind: resource.kind,
                    id,
                    old,
                    method: "PUT",
                }
            }
            Planned::Write(other) => Step::Other(other),
        })
    }

    /// Stores a resource; `true` when it has conditional references, and its text has to be completed later.
    pub(super) fn store_one(
        &mut self,
        session: &DatabaseSession,
        entry: &Entry,
        index: usize,
        (kind, id, version): (&'static str, &str, Instant),
        old: Option<Current>,
        method: &str,
    ) -> Result<bool, Refusal> {
        let mut waits = false;
        let resource = self.rewritten(entry, index, kind, &mut |_, _| {
            waits = true;
            Ok(None)
        })?;
        let root = format!("{}.resource", expression(index));
        integrity::check_contained(kind, &resource.fields).map_err(|r| r.inside(&root))?;
        let links = if waits {
            Vec::new()
        } else {
            integrity::links(self.store, kind, &resource.fields)
        };
        let tokens = resource.tokens();
        let text = if waits {
            String::new()
        } else {
            resource.seal(id, version)
        };
        keep(
            session, self.store, kind, id, version, method, &text, &tokens, &links, old,
        )?;
        if !links.is_empty() {
            self.links_of.push((index, kind, id.to_owned(), links));
        }
        Ok(waits)
    }

    /// Resolves the conditional references of a resource, now that everything is there, and stores its text.
    pub(super) fn complete_one(
        &mut self,
        session: &DatabaseSession,
        entry: &Entry,
        index: usize,
        (kind, id, version): (&'static str, &str, Instant),
        resolved: &mut HashMap<(&'static str, String), String>,
    ) -> Result<(), Refusal> {
        let resource = self.rewritten(entry, index, kind, &mut |kind, query| {
            if let Some(found) = resolved.get(&(kind, query.to_owned())) {
                return Ok(Some(found.clone()));
            }
            let many = "resolving references: search criteria are not selective enough";
            let criteria = Criteria::condition_text(query)?;
            let Some(found) = criteria.only(&session.connection, self.store.key, kind, many)?
            else {
                let text = "resolving references: conditional reference has no matching resource";
                return Err(Refusal::fhir(
                    StatusCode::BAD_REQUEST,
                    "value",
                    "invalid_references",
                    text,
                ));
            };
            let target = format!("{kind}/{}", found.id);
            resolved.insert((kind, query.to_owned()), target.clone());
            Ok(Some(target))
        })?;
        let links = integrity::links(self.store, kind, &resource.fields);
        let text = resource.seal(id, version);
        complete(session, self.store, kind, id, &text, &links)?;
        if !links.is_empty() {
            self.links_of.push((index, kind, id.to_owned(), links));
        }
        Ok(())
    }

    fn rewritten<'r>(
        &'r self,
        entry: &'r Entry,
        index: usize,
        kind: &'static str,
        resolve: &'r mut super::super::rewrite::Resolve<'r>,
    ) -> Result<Resource, Refusal> {
        let body = entry.resource.as_deref().unwrap_or_default();
        let mut resource = Resource::parse(body, Some(kind))?;
        let base = entry.full_url.as_deref().and_then(base_of);
        let extensions = self.store.settings.complex_references;
        let rewrite = Rewriter {
            links: &self.links,
            base,
            extensions,
            resolve,
        }
        .object(&mut resource.fields);
        rewrite.map_err(|unresolved| {
            unresolved.into_refusal(&format!("{}.resource", expression(index)))
        })?;
        Ok(resource)
    }
}
