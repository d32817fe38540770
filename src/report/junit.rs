//! `junit.xml`, for the systems that run loads: one test suite a load.
//!
//! Up to [`CASES`] records of a run have a test case each. Beyond that, records that ended well are summed up in one
//! case a type, and only the first [`CASES`] others have their own, so that neither memory nor the file grows with
//! the input. A record that did not arrive because of another has the cause of that one. `rejected` and `blocked` are failures, `unknown` and `pending` errors, `unsupported` is skipped.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Error, Report, format, join::Record, why::Why};
use crate::{plan::file::Saved, record::Outcome, record::StepId};

/// The number of records that have a test case of their own. The systems that show JUnit files become slow beyond.
pub(super) const CASES: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Junit {
    suites: Vec<TestSuite>,
    /// True if records that ended well are summed up.
    large: bool,
    /// The number of test cases that are left for records that did not end well.
    left: u64,
    /// Records without a test case of their own, by load, type and outcome.
    summed: BTreeMap<(u32, String, Outcome), u64>,
    /// The causes, in words, of the records that have a test case and failed for a cause of their own.
    whys: HashMap<StepId, String>,
    /// Test cases of the others: load, place in it, outcome, what is said of it, and the record to blame.
    others: Vec<(usize, usize, Outcome, String, StepId)>,
}

impl Junit {
    pub(super) fn new(of: &Saved) -> Self {
        Self::with_cases(of, CASES)
    }

    pub(super) fn with_cases(of: &Saved, cases: u64) -> Self {
        let loads = of.header.loads.iter();
        Self {
            suites: loads
                .map(|load| TestSuite::new(load.name.as_str()))
                .collect(),
            large: of.summary.records() > cases,
            left: cases,
            summed: BTreeMap::new(),
            whys: HashMap::new(),
            others: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, plan: &Saved, record: &Record) {
        let step = &record.step;
        let has_case = if record.outcome.is_well() {
            !self.large
        } else {
            self.left > 0
        };
        if !has_case {
            let key = (step.load.0, step.kind.clone(), record.outcome);
            *self.summed.entry(key).or_default() += 1;
            return;
        }
        if !record.outcome.is_well() {
            self.left -= 1;
        }
        let file = plan.source_name(step.position.source);
        let name = format!(
            "{} {}",
            step.position.display(file),
            format::kind(&step.kind)
        );
        let message = self.message(plan, record);
        let mut case = TestCase::new(name.trim_end(), status(record.outcome, &message));
        case.set_classname(format::kind(&step.kind));
        if let Some(latency) = record.latency_us {
            case.set_time(Duration::from_micros(latency));
        }
        let load = step.load.0 as usize;
        if let Some(suite) = self.suites.get_mut(load) {
            suite.add_test_case(case);
            if let Some(by) = record.by {
                let at = suite.test_cases.len() - 1;
                self.others.push((load, at, record.outcome, message, by));
            }
        }
    }

    /// Says what is wrong with a record, in words and in codes.
    fn message(&mut self, plan: &Saved, record: &Record) -> String {
        if record.outcome.is_well() || record.outcome == Outcome::Pending {
            return record.note.clone().unwrap_or_default();
        }
        let codes = [
            record.status.map(|status| status.to_string()),
            record.code.clone(),
            record.detail.clone(),
            (!record.expression.is_empty()).then(|| format!("at {}", record.expression.join(", "))),
        ];
        let codes: Vec<_> = codes.into_iter().flatten().collect();
        let codes = match codes.as_slice() {
            [] => String::new(),
            codes => format!(" ({})", codes.join(" ")),
        };
        if record.by.is_some() {
            return format!("{}{codes}", record.note.as_deref().unwrap_or_default());
        }
        let mut what = Why::of(plan, record).what();
        if let (Outcome::Unknown, Some(note)) = (record.outcome, &record.note) {
            // It says the same of this record alone, and more.
            what.clone_from(note);
        }
        self.whys.insert(record.step.number, what.clone());
        let note = record.note.as_ref().filter(|note| **note != what);
        let note = note.map_or_else(String::new, |note| format!("; {note}"));
        format!("{what}{codes}{note}")
    }

    pub(super) fn render(mut self, of: &Report) -> Result<String, Error> {
        let mut report = quick_junit::Report::new(of.name.as_str());
        report.set_time(Duration::from_millis(of.duration_ms));
        report.timestamp = of
            .started
            .and_then(|started| started.to_string().parse().ok());
        for (load, at, outcome, message, by) in &self.others {
            let case = self.suites.get_mut(*load);
            let case = case.and_then(|suite| suite.test_cases.get_mut(*at));
            if let (Some(case), Some(why)) = (case, self.whys.get(by)) {
                case.status = status(*outcome, &format!("{message}: {why}"));
            }
        }
        for ((load, kind, outcome), count) in &self.summed {
            let kind = format::kind(kind);
            let name = format!("{kind}: {} {outcome}", format::records(*count));
            let mut case = TestCase::new(name, status(*outcome, &format::records(*count)));
            case.set_classname(kind);
            if let Some(suite) = self.suites.get_mut(*load as usize) {
                suite.add_test_case(case);
            }
        }
        report.add_test_suites(self.suites);
        report
            .to_string()
            .map_err(|e| Error::write(std::path::Path::new("junit.xml"), &e))
    }
}

fn status(outcome: Outcome, message: &str) -> TestCaseStatus {
    let mut status = match outcome {
        Outcome::Created
        | Outcome::Updated
        | Outcome::Unchanged
        | Outcome::Matched
        | Outcome::Duplicate => return TestCaseStatus::success(),
        Outcome::Rejected | Outcome::Blocked => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::Unknown | Outcome::Pending => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Unsupported => TestCaseStatus::skipped(),
    };
    if outcome != Outcome::Unsupported {
        status.set_type(outcome.as_str());
    }
    if !message.is_empty() {
        status.set_message(message);
    }
    status
}
