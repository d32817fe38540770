//! Bundles sent to the base: `batch`, each entry for itself, and `transaction`, all or nothing.

use super::database::{Database, isolated};
use super::error::{Failure, Reply};
use super::resource::{self, Condition, Done, Draft, Place, Store, Versions};
use super::{validate, version};
use http::StatusCode;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// The API refuses transactions with more entries.
const TRANSACTION_ENTRIES: usize = 4500;

/// What an entry asks for.
#[derive(Debug)]
enum Action {
    /// POST, perhaps only if nothing meets the condition.
    Create(Option<Condition>),
    /// PUT to an id.
    Update(String),
    /// PUT to what meets the condition.
    UpdateWhere(Condition),
    Delete(String),
    DeleteWhere(Condition),
    Read(String),
}

/// One entry, checked.
#[derive(Debug)]
struct Entry {
    action: Action,
    kind: String,
    /// Where it will be, as far as that is known: of a POST the new id.
    id: String,
    full_url: Option<String>,
    value: Value,
    draft: Option<Draft>,
    versions: Versions,
}

/// Answers a bundle.
pub(super) async fn answer(db: &Database, place: Place, body: &[u8]) -> Result<Reply, Failure> {
    let mut bundle = validate::json(body)?;
    validate::resource(&bundle, Some("Bundle"))?;
    let kind = bundle
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let entries = match bundle.get_mut("entry").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Failure::unparseable("error at \"entry\": expected array")),
    };
    match kind.as_str() {
        "batch" => batch(db, place, entries).await,
        "transaction" => transaction(db, place, entries).await,
        _ => Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_bundle",
            "the type of a bundle sent to the base must be batch or transaction",
        )),
    }
}

async fn batch(db: &Database, place: Place, entries: Vec<Value>) -> Result<Reply, Failure> {
    let entries: Vec<Result<Entry, Failure>> = entries
        .into_iter()
        .map(|entry| {
            let mut entry = read(entry, &place.base)?;
            entry.prepare();
            Ok(entry)
        })
        .collect();
    db.write(move |db| {
        let store = place.find(db)?;
        let answers: Vec<Value> = entries
            .into_iter()
            .map(
                |entry| match entry.and_then(|entry| isolated(db, || entry.run(db, &store))) {
                    Ok(done) => success(done, &store.base),
                    Err(failure) => failed(&failure),
                },
            )
            .collect();
        Ok(response("batch-response", &answers))
    })
    .await
}

async fn transaction(db: &Database, place: Place, entries: Vec<Value>) -> Result<Reply, Failure> {
    if entries.len() > TRANSACTION_ENTRIES {
        return Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "too-costly",
            "operation_too_costly",
            format!(
                "a transaction has at most {TRANSACTION_ENTRIES} entries, this one has {}",
                entries.len()
            ),
        ));
    }
    let mut entries = entries
        .into_iter()
        .enumerate()
        .map(|(at, entry)| read(entry, &place.base).map_err(|failure| within(failure, at)))
        .collect::<Result<Vec<_>, _>>()?;
    // What does not depend on the store is done here, off the writer's thread.
    let conditional = entries.iter().any(|entry| {
        matches!(
            entry.action,
            Action::Create(Some(_)) | Action::UpdateWhere(_)
        ) || has_conditional(&entry.value)
    });
    if !conditional {
        let moved = moved(&entries);
        for entry in &mut entries {
            rewrite(&mut entry.value, &moved);
            entry.prepare();
        }
    }
    db.write(move |db| {
        let store = place.find(db)?;
        if conditional {
            for (at, entry) in entries.iter_mut().enumerate() {
                entry
                    .settle(db, &store)
                    .map_err(|failure| within(failure, at))?;
            }
        }
        once(&entries)?;
        let moved = if conditional {
            moved(&entries)
        } else {
            HashMap::new()
        };
        let mut order: Vec<(usize, Entry)> = entries.into_iter().enumerate().collect();
        order.sort_by_key(|(_, entry)| entry.rank());
        let mut answers = vec![Value::Null; order.len()];
        let mut found = HashMap::new();
        for (at, mut entry) in order {
            if conditional {
                rewrite(&mut entry.value, &moved);
                resolve(&mut entry.value, db, &store, &mut found)
                    .map_err(|failure| within(failure, at))?;
            }
            let done = entry
                .run(db, &store)
                .map_err(|failure| within(failure, at))?;
            if let Some(answer) = answers.get_mut(at) {
                *answer = success(done, &store.base);
            }
        }
        Ok(response("transaction-response", &answers))
    })
    .await
}

