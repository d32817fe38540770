//! Files that are no JSON in UTF-8 and plainly something else: named by how they begin, once and not for each line.

use super::text::{skip_mark, trim};
use crate::fhir::SyntaxError;

const UNPACK: &str = "unpack it, and list the files that were in it";
const NOT_READ: &str = "only JSON is read; leave the file out, or put the right one in its place";
const CONVERT: &str = "only FHIR's JSON is read; convert it, or leave the file out with a pattern that begins with `!`";
const CONFLICT: &str = "a mark of a merge conflict stands there";
const RESOLVE: &str =
    "resolve the conflict: keep one of the two sides, and take the lines with the marks away";

/// The name of what a file is, and what to do about it.
type Named = (&'static str, &'static str);

const YAML: Named = ("this is YAML, not JSON", CONVERT);
const TABLE: Named = ("this is a table (CSV), not JSON", CONVERT);

/// Names what is no JSON in UTF-8 by its first bytes.
pub(super) fn named(head: &[u8]) -> Option<Named> {
    let (_, text) = trim(head.get(skip_mark(head)..).unwrap_or_default());
    binary(head)
        .or_else(|| wide(head))
        .or_else(|| other_text(text))
        .or_else(|| {
            let is_either = is_yaml(text) || is_table(text);
            // Lines of NDJSON may follow one that is wrong: they are not lost for it.
            (is_either && !holds_values(text)).then_some(if is_yaml(text) { YAML } else { TABLE })
        })
}

/// Tells whether one of the lines begins as a value with names does.
fn holds_values(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        let (_, line) = trim(line);
        // Sequences of JSON texts have a separator before each (RFC 7464): what is wrong with it is told line by line.
        let line = line.strip_prefix(b"\x1e").unwrap_or(line);
        let (_, value) = trim(line.get(skip_mark(line)..).unwrap_or_default());
        value.first() == Some(&b'{')
    })
}

/// Says that an error is at a mark of a merge conflict, where it is, and what to do.
pub(super) fn conflict(error: &mut SyntaxError, value: &[u8]) -> Option<&'static str> {
    let rest = value.get(error.offset..)?;
    if !is_conflict(rest) {
        return None;
    }
    error.what = CONFLICT;
    Some(RESOLVE)
}

fn is_conflict(text: &[u8]) -> bool {
    let marks = [&b"<<<<<<<"[..], b"=======", b">>>>>>>"];
    let is_over = matches!(text.get(7), None | Some(b' ' | b'\r' | b'\n'));
    is_over && marks.iter().any(|mark| text.starts_with(mark))
}

/// Text in UTF-16 and UTF-32, by its mark or by the zeros beside its first character.
fn wide(head: &[u8]) -> Option<Named> {
    const UTF_16: Named = (
        "the text is UTF-16",
        "convert the file to UTF-8, such as with `iconv -f UTF-16 -t UTF-8`",
    );
    const UTF_32: Named = (
        "the text is UTF-32",
        "convert the file to UTF-8, such as with `iconv -f UTF-32 -t UTF-8`",
    );
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(UTF_32),
        [a, 0, 0, 0, ..] | [0, 0, 0, a, ..] if *a != 0 => Some(UTF_32),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(UTF_16),
        [0, a, 0, b, ..] | [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(UTF_16),
        _ => None,
    }
}

/// Formats of bytes.
fn binary(head: &[u8]) -> Option<Named> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    Some(match head {
        // Its preamble may begin as any other format.
        _ if at(128, b"DICM") => (
            "this is a DICOM file, not JSON",
            "list it in a load of a DICOM store",
        ),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => ("this is a ZIP archive, not JSON", UNPACK),
        [b'7', b'z', 0xbc, 0xaf, ..] | [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', ..] => (
            "this is compressed in a way that is not read",
            "decompress it, or compress it with gzip or zstd",
        ),
        [b'P', b'A', b'R', b'1', ..] => ("this is a Parquet file, not JSON", NOT_READ),
        [b'%', b'P', b'D', b'F', ..] => ("this is a PDF, not JSON", NOT_READ),
        [0x89, b'P', b'N', b'G', ..] => ("this is a PNG picture, not JSON", NOT_READ),
        [0xff, 0xd8, 0xff, ..] => ("this is a JPEG picture, not JSON", NOT_READ),
        _ if at(0, b"SQLite format 3\0") => ("this is an SQLite database, not JSON", NOT_READ),
        _ if at(257, b"ustar") => ("this is a tar archive, not JSON", UNPACK),
        _ => return None,
    })
}

/// Formats of text.
fn other_text(text: &[u8]) -> Option<Named> {
    let word = text.get(..64).unwrap_or(text).to_ascii_lowercase();
    let begins = |with: &[u8]| word.starts_with(with);
    if is_conflict(text) {
        return Some((CONFLICT, RESOLVE));
    }
    Some(match text {
        [b'<', ..] if begins(b"<!doctype html") || begins(b"<html") => (
            "this is an HTML page, not JSON",
            "a server may have sent a login or an error page in place of the file; fetch it again",
        ),
        [b'<', b'?' | b'!' | b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => (
            "this is XML, not JSON",
            "only FHIR's JSON is read; ask for it where the file comes from (`_format=json`), or convert it",
        ),
        [b'M', b'S', b'H', b'|', ..] => ("this is an HL7v2 message, not JSON", NOT_READ),
        _ if begins(b"version https://git-lfs.github.com/spec/") => (
            "this is a pointer of Git LFS, not the file itself",
            "fetch the file with `git lfs pull`",
        ),
        _ => return None,
    })
}

fn first_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', text) {
        Some(end) => text.split_at(end),
        None => (text, &[]),
    }
}

