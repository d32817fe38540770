//! Counts by type in stores that list all they hold at once: for people, beside the count of all.
//!
//! Some of these stores name the type of each record that they list, others count by type on request. A count that does not
//! agree with the listing is not believed.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{KindComparison, Verified};
use crate::unit::grouped;

/// The types of the records of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// By the type's name; "" for records that have none.
    pub types: BTreeMap<String, TypeCount>,
    /// The reason why the store's records are not counted by type, in Stoker's own words.
    pub why_not: Option<String>,
}

/// The number of records of a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TypeCount {
    /// By the sources.
    pub expected: u64,
    /// By the store; none where that does not tell.
    pub held: Option<u64>,
}

/// The records that a listing names.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) records: u64,
    /// The number of those of each kind that is told.
    kinds: HashMap<String, u64>,
    /// The number of those whose kind is not told.
    untold: u64,
}

impl Listed {
    /// Takes a page of it in. `kinds` is shorter where the page does not tell.
    pub(super) fn add(&mut self, records: usize, kinds: Vec<Option<String>>) {
        self.records += records as u64;
        let told = kinds.iter().flatten().count();
        self.untold += records.saturating_sub(told) as u64;
        for kind in kinds.into_iter().flatten() {
            *self.kinds.entry(kind).or_default() += 1;
        }
    }

    /// Returns how many records of each type were listed. `without` is the number of those that have no type by the sources.
    ///
    /// # Errors
    ///
    /// The reason why that is not known.
    pub(super) fn by_type(mut self, without: u64) -> Result<HashMap<String, u64>, String> {
        if self.untold > without {
            return Err(format!(
                "the store does not say the type of {} of the {} that it lists",
                grouped(self.untold),
                grouped(self.records)
            ));
        }
        if self.untold > 0 {
            self.kinds.insert(String::new(), self.untold);
        }
        Ok(self.kinds)
    }
}

impl TypeCounts {
    /// Takes in what a store counts, where it says that it holds `records` of all types.
    pub(super) fn take(&mut self, counted: Result<HashMap<String, u64>, String>, records: u64) {
        let counted = counted.and_then(|counted| match counted.values().sum::<u64>() {
            sum if sum == records => Ok(counted),
            sum => Err(format!(
                "the store counts {} by type, and lists {}",
                grouped(sum),
                grouped(records)
            )),
        });
        match counted {
            Ok(counted) => {
                for count in self.types.values_mut() {
                    count.held = Some(0);
                }
                for (kind, held) in counted {
                    self.types.entry(kind).or_default().held = Some(held);
                }
            }
            Err(why) => self.why_not = Some(why),
        }
    }

    /// Returns how many are missing and how many are there besides, where the store tells by type.
    fn by_count(&self) -> Option<(u64, u64)> {
        let mut sums = (0, 0);
        for TypeCount { expected, held } in self.types.values() {
            let held = (*held)?;
            sums.0 += expected.saturating_sub(held);
            sums.1 += held.saturating_sub(*expected);
        }
        Some(sums)
    }
}

impl KindComparison {
    /// Returns how many are missing by the store's own count, and how many are there besides; none where it has none.
    fn by_count(&self, types: Option<&TypeCounts>) -> Option<(u64, u64)> {
        let held = self.held?;
        let missing = self.expected.saturating_sub(held);
        let of_all = (missing, held.saturating_sub(self.expected));
        // Of another type means missing, and there besides.
        Some(types.and_then(TypeCounts::by_count).unwrap_or(of_all))
    }
}

impl Verified {
    /// Adds what counts say where only some records were read.
    pub(super) fn by_counts_as_well(&mut self) {
        for ((target, _), kind) in &mut self.kinds {
            if let Some((missing, extra)) = kind.by_count(self.types.get(target)) {
                kind.missing = kind.missing.max(missing);
                kind.extra = kind.extra.max(extra);
            }
        }
    }

    /// Says by counts alone what is missing and what is there besides.
    pub(super) fn by_counts(&mut self) {
        for ((target, _), kind) in &mut self.kinds {
            match kind.by_count(self.types.get(target)) {
                Some((missing, extra)) => (kind.missing, kind.extra) = (missing, extra),
                None => kind.unknown = kind.expected,
            }
        }
        self.differing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kinds: &[&str]) -> Vec<Option<String>> {
        kinds.iter().map(|kind| Some((*kind).to_owned())).collect()
    }

    fn counts(expected: &[(&str, u64)]) -> TypeCounts {
        let types = expected.iter().map(|(kind, expected)| {
            let count = TypeCount {
                expected: *expected,
                held: None,
            };
            ((*kind).to_owned(), count)
        });
        TypeCounts {
            types: types.collect(),
            why_not: None,
        }
    }

    #[test]
    fn another_type_is_missing_and_extra() {
        let mut counts = counts(&[("CT", 2), ("MR", 1)]);
        let mut listed = Listed::default();
        listed.add(3, told(&["CT", "US", "MR"]));
        counts.take(listed.by_type(0), 3);
        assert_eq!(counts.by_count(), Some((1, 1)));
        assert_eq!(counts.types["US"].held, Some(1));
        let kind = KindComparison {
            expected: 3,
            held: Some(3),
            ..KindComparison::default()
        };
        assert_eq!(kind.by_count(Some(&counts)), Some((1, 1)));
        assert_eq!(kind.by_count(None), Some((0, 0)));
    }

    #[test]
    fn a_type_that_is_not_told_is_not_guessed() {
        let mut counts = counts(&[("CT", 2), ("", 1)]);
        let mut listed = Listed::default();
        listed.add(3, vec![Some("CT".to_owned()), None, None]);
        counts.take(listed.by_type(1), 3);
        assert_eq!(counts.by_count(), None);
        assert_eq!(
            counts.why_not.as_deref(),
            Some("the store does not say the type of 2 of the 3 that it lists")
        );
        // A record without a type in its source is taken for the one without a type in the store.
        let mut listed = Listed::default();
        listed.add(3, vec![Some("CT".to_owned()), None, Some("CT".to_owned())]);
        let by_type = listed.by_type(1).unwrap();
        assert_eq!((by_type["CT"], by_type[""]), (2, 1));
    }

    #[test]
    fn a_count_that_lags_behind_is_not_believed() {
        let mut counts = counts(&[("ADT", 2)]);
        counts.take(Ok([("ADT".to_owned(), 1)].into()), 2);
        assert_eq!(counts.types["ADT"].held, None);
        assert_eq!(
            counts.why_not.as_deref(),
            Some("the store counts 1 by type, and lists 2")
        );
    }
}
