//! The results of the exports, for the one line that is said of them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry_sdk::error::OTelSdkResult;

use crate::diagnostic::Diagnostic;

/// Takes note of exports and of why they fail.
#[derive(Debug, Default)]
pub(super) struct Notes {
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    exports: u64,
    failed: u64,
    /// The reason why the latest attempt failed.
    why: Option<String>,
    /// The reason why the first export failed.
    first: Option<String>,
}

impl Notes {
    /// Takes note of why an attempt failed: Stoker's words, with host and port at the most.
    pub(super) fn failed(&self, why: String) {
        self.noted().why = Some(why);
    }

    /// Takes note of an export that has come to its end, with all its attempts.
    pub(super) fn exported(&self, result: &OTelSdkResult) {
        let mut noted = self.noted();
        noted.exports += 1;
        if result.is_err() {
            noted.failed += 1;
            let why = noted.why.take();
            let why = why.unwrap_or_else(|| "it could not be encoded".to_owned());
            noted.first.get_or_insert(why);
        }
    }

    /// Takes note that a collector has taken an export, but not all that was in it.
    pub(super) fn in_part(&self, rejected: i64) {
        let mut noted = self.noted();
        noted.failed += 1;
        let why = format!("the collector rejected {rejected} items of an export");
        noted.first.get_or_insert(why);
    }

    /// Says what did not arrive; `in_time` is how long was waited in vain, if it was.
    pub(super) fn told(&self, in_time: Result<(), Duration>) -> Option<Diagnostic> {
        let noted = self.noted();
        let what = match (&noted.first, in_time) {
            (Some(first), _) => format!(
                "not all telemetry has arrived: {} of {} exports failed, the first because of: {first}",
                noted.failed,
                noted.exports.max(noted.failed),
            ),
            (None, Err(patience)) => {
                let why = noted.why.as_deref().map(|why| format!(" ({why})"));
                format!(
                    "not all telemetry has arrived: the collector took longer than {} ms{}",
                    patience.as_millis(),
                    why.unwrap_or_default(),
                )
            }
            (None, Ok(())) => return None,
        };
        let hint = "the run itself is not touched by it; `OTEL_SDK_DISABLED=true` sends none";
        Some(Diagnostic::warning(what).hint(hint))
    }

    /// Notes are whole at any time.
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_failed_first_is_said_once() {
        let notes = Notes::default();
        notes.exported(&Ok(()));
        assert_eq!(notes.told(Ok(())), None);
        let late = notes.told(Err(Duration::from_secs(2))).unwrap();
        assert!(late.message.ends_with("longer than 2000 ms"), "{late:?}");
        for why in ["a.example:4318: connection refused", "it answered 401"] {
            notes.failed(why.to_owned());
            notes.exported(&Err(OTelSdkError::AlreadyShutdown));
        }
        let told = notes.told(Ok(())).unwrap();
        assert_eq!(
            told.message,
            "not all telemetry has arrived: 2 of 3 exports failed, the first because of: a.example:4318: connection refused"
        );
    }
}
