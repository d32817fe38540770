//! Dates of FHIR as the stretches of time that they stand for, and how a search compares them.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A stretch of time in microseconds since the epoch; the end is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Period {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The relation of a date in a resource to the one that is searched for (FHIR R4, "Prefixes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
}

impl Prefix {
    /// Takes the prefix off a value; one without means equal. `ap` is not known: what is near is not said.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        const PREFIXES: [(&str, Prefix); 8] = [
            ("eq", Prefix::Equal),
            ("ne", Prefix::NotEqual),
            ("gt", Prefix::Greater),
            ("lt", Prefix::Less),
            ("ge", Prefix::GreaterOrEqual),
            ("le", Prefix::LessOrEqual),
            ("sa", Prefix::StartsAfter),
            ("eb", Prefix::EndsBefore),
        ];
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Some((Self::Equal, text));
        }
        PREFIXES
            .iter()
            .find_map(|(name, prefix)| Some((*prefix, text.strip_prefix(name)?)))
    }
}

impl Period {
    /// From ever to ever.
    pub(super) const ALWAYS: Self = Self {
        start: i64::MIN,
        end: i64::MAX,
    };

    /// Reads a `date`, `dateTime` or `instant` of any precision. Without a zone it is taken as UTC.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let parts: Vec<&str> = date.split('-').collect();
        let first = |year: i16, month: i16| Date::new(year, i8::try_from(month).ok()?, 1).ok();
        let (start, end) = match (parts.as_slice(), time) {
            ([year], None) => {
                let year = number(year, 4)?;
                (first(year, 1)?, first(year + 1, 1))
            }
            ([year, month], None) => {
                let (year, month) = (number(year, 4)?, number(month, 2)?);
                let next = if month == 12 {
                    first(year + 1, 1)
                } else {
                    first(year, month + 1)
                };
                (first(year, month)?, next)
            }
            ([year, month, day], time) => {
                let day = Date::new(
                    number(year, 4)?,
                    i8::try_from(number(month, 2)?).ok()?,
                    i8::try_from(number(day, 2)?).ok()?,
                );
                let day = day.ok()?;
                match time {
                    None => (day, day.tomorrow().ok()),
                    Some(time) => return Self::within(day, time),
                }
            }
            _ => return None,
        };
        Some(Self {
            start: micros(start.into())?,
            end: end.and_then(|end| micros(end.into())).unwrap_or(i64::MAX),
        })
    }

    /// The stretch that a time of a day stands for.
    fn within(day: Date, time: &str) -> Option<Self> {
        let (time, offset) = match time.strip_suffix('Z') {
            Some(time) => (time, 0),
            // A plus that was not encoded has become a space.
            None => match time.rfind(['+', '-', ' ']) {
                None => (time, 0),
                Some(at) => {
                    let (time, offset) = time.split_at_checked(at)?;
                    let sign = if offset.starts_with('-') { -1 } else { 1 };
                    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
                    let minutes = 60 * number(hours, 2)? + number(minutes, 2)?;
                    (time, sign * i64::from(minutes) * MINUTE)
                }
            },
        };
        let parts: Vec<&str> = time.split(':').collect();
        let (hour, minute, second, fraction) = match parts.as_slice() {
            [hour, minute] => (hour, minute, None, None),
            [hour, minute, second] => match second.split_once('.') {
                None => (hour, minute, Some(*second), None),
                Some((second, fraction)) => (hour, minute, Some(second), Some(fraction)),
            },
            _ => return None,
        };
        let part = |text: &str| i8::try_from(number(text, 2)?).ok();
        let time = Time::new(part(hour)?, part(minute)?, second.map_or(Some(0), part)?, 0);
        let mut start = micros(DateTime::from_parts(day, time.ok()?))?.checked_sub(offset)?;
        let mut length = if second.is_some() { SECOND } else { MINUTE };
        // Digits finer than the store's own instants make no difference.
        for (index, digit) in fraction.unwrap_or_default().chars().enumerate() {
            let digit = i64::from(digit.to_digit(10)?);
            if index < 6 {
                length /= 10;
                start += digit * length;
            }
        }
        Some(Self {
            start,
            end: start.checked_add(length)?,
        })
    }

    /// Tells whether this one, of a resource, is as the search wants it.
    pub(super) fn is(self, prefix: Prefix, wanted: Self) -> bool {
        let within = wanted.start <= self.start && self.end <= wanted.end;
        match prefix {
            Prefix::Equal => within,
            Prefix::NotEqual => !within,
            Prefix::Greater => self.end > wanted.end,
            Prefix::Less => self.start < wanted.start,
            Prefix::GreaterOrEqual => within || self.end > wanted.end,
            Prefix::LessOrEqual => within || self.start < wanted.start,
            Prefix::StartsAfter => self.start >= wanted.end,
            Prefix::EndsBefore => self.end <= wanted.start,
        }
    }
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