/// Says which entry failed, except where the text is one that clients match on.
fn within(failure: Failure, at: usize) -> Failure {
    match failure {
        Failure::Fhir {
            status,
            code,
            text: text @ "unparseable_resource",
            diagnostics,
        } => Failure::fhir(
            status,
            code,
            text,
            format!("error at \"entry[{at}].resource\": {diagnostics}"),
        ),
        failure => failure,
    }
}

/// Checks one entry.
fn read(mut entry: Value, base: &str) -> Result<Entry, Failure> {
    let bad = |what: &str| Failure::unparseable(format!("error at \"request\": {what}"));
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let request = entry.get("request").cloned().unwrap_or_default();
    let method =
        text(&request, "method").ok_or_else(|| bad("missing required field \"method\""))?;
    let url = text(&request, "url").ok_or_else(|| bad("missing required field \"url\""))?;
    let url = url
        .strip_prefix(base)
        .unwrap_or(&url)
        .trim_start_matches('/');
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let (kind, id) = path
        .trim_end_matches('/')
        .split_once('/')
        .map_or((path.trim_end_matches('/'), None), |(kind, id)| {
            (kind, Some(id))
        });
    validate::kind(kind)?;
    if let Some(id) = id {
        validate::id(id)?;
    }
    let id = id.map(str::to_owned);
    let value = entry
        .get_mut("resource")
        .map(Value::take)
        .unwrap_or_default();
    let action = match (method.as_str(), id, query) {
        ("POST", None, _) => Action::Create(
            text(&request, "ifNoneExist")
                .as_deref()
                .map(Condition::parse)
                .transpose()?,
        ),
        ("PUT", Some(id), _) => Action::Update(id),
        ("PUT", None, Some(query)) => Action::UpdateWhere(Condition::parse(query)?),
        ("DELETE", Some(id), _) => Action::Delete(id),
        ("DELETE", None, Some(query)) => Action::DeleteWhere(Condition::parse(query)?),
        ("GET", Some(id), None) => Action::Read(id),
        _ => {
            return Err(bad(
                "the local store knows POST Type, PUT and DELETE Type/id or Type?identifier=…, and GET Type/id in a bundle",
            ));
        }
    };
    let id = match &action {
        Action::Create(_) => resource::new_id(),
        Action::Update(id) | Action::Delete(id) | Action::Read(id) => id.clone(),
        Action::UpdateWhere(_) | Action::DeleteWhere(_) => String::new(),
    };
    if matches!(
        action,
        Action::Create(_) | Action::Update(_) | Action::UpdateWhere(_)
    ) {
        validate::resource(&value, Some(kind))?;
    }
    if let Action::Update(id) = &action {
        resource::same_id(&value, id)?;
    }
    Ok(Entry {
        action,
        kind: kind.to_owned(),
        id,
        full_url: text(&entry, "fullUrl").filter(|url| !url.is_empty()),
        value,
        draft: None,
        versions: Versions {
            if_match: text(&request, "ifMatch"),
            if_none_match: text(&request, "ifNoneMatch"),
        },
    })
}

impl Entry {
    /// The order of FHIR's transactions.
    fn rank(&self) -> u8 {
        match self.action {
            Action::Delete(_) | Action::DeleteWhere(_) => 0,
            Action::Create(_) => 1,
            Action::Update(_) | Action::UpdateWhere(_) => 2,
            Action::Read(_) => 3,
        }
    }

    /// Makes the draft, where it is known already where it goes.
    fn prepare(&mut self) {
        if matches!(self.action, Action::Create(_) | Action::Update(_)) {
            self.draft = Some(Draft::new(&self.kind, self.id.clone(), self.value.take()));
        }
    }

