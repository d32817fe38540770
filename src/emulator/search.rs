//! Search by `_id`, `_tag` and `identifier`, and what the store says it can do.

use super::database::Database;
use super::error::{Failure, Reply};
use super::resource::{Condition, Place};
use super::validate;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};

/// How many matches a page has unless `_count` says otherwise, and at most (API page "Searching for FHIR resources").
const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

/// A search, read from its parameters.
#[derive(Debug)]
struct Search {
    count: usize,
    after: String,
    /// Conditions in SQL, and their values in order.
    sql: String,
    values: Vec<Sql>,
    /// The parameters the local store does not know.
    unknown: Vec<String>,
    /// The parameters that count, for the links.
    query: String,
}

impl Search {
    fn read(query: &str) -> Result<Self, Failure> {
        let mut search = Self {
            count: PAGE,
            after: String::new(),
            sql: String::new(),
            values: Vec::new(),
            unknown: Vec::new(),
            query: String::new(),
        };
        let mut links = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "_count" => {
                    let count: usize = value.parse().map_err(|_| {
                        Failure::query("_count must be a number that is not negative")
                    })?;
                    search.count = count.min(PAGE_MAX);
                }
                "_page_token" => {
                    search.after = URL_SAFE_NO_PAD
                        .decode(value.as_bytes())
                        .ok()
                        .and_then(|bytes| String::from_utf8(bytes).ok())
                        .ok_or_else(|| Failure::query("_page_token is not one this store gave"))?;
                    continue;
                }
                "_id" => search.ids(&value),
                "_tag" => search.tokens("tags", &value)?,
                "identifier" => search.tokens("identifiers", &value)?,
                // Shapes of the answer, not conditions: the whole matches are a correct answer.
                "_format" | "_pretty" | "_total" => {}
                other => search.unknown.push(other.to_owned()),
            }
            links.append_pair(&name, &value);
        }
        search.query = links.finish();
        Ok(search)
    }

    fn ids(&mut self, list: &str) {
        let ids: Vec<&str> = list.split(',').collect();
        self.sql.push_str(" AND id IN (");
        self.sql.push_str(&vec!["?"; ids.len()].join(","));
        self.sql.push(')');
        self.values
            .extend(ids.into_iter().map(|id| Sql::Text(id.to_owned())));
    }

    /// One parameter: any of its comma-separated tokens.
    fn tokens(&mut self, table: &str, list: &str) -> Result<(), Failure> {
        self.sql.push_str(" AND (");
        for (at, token) in list.split(',').enumerate() {
            let token = Condition::token(token)
                .ok_or_else(|| Failure::query("a token to search by must not be empty"))?;
            if at > 0 {
                self.sql.push_str(" OR ");
            }
            self.sql.push_str("id IN (SELECT id FROM ");
            self.sql.push_str(table);
            self.sql.push_str(" WHERE store = ?1 AND type = ?2");
            for (column, value) in [("value", token.value), ("system", token.system)] {
                if let Some(value) = value {
                    self.sql.push_str(" AND ");
                    self.sql.push_str(column);
                    self.sql.push_str(" = ?");
                    self.values.push(Sql::Text(value));
                }
            }
            self.sql.push(')');
        }
        self.sql.push(')');
        Ok(())
    }

    fn run(
        &self,
        db: &Connection,
        place: &Place,
        kind: &str,
        strict: Option<bool>,
    ) -> Result<Reply, Failure> {
        let store = place.find(db)?;
        if strict.unwrap_or(store.strict)
            && let Some(unknown) = self.unknown.first()
        {
            return Err(Failure::query(format!(
                "unsupported search parameter: {unknown}"
            )));
        }
        let mut values = vec![Sql::Integer(store.key), Sql::Text(kind.to_owned())];
        values.extend(self.values.iter().cloned());
        let from = format!("FROM resources WHERE store = ?1 AND type = ?2{}", self.sql);
        let total: i64 = db
            .prepare_cached(&format!("SELECT count(*) {from}"))?
            .query_row(params_from_iter(&values), |row| row.get(0))?;
        values.push(Sql::Text(self.after.clone()));
        values.push(Sql::Integer(
            i64::try_from(self.count + 1).unwrap_or(i64::MAX),
        ));
        let mut rows: Vec<(String, String)> = db
            .prepare_cached(&format!(
                "SELECT id, text {from} AND id > ? ORDER BY id LIMIT ?"
            ))?
            .query_map(params_from_iter(&values), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        let more = rows.len() > self.count;
        rows.truncate(self.count);
        let base = &store.base;
        let here = format!("{base}/{kind}/?{}", self.query);
        let joint = if self.query.is_empty() { "" } else { "&" };
        let mut links = vec![
            json!({"relation": "search", "url": here}),
            json!({"relation": "first", "url": here}),
        ];
        let this = if self.after.is_empty() {
            here.clone()
        } else {
            format!(
                "{here}{joint}_page_token={}",
                URL_SAFE_NO_PAD.encode(&self.after)
            )
        };
        links.push(json!({"relation": "self", "url": this}));
        if let Some((last, _)) = rows.last().filter(|_| more) {
            let next = format!("{here}{joint}_page_token={}", URL_SAFE_NO_PAD.encode(last));
            links.push(json!({"relation": "next", "url": next}));
        }
        let entries: Vec<Value> = rows
            .iter()
            .map(|(id, text)| {
                json!({
                    "fullUrl": format!("{base}/{kind}/{id}"),
                    "resource": serde_json::from_str::<Value>(text).unwrap_or_default(),
                    "search": {"mode": "match"},
                })
            })
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": total, "link": links, "entry": entries});
        Ok(Reply::fhir(StatusCode::OK, bundle.to_string()))
    }
}

