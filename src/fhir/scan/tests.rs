use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::fhir;

fn scan(text: &str) -> Result<Scanned, SyntaxError> {
    Scanner::new().scan(text.as_bytes()).cloned()
}

fn texts(text: &str, parts: impl IntoIterator<Item = TextRange>) -> Vec<String> {
    parts
        .into_iter()
        .map(|part| part.text(text.as_bytes()).into_owned())
        .collect()
}

#[test]
fn what_matters_is_found_with_its_place() {
    let text = r##" {"resourceType":"Patient","id":"p\u002d1","identifier":[{"system":"s","value":"v",
        "assigner":{"reference":"Organization/1","value":"no"}},{"value":"w"}],
        "contained":[{"resourceType":"Organization","id":"o","x":{"id":"no","reference":"Patient/2"}},{"id":"q"}],
        "text":{"status":"generated","div":"<div><a href=\"#o\">x</a></div>"},
        "extension":[{"valueReference":{"reference":"Device/1"}}],
        "name":[{"id":"no","text":"no","extension":{"value":{"reference":"Device/2"}}}],
        "managingOrganization":{"reference":"#o"},"generalPractitioner":[{"refer\u0065nce":"Practitioner\/1"}],
        "reference":{"reference":5}} "##;
    let found = scan(text).unwrap();
    assert_eq!(texts(text, found.resource_type), ["Patient"]);
    assert_eq!(texts(text, found.id), ["p-1"]);
    assert!(found.is(text.as_bytes(), "Patient"));
    assert_eq!(
        texts(text, found.identifiers.iter().filter_map(|i| i.system)),
        ["s"]
    );
    assert_eq!(
        texts(text, found.identifiers.iter().filter_map(|i| i.value)),
        ["v", "w"]
    );
    assert_eq!(texts(text, found.contained.clone()), ["o", "q"]);
    let references: Vec<_> = found
        .references
        .iter()
        .map(|r| {
            let name = r.part.text(text.as_bytes()).into_owned();
            (name, r.in_extension, r.in_contained)
        })
        .collect();
    let expected = [
        ("Organization/1", false, false),
        ("Patient/2", false, true),
        ("Device/1", true, false),
        ("Device/2", true, false),
        ("#o", false, false),
        ("Practitioner/1", false, false),
    ];
    assert_eq!(
        references,
        expected.map(|(name, extension, contained)| (name.to_owned(), extension, contained))
    );
    assert!(found.div_links);
    assert_eq!(found.whole.of(text.as_bytes()), text.trim().as_bytes());
    assert_eq!(
        path::of(text.as_bytes(), found.references[5].part.start),
        "Patient.generalPractitioner[0].reference"
    );
}

#[test]
fn an_identifier_may_be_a_single_object_and_strings_only_count() {
    let text = r#"{"resourceType":5,"id":["x"],"identifier":{"system":"s","value":1},"contained":{"id":"c"}}"#;
    let found = scan(text).unwrap();
    assert_eq!((found.resource_type, found.id), (None, None));
    assert_eq!(found.identifiers.len(), 1);
    assert_eq!(found.identifiers[0].value, None);
    assert_eq!(texts(text, found.contained), ["c"]);
}

