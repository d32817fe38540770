//! The writing of numbers, foreign texts and the state of a target in progress.

use std::time::Duration;

use super::counters::TargetView;
use crate::{
    event::Flow,
    unit::{display_duration, grouped, speed},
};

/// `8 of 32 in flight, at most 95.0/s`, the latter where it was learned; `…, at most 20/s by its rate` where the user wants it.
pub(super) fn load_of(target: &TargetView) -> String {
    let state = &target.state;
    let ceiling = match (state.ceiling, state.rate) {
        (Some(learned), _) => format!(", at most {}/s", speed(learned)),
        (None, Some(rate)) => format!(", at most {rate} by its rate"),
        (None, None) => String::new(),
    };
    format!(
        "{} of {} in flight{ceiling}",
        grouped(state.in_flight.into()),
        grouped(state.slots.into())
    )
}

/// `asked us to wait 4 s` · `down for 12 s, trying again; gives up in 4m 48s`; nothing where requests go out.
pub(super) fn hindrance(flow: &Flow) -> Option<String> {
    match flow {
        Flow::Open => None,
        Flow::Braked(left) => Some(format!("asked us to wait {}", seconds(*left))),
        Flow::Down { since, left, .. } => Some(format!(
            "down for {}, trying again; {}",
            seconds(Duration::from_secs(since.as_secs())),
            gives_up(*left)
        )),
    }
}

/// `gives up in 4m 48s`
pub(super) fn gives_up(left: Duration) -> String {
    if left.is_zero() {
        "gives up if it fails".to_owned()
    } else {
        format!("gives up in {}", seconds(left))
    }
}

/// A duration in whole seconds, begun ones included: tenths only flicker.
pub(super) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    match whole {
        0..60 => format!("{whole} s"),
        _ => display_duration(Duration::from_secs(whole)),
    }
}

/// Takes the power to steer a terminal from a foreign text.
pub(super) fn plain(text: &str) -> String {
    crate::diagnostic::plain(text).into_owned()
}
