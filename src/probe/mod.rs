//! Gets the facts of a target.
