//! Tests over real sockets against the embedded local store.

mod bed;
mod clients;
mod faults;
mod integrity;
mod mixed;
mod store;
