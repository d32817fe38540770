//! Differences between a store's copy of a record and its source.

/// A place at which a store's copy of a record differs from its source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// The element, or the segment: no content.
    pub path: String,
    /// The value in the source: content; none where there is none.
    pub ours: Option<String>,
    /// The value in the store: content; none where there is none.
    pub theirs: Option<String>,
}

impl Difference {
    /// The highest number of differences that are told of one record.
    pub const MOST: usize = 20;

    /// Returns the difference of a whole element, without its values.
    pub fn of_element(path: String) -> Self {
        Self {
            path,
            ours: None,
            theirs: None,
        }
    }

    /// The bytes as a whole are others.
    pub fn of_bytes() -> Self {
        Self {
            path: "(bytes)".to_owned(),
            ours: None,
            theirs: None,
        }
    }
}

/// Records of a store, a page of them.
#[derive(Debug)]
pub struct StoreListing {
    /// Their ids.
    pub ids: Vec<String>,
    /// The kind of each, in their order; none where the page does not tell.
    pub kinds: Vec<Option<String>>,
    /// The request for the next page.
    pub next: Option<http::Request<bytes::Bytes>>,
    /// There is a next page, at an address that is not the store's: nobody is asked there.
    pub is_elsewhere: bool,
}

/// Records of a store that refer to others.
#[derive(Debug, Default)]
pub struct Referrers {
    /// The kind and the id of each, and which it refers to of those that were asked about, by their place among them.
    pub found: Vec<(String, String, Vec<usize>)>,
    /// The store has named all of them.
    pub is_whole: bool,
}

/// A version of a record that a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The version's id.
    pub version: String,
    /// The record in this version: content; none of a deletion.
    pub resource: Option<bytes::Bytes>,
}

/// Opens the bytes of a record, from their beginning.
pub type Open<'a> = &'a dyn Fn() -> std::io::Result<Box<dyn std::io::Read>>;
