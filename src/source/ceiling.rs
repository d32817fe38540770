//! The size from which a record is refused unread.

/// The largest record that is read: five times what the Healthcare API takes in one request (50 MB).
pub const LARGEST_RECORD: usize = 256 << 20;

/// From how many bytes on a record is refused unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// From [`LARGEST_RECORD`] on: nothing is known of the target.
    Any,
    /// The size from which a record is too large, unless it may be a Bundle, whose entries go one by one: the target takes less.
    Limited(usize),
}

impl Ceiling {
    /// Chooses by the largest resource that the target takes.
    pub fn of(resource_bytes: Option<u64>) -> Self {
        /// The ceiling that is little memory anyway: records up to it are read, so that the plan can say more of them
        /// than that they are too large.
        const LITTLE: usize = 16 << 20;
        let bytes = resource_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        match bytes.map(|bytes| bytes.saturating_mul(2).max(LITTLE)) {
            Some(bytes) if bytes < LARGEST_RECORD => Self::Limited(bytes),
            _ => Self::Any,
        }
    }

    /// Returns the number of bytes up to which records are read.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Any => LARGEST_RECORD,
            Self::Limited(bytes) => bytes,
        }
    }

    /// Tells whether it is lower than `bytes`.
    pub(super) fn is_below(self, bytes: u64) -> bool {
        bytes > self.bytes() as u64
    }

    /// Tells whether a text is too large by what has been read of it.
    pub(super) fn refuses(self, begun: &[u8]) -> bool {
        // Serializers write `resourceType` first, or sort the names of the members.
        const HEAD: usize = 4 << 10;
        if begun.len() <= self.bytes() {
            return false;
        }
        let head = begun.get(..HEAD).unwrap_or(begun);
        let may_be_bundle = [&b"\"Bundle\""[..], b"\"entry\""]
            .iter()
            .any(|word| memchr::memmem::find(head, word).is_some());
        begun.len() > LARGEST_RECORD || !may_be_bundle
    }

    /// Says why a record is refused.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Any => "larger than 256 MiB, more than any store takes",
            Self::Limited(_) => "far larger than the target takes, and not read",
        }
    }
}
