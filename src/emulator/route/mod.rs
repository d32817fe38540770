//! Paths of the Healthcare API: which request is about what.

pub(super) mod dicom;
pub(super) mod fhir;
pub(super) mod hl7v2;
mod stores;

use self::fhir::{FhirPath, fhir_path};
pub(super) use self::stores::StorePath;
use super::query::decode;
use super::reply::Refusal;

/// The meaning of a path below `v1/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: the server itself.
    Root,
    /// `…/locations/{l}/datasets`
    Datasets { location: String },
    /// `…/datasets/{d}`
    Dataset { name: String },
    /// `…/datasets/{d}/operations`
    Operations { dataset: String },
    /// `…/datasets/{d}/operations/{o}`
    Operation { name: String },
    /// `…/datasets/{d}/fhirStores`
    Stores { dataset: String },
    /// `…/fhirStores/{f}`
    Store { dataset: String, name: String },
    /// `…:verb` behind any of these names: a method of its own.
    Method { on: Box<Self>, verb: String },
    /// `…/hl7V2Stores…`
    Hl7v2(hl7v2::Path),
    /// `…/dicomStores…`
    Dicom(dicom::Path),
    /// `…/fhirStores/{f}/fhir…`
    Fhir { store: String, path: FhirPath },
}

/// Reads the path of a request: the version of the API, and what is meant.
pub(super) fn route(path: &str) -> Result<(&'static str, Route), Refusal> {
    let unknown = || {
        Refusal::google(
            http::StatusCode::NOT_FOUND,
            "The requested URL was not found on this server.",
        )
    };
    let mut segments = Vec::new();
    for segment in path.split('/').skip(1) {
        segments.push(decode(segment).ok_or_else(unknown)?);
    }
    // A slash at the end means nothing.
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let Some((version, rest)) = segments.split_first() else {
        return Ok(("v1", Route::Root));
    };
    let version = match *version {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        _ => return Err(unknown()),
    };
    if rest.iter().take(8).any(|segment| segment.is_empty()) {
        return Err(unknown());
    }
    let [
        "projects",
        project,
        "locations",
        location,
        "datasets",
        rest @ ..,
    ] = rest
    else {
        return Err(unknown());
    };
    let location = format!("projects/{project}/locations/{location}");
    let [dataset, rest @ ..] = rest else {
        return Ok((version, Route::Datasets { location }));
    };
    if let ["hl7V2Stores", rest @ ..] = rest {
        let dataset = format!("{location}/datasets/{dataset}");
        let path = hl7v2::path(dataset, rest).ok_or_else(unknown)?;
        return Ok((version, Route::Hl7v2(path)));
    }
    if let ["dicomStores", rest @ ..] = rest {
        let dataset = format!("{location}/datasets/{dataset}");
        let path = dicom::path(dataset, rest).ok_or_else(unknown)?;
        return Ok((version, Route::Dicom(path)));
    }
    // No name holds a colon: behind it stands the verb of a method.
    let (end, verb) = match rest.last().unwrap_or(dataset).split_once(':') {
        Some((end, verb)) if !matches!(rest, ["fhirStores", _, "fhir", ..]) => (end, Some(verb)),
        _ => (*rest.last().unwrap_or(dataset), None),
    };
    let dataset = if rest.is_empty() { end } else { dataset };
    let dataset = format!("{location}/datasets/{dataset}");
    let route = match rest {
        [] => Route::Dataset { name: dataset },
        ["operations"] if verb.is_none() => Route::Operations { dataset },
        ["operations", _] => Route::Operation {
            name: format!("{dataset}/operations/{end}"),
        },
        ["fhirStores"] if verb.is_none() => Route::Stores { dataset },
        ["fhirStores", _] => Route::Store {
            name: format!("{dataset}/fhirStores/{end}"),
            dataset,
        },
        ["fhirStores", store, "fhir", rest @ ..] => {
            let store = format!("{dataset}/fhirStores/{store}");
            Route::Fhir {
                store,
                path: fhir_path(rest).ok_or_else(unknown)?,
            }
        }
        _ => return Err(unknown()),
    };
    Ok(match verb {
        None => (version, route),
        Some(verb) => {
            let verb = verb.to_owned();
            let on = Box::new(route);
            (version, Route::Method { on, verb })
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(path: &str) -> Route {
        route(path).unwrap().1
    }

    #[test]
    fn names() {
        let store = "/v1/projects/p/locations/l/datasets/d/fhirStores/f";
        let Route::Fhir {
            path, store: name, ..
        } = read(&format!("{store}/fhir/Patient/a%2Db/_history/v"))
        else {
            panic!("a FHIR path");
        };
        assert_eq!(
            path,
            FhirPath::Version("Patient", "a-b".to_owned(), "v".to_owned())
        );
        assert_eq!(name, "projects/p/locations/l/datasets/d/fhirStores/f");
        for (path, on) in [
            (
                "/v1/projects/p/locations/l/datasets/d",
                "projects/p/locations/l/datasets/d",
            ),
            (store, "projects/p/locations/l/datasets/d/fhirStores/f"),
            (
                "/v1/projects/p/locations/l/datasets/d/operations/7",
                "projects/p/locations/l/datasets/d/operations/7",
            ),
        ] {
            let Route::Method { on: found, verb } = read(&format!("{path}:getIamPolicy")) else {
                panic!("{path}: a method");
            };
            assert_eq!(verb, "getIamPolicy");
            let (Route::Dataset { name } | Route::Store { name, .. } | Route::Operation { name }) =
                *found
            else {
                panic!("{path}: {found:?}");
            };
            assert_eq!(name, on);
        }
        assert!(matches!(
            read(&format!("{store}/fhir/")),
            Route::Fhir {
                path: FhirPath::Base,
                ..
            }
        ));
        assert_eq!(read("/"), Route::Root);
        for path in [
            "/v2/projects",
            "/v1",
            "/v1/projects/p/locations//datasets",
            "/v1/%ff",
            "/v1/%4",
        ] {
            assert!(route(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in ".*") {
            let _ = route(&path);
            let _ = super::super::query::query(&path);
        }
    }
}
