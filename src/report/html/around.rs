//! The parts of a page besides the report: how the run went over time, what was planned, with which settings, at which
//! targets, in which sessions. Read from the directory of the run, and from nowhere else.

use std::time::Duration;

use crate::{
    journal::{Ending, JournalIndex, RunDirectory, Tally, format::SessionLine},
    manifest::{Auth, MaxErrors, Sync, TargetSettings},
    plan::{self, Forecast, PlanHeader, PlannedTarget, Summary, file::Saved},
    record::Operation,
    report::{Error, Report, format::sent},
    samples::{self, SamplesRead},
    target::Facts,
    unit::{ByteSize, display_duration, grouped, speed},
};

/// Records of a plan up to which its requests are counted for a page that is made anew: it takes a pass over the plan.
const COUNTED: u64 = 1_000_000;

/// The number of requests that were planned.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct Requests {
    count: u64,
    is_estimate: bool,
}

impl Requests {
    /// Takes the number from a forecast.
    pub(in crate::report) fn of(forecast: &Forecast) -> Self {
        Self {
            count: forecast.loads.iter().map(|load| load.requests).sum(),
            is_estimate: forecast.loads.iter().any(|load| load.is_estimate),
        }
    }

    /// Counts the requests of a plan; not those of a large one.
    pub(in crate::report) fn counted(plan: &Saved) -> Result<Option<Self>, Error> {
        if plan.summary.records() > COUNTED {
            return Ok(None);
        }
        Ok(Some(Self::of(&plan::forecast(plan, &|_| None)?)))
    }
}

/// The parts of a page besides the report.
#[derive(Debug)]
pub struct Around {
    pub(super) run: RunDirectory,
    /// The samples of the run; or the reason why there are none.
    pub(super) samples: Result<SamplesRead, String>,
    pub(super) header: PlanHeader,
    pub(super) summary: Summary,
    /// Requests that were planned; none where they were not counted.
    requests: Option<Requests>,
    pub(super) sessions: Vec<SessionBand>,
    /// It is known that the run goes on: there is nothing to be done next.
    pub(super) goes_on: bool,
}

/// A session of a run.
#[derive(Debug)]
pub(super) struct SessionBand {
    pub(super) line: SessionLine,
    pub(super) sending: Option<Duration>,
    /// The ending, in words.
    pub(super) end: &'static str,
    pub(super) is_well: bool,
}

/// A row of facts: what, and its value.
pub(super) type Row = (String, String);

