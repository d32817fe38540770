//! One test binary; each module is a layer of tests (see `src/lib.rs` for the layers of the code).

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod dicom;
#[cfg(test)]
mod emulated;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod habits;
#[cfg(test)]
mod hl7v2;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod network;
#[cfg(test)]
mod references;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod splices;
#[cfg(test)]
mod support;
#[cfg(test)]
mod toy;
