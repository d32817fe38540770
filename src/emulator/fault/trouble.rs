//! Does to a request what the rules decide.

use std::io;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt as _, stream};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::refusal::{WORDS, refusal, words};
use super::rules::{Entries, Faults};
use super::switch::Line;
use super::{Answer, AnswerBody, Asked, Fault, Moment, RetryAfterForm, Vanished};
use crate::emulator::access::Access;
use crate::emulator::body::{MAX_BUNDLE, discard, read};
use crate::emulator::reply::Refusal;
use crate::emulator::route::{Route, route};

/// The time between two pieces of the body of a slow answer.
const DRIP: Duration = Duration::from_millis(50);
/// The time that the first half of an answer has to leave before the connection is cut.
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
        let bytes = read(body, MAX_BUNDLE).await?;
        self.body = Content::Here(bytes.clone());
        Ok(bytes)
    }

    /// Reads the body to its end, and keeps nothing of it: an instance may be larger than memory.
    async fn discard(&mut self) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.body, Content::Here(Bytes::new())) {
            Content::Coming(body) => discard(body).await,
            Content::Here(_) => Ok(()),
        }
    }

    /// Reads a part of the body, and no more.
    async fn begin_body(self) {
        if let Content::Coming(body) = self.body {
            // The part that came, and whether one did, is lost anyway.
            let _ = body.into_data_stream().next().await;
        }
    }

    fn authorization(&self) -> Option<&str> {
        self.parts.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}

/// The decision about a request that was not just let through.
enum Decision<'a> {
    Answer(&'a Answer),
    Fault(&'a Fault),
}

/// The store's answering of a request when nothing is wrong, but for the entries of a batch that shall fail.
///
/// The caller hands it over, as the code that answers requests stands above the code that disturbs them.
pub(in crate::emulator) trait Plain<F>:
    Fn(Request<Body>, Option<Entries>) -> F
{
}

impl<F, S: Fn(Request<Body>, Option<Entries>) -> F> Plain<F> for S {}

/// Answers a request, or does not, as the scenario has it.
pub(in crate::emulator) async fn answer<F: Future<Output = Response<Body>>>(
    access: &Access,
    plain: &impl Plain<F>,
    faults: &Faults,
    line: &Line,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    access.admit(&request)?;
    let route = route(request.uri().path()).map(|(_, route)| route);
    if matches!(route, Ok(Route::Root)) {
        return Ok(plain(request, None).await);
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
        incoming.discard().await?;
        return Ok(unauthorized());
    }
    if faults.is_lost() {
        incoming.discard().await?;
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
        None => carry_out(plain, incoming, entries).await,
        Some(Decision::Answer(answer)) => {
            let echo = if answer.echo {
                let body = incoming.body().await?;
                format!("{uri} {}", String::from_utf8_lossy(&body))
            } else {
                String::new()
            };
            if answer.after_write {
                // Its answer is the one that gets lost.
                let _ = carry_out(plain, incoming, entries).await;
            } else {
                incoming.discard().await?;
            }
            answer.response(&echo, is_fhir)
        }
        Some(Decision::Fault(fault)) => {
            strike(plain, faults, line, incoming, entries, fault).await?
        }
    };
    // The request was in flight until here.
    drop(places);
    Ok(response)
}

/// Has the store answer; a body that nobody has read yet reaches it as it comes.
async fn carry_out<F: Future<Output = Response<Body>>>(
    plain: &impl Plain<F>,
    incoming: Incoming,
    entries: Option<Entries>,
) -> Response<Body> {
    let body = match incoming.body {
        Content::Here(bytes) => Body::from(bytes),
        Content::Coming(body) => body,
    };
    let request = Request::from_parts(incoming.parts, body);
    plain(request, entries).await
}

async fn strike<F: Future<Output = Response<Body>>>(
    plain: &impl Plain<F>,
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
            incoming.discard().await?;
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::AfterWrite) => {
            let _ = carry_out(plain, incoming, entries).await;
            line.cut();
            Ok(nothing())
        }
        Fault::Reset(Moment::DuringAnswer) => {
            let response = carry_out(plain, incoming, entries).await;
            let half = length(&response) / 2;
            let line = line.clone();
            Ok(response.map(|body| {
                let cut = stream::once(async move {
                    tokio::time::sleep(HEAD_START).await;
                    line.cut();
                    Err(axum::Error::new(io::Error::from(
                        io::ErrorKind::ConnectionReset,
                    )))
                });
                Body::from_stream(first(body, half).chain(cut))
            }))
        }
        Fault::Slow(rate) => {
            let response = carry_out(plain, incoming, entries).await;
            let drips = u128::from(*rate) * DRIP.as_millis() / 1000;
            let size = usize::try_from(drips).unwrap_or(usize::MAX).max(1);
            Ok(response.map(|body| trickle(body, size)))
        }
        Fault::Truncate(share) => {
            let mut response = carry_out(plain, incoming, entries).await;
            let length = length(&response);
            if length > 0 {
                let left = part(length, *share);
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(left));
                response = response.map(|body| Body::from_stream(first(body, left)));
            }
            Ok(response)
        }
        Fault::TokenExpired => {
            if let Some(token) = incoming.authorization() {
                faults.expire(token);
            }
            incoming.discard().await?;
            Ok(unauthorized())
        }
        Fault::Vanish { time, how } => {
            incoming.discard().await?;
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
        | Fault::Entries { .. } => Ok(carry_out(plain, incoming, entries).await),
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

/// Returns how long the body of an answer is: what is given back from a file says it, what is in memory has it.
fn length(response: &Response<Body>) -> u64 {
    let said = response.headers().get(CONTENT_LENGTH);
    let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
    said.or_else(|| hyper::body::Body::size_hint(response.body()).exact())
        .unwrap_or(0)
}

/// The first bytes of a body, as they come.
fn first(body: Body, most: u64) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send {
    stream::unfold(
        (body.into_data_stream(), most),
        |(mut body, left)| async move {
            if left == 0 {
                return None;
            }
            let mut piece = match body.next().await? {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (body, 0))),
            };
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - piece.len() as u64;
            Some((Ok(piece), (body, left)))
        },
    )
}

fn trickle(body: Body, size: usize) -> Body {
    let drips = stream::unfold(
        (body.into_data_stream(), Bytes::new()),
        move |(mut body, mut rest)| async move {
            while rest.is_empty() {
                match body.next().await? {
                    Ok(piece) => rest = piece,
                    Err(error) => return Some((Err(error), (body, rest))),
                }
            }
            tokio::time::sleep(DRIP).await;
            let drip = rest.split_to(size.min(rest.len()));
            Some((Ok(drip), (body, rest)))
        },
    );
    Body::from_stream(drips)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is from 0 to 1, so the product is from 0 to the length"
)]
fn part(length: u64, share: f64) -> u64 {
    ((length as f64 * share) as u64).min(length)
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
