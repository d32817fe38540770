//! Does to a request what the rules decide.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use futures::{StreamExt as _, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::line::Line;
use super::rules::{Entries, Faults};
use super::{Answer, AnswerBody, Asked, Fault, Moment, RetryAfterForm, Vanished};
use crate::emulator::reply::Refusal;
use crate::emulator::route::{Route, route};
use crate::emulator::serve::{self, App, MAX_BUNDLE};

/// What a fault says of itself.
const WORDS: &str = "the fault scenario of the local store has it so";
/// How often a slow answer gives some of its body.
const DRIP: Duration = Duration::from_millis(50);
/// How long the first half of an answer has to leave before the connection is cut.
const HEAD_START: Duration = Duration::from_millis(20);

/// A request whose body is read when somebody needs it.
struct Incoming {
    parts: Parts,
    body: Content,
}

enum Content {
    Coming(Body),
    Here(Bytes),
}

impl Incoming {
    async fn body(&mut self) -> Result<Bytes, Refusal> {
        let body = match &mut self.body {
            Content::Here(bytes) => return Ok(bytes.clone()),
            Content::Coming(body) => std::mem::take(body),
        };
        let bytes = serve::read(body, MAX_BUNDLE).await?;
        self.body = Content::Here(bytes.clone());
        Ok(bytes)
    }

    /// Reads a part of the body, and no more.
    async fn begin_body(self) {
        if let Content::Coming(body) = self.body {
            // What came, and whether it did, is lost anyway.
            let _ = body.into_data_stream().next().await;
        }
    }

    fn authorization(&self) -> Option<&str> {
        self.parts.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}

/// What becomes of a request that was not just let through.
enum Decision<'a> {
    Answer(&'a Answer),
    Fault(&'a Fault),
}

/// Answers a request, or does not, as the scenario has it.
pub(in crate::emulator) async fn answer(
    app: &Arc<App>,
    faults: &Faults,
    line: &Line,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    app.access.admit(&request)?;
    let route = route(request.uri().path()).map(|(_, route)| route);
    if matches!(route, Ok(Route::Root)) {
        return Ok(serve::plain(app, request, None).await);
    }
    let (parts, body) = request.into_parts();
    let mut incoming = Incoming {
        parts,
        body: Content::Coming(body),
    };
    if incoming
        .authorization()
        .is_some_and(|token| faults.has_expired(token))
    {
        incoming.body().await?;
        return Ok(unauthorized());
    }
    if faults.is_lost() {
        incoming.body().await?;
        return Err(lost());
    }
    let is_fhir = !matches!(route, Ok(Route::Hl7v2(_) | Route::Dicom(_)));
    let asked = route
        .ok()
        .and_then(|route| Asked::of(&incoming.parts.method, &route));
    let (method, uri) = (incoming.parts.method.clone(), incoming.parts.uri.clone());
    let mut places = Vec::new();
    let mut entries = None;
    let mut decision = None;
    for (fault, met, mut chance) in faults.strikes(&method, uri.path(), asked) {
        match fault {
            Fault::Latency(latency) => tokio::time::sleep(latency.draw(&mut chance)).await,
            Fault::Capacity { limit, answer } => match met.enter(*limit) {
                Some(place) => places.push(place),
                None => decision = Some(Decision::Answer(answer)),
            },
            Fault::Quota { rate, answer } => {
                let cost = cost(&mut incoming, asked).await?;
                if !met.admit(*rate, cost) {
                    decision = Some(Decision::Answer(answer));
                }
            }
            Fault::Entries {
                status,
                share,
                echo,
            } => {
                entries = Some(Entries {
                    status: *status,
                    share: *share,
                    echo: *echo,
                    chance,
                });
            }
            Fault::Answer(answer) => decision = Some(Decision::Answer(answer)),
            _ => decision = Some(Decision::Fault(fault)),
        }
        if decision.is_some() {
            break;
        }
    }
    let response = match decision {
        None => carry_out(app, incoming, entries).await?,
        Some(Decision::Answer(answer)) => {
            let body = incoming.body().await?;
            if answer.after_write {
                // Its answer is the one that gets lost.
                let _ = carry_out(app, incoming, entries).await?;
            }
            let echo = if answer.echo {
                format!("{uri} {}", String::from_utf8_lossy(&body))
            } else {
                String::new()
            };
            answer.response(&echo, is_fhir)
        }
        Some(Decision::Fault(fault)) => strike(app, faults, line, incoming, entries, fault).await?,
    };
    // The request was in flight until here.
    drop(places);
    Ok(response)
}

async fn carry_out(
    app: &Arc<App>,
    mut incoming: Incoming,
    entries: Option<Entries>,
) -> Result<Response<Body>, Refusal> {
    let body = incoming.body().await?;
    let request = Request::from_parts(incoming.parts, Body::from(body));
    Ok(serve::plain(app, request, entries).await)
}

async fn strike(
    app: &Arc<App>,
    faults: &Faults,
    line: &Line,
    mut incoming: Incoming,
    entries: Option<Entries>,
    fault: &Fault,
) -> Result<Response<Body>, Refusal> {
    // On a line that was cut this is not sent any more.
    let nothing = Response::default;
    match fault {
        Fault::Reset(Moment::BeforeBody) => {
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::DuringBody) => {
            incoming.begin_body().await;
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::AfterBody) => {
            incoming.body().await?;
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::AfterWrite) => {
            let _ = carry_out(app, incoming, entries).await?;
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::DuringAnswer) => {
            let response = carry_out(app, incoming, entries).await?;
            let line = line.clone();
            Ok(with_body(response, |body| {
                let first = body.slice(..body.len() / 2);
                let cut = stream::once(async move {
                    tokio::time::sleep(HEAD_START).await;
                    line.cut();
                    Err(io::Error::from(io::ErrorKind::ConnectionReset))
                });
                Body::from_stream(stream::iter([Ok(first)]).chain(cut))
            })
            .await)
        }
        Fault::Slow(rate) => {
            let response = carry_out(app, incoming, entries).await?;
            let drips = u128::from(*rate) * DRIP.as_millis() / 1000;
            let size = usize::try_from(drips).unwrap_or(usize::MAX).max(1);
            Ok(with_body(response, |body| trickle(body, size)).await)
        }
        Fault::Truncate(share) => {
            let response = carry_out(app, incoming, entries).await?;
            Ok(with_body(response, |body| {
                Body::from(body.slice(..part(body.len(), *share)))
            })
            .await)
        }
        Fault::TokenExpired => {
            if let Some(token) = incoming.authorization() {
                faults.expire(token);
            }
            incoming.body().await?;
            Ok(unauthorized())
        }
        Fault::Vanish { time, how } => {
            incoming.body().await?;
            match how {
                Vanished::NotFound => {
                    faults.lose(*time);
                    Err(lost())
                }
                Vanished::Refused => {
                    faults.vanish(*time);
                    line.cut();
                    Ok(nothing())
                }
            }
        }
        // These have been decided before.
        Fault::Latency(_)
        | Fault::Capacity { .. }
        | Fault::Quota { .. }
        | Fault::Answer(_)
        | Fault::Entries { .. } => carry_out(app, incoming, entries).await,
    }
}

/// Returns what a request costs of a quota: a Bundle its entries (Healthcare API, quotas), anything else 1.
async fn cost(incoming: &mut Incoming, asked: Option<Asked>) -> Result<u32, Refusal> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<IgnoredAny>,
    }
    if asked != Some(Asked::Bundle) {
        return Ok(1);
    }
    let body = incoming.body().await?;
    let entries = serde_json::from_slice::<Bundle>(&body).map_or(1, |bundle| bundle.entry.len());
    Ok(u32::try_from(entries).unwrap_or(u32::MAX).max(1))
}

