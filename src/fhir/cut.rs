//! Takes references out of a record so that it can be created before what they refer to; the rest stays as it stands.
//!
//! The smallest element goes that holds a reference and that R4 does not require (`required`). An element that would be
//! left empty goes with it: FHIR has neither empty objects nor empty lists.

use super::{
    TextRange,
    json::{MAX_DEPTH, Machine, Visit},
    required::{definition, is_required},
};

/// The reason why nothing was cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// The reference of this place cannot be left out: R4 requires it, or what holds it.
    #[error("the reference at byte {} is required", .0.start)]
    Required(TextRange),
    /// This is no place of a reference in the text.
    #[error("there is no reference at byte {}", .0.start)]
    Nowhere(TextRange),
}

/// Returns the parts of a record that have to go so that the references at `places` (as a scan found them) are gone,
/// sorted and apart from each other.
///
/// # Errors
///
/// When one of them cannot be left out, or is none.
pub fn cut(bytes: &[u8], places: &[TextRange]) -> Result<Vec<TextRange>, CutError> {
    cut_with(bytes, places, None)
}

/// As [`cut`], and takes out the member too whose text stands at `member`.
///
/// # Errors
///
/// As [`cut`].
pub fn cut_with(
    bytes: &[u8],
    places: &[TextRange],
    member: Option<TextRange>,
) -> Result<Vec<TextRange>, CutError> {
    let mut tree = Tree::default();
    let nowhere = |place: Option<&TextRange>| CutError::Nowhere(place.copied().unwrap_or_default());
    Machine::new(MAX_DEPTH)
        .run(bytes, true, &mut tree)
        .map_err(|_| nowhere(places.first()))?;
    tree.define(bytes);
    for place in places {
        let text = tree.nodes.iter().find(|node| node.text == Some(*place));
        let reference = text
            .and_then(|text| text.parent)
            .ok_or_else(|| nowhere(Some(place)))?;
        tree.remove(reference)
            .map_err(|()| CutError::Required(*place))?;
    }
    if let Some(place) = member {
        let text = tree.nodes.iter().position(|node| node.text == Some(place));
        let text = text.ok_or(CutError::Nowhere(place))?;
        tree.remove(text).map_err(|()| CutError::Required(place))?;
    }
    let mut parts = Vec::new();
    tree.parts(0, &mut parts);
    parts.sort_unstable_by_key(|part| part.start);
    Ok(parts)
}

/// A value of the text.
#[derive(Debug, Default)]
struct Node {
    /// With its name, where it is a member.
    whole: TextRange,
    name: Option<TextRange>,
    /// The text of a string, between its quotes.
    text: Option<TextRange>,
    parent: Option<usize>,
    children: Vec<usize>,
    is_object: bool,
    /// The name of the definition of its members.
    definition: String,
    /// The element is required in its parent.
    is_required: bool,
    is_gone: bool,
}

#[derive(Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    open: Vec<usize>,
    name: Option<TextRange>,
}

