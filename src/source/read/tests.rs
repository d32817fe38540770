use std::io::Write as _;

use super::*;
use crate::{
    record::{Position, SourceId},
    source::BundleKind,
};

/// What a source came to, in words that tests can compare.
#[derive(Debug, Default, PartialEq, Clone)]
struct Seen {
    items: Vec<String>,
    spans: Vec<(Position, Vec<u8>)>,
}

impl Seen {
    fn item(&mut self, item: &Item<'_>) {
        self.items.push(match item {
            Item::Facets(_) | Item::Remark(_) => panic!("{item:?}"),
            Item::Record(found) => {
                let span = found.position.span;
                match found.entry {
                    Some(entry) => {
                        self.spans.push((found.position, entry.bytes.to_vec()));
                        if let Some(resource) = entry.resource {
                            let position = Position {
                                span: resource,
                                ..found.position
                            };
                            self.spans.push((position, found.bytes.to_vec()));
                        }
                    }
                    None => self.spans.push((found.position, found.bytes.to_vec())),
                }
                assert_eq!(
                    span.length,
                    self.spans
                        .iter()
                        .rev()
                        .find(|(p, _)| p.span == span)
                        .unwrap()
                        .1
                        .len() as u64
                );
                let id = found
                    .scanned
                    .id
                    .map_or_else(|| "-".into(), |id| id.text(found.bytes));
                let entry = found
                    .position
                    .entry
                    .map_or(String::new(), |entry| format!(" entry {entry}"));
                format!(
                    "{} {id} line {}{entry}",
                    found.position.index, found.position.line
                )
            }
            Item::BundleStart(start) => format!(
                "{} {:?} {} line {}",
                start.ordinal, start.kind, start.entries, start.line
            ),
            Item::BundleEnd => "end".to_owned(),
            Item::Malformed(wrong) => format!(
                "{} {} at {}:{} {}{}",
                wrong.position.index,
                wrong.problem.what,
                wrong.line,
                wrong.column,
                wrong.problem.path,
                wrong
                    .hint
                    .map_or(String::new(), |hint| format!(" ({hint})"))
            ),
        });
    }
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> SourceFile {
    let path = folder.join(name);
    fs_err::write(&path, bytes).unwrap();
    SourceFile {
        id: SourceId(7),
        form: Form::of(&path),
        origin: Origin::File(path),
    }
}

fn read_all(file: &SourceFile, spool: Option<&Spool>) -> (Seen, Result<Reading, Error>) {
    let mut seen = Seen::default();
    let reading = read(file, spool, Ceiling::Any, &mut |item| {
        seen.item(&item);
        ControlFlow::Continue(())
    });
    (seen, reading)
}

fn items(name: &str, text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (seen, reading) = read_all(&file(folder.path(), name, text.as_bytes()), None);
    let reading = reading.unwrap();
    for (position, bytes) in &seen.spans {
        let start = usize::try_from(position.span.start).unwrap();
        assert_eq!(&text.as_bytes()[start..][..bytes.len()], bytes);
    }
    assert_eq!(reading.fingerprint.unwrap().stamp.size, text.len() as u64);
    seen.items
}

const BUNDLE: &str = "\n{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\n\"entry\":[{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"id\":\"a\"}},\n
 {\"resource\":{\"id\":\"é\"}, \"request\":{\"method\":\"PUT\"}},\t{\"request\":{\"method\":\"DELETE\"}},5,{\"resource\":{\"id\":1,\"id\":2}}]}\n";

#[test]
fn a_bundle_is_cut_into_entries_with_lines() {
    assert_eq!(
        items("b.json", BUNDLE),
        [
            "0 Transaction 5 line 2",
            "0 a line 3 entry 0",
            "1 é line 5 entry 1",
            "2 - line 5 entry 2",
            "3 the entry is not an object at 5:87 Resource",
            "4 `id` occurs twice at 5:109 Resource.id",
            "end"
        ]
    );
}

#[test]
fn ndjson_bears_what_files_hold() {
    let text = "\u{feff}{\"id\":\"1\"}\r\n\n  {\"id\":\"2\"} \n[1]\n{\"id\":\"3\"\n{\"resourceType\":\"Bundle\",\"type\":\"x\",\"entry\":[{\"resource\":{\"id\":\"4\"}}]}\n{\"id\":\"5\"}";
    assert_eq!(
        items("a.ndjson", text),
        [
            "0 1 line 1",
            "1 2 line 3",
            "2 not a JSON object at 4:1 Resource",
            "3 the text ends too early at 5:10 Resource.id",
            "0 Other 1 line 6",
            "4 4 line 6 entry 0",
            "end",
            "5 5 line 7"
        ]
    );
    assert!(items("a.jsonl", "\n\n").is_empty());
}

#[test]
fn a_json_file_holds_one_object() {
    assert_eq!(
        items("a.json", "\u{feff}\n {\"id\":\"1\"}\n"),
        ["0 1 line 2"]
    );
    assert_eq!(
        items("a.json", " \n"),
        ["0 the file is empty at 1:1 Resource"]
    );
    assert_eq!(items("a.json", ""), ["0 the file is empty at 1:1 Resource"]);
    assert_eq!(
        items("a.json", "{\"id\":\"1\"}\n{\"id\":\"2\"}"),
        [
            "0 expected the end after the value at 2:1 Resource (name the file .ndjson if it holds one resource a line)"
        ]
    );
    assert_eq!(
        items("a.json", "{\"resourceType\":\"Bundle\",\"entry\":{}}"),
        ["0 `entry` is not an array at 1:34 Bundle.entry"]
    );
    assert!(items("a.json", "[{}]")[0].starts_with("0 not a JSON object at 1:1"));
}

#[test]
fn utf_16_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.json", "a.ndjson"] {
        for bytes in [
            &b"\xff\xfe{\0}\0"[..],
            b"\xfe\xff\0{\0}",
            b"{\0}\0",
            b"\0{\0}",
        ] {
            let (seen, _) = read_all(&file(folder.path(), name, bytes), None);
            assert!(seen.items[0].contains("the text is UTF-16"), "{seen:?}");
            assert_eq!(seen.items.len(), 1);
        }
    }
}

