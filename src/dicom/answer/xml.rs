//! The Native DICOM Model in XML, turned into what DICOM JSON would say. Namespaces and their prefixes play no part: Google
//! writes none.
//!
//! Entities that a document declares by itself are not resolved, so that a small answer stays small.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value, json};

use super::Unreadable;

/// The greatest depth of an answer. One of STOW is nested 5 deep.
pub(super) const DEEPEST: usize = 32;

/// An element that is open.
enum Open {
    /// A data set: the document, or an item of a sequence.
    Set(Map<String, Value>),
    /// An attribute, with its tag and representation.
    Attribute(String, String, Vec<Value>),
    /// A value.
    Value(String),
    /// Anything else.
    Other,
}

/// Reads a document. An answer that is no DICOM (a page in HTML that is well-formed) gives an empty set.
pub(super) fn read(body: &[u8]) -> Result<Value, Unreadable> {
    let mut reader = Reader::from_reader(body);
    let mut open: Vec<Open> = Vec::new();
    let mut whole = Map::new();
    loop {
        match reader.read_event().map_err(|_| Unreadable::Xml)? {
            Event::Start(start) => {
                if open.len() >= DEEPEST {
                    return Err(Unreadable::Deep);
                }
                open.push(opened(&start)?);
            }
            Event::Empty(start) => close(opened(&start)?, open.last_mut(), &mut whole),
            Event::End(_) => {
                let last = open.pop().ok_or(Unreadable::Xml)?;
                close(last, open.last_mut(), &mut whole);
            }
            Event::Text(text) => {
                if let Some(Open::Value(value)) = open.last_mut() {
                    value.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Event::CData(text) => {
                if let Some(Open::Value(value)) = open.last_mut() {
                    value.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(Open::Value(value)) = open.last_mut() {
                    let sign = reference.resolve_char_ref();
                    let sign = sign.map_err(|_| Unreadable::Xml)?;
                    value.extend(sign.or_else(|| named(&reference)));
                }
            }
            Event::Eof if open.is_empty() => return Ok(Value::Object(whole)),
            Event::Eof => return Err(Unreadable::Xml),
            _ => {}
        }
    }
}

fn named(name: &[u8]) -> Option<char> {
    Some(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        _ => return None,
    })
}

fn opened(start: &BytesStart<'_>) -> Result<Open, Unreadable> {
    Ok(match start.local_name().as_ref() {
        b"NativeDicomModel" | b"Item" => Open::Set(Map::new()),
        b"DicomAttribute" => {
            let mut tag = String::new();
            let mut vr = String::new();
            for attribute in start.attributes() {
                let attribute = attribute.map_err(|_| Unreadable::Xml)?;
                let value = String::from_utf8_lossy(&attribute.value);
                match attribute.key.local_name().as_ref() {
                    b"tag" => tag = value.trim().to_ascii_uppercase(),
                    b"vr" => value.trim().clone_into(&mut vr),
                    _ => {}
                }
            }
            Open::Attribute(tag, vr, Vec::new())
        }
        b"Value" => Open::Value(String::new()),
        _ => Open::Other,
    })
}

/// Puts what is closed into what is around it.
fn close(last: Open, around: Option<&mut Open>, whole: &mut Map<String, Value>) {
    match (last, around) {
        (Open::Attribute(tag, vr, values), Some(Open::Set(set))) => {
            set.insert(tag, json!({ "vr": vr, "Value": values }));
        }
        (Open::Set(set), Some(Open::Attribute(_, _, values))) => values.push(Value::Object(set)),
        (Open::Value(value), Some(Open::Attribute(_, _, values))) => {
            values.push(Value::String(value));
        }
        (Open::Set(set), _) => whole.extend(set),
        _ => {}
    }
}
