//! The meaning of a refusal, and what to do about it, said in Stoker's own words: for reports, and for people who send
//! one record.
//!
//! Each format knows its own codes (`fhir::explain`, `dicom::explain`, `hl7v2::explain`). Nothing here shows what a server said.

use crate::{
    fhir::outcome,
    manifest::Format,
    record::{Lack, Operation},
    target::{dicom, fhir, hl7v2},
};

/// A refusal, and what is known of the record that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The format of the record.
    pub format: Format,
    /// The kind of the record.
    pub kind: &'a str,
    /// The operation that the request asked for.
    pub operation: Option<Operation>,
    /// The status of the answer, where there is one.
    pub status: Option<u16>,
    /// The code of the answer.
    pub code: Option<&'a str>,
    /// The server's own code beside the answer's.
    pub detail: Option<&'a str>,
    /// The elements concerned.
    pub expression: &'a [String],
    /// The links and elements that the record is known to lack.
    pub lacks: &'a [Lack],
    /// The target is known to check references.
    pub checks: bool,
    /// The target is one of Google's stores, or like one.
    pub is_googles: bool,
}

/// The meaning of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// A number that tells meanings apart.
    pub meaning: Option<u16>,
    /// The kind that a reference is to, or the element that is wrong; empty where nothing is known.
    pub about: String,
    /// The mistake, in words.
    pub what: String,
    /// The advice, where there is more to say than that the record is to be mended.
    pub next: Option<String>,
    /// Neither status nor codes tell why.
    pub is_unsaid: bool,
}

/// Says what a refusal means; nothing where there is neither a status nor a code that tells.
pub fn explain(refused: &Refused<'_>) -> Option<Explained> {
    if refused.format == Format::Hl7v2
        && let Some(code) = refused.code
    {
        let about = refused.expression.first().cloned().unwrap_or_default();
        if let Some(what) = hl7v2::acknowledged(code, &about) {
            return Some(Explained {
                meaning: None,
                about,
                what,
                next: hl7v2::advice(code).map(str::to_owned),
                is_unsaid: false,
            });
        }
    }
    let status = refused.status?;
    Some(match refused.format {
        Format::Fhir => fhir::explain(refused, status),
        Format::Dicom => dicom::explain(refused, status),
        Format::Hl7v2 => hl7v2::explain(refused, status),
    })
}

/// Returns the words of an answer, as the server wrote them: content.
pub fn said(answer: &[u8]) -> String {
    let mut text = outcome::read(answer).text;
    // The warnings in the head of the answer are kept beside its words.
    let warning = serde_json::from_slice::<serde_json::Value>(answer).ok();
    let warning = warning
        .as_ref()
        .and_then(|answer| answer.get("Warning")?.as_str());
    if let Some(warning) = warning.filter(|_| !text.contains("\"Warning\"")) {
        text.push('\n');
        text.push_str(warning);
    }
    text
}
