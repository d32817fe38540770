//! Decides about records of formats whose records refer to no others: each stands for itself, but for copies, for those that
//! must keep their order, and for those that may travel together.
//!
//! Steps are numbered within their load as they are decided; a number of another step is kept with its load, in one
//! number, until the loads have their places in the plan ([`Place::of`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Planner;
use crate::{
    manifest::PackagingChoice,
    plan::{Action, Link, Other, Packaging, Reason, ReasonCode, Step, batch},
    record::{Facets, LoadId, StepId},
    source::{Remark, SourceFile},
};

/// A step by its load and its number in it, as one number: plans hold fewer than 2^40 steps in a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) struct Place {
    /// The load.
    pub(in crate::plan) load: LoadId,
    /// The number of the step in it, from 0.
    pub(in crate::plan) step: StepId,
}

/// Bits of the number within the load.
const BITS: u32 = 40;

impl Place {
    /// Returns it as one number.
    fn packed(self) -> u64 {
        u64::from(self.load.0) << BITS | self.step.0
    }

    /// Reads what [`Place::packed`] made.
    pub(in crate::plan) fn of(packed: u64) -> Self {
        let load = LoadId(u32::try_from(packed >> BITS).unwrap_or(u32::MAX));
        let step = StepId(packed & ((1 << BITS) - 1));
        Self { load, step }
    }
}

