//! Paths below `…/dicomStores`, and what each names.

use http::StatusCode;

use super::{
    super::reply::Refusal,
    stores::{StorePath, store_path},
};

/// The meaning of such a path.
pub(in crate::emulator) type Path = StorePath<Web>;

/// The meaning of a path below `dicomWeb` (PS3.18 §8.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) enum Web {
    /// `studies`
    Studies,
    /// `series`, of all studies or of one
    Series(Option<String>),
    /// `instances`, of all, of a study or of a series
    Instances(Option<String>, Option<String>),
    /// `studies/{}`
    Study(String),
    /// `studies/{}/series/{}`
    OneSeries(String, String),
    /// `studies/{}/series/{}/instances/{}`
    Instance(String, String, String),
    /// `…/metadata` of a study, a series or an instance
    Metadata(Place),
    /// `…/instances/{}/frames/{1,2,…}`
    Frames(Place, String),
    /// `…/instances/{}/bulkdata/{tag}`
    Bulkdata(Place, String),
    /// `…/rendered`, `…/thumbnail`: images made of pixels
    Rendered,
    /// `…:verb` behind a study, a series or an instance
    Method(Place, String),
}

/// A study, one of its series, one of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) struct Place {
    pub(in crate::emulator) study: String,
    pub(in crate::emulator) series: Option<String>,
    pub(in crate::emulator) instance: Option<String>,
}

impl Place {
    /// Returns the place that a path names; none where it names more than a place.
    pub(in crate::emulator) fn of(web: Web) -> Option<Self> {
        let (study, series, instance) = match web {
            Web::Study(study) => (study, None, None),
            Web::OneSeries(study, series) => (study, Some(series), None),
            Web::Instance(study, series, instance) => (study, Some(series), Some(instance)),
            _ => return None,
        };
        Some(Self {
            study,
            series,
            instance,
        })
    }

    /// Says that nothing is there.
    pub(in crate::emulator) fn not_found(&self) -> Refusal {
        let what = match (&self.series, &self.instance) {
            (_, Some(_)) => "instance",
            (Some(_), None) => "series",
            (None, None) => "study",
        };
        Refusal::google(StatusCode::NOT_FOUND, format!("DICOM {what} not found"))
    }
}

/// Reads the segments behind `dicomStores` in a path; `None` when nothing of the API has that form.
pub(in crate::emulator) fn path(dataset: String, segments: &[&str]) -> Option<Path> {
    store_path(dataset, "dicomStores", segments, |rest| match rest {
        ["dicomWeb", rest @ ..] => web(rest),
        _ => None,
    })
}

fn web(segments: &[&str]) -> Option<Web> {
    let owned = |uid: &&str| (**uid).to_owned();
    if let [before @ .., last] = segments
        && let Some((uid, verb)) = last.split_once(':')
    {
        let on = web(&[before, &[uid]].concat())?;
        return Some(Web::Method(Place::of(on)?, verb.to_owned()));
    }
    Some(match segments {
        ["studies"] => Web::Studies,
        ["series"] => Web::Series(None),
        ["instances"] => Web::Instances(None, None),
        ["studies", study] => Web::Study(owned(study)),
        ["studies", study, "series"] => Web::Series(Some(owned(study))),
        ["studies", study, "instances"] => Web::Instances(Some(owned(study)), None),
        ["studies", study, "series", series] => Web::OneSeries(owned(study), owned(series)),
        ["studies", study, "series", series, "instances"] => {
            Web::Instances(Some(owned(study)), Some(owned(series)))
        }
        ["studies", study, "series", series, "instances", instance] => {
            Web::Instance(owned(study), owned(series), owned(instance))
        }
        [rest @ .., "metadata"] => Web::Metadata(Place::of(web(rest)?)?),
        [.., "rendered" | "thumbnail"] => Web::Rendered,
        [rest @ .., "frames", frames] => Web::Frames(instance(rest)?, owned(frames)),
        [rest @ .., "bulkdata", tag] => Web::Bulkdata(instance(rest)?, owned(tag)),
        _ => return None,
    })
}

fn instance(segments: &[&str]) -> Option<Place> {
    Place::of(web(segments)?).filter(|place| place.instance.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<Web> {
        web(&path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn paths_of_dicomweb() {
        assert_eq!(read("studies"), Some(Web::Studies));
        assert_eq!(
            read("studies/1/series"),
            Some(Web::Series(Some("1".to_owned())))
        );
        let place = |series: Option<&str>, instance: Option<&str>| Place {
            study: "1".to_owned(),
            series: series.map(str::to_owned),
            instance: instance.map(str::to_owned),
        };
        assert_eq!(
            read("studies/1/metadata"),
            Some(Web::Metadata(place(None, None)))
        );
        let instance = "studies/1/series/2/instances/3";
        let of_instance = || place(Some("2"), Some("3"));
        assert_eq!(
            read(&format!("{instance}/frames/1,2")),
            Some(Web::Frames(of_instance(), "1,2".to_owned()))
        );
        assert_eq!(
            read(&format!("{instance}:getStorageInfo")),
            Some(Web::Method(of_instance(), "getStorageInfo".to_owned()))
        );
        assert_eq!(
            read(&format!("{instance}/frames/1/rendered")),
            Some(Web::Rendered)
        );
        for none in [
            "",
            "patients",
            "studies/1/frames/1",
            "studies/1/series/2/bulkdata/3",
            "series:x",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn paths_below_a_store() {
        let read = |segments: &[&str]| path("d".to_owned(), segments);
        let expected = Path::Below {
            dataset: "d".to_owned(),
            store: "d/dicomStores/s".to_owned(),
            below: Web::Studies,
        };
        assert_eq!(read(&["s", "dicomWeb", "studies"]), Some(expected));
        assert_eq!(read(&["s", "fhir"]), None);
    }
}
