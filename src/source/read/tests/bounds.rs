//! Streams, and how much of them is read and kept.

use super::*;
use crate::{
    fhir::bundle::{BundleEntries, Outline},
    record::ReasonCode,
    source::chunks::{ChunkReader, TextChunk},
};

#[test]
fn standard_input_is_told_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path(), 1 << 20).unwrap();
    let source = SourceFile {
        id: SourceId(7),
        origin: Origin::Stdin,
        form: Form::Either,
    };
    let read = |bytes: &[u8]| {
        let mut seen = Seen::default();
        let mut visit = |item: Item<'_>| {
            seen.item(&item);
            ControlFlow::Continue(())
        };
        let mut sink = ItemEmitter::new(SourceId(7), &mut visit);
        let messages = crate::manifest::MessageSettings::default();
        let how = How {
            messages: &messages,
            spool: Some(&spool),
            ceiling: Ceiling::Any,
            only_a_glance: false,
        };
        let reading = from_stream(&source, &mut &bytes[..], how, &mut sink).unwrap();
        assert_eq!(reading.fingerprint.unwrap().stamp.size, bytes.len() as u64);
        seen.items
    };
    let lines = b"{\"id\":\"1\"}\n\n{\"id\":\"2\"}\n";
    assert_eq!(read(lines), ["0 1 line 1", "1 2 line 3"]);
    assert_eq!(read(&gzip(lines)), ["0 1 line 1", "1 2 line 3"]);
    assert_eq!(read(b"{\"id\":\n\"1\"}\n"), ["0 1 line 1"]);
    assert!(read(b"{\"id\":\n\"1\"}\n{}")[0].starts_with("0 expected the end"));
    assert!(read(b"{} {}")[0].starts_with("0 expected the end"));
    // Nothing is nothing wrong, as in an empty file of lines.
    assert!(read(b"").is_empty() && read(b" \n\n").is_empty());
    assert_eq!(read(b"\xef\xbb\xbf{\"id\":\"1\"}"), ["0 1 line 1"]);
}

#[test]
fn a_visitor_stops_the_reading() {
    let folder = tempfile::tempdir().unwrap();
    let source = file(folder.path(), "a.ndjson", b"{}\n{}\n");
    let mut count = 0;
    let reading = read(&source, None, Ceiling::Any, &mut |_| {
        count += 1;
        ControlFlow::Break(())
    });
    assert_eq!((count, reading.unwrap().fingerprint), (1, None));
}

#[test]
fn a_line_without_end_is_not_kept() {
    // Made as it is read: the test does not need as much memory as the line has.
    let line = io::repeat(b' ').take(2 * crate::source::LARGEST_RECORD as u64);
    let text = io::Cursor::new("{\"a\":\"")
        .chain(line)
        .chain(io::Cursor::new("\"}\n{\"id\":\"2\"}"));
    let mut seen = Vec::new();
    let mut visit = |item: Item<'_>| {
        seen.push(match item {
            Item::Malformed(wrong) => wrong.problem.what.to_owned(),
            Item::Record(found) => format!("line {}", found.position.line),
            _ => String::new(),
        });
        ControlFlow::Continue(())
    };
    let mut sink = ItemEmitter::new(SourceId(7), &mut visit);
    let mut feed = StreamReader::new(text, 1 << 20);
    ndjson::read(&mut feed, End::Whole, Ceiling::Any, &mut sink).unwrap();
    assert_eq!(seen, [Ceiling::Any.words(), "line 2"]);
}

