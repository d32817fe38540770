//! DICOM in real files: who every instance of a set is, and why the others are none.

mod cut;
mod imaging;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write as _};

use fs_err as fs;
use proptest::prelude::*;
use stoker::dicom::{
    self,
    header::{self, End, IdentityPart, InstanceHeader, NotAnInstance},
    multipart::Boundary,
    sample::{self, SampleInstance},
};

use crate::support::data;

/// A row of the set's own list of its files.
struct Row {
    path: String,
    is_part_10: bool,
    syntax: String,
    modality: String,
    study: String,
    series: String,
    instance: String,
    class: String,
}

fn rows(list: &str) -> Vec<Row> {
    let rows = list.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let column = |at: usize| columns[at].to_owned();
        Row {
            path: column(0),
            is_part_10: columns[3] == "ok",
            syntax: column(4),
            modality: column(5),
            study: column(7),
            series: column(8),
            instance: column(9),
            class: column(10),
        }
    });
    rows.collect()
}

/// Why the others are no instances, and how many of them.
const REASONS: &[(&str, usize)] = &[
    (
        "a DICOM data set without its meta header (no Part-10 file)",
        4,
    ),
    (
        "a DICOMDIR: the directory of a medium, which is no instance",
        8,
    ),
    ("no DICOM file", 1),
    ("no SOPClassUID (0008,0016)", 7),
    ("no StudyInstanceUID (0020,000D)", 12),
    ("no TransferSyntaxUID (0002,0010) in the meta header", 1),
];

#[test]
fn every_instance_of_the_set_is_known_and_all_others_have_a_reason() {
    let Some(set) = data::set("dicom") else {
        return;
    };
    let rows = rows(&fs::read_to_string(set.join("MANIFEST.tsv")).unwrap());
    assert_eq!(rows.len(), 275);
    let mut storable = 0;
    let mut cut = Vec::new();
    let mut reasons: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for row in &rows {
        let file = fs::read(set.join(&row.path)).unwrap();
        let path = &row.path;
        let is_known = dicom::looks_like(&file[..file.len().min(dicom::ENOUGH)]);
        let parts = [&row.study, &row.series, &row.instance, &row.class];
        let is_storable = row.is_part_10 && parts.iter().all(|part| !part.is_empty());
        let read = header::read(file.as_slice()).unwrap();
        assert_eq!(is_known, read != Err(NotAnInstance::NoDicom), "{path}");
        if read.is_ok() && is_cut(&file) {
            cut.push(path.as_str());
        }
        match read {
            Ok(header) => {
                assert!(is_storable, "{path}: {header:?}");
                storable += 1;
                let read = [
                    &header.transfer_syntax,
                    &header.study,
                    &header.series,
                    &header.instance,
                    &header.sop_class,
                ];
                let listed = [
                    &row.syntax,
                    &row.study,
                    &row.series,
                    &row.instance,
                    &row.class,
                ];
                assert_eq!(read, listed, "{path}");
                assert_eq!(header.modality.unwrap_or_default(), row.modality, "{path}");
            }
            Err(refusal) => {
                assert!(!is_storable, "{path}: {refusal}");
                reasons.entry(refusal.to_string()).or_default().push(path);
            }
        }
    }
    assert_eq!(storable, 242);
    let counts: Vec<(&str, usize)> = reasons
        .iter()
        .map(|(reason, paths)| (reason.as_str(), paths.len()))
        .collect();
    assert_eq!(counts, REASONS, "{reasons:?}");
    // Their identity stands before the cut, and the list counts them among the storable.
    assert_eq!(
        cut,
        [
            "pydicom/test_files/MR_truncated.dcm",
            "pydicom/test_files/rtplan_truncated.dcm",
            "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm",
        ]
    );
}

/// Tells whether a file ends before its data set does.
fn is_cut(mut file: &[u8]) -> bool {
    let header = header::read_whole(&mut file).unwrap().unwrap();
    header.is_cut(file).unwrap()
}

/// Returns an instance with a deflated data set.
fn deflated(instance: &[u8]) -> Vec<u8> {
    let header = header::read(instance).unwrap().unwrap();
    let set = &instance[usize::try_from(header.begins).unwrap()..];
    let mut file = instance[..132].to_vec();
    let length = u8::try_from(header::DEFLATED.len()).unwrap();
    file.extend_from_slice(&[2, 0, 0x10, 0, b'U', b'I', length, 0]);
    file.extend_from_slice(header::DEFLATED.as_bytes());
    let mut to = flate2::write::DeflateEncoder::new(file, flate2::Compression::none());
    to.write_all(set).unwrap();
    to.finish().unwrap()
}

#[test]
fn a_deflated_instance_is_cut_wherever_it_ends_early() {
    let whole = written(&tiny());
    let file = deflated(&whole);
    assert!(!is_cut(&file));
    // Some programs pad to an even length.
    assert!(!is_cut(&[&file[..], &[0]].concat()));
    for length in file.len() - 64..file.len() {
        assert!(is_cut(&file[..length]), "{length}");
    }
    // What was cut before it was deflated is a whole stream.
    assert!(is_cut(&deflated(&whole[..whole.len() - 2])));
}

