//! Numbers as they stand at axes and in tables: short, and no more exact than what was measured.

use std::time::Duration;

/// Writes a number without digits that say nothing.
pub(super) fn tidy(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes microseconds, shortly.
pub(super) fn latency(micros: f64) -> String {
    if micros >= 1e6 {
        format!("{} s", three(micros / 1e6))
    } else if micros >= 1e3 {
        format!("{} ms", three(micros / 1e3))
    } else {
        format!("{micros:.0} µs")
    }
}

/// Writes no more digits than a bucket is exact.
pub(super) fn three(value: f64) -> String {
    if value >= 10.0 {
        format!("{value:.0}")
    } else {
        tidy((value * 10.0).round() / 10.0)
    }
}

pub(super) fn micros_of(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round()
}

/// Writes a count shortly enough for an axis.
pub(super) fn counted(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} G", three(v / 1e9)),
        v if v >= 1e6 => format!("{} M", three(v / 1e6)),
        v if v >= 1e4 => format!("{} k", three(v / 1e3)),
        v => tidy(v),
    }
}

/// Writes a time of the run as hours, minutes and seconds.
pub(super) fn at(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
