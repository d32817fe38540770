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
    work::Work,
};
use crate::{journal::Settlement, plan::Step, record::Outcome};
use request::{carry_all, carry_split};

mod parts;
mod request;

/// Carries one request to its end and hands over what became of its records.
pub(super) async fn carry(
    load: Arc<LoadContext>,
    work: Work,
    ready: Option<OwnedSemaphorePermit>,
) -> Result<(), Error> {
    let mut sender = ResultSender::new(&load, &work);
    match send(&load, work, ready, &mut sender).await {
        Ok(settlements) => {
            sender.send_result(settlements, None).await;
            Ok(())
        }
        Err(error) => {
            load.setup.stop.fail();
            Err(error)
        }
    }
}

async fn send(
    load: &LoadContext,
    work: Work,
    ready: Option<OwnedSemaphorePermit>,
    sender: &mut ResultSender<'_>,
) -> Result<Vec<Settlement>, Error> {
    if let Some(by) = &work.blocked {
        let note = format!("it needs {}", by.needed);
        let blocked = |step: &Step| {
            let attempted = Attempted::default();
            let note = note.clone();
            let mut settled =
                settlement::told(step.number, Outcome::Blocked, None, attempted, note);
            settled.line.by = Some(by.record);
            settled
        };
        return Ok(work.steps.iter().map(blocked).collect());
    }
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
    Ok(Vec::new())
}
