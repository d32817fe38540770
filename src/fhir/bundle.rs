//! Bundles without their resources: the envelope of one entry, and the outline of a whole Bundle.
//!
//! The outline is taken piece by piece, so that a Bundle need not fit into memory. The fate of an entry's own request
//! is decided by `plan`.

use super::{
    SyntaxError, TextRange,
    json::{BUNDLE_DEPTH, JsonFault, Machine, Visit},
    path, text,
};

/// The purpose of a Bundle (<https://hl7.org/fhir/R4/valueset-bundle-type.html>, and R4B's subscriptions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BundleKind {
    /// `transaction`.
    Transaction,
    /// `batch`.
    Batch,
    /// `collection`.
    Collection,
    /// `searchset`.
    Searchset,
    /// `history`.
    History,
    /// `document`.
    Document,
    /// `message`.
    Message,
    /// `transaction-response`.
    TransactionResponse,
    /// `batch-response`.
    BatchResponse,
    /// `subscription-notification`.
    SubscriptionNotification,
    /// No `type`, or one that is not a string.
    Missing,
    /// A `type` that no version of FHIR has.
    Other,
}

impl BundleKind {
    /// Reads the code of `Bundle.type`.
    pub fn of(code: Option<&str>) -> Self {
        match code {
            Some("transaction") => Self::Transaction,
            Some("batch") => Self::Batch,
            Some("collection") => Self::Collection,
            Some("searchset") => Self::Searchset,
            Some("history") => Self::History,
            Some("document") => Self::Document,
            Some("message") => Self::Message,
            Some("transaction-response") => Self::TransactionResponse,
            Some("batch-response") => Self::BatchResponse,
            Some("subscription-notification") => Self::SubscriptionNotification,
            Some(_) => Self::Other,
            None => Self::Missing,
        }
    }

    /// Returns the word for messages: the code, `without type` or `of unknown type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Batch => "batch",
            Self::Collection => "collection",
            Self::Searchset => "searchset",
            Self::History => "history",
            Self::Document => "document",
            Self::Message => "message",
            Self::TransactionResponse => "transaction-response",
            Self::BatchResponse => "batch-response",
            Self::SubscriptionNotification => "subscription-notification",
            Self::Missing => "without type",
            Self::Other => "of unknown type",
        }
    }
}

/// An entry of a Bundle around its resource, as parts of the entry's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryEnvelope {
    /// The text of `fullUrl`.
    pub full_url: Option<TextRange>,
    /// The object `resource`.
    pub resource: Option<TextRange>,
    /// `request`.
    pub request: Option<Request>,
    /// The text of `search.mode`.
    pub search_mode: Option<TextRange>,
}

/// `Bundle.entry.request`: what its sender wants done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// The whole object.
    pub whole: TextRange,
    /// The text of `method`.
    pub method: Option<TextRange>,
    /// The text of `url`.
    pub url: Option<TextRange>,
    /// The text of `ifNoneExist`.
    pub if_none_exist: Option<TextRange>,
    /// The text of `ifMatch`.
    pub if_match: Option<TextRange>,
    /// The text of `ifNoneMatch`.
    pub if_none_match: Option<TextRange>,
    /// The text of `ifModifiedSince`.
    pub if_modified_since: Option<TextRange>,
}

/// Reads the envelope of an entry: one JSON object.
///
/// # Errors
///
/// The entry is not well-formed, not an object, its resource or request is not an object, or one of these members
/// occurs twice.
pub fn envelope(entry: &[u8]) -> Result<EntryEnvelope, SyntaxError> {
    let mut visitor = EnvelopeVisitor::default();
    match Machine::new(BUNDLE_DEPTH).run(entry, true, &mut visitor) {
        Ok(_) => Ok(visitor.envelope),
        Err(JsonFault { offset, what }) => Err(SyntaxError {
            offset,
            what,
            path: path::of(entry, offset),
        }),
    }
}

/// The members of an entry, and of its request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    FullUrl,
    Resource,
    Request,
    Method,
    Url,
    IfNoneExist,
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    Search,
    Mode,
}

#[derive(Debug, Default)]
struct EnvelopeVisitor {
    envelope: EntryEnvelope,
    depth: usize,
    member: Member,
    /// The member of the entry in which the depth is greater than 1, and the offset at which it began.
    inside: Member,
    start: usize,
    seen: u16,
}

