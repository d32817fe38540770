//! Tells a quota that is used up from too much load, where the target does not say which it is.
//!
//! A store that has too much to do takes what is little. When a quota is used up little is refused too, and
//! a while later as much is taken as was refused before: refusals come and go whatever the limit.

use super::{PLAIN, TOLERATED, round::Figures};

/// A store that has become slower and recovers looks like a quota once; so often does not.
const TURNS: u32 = 2;

/// Limits at which all was taken, and at which not.
#[derive(Debug, Default)]
pub(super) struct QuotaDetector {
    /// The highest limit at which all was taken.
    good: u32,
    /// The lowest limit since then, far lower, at which much was refused all the same.
    bad: Option<u32>,
    /// The number of times that both have been seen.
    count: u32,
}

impl QuotaDetector {
    /// Looks at a round; tells whether it has become clear that refusals are for a quota.
    pub(super) fn see(&mut self, found: Figures) -> bool {
        if found.refused > 4.0 * PLAIN {
            if f64::from(found.limit) <= 0.7 * f64::from(self.good) {
                self.bad = Some(self.bad.map_or(found.limit, |bad| bad.min(found.limit)));
            }
            return false;
        }
        if !found.is_full || found.refused > TOLERATED {
            return false;
        }
        match self.bad {
            None => self.good = std::cmp::max(self.good, found.limit),
            Some(bad) if found.limit >= bad * 3 / 2 => {
                self.bad = None;
                self.count += 1;
                if self.count == TURNS {
                    self.count = 0;
                    return true;
                }
                self.good = found.limit;
            }
            Some(_) => {}
        }
        false
    }

    /// Returns the highest limit at which all was taken lately.
    pub(super) fn good(&self) -> u32 {
        self.good
    }
}
