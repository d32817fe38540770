//! Finds out whether a DICOMweb server is there. It says nothing of itself that bears on loading: servers with a capabilities
//! document (PS3.18 §8.9) are few.

use super::{Error, no_answer};
use crate::{
    dicom::answer::as_utf8,
    gate::Gate,
    manifest::TargetSettings,
    target::{Endpoint, Facts, dicom::Dicom},
};

/// Asks for one study, as any server that can be searched answers.
pub(super) async fn ask(
    gate: &Gate,
    endpoint: &Endpoint,
    settings: &TargetSettings,
) -> Result<Facts, Error> {
    let store = Dicom::new(&endpoint.base, None);
    let response = gate.call_interactive(|| store.first_study()).await?;
    let status = response.status().as_u16();
    let refused = |what: String, hint: &str| {
        Err(Error::Refused {
            what,
            hint: hint.to_owned(),
            status,
        })
    };
    let there = || Facts {
        assumed: false,
        ..Facts::documented(&settings.store)
    };
    // A server that stores and cannot be searched says so (405, 501), and stores all the same.
    let is_unsearchable = matches!(status, 405 | 501);
    if let Some(error) = no_answer(status, settings, "its studies").filter(|_| !is_unsearchable) {
        return Err(error);
    }
    match status {
        204 => Ok(there()),
        _ if is_unsearchable => {
            gate.note_mute();
            Ok(there())
        }
        // A server without a search may know nothing at its address, and one that wants other parameters refuses them.
        400 | 404 | 406 if stores(gate, &store).await? => {
            gate.note_mute();
            Ok(there())
        }
        200 if is_list(response.body()) => Ok(there()),
        200 => refused(
            "what the server answers to a search for studies is no DICOM JSON".to_owned(),
            "check the URL: it is the one under which `studies` is found",
        ),
        _ => refused(
            format!("the server answered {status} when asked for its studies"),
            "check the URL: it is the one under which `studies` is found, such as `https://pacs.example/dicom-web`",
        ),
    }
}

/// Tells whether a server stores, though it answers no search: it is sent a request with no instance in it.
async fn stores(gate: &Gate, store: &Dicom) -> Result<bool, Error> {
    let response = gate.call_interactive(|| store.store_nothing()).await?;
    let body = response.body();
    let is_fhir = || memchr::memmem::find(body, b"resourceType").is_some();
    Ok(match response.status().as_u16() {
        204 | 400 | 409 | 411 | 422 => !is_fhir(),
        200 | 202 => {
            body.trim_ascii().is_empty() || memchr::memmem::find(body, b"0008119").is_some()
        }
        _ => false,
    })
}

/// Tells whether an answer is a list of data sets. Some servers say that they found none by a body with nothing in it.
fn is_list(body: &[u8]) -> bool {
    let body = as_utf8(None, body);
    if body.trim_ascii().is_empty() {
        return true;
    }
    serde_json::from_slice::<Vec<serde_json::Map<String, serde_json::Value>>>(&body).is_ok()
}
