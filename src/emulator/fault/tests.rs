//! Tests of how scenarios are read and decided.
