//! Finds out whether a DICOMweb server is there. It says nothing of itself that bears on loading: servers with a capabilities
//! document (PS3.18 §8.9) are few.

use super::{Error, unauthorized};
use crate::{
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
    let response = gate.look_up(|| store.first_study()).await?;
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
    match status {
        // A server that stores and cannot be searched says so (405, 501), and stores all the same.
        204 | 405 | 501 => Ok(there()),
        200 if is_list(response.body()) => Ok(there()),
        200 => refused(
            "what the server answers to a search for studies is no DICOM JSON".to_owned(),
            "check the URL: it is the one under which `studies` is found",
        ),
        401 => Err(unauthorized(settings)),
        403 => refused(
            "the server does not let these credentials in (403)".to_owned(),
            "check `auth`, and what the user may do there",
        ),
        300..=399 => refused(
            format!("the server sends elsewhere ({status}) when asked for its studies"),
            "redirects are not followed; write the address that it leads to as `url`",
        ),
        500.. => refused(
            format!("the server answered {status} when asked for its studies"),
            "the server has trouble of its own; try again when it is well, or ask who runs it",
        ),
        _ => refused(
            format!("the server answered {status} when asked for its studies"),
            "check the URL: it is the one under which `studies` is found, such as `https://pacs.example/dicom-web`",
        ),
    }
}

/// Tells whether an answer is a list of data sets.
fn is_list(body: &[u8]) -> bool {
    serde_json::from_slice::<Vec<serde_json::Map<String, serde_json::Value>>>(body).is_ok()
}
