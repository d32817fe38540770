//! Streams, and how much of them is read and kept.

use super::*;

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
