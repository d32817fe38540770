//! The number of requests that a plan comes to, given what earlier runs have loaded.
//!
//! Bundles are filled from the records that are ready, so where Stoker fills them the count is an estimate: the count
//! if every record went as soon as the records that it needs are there, and all that became ready together went
//! together. The bounds of a Bundle are the same that `send` goes by ([`Batching::takes`]).

use std::{collections::BTreeMap, mem};

use super::{
    Action, Batching, Group, PlanHeader, Step, To, batching, entry_size,
    file::{self, PlanEntry, Saved},
};
use crate::{
    event::LoadId,
    manifest::LoadSettings,
    record::{Operation, Outcome, StepId},
};

/// The forecast of a plan: its requests and reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Per load, in the order of the manifest.
    pub loads: Vec<LoadForecast>,
    /// Reads of a sample, to make sure that the targets still hold what earlier runs have loaded.
    pub samples: u64,
    /// Nobody was asked whether the targets still hold that.
    pub is_assumed: bool,
}

/// The forecast of a load: its requests and reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadForecast {
    /// Records that earlier runs have loaded, and that are not sent.
    pub loaded: u64,
    /// Of those, the ones that the target is known to hold no more, or otherwise.
    pub strayed: u64,
    /// Records that are not sent because nobody knows under which name their target has them.
    pub elsewhere: u64,
    /// Requests, if none has to be repeated.
    pub requests: u64,
    /// Their number depends on how Bundles come to be filled.
    pub is_estimate: bool,
    /// Reads of what the store holds, to compare it.
    pub compared: u64,
    /// Searches for what conditional references mean, at the most.
    pub looked_up: u64,
    /// Reads of records that were created together, to make sure that they are answered in their order, at the most.
    pub proved: u64,
}

/// The number of records that are read back before a target is believed to answer the records of a parcel in their order. A
/// server that answers parcels of two in any order is found out with a chance of 15 in 16; with larger parcels it hardly
/// escapes.
pub const PROOFS: usize = 8;

/// The number of records of one parcel that are read back: those at both ends, and two between.
pub const PROOFS_OF_PARCEL: usize = 4;

impl LoadForecast {
    /// Returns how many reads its records cost at the most.
    pub fn reads(&self) -> u64 {
        self.compared + self.looked_up + self.proved
    }
}

impl Forecast {
    /// Returns how many records are not sent because their target has them under other names.
    pub fn elsewhere(&self) -> u64 {
        self.loads.iter().map(|load| load.elsewhere).sum()
    }

    /// Returns how many of those that earlier runs have loaded are known to be no longer as they were loaded.
    pub fn strayed(&self) -> u64 {
        self.loads.iter().map(|load| load.strayed).sum()
    }

    /// Returns how many records are not sent because earlier runs have loaded them.
    pub fn loaded(&self) -> u64 {
        self.loads.iter().map(|load| load.loaded).sum()
    }
}

/// Foretells what will be sent of a plan, but for the steps that have an outcome already.
///
/// # Errors
///
/// When the plan cannot be read.
pub fn forecast(
    plan: &Saved,
    outcome: &dyn Fn(StepId) -> Option<Outcome>,
) -> Result<Forecast, file::Error> {
    let mut forecaster = Forecaster::of(plan);
    for (load, _) in (0_u32..).zip(&plan.header.loads) {
        let mut travels: Option<(Group, u32)> = None;
        for entry in plan.steps(LoadId(load))? {
            match entry? {
                PlanEntry::Group(group) => travels = Some((group, group.records)),
                PlanEntry::Step(step) => {
                    travels = travels.filter(|(_, left)| *left > 0);
                    let group = travels.as_mut().map(|(group, left)| {
                        *left -= 1;
                        *group
                    });
                    forecaster.take(&step, group, outcome);
                }
            }
        }
    }
    Ok(forecaster.end())
}

/// Makes a forecast while somebody goes through the steps of a plan.
#[derive(Debug)]
pub struct Forecaster<'a> {
    header: &'a PlanHeader,
    waves: Waves,
    /// By target.
    orders: BTreeMap<&'a str, Order>,
    counting: Option<Counting<'a>>,
    /// Of the loads before.
    found: Vec<LoadForecast>,
    /// The steps of a group, until all of them have come.
    together: Vec<Step>,
}

