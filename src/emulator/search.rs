//! Search by `_id`, `_tag` and `identifier`, for which there is an index, and the same conditions for conditional interactions;
//! by the parameters of `parameters` with a look at every resource of the type.

use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::json::Json;
use super::matching::Content;
use super::parameters;
use super::query::query;
use super::reply::Refusal;
use super::resource::Parameter;
use super::values::{TokenTest, split, unescape};

/// Values of a search: below the number of terms that SQLite takes in one compound select (500).
const MAX_ALTERNATIVES: usize = 400;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    Id(Vec<String>),
    /// The parameter's number in the index, and its alternatives.
    Token(i64, Vec<TokenTest>),
}

/// The conditions of a search: a resource must meet all of the tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Criteria {
    tests: Vec<Test>,
    /// Tests of a resource's text, for parameters that no index covers.
    contents: Vec<Content>,
    alternatives: usize,
}

/// A resource that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) version: i64,
    pub(super) text: String,
}

impl Criteria {
    /// Adds a parameter of a type; `false` when it is none that can be searched by.
    pub(super) fn add(&mut self, kind: &str, name: &str, value: &str) -> Result<bool, Refusal> {
        let (plain, modifier) = match name.split_once(':') {
            Some((plain, modifier)) => (plain, Some(modifier)),
            None => (name, None),
        };
        let parts = split(value, ',');
        self.alternatives += parts.len();
        if self.alternatives > MAX_ALTERNATIVES {
            return Err(Refusal::query(format!(
                "a search has at most {MAX_ALTERNATIVES} values"
            )));
        }
        let parameter = match plain {
            "_id" | "identifier" | "_tag" if modifier.is_some() => {
                return Err(Refusal::query(format!(
                    "unsupported modifier of a search parameter: {name}"
                )));
            }
            "_id" => {
                self.tests
                    .push(Test::Id(parts.iter().map(|part| unescape(part)).collect()));
                return Ok(true);
            }
            "identifier" => Parameter::Identifier,
            "_tag" => Parameter::Tag,
            _ => {
                let Some(element) = parameters::of(kind).find(|element| element.name == plain)
                else {
                    return Ok(false);
                };
                self.contents.push(Content::read(element, modifier, value)?);
                return Ok(true);
            }
        };
        let tests = parts.into_iter().map(TokenTest::read);
        let tests = tests.collect::<Option<Vec<_>>>().ok_or_else(|| {
            Refusal::query(format!(
                "invalid value of search parameter {name}: expected system|value"
            ))
        })?;
        self.tests.push(Test::Token(parameter as i64, tests));
        Ok(true)
    }

    /// Reads the condition of a conditional interaction; v1 of the API allows `identifier` only.
    pub(super) fn condition(parameters: &[(String, String)]) -> Result<Self, Refusal> {
        let mut criteria = Self::default();
        for (name, value) in parameters {
            if name != "identifier" {
                let text = format!(
                    "conditional interactions support the search parameter identifier only, found: {name}"
                );
                return Err(Refusal::query(text));
            }
            criteria.add("", name, value)?;
        }
        if criteria.tests.is_empty() {
            return Err(Refusal::query(
                "conditional interactions need a search parameter identifier",
            ));
        }
        Ok(criteria)
    }

    /// Reads the text of `If-None-Exist`, `ifNoneExist` or a conditional reference (behind its `?`).
    pub(super) fn condition_text(text: &str) -> Result<Self, Refusal> {
        Self::condition(&query(text.strip_prefix('?').unwrap_or(text)))
    }