impl EnvelopeVisitor {
    /// A value that is no object where one must stand is an error.
    fn not_an_object(&self) -> Result<(), &'static str> {
        match (self.depth, self.member) {
            (0, _) => Err("the entry is not an object"),
            (1, Member::Resource) => Err("`resource` is not an object"),
            (1, Member::Request) => Err("`request` is not an object"),
            _ => Ok(()),
        }
    }
}

impl Visit for EnvelopeVisitor {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        if self.depth > 2 {
            return Ok(());
        }
        self.member = match (self.depth, self.inside) {
            (1, _) => match &*text(bytes.get(start..end).unwrap_or_default()) {
                "fullUrl" => Member::FullUrl,
                "resource" => Member::Resource,
                "request" => Member::Request,
                "search" => Member::Search,
                _ => Member::Other,
            },
            (2, Member::Search) => match &*text(bytes.get(start..end).unwrap_or_default()) {
                "mode" => Member::Mode,
                _ => Member::Other,
            },
            (2, Member::Request) => match &*text(bytes.get(start..end).unwrap_or_default()) {
                "method" => Member::Method,
                "url" => Member::Url,
                "ifNoneExist" => Member::IfNoneExist,
                "ifMatch" => Member::IfMatch,
                "ifNoneMatch" => Member::IfNoneMatch,
                "ifModifiedSince" => Member::IfModifiedSince,
                _ => Member::Other,
            },
            _ => Member::Other,
        };
        if self.member != Member::Other {
            let bit = 1 << self.member as u16;
            if self.seen & bit != 0 {
                return Err("a member of the entry or of its request occurs twice");
            }
            self.seen |= bit;
        }
        Ok(())
    }

    fn string(&mut self, _bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.not_an_object()?;
        let part = Some(TextRange { start, end });
        if self.depth == 1 && self.member == Member::FullUrl {
            self.envelope.full_url = part;
        }
        if self.depth == 2 && self.inside == Member::Search && self.member == Member::Mode {
            self.envelope.search_mode = part;
        }
        if self.depth == 2
            && self.inside == Member::Request
            && let Some(request) = &mut self.envelope.request
        {
            match self.member {
                Member::Method => request.method = part,
                Member::Url => request.url = part,
                Member::IfNoneExist => request.if_none_exist = part,
                Member::IfMatch => request.if_match = part,
                Member::IfNoneMatch => request.if_none_match = part,
                Member::IfModifiedSince => request.if_modified_since = part,
                _ => {}
            }
        }
        Ok(())
    }

    fn scalar(&mut self, _start: usize, _end: usize) -> Result<(), &'static str> {
        self.not_an_object()
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        if !object {
            self.not_an_object()?;
        }
        if self.depth == 1 {
            self.inside = self.member;
            self.start = at;
            if self.member == Member::Request {
                self.envelope.request = Some(Request::default());
            }
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        self.depth -= 1;
        if self.depth == 1 {
            let whole = TextRange {
                start: self.start,
                end,
            };
            match (self.inside, &mut self.envelope.request) {
                (Member::Resource, _) => self.envelope.resource = Some(whole),
                (Member::Request, Some(request)) => request.whole = whole,
                _ => {}
            }
            self.inside = Member::Other;
        }
        Ok(())
    }
}

/// The outline of a text that may be a Bundle: what it says of itself, and where its entries stand.
///
/// Feed it with [`read`](Self::read), piece by piece; offsets count from the beginning of the text.
#[derive(Debug)]
pub struct Outline {
    machine: Machine,
    visitor: OutlineVisitor,
}

impl Outline {
    /// Starts a text.
    pub fn new(entries: BundleEntries) -> Self {
        Self {
            machine: Machine::new(BUNDLE_DEPTH),
            visitor: OutlineVisitor {
                keep: entries == BundleEntries::Kept,
                ..OutlineVisitor::default()
            },
        }
    }

    /// Reads the piece that begins at offset `base` of the text and returns up to where the text is done with.
    ///
    /// The next piece must begin there.
    ///
    /// # Errors
    ///
    /// As [`Machine::run`], the offset counting from the beginning of the text.
    pub fn read(
        &mut self,
        piece: &[u8],
        base: u64,
        last: bool,
    ) -> Result<u64, (u64, &'static str)> {
        self.visitor.base = base;
        match self.machine.run(piece, last, &mut self.visitor) {
            Ok(consumed) => Ok(base + consumed as u64),
            Err(fault) => Err((base + fault.offset as u64, fault.what)),
        }
    }

    /// Tells whether the value is complete.
    pub fn is_done(&self) -> bool {
        self.machine.is_done()
    }