impl Tree {
    fn add(&mut self, value: TextRange) -> usize {
        let name = self.name.take();
        let at = self.nodes.len();
        let parent = self.open.last().copied();
        self.nodes.push(Node {
            whole: TextRange {
                start: name.map_or(value.start, |name| name.start - 1),
                end: value.end,
            },
            name,
            parent,
            ..Node::default()
        });
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
            parent.children.push(at);
        }
        at
    }

    /// Finds out the definition of each value. An object or array comes before its members.
    fn define(&mut self, bytes: &[u8]) {
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(at) else {
                continue;
            };
            let members = || node.children.iter().filter_map(|&at| self.nodes.get(at));
            let mut kind = members().filter(|member| {
                node.is_object
                    && member
                        .name
                        .is_some_and(|name| name.text(bytes) == "resourceType")
            });
            let kind = kind.find_map(|member| Some(member.text?.text(bytes).into_owned()));
            let parent = node.parent.and_then(|parent| self.nodes.get(parent));
            let (is_member_required, inherited) = match (parent, node.name) {
                (Some(parent), Some(name)) => {
                    let name = name.text(bytes);
                    (
                        is_required(&parent.definition, &name),
                        definition(&parent.definition, &name),
                    )
                }
                (Some(parent), None) => (false, parent.definition.clone()),
                (None, _) => (true, String::new()),
            };
            if let Some(node) = self.nodes.get_mut(at) {
                node.definition = kind.unwrap_or(inherited);
                node.is_required = is_member_required;
            }
        }
    }

    /// Removes a value, or what holds it if that cannot be without it.
    fn remove(&mut self, at: usize) -> Result<(), ()> {
        let node = self.nodes.get_mut(at).ok_or(())?;
        if node.is_gone {
            return Ok(());
        }
        let parent = node.parent.ok_or(())?;
        let must_stay = node.is_required;
        node.is_gone = !must_stay;
        let rest = self.nodes.get(parent).map(|parent| &parent.children);
        let is_empty = rest.is_some_and(|rest| {
            let mut rest = rest.iter().filter_map(|&at| self.nodes.get(at));
            rest.all(|node| node.is_gone)
        });
        if must_stay || is_empty {
            self.remove(parent)
        } else {
            Ok(())
        }
    }

    /// Collects what goes, each with the comma that goes with it.
    fn parts(&self, at: usize, parts: &mut Vec<TextRange>) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let mut children = node
            .children
            .iter()
            .filter_map(|&at| Some((at, self.nodes.get(at)?)))
            .peekable();
        let mut kept_before = false;
        let mut before = 0;
        while let Some((at, child)) = children.next() {
            if !child.is_gone {
                kept_before = true;
                self.parts(at, parts);
            } else if kept_before {
                parts.push(TextRange {
                    start: before,
                    end: child.whole.end,
                });
            } else if let Some((_, next)) = children.peek() {
                parts.push(TextRange {
                    start: child.whole.start,
                    end: next.whole.start,
                });
            }
            before = child.whole.end;
        }
    }
}

impl Visit for Tree {
    fn key(&mut self, _: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.name = Some(TextRange { start, end });
        Ok(())
    }

    fn string(&mut self, _: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        let at = self.add(TextRange {
            start: start - 1,
            end: end + 1,
        });
        if let Some(node) = self.nodes.get_mut(at) {
            node.text = Some(TextRange { start, end });
        }
        Ok(())
    }

