//! What a server holds, and what its interactions do to it. How they are answered is `answer`'s business.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::habit::{Conditions, Habits, Ids, Versions};

/// What was written, or found instead.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) status: u16,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) version: String,
    pub(super) resource: Value,
    /// A condition hit, and nothing was written.
    pub(super) matched: bool,
}

/// Why something was refused.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) words: String,
}

impl Refused {
    pub(super) fn new(status: u16, code: &'static str, words: impl Into<String>) -> Self {
        Self {
            status,
            code,
            words: words.into(),
        }
    }

    /// As HAPI says it, each time by another of its numbers.
    pub(super) fn raced() -> Self {
        const NUMBERS: [&str; 6] = ["0823", "0824", "0825", "0826", "0827", "2745"];
        static TIMES: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBERS[TIMES.fetch_add(1, Ordering::Relaxed) % NUMBERS.len()];
        let words = format!("HAPI-0550: HAPI-{number}: The operation has failed.");
        Self::new(409, "processing", words)
    }

    pub(super) fn outcome(&self, severity: &str) -> Value {
        json!({"resourceType": "OperationOutcome", "id": "trace-1", "issue": [
            {"severity": severity, "code": self.code, "diagnostics": self.words}]})
    }
}

/// One write, as a request or an entry has it.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) method: String,
    /// `Type`, `Type/id` or `Type?query`.
    pub(super) url: String,
    pub(super) resource: Value,
    pub(super) if_none_exist: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) is_entry: bool,
    /// The id that was set apart for what it creates.
    pub(super) reserved: Option<String>,
}

/// The resources of a server by type and id, as they were sent, with the version beside them.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) resources: BTreeMap<(String, String), (String, Value)>,
    given: u64,
    transactions: u64,
}

