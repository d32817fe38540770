//! The files that `stoker init` leaves out, in words: each by itself where they are few, and together where one reason holds for
//! many.

use std::path::Path;

use crate::{diagnostic::Diagnostic, hl7v2};

/// The most files that are named for one reason.
const NAMED: usize = 3;

/// The files that are left out, by the reason, in the order in which the reasons came up.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Vec<(String, Files)>);

#[derive(Debug, Default)]
struct Files {
    count: usize,
    /// The first of them.
    first: Vec<String>,
}

impl LeftOut {
    /// Adds a file.
    pub(super) fn add(&mut self, file: String, why: String) {
        let at = self.0.iter().position(|(known, _)| *known == why);
        let at = at.unwrap_or_else(|| {
            self.0.push((why, Files::default()));
            self.0.len() - 1
        });
        if let Some((_, files)) = self.0.get_mut(at) {
            files.count += 1;
            if files.first.len() < NAMED {
                files.first.push(file);
            }
        }
    }

    /// Says which files are left out, and for what reason.
    pub(super) fn problems(&self) -> Vec<Diagnostic> {
        let said = self.0.iter().flat_map(|(why, files)| {
            let Files { count, first } = files;
            if *count <= NAMED {
                let each = first.iter().map(|file| format!("left out {file}: {why}"));
                return each.collect::<Vec<_>>();
            }
            let first = first.join(", ");
            vec![format!("left out {count} files, such as {first}: {why}")]
        });
        said.map(Diagnostic::warning).collect()
    }
}

/// Says why a file is left out that does not begin as anything that can be loaded, where somebody may look for it in a load.
pub(super) fn unlike_its_name(path: &Path, beginning: &[u8]) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let is_empty = beginning.is_empty();
    if hl7v2::has_message_behind(beginning) {
        Some("other bytes stand before its first message; take them out, or name it in `files`")
    } else if ends(&[".hl7"]) {
        Some(if is_empty {
            "it is empty"
        } else {
            "it does not begin with a message of HL7v2"
        })
    } else if ends(&[".dcm", ".dicom", ".dic"]) {
        Some(if is_empty {
            "it is empty"
        } else {
            "no DICOM file"
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_with_one_reason_are_said_once() {
        let mut left_out = LeftOut::default();
        for n in 0..5 {
            left_out.add(format!("{n}.json"), "not a JSON object".to_owned());
        }
        left_out.add("a.json".to_owned(), "empty".to_owned());
        left_out.add("b.json".to_owned(), "empty".to_owned());
        let said: Vec<String> = left_out.problems().into_iter().map(|p| p.message).collect();
        assert_eq!(
            said,
            [
                "left out 5 files, such as 0.json, 1.json, 2.json: not a JSON object",
                "left out a.json: empty",
                "left out b.json: empty"
            ]
        );
    }
}