/// Reads a text through the readers of large files, in pieces of a size.
fn in_pieces(text: &[u8], form: Form, size: usize) -> Seen {
    let mut seen = Seen::default();
    let mut visit = |item: Item<'_>| {
        seen.item(&item);
        ControlFlow::Continue(())
    };
    let mut sink = Sink::new(SourceId(7), &mut visit);
    let mut feed = StreamFeed::new(text, size);
    match form {
        Form::Ndjson => ndjson::read(&mut feed, End::Whole, Ceiling::Any, &mut sink),
        _ => json::large(
            &mut feed,
            &|| Ok(Box::new(StreamFeed::new(text, size))),
            Ceiling::Any,
            &mut sink,
        ),
    }
    .unwrap();
    seen
}

#[test]
fn pieces_of_any_size_yield_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut texts: Vec<String> = [
        BUNDLE,
        "",
        " \n ",
        "\u{feff}{\"id\":\"é\\u00e9\",\"n\":[1,-2.5e+10,true,null]}",
        "\n{\"resourceType\":\"Bundle\",\"entry\":[]}",
        "{\"resourceType\":\"Bundle\",\"entry\":5}",
        "{\"entry\":[{\"resource\":{}}],\"resourceType\":\"Bundle\",\"x\":tru}",
        "{\"entry\":[{\"resource\":{}}],\"resourceType\":\"Bundle\"} x",
        "{}{}",
        "[1]",
        "1",
        "{\"a\":\"é\n\"}",
    ]
    .map(str::to_owned)
    .to_vec();
    // Cut anywhere, too: of such a Bundle nothing may be yielded.
    // (Of white space at the end, the place of what is missing may be either side.)
    texts.extend(
        BUNDLE
            .char_indices()
            .map(|(at, _)| BUNDLE[..at].trim_end().to_owned()),
    );
    for text in texts {
        for (name, form) in [("a.json", Form::Json), ("a.ndjson", Form::Ndjson)] {
            let (expected, _) = read_all(&file(folder.path(), name, text.as_bytes()), None);
            for size in 1..=16 {
                let seen = in_pieces(text.as_bytes(), form, size);
                assert_eq!(seen, expected, "{form:?} in pieces of {size}: {text}");
            }
        }
    }
}

