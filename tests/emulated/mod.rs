//! Tests over real sockets against the embedded local store.

mod bed;
mod integrity;
mod store;
