//! HL7v2 in real files: every message of a set of two thousand is found, and nothing of a file is lost.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fs_err as fs;
use stoker::hl7v2::{
    self,
    charset::{self, Charset, DeclaredCharset},
    digest::Digest,
    header::{MessageHeader, patients},
    mllp,
    segment::{Ends, normalised, segments},
    split::{MessageSplitter, Piece, ProblemKind, Weight},
};

use crate::support::data;

/// A row of the set's own list of its files.
struct Row {
    path: String,
    messages: usize,
    kinds: String,
    has_mark: bool,
}

fn rows(set: &Path) -> Vec<Row> {
    let list = fs::read_to_string(set.join("MANIFEST.tsv")).unwrap();
    let rows = list.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        Row {
            path: columns[0].to_owned(),
            messages: columns[2].parse().unwrap(),
            kinds: columns[3].to_owned(),
            has_mark: columns[4] == "BOM",
        }
    });
    rows.collect()
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    messages: Vec<Vec<u8>>,
    problems: Vec<(ProblemKind, u64, u64)>,
    covered: u64,
}

/// Splits a file in chunks.
fn split(file: &[u8], chunk: usize) -> Found {
    let mut found = Found::default();
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Message(message) => {
            found.covered += message.place.length;
            found.messages.push(message.bytes.to_vec());
        }
        Piece::Envelope(_, place) => found.covered += place.length,
        Piece::Problem(problem) => {
            if problem.kind.weight() == Weight::Loss {
                found.covered += problem.place.length;
            }
            let place = problem.place;
            found
                .problems
                .push((problem.kind, place.start, place.length));
        }
    };
    let mut splitter = MessageSplitter::default();
    for chunk in file.chunks(chunk) {
        splitter.feed(chunk, &mut take);
    }
    splitter.finish(&mut take);
    found
}

/// A count that shares nothing with the splitter: lines that begin as a message does.
fn counted(file: &[u8]) -> usize {
    let lines = file.split(|byte| b"\r\n\x0b".contains(byte));
    let lines = lines.map(|line| line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line));
    lines.filter(|line| line.starts_with(b"MSH")).count()
}

#[test]
fn every_message_of_the_set_is_found() {
    let Some(set) = data::set("hl7v2") else {
        return;
    };
    let rows = rows(&set);
    assert_eq!(rows.len(), 1105);
    let mut all = 0;
    let mut marks = 0;
    let mut ids: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut recognised = 0;
    for row in &rows {
        let file = fs::read(set.join(&row.path)).unwrap();
        let found = split(&file, 1 << 16);
        let path = &row.path;
        assert_eq!(found.messages.len(), row.messages, "{path}");
        assert_eq!(found.messages.len(), counted(&file), "{path}");
        let small = split(&file, 7);
        assert_eq!(
            (small.messages, small.problems),
            (found.messages.clone(), found.problems.clone()),
            "{path}"
        );
        let has_mark = found
            .problems
            .iter()
            .any(|(kind, start, _)| *kind == ProblemKind::ByteOrderMark && *start == 0);
        assert_eq!(has_mark, row.has_mark, "{path}");
        marks += usize::from(has_mark);
        // What is in no message, no batch and no loss are line ends, marks and frames.
        let between = file.len() as u64 - found.covered;
        let ends = file
            .iter()
            .filter(|byte| b"\r\n \t\x0b\x1c".contains(byte))
            .count() as u64;
        assert!(between <= ends + 3, "{path}: {between} bytes are lost");
        let beginning = &file[..file.len().min(hl7v2::ENOUGH)];
        let looks = hl7v2::looks_like(beginning);
        assert!(
            !looks
                || !found.messages.is_empty()
                || file.starts_with(b"FHS")
                || file.starts_with(b"BHS"),
            "{path}"
        );
        recognised += usize::from(looks);
        for message in &found.messages {
            if let Ok(header) = MessageHeader::of(message) {
                if !header.control_id.is_empty() {
                    *ids.entry(header.control_id.to_vec()).or_default() += 1;
                }
                let kind = header
                    .kind()
                    .map_or_else(String::new, std::borrow::Cow::into_owned);
                if !row.kinds.contains(&kind)
                    && !kind.is_empty()
                    && row.messages == 1
                    && row.kinds != "?"
                {
                    panic!("{path}: {kind} is not in {}", row.kinds);
                }
                *kinds.entry(kind).or_default() += 1;
            }
            all += 1;
        }
    }
    assert_eq!(all, 2161);
    assert_eq!(marks, 29);
    assert_eq!(kinds["ORU^R01"], 1266);
    assert_eq!(kinds["ADT^A01"], 493);
    assert_eq!(kinds["VXU^V04"], 85);
    // All but those without any segment (20), one that begins with something else, and two with a letter or a number
    // for a separator.
    assert_eq!(recognised, 1082);
    assert_eq!(ids.values().filter(|times| **times > 1).count(), 119);
}

