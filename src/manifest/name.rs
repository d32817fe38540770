//! Names of manifests, targets and loads, which also name files.

use super::{
    document::Node,
    reader::{Reader, Text},
};
use crate::diagnostic::Diagnostic;

/// The longest name: a run's directory is named after the manifest and a time, and file systems end at 255 bytes.
pub(super) const MAX_NAME: usize = 100;

/// Reads a name: what may also name a file.
pub(super) fn name(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<Text> {
    let text = reader.text(key, node)?;
    match unfit(&text.value) {
        None => Some(text),
        Some(why) => {
            let message = format!("`{}` cannot be a name: {why}", text.written);
            reader.report(text.spot, Diagnostic::error(message));
            None
        }
    }
}

/// Says why a text cannot be a name.
pub(super) fn unfit(name: &str) -> Option<String> {
    if name.chars().count() > MAX_NAME {
        Some(format!("it is longer than {MAX_NAME} characters"))
    } else if name.contains(['/', '\\']) {
        Some("it holds a slash, and files are named after it".to_owned())
    } else if name.chars().any(char::is_control) {
        Some("it holds a line break or another control character".to_owned())
    } else if name.trim().is_empty() || name == "." || name == ".." {
        Some("files are named after it".to_owned())
    } else {
        None
    }
}
