//! Creates datasets and stores that are missing, and waits until they are ready.
//!
//! Only what the manifest's `ensure` asks for; a store that exists is never changed. Through the gate, like every request.
//! The fields of a store are Google's business (`FhirStore` in the discovery document).

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    gate::{CallFailure, Gate},
    target::google::StoreName,
};

/// The waits between two questions about the progress of an operation: Google advises some 10 s for long ones; creating
/// a dataset takes a few seconds, so the first questions come sooner.
const POLLS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// The longest that a new dataset may take: Terraform's provider waits 20 minutes.
const PATIENCE: Duration = Duration::from_mins(20);

/// The reason why a store is not there after all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target could not be asked.
    #[error(transparent)]
    Failure(#[from] CallFailure),
    /// The target refused.
    #[error("cannot create {what}: the server answered {status}{}", word.as_deref().map(|w| format!(" ({w})")).unwrap_or_default())]
    Refused {
        /// The store or dataset to be created, by its resource name.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Google's status word.
        word: Option<String>,
    },
    /// The operation ended with an error.
    #[error("creating {what} failed with code {code}")]
    Operation {
        /// The store or dataset to be created.
        what: String,
        /// A `google.rpc.Code`.
        code: i64,
    },
    /// The operation did not end.
    #[error("creating {what} has taken more than {} minutes", PATIENCE.as_secs() / 60)]
    Slow {
        /// The store or dataset to be created.
        what: String,
    },
    /// A name cannot be part of a URL.
    #[error("the store's name cannot be part of a URL: {0}")]
    Name(#[from] url::ParseError),
}

impl Error {
    /// Returns what to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { status: 401, .. } => Some("check `auth`; a token may have expired"),
            Self::Refused { status: 403, .. } => Some(
                "creating takes more rights than loading: roles/healthcare.fhirStoreAdmin (of DICOM stores dicomStoreAdmin, of \
                 HL7v2 stores hl7V2StoreAdmin) for a store and \
                 roles/healthcare.datasetAdmin for a dataset, on the project. Or let somebody who has them create both, and \
                 leave `ensure` out. Check also that the project is right and its Cloud Healthcare API is enabled",
            ),
            Self::Refused { status: 404, .. } => Some("check that project and location are right"),
            Self::Refused { status: 400, .. } => Some(
                "check the fields under `ensure`: they are those of FhirStore, DicomStore or Hl7V2Store, in its own spelling",
            ),
            Self::Slow { .. } => {
                Some("load again in a while: what exists by then is taken as it is")
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Operation {
    name: Option<String>,
    #[serde(default)]
    done: bool,
    error: Option<OperationError>,
}

#[derive(Deserialize)]
struct OperationError {
    #[serde(default)]
    code: i64,
}

/// Creates a dataset and a store where they are missing. Returns whether the store was created.
pub async fn ensure(
    gate: &Gate,
    name: &StoreName,
    settings: &BTreeMap<String, Value>,
) -> Result<bool, Error> {
    if ask(gate, name.get_store()?).await?.0 == 200 {
        return Ok(false);
    }
    if ask(gate, name.get_dataset()?).await?.0 != 200 {
        create_dataset(gate, name).await?;
    }
    create_store(gate, name, settings).await
}

async fn create_dataset(gate: &Gate, name: &StoreName) -> Result<(), Error> {
    let what = format!("dataset {}", name.dataset());
    let (status, body) = ask(gate, name.create_dataset()?).await?;
    match status {
        // Somebody else was faster.
        409 => return Ok(()),
        200 => {}
        status => return Err(refused(what, status, &body)),
    }
    let began = tokio::time::Instant::now();
    let mut polls = POLLS
        .into_iter()
        .chain(std::iter::repeat(POLLS[POLLS.len() - 1]));
    let mut operation: Operation = read_operation(&what, &body)?;
    loop {
        match (&operation.error, operation.done, &operation.name) {
            (Some(error), _, _) => {
                return Err(Error::Operation {
                    what,
                    code: error.code,
                });
            }
            (None, true, _) | (None, false, None) => return Ok(()),
            (None, false, Some(_)) if began.elapsed() > PATIENCE => {
                return Err(Error::Slow { what });
            }
            (None, false, Some(operation_name)) => {
                tokio::time::sleep(polls.next().unwrap_or(PATIENCE)).await;
                let (status, body) = ask(gate, name.get_operation(operation_name)?).await?;
                if status != 200 {
                    return Err(refused(what, status, &body));
                }
                operation = read_operation(&what, &body)?;
            }
        }
    }
}

fn read_operation(what: &str, body: &[u8]) -> Result<Operation, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Refused {
        what: what.to_owned(),
        status: 200,
        word: None,
    })
}

async fn create_store(
    gate: &Gate,
    name: &StoreName,
    settings: &BTreeMap<String, Value>,
) -> Result<bool, Error> {
    let began = tokio::time::Instant::now();
    for wait in POLLS {
        let (status, body) = ask(gate, name.create_store(settings)?).await?;
        match status {
            200 | 201 => return Ok(true),
            409 => return Ok(false),
            // A dataset that has just been made is not ready at once (Terraform's provider meets the same).
            404 if memchr::memmem::find(&body, b"dataset not initialized").is_some()
                && began.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(wait).await;
            }
            status => return Err(refused(name.display(), status, &body)),
        }
    }
    Err(Error::Slow {
        what: name.display(),
    })
}

async fn ask(
    gate: &Gate,
    request: http::Request<bytes::Bytes>,
) -> Result<(u16, bytes::Bytes), CallFailure> {
    let response = gate.call_interactive(|| request.clone()).await?;
    Ok((response.status().as_u16(), response.into_body()))
}

fn refused(what: String, status: u16, body: &[u8]) -> Error {
    let word = crate::fhir::outcome::read(body).code;
    Error::Refused { what, status, word }
}
