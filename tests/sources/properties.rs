//! Generated sources: whatever their line ends, marks, compression, garbage and splits are, the records that were put into
//! them come out with the same bytes. What should come out is known from how a source was made, and from nothing of `source`.

use std::{io::Write as _, ops::ControlFlow, path::Path};

use proptest::prelude::*;
use stoker::{
    record::SourceId,
    source::{Bodies, Ceiling, Form, Item, Origin, SourceFile, Spool, read},
};

/// What one line, or several, hold.
#[derive(Debug, Clone)]
enum Part {
    /// A resource on a line.
    Good(String),
    /// A Bundle on a line, by its entries.
    Bundle(Vec<String>),
    /// Nothing.
    Blank(String),
    /// Something wrong on a line.
    Wrong(String),
    /// A value that runs over several lines.
    Pretty(String),
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\t", "  "])
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 é日\u{feff}😀{}\\[\\],:]{0,12}".prop_map(|text| format!("\"{text}\""))
}

/// A member's value as it is written, on one line.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        text(),
        prop::sample::select(vec![
            "1.00",
            "-0",
            "1E5",
            "true",
            "null",
            "\"\\u00e9\\\"\\\\\"",
            "[]"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 1..3), space())
                .prop_map(|(values, space)| format!("[{space}{}]", values.join(","))),
            (inner, space()).prop_map(|(value, space)| format!("{{{space}\"k\":{value}{space}}}")),
        ]
    })
}

fn resource() -> impl Strategy<Value = String> {
    (value(), space(), any::<u16>()).prop_map(|(value, space, id)| {
        format!("{{{space}\"resourceType\":{space}\"Basic\",\"id\":\"{id}\",\"x\":{value}}}")
    })
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        6 => resource().prop_map(Part::Good),
        1 => prop::collection::vec(resource(), 0..3).prop_map(Part::Bundle),
        1 => space().prop_map(|space| Part::Blank(space.to_owned())),
        2 => wrong().prop_map(Part::Wrong),
        1 => (resource(), prop::bool::ANY).prop_map(|(resource, is_array)| {
            let value: serde_json::Value = serde_json::from_str(&resource).unwrap();
            let value = if is_array { serde_json::json!([value, value]) } else { value };
            Part::Pretty(serde_json::to_string_pretty(&value).unwrap())
        }),
    ]
}

fn wrong() -> impl Strategy<Value = String> {
    prop_oneof![
        // Nothing that closes what a cut line has opened: then the two would be one value over several lines.
        "[a-z%,:\"0-9][a-z {}\\[,]{0,10}",
        // A line that was cut, anywhere.
        (resource(), any::<prop::sample::Index>()).prop_map(|(resource, at)| {
            let ends: Vec<usize> = resource.char_indices().map(|(at, _)| at).skip(1).collect();
            resource[..*at.get(&ends)].to_owned()
        }),
        resource().prop_map(|resource| format!("{resource},")),
        (resource(), resource()).prop_map(|(one, two)| format!("{one}{two}")),
        prop::sample::select(vec!["[1]", "1", "null", "{\"a\" 1}"]).prop_map(str::to_owned),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

/// A whole source, and the resources in it.
#[derive(Debug, Clone)]
struct Made {
    text: String,
    expected: Vec<String>,
    is_wrong: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let line = (
        part(),
        space(),
        space(),
        prop::bool::weighted(0.2),
        prop::bool::ANY,
    );
    (prop::collection::vec(line, 0..12), prop::bool::ANY).prop_map(|(lines, ends)| {
        let mut made = Made {
            text: String::new(),
            expected: Vec::new(),
            is_wrong: false,
        };
        let count = lines.len();
        for (number, (part, before, after, marked, returns)) in lines.into_iter().enumerate() {
            // A mark in front of a value over several lines, or of something wrong, does not matter either.
            let mark = if marked { "\u{feff}" } else { "" };
            made.text.push_str(before);
            made.text.push_str(mark);
            match part {
                Part::Good(resource) => {
                    made.text.push_str(&resource);
                    made.expected.push(resource);
                }
                Part::Bundle(entries) => {
                    let inside: Vec<String> = entries
                        .iter()
                        .map(|entry| format!("{{\"resource\": {entry} }}"))
                        .collect();
                    made.text.push_str(
                        "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[",
                    );
                    made.text.push_str(&inside.join(" , "));
                    made.text.push_str("]}");
                    made.expected.extend(entries);
                }
                Part::Blank(blank) => made.text.push_str(&blank),
                Part::Wrong(wrong) => {
                    made.text.push_str(&wrong);
                    made.is_wrong |= !wrong.trim().is_empty();
                }
                Part::Pretty(pretty) => {
                    made.text.push_str(&pretty);
                    made.is_wrong = true;
                }
            }
            made.text.push_str(after);
            if number + 1 < count || ends {
                made.text.push_str(if returns { "\r\n" } else { "\n" });
            }
        }
        made
    })
}

/// Packs a text, in so many members as there are cuts and one.
fn packed(text: &[u8], packing: Packing, cuts: &[prop::sample::Index]) -> Vec<u8> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    let mut out = Vec::new();
    for pair in at.windows(2) {
        let member = &text[pair[0]..pair[1]];
        match packing {
            Packing::None => out.extend_from_slice(member),
            Packing::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(member).unwrap();
                out.extend(encoder.finish().unwrap());
            }
            Packing::Zstd => out.extend(zstd::encode_all(member, 1).unwrap()),
        }
    }
    out
}