impl<'a> Forecaster<'a> {
    /// Begins with the first load of a plan.
    pub fn of(plan: &'a Saved) -> Self {
        let records = usize::try_from(plan.summary.records()).unwrap_or(usize::MAX);
        Self {
            header: &plan.header,
            waves: Waves(vec![0; records]),
            orders: BTreeMap::new(),
            counting: None,
            found: Vec::with_capacity(plan.header.loads.len()),
            together: Vec::new(),
        }
    }

    /// Takes the next step, in the order of the plan, with the group that it travels in and what became of each.
    pub fn take(
        &mut self,
        step: &Step,
        group: Option<Group>,
        outcome: &dyn Fn(StepId) -> Option<Outcome>,
    ) {
        while self
            .counting
            .as_ref()
            .is_none_or(|now| now.load < step.load)
            && self.next_load()
        {}
        let Some(counting) = &mut self.counting else {
            return;
        };
        let Some(group) = group else {
            counting.take(None, std::slice::from_ref(step), outcome, &mut self.waves);
            return;
        };
        self.together.push(step.clone());
        if self.together.len() >= group.records as usize {
            counting.take(Some(group), &self.together, outcome, &mut self.waves);
            self.together.clear();
        }
    }

    /// Ends a load, and begins the next; tells whether there is one.
    fn next_load(&mut self) -> bool {
        if let Some(counting) = self.counting.take() {
            let target = counting.settings.target.as_str();
            let (found, order) = counting.end();
            self.found.push(found);
            self.orders.insert(target, order);
        }
        let Some(settings) = self.header.loads.get(self.found.len()) else {
            return false;
        };
        let load = LoadId(u32::try_from(self.found.len()).unwrap_or(u32::MAX));
        let target = self.header.target_of(load);
        let order = self.orders.remove(settings.target.as_str());
        self.counting = Some(Counting {
            load,
            settings,
            batching: batching(self.header, load),
            found: LoadForecast::default(),
            filling: BTreeMap::new(),
            batched: 0,
            order: order.unwrap_or_else(|| Order {
                is_kept: target.is_some_and(|target| target.settings.store.is_googles()),
                proofs: 0,
            }),
        });
        true
    }

    /// Returns the forecast of all loads.
    pub fn end(mut self) -> Forecast {
        while self.next_load() {}
        Forecast {
            loads: self.found,
            samples: 0,
            is_assumed: false,
        }
    }
}

/// Of each step, how many others have to be there before it, one after the other. Beyond 65,535 no difference is made.
#[derive(Debug)]
struct Waves(Vec<u16>);

impl Waves {
    fn of(&self, step: StepId) -> u16 {
        let at = step.index();
        at.and_then(|at| self.0.get(at)).copied().unwrap_or(0)
    }

    fn set(&mut self, step: StepId, wave: u16) {
        let at = step.index();
        if let Some(place) = at.and_then(|at| self.0.get_mut(at)) {
            *place = wave;
        }
    }
}

#[derive(Debug)]
struct Counting<'a> {
    load: LoadId,
    settings: &'a LoadSettings,
    batching: Option<Batching>,
    found: LoadForecast,
    /// By wave: the Bundle that is being filled.
    filling: BTreeMap<u16, Filling>,
    /// Records that travel in Bundles which Stoker fills.
    batched: u64,
    order: Order,
}

/// A Bundle that is being filled.
#[derive(Debug, Default)]
struct Filling {
    entries: usize,
    bytes: u64,
    /// By kind: the records that are created.
    created: BTreeMap<String, usize>,
}

impl Filling {
    fn add(&mut self, step: &Step, size: u64, order: &Order) {
        self.entries += 1;
        self.bytes += size;
        let is_create = matches!(
            step.action.operation(),
            Some(Operation::Create | Operation::ConditionalCreate)
        );
        if order.is_proven() || !is_create {
            return;
        }
        if let Some(created) = self.created.get_mut(&step.kind) {
            *created += 1;
        } else {
            self.created.insert(step.kind.clone(), 1);
        }
    }
}

