//! Finds out in which way a target takes most records: each alone, in batches, or in transactions.
//!
//! A server's word on itself does not tell which is faster, nor whether it works: the first requests of a load go in every
//! way that is possible, one way after the other, and the one that held a slot for the shortest time per record is taken for the rest. A
//! way in which requests are refused as a whole again and again is left. A turn may tell nothing: a record that an earlier
//! session left in doubt, or that compares equal, is settled without a request. If all that was handed over has ended and
//! the trial has not, it gets more turns. `scheduler` fills the requests; the plan says which ways there are at all.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Stop;
use crate::plan::{Batching, Packaging};

/// Requests of one way that are sent before it is judged. The first is not looked at: servers compile, open connections and
/// fill caches for it.
const TRIAL: u32 = 4;

/// Records that go alone count as one request of the trial, so that a way is judged by about as much work as another.
const ALONE: u32 = 16;

/// The factor by which a way must be faster to be taken over one that stands before it: the order of the plan's ways is
/// that of the costs of a refusal.
const CLEARLY: f64 = 1.1;

/// The number of Bundles in a row of which half, refused as a whole, mean that another way is taken.
const LATEST: u32 = 8;

/// The time for which the answers to the trial are waited for at a time.
const LOOK: Duration = Duration::from_millis(20);

/// The number of looks without an answer after which the rest of a load waits no longer: two seconds. Most answers take less;
/// a request that hangs for a minute must not hold up all the others.
const PATIENCE: u32 = 100;

/// The ways of one load.
#[derive(Debug)]
pub(super) struct Ways {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug)]
struct State {
    ways: Vec<Way>,
    /// The one that is taken, once it is known.
    chosen: Option<usize>,
    /// The one that had the latest turn of the trial.
    current: usize,
    /// The number of chunks that were handed over during the trial and have not ended.
    on_its_way: usize,
    /// Looks in a row that found no answer.
    looks: u32,
    /// Turns of the trial were given since something was handed over.
    is_collected: bool,
}

/// Held as long as something that was handed over during the trial is on its way, whatever becomes of it.
#[derive(Debug)]
pub(super) struct Trial(Arc<Ways>);

impl Drop for Trial {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.on_its_way = state.on_its_way.saturating_sub(1);
        state.looks = 0;
        self.0.answered.notify_all();
    }
}

#[derive(Debug)]
struct Way {
    /// None: alone.
    batching: Option<Batching>,
    /// Turns of the trial that were given to it.
    turns: u32,
    /// Requests of it that came back.
    answered: u32,
    refused: u32,
    /// Of the latest requests: how many, and how many of these were refused as a whole.
    latest: (u32, u32),
    records: u64,
    busy: Duration,
}

/// The shape of the next requests of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A Bundle.
    Together(Batching),
    /// A number of records, each by itself.
    Alone(u32),
}

/// The result of the trial: the way that is taken, and how many records a second one slot carried in each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found(Vec<(Option<Packaging>, f64)>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (packaging, rate)) in self.0.iter().enumerate() {
            let word = packaging.map_or("single requests", |packaging| match packaging {
                Packaging::Batch => "batches",
                Packaging::Transaction => "transactions",
            });
            match at {
                0 => f.write_str(word)?,
                1 => write!(
                    f,
                    " (records/s of one request in flight: {} against {rate:.0} as {word}",
                    self.first()
                )?,
                _ => write!(f, ", {rate:.0} as {word}")?,
            }
        }
        if self.0.len() > 1 {
            f.write_str(")")
        } else {
            Ok(())
        }
    }
}

impl Found {
    fn first(&self) -> String {
        self.0
            .first()
            .map_or_else(String::new, |(_, rate)| format!("{rate:.0}"))
    }
}

impl Way {
    /// Tells whether the trial has all its answers.
    fn is_judged(&self) -> bool {
        self.answered >= self.trial()
    }

    /// Requests of the trial.
    fn trial(&self) -> u32 {
        if self.batching.is_some() {
            TRIAL
        } else {
            TRIAL * ALONE
        }
    }

    /// Records a second of one slot; none where it does not work.
    fn rate(&self) -> f64 {
        if self.refused * 2 >= self.answered || self.busy.is_zero() {
            return 0.0;
        }
        self.records as f64 / self.busy.as_secs_f64()
    }
}

impl State {
    /// Tells whether the trial has all its answers. A Bundle that was filled with one record goes alone and counts so: then
    /// the others together have as many as there were to be.
    fn is_over(&self) -> bool {
        let answered: u32 = self.ways.iter().map(|way| way.answered).sum();
        let wanted: u32 = self.ways.iter().map(Way::trial).sum();
        self.ways.iter().all(Way::is_judged) || answered >= wanted
    }

