//! Carries one request to its end: what is known already is settled, the rest is sent, what was refused as a whole is taken
//! apart, what is in doubt is asked about, and what is left is sent again.
//!
//! Here stands what is settled before anything is sent. `request` sends, `parts` sorts the entries of a transaction that goes
//! in parts.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Error,
    context::LoadContext,
    in_doubt, references,
    results::ResultSender,
    settlement::{self, Attempted},
    skip_unchanged,
    too_large::is_split,
    work::{Blocked, Job, Work},
};
use crate::{plan::Step, record::Outcome};
use request::{carry_all, carry_split};

mod parts;
mod request;

/// Carries a request to its end, or blocks its records, and hands over what became of them.
pub(super) async fn carry(
    load: Arc<LoadContext>,
    job: Job,
    ready: Option<OwnedSemaphorePermit>,
) -> Result<(), Error> {
    let (work, stands) = match job {
        Job::Send(work) => (work, None),
        Job::Second(work, stands) => (work, Some(stands)),
        Job::Block(blocked) => {
            block(&load, &blocked).await;
            return Ok(());
        }
    };
    let mut sender = ResultSender::new(&load, &work, stands);
    let sent = send(&load, work, ready, &mut sender).await;
    if sent.is_err() {
        load.setup.stop.fail();
    }
    sent
}

/// Settles records that cannot be sent.
async fn block(load: &LoadContext, blocked: &Blocked) {
    let note = format!("it needs {}", blocked.by.needed);
    let settle = |step: &Step| {
        let (attempted, note) = (Attempted::default(), note.clone());
        let mut settled = settlement::told(step.number, Outcome::Blocked, None, attempted, note);
        settled.line.by = Some(blocked.by.record);
        settled
    };
    let settled = blocked.steps.iter().map(settle).collect();
    let mut sender = ResultSender::blocked(load, blocked);
    sender.send_result(settled, None).await;
}

async fn send(
    load: &LoadContext,
    work: Work,
    ready: Option<OwnedSemaphorePermit>,
    sender: &mut ResultSender<'_>,
) -> Result<(), Error> {
    // Settling some records below may leave a single one, which refers to others of a transaction that went in parts.
    let was_split = is_split(&work);
    let (work, settled, held) = skip_unchanged::compare(load, work).await;
    sender.send_result(settled, None).await;
    let (work, settled) = references::look_up(load, work).await?;
    sender.send_result(settled, None).await;
    let was_whole = work.atomic;
    let (work, settled) = in_doubt::settle_earlier(load, work).await?;
    // The records that are left may refer to those just found: the references are written here, from what is known
    // here, for the settler may not have told the others yet.
    let names_found = !settled.is_empty() && sender.is_watched();
    sender.send_result(settled, None).await;
    if was_split || is_split(&work) || !work.atomic && (was_whole || names_found) {
        // An earlier session began to send it in parts.
        carry_split(load, work, sender, &held, false).await?;
    } else if !work.steps.is_empty() {
        carry_all(load, work, ready, sender, &held).await?;
    }
    Ok(())
}
