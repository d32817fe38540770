//! Reads the messages of a file, one or many, in batches or frames, and what is odd about the file.
//!
//! The names under which a store knows messages, and the order that they must keep, are said here in neutral words; the
//! meaning of the bytes is `hl7v2`'s.

use std::{borrow::Cow, io::Read};

use super::{
    Ceiling, ErrorKind, Item, Remark,
    chunks::PIECE,
    emitter::{ItemEmitter, Start, Stop},
};
use crate::{
    hl7v2::{
        charset::{Charset, DeclaredCharset, NotConverted, declared, is_plain, written},
        digest::Digest,
        header::{MessageHeader, patients},
        mllp::is_frameable,
        segment::{ends_otherwise, normalised},
        split::{Message, MessageSplitter, Piece, ProblemKind, SplitProblem, Weight},
        wire::{Characters, Segments, wire},
    },
    manifest::{MessageOrder, MessageSettings},
    record::{Alias, AliasRule, Facets, Reason, ReasonCode, hash},
};

/// The rule for the MSH-10 of a sender.
static CONTROL_ID: AliasRule = AliasRule {
    twice: "its sender has given its name to another record, with other bytes",
    is_in_answers: false,
};

/// Reads messages until the end of `reader`.
pub(super) fn read(
    reader: &mut dyn Read,
    settings: &MessageSettings,
    ceiling: Ceiling,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let mut splitter = MessageSplitter::new(ceiling.bytes());
    let mut buffer = vec![0; PIECE];
    let mut stopped = Ok(());
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ErrorKind::from(error).into()),
        };
        let mut take = |piece: Piece<'_>| {
            if stopped.is_ok() {
                stopped = tell(piece, settings, sink);
            }
        };
        match buffer.get(..read) {
            Some(chunk) if read > 0 => splitter.feed(chunk, &mut take),
            _ => {
                splitter.finish(&mut take);
                return stopped;
            }
        }
        std::mem::replace(&mut stopped, Ok(()))?;
    }
}

fn tell(
    piece: Piece<'_>,
    settings: &MessageSettings,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    match piece {
        Piece::Message(message) => self::message(&message, settings, sink),
        Piece::Envelope(..) => Ok(()),
        Piece::Problem(problem) => self::problem(problem, sink),
    }
}

fn message(
    message: &Message<'_>,
    settings: &MessageSettings,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    let start = Start {
        offset: message.place.start,
        line: message.place.line,
        column: 1,
    };
    let position = sink.position(start, message.place.length, None);
    let mut facets = Facets {
        is_named_by_content: true,
        holds_frame: !is_frameable(message.bytes),
        ..Facets::at(position, hash(message.bytes))
    };
    match MessageHeader::of(message.bytes) {
        Ok(header) => {
            remarks(message, &header, settings, sink)?;
            facets.kind = header
                .kind()
                .filter(|kind| is_kind(kind))
                .unwrap_or_default();
            // The name is that of the bytes that are sent.
            match wire(message.bytes, settings.segments, settings.charset) {
                Ok(sent) => {
                    if matches!(sent, Cow::Owned(_))
                        && settings.segments == Segments::Cr
                        && matches!(normalised(message.bytes), Cow::Owned(_))
                    {
                        facets.properties = vec![("segment ends", "changed to CR".into())];
                    }
                    facets.id = Some(Digest::of(&sent).message_id().into());
                    facets.charset = MessageHeader::of(&sent)
                        .ok()
                        .and_then(|header| charset(&header));
                }
                Err(why) => {
                    let message = format!("it cannot be written in UTF-8: {why}");
                    facets.refused = Some(Reason::new(ReasonCode::Charset, message));
                }
            }
            let (application, facility) = (header.sending_application, header.sending_facility);
            let sender = [application, b"|", facility].concat();
            facets.sequences = match settings.order {
                MessageOrder::Patient => patients(message.bytes, &header.separators)
                    .into_iter()
                    .map(|patient| short(&[&sender[..], b"\0", patient].concat()))
                    .collect(),
                MessageOrder::Strict => vec![0],
                MessageOrder::None => Vec::new(),
            };
            if !header.control_id.is_empty() {
                facets.alias = Some(Alias {
                    hash: short(&[&sender[..], b"\0", header.control_id].concat()),
                    rule: &CONTROL_ID,
                });
            }
        }
        Err(error) => {
            facets.refused = Some(Reason::new(ReasonCode::NoHeader, error.to_string()));
        }
    }
    sink.records += 1;
    sink.tell(Item::Facets(facets))
}

