//! Values with units: rates, sizes, durations, and how people write them (`500/s`, `64 MB`, `30s`).
//!
//! Parsing and printing only. The meaning of a rate for a target is `gate`'s business.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// The reason why a value with a unit could not be read: what it is instead, and an example of what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is {what}")]
pub struct ParseUnitError {
    value: String,
    what: &'static str,
}

impl ParseUnitError {
    fn new(value: &str, what: &'static str) -> Self {
        Self {
            value: value.to_owned(),
            what,
        }
    }

    /// Chooses the words for a number that is not in range: none at all, too many, or no number.
    fn of(value: &str, number: &str, [none, many, no_number]: [&'static str; 3]) -> Self {
        let digits = number.trim().replace('_', "");
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_none = digits.bytes().all(|byte| byte == b'0');
        let what = match (is_whole, is_none) {
            (true, true) => none,
            (true, false) => many,
            _ => no_number,
        };
        Self::new(value, what)
    }
}

/// The window in which a [`Rate`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// Any sliding second.
    Second,
    /// Any sliding minute.
    Minute,
}

impl Window {
    /// Returns the length of the window.
    pub fn duration(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
        }
    }
}

/// The highest number of operations (or bytes) in any sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of operations or bytes in a window; a rate of zero does not exist.
    pub amount: NonZeroU32,
    /// The length of the window.
    pub window: Window,
}

const RATE: &str = "not a rate; write `500/s` or `30000/min`";
const NO_RATE: &str =
    "a rate at which nothing is sent; write `1/min` at least, or leave it out for no limit";
const HIGH_RATE: &str = "too high a rate; the highest is 4,294,967,295 (`/s` or `/min`), and without one there is no limit";
const BYTES_RATE: &str = "not a rate in bytes; write `10 MB/s` or `600 MB/min`";
const HIGH_BYTES_RATE: &str =
    "too high a rate; the highest is `4 GB/s`, and without one there is no limit";
const SIZE: &str = "not a size; write `64 MB`, `512 KiB` or a number of bytes";
const LARGE: &str = "too large a size; write `64 MB`, `512 KiB` or a number of bytes";
const DURATION: &str = "not a duration; write `500ms`, `30s`, `5m` or `1h`";

const LONG: &str = "too long; write `500ms`, `30s`, `5m` or `1h`";

/// The longest duration: a hundred years, so that a time so far away can still be told.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

fn window(text: &str) -> Option<Window> {
    match text.trim() {
        "s" | "sec" | "second" => Some(Window::Second),
        "m" | "min" | "minute" => Some(Window::Minute),
        _ => None,
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let error = || ParseUnitError::new(text, RATE);
        let (amount, unit) = text.split_once('/').ok_or_else(error)?;
        let window = window(unit).ok_or_else(error)?;
        let digits = amount.trim().replace('_', "");
        let wrong = |_| ParseUnitError::of(text, amount, [NO_RATE, HIGH_RATE, RATE]);
        let amount = digits.parse().map_err(wrong)?;
        Ok(Self { amount, window })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = match self.window {
            Window::Second => "s",
            Window::Minute => "min",
        };
        write!(f, "{}/{window}", self.amount)
    }
}

impl Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Reads a rate in bytes, such as `10 MB/s`.
pub fn parse_bytes_rate(text: &str) -> Result<Rate, ParseUnitError> {
    let error = || ParseUnitError::new(text, BYTES_RATE);
    let (amount, unit) = text.split_once('/').ok_or_else(error)?;
    let window = window(unit).ok_or_else(error)?;
    let bytes = amount.parse::<ByteSize>().map_err(|wrong| {
        let is_large = wrong.what == LARGE;
        ParseUnitError::new(
            text,
            if is_large {
                HIGH_BYTES_RATE
            } else {
                BYTES_RATE
            },
        )
    })?;
    let amount = u32::try_from(bytes.0).map_err(|_| ParseUnitError::new(text, HIGH_BYTES_RATE))?;
    let amount = NonZeroU32::new(amount).ok_or(ParseUnitError::new(text, NO_RATE))?;
    Ok(Rate { amount, window })
}

