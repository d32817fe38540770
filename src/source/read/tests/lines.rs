//! Mistakes between values, which take nothing else with them.

use super::*;

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
