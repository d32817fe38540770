//! Keeps some of many, evenly spread over all.

/// Keeps of what is added every first, second, fourth … so that there are never more than a limit.
#[derive(Debug)]
pub(super) struct Spread<T> {
    limit: usize,
    /// The stride: one event in this number is kept.
    every: u64,
    seen: u64,
    kept: Vec<T>,
}

impl<T> Spread<T> {
    /// Keeps at most `limit`, and from when there are more at least half of it.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            every: 1,
            seen: 0,
            kept: Vec::new(),
        }
    }

    /// Adds one.
    pub(super) fn add(&mut self, item: T) {
        let number = self.seen;
        self.seen += 1;
        if self.kept.len() >= self.limit && number.is_multiple_of(self.every) {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
        if number.is_multiple_of(self.every) {
            self.kept.push(item);
        }
    }

    /// Returns what is kept.
    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_spread_evenly() {
        for (count, limit) in [
            (0, 4),
            (3, 4),
            (4, 4),
            (5, 4),
            (1_000, 4),
            (50_000, 512),
            (9, 1),
        ] {
            let mut spread = Spread::new(limit);
            (0..count).for_each(|number| spread.add(number));
            let kept = spread.kept();
            assert!(kept.len() <= limit, "{count} {limit}: {kept:?}");
            let enough = std::cmp::min(usize::try_from(count).unwrap(), limit / 2);
            assert!(kept.len() >= enough, "{count} {limit}: {kept:?}");
            assert_eq!(kept.first().copied(), (count > 0).then_some(0));
            let gaps: Vec<_> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.windows(2).all(|pair| pair[0] == pair[1]), "{gaps:?}");
        }
    }
}