impl Around {
    /// Reads what is told of a run.
    pub(in crate::report) fn of(
        run: &RunDirectory,
        plan: &Saved,
        history: &JournalIndex,
        requests: Option<Requests>,
    ) -> Self {
        let samples = match samples::read(run) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(format!(
                "This run has no {}: it is older than that, or has not begun to send.",
                samples::FILE
            )),
            Err(error) => Err(format!("{} cannot be read: {error}.", samples::FILE)),
        };
        let last = history.sessions.last().map(|session| session.number);
        let sessions = history.sessions.iter().map(|line| {
            let tally = history.tallies.get(&line.number);
            let end = history.ends.get(&line.number).map(|end| end.how);
            let (end, is_well) = ended(end, Some(line.number) == last);
            SessionBand {
                line: line.clone(),
                sending: tally.map(|tally: &Tally| Duration::from_millis(tally.elapsed_ms)),
                end,
                is_well,
            }
        });
        Self {
            run: run.clone(),
            samples,
            header: plan.header.clone(),
            summary: plan.summary.clone(),
            requests,
            sessions: sessions.collect(),
            goes_on: false,
        }
    }

    /// Takes note that the run goes on.
    pub(in crate::report) fn goes_on(&mut self) {
        self.goes_on = true;
        if let Some(last) = self.sessions.last_mut() {
            (last.end, last.is_well) = ("goes on", true);
        }
    }

    /// Returns the rows of plan and reality: what, planned, measured.
    pub(super) fn plan_and_reality(&self, report: &Report) -> Vec<[String; 3]> {
        let requests = match self.requests {
            Some(Requests {
                count,
                is_estimate: true,
            }) => format!("about {}", grouped(count)),
            Some(Requests { count, .. }) => grouped(count),
            None => format!("not counted beyond {} records", grouped(COUNTED)),
        };
        let from_history = match report.from_history {
            0 => String::new(),
            count => format!("; {} had been loaded by earlier runs", grouped(count)),
        };
        let rates: Vec<_> = self.rates().map(|(_, rate, _)| rate).collect();
        let least = self.rates().filter_map(|(_, _, time)| time).max();
        let measured = report.records_per_second;
        let sending = Duration::from_millis(report.sending_ms);
        let failed = report.records - report.outcomes.well();
        let row =
            |what: &str, planned: String, measured: String| [what.to_owned(), planned, measured];
        vec![
            row(
                "Records",
                format!("{} to send", grouped(self.summary.sent())),
                format!(
                    "{} loaded, {} not{from_history}",
                    grouped(report.outcomes.well()),
                    grouped(failed)
                ),
            ),
            row(
                "Requests that write",
                requests,
                format!(
                    "{}, {} of them repeated",
                    sent(&report.requests),
                    grouped(report.requests.retries)
                ),
            ),
            row(
                "Time to send",
                least.map_or(
                    "no rate is set: as fast as the target takes it".to_owned(),
                    |time| {
                        format!(
                            "at least {} at the rate that is set",
                            display_duration(time)
                        )
                    },
                ),
                display_duration(sending),
            ),
            row(
                "Rate",
                if rates.is_empty() {
                    "no limit is set".to_owned()
                } else {
                    format!("at most {}", rates.join(", "))
                },
                measured.map_or("nothing was measured".to_owned(), |rate| {
                    format!("{} records/s", speed(rate))
                }),
            ),
            row(
                "Bytes",
                format!(
                    "{} of records",
                    ByteSize(self.summary.loads.iter().map(|load| load.bytes).sum())
                ),
                format!("{} sent", ByteSize(report.requests.bytes_sent)),
            ),
        ]
    }

    /// Returns the targets that have a rate, with it, and how long their loads take at the least.
    fn rates(&self) -> impl Iterator<Item = (&str, String, Option<Duration>)> {
        self.header.targets.iter().filter_map(|target| {
            let settings = &target.settings;
            let rate = settings.rate?;
            let loads = self.header.loads.iter().zip(&self.summary.loads);
            let records: u64 = loads
                .filter(|(load, _)| load.target == settings.name)
                .map(|(_, totals)| totals.sent())
                .sum();
            let windows = records as f64 / f64::from(rate.amount.get());
            let time = Duration::try_from_secs_f64(rate.window.duration().as_secs_f64() * windows);
            Some((settings.name.as_str(), rate.to_string(), time.ok()))
        })
    }

    /// Returns the settings that held for the run.
    pub(super) fn settings(&self) -> Vec<Row> {
        let run = &self.header.run;
        let row = |what: &str, value: String| (what.to_owned(), value);
        let errors = match run.max_errors {
            None => "none: failures do not stop the run".to_owned(),
            Some(MaxErrors::Count(count)) => grouped(count),
            Some(MaxErrors::Percent(percent)) => format!("{percent}%"),
        };
        let sync = match run.journal {
            Sync::None => "none",
            Sync::Group => "group",
            Sync::Always => "always",
        };
        let mut rows = vec![
            row("max_errors", errors),
            row("memory", run.memory.to_string()),
            row("journal.sync", sync.to_owned()),
        ];
        for load in &self.header.loads {
            let mut words = vec![format!("into {}", load.target)];
            let interaction = load.interaction.map(Operation::as_str);
            words.extend(interaction.map(|word| format!("interaction {word}")));
            if load.compare {
                words.push("compare".to_owned());
            }
            if !load.after.is_empty() {
                words.push(format!("after {}", load.after.join(", ")));
            }
            rows.push((format!("load {}", load.name), words.join(", ")));
        }
        rows
    }
}

