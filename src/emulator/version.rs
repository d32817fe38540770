//! Versions: the instant of a write, as `versionId`, `lastUpdated`, `ETag` and `Last-Modified` say it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Versions are nanoseconds, but move in whole microseconds (every `versionId` of the API ends in `000`).
const STEP: i64 = 1000;

static LAST: AtomicI64 = AtomicI64::new(0);

/// The version of a write now: later than any given before, and than `after`.
pub(super) fn next(after: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .and_then(|micros| micros.checked_mul(STEP))
        .unwrap_or(STEP);
    let later = |last: i64| now.max(last.max(after).saturating_add(STEP));
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(later(last))
    })
    .map_or(now, later)
}

/// `meta.versionId`: base64url of the decimal nanoseconds.
pub(super) fn id(version: i64) -> String {
    URL_SAFE_NO_PAD.encode(version.to_string())
}

/// The version a `versionId` names.
pub(super) fn parse(id: &str) -> Option<i64> {
    std::str::from_utf8(&URL_SAFE_NO_PAD.decode(id).ok()?)
        .ok()?
        .parse()
        .ok()
}

/// `meta.lastUpdated`: six decimals and `+00:00`.
pub(super) fn instant(version: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(version))
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string())
        .unwrap_or_default()
}

/// The weak `ETag`.
pub(super) fn etag(version: i64) -> String {
    format!("W/\"{}\"", id(version))
}

/// The `Last-Modified` header.
pub(super) fn http_date(version: i64) -> String {
    let since = Duration::from_nanos(u64::try_from(version).unwrap_or(0));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// Whether an `If-Match` or `If-None-Match` value names this version, weak or strong, quoted or bare.
pub(super) fn matches(condition: &str, version: i64) -> bool {
    let id = id(version);
    condition.split(',').any(|one| {
        let one = one.trim();
        one.strip_prefix("W/").unwrap_or(one).trim_matches('"') == id
    })
}
