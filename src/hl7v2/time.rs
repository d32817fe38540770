//! Points in time as HL7v2 writes them: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// A point in time, as exact as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// The time of day on that date; what was not written is the earliest.
    pub civil: DateTime,
    /// The offset from UTC, where it was written.
    pub offset: Option<Offset>,
}

impl Time {
    /// Reads the first component of a field of type TS or DTM; `None` where it has another form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if !text.is_ascii() {
            return None;
        }
        let (local, offset) = match text.find(['+', '-']) {
            Some(at) => (text.get(..at)?, Some(parse_offset(text.get(at..)?)?)),
            None => (text, None),
        };
        let (whole, fraction) = match local.split_once('.') {
            Some((whole, fraction)) => (whole, fraction),
            None => (local, ""),
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_fraction = fraction.is_empty() || (whole.len() == 14 && fraction.len() <= 9);
        if !matches!(whole.len(), 4 | 6 | 8 | 10 | 12 | 14)
            || !is_number(whole)
            || !is_number(fraction)
            || !is_fraction
        {
            return None;
        }
        let part = |from: usize, to: usize, missing: i8| -> Option<i8> {
            whole
                .get(from..to)
                .map_or(Some(missing), |digits| digits.parse().ok())
        };
        let nanoseconds = if fraction.is_empty() {
            0
        } else {
            format!("{fraction:0<9}").parse().ok()?
        };
        let civil = DateTime::new(
            whole.get(..4)?.parse().ok()?,
            part(4, 6, 1)?,
            part(6, 8, 1)?,
            part(8, 10, 0)?,
            part(10, 12, 0)?,
            // A leap second is the last of its minute.
            part(12, 14, 0)?.min(59),
            nanoseconds,
        );
        let civil = civil.ok()?;
        let minutes_are_real = part(12, 14, 0)? <= 60;
        minutes_are_real.then_some(Self { civil, offset })
    }

    /// Returns the instant; a time without an offset is one of that time zone.
    pub fn instant(&self, zone: &TimeZone) -> Option<Timestamp> {
        match self.offset {
            Some(offset) => offset.to_timestamp(self.civil).ok(),
            None => zone
                .to_ambiguous_zoned(self.civil)
                .compatible()
                .ok()
                .map(|zoned: Zoned| zoned.timestamp()),
        }
    }
}

fn parse_offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..)?;
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..)?.parse().ok()?;
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Option<String> {
        let time = Time::parse(text.as_bytes())?;
        Some(time.instant(&TimeZone::UTC)?.to_string())
    }

    #[test]
    fn forms() {
        for (text, expected) in [
            ("20180101000000", "2018-01-01T00:00:00Z"),
            ("2018", "2018-01-01T00:00:00Z"),
            ("201802", "2018-02-01T00:00:00Z"),
            ("201802030405", "2018-02-03T04:05:00Z"),
            ("20180203040506.25-0500", "2018-02-03T09:05:06.25Z"),
            ("201802030405+0130", "2018-02-03T02:35:00Z"),
            ("20161231235960", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "201",
            "20181301",
            "20180230",
            "2018-01-01",
            "201801010000001",
            "20180101000061",
            "2018.5",
            "20180101+05",
            "20180101+0560",
            "20180101000000é",
            "{time}",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_offset_is_one_of_the_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let time = Time::parse(b"20180701120000").unwrap();
        assert_eq!(
            time.instant(&zone).unwrap().to_string(),
            "2018-07-01T16:00:00Z"
        );
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = Time::parse(&bytes);
        }

        #[test]
        fn never_panics_on_digits(text in "[0-9]{0,20}[.]?[0-9]{0,10}[+-]?[0-9]{0,5}") {
            let _ = Time::parse(text.as_bytes()).and_then(|time| time.instant(&TimeZone::UTC));
        }
    }
}
