//! Tests over real sockets against the embedded local store.

mod store;