/// What reading a file came to: the resources, and how many things were malformed.
fn resources(path: &Path, spool: Option<&Spool>) -> (Vec<String>, u64) {
    let file = SourceFile {
        id: SourceId(0),
        origin: Origin::File(path.to_owned()),
        form: Form::of(path),
    };
    let (mut found, mut spans) = (Vec::new(), Vec::new());
    let mut next = 0;
    let reading = read(&file, spool, Ceiling::Any, &mut |item| {
        match item {
            Item::Record(record) => {
                // Positions are numbered without a gap.
                assert_eq!(record.position.index, next);
                next += 1;
                spans.push(record.body());
                found.push(String::from_utf8(record.bytes.to_vec()).unwrap());
            }
            Item::Malformed(malformed) => {
                assert_eq!(malformed.position.index, next);
                next += 1;
            }
            Item::Facets(_) | Item::Remark(_) | Item::BundleStart(_) | Item::BundleEnd => {}
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(reading.fingerprint.is_some() || reading.malformed == 1);
    assert_eq!(reading.records, found.len() as u64);
    if let Some(plain) = reading.plain {
        let bodies = Bodies::new(vec![(SourceId(0), plain)]);
        for (span, bytes) in spans.into_iter().zip(&found) {
            assert_eq!(bodies.read(SourceId(0), span).unwrap(), bytes.as_bytes());
        }
    }
    (found, reading.malformed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_put_into_ndjson_comes_out(
        made in made(),
        packing in prop::sample::select(vec![Packing::None, Packing::Gzip, Packing::Zstd]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), 1 << 30).unwrap();
        let path = folder.path().join(match packing {
            Packing::None => "a.ndjson",
            Packing::Gzip => "a.ndjson.gz",
            Packing::Zstd => "a.ndjson.zst",
        });
        fs_err::write(&path, packed(made.text.as_bytes(), packing, &cuts)).unwrap();
        let (found, malformed) = resources(&path, None);
        prop_assert_eq!(&found, &made.expected);
        prop_assert_eq!(malformed > 0, made.is_wrong, "{}", malformed);
        prop_assert_eq!(resources(&path, Some(&spool)), (found, malformed));
    }

    #[test]
    fn what_was_put_into_json_comes_out(
        entries in prop::collection::vec(resource(), 1..4),
        is_bundle in prop::bool::ANY,
        is_pretty in prop::bool::ANY,
        marked in prop::bool::ANY,
        space in space(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let line = if is_pretty { "\n  " } else { "" };
        let mark = if marked { "\u{feff}" } else { "" };
        let inside: Vec<String> = entries
            .iter()
            .map(|entry| format!("{{{line}\"resource\":{space}{entry}{line}}}"))
            .collect();
        let text = if is_bundle {
            format!("{{\"entry\":[{line}{}],{line}\"resourceType\":\"Bundle\"}}", inside.join(","))
        } else {
            entries[0].clone()
        };
        let expected = if is_bundle { &entries[..] } else { &entries[..1] };
        let path = folder.path().join("a.json");
        fs_err::write(&path, format!("{mark}{line}{text}{line}{space}")).unwrap();
        prop_assert_eq!(resources(&path, None), (expected.to_vec(), 0));
    }

    #[test]
    fn no_bytes_make_it_fail(
        made in made(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        name in prop::sample::select(vec!["a.json", "a.ndjson", "a.ndjson.gz", "a.json.gz", "a.ndjson.zst"]),
        cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), 1 << 30).unwrap();
        let packing = match name.rsplit('.').next() {
            Some("gz") => Packing::Gzip,
            Some("zst") => Packing::Zstd,
            _ => Packing::None,
        };
        let mut bytes = packed(made.text.as_bytes(), packing, &[]);
        bytes.truncate(cut.index(bytes.len() * 2 + 1));
        for (at, byte) in noise {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
        }
        let path = folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        // With and without a spool the same is told.
        prop_assert_eq!(resources(&path, None), resources(&path, Some(&spool)));
    }
}
