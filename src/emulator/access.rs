//! Access control of the local server: requests come from this machine only, from no page of somebody else, and with the token, if there is one.
//!
//! The store listens on loopback, and so does every browser on this machine: a page from anywhere can have one send
//! requests here. So a request must name a host of loopback (or a name that was bound to 127.0.0.1 would do), must not come
//! from another origin than the store's own, unless that origin was named, and must say what its body is: of what
//! `application/json` says no browser asks without permission.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::Token;
use super::reply::Refusal;

/// The header in which a browser says where a request comes from (<https://www.w3.org/TR/fetch-metadata/>).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules of access: the bearer token of requests, and the origins whose pages may ask.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Token>,
    /// Origins whose pages may ask, besides the server's own.
    origins: Vec<String>,
}

impl Access {
    pub(super) fn new(token: Option<String>, origins: Vec<String>) -> Self {
        Self {
            token: token.map(Token),
            origins,
        }
    }

    /// Refuses a request that must not be looked at.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let mut hosts = headers.get_all(HOST).iter().map(text).chain(authority);
        let host = hosts.next();
        if host.is_none_or(|host| !is_loopback(host)) || hosts.any(|host| !is_loopback(host)) {
            return Err(Refusal::google(
                StatusCode::FORBIDDEN,
                "the local store answers requests to this machine's loopback names only",
            ));
        }
        self.check_origin(headers, host.unwrap_or_default())?;
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers.get(AUTHORIZATION).map(text);
        match given.and_then(|given| given.split_once(' ')) {
            Some((scheme, given))
                if scheme.eq_ignore_ascii_case("bearer") && same(given.trim(), token.expose()) =>
            {
                Ok(())
            }
            _ => Err(Refusal::google(
                StatusCode::UNAUTHORIZED,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
            )),
        }
    }

    fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
        let own = format!("http://{host}");
        let mut origins = headers.get_all(ORIGIN).iter().map(text).peekable();
        let refused = if origins.peek().is_some() {
            origins.any(|origin| !origin.eq_ignore_ascii_case(&own) && !self.allows(origin))
        } else {
            // A browser sends requests for images, scripts and links without an origin.
            let sites = headers.get_all(SEC_FETCH_SITE).iter().map(text);
            sites.into_iter().any(|site| {
                !["none", "same-origin"].contains(&site.trim().to_ascii_lowercase().as_str())
            })
        };
        if refused {
            return Err(Refusal::google(
                StatusCode::FORBIDDEN,
                "the local store answers no page of another origin; `stoker emulate --allow-origin ORIGIN` lets one ask",
            ));
        }
        Ok(())
    }

    fn allows(&self, origin: &str) -> bool {
        let named = |allowed: &String| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin);
        self.origins.iter().any(named)
    }

    /// Returns the origin of an admitted request, where a browser has to be told that it may read the answer.
    pub(super) fn named_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.allows(text(origin)).then(|| origin.clone())
    }
}

/// Tells whether a request is a browser's question whether it may ask (it carries no credentials).
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds what lets a browser give the answer to a page of the origin.
pub(super) fn expose(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("origin"));
    for (name, value) in [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, PATCH, DELETE",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-match, if-none-exist, if-none-match, prefer",
        ),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "etag, last-modified, location",
        ),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The media type of a body, without parameters, in lower case.
pub(super) fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Tells whether a body says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// One that is no text is one that nothing equals.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("\u{fffd}")
}

/// Tells whether a host, with or without a port, is a name of this machine's loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

/// Compares secrets in a time that depends on their length only.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:1",
            "LOCALHOST",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
            "10.0.0.1",
            "evil@localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn admitted(headers: &[(&str, &str)]) -> bool {
        let access = Access::new(None, vec!["http://app.example:3000/".to_owned()]);
        let mut request = Request::new(());
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        access.admit(&request).is_ok()
    }

    #[test]
    fn pages_of_others_are_refused() {
        let host = ("host", "localhost:8085");
        for headers in [
            &[][..],
            &[("origin", "http://localhost:8085")],
            &[
                ("origin", "http://localhost:8085"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("sec-fetch-site", "none")],
            &[
                ("origin", "http://app.example:3000"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(admitted(&[&[host], headers].concat()), "{headers:?}");
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "https://localhost:8085")],
            &[("origin", "http://app.example")],
            &[
                ("origin", "http://localhost:8085"),
                ("origin", "https://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("host", "evil.example")],
        ] {
            assert!(!admitted(&[&[host], headers].concat()), "{headers:?}");
        }
        assert!(!admitted(&[]));
    }

    #[test]
    fn what_browsers_send_unasked_is_no_json() {
        let is = |value: &str| {
            is_json(&HeaderMap::from_iter([(
                CONTENT_TYPE,
                value.parse().unwrap(),
            )]))
        };
        assert!(is("application/json") && is("application/fhir+json; charset=utf-8"));
        assert!(is("Application/JSON-patch+json"));
        for simple in [
            "",
            "text/plain",
            "text/plain+json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=+json",
            "text/plain; application/json",
        ] {
            assert!(!is(simple), "{simple}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
