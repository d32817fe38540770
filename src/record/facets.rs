//! The facets of a record, which planning has to know, in words of no format.

use std::borrow::Cow;

use super::{Position, Reason};

/// A record that refers to no others, as the reader of its format found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facets<'a> {
    /// Its position: the span is that of the bytes for the wire.
    pub position: Position,
    /// Its kind: a modality, a type of message; empty where it has none.
    pub kind: Cow<'a, str>,
    /// The name under which a store holds it, where the record itself tells; two records of one name are one.
    pub id: Option<Cow<'a, str>>,
    /// The name is made of what is sent: two records of one name are equal, whatever else stands in their sources.
    pub is_named_by_content: bool,
    /// Of its bytes, as they stand in the source ([`super::hash`]).
    pub hash: u128,
    /// Hashes of what it must keep its place in: records of one sequence are sent one after the other. One of several sequences
    /// comes after all that stand before it in any of them.
    pub sequences: Vec<u64>,
    /// A name by which others know it: two records of one such name ought to be one.
    pub alias: Option<Alias>,
    /// A hash of what it belongs to: only records that belong together travel in one request.
    pub together: Option<u64>,
    /// The character set in which it says that it is written, where it says so.
    pub charset: Option<&'static str>,
    /// The things that it is a part of: a word for such things, and a hash of the one. A plan says how many there are
    /// of each.
    pub within: Vec<(&'static str, u64)>,
    /// Its properties: a word for each, and its value, which is no content. A plan counts the values.
    pub properties: Vec<(&'static str, Cow<'a, str>)>,
    /// It holds a byte that ends or begins records where they travel in frames.
    pub holds_frame: bool,
    /// Its source ends before it does: another of its name that is whole is the better one.
    pub is_incomplete: bool,
    /// The reason why it cannot be loaded anywhere.
    pub refused: Option<Reason>,
    /// Remarkable traits of the record, in words without content: they are counted, and the first are named with their
    /// place.
    pub notices: Vec<&'static str>,
}

/// A name by which others than its store know a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// A hash of it.
    pub hash: u64,
    /// The rule for names of its kind.
    pub rule: &'static AliasRule,
}

/// The meaning of a name of which two records have the same.
#[derive(Debug, PartialEq, Eq)]
pub struct AliasRule {
    /// Said of a record whose alias another one has, with other bytes: in words without content.
    pub twice: &'static str,
    /// The store's answers name records by it: the answer to a request with two of one alias would not tell which of them it
    /// is about.
    pub is_in_answers: bool,
}

impl Facets<'_> {
    /// Returns the same with texts of its own.
    #[must_use]
    pub fn owned(&self) -> Facets<'static> {
        let own = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        Facets {
            position: self.position,
            kind: own(&self.kind),
            id: self.id.as_ref().map(own),
            is_named_by_content: self.is_named_by_content,
            hash: self.hash,
            sequences: self.sequences.clone(),
            alias: self.alias,
            together: self.together,
            charset: self.charset,
            within: self.within.clone(),
            properties: (self.properties.iter())
                .map(|(word, value)| (*word, own(value)))
                .collect(),
            holds_frame: self.holds_frame,
            is_incomplete: self.is_incomplete,
            refused: self.refused.clone(),
            notices: self.notices.clone(),
        }
    }

    /// Begins with a record of which nothing is known but where it stands and what its bytes are.
    pub fn at(position: Position, hash: u128) -> Self {
        Self {
            position,
            kind: Cow::Borrowed(""),
            id: None,
            is_named_by_content: false,
            hash,
            sequences: Vec::new(),
            alias: None,
            together: None,
            charset: None,
            within: Vec::new(),
            properties: Vec::new(),
            holds_frame: false,
            is_incomplete: false,
            refused: None,
            notices: Vec::new(),
        }
    }
}