/// Puts another body in the place of a response's.
async fn with_body(response: Response<Body>, make: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let (parts, body) = response.into_parts();
    // The store's answers are in memory already; reading them cannot fail.
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    Response::from_parts(parts, make(bytes))
}

fn trickle(body: Bytes, size: usize) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(DRIP).await;
        let drip = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, Infallible>(drip), rest))
    }))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is from 0 to 1, so the product is from 0 to the length"
)]
fn part(length: usize, share: f64) -> usize {
    ((length as f64 * share) as usize).min(length)
}

fn unauthorized() -> Response<Body> {
    let words = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
    let mut response = Refusal::google(StatusCode::UNAUTHORIZED, words)
        .into_reply()
        .into_response();
    let challenge =
        HeaderValue::from_static("Bearer error=\"invalid_token\", error_description=\"expired\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn lost() -> Refusal {
    Refusal::google(StatusCode::NOT_FOUND, format!("not found: {WORDS}"))
}

/// An OperationOutcome of that status.
pub(super) fn refusal(status: StatusCode, echo: &str) -> Refusal {
    let (code, text) = match status.as_u16() {
        401 | 403 => ("security", "permission_denied"),
        404 | 410 => ("no-store", "storage_error"),
        409 | 412 => ("conflict", "precondition_failed"),
        400..=499 if status != StatusCode::TOO_MANY_REQUESTS => ("value", "invalid_request"),
        429 => ("too-costly", "operation_too_costly"),
        503 => ("transient", "unavailable"),
        504 => ("timeout", "deadline_exceeded"),
        _ => ("exception", "internal_error"),
    };
    Refusal::fhir(status, code, text, words(echo))
}

fn words(echo: &str) -> String {
    if echo.is_empty() {
        return WORDS.to_owned();
    }
    format!("{WORDS}: {echo}")
}

impl Answer {
    /// An OperationOutcome is FHIR's; other stores answer in Google's shape.
    fn response(&self, echo: &str, is_fhir: bool) -> Response<Body> {
        let mut response = match self.body {
            AnswerBody::Outcome if is_fhir => {
                refusal(self.status, echo).into_reply().into_response()
            }
            AnswerBody::Outcome | AnswerBody::Google => Refusal::google(self.status, words(echo))
                .into_reply()
                .into_response(),
            AnswerBody::Html => {
                let title = self.status.to_string();
                let page = format!(
                    "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{}</p></body></html>\n",
                    words(echo)
                );
                let mut response = Response::new(Body::from(page));
                *response.status_mut() = self.status;
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, html);
                response
            }
            AnswerBody::Empty => {
                let mut response = Response::default();
                *response.status_mut() = self.status;
                response
            }
        };
        if let Some(value) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let time = self.retry_after?;
        // Neither form knows parts of seconds: they are rounded up, for a client must not come too early.
        let text = match self.retry_after_form {
            RetryAfterForm::Seconds => time.as_millis().div_ceil(1000).to_string(),
            RetryAfterForm::Date => {
                let at = SystemTime::now().checked_add(time)?;
                let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
                let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
                let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
                httpdate::fmt_http_date(at)
            }
        };
        HeaderValue::try_from(text).ok()
    }
}
