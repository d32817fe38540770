//! Tracks dependencies between records: a record is released once every record that it refers to is in the store, and gets the ids that those were given.
//!
//! Shared by the feeds, which ask before they send, and by those who settle. There are no barriers: what waits, waits for
//! one record at a time, and is looked at again when that one is settled. It is kept as a place in the plan; `fates` knows
//! what became of each record.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Error;
use crate::{plan::file::Saved, record::StepId, spill::MemoryBudget};
pub(super) use fates::{Cause, StoredId};
use fates::{DependencyState, Fates};

mod fates;

/// The fates of the records of a run, and the records that wait for them.
#[derive(Debug)]
pub(super) struct DependencyTracker {
    state: Mutex<State>,
    /// Per load: something may go, or need not be waited for any longer.
    released: Vec<Condvar>,
}

#[derive(Debug)]
struct State {
    fates: Fates,
    /// Those that wait, by the record that they wait for.
    waiting: HashMap<StepId, Vec<Parked>>,
    loads: Vec<Waiting>,
}

/// The records of a load that wait, and those that wait no longer and were not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    released: VecDeque<(Parked, Readiness)>,
    /// The number of records and groups that wait or are released, second requests left out.
    parked: usize,
    /// The number of second requests that wait or are released.
    late: usize,
}

/// Records that wait: a step, or a group with its steps, by its place in the plan.
#[derive(Debug)]
pub(super) struct Parked {
    /// The load that reads it.
    pub(super) load: usize,
    /// The place of the step or group in the plan, as `Steps::place` told: offset of its entry, number of its first
    /// step.
    pub(super) place: (u64, u64),
    needs: Vec<StepId>,
    /// The records that have to be settled before this one is looked at, whatever their outcomes.
    follows: Vec<StepId>,
    /// Looked at only when all that it needs is settled: what failed may concern only a part of it.
    patient: bool,
    /// It is the second request of a record.
    pub(super) late: bool,
}

/// The readiness of records to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// All that they need is there.
    Ready,
    /// They are kept until it is.
    Parked,
    /// One that they need did not arrive, because of this one.
    Blocked(Arc<Cause>),
}

/// The time that a feed sleeps before it looks whether the run is being stopped.
const LOOK: Duration = Duration::from_millis(50);

