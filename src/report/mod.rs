//! What became of every record, computed from a run's journal alone.
