//! Tests against the embedded local store, over real sockets.

mod store;
