//! The links of a narrative: the values of `href` and `src` in its XHTML (<https://hl7.org/fhir/R4/narrative.html>).
//!
//! Works on the raw content of the JSON string `text.div`, so that what it finds can be replaced at its place. It is no
//! parser of XHTML: it finds the attributes of tags, and leaves their meaning to others.

use super::TextRange;

/// Finds the values of `href` and `src` in the tags of a raw `div`, as parts of it, in order.
///
/// Entities and JSON escapes in a value are left as they are; a value that has any leads nowhere that a record is.
pub fn links(div: &[u8]) -> Vec<TextRange> {
    let mut links = Vec::new();
    let mut at = 0;
    while let Some(tag) = memchr::memchr(b'<', div.get(at..).unwrap_or_default()) {
        at = attributes(div, at + tag + 1, &mut links);
    }
    links
}

/// Walks the attributes of the tag that begins before `at`; returns where it ends.
fn attributes(div: &[u8], mut at: usize, links: &mut Vec<TextRange>) -> usize {
    let mut name = at;
    while let Some(&byte) = div.get(at) {
        match byte {
            b'>' => return at + 1,
            b'=' => {
                let word = div.get(name..at).unwrap_or_default();
                let (start, end, after) = value(div, at + 1);
                if matches!(word, b"href" | b"src") && end > start {
                    links.push(TextRange { start, end });
                }
                at = after;
                name = at;
            }
            // A line break in a tag is written `\n` in JSON.
            b' ' => {
                at += 1;
                name = at;
            }
            b'\\' if matches!(div.get(at + 1), Some(b'n' | b'r' | b't')) => {
                at += 2;
                name = at;
            }
            _ => at += 1,
        }
    }
    at
}

/// Returns where the value of an attribute begins and ends, and where what follows it begins.
fn value(div: &[u8], at: usize) -> (usize, usize, usize) {
    let rest = |at: usize| div.get(at..).unwrap_or_default();
    let (start, length, quote) = if rest(at).starts_with(b"\\\"") {
        let start = at + 2;
        (start, memchr::memmem::find(rest(start), b"\\\""), 2)
    } else if rest(at).starts_with(b"'") {
        (at + 1, memchr::memchr(b'\'', rest(at + 1)), 1)
    } else {
        return (at, at, at);
    };
    match length {
        Some(length) => (start, start + length, start + length + quote),
        None => (start, start, div.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(div: &str) -> Vec<&str> {
        links(div.as_bytes())
            .into_iter()
            .map(|part| &div[part.start..part.end])
            .collect()
    }

    #[test]
    fn attributes_of_tags_are_found_and_text_is_not() {
        let div = r#"<div xmlns=\"http://www.w3.org/1999/xhtml\">href=\"no\"
            <a\n  title='x > y' href=\"Patient/1\">Anna</a><img src='Binary/2' alt=\"href='no'\"/>
            <a data-href=\"no\" href=\"\">&lt;a href=\"no\"&gt;</a></div>"#;
        assert_eq!(found(div), ["Patient/1", "Binary/2"]);
    }

    #[test]
    fn what_is_cut_off_ends_quietly() {
        for div in [
            "<a href=",
            "<a href=\\\"x",
            "<a href='",
            "<",
            "<a href=\\\"x\\\"",
            "",
        ] {
            assert!(found(div).len() <= 1, "{div}");
        }
    }
}