fn number(text: &str, digits: usize) -> Option<i16> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn micros(moment: DateTime) -> Option<i64> {
    let moment = moment.to_zoned(TimeZone::UTC).ok()?;
    Some(moment.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &str) -> Option<i64> {
        Period::read(text).map(|period| period.end - period.start)
    }

    #[test]
    fn a_date_stands_for_all_that_it_leaves_open() {
        let day = 24 * 60 * MINUTE;
        for (text, expected) in [
            ("2023", 365 * day),
            ("2024", 366 * day),
            ("2024-02", 29 * day),
            ("2024-12", 31 * day),
            ("2024-02-29", day),
            ("2024-02-29T10:00", MINUTE),
            ("2024-02-29T10:00:00", SECOND),
            ("2024-02-29T10:00:00.5Z", SECOND / 10),
            ("2024-02-29T10:00:00.123456Z", 1),
            ("2024-02-29T10:00:00.123456789Z", 1),
        ] {
            assert_eq!(length(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "24",
            "2024-13",
            "2023-02-29",
            "2024-1-1",
            "2024-01-01T",
            "2024-01-01T10",
            "2024-01-01T25:00",
            "2024-01-01T10:00+1",
            "x",
            "2024-01-01T10:00:00.x",
        ] {
            assert_eq!(Period::read(text), None, "{text}");
        }
        let start = |text: &str| Period::read(text).unwrap().start;
        assert_eq!(start("1970-01-01"), 0);
        assert_eq!(start("1970-01-01T01:00:01+01:00"), SECOND);
        assert_eq!(start("1970-01-01T00:00:01.250Z"), 1_250_000);
        assert_eq!(start("1969-12-31T23:00:00-01:00"), 0);
    }

    #[test]
    fn prefixes_compare_stretches() {
        let is = |found: &str, search: &str| {
            let (prefix, wanted) = Prefix::split(search).unwrap();
            Period::read(found)
                .unwrap()
                .is(prefix, Period::read(wanted).unwrap())
        };
        for (found, search, expected) in [
            ("2024-05-01", "2024", true),
            ("2024", "2024-05-01", false),
            ("2024-05-01", "ne2024", false),
            ("2024-05-01", "gt2024-05-01", false),
            ("2024-05-02", "gt2024-05-01", true),
            ("2024", "gt2024-05-01", true),
            ("2024-05-01", "ge2024-05-01", true),
            ("2024-04-30", "ge2024-05-01", false),
            ("2024-05-01", "le2024-05", true),
            ("2024-04-30", "lt2024-05-01", true),
            ("2024-05-01", "lt2024-05-01", false),
            ("2024-05-01", "sa2024-04", true),
            ("2024", "sa2024-04", false),
            ("2024-04-01", "eb2024-05", true),
        ] {
            assert_eq!(is(found, search), expected, "{found} {search}");
        }
        assert_eq!(Prefix::split("ap2024"), None);
    }
}
