//! Documents with records that refer to each other in every way that is written in the field, and in some that are not.

use std::fmt::Write as _;

use proptest::prelude::*;

/// What stands around the records of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Ndjson,
    Bundle(&'static str),
}

/// A record: its type, what it is called, and the texts of its references.
#[derive(Debug, Clone)]
pub(super) struct Record {
    kind: &'static str,
    id: Option<String>,
    full_url: Option<String>,
    pub(super) references: Vec<String>,
}

/// A file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    container: Container,
    pub(super) records: Vec<Record>,
}

/// How a reference names a record, before it is known which.
#[derive(Debug, Clone)]
enum Form {
    FullUrl,
    FullUrlWithFragment,
    TypeAndId,
    TypeIdAndVersion,
    TypeIdAndFragment,
    Text(&'static str),
}

const TEXTS: [&str; 16] = [
    "#",
    "#c",
    "#missing",
    "",
    "Patient",
    "Patient/",
    "Anna Smith",
    "anna/smith",
    "urn:uuid:gone",
    "resource:77",
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "https://elsewhere.example/Patient/1",
    "https://elsewhere.example/100?x=y",
    "Patient/gone/_history/1",
    "Patient?identifier=urn:gone|1",
    "Patient?name=gone&birthdate=2000",
];

impl Document {
    pub(super) fn extension(&self) -> &'static str {
        match self.container {
            Container::Ndjson => "ndjson",
            Container::Bundle(_) => "json",
        }
    }

    /// Returns how many references its records have.
    pub(super) fn references(&self) -> usize {
        self.records.iter().map(|r| r.references.len()).sum()
    }

    pub(super) fn text(&self) -> String {
        let resources = self.records.iter().map(Record::text);
        match self.container {
            Container::Ndjson => resources.fold(String::new(), |text, line| text + &line + "\n"),
            Container::Bundle(kind) => {
                let entries: Vec<String> = self
                    .records
                    .iter()
                    .zip(resources)
                    .map(|(record, resource)| record.entry(&resource))
                    .collect();
                let entries = entries.join(",\n");
                format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#)
            }
        }
    }
}

