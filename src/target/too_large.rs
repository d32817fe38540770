//! The reasons for which a request was refused for its size.

/// The reason why a request was too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLarge {
    /// It has too many bytes, or one of the two.
    Bytes,
    /// It has too many records.
    Records,
}

impl TooLarge {
    /// Reads it off a status: 413 says it (RFC 9110 §15.5.14), also from a proxy.
    pub fn of_status(status: u16) -> Option<Self> {
        (status == 413).then_some(Self::Bytes)
    }
}
