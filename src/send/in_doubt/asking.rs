//! The way in which records are asked about, by the answer that leaves them in doubt.

use super::UnclearAnswer;
use crate::target::Little;

/// The facts of the answer that leaves a record in doubt.
#[derive(Debug, Clone, Copy)]
pub(in crate::send) struct Asking {
    /// None came: what was sent may still be at work.
    pub(super) is_lost: bool,
    /// The status of the one that came, and told too little.
    pub(super) status: Option<u16>,
    /// It was 200 and nothing else.
    pub(super) is_bare: bool,
}

impl Asking {
    /// No answer came.
    pub(in crate::send) fn of_lost() -> Self {
        Self {
            is_lost: true,
            status: None,
            is_bare: false,
        }
    }

    /// One may have come.
    pub(super) fn of(mumbled: Option<&UnclearAnswer>) -> Self {
        mumbled.map_or_else(Self::of_lost, |mumbled| Self {
            is_lost: false,
            status: mumbled.little.is_some().then_some(mumbled.status),
            is_bare: mumbled.little == Some(Little::Bare),
        })
    }

    pub(super) fn note(self) -> &'static str {
        if self.is_lost {
            "its answer was lost; the store has it"
        } else {
            "its answer told too little; the store has it"
        }
    }
}
