//! The only truth of what happened in a run: append-only, durable first.
