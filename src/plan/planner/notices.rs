//! Warnings of which there may be one for every record of the sources: the first of a kind are named, the rest is
//! counted.

use std::collections::BTreeMap;

use crate::plan::Summary;

/// The number of warnings that are named of a kind that may come with every file.
const FEW: usize = 3;

/// The numbers of warnings of each kind.
#[derive(Debug, Default)]
pub(super) struct Notices {
    counts: BTreeMap<&'static str, usize>,
    /// Of those of which only few are named: how many there are, and how many were named.
    few: BTreeMap<&'static str, (usize, usize)>,
}

impl Notices {
    /// Counts a warning, and returns it while they are few.
    pub(super) fn take(&mut self, kind: &'static str, warning: String) -> Option<String> {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        (*count <= Summary::WARNINGS).then_some(warning)
    }

    /// As [`Notices::take`], for what there may be in every file: the first few show what is meant.
    pub(super) fn take_few(&mut self, kind: &'static str, warning: String) -> Option<String> {
        let (count, named) = self.few.entry(kind).or_default();
        *count += 1;
        if *count <= FEW {
            *named += 1;
            return Some(warning);
        }
        None
    }

    /// Returns what is to be said of those that were not named.
    pub(super) fn rest(&self) -> Vec<String> {
        let more = |(kind, count): (&&str, &usize)| {
            let more = count.saturating_sub(Summary::WARNINGS);
            (more > 0).then(|| format!("{kind}: {more} more"))
        };
        let more = self.counts.iter().filter_map(more);
        let few = self.few.iter().filter_map(|(kind, (count, named))| {
            let more = count.saturating_sub(*named);
            (more > 0).then(|| format!("{kind}: {more} more"))
        });
        more.chain(few).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_the_rest_is_counted() {
        let mut notices = Notices::default();
        let named = (0..25).filter_map(|n| notices.take("an odd one", n.to_string()));
        assert_eq!(named.count(), Summary::WARNINGS);
        assert!(notices.take("another", "x".to_owned()).is_some());
        assert_eq!(notices.rest(), ["an odd one: 5 more"]);
    }
}
