//! The element at an offset, as a path such as `Patient.name[0].given`; made only when somebody asks.
//!
//! Paths go into messages, so they hold element names and nothing else of the record: a name that no FHIR element
//! could have is shown as `?`.

use std::fmt::Write as _;

use super::{
    json::{BUNDLE_DEPTH, Machine, Visit},
    shape::is_element,
    text, types,
};

/// The most steps of a path that are shown, half of them from each end. FHIR's own elements lie less deep; a text of nothing but
/// brackets would fill the screen.
const SHOWN: usize = 24;

/// Returns the path of the element at `offset`; of ill-formed text, as far as it could be read.
pub fn of(bytes: &[u8], offset: usize) -> String {
    let mut finder = PathFinder::new();
    finder.read(bytes.get(..offset).unwrap_or(bytes));
    finder.path()
}

/// Finds the path at the end of what it has read, piece by piece.
#[derive(Debug)]
pub struct PathFinder {
    machine: Machine,
    steps: Steps,
}

impl Default for PathFinder {
    fn default() -> Self {
        Self::new()
    }
}

impl PathFinder {
    /// Starts at the beginning of a text.
    pub fn new() -> Self {
        Self {
            machine: Machine::new(BUNDLE_DEPTH),
            steps: Steps {
                root: None,
                frames: Vec::new(),
            },
        }
    }

    /// Reads a piece and returns how many bytes are done with (all, if the text is wrong there).
    pub fn read(&mut self, piece: &[u8]) -> usize {
        self.machine
            .run(piece, false, &mut self.steps)
            .unwrap_or(piece.len())
    }

    /// Returns the path of the element at which reading has arrived.
    pub fn path(&self) -> String {
        let root = self
            .steps
            .root
            .as_deref()
            .filter(|name| types::is_known_type(name))
            .unwrap_or("Resource");
        let mut path = root.to_owned();
        let innermost = self.steps.frames.len().saturating_sub(1);
        let depth = self.steps.frames.len();
        let left_out = if depth > SHOWN {
            SHOWN / 2..depth - SHOWN / 2
        } else {
            0..0
        };
        for (level, frame) in self.steps.frames.iter().enumerate() {
            if level == left_out.start && !left_out.is_empty() {
                path.push('…');
            }
            match frame {
                _ if left_out.contains(&level) => {}
                Frame::Object(Some(name)) => {
                    path.push('.');
                    path.push_str(name);
                }
                Frame::Object(None) => {}
                Frame::Array(begun) => {
                    let coming = level == innermost && self.machine.expects_value();
                    let index = if coming {
                        *begun
                    } else {
                        begun.saturating_sub(1)
                    };
                    // Writing to a String cannot fail.
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        path
    }
}

#[derive(Debug)]
enum Frame {
    /// The member last begun.
    Object(Option<String>),
    /// The number of elements that have begun.
    Array(usize),
}

#[derive(Debug)]
struct Steps {
    root: Option<String>,
    frames: Vec<Frame>,
}

impl Steps {
    fn begin(&mut self) {
        if let Some(Frame::Array(begun)) = self.frames.last_mut() {
            *begun += 1;
        }
    }
}

impl Visit for Steps {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        if let Some(Frame::Object(member)) = self.frames.last_mut() {
            let name = text(bytes.get(start..end).unwrap_or_default());
            *member = Some(if is_element(&name) {
                name.into_owned()
            } else {
                "?".to_owned()
            });
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.begin();
        if let [Frame::Object(Some(member))] = self.frames.as_slice()
            && member == "resourceType"
        {
            self.root = Some(text(bytes.get(start..end).unwrap_or_default()).into_owned());
        }
        Ok(())
    }

    fn long_string(&mut self, _at: usize) -> Result<(), &'static str> {
        self.begin();
        Ok(())
    }

    fn scalar(&mut self, _start: usize, _end: usize) -> Result<(), &'static str> {
        self.begin();
        Ok(())
    }

    fn open(&mut self, object: bool, _at: usize) -> Result<(), &'static str> {
        self.begin();
        self.frames.push(if object {
            Frame::Object(None)
        } else {
            Frame::Array(0)
        });
        Ok(())
    }

    fn close(&mut self, _end: usize) -> Result<(), &'static str> {
        self.frames.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_the_element_at_an_offset() {
        let text = br#"{"resourceType":"Patient","name":[{"given":["A","B"]},{"family":"C"}],"x y":{"a":1},"Smith":2,"p4711":3}"#;
        let at = |needle: &str| {
            let offset = memchr::memmem::find(text, needle.as_bytes()).unwrap();
            of(text, offset)
        };
        assert_eq!(at("A\""), "Patient.name[0].given[0]");
        assert_eq!(at("B\""), "Patient.name[0].given[1]");
        assert_eq!(at("C\""), "Patient.name[1].family");
        assert_eq!(at("1}"), "Patient.?.a");
        assert_eq!(at("2,"), "Patient.?");
        assert_eq!(at("3}"), "Patient.?");
        assert_eq!(of(text, 0), "Resource");
        assert_eq!(of(br#"{"resourceType":"Secret","id":5}"#, 99), "Resource");
    }
}
