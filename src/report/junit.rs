//! `junit.xml`, for the systems that run loads: one test suite a load.
//!
//! Up to [`CASES`] records of a run have a test case each. Beyond that, records that ended well are summed up in one
//! case a type, and only the first [`CASES`] others have their own, so that neither memory nor the file grows with
//! the input. `rejected` and `blocked` are failures, `unknown` and `pending` errors, `unsupported` is skipped.

use std::{collections::BTreeMap, time::Duration};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Error, Report, text, walk::Record};
use crate::{plan::file::Saved, record::Outcome};

/// How many records have a test case of their own. The systems that show JUnit files become slow beyond.
pub(super) const CASES: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Junit {
    suites: Vec<TestSuite>,
    /// Whether records that ended well are summed up.
    large: bool,
    /// How many test cases other records may still have.
    left: u64,
    /// Records without a test case of their own, by load, type and outcome.
    summed: BTreeMap<(u32, String, Outcome), u64>,
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
        let name = format!("{} {}", step.position.display(file), text::kind(&step.kind));
        let message = [
            record.status.map(|status| status.to_string()),
            record.code.clone(),
            (!record.expression.is_empty()).then(|| format!("at {}", record.expression.join(", "))),
            record.note.clone(),
        ];
        let message: Vec<_> = message.into_iter().flatten().collect();
        let mut case = TestCase::new(name.trim_end(), status(record.outcome, &message.join(" ")));
        case.set_classname(text::kind(&step.kind));
        if let Some(latency) = record.latency_us {
            case.set_time(Duration::from_micros(latency));
        }
        if let Some(suite) = self.suites.get_mut(step.load.0 as usize) {
            suite.add_test_case(case);
        }
    }

    pub(super) fn render(mut self, of: &Report) -> Result<String, Error> {
        let mut report = quick_junit::Report::new(of.name.as_str());
        report.set_time(Duration::from_millis(of.duration_ms));
        report.timestamp = of
            .started
            .and_then(|started| started.to_string().parse().ok());
        for ((load, kind, outcome), count) in &self.summed {
            let kind = text::kind(kind);
            let name = format!("{kind}: {} {outcome}", text::records(*count));
            let mut case = TestCase::new(name, status(*outcome, &text::records(*count)));
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
