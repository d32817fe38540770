//! The place of a tag in a resource: `meta.tag` (<https://hl7.org/fhir/R4/resource.html#Meta>), by byte offset.
//!
//! A resource keeps its bytes; a tag is put in front of those that it has, or `meta.tag`, or `meta`, is made for it.

use super::{
    SyntaxError, TextRange,
    json::{MAX_DEPTH, Machine, Visit},
};

/// Returns the place where a tag is put in, and the text: an empty part of `resource`.
///
/// `system` and `code` stand in the text as they are given: neither may need escaping.
///
/// # Errors
///
/// When the resource is not well-formed.
pub fn insertion(
    resource: &[u8],
    system: &str,
    code: &str,
) -> Result<(TextRange, String), SyntaxError> {
    let mut places = Places::default();
    Machine::new(MAX_DEPTH)
        .run(resource, true, &mut places)
        .map_err(|fault| SyntaxError {
            offset: fault.offset,
            what: fault.what,
            path: super::path::of(resource, fault.offset),
        })?;
    let coding = format!(r#"{{"system":"{system}","code":"{code}"}}"#);
    let (place, text) = match places {
        Places {
            tags: Some(tags), ..
        } => (tags, coding),
        Places {
            meta: Some(meta), ..
        } => (meta, format!(r#""tag":[{coding}]"#)),
        Places {
            root: Some(root), ..
        } => (root, format!(r#""meta":{{"tag":[{coding}]}}"#)),
        _ => {
            return Err(SyntaxError {
                offset: 0,
                what: "a resource is an object",
                path: String::new(),
            });
        }
    };
    let text = if place.is_empty { text } else { text + "," };
    let part = TextRange {
        start: place.inside,
        end: place.inside,
    };
    Ok((part, text))
}

/// An object or array into which something is put.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The offset after its opening bracket.
    inside: usize,
    is_empty: bool,
}

#[derive(Debug, Default)]
struct Places {
    depth: usize,
    /// The last name was `meta` of the resource, or `tag` of that.
    named: bool,
    /// The object that is open at depth 2 is `meta`.
    in_meta: bool,
    root: Option<Place>,
    meta: Option<Place>,
    tags: Option<Place>,
}

impl Places {
    /// Something stands in the container that is open at this depth.
    fn fill(&mut self) {
        let place = match self.depth {
            1 => &mut self.root,
            2 if self.in_meta => &mut self.meta,
            3 if self.in_meta => &mut self.tags,
            _ => return,
        };
        if let Some(place) = place {
            place.is_empty = false;
        }
    }
}

impl Visit for Places {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.fill();
        let name = bytes.get(start..end).unwrap_or_default();
        self.named = match self.depth {
            1 => name == b"meta",
            2 if self.in_meta => name == b"tag",
            _ => false,
        };
        Ok(())
    }

    fn string(&mut self, _: &[u8], _: usize, _: usize) -> Result<(), &'static str> {
        self.fill();
        Ok(())
    }

    fn scalar(&mut self, _: usize, _: usize) -> Result<(), &'static str> {
        self.fill();
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        self.fill();
        let place = Some(Place {
            inside: at + 1,
            is_empty: true,
        });
        match self.depth {
            0 if object => self.root = place,
            1 if self.named && object => {
                self.meta = place;
                self.in_meta = true;
            }
            2 if self.in_meta && self.named && !object => self.tags = place,
            _ => {}
        }
        self.named = false;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: usize) -> Result<(), &'static str> {
        self.depth -= 1;
        if self.depth == 1 {
            self.in_meta = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::splice::splice, *};

    fn tagged(resource: &str) -> String {
        let edit = insertion(resource.as_bytes(), "urn:s", "c").unwrap();
        String::from_utf8(splice(resource.as_bytes(), &[edit]).unwrap()).unwrap()
    }

    #[test]
    fn a_tag_is_put_in_and_nothing_else_changes() {
        const TAG: &str = r#"{"system":"urn:s","code":"c"}"#;
        let cases = [
            ("{}", format!(r#"{{"meta":{{"tag":[{TAG}]}}}}"#)),
            (
                r#"{ "n":1.00 }"#,
                format!(r#"{{"meta":{{"tag":[{TAG}]}}, "n":1.00 }}"#),
            ),
            (
                r#"{"n":{"meta":{"tag":[]}},"meta":{"profile":["p"]}}"#,
                format!(
                    r#"{{"n":{{"meta":{{"tag":[]}}}},"meta":{{"tag":[{TAG}],"profile":["p"]}}}}"#
                ),
            ),
            (r#"{"meta":{}}"#, format!(r#"{{"meta":{{"tag":[{TAG}]}}}}"#)),
            (
                r#"{"meta":{"x":{"tag":[0]},"tag":[ ]},"a":[{"tag":[1]}]}"#,
                format!(r#"{{"meta":{{"x":{{"tag":[0]}},"tag":[{TAG} ]}},"a":[{{"tag":[1]}}]}}"#),
            ),
            (
                r#"{"meta":{"tag":[{"code":"old"}]}}"#,
                format!(r#"{{"meta":{{"tag":[{TAG},{{"code":"old"}}]}}}}"#),
            ),
        ];
        for (resource, expected) in cases {
            assert_eq!(tagged(resource), expected, "{resource}");
        }
        assert!(insertion(b"[]", "urn:s", "c").is_err());
        assert!(insertion(b"{", "urn:s", "c").is_err());
    }
}
