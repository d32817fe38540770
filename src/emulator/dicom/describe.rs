//! What a data set says, as DICOM JSON (PS3.18 annex F): all of it but the pixels, and long values that are no text.

use std::path::Path;

use dicom_object::{DefaultDicomObject, OpenFileOptions, Tag, file::ReadPreamble};
use serde_json::{Map, Value, json};

use crate::dicom::header::Header;

/// How long a value in base64 may be that stands in the metadata; longer ones are bulk data.
const LONGEST: usize = 4 << 10;

/// Where the pixels begin, as numbers of any kind.
const PIXELS: Tag = Tag(0x7FE0, 0x0008);

/// Describes the data set of a file. One that the library cannot read is described by who it is.
pub(super) fn describe(path: &Path, header: &Header) -> String {
    let mut set = read(path).unwrap_or_default();
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
    // What stands beside the data set, in the words of Google and others.
    let syntax = json!({ "vr": "UI", "Value": [header.transfer_syntax] });
    set.insert("00083002".to_owned(), syntax);
    Value::Object(set).to_string()
}

fn read(path: &Path) -> Option<Map<String, Value>> {
    let file = open(path)?;
    let Ok(Value::Object(mut set)) = dicom_json::to_value(&*file) else {
        return None;
    };
    set.retain(|tag, element| keep(tag, element));
    Some(set)
}

/// Returns the bytes of an element that stands in the data set itself, before the pixels.
pub(super) fn value(path: &Path, tag: u32) -> Option<Vec<u8>> {
    let file = open(path)?;
    let [a, b, c, d] = tag.to_be_bytes();
    let tag = Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let element = file.element(tag).ok()?;
    Some(element.to_bytes().ok()?.into_owned())
}

fn open(path: &Path) -> Option<DefaultDicomObject> {
    OpenFileOptions::new()
        .read_until(PIXELS)
        .read_preamble(ReadPreamble::Auto)
        .open_file(path)
        .ok()
}

/// Keeps an element that is no length of a group, and names a long value instead of holding it.
fn keep(tag: &str, element: &mut Value) -> bool {
    if tag.ends_with("0000") {
        return false;
    }
    let is_long = element["InlineBinary"]
        .as_str()
        .is_some_and(|value| value.len() > LONGEST);
    if is_long {
        *element = json!({ "vr": element["vr"], "BulkDataURI": format!("bulkdata/{tag}") });
    }
    if let Some(items) = element["Value"].as_array_mut() {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.retain(|_, element| {
                let is_long = element["InlineBinary"]
                    .as_str()
                    .is_some_and(|value| value.len() > LONGEST);
                !is_long
            });
        }
    }
    true
}
