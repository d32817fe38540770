//! The forms in which records stand in files.

use super::*;

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
