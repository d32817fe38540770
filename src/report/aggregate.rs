//! Sums a run up, in one pass over its records.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use indexmap::IndexMap;

use super::{
    Error,
    causes::{Causes, severity},
    document::{
        Example, HistoryCheck, Latency, LoadReport, Problem, Report, RequestFigures, SessionEnd,
        Totals, VERSION,
    },
    join::{JoinedRun, Record},
};
use crate::{
    journal::{JournalIndex, RunDirectory, format::Ending},
    plan::file::Saved,
    record::Outcome,
    send::RESENT,
};

/// The number of kinds of problems that a report lists. Real runs have a handful; the bound keeps a server that makes
/// up a new code for every record from growing the report with the input.
const KINDS: usize = 100;

/// The number of records of a kind of problem that are named; all of them stand in `records.ndjson`.
const EXAMPLES: usize = 3;

/// Computes the report of a run from its directory.
///
/// # Errors
///
/// When plan or journal cannot be read, or do not agree: the totals of a report always equal the plan's count.
pub fn of(run: &RunDirectory) -> Result<Report, Error> {
    if let Some(report) = super::brief::report(run)? {
        return Ok(report);
    }
    let joined = JoinedRun::open(run)?;
    let mut sum = Aggregate::new(joined.plan());
    joined.walk(|plan, record, _| {
        sum.take(plan, record);
        Ok(())
    })?;
    sum.report(run, &joined)
}

type Kind = (u32, String, Outcome, Option<u16>, Option<String>);

/// The sums so far.
pub(super) struct Aggregate {
    outcomes: Totals,
    loads: Vec<LoadReport>,
    types: BTreeMap<String, Totals>,
    problems: IndexMap<Kind, (u64, Vec<Example>)>,
    unlisted: u64,
    causes: Causes,
    latencies: Option<Histogram<u64>>,
    longest: u64,
    /// Records for which the target was asked anything.
    asked: u64,
    /// Records that were on their way when a session ended.
    in_doubt: u64,
    /// Messages that were sent again after their acknowledgement was lost.
    resent: u64,
}

impl Aggregate {
    pub(super) fn new(plan: &Saved) -> Self {
        let loads = plan.header.loads.iter().enumerate().map(|(i, load)| {
            let summary = plan.summary.loads.get(i);
            LoadReport {
                name: load.name.clone(),
                target: load.target.clone(),
                files: summary.map_or(0, |s| s.files),
                records: 0,
                bytes: 0,
                outcomes: Totals::default(),
                way: None,
            }
        });
        Self {
            outcomes: Totals::default(),
            loads: loads.collect(),
            types: BTreeMap::new(),
            problems: IndexMap::new(),
            unlisted: 0,
            causes: Causes::new(plan),
            // Three digits keep the histogram at some 50 kB whatever its range. Two to five never fail.
            latencies: Histogram::new(3).ok(),
            longest: 0,
            asked: 0,
            in_doubt: 0,
            resent: 0,
        }
    }

    pub(super) fn take(&mut self, plan: &Saved, record: &Record) {
        let Record { step, outcome, .. } = record;
        self.outcomes.count(*outcome);
        // A record that an earlier run loaded, or that was never sent, took no time of a target.
        self.asked += u64::from(record.attempts != Some(0));
        self.in_doubt += u64::from(record.is_in_doubt());
        self.resent += u64::from(record.note.as_deref() == Some(RESENT));
        match self.types.get_mut(&step.kind) {
            Some(totals) => totals.count(*outcome),
            None => self
                .types
                .entry(step.kind.clone())
                .or_default()
                .count(*outcome),
        }
        if let Some(load) = self.loads.get_mut(step.load.0 as usize) {
            load.records += 1;
            load.bytes += step.body.length;
            load.outcomes.count(*outcome);
        }
        if let (Some(latency), Some(latencies)) = (record.latency_us, &mut self.latencies) {
            // The histogram grows with its values; what it cannot hold still counts as the longest.
            let _ = latencies.record(latency);
            self.longest = std::cmp::max(self.longest, latency);
        }
        if severity(*outcome).is_some() {
            self.problem(plan, record);
            self.causes.take(plan, record);
        }
    }