/// Tells whether a text is a mapping of YAML: `---`, or a name and a colon before anything that JSON could begin with.
fn is_yaml(text: &[u8]) -> bool {
    let (line, _) = first_line(text);
    let (_, line) = trim(line);
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = line.iter().take_while(|byte| name(byte)).count();
    let is_name = line.first().is_some_and(u8::is_ascii_alphabetic);
    let is_entry = is_name && matches!(line.get(length..), Some([b':'] | [b':', b' ' | b'\t', ..]));
    line == b"---" || line.starts_with(b"%YAML") || is_entry
}

/// Tells whether a text is a table: its first two lines have the same separators, as often, and neither begins as a value with names does.
fn is_table(text: &[u8]) -> bool {
    let begins_value = |line: &[u8]| matches!(line.first(), None | Some(b'{' | b'['));
    let (one, rest) = first_line(text);
    let (two, _) = first_line(rest.get(1..).unwrap_or_default());
    let (one, two) = (trim(one).1, trim(two).1);
    let separators = |line: &[u8], by: u8| memchr::memchr_iter(by, line).count();
    !begins_value(one)
        && !begins_value(two)
        && [b',', b';', b'\t', b'|'].into_iter().any(|by| {
            let columns = separators(one, by);
            columns > 0 && columns == separators(two, by)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(head: &[u8]) -> &'static str {
        named(head).map_or("-", |(what, _)| what)
    }

    #[test]
    fn what_is_plainly_something_else_is_named() {
        let padded = |offset: usize, magic: &[u8]| {
            let mut head = vec![0; offset];
            head[0] = b'a';
            head[1] = b'b';
            head.extend_from_slice(magic);
            head
        };
        for (head, expected) in [
            (&b"<<<<<<< HEAD\n{"[..], CONFLICT),
            (b"======= \n", CONFLICT),
            (b"\xff\xfe\0\0{\0\0\0", "the text is UTF-32"),
            (b"\0\0\xfe\xff\0\0\0{", "the text is UTF-32"),
            (b"{\0\0\0\"\0\0\0", "the text is UTF-32"),
            (b"\0\0\0{", "the text is UTF-32"),
            (b"\xff\xfe{\0", "the text is UTF-16"),
            (b"{\0\"\0", "the text is UTF-16"),
            (
                &padded(257, b"ustar\x0000"),
                "this is a tar archive, not JSON",
            ),
            (&padded(128, b"DICM"), "this is a DICOM file, not JSON"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
                "this is a pointer of Git LFS, not the file itself",
            ),
            (b"\x89PNG\r\n\x1a\n", "this is a PNG picture, not JSON"),
            (b"SQLite format 3\0", "this is an SQLite database, not JSON"),
            (b"<?xml version='1.0'?>", "this is XML, not JSON"),
            (b"\xef\xbb\xbf <Patient xmlns='x'>", "this is XML, not JSON"),
            (b"resourceType: Patient\nid: a\n", "this is YAML, not JSON"),
            (b"---\nresourceType: Patient\n", "this is YAML, not JSON"),
            (b"id,name\n1,A\n2,B\n", "this is a table (CSV), not JSON"),
            (
                b"\"id\";\"name\"\r\n\"1\";\"A\"\r\n",
                "this is a table (CSV), not JSON",
            ),
            (b"1\tA\n2\tB\n", "this is a table (CSV), not JSON"),
        ] {
            assert_eq!(word(head), expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn what_may_be_json_is_read_as_json() {
        for head in [
            &b""[..],
            b"{\"a\":1,\n\"b\":2}",
            b"[1,\n2,\n3]",
            b"{\"a\":1}\n{\"a\":2}\n",
            b"{'a': 1,\n'b': 2}",
            b"\"a\"",
            b"null\nnull\n",
            b"1\n2\n",
            b"< less",
            b"{\"a\"\0\0\0",
            b"\0\0\0\0",
            b"\x1e{\"a\":1}\n",
            b"http://example.org/x",
            // A line that is wrong takes nothing from those after it.
            b"0,,\n\xef\xbb\xbf{\"a\":1}",
            b"a,b\nc,d\n  {\"a\":1}\n",
            b"id: a\n{\"a\":1}\n",
            // A mark of another length is none.
            b"==========\n",
        ] {
            assert_eq!(word(head), "-", "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_conflict_within_a_file_is_named_where_it_stands() {
        let error = |offset| SyntaxError {
            offset,
            what: "expected a member name in quotes",
            path: String::new(),
        };
        let text = b"{\"id\":\"a\",\n<<<<<<< HEAD\n";
        let mut at = error(10);
        assert_eq!(conflict(&mut at, text), None);
        let mut at = error(11);
        assert_eq!(
            (conflict(&mut at, text), at.what),
            (Some(RESOLVE), CONFLICT)
        );
    }
}
