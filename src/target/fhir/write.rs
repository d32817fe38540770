//! Makes the requests of records: one by itself, or several in a Bundle.
//!
//! An entry that came with its own request keeps it, unless the load sets the interaction; around everything else a
//! request is made. The bytes of resources are not touched here.

use bytes::Bytes;
use http::{HeaderValue, Request, header};

use super::{BundleText, RequestBuilder, criteria_of};
use crate::{
    fhir::bundle,
    manifest::LoadSettings,
    record::{ENVELOPE, Operation, Packaging, Step},
    target::{HeldVersion, HeldVersions, Parcel, Unbuilt},
};

/// Makes the request of one record, or of the records of a Bundle.
pub(super) fn write(
    requests: &RequestBuilder,
    parcel: &Parcel<'_>,
    bodies: &mut dyn Iterator<Item = Bytes>,
) -> Result<Request<Bytes>, Unbuilt> {
    let Parcel {
        settings, replaces, ..
    } = *parcel;
    if let Some(packaging) = parcel.packaging {
        return Ok(requests.bundle(bundle_text(packaging, parcel, bodies)?));
    }
    let (step, body) = parcel.single(bodies)?;
    let kind = step.kind.as_str();
    let conditions =
        || criteria_of(&settings.identity, kind, &body).ok_or_else(|| Unbuilt::changed(step));
    Ok(match step.action.operation() {
        Some(Operation::Update) => {
            let id = step.id.as_deref().ok_or_else(|| Unbuilt::changed(step))?;
            let mut request = requests.update(kind, id, body);
            if let Some(tag) = tag(replaces, step) {
                let tag = in_head(step, tag)?;
                request.headers_mut().insert(header::IF_MATCH, tag);
            }
            request
        }
        Some(Operation::ConditionalCreate) => {
            let criteria = conditions()?;
            requests.conditional_create(kind, in_head(step, &criteria)?, body)
        }
        Some(Operation::ConditionalUpdate) => {
            let criteria = conditions()?;
            requests.conditional_update(kind, &criteria, body)
        }
        _ => requests.create(kind, body),
    })
}

/// Makes a condition a part of a request's head. Without it the record would be written without condition.
fn in_head(step: &Step, condition: &str) -> Result<HeaderValue, Unbuilt> {
    HeaderValue::from_str(condition).map_err(|_| Unbuilt {
        record: Some(step.number),
        why: "its condition has characters that no header can have",
    })
}

/// Makes the text of a Bundle of bodies that come one by one.
///
/// The entries go out as they stand in the file, unless the load sets the interaction: then each gets a request of
/// its own, around the same resource bytes.
fn bundle_text(
    packaging: Packaging,
    parcel: &Parcel<'_>,
    bodies: &mut dyn Iterator<Item = Bytes>,
) -> Result<Bytes, Unbuilt> {
    let Parcel {
        settings,
        steps,
        replaces,
        ..
    } = *parcel;
    let as_they_are = settings.interaction.is_none() && steps.iter().all(Step::is_entry);
    let bytes: u64 = steps
        .iter()
        .map(|step| step.wire().length + if as_they_are { 1 } else { ENVELOPE })
        .sum();
    // More than fits into memory is not asked for: it is only where room is made.
    let bytes = usize::try_from(bytes).unwrap_or_default();
    let mut text = BundleText::new(packaging.as_str(), bytes);
    for (step, body) in steps.iter().zip(bodies) {
        let tag = tag(replaces, step);
        if !step.is_entry() {
            let url = (packaging == Packaging::Transaction).then(|| full_url(step));
            text.entry(&around(settings, step, url.as_deref(), &body, tag)?);
        } else if settings.interaction.is_some() {
            text.entry(&remade(settings, step, &body, tag)?);
        } else if let Some(tag) = tag {
            let with = with_version(&body, tag).ok_or_else(|| Unbuilt::changed(step))?;
            text.entry(&with);
        } else {
            text.entry(&body);
        }
    }
    Ok(text.end())
}

/// Returns the `fullUrl` by which the other entries of a Bundle can refer to a record.
pub fn full_url(step: &Step) -> String {
    step.full_url
        .clone()
        .filter(|url| !url.is_empty())
        .unwrap_or_else(|| format!("urn:uuid:00000000-0000-4000-8000-{:012x}", step.number.0))
}

