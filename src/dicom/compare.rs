//! In what two instances of the same UIDs differ: by what is said of them (DICOM JSON, PS3.18 annex F), or by their bytes.
//!
//! A server may write what it holds in another way than it came: numbers as texts, names with fewer signs, long values as
//! addresses, attributes of its own about the retrieval. None of that is a difference.

use std::io::{self, Read};

use serde_json::{Map, Value};

/// Attributes that a server says of what it holds, and none that the instance has of itself: `SpecificCharacterSet`, since JSON
/// is UTF-8; how it can be had (availability, AE titles, addresses), and in which transfer syntaxes.
const OF_THE_SERVER: [&str; 6] = [
    "00080005", "00080054", "00080056", "00081190", "00083001", "00083002",
];

/// The depth to which sequences are compared: real ones are a handful deep.
const DEEPEST: usize = 32;

/// Returns the tags of the attributes in which two descriptions differ, as `(gggg,eeee)`; those inside of a sequence by its own
/// tag. Private attributes and what either has as an address of bulk data are not compared.
pub fn differing(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    let mut tags: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    tags.sort_unstable();
    tags.dedup();
    let tags = tags.into_iter().filter(|tag| is_compared(tag));
    let differing = tags.filter(|tag| !is_same(ours.get(*tag), theirs.get(*tag), 0));
    differing.map(|tag| written(tag)).collect()
}

fn written(tag: &str) -> String {
    match tag.split_at_checked(4) {
        Some((group, number)) => format!("({group},{number})"),
        None => tag.to_owned(),
    }
}

/// Tells whether an attribute belongs to the instance, and is the same wherever it lies.
fn is_compared(tag: &str) -> bool {
    let Ok(number) = u32::from_str_radix(tag, 16) else {
        return false;
    };
    let (group, element) = (number >> 16, number & 0xFFFF);
    let is_private = group % 2 == 1;
    // Group 2 belongs to the file, and FFFC is padding.
    let is_of_the_file = group == 2 || group == 0xFFFC || group == 0x7FE0;
    tag.len() == 8
        && !is_private
        && !is_of_the_file
        && element != 0
        && !OF_THE_SERVER.contains(&tag)
}

fn is_same(ours: Option<&Value>, theirs: Option<&Value>, depth: usize) -> bool {
    let is_elsewhere = |one: Option<&Value>| one.is_some_and(|one| !one["BulkDataURI"].is_null());
    let is_unknown = |one: Option<&Value>| one.is_some_and(|one| one["vr"] == "UN");
    if is_elsewhere(ours) || is_elsewhere(theirs) || depth > DEEPEST {
        return true;
    }
    // A value that one side does not know is written by it as bytes, and by the other as what it is.
    if is_unknown(ours) != is_unknown(theirs) && ours.is_some() && theirs.is_some() {
        return true;
    }
    let binary = |one: Option<&Value>| {
        let text = one.and_then(|one| one["InlineBinary"].as_str());
        text.map(|text| text.trim_end_matches('=').to_owned())
    };
    if binary(ours) != binary(theirs) {
        return false;
    }
    let (ours, theirs) = (values(ours), values(theirs));
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(&theirs)
            .all(|(ours, theirs)| match (ours, theirs) {
                (Value::Object(ours), Value::Object(theirs))
                    if is_item(ours) || is_item(theirs) =>
                {
                    let mut tags = ours.keys().chain(theirs.keys());
                    tags.all(|tag| {
                        !is_compared(tag) || is_same(ours.get(tag), theirs.get(tag), depth + 1)
                    })
                }
                (ours, theirs) => is_same_value(ours, theirs),
            })
}

/// Tells an item of a sequence from a name: its keys are tags.
fn is_item(map: &Map<String, Value>) -> bool {
    map.keys()
        .any(|key| key.len() == 8 && u32::from_str_radix(key, 16).is_ok())
}

/// Returns the values of an attribute; none where it is empty, however that is written.
fn values(attribute: Option<&Value>) -> Vec<&Value> {
    let values = attribute.and_then(|attribute| attribute["Value"].as_array());
    let mut values: Vec<&Value> = values.into_iter().flatten().collect();
    while values.last().is_some_and(|value| is_empty(value)) {
        values.pop();
    }
    values
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => trimmed(text).is_empty(),
        Value::Object(map) => !is_item(map) && map.values().all(is_empty),
        _ => false,
    }
}

/// Padding is no content, and neither are empty components at the end of a name (PS3.5 §6.2).
fn trimmed(text: &str) -> &str {
    text.trim_matches(|sign: char| sign == '\0' || sign.is_whitespace())
        .trim_end_matches(['^', '='])
}

fn is_same_value(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::String(ours), Value::String(theirs)) => {
            is_undecoded(ours) || is_undecoded(theirs) || {
                let number = |text: &str| trimmed(text).parse::<f64>().ok();
                trimmed(ours) == trimmed(theirs)
                    || number(ours).is_some_and(|ours| number(theirs) == Some(ours))
            }
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let groups = ["Alphabetic", "Ideographic", "Phonetic"];
            groups.into_iter().all(|group| {
                let of =
                    |name: &Map<String, Value>| name.get(group).cloned().unwrap_or(Value::Null);
                let (ours, theirs) = (of(ours), of(theirs));
                (is_empty(&ours) && is_empty(&theirs)) || is_same_value(&ours, &theirs)
            })
        }
        // Some write names as texts, and numbers, too.
        (Value::Object(name), text @ Value::String(_))
        | (text @ Value::String(_), Value::Object(name)) => name
            .get("Alphabetic")
            .is_some_and(|name| is_same_value(name, text)),
        (Value::Number(number), Value::String(text))
        | (Value::String(text), Value::Number(number)) => {
            let text: Option<f64> = trimmed(text).parse().ok();
            text.is_some() && text == number.as_f64()
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            ours == theirs || is_close(ours.as_f64(), theirs.as_f64())
        }
        (ours, theirs) => is_empty(ours) && is_empty(theirs),
    }
}