    /// Tells whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.visitor.is_object
    }

    /// Tells whether `resourceType` is `Bundle`.
    pub fn is_bundle(&self) -> bool {
        self.visitor.resource_type.as_deref() == Some("Bundle")
    }

    /// Tells whether there is a `resourceType`.
    pub fn has_type(&self) -> bool {
        self.visitor.resource_type.is_some()
    }

    /// Returns what `type` says.
    pub fn kind(&self) -> BundleKind {
        BundleKind::of(self.visitor.kind.as_deref())
    }

    /// Tells whether the text is a Bundle whose `entry` is not an array, and where.
    pub fn misshapen(&self) -> Option<u64> {
        self.visitor.misshapen.filter(|_| self.is_bundle())
    }

    /// Returns the length of the largest entry in bytes.
    pub fn largest(&self) -> u64 {
        self.visitor.largest
    }

    /// Returns how many entries have begun.
    pub fn count(&self) -> u32 {
        self.visitor.count
    }

    /// Takes the entries that are complete since the last call: offsets of the first byte and of the one after.
    pub fn entries(&mut self) -> std::vec::Drain<'_, (u64, u64)> {
        self.visitor.entries.drain(..)
    }

    /// Returns where the entry that is not yet complete began.
    pub fn begun(&self) -> Option<u64> {
        self.visitor.begun
    }

    /// Returns where the value began, once it has.
    pub fn start(&self) -> Option<u64> {
        self.visitor.start
    }

    /// Returns where the value ended, once it has.
    pub fn end(&self) -> Option<u64> {
        self.visitor.end
    }
}

/// Whether an [`Outline`] notes where the entries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleEntries {
    /// They are only counted.
    Counted,
    /// They are noted, to be taken with [`Outline::entries`].
    Kept,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Top {
    #[default]
    Other,
    ResourceType,
    Type,
    Entry,
}

#[derive(Debug, Default)]
struct OutlineVisitor {
    base: u64,
    depth: usize,
    is_object: bool,
    start: Option<u64>,
    end: Option<u64>,
    member: Top,
    seen: u8,
    in_entries: bool,
    resource_type: Option<String>,
    kind: Option<String>,
    misshapen: Option<u64>,
    keep: bool,
    count: u32,
    begun: Option<u64>,
    largest: u64,
    entries: Vec<(u64, u64)>,
}

