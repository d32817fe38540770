//! The envelope of one entry: what stands around its resource.

use crate::fhir::{
    SyntaxError, TextRange,
    json::{BUNDLE_DEPTH, JsonFault, Machine, Visit},
    path, text,
};

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
}
