//! A record by the name under which a store holds it.

/// A record by the name under which a store holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its kind: a resource type, a modality, a message type.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
}
