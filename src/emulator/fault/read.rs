//! Reads a scenario. The parser says at which line, column and key something is wrong.

use std::path::Path;
use std::time::Duration;

use globset::GlobMatcher;
use http::{Method, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::form::{BytesRate, Share, Text, one_or_many};
use super::{
    Answer, AnswerBody, Asked, Fault, Latency, Moment, RetryAfterForm, Rule, Scenario,
    ScenarioError, Vanished, When,
};
use crate::{small_file, unit::Rate};

impl Scenario {
    /// Reads a scenario from a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no scenario; the error names file, line, column and key.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let refused = |why: String| ScenarioError::Unreadable {
            path: path.to_owned(),
            why,
        };
        let read = small_file::read(path, small_file::LARGEST);
        let bytes = read.map_err(|why| refused(why.to_string()))?;
        let text =
            String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8 text".to_owned()))?;
        Self::parse(&text, path)
    }

    /// Reads a scenario from a text; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// When it is no scenario; the error names line, column and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ScenarioError> {
        serde_yaml::from_str::<Written>(text)
            .map(|written| Self {
                seed: written.seed,
                rules: written.rules,
            })
            .map_err(|error| {
                let (line, column) = error
                    .location()
                    .map_or((1, 1), |place| (place.line(), place.column()));
                let message = error.to_string();
                let place = format!(" at line {line} column {column}");
                ScenarioError::Content {
                    path: path.to_owned(),
                    line,
                    column,
                    message: message.replace(&place, ""),
                }
            })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    name: Option<String>,
    #[serde(default)]
    when: When,
    fault: Fault,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let WrittenRule { name, when, fault } = WrittenRule::deserialize(deserializer)?;
        Ok(Self { name, when, fault })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenWhen {
    #[serde(deserialize_with = "one_or_many")]
    method: Vec<Text<Method>>,
    path: Option<Text<GlobMatcher>>,
    #[serde(deserialize_with = "one_or_many")]
    request: Vec<Asked>,
    after: u64,
    until: u64,
    probability: Share,
}

impl Default for WrittenWhen {
    fn default() -> Self {
        Self {
            method: Vec::new(),
            path: None,
            request: Vec::new(),
            after: 0,
            until: u64::MAX,
            probability: Share(1.0),
        }
    }
}

impl From<WrittenWhen> for When {
    fn from(written: WrittenWhen) -> Self {
        Self {
            methods: written.method.into_iter().map(|text| text.0).collect(),
            path: written.path.map(|text| text.0),
            requests: written.request,
            after: written.after,
            until: written.until,
            probability: written.probability.0,
        }
    }
}

impl Default for When {
    fn default() -> Self {
        WrittenWhen::default().into()
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WrittenWhen::deserialize(deserializer).map(Into::into)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFault {
    latency: Option<Latency>,
    capacity: Option<WrittenCapacity>,
    quota: Option<WrittenQuota>,
    answer: Option<Answer>,
    reset: Option<Moment>,
    entries: Option<WrittenEntries>,
    slow: Option<Text<BytesRate>>,
    truncate: Option<Share>,
    token: Option<WrittenToken>,
    vanish: Option<WrittenVanish>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCapacity {
    limit: u32,
    #[serde(default = "too_many")]
    answer: Answer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuota {
    rate: Text<Rate>,
    #[serde(default = "too_many")]
    answer: Answer,
}

fn too_many() -> Answer {
    Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        retry_after: None,
        retry_after_form: RetryAfterForm::default(),
        body: AnswerBody::default(),
        echo: false,
        after_write: false,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntries {
    status: Text<StatusCode>,
    #[serde(default)]
    share: Share,
    #[serde(default)]
    echo: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenToken {
    Expired,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVanish {
    #[serde(rename = "for")]
    time: Text<Duration>,
    #[serde(rename = "as")]
    how: Vanished,
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenFault::deserialize(deserializer)?;
        let capacity = |written: WrittenCapacity| Self::Capacity {
            limit: written.limit,
            answer: written.answer,
        };
        let quota = |written: WrittenQuota| Self::Quota {
            rate: written.rate.0,
            answer: written.answer,
        };
        let entries = |written: WrittenEntries| Self::Entries {
            status: written.status.0,
            share: written.share.0,
            echo: written.echo,
        };
        let vanish = |written: WrittenVanish| Self::Vanish {
            time: written.time.0,
            how: written.how,
        };
        let mut faults = [
            written.latency.map(Self::Latency),
            written.capacity.map(capacity),
            written.quota.map(quota),
            written.answer.map(Self::Answer),
            written.reset.map(Self::Reset),
            written.entries.map(entries),
            written.slow.map(|rate| Self::Slow(rate.0.0)),
            written.truncate.map(|share| Self::Truncate(share.0)),
            written
                .token
                .map(|WrittenToken::Expired| Self::TokenExpired),
            written.vanish.map(vanish),
        ]
        .into_iter()
        .flatten();
        match (faults.next(), faults.next()) {
            (Some(fault), None) => Ok(fault),
            (None, _) => Err(D::Error::custom("a fault is missing; name one of them")),
            (Some(_), Some(_)) => Err(D::Error::custom(
                "a rule has one fault; write another rule for the other one",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLatency {
    fixed: Option<Text<Duration>>,
    uniform: Option<[Text<Duration>; 2]>,
    lognormal: Option<WrittenLognormal>,
    exponential: Option<Text<Duration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLognormal {
    median: Text<Duration>,
    sigma: f64,
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenLatency::deserialize(deserializer)?;
        match written {
            WrittenLatency {
                fixed: Some(time),
                uniform: None,
                lognormal: None,
                exponential: None,
            } => Ok(Self::Fixed(time.0)),
            WrittenLatency {
                fixed: None,
                uniform: Some([Text(least), Text(most)]),
                lognormal: None,
                exponential: None,
            } if least <= most => Ok(Self::Uniform(least, most)),
            WrittenLatency {
                fixed: None,
                uniform: None,
                lognormal: Some(WrittenLognormal { median, sigma }),
                exponential: None,
            } if sigma.is_finite() && sigma >= 0.0 => Ok(Self::Lognormal {
                median: median.0,
                sigma,
            }),
            WrittenLatency {
                fixed: None,
                uniform: None,
                lognormal: None,
                exponential: Some(mean),
            } => Ok(Self::Exponential { mean: mean.0 }),
            _ => Err(D::Error::custom(
                "a latency is `fixed: 20ms`, `uniform: [10ms, 50ms]`, `exponential: 30ms` or `lognormal: { median: 30ms, sigma: 0.6 }`",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAnswer {
    status: Option<Text<StatusCode>>,
    retry_after: Option<Text<Duration>>,
    #[serde(default)]
    retry_after_form: RetryAfterForm,
    #[serde(default)]
    body: AnswerBody,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    after_write: bool,
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenAnswer::deserialize(deserializer)?;
        Ok(Self {
            status: written
                .status
                .map_or(StatusCode::TOO_MANY_REQUESTS, |status| status.0),
            retry_after: written.retry_after.map(|time| time.0),
            retry_after_form: written.retry_after_form,
            body: written.body,
            echo: written.echo,
            after_write: written.after_write,
        })
    }
}
