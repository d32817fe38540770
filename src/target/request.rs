//! A request, before its protocol's headers are put in.

use bytes::Bytes;
use http::{Method, Request, Uri};

/// Makes a request. `uri` is made of a base that the manifest was checked for, and of names that the plan was checked for, so
/// that it is one; what is none would go to no host at all.
pub(super) fn request(method: Method, uri: &str, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().unwrap_or_else(|_| Uri::from_static("/"));
    request
}
