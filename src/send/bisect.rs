//! The search for the records to blame in a Bundle that Stoker filled and the store refused as a whole.

use super::{
    exchange::Refused,
    settlement::{self, Attempted},
    work::Work,
};
use crate::{
    journal::Settlement,
    plan::{self, Step},
    target::Target,
};

/// Takes apart a Bundle that was refused as a whole: first the entry that the store names, else by halves, and when that
/// has taken too many requests, one by one. The store's refusal of one record must not cost the others.
pub(super) struct Bisector {
    /// Requests that may still be spent on halves.
    left: u32,
}

impl Bisector {
    /// A Bundle of n entries may cost 2·log2(n) + 8 requests before its records go one by one: enough to corner one bad
    /// entry by halves, with room for some more that the store names.
    pub(super) fn of(entries: usize) -> Self {
        let log = usize::BITS - entries.leading_zeros();
        Self { left: 2 * log + 8 }
    }

    /// Takes apart what was given up as a whole, where nobody says who is to blame: by halves, or one by one.
    pub(super) fn part(
        &mut self,
        mut steps: Vec<Step>,
        packaging: Option<plan::Packaging>,
        queue: &mut Vec<Work>,
    ) {
        if self.left >= 2 && steps.len() > 1 {
            self.left -= 2;
            let later = steps.split_off(steps.len() / 2);
            queue.push(Work::unread(later, packaging));
            queue.push(Work::unread(steps, packaging));
            return;
        }
        let singles = steps.into_iter();
        queue.extend(singles.map(|step| Work::unread(vec![step], packaging)));
    }

    /// Returns what is settled by the refusal itself; the rest goes into the queue.
    pub(super) fn take(
        &mut self,
        target: &dyn Target,
        refused: Refused,
        packaging: Option<plan::Packaging>,
        queue: &mut Vec<Work>,
    ) -> Option<Settlement> {
        let Refused {
            mut steps,
            mut bodies,
            status,
            answer,
            attempts,
        } = refused;
        let mut again = |steps: Vec<Step>, bodies: Vec<bytes::Bytes>| {
            if !steps.is_empty() {
                queue.push(Work {
                    bodies,
                    ..Work::unread(steps, packaging)
                });
            }
        };
        let attempted = Attempted {
            attempts,
            latency: None,
        };
        let named = target.refusal(None, &answer).culprit;
        let named = named.filter(|&at| at < steps.len());
        if let Some(at) = named.filter(|_| self.left >= 1) {
            self.left -= 1;
            let step = steps.remove(at);
            if at < bodies.len() {
                bodies.remove(at);
            }
            again(steps, bodies);
            let note =
                Some("the store refused the request that it travelled in because of it".to_owned());
            return Some(settlement::rejected(
                target, &step, true, status, &answer, attempted, note,
            ));
        }
        if self.left >= 2 {
            self.left -= 2;
            let half = steps.len() / 2;
            let later = bodies.split_off(std::cmp::min(half, bodies.len()));
            again(steps.split_off(half), later);
            again(steps, bodies);
            return None;
        }
        let mut bodies = bodies.into_iter();
        for step in steps {
            again(vec![step], bodies.next().into_iter().collect());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::LoadId,
        plan::{Action, Packaging},
        record::{Operation, Position, SourceId, Span, StepId},
        target::fhir::Fhir,
    };

    fn step(number: u64) -> Step {
        let span = Span {
            start: 0,
            length: 0,
        };
        Step {
            number: StepId(number),
            load: LoadId(0),
            position: Position {
                source: SourceId(0),
                index: number,
                line: number,
                entry: None,
                span,
            },
            body: span,
            kind: "Patient".to_owned(),
            id: None,
            full_url: None,
            action: Action::Send(Operation::Create),
            links: Vec::new(),
            hash: 0,
            first: None,
        }
    }

    proptest! {
        /// A store refuses every Bundle that holds a bad record, and names one, or none.
        #[test]
        fn what_is_taken_apart_is_conserved(
            size in 2_u64..400,
            bad in proptest::collection::btree_set(0_u64..400, 1..20),
            names: bool,
        ) {
            let bad: BTreeSet<u64> = bad.into_iter().map(|at| at % size).collect();
            let mut apart = Bisector::of(usize::try_from(size).unwrap());
            let most = apart.left;
            let work = |steps| Work::unread(steps, Some(Packaging::Batch));
            let mut queue = vec![work((0..size).map(step).collect())];
            let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
            let (mut parcels, mut singles) = (0_u32, 0_u64);
            while let Some(work) = queue.pop() {
                let numbers: Vec<StepId> = work.steps.iter().map(|step| step.number).collect();
                let culprit = numbers.iter().position(|number| bad.contains(&number.0));
                if let [number] = numbers.as_slice() {
                    singles += 1;
                    if culprit.is_some() { rejected.push(*number) } else { accepted.push(*number) }
                    continue;
                }
                parcels += 1;
                let Some(culprit) = culprit else {
                    accepted.extend(numbers);
                    continue;
                };
                let answer = if names {
                    format!(r#"{{"issue":[{{"severity":"error","code":"value","expression":["Bundle.entry[{culprit}].resource"]}}]}}"#)
                } else {
                    r#"{"issue":[{"severity":"error","code":"value"}]}"#.to_owned()
                };
                let store = Fhir::new(&"https://fhir.example/r4/".parse().unwrap(), None);
                let refused = Refused {
                    steps: work.steps,
                    bodies: Vec::new(),
                    status: 400,
                    answer: answer.into(),
                    attempts: 1,
                };
                let settled = apart.take(&store, refused, work.packaging, &mut queue);
                rejected.extend(settled.map(|settled| settled.line.record));
            }
            accepted.sort_unstable();
            rejected.sort_unstable();
            let good: Vec<StepId> = (0..size).filter(|number| !bad.contains(number)).map(StepId).collect();
            prop_assert_eq!(accepted, good);
            prop_assert_eq!(rejected, bad.into_iter().map(StepId).collect::<Vec<_>>());
            // The first is the Bundle itself; what comes after the halves goes one by one.
            prop_assert!(parcels <= most + 1, "{} of {}", parcels, most);
            prop_assert!(singles <= size);
        }
    }
}