#[test]
fn a_uid_that_cannot_be_used_is_not_called_missing() {
    let long = "1.2.".repeat(17);
    let longer = "1.2.".repeat(40);
    for study in ["1.2/3", "1.2 3", &long, &longer] {
        let bytes = written(&SampleInstance { study, ..tiny() });
        let refusal = NotAnInstance::Unusable(IdentityPart::Study);
        assert_eq!(header::read(bytes.as_slice()).unwrap(), Err(refusal));
    }
    let bytes = written(&SampleInstance {
        study: "",
        ..tiny()
    });
    let refusal = NotAnInstance::Missing(IdentityPart::Study);
    assert_eq!(header::read(bytes.as_slice()).unwrap(), Err(refusal));
}

fn tiny() -> SampleInstance<'static> {
    SampleInstance {
        study: "1.2.3",
        series: "1.2.3.4",
        instance: "1.2.3.4.5",
        modality: "DX",
        name: "Rivera^Ana",
        patient: "p-1",
        date: "20240314",
        description: "Chest",
        number: 1,
        rows: 8,
        columns: 8,
        frames: 1,
    }
}

fn written(sample: &SampleInstance<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample::write(sample, &mut bytes).unwrap();
    bytes
}

/// Counts what is read of it.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

#[test]
fn nothing_is_read_behind_the_head_of_the_pixels() {
    let sample = SampleInstance {
        rows: 1000,
        columns: 1000,
        ..tiny()
    };
    let bytes = written(&sample);
    let mut counted = Counted(Cursor::new(&bytes), 0);
    let header = header::read(&mut counted).unwrap().unwrap();
    let End::Pixels { at, length } = header.end else {
        panic!("{header:?}");
    };
    assert_eq!((counted.1, length), (at, Some(1_000_000)));
    assert_eq!(bytes.len() as u64, at + 1_000_000);
    assert!(!is_cut(&bytes) && is_cut(&bytes[..bytes.len() - 1]));
}

#[test]
fn an_instance_without_preamble_is_the_same_instance() {
    let bytes = written(&tiny());
    let whole = header::read(bytes.as_slice()).unwrap().unwrap();
    // The first meta element is the group's length, with and without the mark before it.
    for (skipped, is_marked) in [(128, true), (132, false)] {
        let bare = &bytes[skipped..];
        let header = header::read(bare).unwrap().unwrap();
        assert_eq!(known(&header), known(&whole), "{is_marked}");
        assert!(!header.has_preamble);
        assert!(!is_cut(bare) && is_cut(&bare[..bare.len() - 1]));
    }
}

#[test]
fn an_instance_that_is_cut_before_its_identity_is_refused_as_cut() {
    let bytes = written(&tiny());
    for length in 200..340 {
        let read = header::read(&bytes[..length]).unwrap();
        match read {
            Err(
                NotAnInstance::Cut | NotAnInstance::NoTransferSyntax | NotAnInstance::Missing(_),
            ) => {}
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn a_length_that_lies_takes_no_memory_and_no_time() {
    let mut bytes = written(&tiny());
    bytes.truncate(132);
    bytes.extend_from_slice(b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
    bytes.extend_from_slice(b"\x08\0\x05\0UN\0\0\xfe\xff\xff\xff");
    assert_eq!(
        header::read(bytes.as_slice()).unwrap(),
        Err(NotAnInstance::Cut)
    );
    let endless = bytes.as_slice().chain(std::io::repeat(0));
    assert_eq!(header::read(endless).unwrap(), Err(NotAnInstance::TooLong));
}

#[test]
fn depth_costs_no_stack() {
    let mut bytes = written(&tiny());
    bytes.truncate(132);
    bytes.extend_from_slice(b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
    for _ in 0..1_000_000 {
        bytes.extend_from_slice(
            b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff",
        );
    }
    assert_eq!(
        header::read(bytes.as_slice()).unwrap(),
        Err(NotAnInstance::Cut)
    );
}

#[test]
fn a_boundary_in_an_instance_is_seen() {
    let boundary = Boundary::of(42);
    let mut bytes = written(&tiny());
    assert!(!boundary.stands_in(bytes.as_slice()).unwrap());
    bytes.extend_from_slice(boundary.as_str().as_bytes());
    assert!(boundary.stands_in(bytes.as_slice()).unwrap());
}

fn known(header: &InstanceHeader) -> [&str; 4] {
    [
        &header.study,
        &header.series,
        &header.instance,
        &header.sop_class,
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 132..700_usize, byte in any::<u8>()) {
        let _ = header::read(bytes.as_slice());
        let mut marked = vec![0; 128];
        marked.extend_from_slice(b"DICM");
        marked.extend_from_slice(&bytes);
        let _ = header::read(marked.as_slice());
        let mut changed = written(&tiny());
        let place = at.min(changed.len() - 1);
        changed[place] = byte;
        let _ = header::read(changed.as_slice());
    }

    #[test]
    fn what_is_written_is_read(rows in 1..40_u16, columns in 1..40_u16, frames in 1..4_u32) {
        let sample = SampleInstance { rows, columns, frames, ..tiny() };
        let bytes = written(&sample);
        let header = header::read(bytes.as_slice()).unwrap().unwrap();
        prop_assert_eq!(known(&header), [sample.study, sample.series, sample.instance, sample::SOP_CLASS]);
        prop_assert!(!is_cut(&bytes));
        prop_assert!(is_cut(&bytes[..bytes.len() - 1]));
    }
}
