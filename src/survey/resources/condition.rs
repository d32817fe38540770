//! The condition by which the store will look for a record before it creates or updates it.
//!
//! It stands in the entry's own request, or is made of the record's identifiers where the load says so. Records with one
//! condition are one resource; a reference that repeats the condition means them.

use super::keys::ResourceKeys;
use crate::{
    fhir::{
        condition::{Condition, written},
        request::RequestUrl,
    },
    manifest::LoadSettings,
    record::Operation,
    source::Found,
    target::fhir::identifying,
};

/// Returns the key of a record's condition; none where it is created or updated without one. `is_executed` tells that it is
/// the entry of a transaction or batch.
pub(super) fn key(
    keys: ResourceKeys<'_>,
    target: u16,
    load: &LoadSettings,
    is_executed: bool,
    found: &Found<'_>,
) -> Option<u64> {
    let query = match load.interaction {
        Some(Operation::ConditionalCreate | Operation::ConditionalUpdate) => {
            let kind = found.resource_type()?;
            let identifiers = found.scanned.identifiers_of(found.bytes);
            let pairs = identifiers.iter().map(|(s, v)| (s.as_ref(), v.as_ref()));
            let (system, value) = identifying(&load.identity, &kind, &pairs)?;
            return Some(keys.identifier(target, &kind, system, value));
        }
        None if is_executed => {
            let entry = found.entry?;
            let request = entry.envelope.request?;
            let method = request.method?.text(entry.bytes);
            match method.as_ref() {
                "POST" => {
                    let condition = request.if_none_exist?.text(entry.bytes);
                    written(&condition).query.to_owned()
                }
                "PUT" => {
                    let url = request.url?.text(entry.bytes);
                    let url = RequestUrl::read(&url);
                    url.query.filter(|_| url.id.is_none())?.to_owned()
                }
                _ => return None,
            }
        }
        _ => return None,
    };
    let kind = found.resource_type()?;
    let condition = Condition::read(&query)?;
    Some(keys.condition(target, &kind, &condition))
}