/// Tells what receivers will stumble over: what the header lacks, and bytes that are not what MSH-18 says.
fn remarks(
    message: &Message<'_>,
    header: &MessageHeader<'_>,
    settings: &MessageSettings,
    sink: &mut ItemEmitter<'_>,
) -> Result<(), Stop> {
    const LACKS: &str = "messages whose headers lack what receivers ask for";
    const ENDS: &str = "messages whose segments do not end in CR, as the standard has it";
    const UNTRUE: &str = "messages whose characters are not those that MSH-18 names";
    let mut remark = |kind, what| {
        sink.tell(Item::Remark(Remark {
            line: message.place.line,
            kind,
            what,
        }))
    };
    for lack in header.faults() {
        remark(LACKS, lack.to_string())?;
    }
    if settings.segments == Segments::AsIs && ends_otherwise(message.bytes) {
        let what = "its segments end in LF, and are sent so (`segments: cr` sends CR)";
        remark(ENDS, what.to_owned())?;
    }
    // A message that is written in UTF-8 and cannot be is not sent, and says so.
    if settings.charset == Characters::Convert {
        return Ok(());
    }
    let untrue = match written(message.bytes, header) {
        DeclaredCharset::Not { named, at } => NotConverted::Malformed { named, at },
        DeclaredCharset::Undeclared { at, is_utf8: false } => NotConverted::Undeclared { at },
        _ => return Ok(()),
    };
    remark(UNTRUE, untrue.to_string())
}

/// Bytes of a file in no message are a record that cannot be loaded, so that they are counted and seen; anything merely
/// odd is remarked.
fn problem(problem: SplitProblem, sink: &mut ItemEmitter<'_>) -> Result<(), Stop> {
    let SplitProblem { kind, place } = problem;
    if kind.weight() < Weight::Loss {
        let what = kind.to_string();
        return sink.tell(Item::Remark(Remark {
            line: place.line,
            kind: if kind.weight() == Weight::Note {
                "blank lines, byte order marks and the like, of which nothing is lost"
            } else {
                "files of messages in which something does not add up"
            },
            what,
        }));
    }
    let start = Start {
        offset: place.start,
        line: place.line,
        column: 1,
    };
    let code = match kind {
        ProblemKind::TooLarge { .. } => ReasonCode::TooLarge,
        ProblemKind::Utf16 => ReasonCode::Utf16,
        _ => ReasonCode::NoMessage,
    };
    let position = sink.position(start, place.length, None);
    sink.records += 1;
    sink.tell(Item::Facets(Facets {
        refused: Some(Reason::new(code, kind.to_string())),
        ..Facets::at(position, 0)
    }))
}

/// Returns the name of the character set in MSH-18; none where it says nothing. The name there may be anything, and is
/// shown only where it is known.
fn charset(header: &MessageHeader<'_>) -> Option<&'static str> {
    let is_plain = header.charsets.first().is_none_or(|name| is_plain(name));
    Some(match declared(header)? {
        None => "one that is not known",
        Some(Charset::Utf8) if !is_plain => "UTF-8, by another name than `UNICODE UTF-8`",
        Some(Charset::Ascii) if !is_plain => "ASCII, by another name than `ASCII`",
        Some(charset) => charset.name(),
    })
}

/// Tells whether MSH-9 holds a type of message; anything else may be anything.
fn is_kind(kind: &str) -> bool {
    /// `ADT^A01` has 7; types and events have 3 each, local ones a few more.
    const LONGEST: usize = 16;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '^' || c == '_';
    kind.len() <= LONGEST && kind.chars().all(is_word)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn short(bytes: &[u8]) -> u64 {
    hash(bytes) as u64
}
