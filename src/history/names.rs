//! The meaning of records' references: the names under which the store has the records that they refer to.
//!
//! A record that is unchanged to the byte is another one all the same when the resource that it refers to by a `urn:`,
//! by a condition, or by an id that the store has replaced, has another name by now. So a history keeps, beside the
//! fate of a record, a hash of the names that its references had then.

use std::num::NonZeroU64;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::record::{Link, Operation, Step, StepId, To};

/// The meaning of the references of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceMeaning {
    /// Nobody knows: what one of them refers to has no name, or an older Stoker kept none.
    Untold,
    /// It has none that lead to a record of a plan or to one that an earlier run loaded.
    Nothing,
    /// A hash of the names, in their order.
    Of(u64),
}

impl ReferenceMeaning {
    /// Tells whether a record that meant this when it was loaded means the same by now.
    pub fn still_holds(self, now: Self) -> bool {
        match (self, now) {
            (Self::Untold, Self::Nothing) => true,
            (Self::Untold, _) | (_, Self::Untold) => false,
            (then, now) => then == now,
        }
    }
}

/// The names of the records of a plan, as far as they are known: a hash each.
#[derive(Debug, Default)]
pub struct Names(Vec<Option<NonZeroU64>>);

impl Names {
    /// Takes note of a record that has the id of its file, whatever becomes of it.
    pub fn keep(&mut self, step: &Step) {
        let keeps_id = step.action.operation().is_some_and(Operation::keeps_id);
        if let Some(id) = step.id.as_deref().filter(|_| keeps_id) {
            self.give(step.number, &step.kind, id);
        }
    }

    /// Takes note of what the store calls a record.
    pub fn give(&mut self, record: StepId, kind: &str, id: &str) {
        self.set(record, Some(hash(&format!("{kind}/{id}"))));
    }

    /// Takes back what the store called a record: it is not there any more.
    pub fn take(&mut self, record: StepId) {
        self.set(record, None);
    }

    fn set(&mut self, record: StepId, name: Option<NonZeroU64>) {
        let Ok(at) = usize::try_from(record.0) else {
            return;
        };
        if self.0.len() <= at && name.is_some() {
            self.0.resize(at + 1, None);
        }
        if let Some(place) = self.0.get_mut(at) {
            *place = name;
        }
    }

    /// Returns what the references of a record mean.
    pub fn meaning(&self, links: &[Link]) -> ReferenceMeaning {
        let mut hasher = Xxh3::new();
        let mut is_empty = true;
        for link in referring(links) {
            let name = match &link.to {
                To::Step(step) => {
                    let at = step.index();
                    at.and_then(|at| self.0.get(at).copied().flatten())
                }
                To::Resource(resource) => Some(hash(resource)),
                To::Search => continue,
            };
            let Some(name) = name else {
                return ReferenceMeaning::Untold;
            };
            is_empty = false;
            hasher.update(&link.reference.to_le_bytes());
            hasher.update(&name.get().to_le_bytes());
        }
        if is_empty {
            ReferenceMeaning::Nothing
        } else {
            ReferenceMeaning::Of(hasher.digest())
        }
    }
}

fn referring(links: &[Link]) -> impl Iterator<Item = &Link> {
    links
        .iter()
        .filter(|link| link.reference != Link::FOLLOWS && link.to != To::Search)
}

/// Tells whether the references of a record lead to one that comes after it in the plan.
pub(super) fn looks_ahead(step: &Step) -> bool {
    let is_later = |link: &Link| matches!(link.to, To::Step(to) if to > step.number);
    referring(&step.links).any(is_later)
}

fn hash(name: &str) -> NonZeroU64 {
    NonZeroU64::new(xxh3_64(name.as_bytes())).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(to: To) -> Link {
        Link {
            reference: 0,
            to,
            late: false,
            native: false,
        }
    }

    #[test]
    fn a_reference_means_what_the_store_calls_it() {
        let mut names = Names::default();
        let refers = [link(To::Step(StepId(1)))];
        assert_eq!(names.meaning(&refers), ReferenceMeaning::Untold);
        names.give(StepId(1), "Patient", "a");
        let then = names.meaning(&refers);
        assert!(then.still_holds(then));
        names.give(StepId(1), "Patient", "b");
        assert!(!then.still_holds(names.meaning(&refers)));
        names.give(StepId(1), "Patient", "a");
        assert!(then.still_holds(names.meaning(&refers)));
        // By whichever way it was found.
        assert!(then.still_holds(names.meaning(&[link(To::Resource("Patient/a".to_owned()))])));
        names.take(StepId(1));
        assert!(!then.still_holds(names.meaning(&refers)));
        // It leads nowhere by now, or did so then.
        assert!(!then.still_holds(names.meaning(&[])));
        assert!(!ReferenceMeaning::Nothing.still_holds(then));
    }

    #[test]
    fn who_goes_first_and_what_is_searched_for_is_no_name() {
        let names = Names::default();
        let links = [Link::follows(StepId(7)), link(To::Search)];
        assert_eq!(names.meaning(&links), ReferenceMeaning::Nothing);
        assert!(ReferenceMeaning::Untold.still_holds(ReferenceMeaning::Nothing));
    }
}