impl Store {
    /// Carries a write out.
    pub(super) fn write(&mut self, habits: &Habits, write: &Write) -> Result<Done, Refused> {
        self.transactions += 1;
        let (path, query) = match write.url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (write.url.as_str(), None),
        };
        let mut path = path.trim_matches('/').split('/');
        let (kind, id) = (path.next().unwrap_or_default(), path.next());
        if matches!(write.method.as_str(), "POST" | "PUT") {
            if write.resource["resourceType"] != kind {
                return Err(Refused::new(400, "invalid", "the type is another"));
            }
            self.check_references(habits, &write.resource)?;
        }
        match (write.method.as_str(), id, query) {
            ("POST", None, None) => self.create(habits, kind, write),
            ("PUT", Some(id), None) => self.update(habits, kind, id, write),
            ("PUT", None, Some(query)) => match self.search(kind, query).as_slice() {
                [] => self.create(habits, kind, write),
                [id] => self.update(habits, kind, &id.clone(), write),
                _ => Err(Refused::new(412, "multiple-matches", "several match")),
            },
            ("DELETE", Some(id), None) => {
                let key = (kind.to_owned(), id.to_owned());
                let (version, resource) = self.resources.remove(&key).unwrap_or_default();
                Ok(Done {
                    status: 204,
                    kind: key.0,
                    id: key.1,
                    version,
                    resource,
                    matched: false,
                })
            }
            _ => Err(Refused::new(405, "not-supported", "not here")),
        }
    }

    fn create(&mut self, habits: &Habits, kind: &str, write: &Write) -> Result<Done, Refused> {
        let is_honoured = match habits.conditions {
            Conditions::Honoured => true,
            Conditions::SingleOnly => !write.is_entry,
            Conditions::Ignored => false,
        };
        if let Some(query) = write.if_none_exist.as_deref().filter(|_| is_honoured) {
            match self.search(kind, query).as_slice() {
                [] => {}
                [id] => {
                    let key = (kind.to_owned(), id.clone());
                    let (version, resource) = self.resources[&key].clone();
                    return Ok(Done {
                        status: 200,
                        kind: key.0,
                        id: key.1,
                        version,
                        resource,
                        matched: true,
                    });
                }
                _ => return Err(Refused::new(412, "multiple-matches", "several match")),
            }
        }
        let id = match write.reserved.clone() {
            Some(id) => id,
            None => self.id(habits, kind, &write.resource),
        };
        if self.resources.contains_key(&(kind.to_owned(), id.clone())) {
            return Err(Refused::new(409, "duplicate", "the id is taken"));
        }
        Ok(self.put(habits, (kind, &id), &write.resource, false))
    }

    /// Returns the id for something new.
    pub(super) fn id(&mut self, habits: &Habits, kind: &str, resource: &Value) -> String {
        self.given += 1;
        match habits.ids {
            Ids::Numbers => (1000 + self.given).to_string(),
            Ids::Uuids => uuid::Uuid::new_v4().to_string(),
            Ids::Capitals => format!("AAAAAAAA{:08X}", self.given),
            Ids::TypeAndNumber => format!("{kind}-{}", self.given),
            Ids::Kept => resource["id"]
                .as_str()
                .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned),
        }
    }

    fn update(
        &mut self,
        habits: &Habits,
        kind: &str,
        id: &str,
        write: &Write,
    ) -> Result<Done, Refused> {
        let old = self.resources.get(&(kind.to_owned(), id.to_owned()));
        if old.is_none() && !habits.upsert {
            return Err(Refused::new(
                404,
                "not-found",
                "unknown, and not created by an update",
            ));
        }
        if old.is_none() && !habits.digits && id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused::new(
                400,
                "processing",
                "HAPI-0960: an id of digits only",
            ));
        }
        let has_query = write.url.contains('?');
        if write.resource["id"] != id && !has_query {
            return Err(Refused::new(400, "invalid", "the id is another"));
        }
        match (&write.if_match, old) {
            (Some(wanted), Some((version, _))) => {
                if wanted.trim_start_matches("W/").trim_matches('"') != version {
                    let status = habits.if_match.stale;
                    return Err(Refused::new(status, "conflict", "the version is another"));
                }
            }
            (Some(_), None) => {
                let status = habits.if_match.stale;
                return Err(Refused::new(status, "conflict", "there is no version"));
            }
            (None, Some(_)) => {
                if let Some(status) = habits.if_match.missing {
                    return Err(Refused::new(status, "required", "If-Match is required"));
                }
            }
            (None, None) => {}
        }
        Ok(self.put(habits, (kind, id), &write.resource, true))
    }

    fn put(
        &mut self,
        habits: &Habits,
        (kind, id): (&str, &str),
        resource: &Value,
        is_update: bool,
    ) -> Done {
        let key = (kind.to_owned(), id.to_owned());
        let mut resource = resource.clone();
        resource["id"] = id.into();
        let old = self.resources.get(&key);
        let is_same = old.is_some_and(|(_, old)| *old == resource);
        let version = match (habits.versions, old) {
            (_, Some((version, _))) if is_same && habits.keeps_version => version.clone(),
            (Versions::Each, old) => {
                let before = old.map_or(0, |(version, _)| version.parse().unwrap());
                (before + 1_u64).to_string()
            }
            (Versions::Store, _) => self.transactions.to_string(),
            (Versions::Uuids, _) => uuid::Uuid::new_v4().to_string(),
        };
        let status = if old.is_some() || is_update && habits.always_200 {
            200
        } else {
            201
        };
        if !habits.forgets {
            self.resources
                .insert(key.clone(), (version.clone(), resource.clone()));
        }
        Done {
            status,
            kind: key.0,
            id: key.1,
            version,
            resource,
            matched: false,
        }
    }

    /// Returns the ids of what matches a query; of one that it does not know, nothing.
    pub(super) fn search(&self, kind: &str, query: &str) -> Vec<String> {
        let query = query.split_once('?').map_or(query, |(_, query)| query);
        let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .filter(|(name, _)| name != "_count")
            .collect();
        let is_hit = |id: &str, resource: &Value| {
            parameters.iter().all(|(name, value)| match name.as_str() {
                "_id" => id == value,
                "identifier" => has(&resource["identifier"], "value", value),
                "_tag" => has(&resource["meta"]["tag"], "code", value),
                _ => false,
            })
        };
        self.resources
            .iter()
            .filter(|((found, id), (_, resource))| found == kind && is_hit(id, resource))
            .map(|((_, id), _)| id.clone())
            .collect()
    }

    /// Refuses what refers to nothing, where the server does.
    fn check_references(&self, habits: &Habits, resource: &Value) -> Result<(), Refused> {
        let Some(status) = habits.integrity else {
            return Ok(());
        };
        let mut missing = None;
        references(resource, &mut |reference| {
            let mut parts = reference.split('/');
            if let (Some(kind), Some(id), None) = (parts.next(), parts.next(), parts.next())
                && !self
                    .resources
                    .contains_key(&(kind.to_owned(), id.to_owned()))
            {
                missing = Some(reference.to_owned());
            }
        });
        match missing {
            Some(reference) => Err(Refused::new(
                status,
                "not-found",
                format!("{reference} is not there"),
            )),
            None => Ok(()),
        }
    }
}

/// Tells whether one of some identifiers or codings is meant by `system|value`.
fn has(given: &Value, member: &str, wanted: &str) -> bool {
    let (system, value) = match wanted.split_once('|') {
        Some((system, value)) => (Some(system), value),
        None => (None, wanted),
    };
    let all = given.as_array().into_iter().flatten();
    all.into_iter().any(|one| {
        one[member] == value && system.is_none_or(|system| one["system"].as_str() == Some(system))
    })
}

/// Visits every literal reference.
pub(super) fn references(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "reference" => visit(text),
                    other => references(other, visit),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, visit)),
        _ => {}
    }
}

/// Visits every literal reference and every URL, to change it.
pub(super) fn links(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if matches!(name.as_str(), "reference" | "url") => {
                        visit(text);
                    }
                    other => links(other, visit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| links(item, visit)),
        _ => {}
    }
}
