//! The instances of `resources/imaging/`: written by code, so that nobody has to trust bytes.

use std::path::{Path, PathBuf};

use fs_err as fs;
use stoker::dicom::{
    header,
    sample::{self, SampleInstance},
};

/// The day of `resources/hl7v2/`.
const DAY: &str = "20250304";

/// Every file of the directory: a chest of two views, a hand, and a loop of an ultrasound of four frames.
const FILES: &[(&str, SampleInstance<'static>)] = &[
    ("jose-munoz-chest/frontal.dcm", JOSE),
    (
        "jose-munoz-chest/lateral.dcm",
        SampleInstance {
            series: "2.25.2025030410002.2",
            instance: "2.25.2025030410002.2.1",
            columns: 16,
            ..JOSE
        },
    ),
    ("katarzyna-wojcik-hand.dcm", KATARZYNA),
    (
        // Media name their files like this one.
        "IM000001",
        SampleInstance {
            study: "2.25.2025030410001",
            series: "2.25.2025030410001.1",
            instance: "2.25.2025030410001.1.1",
            modality: "US",
            name: "Lindqvist^Anna^Margareta",
            patient: "TH-10001",
            date: "20250121",
            description: "Thyroid",
            number: 1,
            rows: 16,
            columns: 16,
            frames: 4,
        },
    ),
];

const JOSE: SampleInstance<'static> = SampleInstance {
    study: "2.25.2025030410002",
    series: "2.25.2025030410002.1",
    instance: "2.25.2025030410002.1.1",
    modality: "DX",
    name: "Muñoz Íñiguez^José^Ángel",
    patient: "TH-10002",
    date: DAY,
    description: "Chest in two views",
    number: 1,
    rows: 32,
    columns: 32,
    frames: 1,
};

const KATARZYNA: SampleInstance<'static> = SampleInstance {
    study: "2.25.2025030410003",
    series: "2.25.2025030410003.1",
    instance: "2.25.2025030410003.1.1",
    modality: "CR",
    name: "Wójcik^Katarzyna",
    patient: "TH-10003",
    date: DAY,
    description: "Left hand",
    number: 1,
    rows: 24,
    columns: 24,
    frames: 1,
};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("resources/imaging")
}

fn bytes(sample: &SampleInstance<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample::write(sample, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_samples_are_what_the_code_writes() {
    for (name, sample) in FILES {
        let file = fs::read(dir().join(name)).unwrap();
        assert!(
            file == bytes(sample),
            "{name} differs: see resources/imaging/README.md"
        );
        let header = header::read(file.as_slice()).unwrap().unwrap();
        assert_eq!(header.instance, sample.instance);
    }
    let entries = walkdir::WalkDir::new(dir()).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    // The README is the one other file.
    assert_eq!(files.count(), FILES.len() + 1);
}

#[test]
#[ignore = "writes resources/imaging anew"]
fn write() {
    for (name, sample) in FILES {
        let path = dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes(sample)).unwrap();
    }
}
