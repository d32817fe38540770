//! A local store that is not there yet: a plan needs none, and nothing is made before something is sent.

use ::http::{Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use url::Url;

use crate::{
    gate::{Fault, FaultKind, Transport},
    manifest::Store,
};

/// The way to a store that is not there: nothing goes out on it.
#[derive(Debug)]
pub(super) struct NotThere;

impl Transport for NotThere {
    fn call(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        let what = "the local store is not there yet".to_owned();
        let fault = Fault::new(FaultKind::Connect, what);
        Box::pin(std::future::ready(Err(fault)))
    }
}

/// Returns an address for the requests of a plan, none of which is sent.
pub(super) fn url() -> Url {
    let mut url = Url::parse("http://localhost/").expect("it is a URL");
    // The port of "discard", where nobody listens.
    let _ = url.set_port(Some(9));
    url
}

/// Tells whether a store is a local one and nothing stands in its place: no file, and no directory but an empty one. Whatever
/// else is there is opened, so that a place which cannot hold a store is named in the plan.
pub(super) fn is_not_there(store: &Store) -> bool {
    let Store::Local { dir, .. } = store else {
        return false;
    };
    match fs_err::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => {
            fs_err::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
        }
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