    fn problem(&mut self, plan: &Saved, record: &Record) {
        let step = &record.step;
        let kind = (
            step.load.0,
            step.kind.clone(),
            record.outcome,
            record.status,
            record.code.clone(),
        );
        let full = self.problems.len() >= KINDS;
        let (count, examples) = match self.problems.entry(kind) {
            indexmap::map::Entry::Occupied(entry) => entry.into_mut(),
            indexmap::map::Entry::Vacant(_) if full => {
                self.unlisted += 1;
                return;
            }
            indexmap::map::Entry::Vacant(entry) => entry.insert_entry((0, Vec::new())).into_mut(),
        };
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(Example {
                record: step.number,
                file: plan.source_name(step.position.source).to_owned(),
                line: step.position.line,
                entry: step.position.entry,
                expression: record.expression.clone(),
                note: record.note.clone(),
            });
        }
    }

    /// Returns for how many records the target was asked anything.
    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    /// Makes the report of it: the totals of a report always equal the plan's count.
    pub(super) fn report(self, run: &RunDirectory, joined: &JoinedRun) -> Result<Report, Error> {
        let planned = joined.plan().summary.records();
        let counted = self.outcomes.sum();
        if planned == counted {
            Ok(self.sum_up(run, joined.plan(), joined.history()))
        } else {
            Err(joined.disagree(format!(
                "the plan counts {planned} records, and {counted} have an outcome"
            )))
        }
    }

    fn sum_up(mut self, run: &RunDirectory, plan: &Saved, history: &JournalIndex) -> Report {
        let mut requests = RequestFigures {
            at_least: history.ended < history.sessions.len(),
            ..RequestFigures::default()
        };
        let (mut planning_ms, mut sending_ms, mut closing_ms) = (0, 0, 0);
        for tally in history.tallies.values() {
            planning_ms += tally.planning_ms;
            sending_ms += tally.elapsed_ms;
            closing_ms += tally.closing_ms;
            requests.sent += tally.requests;
            requests.reads += tally.reads;
            requests.retries += tally.retries;
            requests.bytes_sent += tally.bytes_sent;
            requests.bytes_received += tally.bytes_received;
            for remark in &tally.remarks {
                if !requests.remarks.contains(remark) {
                    requests.remarks.push(remark.clone());
                }
            }
            for load in &mut self.loads {
                if let Some(way) = tally.ways.get(&load.name) {
                    load.way = Some(way.clone());
                }
            }
            for (status, count) in &tally.statuses {
                *requests.statuses.entry(status.clone()).or_default() += count;
            }
        }
        // An end that is not the last session's is that of an earlier one: the last was killed, or goes on.
        let last = history.sessions.last().map(|session| session.number);
        let end = history.end.as_ref().filter(|end| Some(end.session) == last);
        let names: Vec<_> = self.loads.iter().map(|load| load.name.clone()).collect();
        let consulted = &history.consulted;
        let causes = self.causes.finish();
        Report {
            report: VERSION,
            stoker: history.journal.stoker.clone(),
            run: run.name(),
            name: plan.header.name.clone(),
            manifest: plan.header.manifest.display().to_string(),
            ended: end.map_or(SessionEnd::Unfinished, |end| end.how.into()),
            reason: end.and_then(|end| end.reason.clone()),
            started: history.sessions.first().map(|session| session.started),
            finished: end.map(|end| end.at),
            sessions: u32::try_from(history.sessions.len()).unwrap_or(u32::MAX),
            duration_ms: planning_ms + sending_ms + closing_ms,
            planning_ms,
            sending_ms,
            closing_ms,
            records: self.outcomes.sum(),
            bytes: self.loads.iter().map(|load| load.bytes).sum(),
            outcomes: self.outcomes,
            records_per_second: (sending_ms > 0 && self.asked > 0)
                // One digit: what a person reads; the exact figures stand beside it.
                .then(|| (self.asked as f64 * 10_000.0 / sending_ms as f64).round() / 10.0),
            requests,
            latency: latency(self.latencies.as_ref(), self.longest),
            loads: self.loads,
            types: self.types,
            from_history: consulted.loaded,
            history: HistoryCheck::of(consulted),
            in_doubt: self.in_doubt,
            resent: self.resent,
            causes,
            problems: problems(self.problems, &names),
            unlisted_problems: self.unlisted,
        }
    }
}

fn latency(latencies: Option<&Histogram<u64>>, longest: u64) -> Option<Latency> {
    let latencies = latencies.filter(|latencies| !latencies.is_empty())?;
    // A bucket is named by its upper end, which may lie above the longest value.
    let quantile = |q| std::cmp::min(latencies.value_at_quantile(q), longest);
    Some(Latency {
        records: latencies.len(),
        p50_us: quantile(0.5),
        p95_us: quantile(0.95),
        p99_us: quantile(0.99),
        max_us: longest,
    })
}

fn problems(found: IndexMap<Kind, (u64, Vec<Example>)>, loads: &[String]) -> Vec<Problem> {
    let mut found: Vec<_> = found.into_iter().collect();
    // The sort is stable: kinds of one frequency stay in the order of the plan.
    found.sort_by_key(|((_, _, outcome, _, _), (count, _))| {
        (severity(*outcome), std::cmp::Reverse(*count))
    });
    found
        .into_iter()
        .map(
            |((load, kind, outcome, status, code), (records, examples))| Problem {
                load: loads.get(load as usize).cloned().unwrap_or_default(),
                kind,
                outcome: outcome.as_str(),
                status,
                code,
                records,
                examples,
            },
        )
        .collect()
}

impl From<Ending> for SessionEnd {
    fn from(how: Ending) -> Self {
        match how {
            Ending::Complete => Self::Complete,
            Ending::Interrupted => Self::Interrupted,
            Ending::MaxErrors => Self::MaxErrors,
            Ending::Target => Self::Target,
            Ending::Source => Self::Source,
            Ending::Internal => Self::Internal,
            Ending::Superseded => Self::Superseded,
        }
    }
}
