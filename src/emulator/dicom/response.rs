//! Answers of DICOMweb: media types that a client takes, JSON and XML, bodies of several parts.

use std::fmt::Write as _;
use std::io::{self, SeekFrom};
use std::path::PathBuf;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::super::reply::Refusal;
use crate::dicom::multipart::Boundary;

/// The media type of JSON answers.
pub(super) const JSON: &str = "application/dicom+json";
/// The media type of XML answers.
const XML: &str = "application/dicom+xml";

/// One media type that a client takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Without its parameters, in small letters.
    pub(super) media: String,
    /// `type` of a body of several parts, in small letters.
    pub(super) part: Option<String>,
    pub(super) transfer_syntax: Option<String>,
}

/// Reads which media types a client takes, in its order; none means any.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<Accepted> {
    let values = headers.get_all(ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter(|value| !value.trim().is_empty())
        .map(media)
        .collect()
}

/// Reads one media type with its parameters.
pub(super) fn media(written: &str) -> Accepted {
    let mut parts = written.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut part, mut transfer_syntax) = (None, None);
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"').to_owned();
        match name.trim().to_ascii_lowercase().as_str() {
            "type" => part = Some(value.to_ascii_lowercase()),
            "transfer-syntax" => transfer_syntax = Some(value),
            _ => {}
        }
    }
    Accepted {
        media,
        part,
        transfer_syntax,
    }
}

/// Nothing that the client takes can be made of what is there.
pub(super) fn not_acceptable(what: &str) -> Refusal {
    Refusal::google(StatusCode::NOT_ACCEPTABLE, what)
}

/// Answers a data set, in the form that the client takes: XML where it says nothing, as Google has it.
pub(super) fn set(status: StatusCode, headers: &HeaderMap, set: &Value) -> Response<Body> {
    let takes_json = accepted(headers)
        .iter()
        .any(|accepted| matches!(accepted.media.as_str(), JSON | "application/json"));
    if takes_json {
        of(status, JSON, Bytes::from(set.to_string()))
    } else {
        of(status, XML, Bytes::from(xml(set)))
    }
}

