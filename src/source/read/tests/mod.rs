//! Reading, form by form: what files hold, how they are stored, what is wrong between values, and how much is kept.

use std::io::Write as _;

use super::*;
use crate::{
    record::{Position, SourceId},
    source::BundleKind,
};

mod bounds;
mod forms;
mod lines;
mod stored;

/// The findings in a source, in words that tests can compare.
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

/// Reads a text through the readers of large files, in pieces of a size.
fn in_pieces(text: &[u8], form: Form, size: usize) -> Seen {
    let mut seen = Seen::default();
    let mut visit = |item: Item<'_>| {
        seen.item(&item);
        ControlFlow::Continue(())
    };
    let mut sink = ItemEmitter::new(SourceId(7), &mut visit);
    let mut feed = StreamReader::new(text, size);
    match form {
        Form::Ndjson => ndjson::read(&mut feed, End::Whole, Ceiling::Any, &mut sink),
        _ => json::large(
            &mut feed,
            &|| Ok(Box::new(StreamReader::new(text, size))),
            Ceiling::Any,
            &mut sink,
        ),
    }
    .unwrap();
    seen
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