#[test]
fn messages_of_the_set_are_made_alike() {
    let Some(set) = data::set("hl7v2") else {
        return;
    };
    let mut problems: BTreeMap<String, usize> = BTreeMap::new();
    let mut converted = 0;
    for row in rows(&set) {
        let file = fs::read(set.join(&row.path)).unwrap();
        let found = split(&file, 1 << 16);
        for (kind, ..) in &found.problems {
            let name = format!("{kind:?}");
            let name = name.split([' ', '(']).next().unwrap();
            *problems.entry(name.to_owned()).or_default() += 1;
        }
        for message in &found.messages {
            let made = normalised(message);
            assert!(made.ends_with(b"\r"), "{}", row.path);
            assert_eq!(normalised(&made), made, "{}", row.path);
            let names = |message: &[u8]| -> Vec<Vec<u8>> {
                segments(message)
                    .map(|segment| segment.bytes.to_vec())
                    .collect()
            };
            assert_eq!(names(&made), names(message), "{}", row.path);
            if Ends::of(message).are_standard()
                && message.ends_with(b"\r")
                && !message.windows(2).any(|two| two == b"\r\r")
            {
                assert_eq!(&made[..], &message[..], "{}", row.path);
                assert_eq!(Digest::of(&made), Digest::of(message));
            }
            let Ok(header) = MessageHeader::of(message) else {
                continue;
            };
            if !message.contains(&mllp::START) && !message.contains(&mllp::END) {
                let framed = mllp::frame(&made).unwrap();
                let again = split(&framed, 100);
                assert_eq!(again.messages, [made.to_vec()], "{}", row.path);
            }
            let seen = charset::written(message, &header);
            match charset::convert(message, Charset::named(b"8859/1")) {
                Ok(text) => {
                    assert!(std::str::from_utf8(&text).is_ok());
                    converted += 1;
                }
                Err(error) => assert!(
                    matches!(seen, DeclaredCharset::Not { .. } | DeclaredCharset::Unknown),
                    "{}: {error}",
                    row.path
                ),
            }
        }
    }
    assert_eq!(converted, 2161);
    let expected = [
        ("BatchCount", 7),
        ("BatchNotEnded", 5),
        ("BlankLines", 1038),
        ("ByteOrderMark", 29),
        ("EmptyFrame", 1),
        ("FileCount", 2),
        ("FileNotEnded", 2),
        ("FrameEndWithoutCr", 1),
        ("FrameNotBegun", 1),
        ("FrameNotEnded", 2),
        ("NotBegun", 4),
        ("Stray", 24),
    ];
    let expected = expected.map(|(name, times)| (name.to_owned(), times));
    assert_eq!(problems, BTreeMap::from(expected));
}

/// The samples are as they should be: nothing of them is odd, and every message says who it is about.
#[test]
fn the_samples_are_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/hl7v2");
    let mut ids = Vec::new();
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::read(&path).unwrap();
        if path.extension().is_none_or(|end| end != "hl7") {
            assert!(!hl7v2::looks_like(&file));
            continue;
        }
        assert!(hl7v2::looks_like(&file));
        let found = split(&file, 1 << 16);
        assert_eq!(found.problems, [], "{}", path.display());
        for message in found.messages {
            let header = MessageHeader::of(&message).unwrap();
            assert_eq!(header.faults(), []);
            let seen = charset::written(&message, &header);
            assert!(matches!(
                seen,
                DeclaredCharset::Ascii | DeclaredCharset::As(Charset::Utf8)
            ));
            assert!(!patients(&message, &header.separators).is_empty());
            ids.push(header.control_id.to_vec());
            let kind = String::from_utf8(header.message_code.to_vec()).unwrap();
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 16);
    let expected = [("ADT", 6), ("ORM", 4), ("ORU", 2), ("SIU", 4)];
    assert_eq!(
        kinds,
        expected
            .map(|(kind, times)| (kind.to_owned(), times))
            .into()
    );
}
