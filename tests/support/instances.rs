//! Instances that tests load: told apart by study and number.

use stoker::dicom::sample::{self, SampleInstance};

/// The UIDs of an instance.
pub(crate) struct Uids {
    study: String,
    series: String,
    pub(crate) instance: String,
}

/// Returns the UIDs of an instance of a study.
pub(crate) fn uids(study: impl std::fmt::Display, number: impl std::fmt::Display) -> Uids {
    let (study, series) = (format!("1.2.{study}"), format!("1.2.{study}.1"));
    Uids {
        instance: format!("{series}.{number}"),
        study,
        series,
    }
}

impl Uids {
    /// Describes a tiny instance, with a patient whose name must not be seen.
    pub(crate) fn tiny(&self) -> SampleInstance<'_> {
        SampleInstance {
            study: &self.study,
            series: &self.series,
            instance: &self.instance,
            modality: "DX",
            name: "Plantedname^Anna",
            patient: "planted-7",
            date: "20240314",
            description: "Plantedscan",
            number: 1,
            rows: 8,
            columns: 8,
            frames: 1,
        }
    }
}

/// Returns the bytes of an instance.
pub(crate) fn written(sample: &SampleInstance<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample::write(sample, &mut bytes).unwrap();
    bytes
}
