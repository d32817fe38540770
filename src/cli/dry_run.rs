//! `stoker load --dry-run`: a load whose last stage sends nothing, carried out in a directory that is gone afterwards.
//!
//! Records that earlier runs have loaded are looked up, Bundles are filled, every request is built, with the references
//! to records of the run rewritten to ids that are made up. A record whose request could not be built, or would be
//! refused before it is sent, is named with its place.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    Context, Error, Exit,
    prior_runs::{Consulted, Purpose},
    session::{Opened, Session, reads_of},
    summary::exit_of,
};
use crate::{
    diagnostic::{Diagnostic, TextPosition},
    journal::{Ending, Journal, Ledger as _, format},
    manifest::Sync,
    plan,
    report::{self, Problem, Report},
    send::{self, Earlier, RequestCounts},
    unit::{ByteSize, grouped},
};

/// Does everything but send.
pub(super) async fn run(carry: &Session<'_>, state: &Path, fresh: bool) -> Result<Exit, Error> {
    let Opened { saved, bodies } = carry.open()?;
    let Context { printer, .. } = carry.context;
    let mut links = HashMap::new();
    for (name, connection) in carry.connections {
        let link = connection.dry_run_link(saved.largest_request(name))?;
        links.insert(name.clone(), link);
    }
    let session = format::SessionLine {
        number: 1,
        started: jiff::Timestamp::now(),
    };
    let journal = Journal::open(carry.run, Sync::None, session, None).map_err(Error::disk)?;
    let journal = Arc::new(journal);
    let asked = Consulted {
        state,
        saved: &saved,
        links: &links,
        journal: &journal,
        run: carry.run,
        purpose: Purpose::DryRun,
    };
    let asked = asked.ask(Earlier::default(), fresh, printer).await?;
    let outcome = |record| asked.earlier.outcome(record);
    let mut forecast = plan::forecast(&saved, &outcome).map_err(Error::disk)?;
    forecast.samples = asked.reads;
    let counts = Arc::new(RequestCounts::default());
    let reads = reads_of(&links);
    let setup = carry.setup(&saved, &bodies, links, &journal, asked.earlier, &counts);
    let ended = send::run(setup).await.map_err(|error| match error {
        send::Error::Internal(_) => Error::internal(error),
        send::Error::Journal(_) | send::Error::Plan(_) | send::Error::Source(_) => {
            Error::disk(error).hint("nothing was sent")
        }
    })?;
    let tally = counts.tally(0, reads());
    journal.tally(tally.clone()).await.map_err(Error::disk)?;
    let end = format::EndLine {
        session: 1,
        at: jiff::Timestamp::now(),
        how: ended.how,
        reason: ended.reason.clone(),
    };
    journal.end(end).await.map_err(Error::disk)?;
    let reported = report::of(carry.run).map_err(Error::disk)?;
    let text = plan::text::text(&saved.header, &saved.summary, &forecast);
    printer.result(&text);
    printer.result(&format!(
        "dry run: {} with {} built, none sent{}",
        requests(tally.requests),
        ByteSize(tally.bytes_sent),
        match tally.reads {
            0 => String::new(),
            reads => format!("; {} made", plan::text::plural(reads, "read")),
        }
    ));
    printer.problems(&problems(&reported));
    if ended.how == Ending::Interrupted {
        return Err(Error::new(
            Exit::Interrupted,
            "interrupted; nothing was sent",
        ));
    }
    if let Some(reason) = ended.reason {
        let mut problem = Diagnostic::error(reason);
        problem.hints.extend(ended.hint);
        printer.problems(&[problem]);
    }
    Ok(exit_of(&reported))
}

fn requests(count: u64) -> String {
    let word = if count == 1 { "request" } else { "requests" };
    format!("{} {word}", grouped(count))
}

/// Names what would not arrive, but for what the plan names already.
fn problems(reported: &Report) -> Vec<Diagnostic> {
    let is_new = |problem: &&Problem| problem.outcome != "unsupported";
    let found = reported.problems.iter().filter(is_new);
    found
        .filter_map(|problem| {
            let first = problem.examples.first()?;
            let more = match problem.records {
                0 | 1 => String::new(),
                records => format!(" (and {} more like it)", grouped(records - 1)),
            };
            let note = first.note.as_deref().unwrap_or("it would not be sent");
            let what = format!(
                "would be {}: {}: {note}{more}",
                problem.outcome, problem.kind
            );
            Some(Diagnostic::error(what).at(TextPosition {
                file: first.file.clone().into(),
                line: usize::try_from(first.line).unwrap_or(usize::MAX),
                column: 1,
                length: 1,
            }))
        })
        .collect()
}
