//! Warnings of which there may be one for every Bundle or entry of the sources: the first of a kind are named, the rest is
//! counted.

use std::collections::BTreeMap;

use crate::plan::{Summary, text::plural};

/// How many are named of what there may be in every file.
const FEW: usize = 3;

/// How often there was a warning of each kind.
#[derive(Debug, Default)]
pub(super) struct Notices {
    counts: BTreeMap<&'static str, usize>,
    /// Of those of which only few are named: how many there are, and how many were named.
    few: BTreeMap<&'static str, (usize, usize)>,
    /// Of entries that are sent in another way than they are written: how many, and the first.
    fronts: Option<(u64, String)>,
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

    /// Counts an entry whose `ifNoneExist` is not in the standard's form.
    pub(super) fn front(&mut self, place: impl FnOnce() -> String) {
        self.fronts.get_or_insert_with(|| (0, place())).0 += 1;
    }

    /// Returns what is to be said of those that were not named.
    pub(super) fn rest(&self) -> Vec<String> {
        let fronts = self.fronts.as_ref().map(|(count, first)| {
            format!(
                "{} whose ifNoneExist begins with `Type?` or `?` (the first is {first}): what follows that is sent, as the standard has it",
                plural(*count, "entry").replace("entrys", "entries")
            )
        });
        let more = |(kind, count): (&&str, &usize)| {
            let more = count.saturating_sub(Summary::WARNINGS);
            (more > 0).then(|| format!("{kind}: {more} more"))
        };
        let more = self.counts.iter().filter_map(more);
        let few = self.few.iter().filter_map(|(kind, (count, named))| {
            let more = count.saturating_sub(*named);
            (more > 0).then(|| format!("{kind}: {more} more"))
        });
        fronts.into_iter().chain(more).chain(few).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_and_the_rest_is_counted() {
        let mut notices = Notices::default();
        let named = (0..25).filter_map(|n| notices.take("an empty Bundle", n.to_string()));
        assert_eq!(named.count(), Summary::WARNINGS);
        assert!(notices.take("another", "x".to_owned()).is_some());
        assert_eq!(notices.rest(), ["an empty Bundle: 5 more"]);
        notices.front(|| "a.json:1".to_owned());
        notices.front(|| unreachable!("only the first is named"));
        let said = notices.rest();
        assert!(
            said[0].starts_with("2 entries whose") && said[0].contains("the first is a.json:1)"),
            "{said:?}"
        );
    }
}