    /// Tells whether all turns were given and ended, and told too little.
    fn is_stuck(&self) -> bool {
        self.chosen.is_none() && self.on_its_way == 0 && self.is_given()
    }

    fn is_given(&self) -> bool {
        self.ways.iter().all(|way| way.turns >= TRIAL)
    }

    /// Gives more turns to the ways that are not judged.
    fn try_again(&mut self) {
        for way in self.ways.iter_mut().filter(|way| !way.is_judged()) {
            way.turns = 0;
        }
    }

    /// Gives more turns to the way whose answers do not come.
    fn go_on(&mut self) {
        let current = self.ways.get_mut(self.current);
        if let Some(way) = current.filter(|way| !way.is_judged()) {
            way.turns = 0;
            self.looks = 0;
        } else if self.is_given() {
            self.try_again();
        }
    }

    /// Tells whether another way may have its first turn: requests of two ways that are at work together wait for each other,
    /// and look alike. A request that hangs is not waited for.
    fn may_change(&self) -> bool {
        !self.is_collected && (self.on_its_way == 0 || self.looks >= PATIENCE)
    }
}

impl Ways {
    /// Takes the ways of a load, that which is taken where nothing is found out first.
    pub(super) fn of(ways: Vec<Option<Batching>>) -> Self {
        let chosen = (ways.len() < 2).then_some(0);
        let ways = ways.into_iter().map(|batching| Way {
            batching,
            turns: 0,
            answered: 0,
            refused: 0,
            latest: (0, 0),
            records: 0,
            busy: Duration::ZERO,
        });
        Self {
            state: Mutex::new(State {
                ways: ways.collect(),
                chosen,
                current: 0,
                on_its_way: 0,
                looks: 0,
                is_collected: false,
            }),
            answered: Condvar::new(),
        }
    }

    /// Takes note of something that is handed over; none where the trial is over.
    pub(super) fn hand_over(self: &Arc<Self>) -> Option<Trial> {
        let mut state = self.state();
        state.is_collected = false;
        state.chosen.is_none().then(|| {
            state.on_its_way += 1;
            Trial(Arc::clone(self))
        })
    }

    /// Returns what the next request is to be; none while the answers to the trial are awaited.
    pub(super) fn next(&self) -> Option<Turn> {
        let mut state = self.state();
        let at = if let Some(chosen) = state.chosen {
            chosen
        } else {
            let at = state.ways.iter().position(|way| way.turns < TRIAL)?;
            if at != state.current && !state.may_change() {
                return None;
            }
            state.current = at;
            state.is_collected = true;
            at
        };
        let is_chosen = state.chosen.is_some();
        let Some(way) = state.ways.get_mut(at) else {
            return Some(Turn::Alone(u32::MAX));
        };
        way.turns = way.turns.saturating_add(1);
        Some(match way.batching {
            Some(batching) => Turn::Together(batching),
            None if is_chosen => Turn::Alone(u32::MAX),
            None => Turn::Alone(ALONE),
        })
    }