impl DependencyTracker {
    /// Knows of nothing that arrived.
    pub(super) fn new(loads: usize, records: u64, room: &Arc<MemoryBudget>) -> Self {
        Self {
            state: Mutex::new(State {
                fates: Fates::new(records, room),
                waiting: HashMap::new(),
                loads: (0..loads).map(|_| Waiting::default()).collect(),
            }),
            released: (0..loads).map(|_| Condvar::new()).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whether records that need others may go; those that may not are kept.
    ///
    /// Those who need not arrive together are `patient`: all that they need is settled before they are looked at.
    pub(super) fn try_start(
        &self,
        load: usize,
        needs: Vec<StepId>,
        follows: Vec<StepId>,
        patient: bool,
        place: (u64, u64),
    ) -> Result<Readiness, Error> {
        if needs.is_empty() && follows.is_empty() {
            return Ok(Readiness::Ready);
        }
        self.park(Parked {
            load,
            place,
            needs,
            follows,
            patient,
            late: false,
        })
    }

    /// Asks whether the second request of a record may go: when the record stands, and all that it still needs is there.
    /// It is not looked at before all of them are settled, the record's first request among them.
    pub(super) fn try_start_second(
        &self,
        load: usize,
        needs: Vec<StepId>,
        place: (u64, u64),
    ) -> Result<Readiness, Error> {
        self.park(Parked {
            load,
            place,
            needs,
            follows: Vec::new(),
            patient: true,
            late: true,
        })
    }

    fn park(&self, parked: Parked) -> Result<Readiness, Error> {
        let mut state = self.state();
        let records = state.fates.records();
        let all = || parked.needs.iter().chain(&parked.follows);
        if let Some(need) = all().find(|&&need| need.0 >= records) {
            // It would be waited for without end.
            return Err(Error::Plan(format!(
                "the plan is damaged: a record refers to number {need}, and there are {records}"
            )));
        }
        Ok(match state.readiness_of(&parked) {
            Ok(readiness) => readiness,
            Err(need) => {
                if let Some(waiting) = state.loads.get_mut(parked.load) {
                    *waiting.count(parked.late) += 1;
                }
                state.waiting.entry(need).or_default().push(parked);
                Readiness::Parked
            }
        })
    }

    /// Returns which record that is needed did not arrive, of those that are settled.
    pub(super) fn blocks(&self, needs: &[StepId]) -> Option<Arc<Cause>> {
        match self.state().readiness(needs, false) {
            Ok(Readiness::Blocked(cause)) => Some(cause),
            _ => None,
        }
    }

    /// Takes what may go now, or never will.
    pub(super) fn next(&self, load: usize) -> Option<(Parked, Readiness)> {
        let mut state = self.state();
        let waiting = state.loads.get_mut(load)?;
        let (parked, readiness) = waiting.released.pop_front()?;
        *waiting.count(parked.late) -= 1;
        Some((parked, readiness))
    }

    /// Returns how many records or groups of a load are kept, and how many second requests.
    pub(super) fn parked(&self, load: usize) -> (usize, usize) {
        self.state()
            .loads
            .get(load)
            .map_or((0, 0), |waiting| (waiting.parked, waiting.late))
    }

    /// Waits until something of a load may go; a short while at the most.
    pub(super) fn wait_for_all(&self, load: usize) {
        let state = self.state();
        let is_free = state.loads.get(load).is_none_or(|waiting| {
            !waiting.released.is_empty() || waiting.parked + waiting.late == 0
        });
        if let (false, Some(released)) = (is_free, self.released.get(load)) {
            drop(
                released
                    .wait_timeout(state, LOOK)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    /// Takes note that a record stands in the store under an id, and is not whole yet. Those who need it may go.
    pub(super) fn mark_partial(&self, record: StepId, kind: &str, id: &str, stood: StoredId) {
        let mut state = self.state();
        state.fates.stand(record, stood);
        self.arrive(state, record, kind, id);
    }

    /// Returns what is known of a record that stands, and the id that it has.
    pub(super) fn standing(&self, record: StepId) -> Option<(StoredId, String)> {
        let state = self.state();
        let stood = state.fates.standing(record)?;
        let resource = state.fates.resource(record)?;
        let (_, id) = resource.split_once('/')?;
        Some((stood, id.to_owned()))
    }

    /// Takes note that a record arrived, under which id.
    pub(super) fn mark_stored(&self, record: StepId, kind: &str, id: &str) {
        self.arrive(self.state(), record, kind, id);
    }

    fn arrive(&self, mut state: MutexGuard<'_, State>, record: StepId, kind: &str, id: &str) {
        if state.fates.arrive(record, kind, id) {
            self.release(state, record);
        }
    }

    /// Takes note that a record did not arrive, because of this one. One that stands has arrived.
    pub(super) fn mark_failed(&self, record: StepId, cause: &Arc<Cause>) {
        let mut state = self.state();
        if state.fates.standing(record).is_some() {
            return;
        }
        state.fates.fail(record, cause);
        self.release(state, record);
    }

    /// Takes note that a record of the plan is never sent: nobody waits for it without end.
    pub(super) fn pass(&self, record: StepId) {
        let mut state = self.state();
        state.fates.pass(record);
        self.release(state, record);
    }

    fn release(&self, mut state: MutexGuard<'_, State>, record: StepId) {
        let mut woken = Vec::new();
        for parked in state.waiting.remove(&record).unwrap_or_default() {
            match state.readiness_of(&parked) {
                Ok(readiness) => {
                    let load = parked.load;
                    if let Some(waiting) = state.loads.get_mut(load) {
                        waiting.released.push_back((parked, readiness));
                    }
                    if !woken.contains(&load) {
                        woken.push(load);
                    }
                }
                Err(need) => state.waiting.entry(need).or_default().push(parked),
            }
        }
        drop(state);
        for load in woken {
            if let Some(released) = self.released.get(load) {
                released.notify_all();
            }
        }
    }

    /// Of the records of a plan. The part that is more than `memory` allows is kept beside it on the disk.
    pub(super) fn of(plan: &Saved) -> Result<Self, Error> {
        let room = MemoryBudget::new(plan.header.run.memory.0, plan.folder());
        let dependencies = Self::new(plan.header.loads.len(), plan.summary.records(), &room);
        match room.check() {
            Ok(()) => Ok(dependencies),
            Err(error) => Err(Error::Plan(format!(
                "cannot keep the ids that records get: {error}"
            ))),
        }
    }

    /// Returns what a record that arrived is called in the store: `Type/id`.
    pub(super) fn resource(&self, record: StepId) -> Option<String> {
        self.state().fates.resource(record)
    }
}

impl Waiting {
    fn count(&mut self, late: bool) -> &mut usize {
        if late {
            &mut self.late
        } else {
            &mut self.parked
        }
    }
}

impl State {
    /// Tells whether all that is waited for is settled; else what is not.
    fn readiness_of(&self, parked: &Parked) -> Result<Readiness, StepId> {
        let is_open = |record: &&StepId| self.fates.state(**record) == DependencyState::Open;
        match parked.follows.iter().find(is_open) {
            Some(&open) => Err(open),
            None => self.readiness(&parked.needs, parked.patient),
        }
    }

    /// Tells whether all of `needs` are settled; else which is not.
    fn readiness(&self, needs: &[StepId], patient: bool) -> Result<Readiness, StepId> {
        let fate = |record: StepId| self.fates.state(record);
        let open = needs
            .iter()
            .find(|&&need| fate(need) == DependencyState::Open);
        let failed = needs
            .iter()
            .find(|&&need| fate(need) == DependencyState::Failed);
        match (failed, open) {
            (Some(failed), open) if open.is_none() || !patient => {
                Ok(Readiness::Blocked(self.fates.cause(*failed)))
            }
            (_, Some(&open)) => Err(open),
            (_, None) => Ok(Readiness::Ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_goes_when_the_last_has_arrived() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        assert_eq!(
            dependencies
                .try_start(0, vec![StepId(0), StepId(1)], Vec::new(), false, (10, 2))
                .unwrap(),
            Readiness::Parked
        );
        dependencies.mark_stored(StepId(1), "Patient", "one");
        assert!(dependencies.next(0).is_none());
        dependencies.mark_stored(StepId(0), "Patient", "9b8d6f3e-5f1a-4c0d-9d5e-0f6f4f3e2a1b");
        let (parked, readiness) = dependencies.next(0).unwrap();
        assert_eq!((parked.place, readiness), ((10, 2), Readiness::Ready));
        assert_eq!(dependencies.parked(0), (0, 0));
        assert_eq!(dependencies.resource(StepId(1)).unwrap(), "Patient/one");
        assert_eq!(
            dependencies.resource(StepId(0)).unwrap(),
            "Patient/9b8d6f3e-5f1a-4c0d-9d5e-0f6f4f3e2a1b"
        );
        assert_eq!(dependencies.resource(StepId(2)), None);
    }

    #[test]
    fn who_follows_goes_whatever_became_of_the_one_before() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        let admit = |place| dependencies.try_start(0, Vec::new(), vec![StepId(0)], false, place);
        assert_eq!(admit((1, 1)).unwrap(), Readiness::Parked);
        let cause = Arc::new(Cause::unnamed(StepId(0)));
        dependencies.mark_failed(StepId(0), &cause);
        let (_, readiness) = dependencies.next(0).unwrap();
        assert_eq!(readiness, Readiness::Ready);
        assert_eq!(admit((2, 2)).unwrap(), Readiness::Ready);
    }

    #[test]
    fn who_follows_several_goes_behind_the_last_of_them() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        let both = vec![StepId(0), StepId(1)];
        let parked = dependencies.try_start(0, Vec::new(), both, false, (2, 2));
        assert_eq!(parked.unwrap(), Readiness::Parked);
        let cause = Arc::new(Cause::unnamed(StepId(0)));
        dependencies.mark_failed(StepId(0), &cause);
        assert!(dependencies.next(0).is_none());
        dependencies.mark_stored(StepId(1), "", "");
        assert_eq!(dependencies.next(0).unwrap().1, Readiness::Ready);
    }

    #[test]
    fn nobody_waits_for_what_is_never_sent() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        let parked = dependencies.try_start(0, Vec::new(), vec![StepId(0)], false, (1, 1));
        assert_eq!(parked.unwrap(), Readiness::Parked);
        dependencies.mark_stored(StepId(2), "Patient", "x");
        for record in [StepId(0), StepId(2)] {
            dependencies.pass(record);
        }
        assert_eq!(dependencies.next(0).unwrap().1, Readiness::Ready);
        assert_eq!(dependencies.resource(StepId(2)).unwrap(), "Patient/x");
        let needs = dependencies.try_start(0, vec![StepId(0)], Vec::new(), false, (3, 3));
        assert!(matches!(needs.unwrap(), Readiness::Blocked(_)));
    }

    #[test]
    fn one_failure_blocks_at_once_and_names_its_cause() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        assert_eq!(
            dependencies
                .try_start(0, vec![StepId(0), StepId(1)], Vec::new(), false, (0, 2))
                .unwrap(),
            Readiness::Parked
        );
        let cause = Arc::new(Cause {
            record: StepId(1),
            needed: "a.ndjson:7".into(),
        });
        dependencies.mark_failed(StepId(1), &cause);
        // It waits for record 0 still; what it then finds is the failure.
        dependencies.mark_stored(StepId(0), "Patient", "x");
        let (_, readiness) = dependencies.next(0).unwrap();
        assert_eq!(readiness, Readiness::Blocked(Arc::clone(&cause)));
        assert_eq!(
            dependencies
                .try_start(0, vec![StepId(1)], Vec::new(), false, (0, 3))
                .unwrap(),
            Readiness::Blocked(cause)
        );
    }

    #[test]
    fn a_type_that_r4_does_not_know_stays_what_it_is() {
        let dependencies = DependencyTracker::new(0, 400, &MemoryBudget::endless());
        let uuid = "9b8d6f3e-5f1a-4c0d-9d5e-0f6f4f3e2a1b";
        // More types than there are numbers for: each keeps its own name all the same.
        let kind = |n: u64| {
            let letter = |n: u64| char::from(b'a' + u8::try_from(n % 26).unwrap());
            format!("Topic{}{}", letter(n / 26), letter(n))
        };
        for n in 0..400 {
            let id = if n % 2 == 0 { uuid } else { "one" };
            dependencies.mark_stored(StepId(n), &kind(n), id);
        }
        for n in 0..400 {
            let id = if n % 2 == 0 { uuid } else { "one" };
            assert_eq!(
                dependencies.resource(StepId(n)).unwrap(),
                format!("{}/{id}", kind(n))
            );
        }
    }

    #[test]
    fn what_the_plan_does_not_hold_is_not_waited_for() {
        let dependencies = DependencyTracker::new(1, 4, &MemoryBudget::endless());
        assert!(
            dependencies
                .try_start(0, vec![StepId(4)], Vec::new(), false, (0, 0))
                .is_err()
        );
        assert!(
            dependencies
                .try_start_second(0, vec![StepId(1), StepId(9)], (0, 0))
                .is_err()
        );
    }

    #[test]
    fn an_id_in_capitals_is_kept_as_it_is() {
        let dependencies = DependencyTracker::new(0, 1, &MemoryBudget::endless());
        let id = "9B8D6F3E-5F1A-4C0D-9D5E-0F6F4F3E2A1B";
        dependencies.mark_stored(StepId(0), "Patient", id);
        assert_eq!(
            dependencies.resource(StepId(0)).unwrap(),
            format!("Patient/{id}")
        );
    }
}