/// Returns what is set for a target, and the facts that the plan relied on. No header and no secret is among them.
pub(super) fn of_target(target: &PlannedTarget) -> Vec<Row> {
    let PlannedTarget { settings, facts } = target;
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |what: &str, value: String| rows.push((what.to_owned(), value));
    row("store", settings.store.describe());
    row("credentials", credentials(settings).to_owned());
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| "none".to_owned());
    row("rate", limit(settings.rate.map(|rate| rate.to_string())));
    row(
        "bytes_rate",
        limit(settings.bytes_rate.map(|rate| {
            let window = display_duration(rate.window.duration());
            format!("{} in {window}", ByteSize(rate.amount.get().into()))
        })),
    );
    let slots = settings.concurrency;
    row(
        "concurrency",
        if slots.min == slots.max {
            format!("{}, fixed", slots.max)
        } else {
            format!("{} to {}, as the target takes it", slots.min, slots.max)
        },
    );
    row("timeout", display_duration(settings.timeout));
    row(
        "retry",
        format!(
            "{} attempts, waits from {} to {}",
            settings.retry.attempts,
            display_duration(settings.retry.base),
            display_duration(settings.retry.max)
        ),
    );
    row("give_up_after", display_duration(settings.give_up_after));
    rows.extend(facts_of(facts));
    rows
}

fn credentials(settings: &TargetSettings) -> &'static str {
    match settings.auth {
        Auth::None => "none",
        Auth::Google { .. } => "Google",
        Auth::Bearer(_) => "bearer",
        Auth::Basic { .. } => "basic",
    }
}

fn facts_of(facts: &Facts) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |what: &str, value: String| rows.push((format!("fact: {what}"), value));
    row(
        "where from",
        if facts.assumed {
            "assumed: documented of its kind, the target was not asked"
        } else {
            "the target said so"
        }
        .to_owned(),
    );
    if facts.missing {
        row("store", "did not exist, and was to be created".to_owned());
    }
    if let Some(version) = &facts.version {
        row("version of its protocol", version.clone());
    }
    let known = [
        ("update creates", facts.update_create),
        ("conditional create", facts.conditional_create),
        ("conditional update", facts.conditional_update),
        ("transactions", facts.transaction),
        ("batches", facts.batch),
        ("refuses dangling references", facts.integrity),
    ];
    for (what, known) in known {
        if let Some(known) = known {
            row(what, if known { "yes" } else { "no" }.to_owned());
        }
    }
    if let Some(types) = &facts.types {
        row("resource types", grouped(types.len() as u64));
    }
    let limits = &facts.limits;
    let counts = [
        ("entries of a transaction", limits.transaction_entries),
        ("entries of a batch", limits.batch_entries),
    ];
    for (what, limit) in counts {
        if let Some(limit) = limit {
            row(what, format!("at most {}", grouped(limit.into())));
        }
    }
    let sizes = [
        ("size of a request", limits.request_bytes),
        ("size of a record", limits.resource_bytes),
    ];
    for (what, limit) in sizes {
        if let Some(limit) = limit {
            row(what, format!("at most {}", ByteSize(limit)));
        }
    }
    rows
}

/// Says how a session ended.
fn ended(how: Option<Ending>, is_last: bool) -> (&'static str, bool) {
    match how {
        Some(Ending::Complete) => ("complete", true),
        Some(Ending::Interrupted) => ("interrupted", false),
        Some(Ending::MaxErrors) => ("stopped: too many records failed", false),
        Some(Ending::Target) => ("stopped: the target failed", false),
        Some(Ending::Source) => ("stopped: a source could not be read", false),
        Some(Ending::Internal) => ("stopped: a bug in Stoker", false),
        Some(Ending::Superseded) => ("taken over by a later load", true),
        None if is_last => ("its end is not known: killed, or still going on", false),
        None => ("killed: a later session went on", false),
    }
}
