//! One test binary; each module is a layer of tests (see `src/lib.rs` for the layers of the code).

mod support {
    pub(crate) mod data;
}
mod sources;
