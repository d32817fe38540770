//! An HL7v2 store, as the local store keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::super::admin::invalid;
use super::super::collection::Collected;
use super::super::json::{Json, Object};
use super::super::registry::Registry;
use super::super::reply::Refusal;
use super::super::serve::App;
use super::super::settings::Schema;
use super::parse::Parser;
use super::settings::STORE;

/// An HL7v2 store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(super) key: i64,
    /// `projects/…/hl7V2Stores/…`
    pub(super) name: String,
    fields: Object,
    pub(super) parser: Parser,
    pub(super) rejects_duplicates: bool,
}

impl Store {
    /// Returns the time zone of its dataset, in which times without an offset are read.
    pub(super) fn zone(&self, app: &App) -> TimeZone {
        let registry = app.registry();
        let dataset = registry.datasets.get(self.dataset());
        let zone = dataset.and_then(|dataset| dataset.get("timeZone")?.as_text());
        zone.and_then(|zone| TimeZone::get(zone).ok())
            .unwrap_or(TimeZone::UTC)
    }
}

impl Collected for Store {
    const COLLECTION: &'static str = "hl7V2Stores";
    const ID: &'static str = "hl7V2StoreId";
    const WORD: &'static str = "HL7v2 store";

    fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        // What stands in the database has been read before.
        let parser = Parser::of(&fields).unwrap_or_default();
        let rejects_duplicates = fields.get("rejectDuplicateMessage") == Some(&Json::Bool(true));
        Arc::new(Self {
            key,
            name,
            fields,
            parser,
            rejects_duplicates,
        })
    }

    fn key(&self) -> i64 {
        self.key
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> &Object {
        &self.fields
    }

    fn schema() -> &'static Schema {
        &STORE
    }

    fn all(registry: &Registry) -> &BTreeMap<String, Arc<Self>> {
        &registry.hl7v2
    }

    fn all_mut(registry: &mut Registry) -> &mut BTreeMap<String, Arc<Self>> {
        &mut registry.hl7v2
    }

    fn provided() -> Object {
        let parser = Json::object([("version", Json::text("V3"))]);
        Object::from([("parserConfig".to_owned(), parser)])
    }

    fn check(fields: &Object, before: Option<&Self>) -> Result<(), Refusal> {
        let parser = Parser::of(fields)?;
        if before.is_some_and(|before| parser.version != before.parser.version) {
            let message = "the field \"parserConfig.version\" is immutable and cannot be updated";
            return Err(invalid(message));
        }
        Ok(())
    }
}