#[test]
fn a_large_bundle_is_streamed_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut text =
        String::from("{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[\n");
    let count = 12_000;
    for number in 0..count {
        let comma = if number == 0 { "" } else { ",\n" };
        let data = "x".repeat(1000);
        let entry = format!(
            "{comma}{{\"resource\":{{\"resourceType\":\"Basic\",\"id\":\"{number}\",\"d\":\"{data}\"}}}}"
        );
        text.push_str(&entry);
    }
    text.push_str("]}");
    let source = file(folder.path(), "large.json", text.as_bytes());
    let mut spans = Vec::new();
    let mut kind = None;
    let reading = read(&source, None, Ceiling::Any, &mut |item| {
        match item {
            Item::Record(found) => {
                assert_eq!(found.position.line, spans.len() as u64 + 2);
                spans.push((found.entry.unwrap().resource.unwrap(), found.bytes.to_vec()));
            }
            Item::BundleStart(start) => kind = Some((start.kind, start.entries)),
            Item::BundleEnd => {}
            Item::Facets(_) | Item::Remark(_) => panic!("{item:?}"),
            Item::Malformed(wrong) => panic!("{wrong:?}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(kind, Some((BundleKind::Collection, count)));
    assert_eq!(
        (reading.records, reading.bytes),
        (u64::from(count), text.len() as u64)
    );
    let bodies = crate::source::Bodies::new(vec![(source.id, reading.plain.unwrap())]);
    for (span, bytes) in spans {
        assert_eq!(bodies.read(source.id, span).unwrap(), bytes);
    }
    // Cut, it yields nothing but that.
    let cut = file(
        folder.path(),
        "cut.json",
        &text.as_bytes()[..text.len() - 1],
    );
    let (seen, reading) = read_all(&cut, None);
    assert_eq!(seen.items.len(), 1);
    assert!(
        seen.items[0].starts_with("0 the text ends too early at 12001:"),
        "{seen:?}"
    );
    assert_eq!(reading.unwrap().malformed, 1);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_sources_read_as_plain_ones() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 20).unwrap();
    let lines = "{\"id\":\"1\"}\n{\"id\":\"2\"}\n";
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let cases = [
        ("a.ndjson.gz", gzip(lines.as_bytes()), None),
        ("a.ndjson.zst", zstd.clone(), None),
        ("b.ndjson.gz", lines.as_bytes().to_vec(), Some("is not")),
        ("c.ndjson.gz", zstd, Some("another way")),
        ("b.ndjson", gzip(lines.as_bytes()), Some("another way")),
    ];
    for (name, bytes, note) in cases {
        let source = file(folder.path(), name, &bytes);
        for spool in [None, Some(&spool)] {
            let (seen, reading) = read_all(&source, spool);
            assert_eq!(seen.items, ["0 1 line 1", "1 2 line 2"], "{name}");
            let reading = reading.unwrap();
            assert_eq!((reading.records, reading.bytes), (2, lines.len() as u64));
            assert_eq!(reading.fingerprint.unwrap().stamp.size, bytes.len() as u64);
            assert_eq!(reading.note.is_some(), note.is_some());
            if let Some(path) = reading.plain {
                let mut plain = Vec::new();
                fs_err::File::open(path)
                    .unwrap()
                    .read_to_end(&mut plain)
                    .unwrap();
                assert_eq!(plain, lines.as_bytes());
            }
        }
    }
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(spool.folder()), mode(&spool.path(SourceId(7)))),
        (0o700, 0o600)
    );
    let bundle = file(folder.path(), "b.json.gz", &gzip(BUNDLE.as_bytes()));
    assert_eq!(read_all(&bundle, None).0, read_all(&bundle, Some(&spool)).0);
}

