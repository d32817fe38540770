//! The records of earlier runs: the names that references use, and what each record became.
//!
//! Records of two servers may have one name; each is told by the server that it came from.

use std::collections::{HashMap, HashSet, hash_map::Entry};

/// The records of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By name: the place in `assigned`, and the server that the record came from; 0 where nobody knows it.
    first: HashMap<u64, (u32, u8)>,
    /// By name and server: those of other servers than the first of their name.
    others: HashMap<(u64, u8), u32>,
    /// Names that records of several servers have.
    shared: HashSet<u64>,
    /// The names under which the store holds them, as `Type/id`.
    assigned: Vec<Box<str>>,
}

impl Known {
    /// Takes a name of a record that came from the server `home`, and what it became. Two runs may know the same record; what the
    /// first of the list says holds.
    pub(super) fn take(&mut self, name: u64, home: u8, assigned: &str) {
        let Ok(place) = u32::try_from(self.assigned.len()) else {
            return;
        };
        match self.first.entry(name) {
            Entry::Vacant(free) => {
                free.insert((place, home));
            }
            Entry::Occupied(mut taken) => {
                let (_, first) = *taken.get();
                if first == home || home == 0 {
                    return;
                }
                if first == 0 {
                    // The address tells more of the same record.
                    taken.get_mut().1 = home;
                    return;
                }
                let Entry::Vacant(free) = self.others.entry((name, home)) else {
                    return;
                };
                free.insert(place);
                self.shared.insert(name);
            }
        }
        self.assigned.push(assigned.into());
    }

    /// Returns the record that a name means in a record of the server `home`; none where those that have it are of other servers.
    pub(super) fn nearest(&self, name: u64, home: u8) -> Option<u32> {
        let (place, first) = *self.first.get(&name)?;
        if home != 0 && home != first {
            let other = self.others.get(&(name, home)).copied();
            return other.or((first == 0).then_some(place));
        }
        let is_told = home != 0 || !self.shared.contains(&name);
        is_told.then_some(place)
    }

    /// Returns what a record became, as `Type/id`.
    pub(super) fn assigned(&self, place: u32) -> &str {
        self.assigned.get(place as usize).map_or("", AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_record_of_its_own_server() {
        let mut known = Known::default();
        let mut take = |name, home, assigned| known.take(name, home, assigned);
        take(1, 1, "P/a");
        take(1, 2, "P/b");
        take(1, 2, "P/c");
        take(2, 0, "P/d");
        take(3, 1, "P/e");
        take(4, 0, "P/f");
        take(4, 3, "P/g");
        let means = |name, home| known.nearest(name, home).map(|place| known.assigned(place));
        let cases = [
            ((1, 1), Some("P/a")),
            ((1, 2), Some("P/b")),
            ((1, 3), None),
            ((1, 0), None),
            ((2, 0), Some("P/d")),
            ((2, 2), Some("P/d")),
            ((3, 0), Some("P/e")),
            ((3, 2), None),
            ((4, 3), Some("P/f")),
            ((4, 1), None),
            ((5, 1), None),
        ];
        for ((name, home), meant) in cases {
            assert_eq!(means(name, home), meant, "{name} of {home}");
        }
    }
}