/// Answers bytes.
pub(super) fn of(status: StatusCode, media: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let media = HeaderValue::from_static(media);
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// Writes a data set as Google does: without a namespace, keywords where they are known.
fn xml(set: &Value) -> String {
    let mut out = String::from("<NativeDicomModel>");
    attributes(set, &mut out);
    out.push_str("</NativeDicomModel>");
    out
}

fn attributes(set: &Value, out: &mut String) {
    for (tag, element) in set.as_object().into_iter().flatten() {
        let keyword = match tag.as_str() {
            "00081150" => "ReferencedSOPClassUID",
            "00081155" => "ReferencedSOPInstanceUID",
            "00081190" => "RetrieveURL",
            "00081197" => "FailureReason",
            "00081198" => "FailedSOPSequence",
            "00081199" => "ReferencedSOPSequence",
            // Google writes it under another number in XML.
            "00091097" => "FailureDetail",
            _ => "",
        };
        let tag = if tag == "00091097" { "00090097" } else { tag };
        let vr = element["vr"].as_str().unwrap_or("UN");
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<DicomAttribute tag=\"{tag}\" vr=\"{vr}\" keyword=\"{keyword}\">"
        );
        let values = element["Value"].as_array();
        for (number, value) in values.into_iter().flatten().enumerate() {
            let number = number + 1;
            match value {
                Value::Object(_) => {
                    let _ = write!(out, "<Item number=\"{number}\">");
                    attributes(value, out);
                    out.push_str("</Item>");
                }
                value => {
                    let text = value.as_str().map_or_else(|| value.to_string(), escaped);
                    let _ = write!(out, "<Value number=\"{number}\">{text}</Value>");
                }
            }
        }
        out.push_str("</DicomAttribute>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A part of an answer: its media type, where it comes from, and its bytes or the file that has them.
pub(super) struct Part {
    pub(super) media: String,
    pub(super) location: Option<String>,
    pub(super) content: Content,
}

/// The body of a part.
pub(super) enum Content {
    Bytes(Bytes),
    /// Stretches of a file, one behind the other: the offset and the length of each.
    File(PathBuf, Vec<(u64, u64)>),
}

impl Content {
    /// Returns the bytes, as they are read.
    fn stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Bytes(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
            Self::File(path, stretches) => stream::iter(stretches)
                .then(move |(at, length)| {
                    let path = path.clone();
                    async move {
                        let mut file = fs_err::tokio::File::open(path).await?;
                        file.seek(SeekFrom::Start(at)).await?;
                        Ok::<_, io::Error>(ReaderStream::with_capacity(file.take(length), 1 << 17))
                    }
                })
                .try_flatten()
                .boxed(),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, stretches) => stretches.iter().map(|(_, length)| length).sum(),
        }
    }
}

/// Answers what a part holds as the whole body.
pub(super) fn whole(media: &str, content: Content) -> Response<Body> {
    let length = content.length();
    let mut response = Response::new(Body::from_stream(content.stream()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(media) = HeaderValue::try_from(media) {
        headers.insert(CONTENT_TYPE, media);
    }
    response
}

/// Answers parts, each as it is read.
pub(super) fn multipart(media: &str, parts: Vec<Part>) -> Response<Body> {
    let boundary = Boundary::of(rand::random());
    let head = |part: &Part| {
        let location = part.location.as_ref();
        let location = location.map_or_else(String::new, |location| {
            format!("Content-Location: {location}\r\n")
        });
        format!(
            "\r\n--{}\r\nContent-Type: {}\r\n{location}\r\n",
            boundary.as_str(),
            part.media
        )
    };
    let heads: Vec<String> = parts.iter().map(head).collect();
    let tail = boundary.tail();
    let lengths = parts.iter().map(|part| part.content.length());
    let total = heads.iter().map(|head| head.len() as u64).sum::<u64>()
        + lengths.sum::<u64>()
        + tail.len() as u64;
    let parts = stream::iter(heads.into_iter().zip(parts)).flat_map(|(head, part)| {
        let head = stream::once(async move { Ok(Bytes::from(head)) });
        head.chain(part.content.stream())
    });
    let all = parts.chain(stream::once(async move { Ok(Bytes::from(tail)) }));
    let mut response = Response::new(Body::from_stream(all));
    let media = format!(
        "multipart/related; type=\"{media}\"; boundary={}",
        boundary.as_str()
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(total));
    if let Ok(media) = HeaderValue::try_from(media) {
        headers.insert(CONTENT_TYPE, media);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_takes_is_read() {
        let mut headers = HeaderMap::new();
        let written = "multipart/related; type=\"application/dicom\"; transfer-syntax=*, Application/DICOM;q=0.5";
        headers.insert(ACCEPT, HeaderValue::from_static(written));
        let accepted = accepted(&headers);
        assert_eq!(accepted.len(), 2);
        assert_eq!(accepted[0].part.as_deref(), Some("application/dicom"));
        assert_eq!(accepted[0].transfer_syntax.as_deref(), Some("*"));
        assert_eq!(accepted[1].media, "application/dicom");
    }

    #[test]
    fn xml_is_written_as_google_does() {
        let set = serde_json::json!({
            "00081190": { "vr": "UR", "Value": ["https://h/?a&b"] },
            "00081198": { "vr": "SQ", "Value": [{ "00081197": { "vr": "US", "Value": [272] } }] },
        });
        assert_eq!(
            xml(&set),
            "<NativeDicomModel><DicomAttribute tag=\"00081190\" vr=\"UR\" keyword=\"RetrieveURL\"><Value number=\"1\">https://h/?a&amp;b</Value></DicomAttribute>\
             <DicomAttribute tag=\"00081198\" vr=\"SQ\" keyword=\"FailedSOPSequence\"><Item number=\"1\"><DicomAttribute tag=\"00081197\" vr=\"US\" keyword=\"FailureReason\"><Value number=\"1\">272</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>"
        );
    }
}