/// An entry that is too large is passed over, and the others are read.
#[test]
fn an_entry_that_the_target_will_not_take_is_not_kept() {
    const CEILING: Ceiling = Ceiling::Limited(4 << 20);
    for kind in ["transaction", "batch", "collection"] {
        let text = || {
            let front = format!(
                "{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[\n{{\"resource\":{{\"id\":\"1\"}}}},\n {{\"resource\":{{\"data\":\""
            );
            io::Cursor::new(front.into_bytes())
                .chain(io::repeat(b'A').take(20 << 20))
                .chain(io::Cursor::new("\"}},\n{\"resource\":{\"id\":\"3\"}}]}"))
        };
        let mut seen = Vec::new();
        let mut visit = |item: Item<'_>| {
            match item {
                Item::Malformed(wrong) => {
                    let position = wrong.position;
                    assert_eq!(wrong.code(), ReasonCode::TooLarge);
                    assert_eq!((wrong.line, wrong.column), (3, 2));
                    assert!(position.span.length > 20 << 20);
                    seen.push((position.entry, position.line));
                }
                Item::Record(found) => seen.push((found.position.entry, found.position.line)),
                _ => {}
            }
            ControlFlow::Continue(())
        };
        let mut sink = ItemEmitter::new(SourceId(7), &mut visit);
        let mut feed = StreamReader::new(text(), PIECE);
        let (held, again) = (std::cell::Cell::new(0), text);
        let second = || Ok(Box::new(Held(StreamReader::new(again(), PIECE), &held)) as Box<_>);
        json::large(&mut feed, &second, CEILING, &mut sink).unwrap();
        assert_eq!(seen, [(Some(0), 2), (Some(1), 3), (Some(2), 4)], "{kind}");
        let held = held.get().max(feed.held());
        assert!((1..12 << 20).contains(&held), "{kind}: {held}");
    }
}

/// Takes note of the memory that a reader has taken.
struct Held<'h, R>(StreamReader<R>, &'h std::cell::Cell<usize>);

impl<R: io::Read> ChunkReader for Held<'_, R> {
    fn piece(&mut self, from: u64) -> io::Result<TextChunk<'_>> {
        self.1.set(self.1.get().max(self.0.held()));
        self.0.piece(from)
    }
}

/// A Bundle on one line is read in a time that grows with its length: what is begun of a long string is done with.
#[test]
fn a_long_string_is_not_read_again_with_each_piece() {
    let text = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{{\"x\":\"{}\\u00e9é\"}}]}}",
        "é\\n".repeat(1 << 20)
    );
    let text = text.as_bytes();
    let mut outline = Outline::new(BundleEntries::Kept);
    let (mut done, mut given, mut end) = (0, 0, 0);
    while end < text.len() {
        end = (end + 1000).min(text.len());
        given += end - done;
        let read = outline.read(&text[done..end], done as u64, end == text.len());
        done = usize::try_from(read.unwrap()).unwrap();
    }
    assert!(given < 2 * text.len(), "{given} of {}", text.len());
    assert_eq!(outline.count(), 1);
    let entries: Vec<_> = outline.entries().collect();
    let whole =
        &text[usize::try_from(entries[0].0).unwrap()..usize::try_from(entries[0].1).unwrap()];
    assert!(whole.starts_with(b"{\"x\"") && whole.ends_with(b"\"}"));
}

#[test]
fn what_the_target_will_not_take_is_not_kept() {
    for (front, expected) in [
        (
            "{\"resourceType\":\"Binary\",\"data\":\"",
            Ceiling::Limited(4 << 20).words(),
        ),
        // The entries of a Bundle go one by one, so it may be larger.
        ("{\"resourceType\":\"Bundle\",\"x\":\"", "a Bundle"),
    ] {
        for form in [Form::Ndjson, Form::Json] {
            let text = || {
                io::Cursor::new(front)
                    .chain(io::repeat(b'A').take(20 << 20))
                    .chain(io::Cursor::new("\"}"))
            };
            let mut seen = Vec::new();
            let mut visit = |item: Item<'_>| {
                match item {
                    Item::Malformed(wrong) => seen.push(wrong.problem.what),
                    Item::BundleStart(_) => seen.push("a Bundle"),
                    _ => {}
                }
                ControlFlow::Continue(())
            };
            let mut sink = ItemEmitter::new(SourceId(7), &mut visit);
            let mut feed = StreamReader::new(text(), PIECE);
            match form {
                Form::Ndjson => {
                    ndjson::read(&mut feed, End::Whole, Ceiling::Limited(4 << 20), &mut sink)
                }
                _ => json::large(
                    &mut feed,
                    &|| Ok(Box::new(StreamReader::new(text(), PIECE))),
                    Ceiling::Limited(4 << 20),
                    &mut sink,
                ),
            }
            .unwrap();
            assert_eq!(seen, [expected], "{form:?}");
            if expected != "a Bundle" {
                assert!(feed.held() < 20 << 20, "{form:?}: {}", feed.held());
            }
        }
    }
}
