//! The interactions that change a store, each carried out inside the writer's transaction.

use http::StatusCode;

use super::database::DatabaseSession;
use super::instant::Instant;
use super::integrity;
use super::json::Json;
use super::patch;
use super::reply::Refusal;
use super::resource::Resource;
use super::rows::{Current, absent, current, keep, remove};
use super::search::Criteria;
use super::stores::fhir::Store;

/// Google's text for a condition that is met by more than one resource.
pub(super) const AMBIGUOUS: &str = "search criteria are not selective enough";
/// The same for a conditional delete.
pub(super) const AMBIGUOUS_DELETE: &str = "Condition not selective enough";

/// A change that a client asks for.
#[derive(Debug)]
pub(super) enum Interaction {
    Create {
        resource: Resource,
        condition: Option<Criteria>,
    },
    Update {
        resource: Resource,
        id: String,
        guard: Guard,
    },
    UpdateWhere {
        resource: Resource,
        criteria: Criteria,
        guard: Guard,
    },
    Patch {
        kind: &'static str,
        id: String,
        patch: Json,
        guard: Guard,
    },
    PatchWhere {
        kind: &'static str,
        criteria: Criteria,
        patch: Json,
        guard: Guard,
    },
    Delete {
        kind: &'static str,
        id: String,
        guard: Guard,
    },
    DeleteWhere {
        kind: &'static str,
        criteria: Criteria,
    },
}

/// `If-Match` and `If-None-Match: *`.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    pub(super) if_match: Option<String>,
    pub(super) only_absent: bool,
}

impl Guard {
    /// Reads the two headers, or the two fields of a bundle's entry.
    pub(super) fn new(if_match: Option<&str>, if_none_match: Option<&str>) -> Self {
        Self {
            if_match: if_match.map(str::to_owned),
            only_absent: if_none_match.is_some_and(|text| text.trim() == "*"),
        }
    }

