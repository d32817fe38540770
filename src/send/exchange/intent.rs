//! The intent of a request that must not be sent twice: written down before it leaves.

use tokio::sync::OwnedSemaphorePermit;

/// The steps towards an intent in the journal. As long as it is there, a session that goes on after a crash asks the store
/// about the records; so no more of them are there at a time than permits.
#[derive(Debug, Default)]
pub(super) enum Intent {
    /// None is needed, or not yet.
    #[default]
    None,
    /// It may be written down.
    Permitted(OwnedSemaphorePermit),
    /// The journal holds the records as about to be sent.
    Written(OwnedSemaphorePermit),
}

impl Intent {
    /// Tells whether the journal holds the records as about to be sent.
    pub(super) fn is_written(&self) -> bool {
        matches!(self, Self::Written(_))
    }

    /// Gives its permit away: it is let go when what became of the records is written down.
    pub(super) fn into_permit(self) -> Option<OwnedSemaphorePermit> {
        match self {
            Self::None => None,
            Self::Permitted(permit) | Self::Written(permit) => Some(permit),
        }
    }
}