    fn scalar(&mut self, start: usize, end: usize) -> Result<(), &'static str> {
        self.add(TextRange { start, end });
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        let node = self.add(TextRange { start: at, end: at });
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_object = object;
        }
        self.open.push(node);
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        if let Some(node) = self.open.pop().and_then(|at| self.nodes.get_mut(at)) {
            node.whole.end = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fhir::{Scanner, splice::splice};

    /// Cuts the references whose texts are given.
    fn without(text: &str, references: &[&str]) -> Result<String, CutError> {
        let mut scanner = Scanner::new();
        let found = scanner.scan(text.as_bytes()).unwrap();
        let places: Vec<TextRange> = found
            .places(text.as_bytes())
            .filter(|(_, part)| references.contains(&part.text(text.as_bytes()).as_ref()))
            .map(|(_, part)| part)
            .collect();
        let parts = cut(text.as_bytes(), &places)?;
        let edits: Vec<(TextRange, &str)> = parts.into_iter().map(|part| (part, "")).collect();
        let cut = String::from_utf8(splice(text.as_bytes(), &edits).unwrap()).unwrap();
        serde_json::from_str::<Value>(&cut).unwrap();
        Ok(cut)
    }

    #[test]
    fn an_optional_reference_goes_and_the_rest_stays() {
        let text = r#"{ "resourceType":"Organization", "partOf" : {"reference":"Organization/a","display":"A"} , "active":true }"#;
        assert_eq!(
            without(text, &["Organization/a"]).unwrap(),
            r#"{ "resourceType":"Organization" , "active":true }"#
        );
        let first =
            r#"{"partOf":{"reference":"Organization/a"}, "resourceType":"Organization","x":1.00}"#;
        assert_eq!(
            without(first, &["Organization/a"]).unwrap(),
            r#"{"resourceType":"Organization","x":1.00}"#
        );
    }

    #[test]
    fn what_would_be_left_empty_goes_too() {
        let text = r#"{"resourceType":"Basic","a":[{"b":{"reference":"A/1"}},{"b":{"reference":"A/2"}}],"z":0}"#;
        assert_eq!(
            without(text, &["A/1"]).unwrap(),
            r#"{"resourceType":"Basic","a":[{"b":{"reference":"A/2"}}],"z":0}"#
        );
        assert_eq!(
            without(text, &["A/2"]).unwrap(),
            r#"{"resourceType":"Basic","a":[{"b":{"reference":"A/1"}}],"z":0}"#
        );
        assert_eq!(
            without(text, &["A/1", "A/2"]).unwrap(),
            r#"{"resourceType":"Basic","z":0}"#
        );
    }

    #[test]
    fn what_cannot_be_without_a_reference_goes_with_it() {
        let text = r#"{"resourceType":"Patient","link":[{"other":{"reference":"Patient/b"},"type":"replaces"}],"extension":[{"url":"u","valueReference":{"reference":"Patient/c"}},{"url":"v","valueString":"x"}]}"#;
        assert_eq!(
            without(text, &["Patient/b", "Patient/c"]).unwrap(),
            r#"{"resourceType":"Patient","extension":[{"url":"v","valueString":"x"}]}"#
        );
        let nested = r#"{"resourceType":"Patient","extension":[{"url":"u","extension":[{"url":"w","valueReference":{"reference":"Patient/c"}}]}]}"#;
        assert_eq!(
            without(nested, &["Patient/c"]).unwrap(),
            r#"{"resourceType":"Patient"}"#
        );
    }

    #[test]
    fn what_r4_requires_stays() {
        let condition = r#"{"subject":{"reference":"Patient/a"},"resourceType":"Condition"}"#;
        assert!(matches!(
            without(condition, &["Patient/a"]),
            Err(CutError::Required(_))
        ));
        let claim = r#"{"resourceType":"Claim","insurance":[{"sequence":1,"coverage":{"reference":"Coverage/a"}},{"sequence":2,"coverage":{"reference":"Coverage/b"}}]}"#;
        assert_eq!(
            without(claim, &["Coverage/a"]).unwrap(),
            r#"{"resourceType":"Claim","insurance":[{"sequence":2,"coverage":{"reference":"Coverage/b"}}]}"#
        );
        assert!(without(claim, &["Coverage/a", "Coverage/b"]).is_err());
        let contained = r##"{"resourceType":"Basic","contained":[{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/a"}}],"subject":{"reference":"#c"}}"##;
        assert!(without(contained, &["Patient/a"]).is_err());
    }

    #[test]
    fn a_member_goes_with_its_comma_also_beside_what_is_cut() {
        for (text, expected) in [
            (
                r#"{"resourceType":"Basic","id":"a_b","x":1}"#,
                r#"{"resourceType":"Basic","x":1}"#,
            ),
            (
                r#"{ "id":"a_b", "resourceType":"Basic"}"#,
                r#"{ "resourceType":"Basic"}"#,
            ),
            (
                r#"{"resourceType":"Basic","id":"a_b"}"#,
                r#"{"resourceType":"Basic"}"#,
            ),
            (
                r#"{"resourceType":"Basic","id":"a_b","author":{"reference":"A/1"},"x":1.0}"#,
                r#"{"resourceType":"Basic","x":1.0}"#,
            ),
        ] {
            let bytes = text.as_bytes();
            let mut scanner = Scanner::new();
            let found = scanner.scan(bytes).unwrap();
            let places: Vec<TextRange> = found.references.iter().map(|r| r.part).collect();
            let parts = cut_with(bytes, &places, found.id).unwrap();
            let edits: Vec<(TextRange, &str)> = parts.into_iter().map(|part| (part, "")).collect();
            let cut = String::from_utf8(splice(bytes, &edits).unwrap()).unwrap();
            assert_eq!(cut, expected);
        }
    }

    #[test]
    fn a_place_of_another_text_is_refused() {
        let place = TextRange { start: 3, end: 5 };
        assert_eq!(cut(b"{}", &[place]), Err(CutError::Nowhere(place)));
    }
}
