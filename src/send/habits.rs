//! The habits of a target, as a run learns them: which answers that say little have been found to mean that all is
//! well, and whether its answers to Bundles can be read.
//!
//! A habit was proved by reading records back, holds for the run, and is said in its report.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::RequestCounts;
use crate::target::Little;

/// The habits that have been learnt of a target.
#[derive(Debug)]
pub(super) struct Habits {
    target: String,
    /// Answers to updates that mean that all is well, to the byte.
    enough: Mutex<HashSet<(u16, Vec<u8>)>>,
    /// Its answers to Bundles tell nothing of the entries.
    mumbles: AtomicBool,
    /// The order in which it answers the entries of Bundles. One asks, and the others wait for what it finds.
    order: tokio::sync::Mutex<AnswerOrder>,
}

/// The order in which a target answers the records of a parcel, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerOrder {
    /// That of the request, as far as records were read back; their number.
    Unproven(usize),
    /// That of the request.
    Kept,
    /// Another.
    Shuffled,
}

/// The longest answer that is learnt, and how many of them: a server has one word for it, or makes up a new one each time.
const LONGEST: usize = 256;
/// See [`LONGEST`].
const MOST: usize = 8;

impl Habits {
    /// Nothing is known of a target.
    pub(super) fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            enough: Mutex::default(),
            mumbles: AtomicBool::new(false),
            order: tokio::sync::Mutex::new(AnswerOrder::Unproven(0)),
        }
    }

    /// Returns the order in which the target answers the records of a parcel, when nobody else is about to find it out.
    pub(super) async fn order(&self) -> tokio::sync::MutexGuard<'_, AnswerOrder> {
        self.order.lock().await
    }

    /// Tells whether the target is known to answer the records of a parcel in the order in which they were sent; not while somebody is
    /// about to find it out.
    pub(super) fn is_order_kept(&self) -> bool {
        self.order
            .try_lock()
            .is_ok_and(|order| *order == AnswerOrder::Kept)
    }

    /// Takes note that the target answers the records of a parcel in another order than they were sent in.
    pub(super) fn learn_disorder(&self, counts: &RequestCounts) {
        self.mumbles.store(true, Ordering::Relaxed);
        let target = &self.target;
        counts.remark(format!(
            "target `{target}` answers requests with several records in another order than they were sent in: what it \
             created was read back and told by its content, and travelled one by one from then on, where it can"
        ));
    }

    /// Tells whether an answer to an update was found to mean that all is well.
    pub(super) fn is_enough(&self, status: u16, body: &[u8]) -> bool {
        let enough = self.enough.lock().unwrap_or_else(PoisonError::into_inner);
        !enough.is_empty() && enough.contains(&(status, body.trim_ascii().to_vec()))
    }

    /// Takes note that the store has what was answered so. A page is never learnt: a login looks the same each time.
    pub(super) fn learn(&self, little: Little, status: u16, body: &[u8], counts: &RequestCounts) {
        let target = &self.target;
        let body = body.trim_ascii();
        let is_learnt = {
            let mut enough = self.enough.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = body.len() <= LONGEST
                && enough.len() < MOST
                && matches!(little, Little::Bare | Little::Text);
            if fits {
                enough.insert((status, body.to_vec()));
            }
            fits
        };
        let how = match little {
            Little::Bare => format!("with {status} and nothing else"),
            Little::Text => format!("with {status} and a text that its protocol does not have"),
            Little::Page => format!("with {status} and a page"),
            Little::Later
            | Little::Unsaid
            | Little::Conflict
            | Little::Elsewhere(_)
            | Little::Other(_)
            | Little::Silence(_) => {
                format!("with {status}, which does not say what was done")
            }
        };
        let what = if is_learnt {
            "what was answered so first was read back and was there, and the rest is believed"
        } else {
            "each was read back, and counts only where it was there"
        };
        counts.remark(format!("target `{target}` answers updates {how}: {what}"));
    }

    /// Takes note that the answer to a parcel tells nothing of its records.
    pub(super) fn learn_mumbling(&self, counts: &RequestCounts) {
        self.mumbles.store(true, Ordering::Relaxed);
        let target = &self.target;
        counts.remark(format!(
            "target `{target}` answers requests with several records in a way that does not tell what became of each: \
             they were looked up, and travelled one by one from then on"
        ));
    }

    /// Tells whether records had better travel one by one.
    pub(super) fn mumbles(&self) -> bool {
        self.mumbles.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_back_is_believed() {
        let (habits, counts) = (Habits::of("t"), RequestCounts::default());
        assert!(!habits.is_enough(200, b""));
        habits.learn(Little::Bare, 200, b"", &counts);
        habits.learn(Little::Text, 200, b"OK\n", &counts);
        habits.learn(Little::Page, 200, b"<html>", &counts);
        assert!(habits.is_enough(200, b"") && habits.is_enough(200, b"OK"));
        assert!(!habits.is_enough(201, b""));
        assert!(!habits.is_enough(200, b"{\"error\":\"no\"}"));
        assert!(!habits.is_enough(200, b"<html>"));
        assert_eq!(counts.tally(0, 0).remarks.len(), 3);
    }

    #[test]
    fn few_words_are_learnt() {
        let (habits, counts) = (Habits::of("t"), RequestCounts::default());
        for number in 0..100 {
            let body = format!("done {number}");
            habits.learn(Little::Text, 200, body.as_bytes(), &counts);
        }
        let known = (0..100).filter(|n| habits.is_enough(200, format!("done {n}").as_bytes()));
        assert_eq!(known.count(), MOST);
    }
}