    /// Waits a little for the answers to the trial; what was collected has been handed over. If none will come any more,
    /// the ways that are not judged get turns again.
    pub(super) fn wait(&self, stop: &Stop) {
        let mut state = self.state();
        state.is_collected = false;
        if state.is_stuck() {
            state.try_again();
        } else if state.chosen.is_none() && !stop.is_stopping() {
            let waited = self.answered.wait_timeout(state, LOOK);
            let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                state.looks = state.looks.saturating_add(1);
            }
            if state.looks >= PATIENCE {
                state.go_on();
            }
        }
    }

    /// Takes note of a request that came back: how many records it carried, and for how long it held a slot. Returns what was
    /// found out, at the moment when it was.
    pub(super) fn answered(
        &self,
        packaging: Option<Packaging>,
        records: usize,
        busy: Duration,
        is_refused: bool,
    ) -> Option<Found> {
        let mut state = self.state();
        if state.ways.len() < 2 {
            return None;
        }
        let kind = |way: &Way| way.batching.map(|batching| batching.packaging);
        state.looks = 0;
        let at = state.ways.iter().position(|way| kind(way) == packaging)?;
        let is_chosen = state.chosen == Some(at);
        let way = state.ways.get_mut(at)?;
        way.answered = way.answered.saturating_add(1);
        way.refused += u32::from(is_refused);
        way.latest = match way.latest {
            (LATEST.., _) => (1, u32::from(is_refused)),
            (count, refused) => (count + 1, refused + u32::from(is_refused)),
        };
        let warms_up = way.answered <= way.trial() / TRIAL;
        if !is_refused && !warms_up {
            way.records += records as u64;
            way.busy += busy;
        }
        if is_chosen {
            let is_bad = way.latest.0 == LATEST && way.latest.1 * 2 >= LATEST;
            if !is_bad {
                return None;
            }
            // A refusal as a whole costs many requests more; the next way is one that loses less by it.
            way.refused = way.answered;
        } else if state.chosen.is_some() || !state.is_over() {
            return None;
        }
        let chosen = best(&state.ways);
        if state.chosen.replace(chosen) == Some(chosen) {
            return None;
        }
        self.answered.notify_all();
        let mut found: Vec<_> = state
            .ways
            .iter()
            .map(|way| (kind(way), way.rate()))
            .collect();
        found.swap(0, chosen);
        Some(Found(found))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the way that carries most; of those that are about as fast, the first. If none works, records go alone.
fn best(ways: &[Way]) -> usize {
    let alone = ways.iter().position(|way| way.batching.is_none());
    let mut best = alone
        .filter(|_| ways.iter().all(|way| way.rate() <= 0.0))
        .unwrap_or(0);
    for (at, way) in ways.iter().enumerate() {
        let before = ways.get(best).map_or(0.0, Way::rate);
        let margin = if at < best { 1.0 / CLEARLY } else { CLEARLY };
        if way.rate() > before * margin {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ways() -> Arc<Ways> {
        let batching = |packaging| {
            Some(Batching {
                packaging,
                entries: 50,
                bytes: 1000,
            })
        };
        Arc::new(Ways::of(vec![
            batching(Packaging::Batch),
            batching(Packaging::Transaction),
            None,
        ]))
    }

    /// Takes turns until the answers are awaited.
    fn turns(ways: &Ways) -> Vec<Turn> {
        std::iter::from_fn(|| ways.next()).collect()
    }

    #[test]
    fn what_ends_without_an_answer_is_not_waited_for() {
        let (ways, stop) = (ways(), Stop::default());
        // The first records of each way are settled by asking the store.
        for _ in 0..3 * 3 {
            assert_eq!(turns(&ways).len(), 4);
            let chunk = ways.hand_over();
            ways.wait(&stop);
            assert_eq!(ways.next(), None, "it is on its way");
            drop(chunk);
            ways.wait(&stop);
        }
        // Those of one way only are not.
        for at in 0..3 {
            let asked = turns(&ways);
            let chunk = ways.hand_over();
            for _ in asked.iter().filter(|_| at == 0) {
                ways.answered(Some(Packaging::Batch), 50, MS, false);
            }
            drop(chunk);
            ways.wait(&stop);
        }
        let asked = turns(&ways);
        let known = |turn: &Turn| matches!(turn, Turn::Together(batching) if batching.packaging == Packaging::Transaction);
        assert!(asked.len() == 4 && asked.iter().all(known), "{asked:?}");
        let chunk = ways.hand_over();
        for _ in 0..4 {
            ways.answered(Some(Packaging::Transaction), 50, MS, false);
        }
        drop(chunk);
        assert_eq!(turns(&ways).len(), 4);
        let chunk = ways.hand_over();
        let found = (0..64).find_map(|_| ways.answered(None, 1, MS, false));
        assert!(found.is_some());
        drop(chunk);
        assert!(ways.hand_over().is_none(), "the trial is over");
    }

    /// Requests of two ways that are at work together wait for each other, and look alike.
    #[test]
    fn one_way_is_tried_after_the_other() {
        let ways = ways();
        let first = turns(&ways);
        assert!(first.iter().all(|turn| *turn == first[0]) && first.len() == 4);
        assert_eq!(ways.next(), None, "it is collected");
        let chunk = ways.hand_over();
        assert_eq!(ways.next(), None, "it is on its way");
        drop(chunk);
        let second = turns(&ways);
        assert!(second.iter().all(|turn| *turn == second[0]) && second.len() == 4);
        assert_ne!(first[0], second[0]);
    }

    /// Lets the last look of a vain wait pass.
    fn run_out_of_patience(ways: &Ways) {
        ways.state().looks = PATIENCE - 1;
        ways.wait(&Stop::default());
    }

    /// A record whose request is none of the trial hangs: the first way has its turns all the same.
    #[test]
    fn what_is_no_part_of_the_trial_does_not_hold_it_up() {
        let ways = ways();
        let _hangs = ways.hand_over();
        assert_eq!(turns(&ways).len(), 4);
    }

    /// One request of each way is never answered; those behind it are sent all the same, and the trial comes to its end.
    #[test]
    fn a_request_that_hangs_does_not_hold_up_the_others() {
        let ways = ways();
        let mut hanging = Vec::new();
        for at in 0..3 {
            let first = turns(&ways);
            assert_eq!(first.len(), 4);
            hanging.push(ways.hand_over());
            let sent = sent(&first);
            for packaging in &sent[1..] {
                assert_eq!(ways.answered(*packaging, 1, MS, false), None);
            }
            assert_eq!(ways.next(), None);
            run_out_of_patience(&ways);
            let more = turns(&ways);
            assert!(more.len() == 4 && more[0] == first[0], "{at}: {more:?}");
            drop(ways.hand_over());
            assert_eq!(ways.answered(sent[0], 1, MS, false).is_some(), at == 2);
            if at < 2 {
                assert_eq!(ways.next(), None, "{at}: the first still hangs");
                run_out_of_patience(&ways);
            }
        }
        assert!(ways.next().is_some());
    }

    /// The packagings of the requests that turns stand for.
    fn sent(turns: &[Turn]) -> Vec<Option<Packaging>> {
        let sent = turns.iter().flat_map(|turn| match turn {
            Turn::Together(batching) => vec![Some(batching.packaging)],
            Turn::Alone(count) => vec![None; *count as usize],
        });
        sent.collect()
    }

    /// A Bundle to be may have had one record only: it went alone, and nobody waits for the Bundle.
    #[test]
    fn a_parcel_that_went_alone_is_not_waited_for() {
        let ways = ways();
        let mut found = None;
        for at in 0..3 {
            let mut sent = sent(&turns(&ways));
            let _chunk = ways.hand_over();
            if at == 0 {
                sent[0] = None;
            }
            for packaging in sent {
                found = ways.answered(packaging, 1, MS, false);
            }
        }
        assert!(found.is_some());
        assert!(ways.next().is_some());
    }

    /// Gives the trial its turns and answers; `busy` is what a record costs in each way.
    fn tried(ways: &Arc<Ways>, busy: [u32; 3], refuses: [bool; 3]) -> Option<Found> {
        let mut found = None;
        let mut count = 0;
        for _ in 0..3 {
            let sent = sent(&turns(ways));
            let _chunk = ways.hand_over();
            count += sent.len();
            for packaging in sent {
                let (at, records) = match packaging {
                    Some(Packaging::Batch) => (0, 50),
                    Some(Packaging::Transaction) => (1, 50),
                    None => (2, 1),
                };
                assert_eq!(found, None, "nothing is decided before all is there");
                let busy = MS * busy[at] * u32::try_from(records).unwrap();
                found = ways.answered(packaging, records, busy, refuses[at]);
            }
        }
        assert_eq!(count, 2 * 4 + 64);
        found
    }

    fn taken(ways: &Ways) -> Option<Packaging> {
        match ways.next().unwrap() {
            Turn::Together(batching) => Some(batching.packaging),
            Turn::Alone(_) => None,
        }
    }

    #[test]
    fn the_fastest_way_is_taken() {
        for (busy, way) in [
            ([2, 1, 3], Some(Packaging::Transaction)),
            ([1, 2, 3], Some(Packaging::Batch)),
            ([3, 2, 1], None),
            // About as fast: what a refusal costs decides.
            ([100, 99, 98], Some(Packaging::Batch)),
        ] {
            let ways = ways();
            assert!(tried(&ways, busy, [false; 3]).is_some());
            assert_eq!(taken(&ways), way, "{busy:?}");
        }
    }

    #[test]
    fn a_way_that_is_refused_is_not_taken() {
        let ways = ways();
        assert!(tried(&ways, [2, 1, 3], [false, true, false]).is_some());
        assert_eq!(taken(&ways), Some(Packaging::Batch));
        let ways = self::ways();
        assert!(tried(&ways, [1, 1, 1], [true; 3]).is_some());
        assert_eq!(taken(&ways), None);
    }

    #[test]
    fn a_way_that_comes_to_be_refused_is_left() {
        let ways = ways();
        tried(&ways, [2, 1, 3], [false; 3]);
        assert_eq!(taken(&ways), Some(Packaging::Transaction));
        let transaction = Some(Packaging::Transaction);
        let found = (0..16).find_map(|_| ways.answered(transaction, 50, MS, true));
        assert!(found.is_some());
        assert_eq!(taken(&ways), Some(Packaging::Batch));
    }

    #[test]
    fn one_way_needs_no_trial() {
        let ways = Ways::of(vec![None]);
        assert_eq!(ways.next(), Some(Turn::Alone(u32::MAX)));
        assert_eq!(ways.answered(None, 1, MS, false), None);
    }

    #[test]
    fn what_was_found_is_said() {
        let found = tried(&ways(), [2, 1, 4], [false; 3]).unwrap();
        assert_eq!(
            found.to_string(),
            "transactions (records/s of one request in flight: 1000 against 500 as batches, 250 as single requests)"
        );
    }
}
