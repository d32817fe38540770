//! Faults on purpose: what a local store does wrong because a scenario says so.
//!
//! A scenario is a YAML file. Its rules are gone through from the top for every request but `GET /`:
//!
//! ```yaml
//! seed: 7                      # the same seed decides the n-th request that a rule meets in the same way; 0 when missing
//! rules:
//!   - name: contention         # for people
//!     when:                    # every condition must hold; without `when` the rule meets all requests
//!       method: [POST, PUT]    # one or a list
//!       path: "**/Patient/*"   # a glob over the path of the URL; `*` stays within a segment
//!       request: [bundle]      # bundle create read search update patch delete metadata admin
//!       after: 100             # not the first 100 requests that meet the conditions above …
//!       until: 2000            # … and not those after the 2000th
//!       probability: 0.1       # and then one in ten; 1 when missing
//!     fault:                   # exactly one of:
//!       latency: { fixed: 20ms }            # or `uniform: [10ms, 50ms]`, `exponential: 30ms` (its mean),
//!                                           # or `lognormal: { median: 30ms, sigma: 0.6 }`
//!       capacity: { limit: 8 }              # more than 8 of its requests at once are answered `answer: { status: 429 }`
//!       quota: { rate: 100/s }              # what is above (a Bundle costs its entries) is answered `answer: { status: 429 }`
//!       answer: { status: 503 }             # see below
//!       reset: before_body                  # or during_body, after_body, after_write, during_answer
//!       entries: { status: 500, share: 0.5 } # this share of the entries of a batch fails with 500 inside an answer of 200,
//!                                           # and instances of a STOW request inside one of 409 (0xA700 for 429 and
//!                                           # 5xx, else 0x0110); `echo: true` as below
//!       slow: 10 kB/s                       # the answer trickles
//!       truncate: 0.5                       # only this part of the answer's body comes, as if it were all
//!       token: expired                      # 401 until another token is presented
//!       vanish: { for: 2s, as: not_found }  # the store is gone for a while: 404, or connections `refused`
//! ```
//!
//! `latency` waits and `entries` marks, and the rules below are looked at; `capacity` and `quota` let what they admit go
//! on, too. Every other fault decides: the rules below it neither meet nor count the request.
//!
//! An `answer` is what the client gets in place of the store's: `status` (200 to 599; 429 when missing);
//! `retry_after: 2s`, rounded up to seconds, as a number or, with `retry_after_form: date`, as a date; `body: outcome`
//! (the default; or `google`, `html`, `empty`); `echo: true` puts the URL and the body of the request into it;
//! `after_write: true` carries the request out before. `capacity` and `quota` take the same map under `answer`.
//!
//! A reset cuts the whole connection with RST: with HTTP/2 all that goes on over it. `after_body` cuts with the request
//! read and not carried out, `after_write` with the work done and the answer lost.
//!
//! `line` is the connection that can be cut, `rules` decides, `trouble` does what was decided (`incoming` has the
//! request, `answers` and `pieces` make what comes back), `read` and `form` read
//! the file. The store's own answers are left to the other modules of the emulator.

mod answers;
mod form;
mod incoming;
mod line;
mod pieces;
mod read;
mod refusal;
mod rules;
mod switch;
#[cfg(test)]
mod tests;
mod trouble;

use std::path::PathBuf;
use std::time::Duration;

use globset::GlobMatcher;
use http::{Method, StatusCode};

use crate::unit::Rate;

pub(super) use self::line::Listener;
pub(super) use self::rules::{Entries, Faults};
pub(super) use self::switch::Line;
pub(super) use self::trouble::answer;

/// The faults of a local store. See the [module](self) for the shape of its file.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    seed: u64,
    rules: Vec<Rule>,
}

/// The reason why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the fault scenario {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file is no scenario.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The mistake, and the key at which it is.
        message: String,
    },
}

#[derive(Debug, Clone)]
struct Rule {
    name: Option<String>,
    when: When,
    fault: Fault,
}

#[derive(Debug, Clone)]
struct When {
    methods: Vec<Method>,
    path: Option<GlobMatcher>,
    requests: Vec<Asked>,
    after: u64,
    until: u64,
    probability: f64,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Bundle,
    Create,
    Read,
    Search,
    Update,
    Patch,
    Delete,
    Metadata,
    Admin,
}

#[derive(Debug, Clone)]
enum Fault {
    Latency(Latency),
    Capacity {
        limit: u32,
        answer: Answer,
    },
    Quota {
        rate: Rate,
        answer: Answer,
    },
    Answer(Answer),
    Reset(Moment),
    Entries {
        status: StatusCode,
        share: f64,
        echo: bool,
    },
    /// Bytes in a second.
    Slow(u32),
    /// The part of the body that is left.
    Truncate(f64),
    TokenExpired,
    Vanish {
        time: Duration,
        how: Vanished,
    },
}

#[derive(Debug, Clone, Copy)]
enum Latency {
    Fixed(Duration),
    Uniform(Duration, Duration),
    Lognormal { median: Duration, sigma: f64 },
    Exponential { mean: Duration },
}

/// An answer in place of the store's.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    retry_after_form: RetryAfterForm,
    body: AnswerBody,
    echo: bool,
    after_write: bool,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum RetryAfterForm {
    #[default]
    Seconds,
    Date,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerBody {
    #[default]
    Outcome,
    Google,
    Html,
    Empty,
}

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Moment {
    BeforeBody,
    DuringBody,
    AfterBody,
    AfterWrite,
    DuringAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Vanished {
    NotFound,
    Refused,
}