    /// Checks the current version, if there is one.
    fn check(&self, current: Option<Instant>) -> Result<(), Refusal> {
        if self.only_absent && current.is_some() {
            return Err(Refusal::precondition(
                "the resource exists already, and If-None-Match is *",
            ));
        }
        match &self.if_match {
            Some(wanted) if !current.is_some_and(|current| names(wanted, current)) => {
                Err(Refusal::precondition(
                    "the version in If-Match is not the current version of the resource",
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Guard {
    /// Checks the current version of a resource that is to be deleted; of one that is not there, nothing is asked.
    pub(super) fn check_existing(
        &self,
        connection: &rusqlite::Connection,
        store: &Store,
        kind: &'static str,
        id: &str,
    ) -> Result<(), Refusal> {
        if self.if_match.is_none() {
            return Ok(());
        }
        match current(connection, store, kind, id)? {
            Some(found) => self.check(Some(found.version)),
            None => Ok(()),
        }
    }
}

/// Tells whether a list of entity tags (weak or strong, or `*`) names the version.
pub(super) fn names(tags: &str, version: Instant) -> bool {
    let id = version.version_id();
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == id)
}

/// The result of an interaction.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) id: String,
    /// The current version; `None` when there is none any more.
    pub(super) version: Option<Instant>,
    pub(super) text: String,
}

/// Carries out one interaction.
pub(super) fn apply(
    session: &mut DatabaseSession,
    store: &Store,
    interaction: Interaction,
) -> Result<Done, Refusal> {
    match interaction {
        Interaction::Create {
            resource,
            condition,
        } => {
            if let Some(condition) = condition
                && let Some(found) =
                    condition.only(&session.connection, store.key, resource.kind, AMBIGUOUS)?
            {
                let version = Some(Instant(found.version));
                return Ok(Done {
                    status: StatusCode::OK,
                    kind: resource.kind,
                    id: found.id,
                    version,
                    text: found.text,
                });
            }
            let id = new_id();
            put(session, store, resource, id, None, "POST")
        }
        Interaction::Update {
            resource,
            id,
            guard,
        } => update(session, store, resource, id, &guard),
        Interaction::UpdateWhere {
            resource,
            criteria,
            guard,
        } => {
            let (id, create) = resolve_update(session, store, &resource, &criteria)?;
            if create {
                guard.check(None)?;
                return put(session, store, resource, id, None, "PUT");
            }
            update(session, store, resource, id, &guard)
        }
        Interaction::Patch {
            kind,
            id,
            patch,
            guard,
        } => patch_one(session, store, kind, id, &patch, &guard),
        Interaction::PatchWhere {
            kind,
            criteria,
            patch,
            guard,
        } => match criteria.only(&session.connection, store.key, kind, AMBIGUOUS)? {
            Some(found) => patch_one(session, store, kind, found.id, &patch, &guard),
            None => Err(Refusal::missing(kind)),
        },
        Interaction::Delete { kind, id, guard } => {
            guard.check_existing(&session.connection, store, kind, &id)?;
            delete(session, store, kind, id)
        }
        Interaction::DeleteWhere { kind, criteria } => {
            match criteria.only(&session.connection, store.key, kind, AMBIGUOUS_DELETE)? {
                Some(found) => delete(session, store, kind, found.id),
                None => Ok(Done {
                    status: StatusCode::OK,
                    kind,
                    id: String::new(),
                    version: None,
                    text: String::new(),
                }),
            }
        }
    }
}

/// Returns an id for a new resource.
pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Finds which id a conditional update is about, and whether it creates.
pub(super) fn resolve_update(
    session: &DatabaseSession,
    store: &Store,
    resource: &Resource,
    criteria: &Criteria,
) -> Result<(String, bool), Refusal> {
    let kind = resource.kind;
    match (
        criteria.only(&session.connection, store.key, kind, AMBIGUOUS)?,
        resource.id(),
    ) {
        (Some(found), Some(id)) if id != found.id => Err(Refusal::mismatch(&found.id, id)),
        (Some(found), _) => Ok((found.id, false)),
        (None, None) => Ok((new_id(), true)),
        (None, Some(id)) => {
            if !store.settings.enable_update_create {
                return Err(no_update_create(kind, id));
            }
            // R4 leaves this open; R5 forbids to overwrite a resource that does not meet the condition.
            if current(&session.connection, store, kind, id)?.is_some() {
                let text = format!("{kind}/{id} exists and does not meet the condition");
                return Err(Refusal::fhir(
                    StatusCode::CONFLICT,
                    "conflict",
                    "resource_exists",
                    text,
                ));
            }
            Ok((id.to_owned(), true))
        }
    }
}

/// The answer to a PUT of a missing id without `enableUpdateCreate`: 405 by the FHIR specification, as Google's own
/// answer is not published.
fn no_update_create(kind: &str, id: &str) -> Refusal {
    let text = format!(
        "{kind}/{id} does not exist, and the store does not allow update-create (enableUpdateCreate)"
    );
    Refusal::unsupported(StatusCode::METHOD_NOT_ALLOWED, text)
}

fn update(
    session: &mut DatabaseSession,
    store: &Store,
    resource: Resource,
    id: String,
    guard: &Guard,
) -> Result<Done, Refusal> {
    let old = check_update(session, store, &resource, &id, guard)?;
    put(session, store, resource, id, old, "PUT")
}

/// Checks an update against what is there, and returns that.
pub(super) fn check_update(
    session: &DatabaseSession,
    store: &Store,
    resource: &Resource,
    id: &str,
    guard: &Guard,
) -> Result<Option<Current>, Refusal> {
    let old = current(&session.connection, store, resource.kind, id)?;
    guard.check(old.as_ref().map(|old| old.version))?;
    if old.is_none() && !store.settings.enable_update_create {
        return Err(no_update_create(resource.kind, id));
    }
    Ok(old)
}

fn put(
    session: &mut DatabaseSession,
    store: &Store,
    resource: Resource,
    id: String,
    old: Option<Current>,
    method: &str,
) -> Result<Done, Refusal> {
    let kind = resource.kind;
    let status = if old.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    integrity::check_contained(kind, &resource.fields)?;
    let links = integrity::links(store, kind, &resource.fields);
    integrity::check(&session.connection, store, kind, &id, &links)?;
    let tokens = resource.tokens();
    let version = session.clock.tick();
    let text = resource.seal(&id, version);
    keep(
        session, store, kind, &id, version, method, &text, &tokens, &links, old,
    )?;
    Ok(Done {
        status,
        kind,
        id,
        version: Some(version),
        text,
    })
}

fn patch_one(
    session: &mut DatabaseSession,
    store: &Store,
    kind: &'static str,
    id: String,
    patch: &Json,
    guard: &Guard,
) -> Result<Done, Refusal> {
    let Some(old) = current(&session.connection, store, kind, &id)? else {
        return Err(absent(&session.connection, store, kind, &id)?);
    };
    guard.check(Some(old.version))?;
    let mut json = Json::parse(old.text.as_bytes())
        .map_err(|error| Refusal::unparseable(error.to_string()))?;
    patch::apply(&mut json, patch)?;
    let resource = Resource::check(json, Some(kind))?;
    if resource.id() != Some(id.as_str()) {
        return Err(Refusal::mismatch(&id, resource.id().unwrap_or_default()));
    }
    put(session, store, resource, id, Some(old), "PATCH")
}

fn delete(
    session: &mut DatabaseSession,
    store: &Store,
    kind: &'static str,
    id: String,
) -> Result<Done, Refusal> {
    if let Some(old) = current(&session.connection, store, kind, &id)? {
        integrity::check_unused(&session.connection, store, kind, &id)?;
        remove(session, store, kind, &id, &old)?;
    }
    Ok(Done {
        status: StatusCode::OK,
        kind,
        id,
        version: None,
        text: String::new(),
    })
}
