//! Gets the facts of a target: the settings of a Google store, the CapabilityStatement of any other FHIR server, and whether
//! a DICOMweb server answers as one.
//!
//! Facts that a server does not state stay unknown. Google's store settings say more than its CapabilityStatement, so
//! they are what is asked for there. `capabilities` reads the statement of a FHIR server, `dicomweb` asks a DICOMweb server.

use serde::Deserialize;

use crate::{
    auth,
    gate::{CallFailure, Gate},
    manifest::{Auth, Format, Store, TargetSettings},
    target::{
        Endpoint, Facts,
        fhir::RequestBuilder,
        google::{self, differences},
        mllp::Mllp,
    },
};

mod capabilities;
mod dicomweb;

/// The reason why a target has no facts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target could not be asked.
    #[error("{0}")]
    Failure(#[from] CallFailure),
    /// The target answered, but not as such a store does.
    #[error("{what}")]
    Refused {
        /// The failure.
        what: String,
        /// The advice.
        hint: String,
        /// The HTTP status.
        status: u16,
    },
    /// A name cannot be part of a URL.
    #[error("the store's name cannot be part of a URL: {0}")]
    Name(#[from] url::ParseError),
}

/// Asks a target.
pub async fn facts(
    gate: &Gate,
    endpoint: &Endpoint,
    requests: &RequestBuilder,
    settings: &TargetSettings,
) -> Result<Facts, Error> {
    match &endpoint.google {
        Some(name) => of_store(gate, name, settings).await,
        None if endpoint.format == Format::Hl7v2 => of_receiver(gate, endpoint, settings).await,
        None if endpoint.format == Format::Dicom => dicomweb::ask(gate, endpoint, settings).await,
        None => of_capabilities(gate, requests, settings).await,
    }
}

/// A receiver of messages says nothing of itself but that it is there.
async fn of_receiver(
    gate: &Gate,
    endpoint: &Endpoint,
    settings: &TargetSettings,
) -> Result<Facts, Error> {
    let receiver = Mllp::new(&endpoint.base);
    gate.call_interactive(|| receiver.greeting()).await?;
    Ok(Facts {
        assumed: false,
        ..Facts::documented(&settings.store)
    })
}

/// `FhirStore`, as far as it bears on loading.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FhirStore {
    version: Option<String>,
    #[serde(default)]
    enable_update_create: bool,
    #[serde(default)]
    disable_referential_integrity: bool,
}

async fn of_store(
    gate: &Gate,
    name: &crate::target::google::StoreName,
    settings: &TargetSettings,
) -> Result<Facts, Error> {
    let documented = Facts::documented(&settings.store);
    let request = name.get_store()?;
    let response = gate.call_interactive(|| request.clone()).await?;
    let is_ensured = match &settings.store {
        Store::Google(store) => store.ensure.is_some(),
        Store::Local { .. } => true,
        Store::Fhir { .. } | Store::Dicomweb { .. } | Store::Mllp { .. } => false,
    };
    let status = response.status().as_u16();
    match status {
        200 => {
            let fields: serde_json::Value =
                serde_json::from_slice(response.body()).map_err(|_| not_a_store(status, name))?;
            let differs = match &settings.store {
                Store::Google(store) => store.ensure.as_ref(),
                Store::Local { store, .. } => Some(store),
                Store::Fhir { .. } | Store::Dicomweb { .. } | Store::Mllp { .. } => None,
            };
            let differs = differs.map(|wanted| differences(wanted, &fields));
            if settings.store.format() != Format::Fhir {
                return Ok(Facts {
                    assumed: false,
                    missing: false,
                    differs: differs.unwrap_or_default(),
                    ..documented
                });
            }
            let store: FhirStore =
                serde_json::from_value(fields).map_err(|_| not_a_store(status, name))?;
            let version = match store.version.as_deref() {
                Some("R4") | None => "4.0.1",
                Some("STU3") => "3.0.2",
                Some("DSTU2") => "1.0.2",
                Some("R5") => "5.0.0",
                Some(other) => other,
            };
            Ok(Facts {
                assumed: false,
                missing: false,
                version: Some(version.to_owned()),
                update_create: Some(store.enable_update_create),
                integrity: Some(!store.disable_referential_integrity),
                differs: differs.unwrap_or_default(),
                ..documented
            })
        }
        // A store in a dataset that is missing answers 403 (Google's own samples test for it).
        403 | 404 if is_ensured => Ok(Facts {
            assumed: false,
            missing: true,
            ..documented
        }),
        404 => Err(Error::Refused {
            what: format!(
                "there is no {} store {}",
                settings.store.format().as_str(),
                name.display()
            ),
            hint: "check project, location, dataset and store, or let `ensure: true` create it"
                .to_owned(),
            status,
        }),
        403 => Err(Error::Refused {
            what: format!(
                "no access to the {} store {}, or it does not exist",
                settings.store.format().as_str(),
                name.display()
            ),
            hint: format!(
                "the credentials need {} on the dataset; check also that the names are right",
                google::editor(settings.store.format())
            ),
            status,
        }),
        _ => Err(no_answer(status, settings, &name.display())
            .unwrap_or_else(|| not_a_store(status, name))),
    }
}

