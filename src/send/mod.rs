//! Carries a plan out: one gate per target, outcomes into the ledger, events to those who watch.
