//! The records of others that refer to what is about to be deleted, as the stores tell before anybody decides.

use std::{collections::HashMap, fmt::Write as _};

use serde::Serialize;

use super::{Context, Error, How, Observed, Opened, connect, failed, stores, unless_stopped};
use crate::{
    diagnostic::Diagnostic,
    report::format::plain,
    send::Stop,
    unit::grouped,
    unload::{Referred, ReferredTo, Unload},
};

use super::{super::watching::AtWork, records};

/// The stores' answers, for programs.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    asked: u64,
    of: u64,
    whole: bool,
    records: u64,
    others: Vec<Others<'a>>,
    named: &'a [ReferredTo],
    untold: &'a std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Others<'a> {
    target: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    count: u64,
}

impl<'a> Told<'a> {
    pub(super) fn of(referred: &'a Referred) -> Self {
        let others = referred.others.iter();
        Self {
            asked: referred.asked,
            of: referred.of,
            whole: !referred.is_cut && referred.asked == referred.of,
            records: referred.count,
            others: others
                .map(|((target, kind), count)| Others {
                    target,
                    kind,
                    count: *count,
                })
                .collect(),
            named: &referred.named,
            untold: &referred.untold,
        }
    }
}

impl Opened {
    /// Asks the stores what refers to what is about to be deleted, where somebody decides by that. `goes` tells of a record of
    /// a store whether it is deleted as well. A store that cannot be asked is no reason to show nothing.
    pub(in crate::cli) async fn ask_for_others(
        &self,
        how: How,
        goes: &(dyn Fn(&str, &str, &str) -> bool + Sync),
        stop: &Stop,
        context: Context,
    ) -> Result<Option<Referred>, Error> {
        let is_open = how.dry_run || !how.yes && super::can_be_asked();
        if !is_open || self.draft.records() == 0 {
            return Ok(None);
        }
        let at_work = AtWork::begin(
            context.printer,
            "asking the stores what refers to these records",
        );
        let names = self.draft.targets(false);
        let (mut connections, mut untold) = (HashMap::new(), Vec::new());
        let (mut open, nobody) = (HashMap::new(), Observed::nobody());
        for name in &names {
            let one = std::slice::from_ref(name);
            let asked = async {
                let connected = stores::connect(&self.saved.header, one).await?;
                match stores::of(&self.saved.header, one, &connected, 0, &nobody).await {
                    Ok(stores) => Ok((connected, stores)),
                    Err(error) => {
                        connect::close_all(connected).await;
                        Err(error)
                    }
                }
            };
            match unless_stopped(stop, asked).await {
                Ok((connected, stores)) => {
                    connections.extend(connected);
                    open.extend(stores);
                }
                Err(error) if stop.is_stopping() => {
                    connect::close_all(connections).await;
                    return Err(error);
                }
                Err(error) => untold.push(((*name).to_owned(), reason(name, &error))),
            }
        }
        let unload = Unload {
            plan: &self.saved,
            history: &self.history,
            draft: &self.draft,
            stores: &open,
            changed: how.changed,
            restores: how.restore,
            done: &nobody,
        };
        let asked = async { unload.referred(goes).await.map_err(failed) };
        let asked = unless_stopped(stop, asked).await;
        connect::close_all(connections).await;
        drop(at_work);
        let mut referred = asked?;
        referred.untold.extend(untold);
        Ok(Some(referred))
    }
}

/// Returns the reason why a target cannot be asked; its name stands before it anyway.
fn reason(target: &str, error: &Error) -> String {
    let problem = error.problems.first();
    let text = problem.map_or("it cannot be reached", |problem| &problem.message);
    let own = format!("target `{target}`: ");
    text.strip_prefix(&own).unwrap_or(text).to_owned()
}

/// Says it.
pub(super) fn text(referred: &Referred, text: &mut String) {
    let Referred {
        asked,
        of,
        others,
        count,
        named,
        ..
    } = referred;
    let asked = match *asked {
        0 => return,
        asked if asked == *of => format!("all {} were asked about", grouped(*of)),
        asked => format!("{} of {} were asked about", grouped(asked), grouped(*of)),
    };
    let others: u64 = others.values().sum();
    let least = if referred.is_cut { "at least " } else { "" };
    // Writing to a string cannot fail.
    let _ = match others {
        0 => writeln!(text, "\nNothing else refers to them ({asked})."),
        _ => writeln!(
            text,
            "\n{least}{} that the run did not create {} to {} of them ({asked}):",
            records(others),
            if others == 1 { "refers" } else { "refer" },
            grouped(*count)
        ),
    };
    for referred in named {
        let by = referred.by.iter();
        let by: Vec<String> = by
            .map(|(kind, count)| format!("{} {}", grouped(*count), plain(kind)))
            .collect();
        let _ = writeln!(
            text,
            "    {}  {}  referred to by {}",
            referred.place,
            plain(&referred.kind),
            by.join(", ")
        );
    }
    let more = count.saturating_sub(named.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "    and {} more", grouped(more));
    }
}

/// Says what nobody knows, and what is deleted although others refer to it.
pub(super) fn problems(referred: &Referred, context: Context) {
    let untold = referred.untold.iter().map(|(target, why)| {
        let what =
            format!("target `{target}` is not asked what else refers to the records: {why}");
        Diagnostic::warning(what).hint(
            "a store that checks references refuses to delete what others refer to (409): that stays, and is named then",
        )
    });
    let unchecked = referred.unchecked.iter().map(|target| {
        let what = format!(
            "target `{target}` does not check references: what others refer to is deleted all the same, and they refer to nothing then"
        );
        Diagnostic::warning(what)
    });
    let all: Vec<Diagnostic> = untold.chain(unchecked).collect();
    context.printer.problems(&all);
}
