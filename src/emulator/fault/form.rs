//! The written forms of single values of a scenario.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::{Method, StatusCode};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::unit::{ParseUnitError, Rate, parse_bytes_rate, parse_duration};

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(pub(super) f64);

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
pub(super) struct Text<T>(pub(super) T);

/// The written form of a value.
pub(super) trait Form: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

/// Bytes in a second.
pub(super) struct BytesRate(pub(super) u32);

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
pub(super) fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
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
