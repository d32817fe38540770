//! The instant of a version: `meta.lastUpdated`, `meta.versionId` and the `ETag` are three forms of it.
//!
//! The Healthcare API's `versionId` is base64 (URL-safe, unpadded) of the decimal Unix time in nanoseconds, with
//! microsecond precision; `lastUpdated` is the same instant with six decimals and `+00:00`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

/// Unix time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(pub(super) i64);

impl Instant {
    /// Returns the text of `meta.versionId`.
    pub(super) fn version_id(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}000", self.0))
    }

    /// Reads a `versionId`; `None` when it cannot be one of this store.
    pub(super) fn from_version_id(text: &str) -> Option<Self> {
        let decimal = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let instant = Self(decimal.strip_suffix("000")?.parse().ok()?);
        // Only the one form that this store writes counts, not `+1…` or `01…`.
        (instant.version_id() == text).then_some(instant)
    }

    /// Returns the text of `meta.lastUpdated`.
    pub(super) fn last_updated(self) -> String {
        self.timestamp()
            .strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
            .to_string()
    }

    /// Returns the RFC 3339 form that the administrative API uses.
    pub(super) fn rfc3339(self) -> String {
        self.timestamp()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string()
    }

    /// Returns the form of the header `Last-Modified` (RFC 9110, IMF-fixdate).
    pub(super) fn http_date(self) -> String {
        self.timestamp()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string()
    }

    /// Returns the weak `ETag`.
    pub(super) fn etag(self) -> String {
        format!("W/\"{}\"", self.version_id())
    }

    /// Returns the whole seconds since the epoch.
    pub(super) fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Hands out instants, each later than the one before, also across restarts and when the wall clock steps back.
#[derive(Debug)]
pub(super) struct Clock {
    last: i64,
}

impl Clock {
    /// Goes on after `last` (microseconds).
    pub(super) fn after(last: i64) -> Self {
        Self { last }
    }

    /// Returns now, or the first microsecond after the last answer.
    pub(super) fn tick(&mut self) -> Instant {
        self.last = Timestamp::now().as_microsecond().max(self.last + 1);
        Instant(self.last)
    }

    /// Returns the last instant handed out.
    pub(super) fn last(&self) -> i64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree_with_published_examples() {
        let instant = Instant::from_version_id("MTY0ODgzNjY5MjQyODAxMzAwMA").unwrap();
        assert_eq!(instant, Instant(1_648_836_692_428_013));
        assert_eq!(instant.version_id(), "MTY0ODgzNjY5MjQyODAxMzAwMA");
        assert_eq!(instant.last_updated(), "2022-04-01T18:11:32.428013+00:00");
        assert_eq!(instant.http_date(), "Fri, 01 Apr 2022 18:11:32 GMT");
        assert_eq!(instant.etag(), "W/\"MTY0ODgzNjY5MjQyODAxMzAwMA\"");
        assert_eq!(
            Instant(1_633_680_930_015_700).last_updated(),
            "2021-10-08T08:15:30.015700+00:00"
        );
    }

    #[test]
    fn foreign_version_ids_are_none() {
        for text in ["1", "", "!!", "MQ", "KzEwMDA", "LTE", "////"] {
            assert_eq!(Instant::from_version_id(text), None, "{text}");
        }
    }

    #[test]
    fn the_clock_never_repeats() {
        let far = Timestamp::now().as_microsecond() + 1_000_000_000;
        let mut clock = Clock::after(far);
        assert_eq!(clock.tick(), Instant(far + 1));
        assert_eq!(clock.tick(), Instant(far + 2));
    }
}
