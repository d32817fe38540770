//! Does to a request what the rules decide.

use std::io;
use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::answers::{lost, unauthorized};
use super::incoming::{Content, Incoming};
use super::pieces::{DRIP, first, length, part, trickle};
use super::rules::{Entries, Faults};
use super::switch::Line;
use super::{Answer, Asked, Fault, Moment, Vanished};
use crate::emulator::access::Access;
use crate::emulator::reply::Refusal;
use crate::emulator::route::{Route, route};

/// The time that the first half of an answer has to leave before the connection is cut.
const HEAD_START: Duration = Duration::from_millis(20);

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
