//! HL7v2 stores: messages are created and ingested, found, read, labelled, deleted, imported and exported.
//!
//! A message is named by the SHA-256 of its bytes, so that the same bytes are one message. `take` lets them in, read as
//! the parser of their store is set (`stores::hl7v2`), `view` shows them, `list` and `filter` find them, `transfer`
//! moves many, `rollback` undoes what `changes` has noted. The meaning of a message's bytes is [`crate::hl7v2`]'s
//! knowledge.
//!
//! Left out: schemas are stored and not applied (no `schematizedData`), nothing is published.

mod changes;
mod filter;
mod list;
mod rollback;
mod rows;
mod settings;
mod take;
mod transfer;
mod view;

use std::sync::Arc;

use http::Method;

pub(super) use self::rows::TABLES;
use super::app::App;
use super::collection::{self, open};
use super::google::not_found;
use super::methods;
use super::reply::{Refusal, Reply};
use super::route::Route;
use super::route::hl7v2::{Messages, Path};
use super::stores::hl7v2::Store;

/// Google's limit of a message, measured on the base64 of its bytes (10 MB).
const MAX_DATA: usize = 10 << 20;
/// The largest request in bytes: room for labels, names and blank space beside the message.
pub(super) const MAX_REQUEST: usize = MAX_DATA + (1 << 16);

/// The id of the HL7v2 store that `local:` loads into, beside the FHIR store.
pub const LOCAL_STORE: &str = "hl7v2";

/// Answers a request about HL7v2 stores.
pub(super) async fn answer(
    app: &Arc<App>,
    method: &Method,
    path: Path,
    query: &[(String, String)],
    body: &[u8],
) -> Result<Reply, Refusal> {
    let is = |wanted: Method| *method == wanted;
    match path {
        Path::Stores { dataset } => {
            collection::answer::<Store>(app, method, &dataset, None, query, body).await
        }
        Path::Store { dataset, name } => {
            collection::answer::<Store>(app, method, &dataset, Some(&name), query, body).await
        }
        Path::Method {
            dataset,
            name,
            verb,
        } => match verb.as_str() {
            "import" if is(Method::POST) => {
                transfer::import(app, &open(app, &dataset, &name)?, body).await
            }
            "export" if is(Method::POST) => {
                transfer::export(app, &open(app, &dataset, &name)?, body).await
            }
            "rollback" if is(Method::POST) => {
                rollback::rollback(app, &open(app, &dataset, &name)?, body).await
            }
            "getHL7v2StoreMetrics" if is(Method::GET) => {
                view::metrics(app, &open(app, &dataset, &name)?).await
            }
            _ => {
                let on = Route::Hl7v2(Path::Store { dataset, name });
                methods::answer(app, method, on, &verb, body).await
            }
        },
        Path::Below {
            dataset,
            store,
            below,
        } => {
            let store = open(app, &dataset, &store)?;
            match (below, method) {
                (Messages::All, &Method::POST) => take::create(app, &store, body).await,
                (Messages::All, &Method::GET) => list::list(app, &store, query).await,
                (Messages::Method(verb), &Method::POST) if verb == "ingest" => {
                    take::ingest(app, &store, body).await
                }
                (Messages::Method(verb), _) => Err(Refusal::no_method(&verb)),
                (Messages::One(id), &Method::GET) => view::get(app, &store, id, query).await,
                (Messages::One(id), &Method::PATCH) => {
                    take::patch(app, &store, id, query, body).await
                }
                (Messages::One(id), &Method::DELETE) => take::delete(app, &store, id).await,
                (Messages::All | Messages::One(_), _) => Err(not_found()),
            }
        }
    }
}
