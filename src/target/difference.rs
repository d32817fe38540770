//! Where what a store holds is not what its source says.

/// Where what a store holds is not what its source says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Difference {
    /// The element, or the segment: no content.
    pub path: String,
    /// What the source says: content; none where it says nothing.
    pub ours: Option<String>,
    /// What the store holds: content; none where it holds nothing.
    pub theirs: Option<String>,
}

impl Difference {
    /// The highest number of differences that are told of one record.
    pub const MOST: usize = 20;

    /// An element is another; what it holds is not told.
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
    /// The request for the next page.
    pub next: Option<http::Request<bytes::Bytes>>,
}

/// A version of a record that a store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Which.
    pub version: String,
    /// What it holds: content; none of a deletion.
    pub resource: Option<bytes::Bytes>,
}
