//! The server's words on rejected records: read from `answers.ndjson`, to which the journal appends as answers come,
//! and written again in its place, in the order of the plan, with positions. Lines of both forms are read.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::{Error, records::PositionLine};
use crate::{
    journal::{RunDirectory, SaidLine},
    record::{Outcome, StepId},
};

/// A line of `answers.ndjson` with the position.
#[derive(Serialize)]
pub(super) struct AnswerLine<'a> {
    pub(super) record: StepId,
    pub(super) load: &'a str,
    pub(super) position: PositionLine<'a>,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// The place of the record in this directory: file, and line or entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unreadable: Option<String>,
    pub(super) answer: Option<Answer<'a>>,
}

/// JSON stays JSON, so that `jq .answer.issue` works; anything else is a string.
pub(super) enum Answer<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
}

impl Serialize for Answer<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

pub(super) fn answer(text: &str) -> Answer<'_> {
    let line = text.trim().replace(['\n', '\r'], " ");
    match RawValue::from_string(line) {
        Ok(value) if value.get().starts_with('{') => Answer::Json(value),
        _ => Answer::Text(text),
    }
}

/// A line of either form: the answer is a text, or JSON as it came.
#[derive(Deserialize)]
struct ReadLine<'a> {
    record: StepId,
    #[serde(default)]
    status: Option<u16>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
}

fn parsed(line: &[u8]) -> Option<SaidLine> {
    let line: ReadLine<'_> = serde_json::from_slice(line).ok()?;
    let answer = line.answer.map_or("null", RawValue::get);
    let answer = match answer.as_bytes().first() {
        Some(b'"') => serde_json::from_str(answer).ok()?,
        Some(b'{') => answer.to_owned(),
        // Nothing was said.
        _ => return None,
    };
    Some(SaidLine {
        record: line.record,
        status: line.status,
        answer,
    })
}

/// The server's words, by record.
#[derive(Debug)]
pub(in crate::report) struct Answers {
    file: Option<fs_err::File>,
    path: PathBuf,
    /// The offset and the length, in bytes, of the last line of each record.
    places: HashMap<StepId, (u64, usize)>,
}

impl Answers {
    pub(in crate::report) fn open(run: &RunDirectory) -> Result<Self, Error> {
        let path = run.answers();
        let mut answers = Self {
            file: None,
            path: path.clone(),
            places: HashMap::new(),
        };
        let file = match fs_err::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(answers),
            Err(error) => return Err(answers.fail(&error)),
        };
        let mut lines = BufReader::with_capacity(1 << 18, &file);
        let (mut line, mut start) = (Vec::new(), 0u64);
        loop {
            line.clear();
            let length = lines
                .read_until(b'\n', &mut line)
                .map_err(|e| answers.fail(&e))?;
            if length == 0 {
                break;
            }
            // A line that was torn when the process was killed says nothing.
            if let Some(said) = parsed(&line) {
                answers.places.insert(said.record, (start, length));
            }
            start += length as u64;
        }
        answers.file = Some(file);
        Ok(answers)
    }

    pub(in crate::report) fn of(&mut self, record: StepId) -> Result<Option<SaidLine>, Error> {
        let (Some((start, length)), Some(file)) =
            (self.places.get(&record).copied(), self.file.as_mut())
        else {
            return Ok(None);
        };
        let mut line = vec![0; length];
        let read = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(&mut line));
        read.map_err(|e| self.fail(&e))?;
        Ok(parsed(&line))
    }

    fn fail(&self, error: &std::io::Error) -> Error {
        Error::Journal(crate::journal::Error {
            what: "cannot read",
            path: self.path.clone(),
            why: error.to_string(),
        })
    }
}
