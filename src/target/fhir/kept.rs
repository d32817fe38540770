//! The part of a request that a store keeps, and the tags by which Stoker knows its own resources again.

use bytes::Bytes;

use super::TAG_SYSTEM;
use crate::{
    fhir::bundle::envelope,
    record::{Action, Step},
};

/// Returns the resource within what goes to the wire: of an entry, whatever was put in before or behind it.
pub(super) fn resource<'b>(step: &Step, body: &'b Bytes) -> &'b [u8] {
    match step.action {
        Action::Entry(_) => envelope(body)
            .ok()
            .and_then(|envelope| envelope.resource)
            .map_or(&[], |part| part.of(body)),
        _ => body,
    }
}

/// Tells whether a resource has a tag of ours.
pub(super) fn has_tag(resource: &[u8], code: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Tagged {
        meta: Meta,
    }
    #[derive(serde::Deserialize)]
    struct Meta {
        tag: Vec<Tag>,
    }
    #[derive(serde::Deserialize)]
    struct Tag {
        system: Option<String>,
        code: Option<String>,
    }
    let tagged: Result<Tagged, _> = serde_json::from_slice(resource);
    tagged.is_ok_and(|tagged| {
        let is_ours = |tag: &Tag| {
            tag.system.as_deref() == Some(TAG_SYSTEM) && tag.code.as_deref() == Some(code)
        };
        tagged.meta.tag.iter().any(is_ours)
    })
}
