//! Reads a scenario. The parser says at which line, column and key something is wrong.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::{Method, StatusCode};
use serde::de::{
    Error as _, IntoDeserializer as _, SeqAccess, Visitor, value::SeqAccessDeserializer,
};
use serde::{Deserialize, Deserializer};

use super::{
    Answer, AnswerBody, Asked, Fault, Latency, Moment, RetryAfterForm, Rule, Scenario,
    ScenarioError, Vanished, When,
};
use crate::unit::{ParseUnitError, Rate, parse_bytes_rate, parse_duration};

impl Scenario {
    /// Reads a scenario from a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no scenario; the error names file, line, column and key.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs_err::read_to_string(path).map_err(ScenarioError::Io)?;
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

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy)]
struct Share(f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Form for Share {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no number from 0 to 1"))
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|share| share.0)
    }
}

/// A value with a form of its own. It is read where it is visited: errors made there get its place, later ones that of
/// the map around it.
struct Text<T>(T);

trait Form: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

struct BytesRate(u32);

impl Form for BytesRate {
    fn parse(text: &str) -> Result<Self, String> {
        let rate = parse_bytes_rate(text).map_err(|error| error.to_string())?;
        let seconds = u32::try_from(rate.window.duration().as_secs()).unwrap_or(1);
        Ok(Self(rate.amount.get().div_ceil(seconds)))
    }
}

impl Form for Rate {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|error: ParseUnitError| error.to_string())
    }
}

impl Form for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text).map_err(|error| error.to_string())
    }
}

impl Form for Method {
    fn parse(text: &str) -> Result<Self, String> {
        const METHODS: [Method; 5] = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ];
        METHODS
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of GET, POST, PUT, PATCH, DELETE"))
    }
}

impl Form for GlobMatcher {
    fn parse(text: &str) -> Result<Self, String> {
        GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map(|glob| glob.compile_matcher())
            .map_err(|error| error.to_string())
    }
}

impl Form for StatusCode {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse::<u16>()
            .ok()
            .filter(|status| (200..600).contains(status))
            .and_then(|status| Self::from_u16(status).ok())
            .ok_or_else(|| format!("`{text}` is no status from 200 to 599"))
    }
}

impl<'de, T: Form> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar<T>(PhantomData<T>);
        impl<T: Form> Visitor<'_> for Scalar<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
                T::parse(text).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
                T::parse(&number.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
                T::parse(&number.to_string()).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Scalar(PhantomData)).map(Self)
    }
}

/// Reads `x` as `[x]`.
fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct OneOrMany<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a name or a list of names")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(text.into_deserializer()).map(|one| vec![one])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(OneOrMany(PhantomData))
}