/// A number of bytes. `MB` is 1,000,000 and `MiB` is 1,048,576.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let error = || ParseUnitError::new(text, SIZE);
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(error()),
        };
        let wrong = || ParseUnitError::of(text, number, [SIZE, LARGE, SIZE]);
        let bytes = number.replace('_', "").parse::<u64>().ok();
        let bytes = bytes.and_then(|number| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
        for (size, unit) in UNITS {
            if self.0 >= size {
                return write!(f, "{:.1} {unit}", self.0 as f64 / size as f64);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Reads a duration such as `500ms`, `30s`, `5m` or `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    let error = || ParseUnitError::new(text, DURATION);
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| error())?;
    let seconds = match unit.trim() {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(error()),
    };
    if seconds > LONGEST {
        return Err(ParseUnitError::new(text, LONG));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| error())
}

/// Renders a duration for people: `840 ms`, `12.4 s`, `3m 05s`, `1h 02m`.
pub fn display_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Renders a number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Renders a rate as exactly as it is of use.
pub fn speed(rate: f64) -> String {
    if rate < 99.95 {
        format!("{rate:.1}")
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive and far below 2^63"
        )]
        grouped(rate.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_printed() {
        let rate: Rate = "500/s".parse().unwrap();
        assert_eq!((rate.amount.get(), rate.window), (500, Window::Second));
        assert_eq!(
            "30_000/min".parse::<Rate>().unwrap().to_string(),
            "30000/min"
        );
        for wrong in ["", "500", "0/s", "-1/s", "fast", "5/h", "4294967296/s"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        assert_eq!(
            "fast".parse::<Rate>().unwrap_err().to_string(),
            "`fast` is not a rate; write `500/s` or `30000/min`"
        );
        for (wrong, words) in [
            ("0/s", "`0/s` is a rate at which nothing is sent; "),
            ("00/min", "`00/min` is a rate at which nothing is sent; "),
            ("4294967296/s", "`4294967296/s` is too high a rate; "),
            ("1.5/s", "`1.5/s` is not a rate; "),
            ("-1/s", "`-1/s` is not a rate; "),
        ] {
            let said = wrong.parse::<Rate>().unwrap_err().to_string();
            assert!(said.starts_with(words), "{said}");
        }
    }

    #[test]
    fn sizes_and_byte_rates_are_read() {
        assert_eq!("64 MB".parse::<ByteSize>().unwrap().0, 64_000_000);
        assert_eq!("1KiB".parse::<ByteSize>().unwrap().0, 1024);
        assert_eq!("17".parse::<ByteSize>().unwrap().0, 17);
        assert!("18446744073709551615 GB".parse::<ByteSize>().is_err());
        assert_eq!(
            parse_bytes_rate("10 MB/s").unwrap().amount.get(),
            10_000_000
        );
        for (wrong, words) in [
            ("10 GB/s", "`10 GB/s` is too high a rate; "),
            (
                "99999999999999999999 GB/s",
                "`99999999999999999999 GB/s` is too high a rate; ",
            ),
            ("0 MB/s", "`0 MB/s` is a rate at which nothing is sent; "),
            ("some/s", "`some/s` is not a rate in bytes; "),
        ] {
            let said = parse_bytes_rate(wrong).unwrap_err().to_string();
            assert!(said.starts_with(words), "{said}");
        }
        let large = "99999999999999999999".parse::<ByteSize>().unwrap_err();
        assert!(large.to_string().contains(" is too large a size; "));
        assert_eq!(ByteSize(61_740_000).to_string(), "61.7 MB");
    }

    #[test]
    fn durations_are_read_and_printed() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1.5h").unwrap(), Duration::from_mins(90));
        assert!(parse_duration("5").is_err() && parse_duration("1e400h").is_err());
        let long = parse_duration("5000000000000000h").unwrap_err();
        assert!(long.to_string().contains(" is too long; "));
        assert_eq!(display_duration(Duration::from_secs(185)), "3m 05s");
    }
}