/// Numbers of 32 bits are written in decimals by one side and in the next double by the other.
fn is_close(ours: Option<f64>, theirs: Option<f64>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return false;
    };
    let larger = ours.abs().max(theirs.abs());
    (ours - theirs).abs() <= larger * f64::from(f32::EPSILON)
}

/// Tells whether a text holds what nobody has decoded: escape sequences of ISO 2022, or signs that stand for what is none.
fn is_undecoded(text: &str) -> bool {
    text.contains(['\u{1b}', char::REPLACEMENT_CHARACTER])
}

/// Tells whether two files hold the same data set, byte by byte: each reads from where its data set begins. The bytes
/// before it belong to the file, and servers write it anew.
///
/// # Errors
///
/// When either cannot be read.
pub fn is_same_set(mut ours: impl Read, mut theirs: impl Read) -> io::Result<bool> {
    const PIECE: u64 = 1 << 16;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    loop {
        one.clear();
        other.clear();
        ours.by_ref().take(PIECE).read_to_end(&mut one)?;
        theirs.by_ref().take(PIECE).read_to_end(&mut other)?;
        if one != other {
            return Ok(false);
        }
        if one.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => panic!("no map"),
        }
    }

    fn compared(ours: Value, theirs: Value) -> Vec<String> {
        differing(&map(ours), &map(theirs))
    }

    #[test]
    fn the_same_is_the_same_however_it_is_written() {
        let ours = json!({
            "00020010": { "vr": "UI", "Value": ["1.2.840.10008.1.2"] },
            "00080005": { "vr": "CS", "Value": ["ISO_IR 100"] },
            "00080008": { "vr": "CS", "Value": ["ORIGINAL", "PRIMARY ", null] },
            "00081110": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2\0"] } }] },
            "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Rivera^Ana^^" }] },
            "00101010": { "vr": "AS" },
            "00101030": { "vr": "DS", "Value": [70.50] },
            "00189087": { "vr": "FD", "Value": [0.1_f32] },
            "00290010": { "vr": "LO", "Value": ["PRIVATE"] },
            "00420011": { "vr": "OB", "InlineBinary": "AAEC" },
            "00280106": { "vr": "UN", "InlineBinary": "AAA=" },
        });
        let theirs = json!({
            "00080008": { "vr": "CS", "Value": ["ORIGINAL", "PRIMARY"] },
            "00081110": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2"] } }] },
            "00081190": { "vr": "UR", "Value": ["http://store/studies/1"] },
            "00100010": { "vr": "PN", "Value": ["Rivera^Ana"] },
            "00101010": { "vr": "AS", "Value": [""] },
            "00101030": { "vr": "DS", "Value": ["70.5 "] },
            "00189087": { "vr": "FD", "Value": [0.1] },
            "00420011": { "vr": "OB", "BulkDataURI": "bulk/1" },
            "00280106": { "vr": "US", "Value": [0] },
            "00083002": { "vr": "UI", "Value": ["1.2"] },
        });
        assert_eq!(compared(ours.clone(), theirs.clone()), [""; 0]);
        assert_eq!(compared(theirs, ours), [""; 0]);
    }

    #[test]
    fn what_differs_is_named_by_its_tag() {
        let set = json!({
            "00080060": { "vr": "CS", "Value": ["CT"] },
            "00081110": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2"] } }] },
            "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Rivera^Ana" }] },
            "00280010": { "vr": "US", "Value": [512] },
            "00420011": { "vr": "OB", "InlineBinary": "AAEC" },
        });
        let changes = [
            ("00080060", json!({ "vr": "CS", "Value": ["MR"] })),
            ("00080060", json!({ "vr": "CS" })),
            ("00080060", json!({ "vr": "CS", "Value": ["CT", "MR"] })),
            ("00081110", json!({ "vr": "SQ", "Value": [{}] })),
            ("00081110", json!({ "vr": "SQ" })),
            (
                "00081110",
                json!({ "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.3"] } }] }),
            ),
            (
                "00100010",
                json!({ "vr": "PN", "Value": [{ "Alphabetic": "Rivera^Anna" }] }),
            ),
            (
                "00100010",
                json!({ "vr": "PN", "Value": [{ "Ideographic": "Rivera^Ana" }] }),
            ),
            ("00280010", json!({ "vr": "US", "Value": [511] })),
            ("00420011", json!({ "vr": "OB", "InlineBinary": "AAED" })),
            ("00100020", json!({ "vr": "LO", "Value": ["p-1"] })),
        ];
        for (tag, value) in changes {
            let mut other = set.clone();
            other[tag] = value.clone();
            let expected = [format!("({},{})", &tag[..4], &tag[4..])];
            assert_eq!(compared(set.clone(), other.clone()), expected, "{value}");
            assert_eq!(compared(other, set.clone()), expected, "{value}");
        }
        assert_eq!(compared(set.clone(), set), [""; 0]);
    }

    #[test]
    fn data_sets_are_compared_to_their_ends() {
        let long = vec![7; 200_000];
        assert!(is_same_set(long.as_slice(), long.as_slice()).unwrap());
        assert!(!is_same_set(long.as_slice(), &long[1..]).unwrap());
        assert!(!is_same_set(&long[1..], long.as_slice()).unwrap());
        let mut other = long.clone();
        other[199_999] = 8;
        assert!(!is_same_set(long.as_slice(), other.as_slice()).unwrap());
        assert!(is_same_set(&b""[..], &b""[..]).unwrap());
    }
}
