//! Referential integrity, as the Healthcare API enforces it (referential-integrity page).
//!
//! A resource may refer only to what is there: `Type/id`, a version of it, and absolute URLs of this very store are
//! checked; URLs of other servers, logical references and those that only display are not, and those in extensions only
//! with `complexDataTypeReferenceParsing: ENABLED`. A resource that another refers to cannot be deleted.
//! `disableReferentialIntegrity` switches this off. That a contained resource is there and referred to holds always.

use std::{collections::BTreeSet, fmt::Write as _};

use http::StatusCode;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::instant::Instant;
use super::json::{Json, Object};
use super::reply::Refusal;
use super::stores::fhir::Store;
use crate::fhir::{
    reference::{ReferenceForm, ReferenceTarget, classify},
    types::is_resource_type,
};

/// A reference that is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) kind: String,
    pub(super) id: String,
    version: Option<String>,
    path: String,
}

/// Finds the references of a resource that a store checks; none where it does not check.
pub(super) fn links(store: &Store, kind: &str, fields: &Object) -> Vec<Link> {
    let mut links = Vec::new();
    // A Bundle that is stored as it is holds its own resources, which refer to each other.
    if store.settings.integrity && kind != "Bundle" {
        let own = format!("/{}/fhir/", store.name);
        let mut walk = Walk {
            own: &own,
            extensions: store.settings.checks_extensions,
            path: kind.to_owned(),
            links: &mut links,
        };
        walk.object(fields);
    }
    links
}

struct Walk<'a> {
    own: &'a str,
    extensions: bool,
    path: String,
    links: &'a mut Vec<Link>,
}

impl Walk<'_> {
    fn object(&mut self, fields: &Object) {
        for (name, value) in fields {
            if !self.extensions && matches!(name.as_str(), "extension" | "modifierExtension") {
                continue;
            }
            match value {
                Json::Text(text) if name == "reference" => self.reference(text),
                Json::Object(_) | Json::List(_) => {
                    let length = self.path.len();
                    self.path.push('.');
                    self.path.push_str(name);
                    self.value(value);
                    self.path.truncate(length);
                }
                _ => {}
            }
        }
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Object(fields) => self.object(fields),
            Json::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let length = self.path.len();
                    // Writing to a string cannot fail.
                    let _ = write!(self.path, "[{index}]");
                    self.value(item);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, text: &str) {
        let ReferenceTarget {
            resource_type,
            id,
            version,
        } = match classify(text) {
            ReferenceForm::Relative(target) => target,
            ReferenceForm::Absolute { base, target } if base.ends_with(self.own) => target,
            _ => return,
        };
        // Of other words nobody can say that they are not there.
        if !is_resource_type(resource_type) {
            return;
        }
        self.links.push(Link {
            kind: resource_type.to_owned(),
            id: id.to_owned(),
            version: version.map(str::to_owned),
            path: self.path.clone(),
        });
    }
}

/// Checks that what a resource refers to is there; the resource itself counts.
pub(super) fn check(
    connection: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
    links: &[Link],
) -> Result<(), Refusal> {
    for link in links {
        let is_own = link.kind == kind && link.id == id;
        let refers_to_itself = is_own && link.version.is_none();
        if !refers_to_itself && !is_there(connection, store, link)? {
            // The service names the reference in its diagnostics; so does this.
            let version = link
                .version
                .as_ref()
                .map_or_else(String::new, |version| format!("/_history/{version}"));
            let text = format!(
                "resolving references: {}/{}{version} does not exist",
                link.kind, link.id
            );
            return Err(invalid(text).at(&link.path));
        }
    }
    Ok(())
}

fn invalid(text: String) -> Refusal {
    Refusal::fhir(StatusCode::BAD_REQUEST, "value", "invalid_references", text)
}

