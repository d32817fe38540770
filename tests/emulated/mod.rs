//! Tests over real sockets against the embedded local store.

mod bed;
mod clients;
mod dicom;
mod faults;
mod hl7v2;
mod integrity;
mod mixed;
mod store;
