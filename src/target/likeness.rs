//! The likeness of a store's copy of a record to what was sent.

/// The likeness of a store's copy of a record to what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// The copy says the same, but for what a store writes by itself.
    Same,
    /// As [`Likeness::Same`], under another id.
    ButId,
    /// As [`Likeness::ButId`], and a store may have added what its own rules say.
    MadeOf,
    /// As [`Likeness::MadeOf`], whatever the references in it lead to.
    ButReferences,
}
