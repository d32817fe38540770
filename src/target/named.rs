//! A record by the name under which a store holds it, and in the version in which it is to be deleted.

/// A record by the name under which a store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its kind: a resource type, a modality, a message type.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
}

/// A record that is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion<'a> {
    /// The record.
    pub record: Named<'a>,
    /// The only version in which it is deleted; any, where none is given.
    pub version: Option<&'a str>,
}