#[test]
fn a_scanner_forgets_the_record_before() {
    let mut scanner = Scanner::new();
    scanner
        .scan(br#"{"resourceType":"A","id":"1","x":{"reference":"B/1"}}"#)
        .unwrap();
    scanner.scan(br#"{"resourceType":"#).unwrap_err();
    assert_eq!(
        scanner.scan(b"{}").unwrap(),
        &Scanned {
            whole: TextRange { start: 0, end: 2 },
            ..Scanned::default()
        }
    );
}

#[test]
fn problems_are_named_with_place_and_path() {
    let problem = |text: &str| scan(text).unwrap_err().to_string();
    insta::assert_snapshot!(problem(r#"{"resourceType":"Patient","name":[{"given":["A" "B"]}]}"#), @"expected `,` or `]` (byte 48, at Patient.name[0].given[0])");
    insta::assert_snapshot!(problem(r#"{"resourceType":"Patient","id":"1","id":"2"}"#), @"`id` occurs twice (byte 35, at Patient.id)");
    insta::assert_snapshot!(problem(r#"{"a":{"reference":"x","b":1,"reference":"y"}}"#), @"`reference` occurs twice (byte 28, at Resource.a.b)");
    insta::assert_snapshot!(problem(r#"{"a":1"#), @"the text ends too early (byte 6, at Resource.a)");
    insta::assert_snapshot!(problem(r#"{"a":"1"#), @"the string is not closed (byte 7, at Resource.a)");
    insta::assert_snapshot!(problem(r#"{"a":01}"#), @"a number may not begin with 0 (byte 6, at Resource.a)");
    insta::assert_snapshot!(problem(r#"{"a":"\ud800"}"#), @r"a `\u` escape of half a surrogate pair (byte 6, at Resource.a)");
    insta::assert_snapshot!(problem("[{}]"), @"not a JSON object (byte 0, at Resource)");
    insta::assert_snapshot!(problem("{} {}"), @"expected the end after the value (byte 3, at Resource)");
    insta::assert_snapshot!(problem(""), @"the text ends too early (byte 0, at Resource)");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(scan(&nested(MAX_DEPTH - 1)).is_ok());
    let error = scan(&nested(MAX_DEPTH)).unwrap_err();
    assert_eq!(error.what, "nested deeper than 256 levels");
    let shown = format!("Resource.a{}…{}", "[0]".repeat(11), "[0]".repeat(12));
    assert_eq!(error.path, shown);
    assert!(scan(&"[".repeat(1_000_000)).is_err());
}

/// All string members `reference`, as a walk over parsed JSON finds them.
fn walk(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "reference" => found.push(text.clone()),
                    _ => walk(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
        _ => {}
    }
}

fn json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("reference".to_owned()),
        Just("id".to_owned()),
        Just("resourceType".to_owned()),
        Just("identifier".to_owned()),
        Just("extension".to_owned()),
        Just("contained".to_owned()),
        "[a-z\"\\\\é\u{1}]{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    value.prop_map(|value| serde_json::json!({ "resourceType": "Basic", "x": value }))
}

/// Tells whether a scan may refuse a text for this reason though serde accepts it.
fn is_stricter(what: &str) -> bool {
    what.ends_with("occurs twice") || what.starts_with("nested deeper") || what == NOT_AN_OBJECT
}

proptest! {
    #[test]
    fn references_are_those_that_a_parser_finds(value in json(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let found = scan(&text).unwrap();
        let mut expected = Vec::new();
        walk(&value, &mut expected);
        let mut references = texts(&text, found.references.iter().map(|r| r.part));
        references.sort();
        expected.sort();
        prop_assert_eq!(references, expected);
    }

    #[test]
    fn validity_agrees_with_serde_on_mutated_json(
        value in json(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut text = value.to_string().into_bytes();
        for (at, byte, kind) in edits {
            if text.is_empty() { break; }
            let at = at.index(text.len());
            let marks = b"{}[]\",:\\ue0-.19tfn \n\x00\xc3";
            let mark = marks[usize::from(byte) % marks.len()];
            match kind {
                0 => { text.remove(at); }
                1 => text.insert(at, mark),
                2 => text[at] = mark,
                _ => text[at] = byte,
            }
        }
        let serde = serde_json::from_slice::<Value>(&text);
        let mut scanner = Scanner::new();
        match scanner.scan(&text) {
            Ok(_) => prop_assert!(serde.is_ok(), "{:?}", serde),
            Err(error) => {
                prop_assert!(serde.is_err() || is_stricter(error.what), "{}", error);
                prop_assert!(error.offset <= text.len());
            }
        }
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Scanner::new().scan(&bytes);
        let _ = fhir::text(&bytes);
        let _ = fhir::bundle::envelope(&bytes);
        let _ = path::of(&bytes, bytes.len() / 2);
    }
}