impl Record {
    /// The references stand in the order of their numbers.
    fn text(&self) -> String {
        let mut text = format!(r#"{{"resourceType":"{}""#, self.kind);
        if let Some(id) = &self.id {
            write!(text, r#","id":{}"#, serde_json::json!(id)).unwrap();
        }
        text.push_str(r#","contained":[{"resourceType":"Basic","id":"c"}]"#);
        let reference = |text: &String| serde_json::json!({ "reference": text }).to_string();
        let (first, rest) = self.references.split_at(self.references.len().min(1));
        for text_of in first {
            write!(
                text,
                r#","extension":[{{"url":"urn:uuid:x","valueReference":{}}}]"#,
                reference(text_of)
            )
            .unwrap();
        }
        let rest: Vec<String> = rest.iter().map(reference).collect();
        write!(text, r#","performer":[{}]}}"#, rest.join(",")).unwrap();
        text
    }

    fn entry(&self, resource: &str) -> String {
        let full_url = self.full_url.as_ref().map_or_else(String::new, |url| {
            format!(r#""fullUrl":{},"#, serde_json::json!(url))
        });
        format!(
            r#"{{{full_url}"resource":{resource},"request":{{"method":"POST","url":"{}"}}}}"#,
            self.kind
        )
    }
}

/// Returns which record a reference means that stands in a document, where that is beyond doubt: by the text of a `fullUrl` of
/// the same Bundle, else by type and id.
pub(super) fn meant(documents: &[Document], from: usize, text: &str) -> Option<(usize, usize)> {
    let plain = text.split('#').next().filter(|plain| !plain.is_empty())?;
    let own = documents.get(from)?;
    let in_bundle = matches!(own.container, Container::Bundle(_));
    for wanted in [text, plain] {
        let is_it = |record: &Record| record.full_url.as_deref() == Some(wanted);
        if let Some(at) = own.records.iter().position(is_it).filter(|_| in_bundle) {
            return Some((from, at));
        }
    }
    let (kind, id) = plain.split_once('/')?;
    let id = id.split("/_history/").next().filter(|id| !id.is_empty())?;
    documents.iter().enumerate().find_map(|(number, document)| {
        let is_it = |record: &Record| record.kind == kind && record.id.as_deref() == Some(id);
        Some((number, document.records.iter().position(is_it)?))
    })
}

/// Up to four documents with up to five records each, every one with an id of its own or none.
pub(super) fn documents() -> impl Strategy<Value = Vec<Document>> {
    let container = prop_oneof![
        2 => Just(Container::Ndjson),
        5 => proptest::sample::select(vec![
            "transaction", "batch", "collection", "document", "message", "searchset", "history",
        ])
        .prop_map(Container::Bundle),
    ];
    // `Topic` is a type that no version has, so what refers to it is blocked.
    let kind = prop_oneof![
        6 => proptest::sample::select(vec!["Patient", "Observation", "Basic"]),
        1 => Just("Topic"),
    ];
    let name = (kind, 0_u8..5, 0_u8..8);
    let form = prop_oneof![
        Just(Form::FullUrl),
        Just(Form::FullUrlWithFragment),
        Just(Form::TypeAndId),
        Just(Form::TypeIdAndVersion),
        Just(Form::TypeIdAndFragment),
        proptest::sample::select(TEXTS.to_vec()).prop_map(Form::Text),
    ];
    let reference = (form, any::<prop::sample::Index>());
    let drawn_record = (name, proptest::collection::vec(reference, 0..4));
    let document = (container, proptest::collection::vec(drawn_record, 1..6));
    proptest::collection::vec(document, 1..5).prop_map(|drawn| {
        let mut documents: Vec<Document> = Vec::new();
        for (number, (container, records)) in drawn.iter().enumerate() {
            let named = records.iter().enumerate();
            let records =
                named.map(|(at, ((kind, id, url), _))| record(kind, *id, *url, number, at));
            documents.push(Document {
                container: *container,
                records: records.collect(),
            });
        }
        let all: Vec<(usize, usize)> = documents
            .iter()
            .enumerate()
            .flat_map(|(number, document)| (0..document.records.len()).map(move |at| (number, at)))
            .collect();
        for (number, (_, records)) in drawn.iter().enumerate() {
            for (at, (_, references)) in records.iter().enumerate() {
                let texts = references.iter().map(|(form, index)| {
                    // By its `fullUrl` a record is meant by those beside it.
                    let beside = index.index(documents[number].records.len());
                    let (other, there) = all[index.index(all.len())];
                    let named = &documents[other].records[there];
                    let id = named.id.as_deref().unwrap_or("nobody");
                    let kind = named.kind;
                    let url = documents[number].records[beside].full_url.clone();
                    match form {
                        Form::FullUrl => url.unwrap_or_default(),
                        Form::FullUrlWithFragment => url.unwrap_or_default() + "#part",
                        Form::TypeAndId => format!("{kind}/{id}"),
                        Form::TypeIdAndVersion => format!("{kind}/{id}/_history/7"),
                        Form::TypeIdAndFragment => format!("{kind}/{id}#part"),
                        Form::Text(text) => (*text).to_owned(),
                    }
                });
                documents[number].records[at].references = texts.collect();
            }
        }
        documents
    })
}

fn record(kind: &'static str, id: u8, url: u8, number: usize, at: usize) -> Record {
    let id = match id {
        0 => None,
        1 => Some(format!("a_{number}_{at}")),
        2 => Some(format!("abs/{number}/{at}")),
        3 => Some(format!("{}{number}x{at}", "a".repeat(70))),
        _ => Some(format!("p-{number}-{at}")),
    };
    let full_url = match url {
        0 => None,
        1 => Some(format!("resource:{at}")),
        2 => Some(format!("http://x/{at}")),
        3 => Some(format!("https://ehr.example/r4/Patient/{at}?x=y")),
        4 => Some(format!(
            "6ba7b810-9dad-11d1-80b4-00c04fd4{number:02}{at:02}"
        )),
        5 => Some(format!("https://ehr.example/r4/Patient/u-{number}-{at}")),
        6 => Some(format!("{}{at}", "long".repeat(20))),
        _ => Some(format!(
            "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd4{number:02}{at:02}"
        )),
    };
    Record {
        kind,
        id,
        full_url,
        references: Vec::new(),
    }
}