fn is_there(connection: &Connection, store: &Store, link: &Link) -> Result<bool, Refusal> {
    let sql = "SELECT version FROM resource WHERE store = ?1 AND kind = ?2 AND id = ?3";
    let current: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(params![store.key, link.kind, link.id], |row| row.get(0))
        .optional()?;
    let Some(version) = &link.version else {
        return Ok(current.is_some());
    };
    let Some(Instant(wanted)) = Instant::from_version_id(version) else {
        return Ok(false);
    };
    if current == Some(wanted) {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM history WHERE store = ?1 AND kind = ?2 AND id = ?3 AND version = ?4 AND text IS NOT NULL";
    Ok(connection
        .prepare_cached(sql)?
        .exists(params![store.key, link.kind, link.id, wanted])?)
}

/// Notes what a resource refers to, in place of what it referred to before.
pub(super) fn note(
    connection: &Connection,
    store: &Store,
    source: i64,
    is_new: bool,
    links: &[Link],
) -> Result<(), Refusal> {
    if !store.settings.integrity {
        return Ok(());
    }
    if !is_new {
        forget(connection, source)?;
    }
    let sql = "INSERT OR IGNORE INTO link (source, store, kind, id) VALUES (?1, ?2, ?3, ?4)";
    for link in links {
        connection
            .prepare_cached(sql)?
            .execute(params![source, store.key, link.kind, link.id])?;
    }
    Ok(())
}

/// Forgets what a resource refers to.
pub(super) fn forget(connection: &Connection, source: i64) -> Result<(), Refusal> {
    connection
        .prepare_cached("DELETE FROM link WHERE source = ?1")?
        .execute(params![source])?;
    Ok(())
}

/// Refuses to take away what others refer to (409; the standard's answer, for the service's own is not published).
pub(super) fn check_unused(
    connection: &Connection,
    store: &Store,
    kind: &str,
    id: &str,
) -> Result<(), Refusal> {
    if !store.settings.integrity {
        return Ok(());
    }
    let sql = "SELECT resource.kind, resource.id FROM link JOIN resource ON resource.key = link.source
        WHERE link.store = ?1 AND link.kind = ?2 AND link.id = ?3 AND NOT (resource.kind = ?2 AND resource.id = ?3) LIMIT 1";
    let user: Option<(String, String)> = connection
        .prepare_cached(sql)?
        .query_row(params![store.key, kind, id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match user {
        None => Ok(()),
        Some((user, user_id)) => Err(Refusal::fhir(
            StatusCode::CONFLICT,
            "conflict",
            "invalid_references",
            format!("{kind}/{id} is referred to by {user}/{user_id}"),
        )),
    }
}

/// A resource that refers to another one.
#[derive(Debug)]
pub(super) struct User {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) text: String,
}

/// Returns the resources that refer to any of these, each once, and no more than `limit`.
pub(super) fn users<'a>(
    connection: &Connection,
    store: &Store,
    kind: &str,
    ids: impl Iterator<Item = &'a str>,
    limit: usize,
) -> Result<Vec<User>, Refusal> {
    let sql = "SELECT resource.key, resource.kind, resource.id, resource.text FROM link JOIN resource ON resource.key = link.source
        WHERE link.store = ?1 AND link.kind = ?2 AND link.id = ?3 LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut seen, mut users) = (BTreeSet::new(), Vec::new());
    for id in ids {
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![store.key, kind, id, rows])?;
        while let Some(row) = rows.next()? {
            if users.len() >= limit {
                return Ok(users);
            }
            if seen.insert(row.get::<_, i64>(0)?) {
                users.push(User {
                    kind: row.get(1)?,
                    id: row.get(2)?,
                    text: row.get(3)?,
                });
            }
        }
    }
    Ok(users)
}

/// Checks that every `#x` resolves, and that every contained resource is referred to (R4, invariants dom-3 and ref-1).
pub(super) fn check_contained(kind: &str, fields: &Object) -> Result<(), Refusal> {
    let contained = match fields.get("contained") {
        Some(Json::List(contained)) => contained.as_slice(),
        _ => &[],
    };
    let mut seen = Local::default();
    for (name, value) in fields {
        seen.visit(name, value);
    }
    let ids: BTreeSet<&str> = contained
        .iter()
        .filter_map(|resource| resource.as_object()?.get("id")?.as_text())
        .collect();
    if let Some(missing) = seen
        .references
        .iter()
        .find(|reference| !reference.is_empty() && !ids.contains(reference.as_str()))
    {
        return Err(invalid(format!("resolving references: #{missing} is not contained")).at(kind));
    }
    for (index, resource) in contained.iter().enumerate() {
        let id = resource
            .as_object()
            .and_then(|fields| fields.get("id")?.as_text());
        let mut own = Local::default();
        own.visit("", resource);
        // One that refers to its container belongs to it as well.
        if id.is_some_and(|id| !seen.mentions.contains(id)) && !own.references.contains("") {
            let text = format!("the contained resource {index} is not referred to");
            return Err(invalid(text).at(&format!("{kind}.contained[{index}]")));
        }
    }
    Ok(())
}

/// The mentions of contained resources in a resource: `#x` in references, and in anything else.
#[derive(Default)]
struct Local {
    references: BTreeSet<String>,
    mentions: BTreeSet<String>,
}

impl Local {
    fn visit(&mut self, name: &str, value: &Json) {
        match value {
            Json::Text(text) => {
                if let Some(id) = text.strip_prefix('#') {
                    self.mentions.insert(id.to_owned());
                    if name == "reference" {
                        self.references.insert(id.to_owned());
                    }
                }
            }
            Json::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| self.visit(name, value)),
            Json::List(items) => items.iter().for_each(|item| self.visit(name, item)),
            _ => {}
        }
    }
}
