//! Samples of a target, laid out for pictures: few enough to be told apart, on an axis of the time in which something went on.
//!
//! Sessions follow each other on that axis: a run that was killed on Friday and resumed on Monday is no weekend wide.

use crate::samples::{Sample, fold, width};

/// Points of a line: more are not told apart on a page.
pub(super) const POINTS: usize = 240;

/// Columns of a heat map, and rows of a table.
pub(super) const COLUMNS: usize = 48;

/// A tail shorter than this, in milliseconds, is added to what is before it: a rate over a moment says nothing.
const MOMENT: u64 = 500;

/// A session on the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Its number.
    pub(super) session: u32,
    /// When it begins, in milliseconds since the run began.
    begin: u64,
    /// The length of the session, in milliseconds.
    pub(super) length: u64,
    /// The place on the axis at which it begins, in milliseconds.
    pub(super) from: u64,
}

/// The axis of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) stretches: Vec<Stretch>,
}

/// A sample, and where it stands on the axis, in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) sample: Sample,
}

impl Placed {
    /// Makes a count one of a second.
    pub(super) fn a_second(&self, count: u64) -> f64 {
        count as f64 * 1_000.0 / std::cmp::max(self.to - self.from, 1) as f64
    }
}

impl Axis {
    /// Lays out all samples of a run.
    pub(super) fn of(samples: &[Sample]) -> Self {
        let mut sessions: Vec<u32> = samples.iter().map(|sample| sample.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        let mut from = 0;
        let stretches = sessions.into_iter().map(|session| {
            let of = samples.iter().filter(|sample| sample.session == session);
            let begin = of.clone().map(|sample| sample.at_ms).min().unwrap_or(0);
            let end = of.map(Sample::end_ms).max().unwrap_or(begin);
            let stretch = Stretch {
                session,
                begin,
                length: end - begin,
                from,
            };
            from += stretch.length;
            stretch
        });
        Self {
            stretches: stretches.collect(),
        }
    }

    /// Returns how long it is, in milliseconds; never nothing.
    pub(super) fn length(&self) -> u64 {
        let all: u64 = self.stretches.iter().map(|stretch| stretch.length).sum();
        std::cmp::max(all, 1)
    }

    /// Returns the samples of a target as no more than about `most` that follow each other: where nothing went on stands one
    /// that says so.
    pub(super) fn place(&self, samples: &[Sample], target: &str, most: usize) -> Vec<Placed> {
        let own = samples.iter().filter(|sample| sample.target == target);
        let own: Vec<Sample> = own.cloned().collect();
        let width = width(&own, most, 1_000);
        let own = if own.len() > most {
            fold(own, width)
        } else {
            own
        };
        let mut placed: Vec<Placed> = Vec::new();
        for stretch in &self.stretches {
            let mut at = 0;
            let mut row: Vec<Placed> = Vec::new();
            for sample in own.iter().filter(|s| s.session == stretch.session) {
                let from = std::cmp::max(sample.at_ms.saturating_sub(stretch.begin), at);
                let to = sample.end_ms().saturating_sub(stretch.begin);
                if to <= from {
                    continue;
                }
                if from > at + width / 2 {
                    row.push(nothing(stretch, target, at, from));
                }
                let is_moment = to - from < MOMENT;
                match row.last_mut() {
                    Some(last) if is_moment && last.to == stretch.from + from => {
                        last.to = stretch.from + to;
                        let both = vec![last.sample.clone(), sample.clone()];
                        // Both are of one session and target, and so become one.
                        if let Some(one) = fold(both, u64::MAX).pop() {
                            last.sample = one;
                        }
                    }
                    _ => row.push(Placed {
                        from: stretch.from + from,
                        to: stretch.from + to,
                        sample: sample.clone(),
                    }),
                }
                at = to;
            }
            if stretch.length > at + width / 2 {
                row.push(nothing(stretch, target, at, stretch.length));
            }
            placed.append(&mut row);
        }
        placed
    }
}

/// Nothing went on.
fn nothing(stretch: &Stretch, target: &str, from: u64, to: u64) -> Placed {
    Placed {
        from: stretch.from + from,
        to: stretch.from + to,
        sample: Sample {
            at_ms: stretch.begin + from,
            for_ms: to - from,
            session: stretch.session,
            target: target.to_owned(),
            ..Sample::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(session: u32, at_ms: u64, for_ms: u64, attempts: u64) -> Sample {
        Sample {
            at_ms,
            for_ms,
            session,
            target: "a".to_owned(),
            attempts,
            ..Sample::default()
        }
    }

    #[test]
    fn sessions_follow_each_other_and_gaps_say_nothing() {
        let samples = [
            sample(1, 200, 1_000, 1),
            sample(1, 1_200, 1_000, 2),
            sample(1, 5_200, 1_000, 3),
            sample(1, 6_200, 20, 4),
            sample(2, 900_000, 1_000, 5),
        ];
        let axis = Axis::of(&samples);
        assert_eq!(axis.length(), 6_020 + 1_000);
        let placed = axis.place(&samples, "a", POINTS);
        let rows: Vec<_> = placed
            .iter()
            .map(|p| (p.from, p.to, p.sample.attempts))
            .collect();
        assert_eq!(
            rows,
            [
                (0, 1_000, 1),
                (1_000, 2_000, 2),
                (2_000, 5_000, 0),
                (5_000, 6_020, 7),
                (6_020, 7_020, 5),
            ]
        );
        assert_eq!(super::super::numbers::tidy(placed[1].a_second(2)), "2");
        let none = axis.place(&samples, "b", POINTS);
        assert!(none.iter().all(|placed| placed.sample.attempts == 0));
        assert_eq!(Axis::of(&[]).length(), 1);
    }

    #[test]
    fn what_is_long_is_folded() {
        let samples: Vec<_> = (0..36_000)
            .map(|second| sample(1, second * 1_000, 1_000, 1))
            .collect();
        let axis = Axis::of(&samples);
        let placed = axis.place(&samples, "a", POINTS);
        assert!(placed.len() <= POINTS && placed.len() > POINTS / 3);
        let sum: u64 = placed.iter().map(|p| p.sample.attempts).sum();
        assert_eq!(sum, 36_000);
        assert!(placed.windows(2).all(|two| two[0].to == two[1].from));
    }
}