    /// Finds where a conditional write will go, before anything is written, so that references can go there.
    fn settle(&mut self, db: &Connection, store: &Store) -> Result<(), Failure> {
        match &self.action {
            Action::Create(Some(condition)) => {
                if let Some(id) = condition.only(db, store, &self.kind)? {
                    self.id.clone_from(&id);
                    self.action = Action::Read(id);
                }
            }
            Action::UpdateWhere(condition) => {
                let (id, chosen) = resource::target(db, store, &self.kind, &self.value, condition)?;
                self.id.clone_from(&id);
                self.action = if chosen {
                    Action::Update(id)
                } else {
                    Action::Create(None)
                };
            }
            _ => {}
        }
        Ok(())
    }

    fn run(mut self, db: &Connection, store: &Store) -> Result<Outcome, Failure> {
        let draft = |kind: &str, id: &str, value: Value| Draft::new(kind, id.to_owned(), value);
        let done = match &self.action {
            Action::Create(condition) => {
                let draft = self
                    .draft
                    .take()
                    .unwrap_or_else(|| draft(&self.kind, &self.id, self.value.take()));
                resource::create(db, store, draft, condition.as_ref())?
            }
            Action::Update(id) => {
                let draft = self
                    .draft
                    .take()
                    .unwrap_or_else(|| draft(&self.kind, id, self.value.take()));
                resource::update(db, store, draft, &self.versions)?
            }
            Action::UpdateWhere(condition) => {
                let (id, chosen) = resource::target(db, store, &self.kind, &self.value, condition)?;
                let draft = draft(&self.kind, &id, self.value.take());
                if chosen {
                    resource::update(db, store, draft, &self.versions)?
                } else {
                    resource::create(db, store, draft, None)?
                }
            }
            Action::Delete(id) => resource::remove(db, store, &self.kind, id)?,
            Action::DeleteWhere(condition) => match condition.only(db, store, &self.kind)? {
                Some(id) => resource::remove(db, store, &self.kind, &id)?,
                None => Done {
                    status: StatusCode::OK,
                    kind: self.kind.clone(),
                    id: String::new(),
                    version: None,
                    text: "{}".into(),
                },
            },
            Action::Read(id) => {
                let done = resource::read(db, store, &self.kind, id)?;
                // A create that became a read of its match answers as a create does, without the resource.
                let whole = self.value.is_null();
                return Ok(Outcome { done, whole });
            }
        };
        Ok(Outcome { done, whole: false })
    }
}

/// What an entry came to, and whether its answer carries the resource.
struct Outcome {
    done: Done,
    whole: bool,
}

fn success(Outcome { done, whole }: Outcome, base: &str) -> Value {
    let mut response = Map::new();
    let reason = done.status.canonical_reason().unwrap_or("");
    response.insert(
        "status".into(),
        format!("{} {reason}", done.status.as_u16()).into(),
    );
    if let Some(at) = done.version {
        response.insert("etag".into(), version::etag(at).into());
        response.insert("lastModified".into(), version::instant(at).into());
    }
    if let Some(location) = done.location(base) {
        response.insert("location".into(), location.into());
    }
    let mut entry = json!({"response": response});
    if whole {
        entry["resource"] = serde_json::from_str(&done.text).unwrap_or_default();
    }
    entry
}

fn failed(failure: &Failure) -> Value {
    let status = failure.status();
    let reason = status.canonical_reason().unwrap_or("");
    json!({"response": {"status": format!("{} {reason}", status.as_u16()), "outcome": failure.outcome()}})
}

fn response(kind: &str, entries: &[Value]) -> Reply {
    let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    Reply::fhir(StatusCode::OK, bundle.to_string())
}

/// Refuses a transaction that writes one resource twice, or has a `fullUrl` twice.
fn once(entries: &[Entry]) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let mut urls = HashSet::new();
    for entry in entries
        .iter()
        .filter(|entry| entry.rank() < 3 && !entry.id.is_empty())
    {
        let again = !seen.insert((&entry.kind, &entry.id))
            || entry
                .full_url
                .as_ref()
                .is_some_and(|url| entry.rank() == 1 && !urls.insert(url));
        if again {
            return Err(Failure::fhir(
                StatusCode::BAD_REQUEST,
                "value",
                "invalid_bundle",
                "a transaction may name a resource once only among its writes",
            ));
        }
    }
    Ok(())
}