/// The records that were decided about, or wait, as far as later ones depend on them.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By target and name: which record has it, and the hash of its bytes.
    named: HashMap<u64, Named>,
    /// By target and sequence: the last of it.
    last: HashMap<u64, u64>,
    /// By target and alias: the last of it.
    aliases: HashMap<u64, Aliased>,
    /// Those that wait for others to travel with, by what they belong to.
    parcels: BTreeMap<u64, Parcel>,
    /// The number of records that wait.
    waiting: usize,
    /// Records that are not whole, with their sources: they are decided about when their load ends, for another of the same name may
    /// be whole.
    aside: Vec<(SourceFile, Facets<'static>)>,
    /// By load: what was seen of what records are parts of.
    within: HashSet<(u32, &'static str, u64)>,
}

#[derive(Debug, Clone)]
struct Named {
    at: At,
    hash: u128,
    place: Box<str>,
    is_incomplete: bool,
}

/// The last record of an alias.
#[derive(Debug, Clone, Copy)]
struct Aliased {
    /// Of its bytes.
    hash: u128,
    /// The key of its name.
    named: Option<u64>,
}

/// The place of a record.
#[derive(Debug, Clone, Copy)]
enum At {
    Numbered(u64),
    /// In the parcel of this key.
    Waiting(u64),
}

#[derive(Debug, Default)]
struct Parcel {
    steps: Vec<(Step, Option<u64>)>,
    bytes: u64,
}

/// No more that are not whole are put aside; further ones are decided about when they come.
const ASIDE: usize = 10_000;

/// No more wait at a time, over all parcels: files of one study mostly lie together.
const WAITING: usize = 10_000;

/// The largest number of bytes that a part of a request has around its record: a boundary and its headers.
const AROUND: u64 = 256;

impl Planner<'_> {
    /// Decides about a record that refers to no others, or puts it aside.
    pub fn facets(&mut self, file: &SourceFile, found: &Facets<'_>) {
        let is_replaceable = found.is_incomplete && found.refused.is_none() && found.id.is_some();
        if is_replaceable && self.known.aside.len() < ASIDE {
            self.known.aside.push((file.clone(), found.owned()));
        } else {
            self.decide(file, found);
        }
    }

    fn decide(&mut self, file: &SourceFile, found: &Facets<'_>) {
        let name = file.origin.to_string();
        let place = found.position.display(&name).to_string();
        let named = found.id.as_deref().map(|id| self.key(hash(id.as_bytes())));
        if let Some(named) = named.filter(|_| found.is_incomplete)
            && let Some(whole) = self.known.named.get(&named).cloned()
            && !whole.is_incomplete
        {
            for notice in &found.notices {
                let whole = &whole.place;
                self.remarkable(
                    notice,
                    format!("{place}: {notice}; {whole} holds the same record whole, and that one is sent"),
                );
            }
            return self.again(found, &whole);
        }
        for notice in &found.notices {
            self.remarkable(notice, format!("{place}: {notice}"));
        }
        if let (Some(charset), Some(taken)) = (found.charset, &self.facts().charsets)
            && !taken.iter().any(|taken| taken == charset)
        {
            const FOREIGN: &str = "the target does not take its character set (`charset: convert` writes it in UTF-8)";
            self.remarkable(FOREIGN, format!("{place}: {FOREIGN}: {charset}"));
        }
        let refused = found.refused.clone().or_else(|| self.refuses(found));
        if let Some(reason) = refused {
            let step = Step::of(found, self.load, Action::Unsupported(reason));
            self.number(step, &[], None);
            return;
        }
        let key = |value: u64| self.key(value);
        let sequences: Vec<u64> = found.sequences.iter().copied().map(key).collect();
        if let Some(named) = named
            && let Some(first) = self.known.named.get(&named).cloned()
        {
            return self.again(found, &first);
        }
        let twin = self.twin(found, named, &place);
        let Some(operation) = self.settings().interaction else {
            // The manifest sets it for every load of such a format.
            let message = "no operation is known for its target: this is a bug in Stoker";
            let step = Step::of(
                found,
                self.load,
                Action::Unsupported(Reason::new(ReasonCode::Internal, message)),
            );
            return self.number(step, &[], None);
        };
        self.take_stock(found);
        let mut step = Step::of(found, self.load, Action::Send(operation));
        let last = sequences
            .iter()
            .filter_map(|sequence| self.known.last.get(sequence));
        let mut before: Vec<u64> = last.copied().collect();
        before.sort_unstable();
        before.dedup();
        let follows = before.into_iter().map(|at| Link::follows(StepId(at)));
        step.links.extend(follows);
        let twin = twin.and_then(|twin| self.number_of(twin));
        if let Some(twin) = twin {
            step.links.push(Link::follows(StepId(twin)));
        }
        let remember = named.map(|named| {
            let known = Named {
                at: At::Waiting(0),
                hash: found.hash,
                place: place.into(),
                is_incomplete: found.is_incomplete,
            };
            (named, known)
        });
        let may_travel_together = twin.is_none() && self.may_travel_together();
        match found.together.filter(|_| may_travel_together) {
            Some(together) => {
                if let Some((named, mut known)) = remember {
                    known.at = At::Waiting(together);
                    self.known.named.insert(named, known);
                }
                self.add(together, step, named);
            }
            None => self.number(step, &sequences, remember),
        }
    }

    /// Takes note of a record's alias. Returns the name of another record with that alias, where an answer to both would not
    /// tell them apart.
    fn twin(&mut self, found: &Facets<'_>, named: Option<u64>, place: &str) -> Option<u64> {
        let alias = found.alias?;
        let key = self.key(alias.hash);
        let hash = found.hash;
        let before = self.known.aliases.insert(key, Aliased { hash, named })?;
        if before.hash == hash {
            return None;
        }
        let twice = alias.rule.twice;
        self.remarkable(twice, format!("{place}: {twice}"));
        before.named.filter(|_| alias.rule.is_in_answers)
    }

    /// Returns the number of the record of a name. It gets one now, if it waits for others to travel with.
    fn number_of(&mut self, named: u64) -> Option<u64> {
        if let At::Waiting(together) = self.known.named.get(&named)?.at {
            self.let_go(together);
        }
        match self.known.named.get(&named)?.at {
            At::Numbered(at) => Some(at),
            At::Waiting(_) => None,
        }
    }

    /// Says what is odd about a source.
    pub fn remark(&mut self, file: &SourceFile, remark: &Remark) {
        let warning = format!("{}:{}: {}", file.origin, remark.line, remark.what);
        self.remarkable(remark.kind, warning);
    }

    /// Names what there may be in every file, while it is new.
    fn remarkable(&mut self, kind: &'static str, warning: String) {
        let named = self.notices.take_few(kind, warning);
        self.summary.warnings.extend(named);
    }

    /// Counts what a record is a part of, and what it is like.
    fn take_stock(&mut self, found: &Facets<'_>) {
        let load = self.load.0;
        let Some(summary) = self.summary.loads.get_mut(load as usize) else {
            return;
        };
        for (word, value) in &found.within {
            if self.known.within.insert((load, *word, *value)) {
                *summary.within.entry((*word).to_owned()).or_default() += 1;
            }
        }
        for (word, value) in &found.properties {
            let values = summary.properties.entry((*word).to_owned()).or_default();
            *values.entry(value.clone().into_owned()).or_default() += 1;
        }
    }

    /// Ends a load: what was put aside is decided about, and what waited goes out.
    pub fn load_end(&mut self) {
        for (file, found) in std::mem::take(&mut self.known.aside) {
            self.decide(&file, &found);
        }
        self.let_all_go();
    }

    fn let_all_go(&mut self) {
        while let Some((&together, _)) = self.known.parcels.first_key_value() {
            self.let_go(together);
        }
    }

    /// Returns the reason why the target does not take a record.
    fn refuses(&self, found: &Facets<'_>) -> Option<Reason> {
        if found.holds_frame && self.facts().framed {
            let message = "it holds a byte that frames messages in MLLP (0x0B or 0x1C)";
            return Some(Reason::new(ReasonCode::Frame, message));
        }
        let limit = self.facts().limits.resource_bytes?;
        let length = found.position.span.length;
        (length > limit).then(|| {
            let message = format!("it has {length} bytes, and the target takes {limit}");
            Reason::new(ReasonCode::TooLarge, message)
        })
    }

    /// A key among those of the load's target.
    fn key(&self, value: u64) -> u64 {
        let target = self.settings().target.as_bytes();
        hash(&[target, &[0xff], &value.to_le_bytes()].concat())
    }

    /// Decides about a record whose name another one has.
    fn again(&mut self, found: &Facets<'_>, first: &Named) {
        let named = found.id.as_deref().map(|id| self.key(hash(id.as_bytes())));
        let Some(at) = named.and_then(|named| self.number_of(named)) else {
            return;
        };
        let action = if first.hash == found.hash || found.is_named_by_content {
            Action::Duplicate(Other {
                step: StepId(at),
                place: first.place.to_string(),
            })
        } else {
            Action::Unsupported(Reason::new(
                ReasonCode::SameNameOtherBytes,
                match (found.is_incomplete, first.is_incomplete) {
                    (true, false) => {
                        format!(
                            "{} has the same name and is whole, and this one is not",
                            first.place
                        )
                    }
                    _ => format!("{} has the same name and other bytes", first.place),
                },
            ))
        };
        let step = Step::of(found, self.load, action);
        self.number(step, &[], None);
    }

    /// Gives a step its number, and remembers it by its names.
    fn number(&mut self, step: Step, sequences: &[u64], remember: Option<(u64, Named)>) {
        let place = Place {
            load: self.load,
            step: StepId(self.numbered),
        };
        let at = place.packed();
        for sequence in sequences {
            self.known.last.insert(*sequence, at);
        }
        if let Some((named, mut known)) = remember {
            known.at = At::Numbered(at);
            self.known.named.insert(named, known);
        }
        self.push(step, self.found);
    }

    fn may_travel_together(&self) -> bool {
        self.facts().batch == Some(true)
            && self.settings().packaging.kind != Some(PackagingChoice::None)
    }

    /// Lets a step wait for others of what it belongs to.
    fn add(&mut self, together: u64, step: Step, named: Option<u64>) {
        let settings = self.settings();
        let Some(target) = self.header.target_of(self.load) else {
            return self.number(step, &[], None);
        };
        let filled = batch::filled(settings, target, Packaging::Batch);
        let bytes = step.position.span.length + AROUND;
        let parcel = self.known.parcels.entry(together).or_default();
        if !filled.takes(parcel.steps.len(), parcel.bytes, bytes) {
            self.let_go(together);
        }
        if self.known.waiting >= WAITING {
            self.let_all_go();
        }
        let parcel = self.known.parcels.entry(together).or_default();
        parcel.bytes += bytes;
        parcel.steps.push((step, named));
        self.known.waiting += 1;
    }

    /// Sends what waits of a parcel on its way.
    fn let_go(&mut self, together: u64) {
        let Some(parcel) = self.known.parcels.remove(&together) else {
            return;
        };
        self.known.waiting = self.known.waiting.saturating_sub(parcel.steps.len());
        if parcel.steps.len() > 1 {
            let records = u32::try_from(parcel.steps.len()).unwrap_or(u32::MAX);
            self.group(Packaging::Batch, records, parcel.bytes, false);
        }
        for (step, named) in parcel.steps {
            let place = Place {
                load: self.load,
                step: StepId(self.numbered),
            };
            if let Some(named) = named.and_then(|named| self.known.named.get_mut(&named)) {
                named.at = At::Numbered(place.packed());
            }
            self.number(step, &[], None);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn hash(bytes: &[u8]) -> u64 {
    crate::record::hash(bytes) as u64
}