impl OutlineVisitor {
    fn begin(&mut self, at: usize, array: bool) -> Result<(), &'static str> {
        let at = self.base + at as u64;
        match self.depth {
            0 => self.start = Some(at),
            1 if self.member == Top::Entry => {
                if array {
                    self.in_entries = true;
                } else {
                    self.misshapen = Some(at);
                }
            }
            2 if self.in_entries => {
                self.begun = Some(at);
                self.count = self
                    .count
                    .checked_add(1)
                    .ok_or("more than 4,294,967,295 entries")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, end: usize) {
        let end = self.base + end as u64;
        match self.depth {
            0 => self.end = Some(end),
            1 => self.in_entries = false,
            2 if self.in_entries => {
                if let Some(start) = self.begun.take() {
                    self.largest = self.largest.max(end - start);
                    if self.keep {
                        self.entries.push((start, end));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Visit for OutlineVisitor {
    fn key(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        if self.depth != 1 {
            return Ok(());
        }
        let (member, twice) = match &*text(bytes.get(start..end).unwrap_or_default()) {
            "resourceType" => (Top::ResourceType, "`resourceType` occurs twice"),
            "type" => (Top::Type, "`type` occurs twice"),
            "entry" => (Top::Entry, "`entry` occurs twice"),
            _ => (Top::Other, ""),
        };
        self.member = member;
        if member != Top::Other {
            let bit = 1 << member as u8;
            if self.seen & bit != 0 {
                return Err(twice);
            }
            self.seen |= bit;
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), &'static str> {
        self.begin(start - 1, false)?;
        // No code of FHIR is longer than 64 bytes; what is, equals none.
        if self.depth == 1 && matches!(self.member, Top::ResourceType | Top::Type) {
            let short = end.min(start + 64);
            let value = text(bytes.get(start..short).unwrap_or_default()).into_owned();
            match self.member {
                Top::ResourceType => self.resource_type = Some(value),
                _ => self.kind = Some(value),
            }
        }
        self.finish(end + 1);
        Ok(())
    }

    fn long_string(&mut self, at: usize) -> Result<(), &'static str> {
        self.begin(at, false)
    }

    fn long_string_end(&mut self, end: usize) -> Result<(), &'static str> {
        // It is no code.
        match self.member {
            Top::ResourceType if self.depth == 1 => self.resource_type = Some(String::new()),
            Top::Type if self.depth == 1 => self.kind = Some(String::new()),
            _ => {}
        }
        self.finish(end);
        Ok(())
    }

    fn scalar(&mut self, start: usize, end: usize) -> Result<(), &'static str> {
        self.begin(start, false)?;
        self.finish(end);
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<(), &'static str> {
        self.begin(at, !object)?;
        if self.depth == 0 {
            self.is_object = object;
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        self.depth -= 1;
        self.finish(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_found_around_its_resource() {
        let entry = br#" {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","request":{"method":"no"},
            "fullUrl":"no"},"request":{"method":"PUT","url":"Patient\/1","ifMatch":"W/\"1\"","x":{"url":"no"}},
            "search":{"mode":"match"}} "#;
        let entry = String::from_utf8(entry.to_vec())
            .unwrap()
            .replace("\\\\", "\\");
        let entry = entry.as_bytes();
        let envelope = envelope(entry).unwrap();
        let text = |part: Option<TextRange>| part.unwrap().text(entry).into_owned();
        assert_eq!(text(envelope.search_mode), "match");
        assert_eq!(text(envelope.full_url), "urn:uuid:1");
        assert!(
            envelope
                .resource
                .unwrap()
                .of(entry)
                .starts_with(b"{\"resourceType\"")
        );
        assert!(envelope.resource.unwrap().of(entry).ends_with(b"\"no\"}"));
        let request = envelope.request.unwrap();
        assert_eq!(text(request.method), "PUT");
        assert_eq!(text(request.url), "Patient/1");
        assert_eq!(text(request.if_match), "W/\"1\"");
        assert_eq!(request.if_none_exist, None);
        assert!(request.whole.of(entry).ends_with(br#"{"url":"no"}}"#));
    }

    #[test]
    fn envelopes_of_a_wrong_shape_are_refused() {
        for entry in [
            "5",
            "\"x\"",
            "[]",
            r#"{"resource":null}"#,
            r#"{"resource":[]}"#,
            r#"{"request":"x"}"#,
            r#"{"request":{},"request":{}}"#,
            r#"{"request":{"url":"a","url":"b"}}"#,
            r#"{"resource":{}"#,
        ] {
            assert!(envelope(entry.as_bytes()).is_err(), "{entry}");
        }
        assert_eq!(envelope(b"{}").unwrap(), EntryEnvelope::default());
    }

    #[test]
    fn an_outline_is_the_same_in_pieces_of_any_size() {
        let text = br#"{"type":"batch","total":3,"entry":[{"a":[1,2]},null , {"b":"\u00e9"}],"entries":[{}],
            "resourceType":"Bundle","link":[{"entry":[1]}]}"#;
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let parts = [r#"{"a":[1,2]}"#, "null", r#"{"b":"\u00e9"}"#];
        for size in 1..=text.len() {
            let mut outline = Outline::new(BundleEntries::Kept);
            let (mut done, mut end, mut entries) = (0_usize, 0, Vec::new());
            while end < text.len() {
                end = (end + size).min(text.len());
                let last = end == text.len();
                done = at(outline.read(&text[done..end], done as u64, last).unwrap());
                entries.extend(outline.entries().map(|(start, end)| {
                    String::from_utf8_lossy(&text[at(start)..at(end)]).into_owned()
                }));
            }
            assert!(outline.is_done() && outline.is_bundle());
            assert_eq!((outline.kind(), outline.count()), (BundleKind::Batch, 3));
            assert_eq!(outline.largest(), 14);
            assert_eq!(entries, parts);
        }
    }

    #[test]
    fn an_outline_tells_what_is_wrong_with_a_bundle() {
        let read = |text: &str| {
            let mut outline = Outline::new(BundleEntries::Counted);
            outline.read(text.as_bytes(), 0, true).map(|_| outline)
        };
        let misshapen = read(r#"{"resourceType":"Bundle","entry":{}}"#).unwrap();
        assert_eq!(misshapen.misshapen(), Some(33));
        assert_eq!(misshapen.kind(), BundleKind::Missing);
        assert_eq!(read(r#"{"entry":{}}"#).unwrap().misshapen(), None);
        assert_eq!(
            read(r#"{"entry":[],"entry":[]}"#).unwrap_err(),
            (12, "`entry` occurs twice")
        );
        assert!(read(r#"{"entry":[{]}"#).is_err());
    }
}
