//! Builds the requests of a target and reads its responses. Sends nothing itself.
