//! The targets of `tests/fuzz/targets.rs`, each as a test that bolero gives inputs to.

#![cfg(test)]

#[path = "../../../support/data.rs"]
mod data;
#[path = "../../exchange.rs"]
mod exchange;
#[path = "../../memory.rs"]
mod memory;
#[path = "../../seeds.rs"]
mod seeds;
#[path = "../../targets.rs"]
mod targets;

/// Gives a target inputs. The seeds are put into the folder in which the engine keeps what it has found.
fn fuzz(name: &str) {
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target");
    if let Some(folder) = std::env::var_os("STOKER_CORPUS") {
        seeds::write(name, std::path::Path::new(&folder));
    }
    bolero::check!().for_each(|input: &[u8]| target.check(input));
}

#[test]
fn hl7v2_split() {
    fuzz("hl7v2_split");
}

#[test]
fn mllp_decoder() {
    fuzz("mllp_decoder");
}

#[test]
fn mllp_exchange() {
    fuzz("mllp_exchange");
}

#[test]
fn dicom_header() {
    fuzz("dicom_header");
}

#[test]
fn stow_answer() {
    fuzz("stow_answer");
}

#[test]
fn multipart() {
    fuzz("multipart");
}