/// Makes an entry anew around its resource, with the request that the load asks for.
fn remade(
    settings: &LoadSettings,
    step: &Step,
    entry: &[u8],
    tag: Option<&str>,
) -> Result<Vec<u8>, Unbuilt> {
    // A delete or patch has no resource to put under another request; it goes out as it is.
    if let Some(Operation::Delete | Operation::Patch) = step.action.operation() {
        return Ok(entry.to_vec());
    }
    let changed = || Unbuilt::changed(step);
    let envelope = bundle::envelope(entry).map_err(|_| changed())?;
    let resource = envelope.resource.ok_or_else(changed)?.of(entry);
    around(settings, step, Some(&full_url(step)), resource, tag)
}

/// Returns the version that a record is to replace.
fn tag<'h>(replaces: &'h HeldVersions, step: &Step) -> Option<&'h str> {
    match replaces.get(&step.number)? {
        HeldVersion::Of(tag) => Some(tag),
        HeldVersion::Absent | HeldVersion::Unsaid | HeldVersion::Unasked => None,
    }
}

/// Tells whether an entry brings its own condition on the version.
pub(super) fn own_if_match(entry: &[u8]) -> bool {
    let request = bundle::envelope(entry).ok().and_then(|e| e.request);
    request.is_some_and(|request| request.if_match.is_some())
}

/// Puts the version that an entry is to replace into its request, unless it names one itself; none where it is no entry.
fn with_version(entry: &[u8], tag: &str) -> Option<Vec<u8>> {
    let request = bundle::envelope(entry).ok()?.request?;
    if request.if_match.is_some() {
        return Some(entry.to_vec());
    }
    // It has a method, so that a comma belongs between.
    let (before, after) = entry.split_at_checked(request.whole.start + 1)?;
    let member = format!("\"ifMatch\":{},", serde_json::json!(tag));
    Some([before, member.as_bytes(), after].concat())
}

/// Makes an entry around a resource.
fn around(
    settings: &LoadSettings,
    step: &Step,
    full_url: Option<&str>,
    resource: &[u8],
    tag: Option<&str>,
) -> Result<Vec<u8>, Unbuilt> {
    let changed = || Unbuilt::changed(step);
    let kind = step.kind.as_str();
    let conditions = || criteria_of(&settings.identity, kind, resource).ok_or_else(changed);
    let (method, url, if_none_exist) = match step.action.operation() {
        Some(Operation::Update) => (
            "PUT",
            format!("{kind}/{}", step.id.as_deref().ok_or_else(changed)?),
            None,
        ),
        Some(Operation::ConditionalUpdate) => ("PUT", format!("{kind}?{}", conditions()?), None),
        Some(Operation::ConditionalCreate) => ("POST", kind.to_owned(), Some(conditions()?)),
        _ => ("POST", kind.to_owned(), None),
    };
    let mut request = serde_json::json!({ "method": method, "url": url });
    if let (Some(criteria), Some(members)) = (if_none_exist, request.as_object_mut()) {
        members.insert("ifNoneExist".to_owned(), criteria.into());
    }
    if let (Some(tag), Some(members)) = (tag, request.as_object_mut()) {
        members.insert("ifMatch".to_owned(), tag.into());
    }
    let mut out = Vec::with_capacity(resource.len() + 192);
    out.push(b'{');
    if let Some(full_url) = full_url {
        out.extend_from_slice(b"\"fullUrl\":");
        out.extend_from_slice(serde_json::json!(full_url).to_string().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"resource\":");
    out.extend_from_slice(resource);
    out.extend_from_slice(b",\"request\":");
    out.extend_from_slice(request.to_string().as_bytes());
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_goes_into_the_request_of_an_entry() {
        let entry = br#"{"resource":{"a": 1.00},"request": { "method":"PUT","url":"Patient/a"}}"#;
        let with = with_version(entry, "W/\"0\"").unwrap();
        let expected = r#"{"resource":{"a": 1.00},"request": {"ifMatch":"W/\"0\"", "method":"PUT","url":"Patient/a"}}"#;
        assert_eq!(std::str::from_utf8(&with).unwrap(), expected);
        assert!(own_if_match(&with) && !own_if_match(entry));
        assert_eq!(
            with_version(&with, "W/\"1\"").unwrap(),
            with,
            "its own goes before"
        );
    }
}
