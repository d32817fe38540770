//! What a body must be before it is kept: JSON, an object, of a known type that fits the request.

use super::error::Failure;
use crate::fhir::types::{RESOURCE_TYPES, is_resource_type};
use http::StatusCode;
use serde_json::Value;

/// The types, in order.
pub(super) fn types() -> &'static [&'static str] {
    &RESOURCE_TYPES
}

/// Refuses a type FHIR R4 does not have.
pub(super) fn kind(kind: &str) -> Result<(), Failure> {
    if is_resource_type(kind) {
        Ok(())
    } else {
        Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "not-supported",
            "bad_resource_type",
            format!("unsupported resource type: {kind}"),
        ))
    }
}

/// Refuses what is no FHIR id (`[A-Za-z0-9\-\.]{1,64}`).
pub(super) fn id(id: &str) -> Result<(), Failure> {
    let fits = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if fits {
        Ok(())
    } else {
        Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_id",
            "invalid Id format",
        ))
    }
}

/// The JSON of a body: one value of at most 128 levels (the parser's own limit), nothing after it.
pub(super) fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::unparseable(format!("invalid JSON: {error}")))
}

/// Refuses a value that is no resource of a known type, or not of the type `wanted`.
pub(super) fn resource(value: &Value, wanted: Option<&str>) -> Result<String, Failure> {
    let Value::Object(object) = value else {
        return Err(Failure::unparseable(
            "invalid JSON: a resource is an object",
        ));
    };
    let found = match object.get("resourceType") {
        None => {
            return Err(Failure::unparseable(
                "missing required field \"resourceType\"",
            ));
        }
        Some(Value::String(found)) => found,
        Some(_) => return Err(Failure::unparseable("invalid resource type")),
    };
    if !is_resource_type(found) {
        return Err(Failure::unparseable(format!(
            "unknown resource type: {found:?}"
        )));
    }
    if let Some(wanted) = wanted
        && wanted != found
    {
        return Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "structure",
            "resource_mismatch",
            format!(
                "resource type mismatch, type of specified resource: {wanted}, type from payload: {found}"
            ),
        ));
    }
    if object
        .get("meta")
        .is_some_and(|meta| !meta.is_object() && !meta.is_null())
    {
        return Err(Failure::unparseable(
            "error at \"meta\": invalid value (expected a Meta object)",
        ));
    }
    match object.get("id") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => id(text)?,
        Some(_) => return Err(Failure::unparseable("error at \"id\": expected ID")),
    }
    Ok(found.clone())
}
