//! The things that a refused record lacks, as far as its own bytes and the plan show them.

use serde::{Deserialize, Serialize};

/// A thing that a refused record lacks. Without content: an element, and a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// The element: that of a reference, or one that has to be there.
    pub path: String,
    /// The kind that the reference is to, which no record of the plan is; none where the element itself is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}