    /// Writes the `WHERE` clause (behind `WHERE`) and its values.
    fn clause(&self, store: i64, kind: &str) -> (String, Vec<Value>) {
        let mut sql = String::new();
        let mut values = vec![Value::from(store), Value::from(kind.to_owned())];
        // With a plus, SQLite does not choose the index on ids over the few keys that the tokens give.
        let by_token = self
            .tests
            .iter()
            .any(|test| matches!(test, Test::Token(..)));
        let plus = if by_token { "+" } else { "" };
        let _ = write!(sql, "{plus}store = ?1 AND {plus}kind = ?2");
        for test in &self.tests {
            match test {
                Test::Id(ids) => {
                    let _ = write!(sql, " AND {plus}id IN (");
                    for (index, id) in ids.iter().enumerate() {
                        sql.push_str(if index == 0 { "?" } else { ",?" });
                        values.push(Value::from(id.clone()));
                    }
                    sql.push(')');
                }
                Test::Token(parameter, tests) => {
                    let _ = write!(sql, " AND key IN (");
                    for (index, test) in tests.iter().enumerate() {
                        if index > 0 {
                            sql.push_str(" UNION ");
                        }
                        let _ = write!(
                            sql,
                            "SELECT resource FROM token WHERE store = ?1 AND parameter = {parameter} AND kind = ?2"
                        );
                        for (column, wanted) in [("value", &test.value), ("system", &test.system)] {
                            if let Some(wanted) = wanted {
                                let _ = write!(sql, " AND {column} = ?");
                                values.push(Value::from(wanted.clone()));
                            }
                        }
                    }
                    sql.push(')');
                }
            }
        }
        (sql, values)
    }

    /// Returns the resources that meet the tests, in the order of their ids.
    pub(super) fn find(
        &self,
        connection: &Connection,
        store: i64,
        kind: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Found>, Refusal> {
        let (clause, mut values) = self.clause(store, kind);
        values.push(Value::from(after.to_owned()));
        // A search by contents does not know how many rows it takes.
        let rows = if self.contents.is_empty() {
            format!(" LIMIT {limit}")
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT id, version, text FROM resource WHERE {clause} AND id > ? ORDER BY id{rows}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            let text: String = row.get(2)?;
            if self.is_met(&text)? {
                found.push(Found {
                    id: row.get(0)?,
                    version: row.get(1)?,
                    text,
                });
            }
        }
        Ok(found)
    }

    /// Tells whether a resource meets the tests that no index knows.
    fn is_met(&self, text: &str) -> Result<bool, Refusal> {
        if self.contents.is_empty() {
            return Ok(true);
        }
        match Json::parse(text.as_bytes()) {
            Ok(Json::Object(resource)) => Ok(self
                .contents
                .iter()
                .all(|content| content.is_met(&resource))),
            _ => Err(Refusal::google(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "the local store holds a resource that it cannot read",
            )),
        }
    }

    /// Counts the resources that meet the tests.
    pub(super) fn count(
        &self,
        connection: &Connection,
        store: i64,
        kind: &str,
    ) -> Result<i64, Refusal> {
        let (clause, values) = self.clause(store, kind);
        if !self.contents.is_empty() {
            let sql = format!("SELECT text FROM resource WHERE {clause}");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                count += i64::from(self.is_met(text)?);
            }
            return Ok(count);
        }
        let mut statement =
            connection.prepare_cached(&format!("SELECT count(*) FROM resource WHERE {clause}"))?;
        Ok(statement.query_row(params_from_iter(values), |row| row.get(0))?)
    }

    /// Returns the one resource that meets the tests, or none.
    ///
    /// # Errors
    ///
    /// 412 when there is more than one.
    pub(super) fn only(
        &self,
        connection: &Connection,
        store: i64,
        kind: &str,
        many: &str,
    ) -> Result<Option<Found>, Refusal> {
        let mut found = self.find(connection, store, kind, "", 2)?;
        if found.len() > 1 {
            return Err(Refusal::ambiguous(many));
        }
        Ok(found.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Option<(Option<String>, Option<String>)> {
        let mut criteria = Criteria::default();
        criteria.add("Patient", "identifier", text).ok()?;
        match criteria.tests.pop()? {
            Test::Token(1, mut tests) if tests.len() == 1 => {
                tests.pop().map(|test| (test.system, test.value))
            }
            _ => None,
        }
    }

    #[test]
    fn forms_of_tokens() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(token("v"), Some((None, some("v"))));
        assert_eq!(token("s|v"), Some((some("s"), some("v"))));
        assert_eq!(token("|v"), Some((some(""), some("v"))));
        assert_eq!(token("s|"), Some((some("s"), None)));
        assert_eq!(token(r"s\|t|v\,w"), Some((some("s|t"), some("v,w"))));
        for bad in ["", "|", "a|b|c"] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }

    #[test]
    fn conditions_allow_identifiers_only() {
        assert!(Criteria::condition_text("identifier=a|b").is_ok());
        assert!(Criteria::condition_text("?identifier=a").is_ok());
        assert!(Criteria::condition_text("name=x").is_err());
        assert!(Criteria::condition_text("").is_err());
    }
}
