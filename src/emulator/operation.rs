//! Long-running operations: begun by a request, carried out behind its answer, asked for by name.
//!
//! An operation ends with its server: one that is found running when a server starts has been aborted.

use std::sync::{Arc, Weak};

use rusqlite::params;

use super::app::App;
use super::google::{INVALID_ARGUMENT, status};
use super::instant::Instant;
use super::json::{Json, Object};
use super::reply::Refusal;

/// One that has begun.
#[derive(Debug)]
pub(super) struct Operation {
    name: String,
    method: &'static str,
    created: Instant,
}

/// The end of an operation, with its counts.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) success: u64,
    pub(super) failure: u64,
    /// The reason of a failure; without one `response` is the answer.
    pub(super) error: Option<String>,
    pub(super) response: Object,
}

/// The reason why an operation ends before its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The server ends.
    Gone,
    /// The operation cannot go on.
    Failed(String),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal.message().to_owned())
    }
}

impl From<std::io::Error> for Stopped {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Operation {
    /// Begins one in a dataset; the second value is what the request is answered with.
    pub(super) async fn begin(
        app: &App,
        dataset: &str,
        method: &'static str,
    ) -> Result<(Self, Json), Refusal> {
        let dataset = dataset.to_owned();
        let (operation, body) = app
            .database
            .write(move |session| {
                let created = session.clock.tick();
                let name = format!("{dataset}/operations/{}", created.0);
                let operation = Self {
                    name,
                    method,
                    created,
                };
                let body = operation.body(None);
                let sql = "INSERT INTO operation (name, body) VALUES (?1, ?2)";
                session
                    .connection
                    .execute(sql, params![operation.name, body.to_string()])?;
                Ok((operation, body))
            })
            .await?;
        let mut registry = app.registry_mut();
        registry.operations.insert(operation.name.clone(), body);
        drop(registry);
        let answer = Json::object([("name", Json::text(operation.name.as_str()))]);
        Ok((operation, answer))
    }

    /// Returns its id, the last part of its name.
    pub(super) fn id(&self) -> String {
        let id = self.name.rsplit('/').next();
        id.unwrap_or(&self.name).to_owned()
    }

    /// Writes down how it ended.
    pub(super) async fn end(self, app: &Arc<App>, ended: Ended) -> Result<(), Refusal> {
        let name = self.name.clone();
        let body = app
            .database
            .write(move |session| {
                let body = self.body(Some((session.clock.tick(), ended)));
                let sql = "UPDATE operation SET body = ?2 WHERE name = ?1";
                session
                    .connection
                    .execute(sql, params![self.name, body.to_string()])?;
                Ok(body)
            })
            .await?;
        let mut registry = app.registry_mut();
        // Its dataset may have been deleted meanwhile.
        if let Some(operation) = registry.operations.get_mut(&name) {
            *operation = body;
        }
        Ok(())
    }

    /// Writes down how it ended, with the type of its answer; when the server has ended before, nobody can.
    pub(super) async fn conclude(
        self,
        weak: &Weak<App>,
        mut ended: Ended,
        stopped: Result<(), Stopped>,
        response: &str,
    ) {
        let Some(app) = weak.upgrade() else { return };
        match stopped {
            Ok(()) => {
                let kind = Json::Text(format!("type.googleapis.com/{response}"));
                ended.response.insert("@type".to_owned(), kind);
            }
            Err(Stopped::Gone) => return,
            Err(Stopped::Failed(why)) => ended.error = Some(why),
        }
        let name = self.name.clone();
        if self.end(&app, ended).await.is_err() {
            tracing::error!(operation = name, "an operation cannot be written down");
        }
    }

    fn body(&self, ended: Option<(Instant, Ended)>) -> Json {
        let mut metadata = Object::from([
            (
                "@type".to_owned(),
                Json::text("type.googleapis.com/google.cloud.healthcare.v1.OperationMetadata"),
            ),
            ("apiMethodName".to_owned(), Json::text(self.method)),
            ("createTime".to_owned(), Json::Text(self.created.rfc3339())),
        ]);
        let mut body = Object::from([("name".to_owned(), Json::text(self.name.as_str()))]);
        if let Some((at, ended)) = ended {
            metadata.insert("endTime".to_owned(), Json::Text(at.rfc3339()));
            let counts = [("failure", ended.failure), ("success", ended.success)];
            let counts = counts.into_iter().filter(|(_, count)| *count > 0);
            let counter: Object = counts
                .map(|(name, count)| (name.to_owned(), Json::Text(count.to_string())))
                .collect();
            if !counter.is_empty() {
                metadata.insert("counter".to_owned(), Json::Object(counter));
            }
            body.insert("done".to_owned(), Json::Bool(true));
            match ended.error {
                Some(message) => {
                    body.insert("error".to_owned(), status(INVALID_ARGUMENT, &message))
                }
                None => body.insert("response".to_owned(), Json::Object(ended.response)),
            };
        }
        body.insert("metadata".to_owned(), Json::Object(metadata));
        Json::Object(body)
    }
}