#[test]
fn cut_compressed_sources_keep_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 30).unwrap();
    let lines: Vec<String> = (0..50_000_u64)
        .map(|n| format!("{{\"id\":\"{}\"}}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let lines = lines.concat();
    let whole = gzip(lines.as_bytes());
    let cut = &whole[..whole.len() / 2];
    let source = file(folder.path(), "a.ndjson.gz", cut);
    let mut told = Vec::new();
    for spool in [None, Some(&spool)] {
        let (mut seen, reading) = read_all(&source, spool);
        let reading = reading.unwrap();
        // What is there of the file stays the same file.
        assert_eq!(reading.fingerprint.unwrap().stamp.size, cut.len() as u64);
        assert_eq!(reading.malformed, 1);
        assert!(reading.records > 10_000);
        let last = seen.items.pop().unwrap();
        assert_eq!(seen.items.len() as u64, reading.records);
        let line = format!(
            "{0} the gzip data is cut here at {1}:",
            reading.records,
            reading.records + 1
        );
        assert!(
            last.starts_with(&line) && last.contains("fetch the file again"),
            "{last}"
        );
        assert!(lines.starts_with(std::str::from_utf8(&seen.spans[0].1).unwrap()));
        told.push((seen.items, last));
    }
    assert_eq!(told[0], told[1]);
    let small = Spool::new(folder.path().join("small"), 100).unwrap();
    let source = file(folder.path(), "a.ndjson.gz", &whole);
    assert!(matches!(
        read_all(&source, Some(&small)).1.unwrap_err().kind,
        Kind::SpoolFull { cap: 100 }
    ));
}

#[test]
fn a_damaged_file_is_told_and_nothing_of_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 20).unwrap();
    let lines = "{\"id\":\"1\"}\n".repeat(1000);
    let mut spoilt = gzip(lines.as_bytes());
    let length = spoilt.len();
    spoilt[length - 6] ^= 1;
    let mut gone = file(folder.path(), "gone.ndjson", b"{}");
    let Origin::File(path) = &gone.origin else {
        panic!("{gone:?}");
    };
    fs_err::remove_file(path).unwrap();
    gone.id = SourceId(8);
    let cases = [
        (
            file(folder.path(), "a.json.gz", &gzip(BUNDLE.as_bytes())[..60]),
            "0 the gzip data is cut here at 1:1",
        ),
        (
            file(folder.path(), "b.ndjson.gz", b""),
            "0 the gzip data is cut here at 1:1",
        ),
        (
            file(folder.path(), "c.ndjson.gz", &spoilt),
            "0 the gzip data is spoilt at 1:1",
        ),
        (gone, "0 the file is not there any more at 1:1"),
        (
            SourceFile {
                id: SourceId(9),
                origin: Origin::File(folder.path().to_owned()),
                form: Form::Ndjson,
            },
            "0 the file cannot be read",
        ),
    ];
    for (source, expected) in cases {
        for spool in [None, Some(&spool)] {
            let (seen, reading) = read_all(&source, spool);
            assert_eq!(seen.items.len(), 1, "{seen:?}");
            assert!(seen.items[0].starts_with(expected), "{seen:?}");
            assert!(seen.items[0].contains(" ("), "no hint: {seen:?}");
            assert_eq!(reading.unwrap().malformed, 1);
        }
    }
}

#[test]
fn what_is_called_json_and_is_not_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.json", "a.ndjson"] {
        for (bytes, what) in [
            (&b"<?xml version=\"1.0\"?>\n<Patient/>"[..], "XML"),
            (
                b"\xef\xbb\xbf <Patient xmlns=\"http://hl7.org/fhir\">",
                "XML",
            ),
            (b"\n<!DOCTYPE HTML><title>Sign in</title>\n", "an HTML page"),
            (b"PK\x03\x04....", "a ZIP archive"),
            (b"BZh91AY", "compressed"),
            (b"MSH|^~\\&|", "an HL7v2 message"),
        ] {
            let (seen, _) = read_all(&file(folder.path(), name, bytes), None);
            assert_eq!(seen.items.len(), 1, "{seen:?}");
            assert!(
                seen.items[0].contains(&format!("this is {what}")),
                "{seen:?}"
            );
        }
    }
}

const OVER_LINES: &str = "the JSON runs over several lines, where NDJSON holds one value a line";

/// The items of NDJSON without hints, however it is cut into pieces.
fn lines_of(text: &str) -> Vec<String> {
    let whole = items("a.ndjson", text);
    for size in [1, 2, 3, 7, 16, 64] {
        let pieces = in_pieces(text.as_bytes(), Form::Ndjson, size);
        assert_eq!(pieces.items, whole, "in pieces of {size}");
    }
    whole
        .into_iter()
        .map(|item| item.split(" (").next().unwrap().to_owned())
        .collect()
}

#[test]
fn marks_of_files_that_were_put_together_lose_no_line() {
    let text = "\u{feff}{\"id\":\"1\"}\n\u{feff}{\"id\":\"2\"}\n \u{feff} {\"id\":\"3\"}\u{feff}{\"id\":\"é\u{feff}4\"} \u{feff}{\"id\":\"5\"}\n\u{feff}\n";
    assert_eq!(
        lines_of(text),
        [
            "0 1 line 1",
            "1 2 line 2",
            "2 3 line 3",
            "3 é\u{feff}4 line 3",
            "4 5 line 3"
        ]
    );
}

