//! Files, streams and their formats, as a stream of records with positions.
//!
//! `glob` finds files, `decompress` opens them (capped), `spool` keeps what cannot be read twice, `json`,
//! `ndjson` and `bundle` cut them into records. What is done with a record is decided by `plan`.
