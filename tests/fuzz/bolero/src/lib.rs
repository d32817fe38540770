//! The targets of `tests/fuzz/targets.rs`, each as a test that bolero gives inputs to.

#![cfg(test)]

#[path = "../../../support/data.rs"]
#[expect(dead_code, reason = "no Bundles are taken apart here")]
mod data;
#[path = "../../exchange.rs"]
mod exchange;
#[path = "../../memory.rs"]
mod memory;
#[path = "../../seeds.rs"]
mod seeds;
#[path = "../../targets.rs"]
mod targets;

/// Returns a target. Its seeds are put into the folder in which the engine keeps what it has found.
fn target(name: &str) -> &'static targets::Target {
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    if let Some(folder) = std::env::var_os("STOKER_CORPUS") {
        seeds::write(name, std::path::Path::new(&folder));
    }
    target.expect("a target")
}

/// bolero finds a test by the function that its macro stands in.
macro_rules! fuzz {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let target = target(stringify!($name));
                bolero::check!().for_each(|input: &[u8]| target.check(input));
            }
        )*
    };
}

fuzz!(hl7v2_split mllp_decoder mllp_exchange dicom_header stow_answer multipart);