/// The order in which a target answers the records of a parcel, as far as it will have been proved.
#[derive(Debug)]
struct Order {
    /// Nothing has to be proved.
    is_kept: bool,
    /// Records that were read back.
    proofs: usize,
}

impl Order {
    fn is_proven(&self) -> bool {
        self.is_kept || self.proofs >= PROOFS
    }

    /// Returns how many records of a parcel are read back: of those whose ids depend on the order, several of one kind.
    fn prove(&mut self, parcel: &Filling) -> u64 {
        if self.is_proven() {
            return 0;
        }
        let depending: usize = parcel.created.values().filter(|count| **count > 1).sum();
        let read = depending.min(PROOFS_OF_PARCEL);
        self.proofs += read;
        read as u64
    }
}

impl Counting<'_> {
    fn take(
        &mut self,
        group: Option<Group>,
        steps: &[Step],
        outcome: &dyn Fn(StepId) -> Option<Outcome>,
        waves: &mut Waves,
    ) {
        let is_settled = |step: StepId| outcome(step).is_some();
        let is_sent = |step: &&Step| step.action.operation().is_some();
        let (settled, left): (Vec<&Step>, Vec<&Step>) = steps
            .iter()
            .filter(is_sent)
            .partition(|step| is_settled(step.number));
        let is_unknown = |step: &&&Step| outcome(step.number) == Some(Outcome::Unknown);
        let elsewhere = settled.iter().filter(is_unknown).count() as u64;
        self.found.elsewhere += elsewhere;
        self.found.loaded += settled.len() as u64 - elsewhere;
        // A record that is compared is read, whatever earlier runs have loaded.
        let compared = settled.iter().filter(|step| self.is_compared(group, step));
        self.found.compared += compared.count() as u64;
        let (Some(first), Some(last)) = (left.first(), left.last()) else {
            return;
        };
        let own = first.number..last.number.next();
        let needs = left.iter().flat_map(|step| step.needs());
        let needs = needs.filter(|need| !own.contains(need) && !is_settled(*need));
        let wave = needs.map(|need| waves.of(need).saturating_add(1)).max();
        let wave = wave.unwrap_or(0);
        for step in &left {
            waves.set(step.number, wave);
            let searches = step.links.iter().filter(|link| link.to == To::Search);
            self.found.looked_up += searches.count() as u64;
        }
        if group.is_some() {
            self.found.requests += 1;
            let mut parcel = Filling::default();
            for step in &left {
                parcel.add(step, 0, &self.order);
            }
            self.found.proved += self.order.prove(&parcel);
        } else if first.is_in_two_steps() {
            self.found.requests += 2;
        } else if let Some(batching) = self.batching {
            self.fill(batching, first, wave);
        } else {
            self.found.requests += 1;
            self.found.compared += u64::from(self.is_compared(group, first));
        }
    }

    /// Tells whether a record is read before it is sent.
    fn is_compared(&self, group: Option<Group>, step: &Step) -> bool {
        let is_alone = group.is_none() && self.batching.is_none();
        let is_update = step.action == Action::Send(Operation::Update);
        self.settings.compare && is_alone && is_update
    }

    fn fill(&mut self, batching: Batching, step: &Step, wave: u16) {
        let size = entry_size(&step.action, step.wire().length);
        let parcel = self.filling.entry(wave).or_default();
        if parcel.entries > 0 && !batching.takes(parcel.entries, parcel.bytes, size) {
            let parcel = mem::take(parcel);
            self.found.requests += 1;
            self.found.proved += self.order.prove(&parcel);
        }
        (self.filling.entry(wave).or_default()).add(step, size, &self.order);
        self.batched += 1;
    }

    fn end(self) -> (LoadForecast, Order) {
        let Self {
            mut found,
            filling,
            batched,
            mut order,
            ..
        } = self;
        found.requests += filling.len() as u64;
        found.proved += (filling.values())
            .map(|parcel| order.prove(parcel))
            .sum::<u64>();
        found.is_estimate = batched > 1;
        (found, order)
    }
}
