//! Pure knowledge of FHIR JSON: finding what matters in a record without re-making it.
//!
//! `scan` walks a record once and finds its resourceType, id, identifiers and references with their byte
//! spans; `bundle` does the same for the envelope of a Bundle entry; `splice` puts new text in at such spans;
//! `outcome` reads OperationOutcomes. Nothing here does I/O or knows a target.
