//! An HL7v2 store, as the local store keeps it, and how it reads messages.

mod fields;
mod parse;

use std::sync::Arc;

use self::fields::STORE;
pub(in crate::emulator) use self::parse::{Content, Parser, decode};
use super::Collected;
use crate::emulator::google::invalid;
use crate::emulator::json::{Json, Object};
use crate::emulator::reply::Refusal;
use crate::emulator::settings::Schema;

/// An HL7v2 store.
#[derive(Debug)]
pub(in crate::emulator) struct Store {
    /// Names its rows; never used again.
    pub(in crate::emulator) key: i64,
    /// `projects/…/hl7V2Stores/…`
    pub(in crate::emulator) name: String,
    fields: Object,
    pub(in crate::emulator) parser: Parser,
    pub(in crate::emulator) rejects_duplicates: bool,
}

impl Collected for Store {
    const COLLECTION: &'static str = "hl7V2Stores";
    const ID: &'static str = "hl7V2StoreId";
    const WORD: &'static str = "HL7v2 store";

    fn new(key: i64, name: String, fields: Object) -> Arc<Self> {
        // A configuration in the database has been read before.
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