fn not_a_store(status: u16, name: &crate::target::google::StoreName) -> Error {
    Error::Refused {
        what: format!(
            "the server answered {status} when asked for {}",
            name.display()
        ),
        hint: "check that `endpoint` is a Cloud Healthcare API".to_owned(),
        status,
    }
}

fn unauthorized(settings: &TargetSettings) -> Error {
    let (what, hint) = match settings.auth {
        Auth::None => ("the server asks for credentials (401)", auth::MISSING),
        _ => (
            "the server does not accept the credentials (401)",
            "check `auth`; a token may have expired",
        ),
    };
    Error::Refused {
        what: what.to_owned(),
        hint: hint.to_owned(),
        status: 401,
    }
}

/// Returns what is wrong where a status says nothing of what was asked for; none where it may.
fn no_answer(status: u16, settings: &TargetSettings, asked: &str) -> Option<Error> {
    let (what, hint) = match status {
        401 => return Some(unauthorized(settings)),
        403 => (
            "the server does not let these credentials in (403)".to_owned(),
            "check `auth`, and what the user may do there",
        ),
        300..=399 => (
            format!("the server sends elsewhere ({status}) when asked for {asked}"),
            "redirects are not followed; write the address that it leads to as `url`",
        ),
        408 | 425 | 429 => (
            format!("the server asked for patience ({status}) each time it was asked for {asked}"),
            "it is asked too much, perhaps by others: try again in a while",
        ),
        500.. => (
            format!("the server answered {status} when asked for {asked}"),
            "the server has trouble of its own; try again when it is well, or ask who runs it",
        ),
        _ => return None,
    };
    Some(Error::Refused {
        what,
        hint: hint.to_owned(),
        status,
    })
}

async fn of_capabilities(
    gate: &Gate,
    requests: &RequestBuilder,
    settings: &TargetSettings,
) -> Result<Facts, Error> {
    let response = gate.call_interactive(|| requests.capabilities()).await?;
    let status = response.status().as_u16();
    let not_fhir = |what: String| Error::Refused {
        what,
        hint: "check the URL: it is the service base, the one under which `metadata` is found"
            .to_owned(),
        status,
    };
    if let Some(error) = no_answer(status, settings, "its metadata") {
        return Err(error);
    }
    if status != 200 {
        let what = format!("the server answered {status} when asked for its metadata");
        return Err(not_fhir(what));
    }
    capabilities::read(response.body()).map_err(|(what, hint)| Error::Refused {
        what: what.to_owned(),
        hint: hint.to_owned(),
        status,
    })
}
