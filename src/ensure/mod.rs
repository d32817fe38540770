//! Creates datasets and stores that are missing.