#[test]
fn json_over_several_lines_is_told_once() {
    let told = |index: u32, line: u32| format!("{index} {OVER_LINES} at {line}:1 Resource");
    let pretty = "{\n \"resourceType\": \"Patient\",\n \"name\": [\n  {\n   \"family\": \"a\"\n  }\n ],\n \"id\": \"1\"\n}\n";
    let good = "{\"resourceType\":\"Patient\",\"id\":\"g\"}\n";
    assert_eq!(lines_of(&pretty.repeat(3)), [told(0, 1)]);
    // Lines that are right among them are read.
    assert_eq!(
        lines_of(&[good, pretty, "\n", pretty, good, pretty].concat()),
        [
            "0 g line 1".to_owned(),
            told(1, 2),
            "2 g line 21".to_owned(),
            told(3, 22)
        ]
    );
    // An array of elements, one a line, and one that is closed on its last line.
    assert_eq!(
        lines_of("[\n{\"id\":\"1\"},\n{\"id\":\"2\"}\n]\n"),
        [told(0, 1)]
    );
    assert_eq!(
        lines_of("[{\"id\":\"1\"},\n{\"id\":\"2\"}]\n"),
        [told(0, 1)]
    );
    // With commas between the values, or with something wrong in one, it is still one thing.
    assert_eq!(
        lines_of(&pretty.replace("\n}\n", "\n},\n").repeat(2)),
        [told(0, 1)]
    );
    let wrong = pretty.replace("\"a\"", "oops");
    assert_eq!(
        lines_of(&[&wrong, good, pretty].concat()),
        [told(0, 1), "1 g line 10".to_owned(), told(2, 11)]
    );
    assert_eq!(lines_of(&pretty[..pretty.len() - 4]), [told(0, 1)]);
}

#[test]
fn a_cut_line_takes_no_other_with_it() {
    let good = "{\"resourceType\":\"Patient\",\"id\":\"g\"}\n";
    for cut in [
        "{\"resourceType\":\"Patient\",\"id\":\n",
        "{\"resourceType\":\"Patient\",\n",
        "{\"a\":[1,\n",
        "{\"a\":[\n",
        "{\n",
        "[\n",
    ] {
        let seen = lines_of(&[good, cut, good, good].concat());
        assert_eq!(seen.len(), 4, "{cut}: {seen:?}");
        assert!(
            !seen[1].contains(OVER_LINES) || cut.starts_with('['),
            "{seen:?}"
        );
        assert_eq!(seen[2..], ["2 g line 3", "3 g line 4"], "{cut}");
        // At the end, too.
        let seen = lines_of(&[good, cut].concat());
        assert_eq!(seen.len(), 2, "{cut}: {seen:?}");
    }
}

#[test]
fn what_is_wrong_between_values_is_named() {
    for (text, expected) in [
        (
            "{\"id\":\"1\"},\n",
            "0 a comma stands after the value at 1:11",
        ),
        (
            "{\"id\":\"1\"}{\"id\":\"2\"}\n",
            "0 a second value stands on the line at 1:11",
        ),
        (
            "{\"id\":\"1\"}\r{\"id\":\"2\"}\r",
            "0 a carriage return alone stands between two values at 1:12",
        ),
        (
            "\u{1e}{\"id\":\"1\"}\n",
            "0 a record separator stands before the value at 1:1",
        ),
    ] {
        let seen = items("a.ndjson", text);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(
            seen[0].starts_with(expected) && seen[0].contains(" ("),
            "{seen:?}"
        );
    }
}

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
        let mut sink = Sink::new(SourceId(7), &mut visit);
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
    let mut sink = Sink::new(SourceId(7), &mut visit);
    let mut feed = StreamFeed::new(text, 1 << 20);
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
            let mut sink = Sink::new(SourceId(7), &mut visit);
            let mut feed = StreamFeed::new(text(), PIECE);
            match form {
                Form::Ndjson => {
                    ndjson::read(&mut feed, End::Whole, Ceiling::Limited(4 << 20), &mut sink)
                }
                _ => json::large(
                    &mut feed,
                    &|| Ok(Box::new(StreamFeed::new(text(), PIECE))),
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
