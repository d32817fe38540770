//! The obstacle to a record that its store says it has already, as a code for journal and reports.

/// The thing that a store has in the place of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// Another one under its name.
    Other,
    /// Something under its name that could not be compared.
    Uncompared,
    /// Something under its name that was to be removed, and was not.
    Unremoved,
    /// Nothing under its name: another record has its identifier.
    Elsewhere,
}

impl InTheWay {
    const ALL: [Self; 4] = [
        Self::Other,
        Self::Uncompared,
        Self::Unremoved,
        Self::Elsewhere,
    ];

    /// Returns the code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Other => "other-content",
            Self::Uncompared => "not-compared",
            Self::Unremoved => "not-removed",
            Self::Elsewhere => "other-place",
        }
    }

    /// Reads a code.
    pub(in crate::target) fn of(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == code)
    }
}