/// Where the references to the bundle's entries go: by `fullUrl`, and by the `Type/id` of a created resource.
fn moved(entries: &[Entry]) -> HashMap<String, String> {
    let mut moved = HashMap::new();
    for entry in entries.iter().filter(|entry| !entry.value.is_null()) {
        let to = format!("{}/{}", entry.kind, entry.id);
        if let Some(own) = entry.value.get("id").and_then(Value::as_str)
            && own != entry.id
        {
            moved.insert(format!("{}/{own}", entry.kind), to.clone());
        }
        if let Some(url) = &entry.full_url {
            moved.insert(url.clone(), to);
        }
    }
    moved
}

/// Sends references where their resources went: whole strings for full URLs, `Type/id` only in `reference`.
fn rewrite(value: &mut Value, moved: &HashMap<String, String>) {
    if !moved.is_empty() {
        walk(value, "", &mut |name, text| {
            if name == "div" {
                return narrative(text, moved);
            }
            let (plain, fragment) = text.split_once('#').unwrap_or((text.as_str(), ""));
            let absolute = plain.contains(':');
            let reference = name == "reference";
            if !reference && (!absolute || !fragment.is_empty() || !matches_url(name, plain)) {
                return;
            }
            if let Some(to) = moved.get(plain) {
                *text = if fragment.is_empty() {
                    to.clone()
                } else {
                    format!("{to}#{fragment}")
                };
            }
        });
    }
}

/// Whether a string outside `reference` may be rewritten: `urn:`s anywhere, other URLs only where a type of URL is sure
/// by the member's name, since an element's type is not known here.
fn matches_url(name: &str, text: &str) -> bool {
    text.starts_with("urn:")
        || matches!(
            name,
            "url" | "uri" | "valueUri" | "valueUrl" | "valueOid" | "valueUuid"
        )
}

/// Rewrites `href="…"` and `src="…"` of a narrative.
fn narrative(div: &mut String, moved: &HashMap<String, String>) {
    for (from, to) in moved {
        if !div.contains(from.as_str()) {
            continue;
        }
        for attribute in ["href", "src"] {
            for quote in ['"', '\''] {
                *div = div.replace(
                    &format!("{attribute}={quote}{from}{quote}"),
                    &format!("{attribute}={quote}{to}{quote}"),
                );
            }
        }
    }
}

/// Calls `f` with every string and the name of the member it is in. The parser has bounded the depth.
fn walk(value: &mut Value, name: &str, f: &mut dyn FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => f(name, text),
        Value::Array(all) => all.iter_mut().for_each(|one| walk(one, name, f)),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(name, one)| walk(one, name, f)),
        _ => {}
    }
}

/// A conditional reference's type and query.
fn conditional(text: &str) -> Option<(&str, &str)> {
    let (kind, query) = text.split_once('?')?;
    validate::kind(kind).is_ok().then_some((kind, query))
}

fn has_conditional(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().any(has_conditional),
        Value::Object(members) => members.iter().any(|(name, one)| match one {
            Value::String(text) => name == "reference" && conditional(text).is_some(),
            one => has_conditional(one),
        }),
        _ => false,
    }
}

/// Resolves conditional references against the store (not against the transaction's own resources).
fn resolve(
    value: &mut Value,
    db: &Connection,
    store: &Store,
    found: &mut HashMap<String, String>,
) -> Result<(), Failure> {
    let mut failure = None;
    walk(value, "", &mut |name, text| {
        if name != "reference" || failure.is_some() {
            return;
        }
        let Some((kind, query)) = conditional(text) else {
            return;
        };
        if let Some(to) = found.get(text.as_str()) {
            *text = to.clone();
            return;
        }
        match Condition::parse(query).and_then(|condition| condition.only(db, store, kind)) {
            Ok(Some(id)) => {
                let to = format!("{kind}/{id}");
                found.insert(std::mem::replace(text, to.clone()), to);
            }
            Ok(None) => {
                failure = Some(Failure::fhir(
                    StatusCode::BAD_REQUEST,
                    "value",
                    "invalid_references",
                    "resolving references: conditional reference has no matching resource",
                ));
            }
            Err(error) => failure = Some(error),
        }
    });
    failure.map_or(Ok(()), Err)
}
