//! One test binary; each module is a layer of tests (see `src/lib.rs` for the layers of the code).

#[cfg(test)]
mod emulated;
