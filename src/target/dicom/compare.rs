//! Tells an instance of the files from what a store has under its UIDs. The comparison of data sets is
//! [`crate::dicom::compare`]'s knowledge.

use std::io::{self, Read};

use bytes::Bytes;
use http::{Response, header};
use serde_json::{Map, Value};

use crate::{
    dicom::{
        answer::as_utf8,
        compare,
        describe::describe,
        header::{self as head, InstanceHeader},
        multipart::only_part,
    },
    target::Open,
};

/// The tag under which pixels stand that are integers, which is where instances differ that have the same attributes.
const PIXELS: &str = "(7FE0,0010)";
/// `TransferSyntaxUID`.
const TRANSFER_SYNTAX: &str = "(0002,0010)";

/// See [`super::Target::differing`].
pub(super) fn differing(
    open: Open<'_>,
    answer: &Response<Bytes>,
    exactly: bool,
) -> Result<Option<Vec<String>>, String> {
    let unread = |error: io::Error| format!("its file cannot be read any more: {}", error.kind());
    let ours = header(open().map_err(unread)?)?;
    let tags = if exactly {
        let content_type = answer.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let part = content_type.and_then(|kind| only_part(kind, answer.body()));
        let part = part.ok_or("the answer is not one with an instance in it")?;
        let theirs = header(part)?;
        let set = behind(part, theirs.begins).map_err(unread)?;
        let own = behind(open().map_err(unread)?, ours.begins).map_err(unread)?;
        if compare::is_same_set(own, set).map_err(unread)? {
            return Ok(None);
        }
        if ours.transfer_syntax != theirs.transfer_syntax {
            return Ok(Some(vec![TRANSFER_SYNTAX.to_owned()]));
        }
        let set = behind(part, theirs.begins).map_err(unread)?;
        let own = behind(open().map_err(unread)?, ours.begins).map_err(unread)?;
        let tags = compare::differing(&describe(own, &ours), &describe(set, &theirs));
        if tags.is_empty() {
            vec![PIXELS.to_owned()]
        } else {
            tags
        }
    } else {
        let theirs = set(answer.body()).ok_or("the answer holds no metadata")?;
        let own = behind(open().map_err(unread)?, ours.begins).map_err(unread)?;
        compare::differing(&describe(own, &ours), &theirs)
    };
    Ok((!tags.is_empty()).then_some(tags))
}

fn header(bytes: impl Read) -> Result<InstanceHeader, String> {
    match head::read_whole(bytes) {
        Ok(Ok(header)) => Ok(header),
        Ok(Err(refusal)) => Err(refusal.to_string()),
        Err(error) => Err(format!("it cannot be read: {}", error.kind())),
    }
}

/// Passes the bytes before a data set.
fn behind<R: Read>(mut bytes: R, begins: u64) -> io::Result<R> {
    io::copy(&mut bytes.by_ref().take(begins), &mut io::sink())?;
    Ok(bytes)
}

/// Reads metadata: a list with one data set.
fn set(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&as_utf8(None, body)).ok()? {
        Value::Array(sets) => match sets.into_iter().next()? {
            Value::Object(set) => Some(set),
            _ => None,
        },
        Value::Object(set) => Some(set),
        _ => None,
    }
}
