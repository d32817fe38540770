//! QIDO-RS: studies, series and instances are searched for (PS3.18 §10.6; DICOM conformance statement of the Healthcare API).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Response, StatusCode};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::super::app::App;
use super::super::reply::Refusal;
use super::super::route::dicom::Web;
use super::super::stores::dicom::Store;
use super::response::{self, JSON};
use super::rows::{self, Within};
use crate::dicom::element::Tag;
use crate::dicom::query::{self, Query, Wrong};

/// The number of answers unless the client wants fewer or more, and the greatest number (quotas page).
const STUDIES: (u64, u64) = (100, 5_000);
/// See [`STUDIES`].
const INSTANCES: (u64, u64) = (1_000, 50_000);
/// The greatest number of answers that may be passed over.
const OFFSET: u64 = 1_000_000;

/// The level of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Study,
    Series,
    Instance,
}

/// The attributes of a study that are answered (PS3.18 table 10.6.3-3).
const OF_STUDY: &[&str] = &[
    "00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00080201",
    "00081030", "00081190", "00100010", "00100020", "00100030", "00100040", "0020000D", "00200010",
    "00201206", "00201208",
];
/// The same of a series (table 10.6.3-4).
const OF_SERIES: &[&str] = &[
    "00080005", "00080060", "0008103E", "00081190", "0020000D", "0020000E", "00200011", "00201209",
    "00400244", "00400245", "00400275",
];
/// The same of an instance (table 10.6.3-5).
const OF_INSTANCE: &[&str] = &[
    "00080005", "00080016", "00080018", "00080056", "00081190", "0020000D", "0020000E", "00200013",
    "00280008", "00280010", "00280011", "00280100",
];

/// Answers a search.
pub(super) async fn search(
    app: &Arc<App>,
    store: Arc<Store>,
    web: Web,
    pairs: &[(String, String)],
    headers: &HeaderMap,
    base: &str,
) -> Result<Response<Body>, Refusal> {
    let takes = response::accepted(headers);
    let is_json =
        |media: &str| matches!(media, JSON | "application/json" | "*/*" | "application/*");
    let takes_xml = |accepted: &response::Accepted| {
        accepted.part.as_deref() == Some("application/dicom+xml") || accepted.media.ends_with("xml")
    };
    if !takes.is_empty()
        && !takes.iter().any(|accepted| is_json(&accepted.media))
        && takes.iter().all(takes_xml)
    {
        return Err(response::not_acceptable(
            "the local store answers searches in application/dicom+json",
        ));
    }
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        // These are the API's own, for every method.
        .filter(|(name, _)| !matches!(*name, "alt" | "key" | "prettyPrint" | "fields" | "$.xgafv"));
    let query = query::read(pairs).map_err(|wrong| refused(&wrong))?;
    if query.offset > OFFSET {
        return Err(refused(&Wrong::Number("offset")));
    }
    let (level, within) = match web {
        Web::Studies => (Level::Study, Within::default()),
        Web::Series(study) => (
            Level::Series,
            Within {
                study,
                ..Within::default()
            },
        ),
        Web::Instances(study, series) => (
            Level::Instance,
            Within {
                study,
                series,
                instance: None,
            },
        ),
        _ => return Err(super::super::google::not_found()),
    };
    let base = base.to_owned();
    let found = app
        .database
        .read(move |connection| find(connection, &store, level, within, &query, &base))
        .await?;
    if found.is_empty() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let body = Bytes::from(Value::Array(found).to_string());
    Ok(response::of(StatusCode::OK, JSON, body))
}

fn refused(wrong: &Wrong) -> Refusal {
    Refusal::google(StatusCode::BAD_REQUEST, wrong.to_string())
}

/// A finding: one study, series or instance.
struct Found {
    set: Map<String, Value>,
    instances: u64,
    series: BTreeSet<String>,
    modalities: BTreeSet<String>,
    url: String,
}

