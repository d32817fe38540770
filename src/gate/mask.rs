//! Takes secrets out of what a server says: some echo the request, with its headers, in their error pages.
//!
//! Only answers whose words may be kept or shown are touched: refusals, answers to writes, and answers to Bundles. The content that is read from a
//! store is never changed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ::http::{HeaderValue, Request, Response, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::transport::{Fault, Transport};

/// The text that replaces a secret.
const MASK: &[u8] = b"***";

/// Secrets that are shorter are not looked for: they would be found everywhere, and no real one is.
const SHORTEST: usize = 6;

/// A transport that masks the secrets which it sends in the answers that it gets.
pub struct Masked {
    transport: Arc<dyn Transport>,
    /// Values of headers.
    headers: Vec<Vec<u8>>,
}

impl Masked {
    /// Wraps a transport that adds these headers to every request.
    pub fn new(transport: Arc<dyn Transport>, headers: &BTreeMap<String, String>) -> Self {
        Self {
            transport,
            headers: headers
                .values()
                .map(|value| value.clone().into_bytes())
                .collect(),
        }
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Masked").field(&self.transport).finish()
    }
}

impl Transport for Masked {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
        let authorization = request.headers().get(header::AUTHORIZATION).cloned();
        let is_read = request.method().is_safe();
        Box::pin(async move {
            let answer = self.transport.call(request).await?;
            let is_refusal = answer.status().as_u16() >= 400;
            let is_shown = || memchr::memmem::find(answer.body(), b"-response\"").is_some();
            if is_read && !is_refusal && !is_shown() {
                return Ok(answer);
            }
            let mut secrets = authorization.as_ref().map_or_else(Vec::new, of_header);
            secrets.extend_from_slice(&self.headers);
            // JSON may escape a slash.
            let escaped: Vec<_> = secrets
                .iter()
                .filter(|secret| secret.contains(&b'/'))
                .map(|secret| replaced(secret, b"/", b"\\/"))
                .collect();
            secrets.extend(escaped);
            // One that holds another goes first.
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
            let (head, mut body) = answer.into_parts();
            for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
                if memchr::memmem::find(&body, secret).is_some() {
                    body = replaced(&body, secret, MASK).into();
                }
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

/// Returns what is secret in an `Authorization` header: the token, and the password of a basic pair.
fn of_header(value: &HeaderValue) -> Vec<Vec<u8>> {
    let value = value.as_bytes();
    let Some(at) = memchr::memchr(b' ', value) else {
        return vec![value.to_owned()];
    };
    let token = value.get(at + 1..).unwrap_or_default();
    let mut secrets = vec![token.to_owned()];
    if value.starts_with(b"Basic ")
        && let Ok(pair) = STANDARD.decode(token)
        && let Some(colon) = memchr::memchr(b':', &pair)
    {
        secrets.push(pair.get(colon + 1..).unwrap_or_default().to_owned());
    }
    secrets
}

fn replaced(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, what) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.extend_from_slice(with);
        rest = rest.get(at + what.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Says(u16, &'static str);

    impl Transport for Says {
        fn call(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Fault>> {
            let mut response = Response::new(Bytes::from_static(self.1.as_bytes()));
            *response.status_mut() = ::http::StatusCode::from_u16(self.0).unwrap();
            Box::pin(std::future::ready(Ok(response)))
        }
    }

    async fn masked(status: u16, body: &'static str, authorization: &'static str) -> String {
        let headers = BTreeMap::from([
            ("x-key".to_owned(), "opensesame".to_owned()),
            ("x-short".to_owned(), "e".to_owned()),
        ]);
        let transport = Masked::new(Arc::new(Says(status, body)), &headers);
        let mut request = Request::new(Bytes::new());
        request.headers_mut().insert(
            header::AUTHORIZATION,
            HeaderValue::from_static(authorization),
        );
        let answer = transport.call(request).await.unwrap();
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn secrets_are_masked_in_what_is_kept_and_nothing_else_is_touched() {
        let token = "Bearer abc/def+123";
        for (status, body, expected) in [
            (400, "abc/def+123 opensesame e", "*** *** e"),
            (500, r#"{"a":"abc\/def+123"}"#, r#"{"a":"***"}"#),
            (200, "opensesame", "opensesame"),
            (
                200,
                r#"{"type":"batch-response","a":"opensesame"}"#,
                r#"{"type":"batch-response","a":"***"}"#,
            ),
        ] {
            assert_eq!(masked(status, body, token).await, expected);
        }
        // The answer to a write may be kept, whatever it says.
        let request = Request::post("/Patient").header("authorization", token);
        let request = request.body(Bytes::new()).unwrap();
        let says = Arc::new(Says(201, "abc/def+123 opensesame"));
        let answer = Masked::new(says, &BTreeMap::new()).call(request).await;
        assert_eq!(answer.unwrap().body(), "*** opensesame");
        // `user:password`
        let basic = "Basic dXNlcjpwYXNzd29yZA==";
        assert_eq!(
            masked(403, "user password dXNlcjpwYXNzd29yZA==", basic).await,
            "user *** ***"
        );
    }
}
