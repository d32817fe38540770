//! The description of a data set as DICOM JSON (PS3.18 annex F): all of it but the pixels, and long values that are no
//! text.

use std::io::{Cursor, Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dicom_core::{VR, header::Header as _};
use dicom_object::{InMemDicomObject, OpenFileOptions, mem::InMemElement};
use serde_json::{Map, Value, json};

use super::element::{Encoding, MARK, Tag};
use super::header::{BIG, EXPLICIT, IMPLICIT, InstanceHeader};
use super::thin::{self, Thin};

/// The longest value of bytes in the metadata; longer ones are bulk data.
const LONGEST: usize = 4 << 10;

/// The greatest length of the element that names character sets, of which real ones name three or four.
const LONGEST_CHARSET: usize = 1 << 10;

/// Describes a data set, which begins where its header says. One that the library cannot read is described by its UIDs
/// and modality.
pub fn describe(set: impl Read, header: &InstanceHeader) -> Map<String, Value> {
    let mut set = read(&thin::read(set, header));
    let mut uid = |tag: &str, value: &str| {
        set.insert(tag.to_owned(), json!({ "vr": "UI", "Value": [value] }));
    };
    uid("00080016", &header.sop_class);
    uid("00080018", &header.instance);
    uid("0020000D", &header.study);
    uid("0020000E", &header.series);
    if let Some(modality) = &header.modality {
        let modality = json!({ "vr": "CS", "Value": [modality] });
        set.entry("00080060").or_insert(modality);
    }
    // The transfer syntax stands beside the data set, in the words of Google and others.
    let syntax = json!({ "vr": "UI", "Value": [header.transfer_syntax] });
    set.insert("00083002".to_owned(), syntax);
    set
}

/// Reads what is kept of a data set. If the library cannot read all of it, it is read one element after the other, without
/// those that cannot be read.
fn read(thin: &Thin) -> Map<String, Value> {
    let mut set = parse(&thin.elements.concat(), thin.encoding).unwrap_or_else(|| {
        // Texts are read as SpecificCharacterSet says.
        let charset = thin.elements.iter().find(|element| {
            let tag = element.first_chunk::<4>();
            tag.is_some_and(|tag| matches!(tag, [8, 0, 5, 0] | [0, 8, 0, 5]))
        });
        // It is copied in front of every element.
        let charset = charset.filter(|charset| charset.len() <= LONGEST_CHARSET);
        let charset = charset.cloned().unwrap_or_default();
        let mut set = Map::new();
        for element in &thin.elements {
            let bytes = [charset.as_slice(), element.as_slice()].concat();
            set.extend(parse(&bytes, thin.encoding).into_iter().flatten());
        }
        set
    });
    for (Tag(group, number), vr) in &thin.long {
        let tag = format!("{group:04X}{number:04X}");
        let uri = json!({ "vr": vr.to_string(), "BulkDataURI": format!("bulkdata/{tag}") });
        set.insert(tag, uri);
    }
    set
}

/// Describes elements, under a meta group of their own: the one of the file may be wrong, and its transfer syntax unknown to
/// the library, which has no pixels to read here.
fn parse(elements: &[u8], encoding: Encoding) -> Option<Map<String, Value>> {
    let syntax = match encoding {
        Encoding::Implicit => IMPLICIT,
        Encoding::Little => EXPLICIT,
        Encoding::Big => BIG,
    };
    let mut meta = Vec::new();
    let uids = [
        (0x02, "1.2.3"),
        (0x03, "1.2.3"),
        (0x10, syntax),
        (0x12, "1.2.3"),
    ];
    for (number, uid) in uids {
        let length = uid.len() + uid.len() % 2;
        meta.extend_from_slice(&[2, 0, number, 0, b'U', b'I', u8::try_from(length).ok()?, 0]);
        meta.extend_from_slice(uid.as_bytes());
        meta.resize(meta.len() + uid.len() % 2, 0);
    }
    let length = u32::try_from(meta.len()).ok()?.to_le_bytes();
    let begin = [&[0; 128], MARK, b"\x02\0\0\0UL\x04\0", &length, &meta].concat();
    let file = Cursor::new(begin).chain(elements);
    let object = OpenFileOptions::new().from_reader(file).ok()?;
    Some(data_set(&object, 0))
}

/// The depth to which sequences are described: real ones are a handful deep.
const DEEPEST: usize = 32;

fn data_set(object: &InMemDicomObject, depth: usize) -> Map<String, Value> {
    let elements = object.iter().filter(|element| element.tag().element() != 0);
    let elements = elements.map(|element| {
        let tag = element.tag();
        let tag = format!("{:04X}{:04X}", tag.group(), tag.element());
        let value = self::element(element, &tag, depth);
        (tag, value)
    });
    elements.collect()
}

/// Writes an element: its representation, and its values where it has any (PS3.18 §F.2.2).
fn element(element: &InMemElement, tag: &str, depth: usize) -> Value {
    let vr = element.vr();
    let name = vr.to_string();
    if let Some(items) = element.items() {
        let items = items.iter().take_while(|_| depth < DEEPEST);
        let items = items.map(|item| Value::Object(data_set(item, depth + 1)));
        let items: Vec<Value> = items.collect();
        return json!({ "vr": "SQ", "Value": items });
    }
    let values: Vec<Value> = match vr {
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => {
            let bytes = element.to_bytes().unwrap_or_default();
            return match bytes.len() {
                0 => json!({ "vr": name }),
                1..=LONGEST => json!({ "vr": name, "InlineBinary": STANDARD.encode(&bytes) }),
                // Bulk data is found by a tag of the data set itself.
                _ if depth == 0 => json!({ "vr": name, "BulkDataURI": format!("bulkdata/{tag}") }),
                _ => json!({ "vr": name }),
            };
        }
        VR::US | VR::UL | VR::SS | VR::SL | VR::SV | VR::UV => {
            let numbers = element.to_multi_int::<i64>().unwrap_or_default();
            numbers.into_iter().map(Value::from).collect()
        }
        // Eight digits (PS3.18 §F.2.3), where others write tags with brackets and a comma.
        VR::AT => {
            let eight = |tag: &String| {
                let digits = tag.chars().filter(char::is_ascii_hexdigit);
                digits.collect::<String>().into()
            };
            texts(element).iter().map(eight).collect()
        }
        VR::FL | VR::FD => {
            let numbers = element.to_multi_float64().unwrap_or_default();
            numbers.into_iter().map(Value::from).collect()
        }
        _ => texts(element)
            .iter()
            .map(|text| self::text(vr, text))
            .collect(),
    };
    if values.is_empty() {
        json!({ "vr": name })
    } else {
        json!({ "vr": name, "Value": values })
    }
}

/// Returns the values of an element as texts, none where it is empty.
fn texts(element: &InMemElement) -> Vec<String> {
    let texts = element.value().to_multi_str();
    let texts = texts.map(std::borrow::Cow::into_owned).unwrap_or_default();
    let trim = |text: &String| text.trim_matches(['\0', ' ']).to_owned();
    let texts: Vec<String> = texts.iter().map(trim).collect();
    if texts.iter().all(String::is_empty) {
        Vec::new()
    } else {
        texts
    }
}

/// Writes one value: a name by its groups, a number as it was, everything else as text.
fn text(vr: VR, text: &str) -> Value {
    match vr {
        _ if text.is_empty() => Value::Null,
        VR::PN => {
            let groups = ["Alphabetic", "Ideographic", "Phonetic"];
            let groups = groups.into_iter().zip(text.split('='));
            let groups = groups.filter(|(_, part)| !part.is_empty());
            groups
                .map(|(group, part)| (group.to_owned(), Value::from(part)))
                .collect::<Map<_, _>>()
                .into()
        }
        VR::IS => text
            .parse::<i64>()
            .map_or_else(|_| text.into(), Value::from),
        VR::DS => text
            .parse::<f64>()
            .map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        header,
        sample::{self, SampleInstance},
    };
    use super::*;

    #[test]
    fn damaged_numbers_keep_the_others_from_nothing() {
        let sample = SampleInstance {
            study: "1.2",
            series: "1.2.3",
            instance: "1.2.3.4",
            modality: "DX",
            name: "Rivera^Ana",
            patient: "p-1",
            date: "20240314",
            description: "Chest",
            number: 1,
            rows: 1,
            columns: 2,
            frames: 1,
        };
        let mut file = Vec::new();
        sample::write(&sample, &mut file).unwrap();
        let header = header::read(file.as_slice()).unwrap().unwrap();
        // Every second number has three bytes, where two are one.
        let mut set = Vec::new();
        for number in 0..500_u16 {
            set.extend_from_slice(&[0x28, 0]);
            set.extend_from_slice(&(0x2000 + number).to_le_bytes());
            let value: &[u8] = if number % 2 == 0 { &[1, 0, 2] } else { &[1, 0] };
            set.extend_from_slice(b"US");
            set.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
            set.extend_from_slice(value);
        }
        let described = describe(set.as_slice(), &header);
        let numbers = described.keys().filter(|tag| tag.starts_with("0028"));
        assert_eq!(numbers.count(), 250);
        assert_eq!(described["00282001"]["Value"][0], 1);
        assert_eq!(described["00080018"]["Value"][0], "1.2.3.4");
    }
}