fn find(
    connection: &Connection,
    store: &Store,
    level: Level,
    mut within: Within,
    query: &Query,
    base: &str,
) -> Result<Vec<Value>, Refusal> {
    let named = within.clone();
    // A single UID that is asked for is found by the index.
    for (tag, wanted) in &query.matches {
        let is_one = !wanted.is_empty() && !wanted.contains(['*', '?', ',', '\\']);
        let place = match *tag {
            Tag::STUDY => &mut within.study,
            Tag::SERIES => &mut within.series,
            Tag::SOP_INSTANCE => &mut within.instance,
            _ => continue,
        };
        if is_one && place.is_none() {
            *place = Some(wanted.clone());
        }
    }
    let (usual, most) = if level == Level::Instance {
        INSTANCES
    } else {
        STUDIES
    };
    let limit = query.limit.unwrap_or(usual).min(most);
    let answers = |found: &Found| {
        query.matches.iter().all(|(tag, wanted)| {
            let answers = |value: &str| query::answers(*tag, wanted, value, query.is_fuzzy);
            // ModalitiesInStudy
            if *tag == Tag(0x0008, 0x0061) {
                return found.modalities.iter().any(|modality| answers(modality));
            }
            answers(&value(&found.set, *tag))
        })
    };
    let mut passed = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut all, mut places): (Vec<Found>, HashMap<String, usize>) = Default::default();
    rows::each(connection, store, &within, |instance| {
        let set = instance.set()?;
        let mut key = instance.study.clone();
        if level == Level::Series {
            key.push('/');
            key.push_str(&instance.series);
        }
        let modality = value(&set, Tag::MODALITY);
        if level == Level::Instance {
            let found = Found {
                url: instance.url(base),
                set,
                instances: 1,
                series: BTreeSet::new(),
                modalities: [modality].into(),
            };
            // Every row is an answer of its own: what is not shown is not held, and not looked for.
            if answers(&found) {
                if passed > 0 {
                    passed -= 1;
                } else {
                    all.push(found);
                }
            }
            return Ok(all.len() < limit);
        }
        let at = if let Some(at) = places.get(&key) {
            *at
        } else {
            let mut url = format!("{base}/studies/{}", instance.study);
            if level == Level::Series {
                url.push_str("/series/");
                url.push_str(&instance.series);
            }
            places.insert(key, all.len());
            all.push(Found {
                set,
                instances: 0,
                series: BTreeSet::new(),
                modalities: BTreeSet::new(),
                url,
            });
            all.len() - 1
        };
        if let Some(found) = all.get_mut(at) {
            found.instances += 1;
            found.series.insert(instance.series);
            found
                .modalities
                .extend(Some(modality).filter(|m| !m.is_empty()));
        }
        Ok(true)
    })?;
    if level != Level::Instance {
        all.retain(answers);
    }
    Ok(all
        .into_iter()
        .skip(passed)
        .take(limit)
        .map(|found| shown(found, level, &named, query))
        .collect())
}

/// Returns the first value of an attribute, as text.
fn value(set: &Map<String, Value>, Tag(group, element): Tag) -> String {
    let element = set.get(&format!("{group:04X}{element:04X}"));
    match element.and_then(|element| element["Value"].get(0)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(name)) => name
            .get("Alphabetic")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        Some(number @ Value::Number(_)) => number.to_string(),
        _ => String::new(),
    }
}

/// Chooses the attributes that are answered.
fn shown(found: Found, level: Level, within: &Within, query: &Query) -> Value {
    let Found {
        set,
        instances,
        series,
        modalities,
        url,
    } = found;
    // Above the level that the path names, attributes are repeated, so that each answer says whose it is.
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut want = |tags: &[&str]| wanted.extend(tags.iter().map(|tag| (*tag).to_owned()));
    match level {
        Level::Study => want(OF_STUDY),
        Level::Series => {
            want(OF_SERIES);
            if within.study.is_none() {
                want(OF_STUDY);
            }
        }
        Level::Instance => {
            want(OF_INSTANCE);
            if within.series.is_none() {
                want(OF_SERIES);
            }
            if within.study.is_none() {
                want(OF_STUDY);
            }
        }
    }
    let included = query
        .include
        .iter()
        .chain(query.matches.iter().map(|(tag, _)| tag));
    wanted.extend(included.map(|Tag(group, element)| format!("{group:04X}{element:04X}")));
    let mut shown: Map<String, Value> = set
        .into_iter()
        .filter(|(tag, _)| query.include_all || wanted.contains(tag))
        .collect();
    let mut put = |tag: &str, element: Value| {
        shown.insert(tag.to_owned(), element);
    };
    put("00081190", json!({ "vr": "UR", "Value": [url] }));
    put("00080056", json!({ "vr": "CS", "Value": ["ONLINE"] }));
    match level {
        Level::Study => {
            put("00080061", json!({ "vr": "CS", "Value": modalities }));
            put("00201206", json!({ "vr": "IS", "Value": [series.len()] }));
            put("00201208", json!({ "vr": "IS", "Value": [instances] }));
        }
        Level::Series => put("00201209", json!({ "vr": "IS", "Value": [instances] })),
        Level::Instance => {}
    }
    Value::Object(shown)
}