/// Answers a search; `strict` is what the request prefers.
pub(super) async fn answer(
    db: &Database,
    place: Place,
    kind: &str,
    query: &str,
    strict: Option<bool>,
) -> Result<Reply, Failure> {
    let search = Search::read(query)?;
    let kind = kind.to_owned();
    db.read(move |db| search.run(db, &place, &kind, strict))
        .await
}

/// Answers `/metadata`.
pub(super) async fn capabilities(db: &Database, place: Place) -> Result<Reply, Failure> {
    db.read(move |db| {
        let store = place.find(db)?;
        let mut interactions = vec!["read", "update", "delete", "create", "search-type"];
        if store.versioning {
            interactions.extend(["vread", "history-instance"]);
        }
        let codes = |codes: &[&str]| codes.iter().map(|code| json!({"code": code})).collect::<Vec<_>>();
        let interactions = codes(&interactions);
        let resources: Vec<Value> = validate::types()
            .iter()
            .map(|kind| {
                json!({
                    "type": kind,
                    "interaction": interactions,
                    "versioning": if store.versioning { "versioned-update" } else { "no-version" },
                    "readHistory": store.versioning,
                    "updateCreate": store.update_create,
                    "conditionalCreate": true,
                    "conditionalUpdate": true,
                    "conditionalDelete": "single",
                    "searchParam": [
                        {"name": "_id", "type": "token"}, {"name": "_tag", "type": "token"}, {"name": "identifier", "type": "token"},
                    ],
                })
            })
            .collect();
        let statement = json!({
            "resourceType": "CapabilityStatement",
            "status": "active",
            "kind": "instance",
            "date": jiff::Timestamp::now().to_string(),
            "description": "FHIR capability statement for the FHIR store specified by the request.",
            "software": {"name": "stoker local store", "version": env!("CARGO_PKG_VERSION")},
            "implementation": {"description": "embedded local store", "url": store.base},
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "rest": [{"mode": "server", "resource": resources, "interaction": codes(&["transaction", "batch"])}],
        });
        Ok(Reply::fhir(StatusCode::OK, statement.to_string()))
    })
    .await
}
