//! The check of a load against the facts of its target: they rule out some of it, or make it doubtful.

use super::{LoadSummary, PlanHeader, PlannedTarget, Summary};
use crate::{diagnostic::Diagnostic, manifest::LoadSettings, record::Operation, target::Facts};

/// The number of types that are named; more are counted.
const NAMED: usize = 5;

/// Says what comparing costs, where a load asks for it.
fn compared(load: &LoadSettings, facts: &Facts, totals: &LoadSummary) -> Option<String> {
    let count = |interaction: Operation| {
        let count = totals.interactions.get(interaction.as_str());
        count.copied().unwrap_or_default()
    };
    let (updates, conditional) = (
        count(Operation::Update),
        count(Operation::ConditionalUpdate),
    );
    if !load.compare || updates + conditional == 0 {
        return None;
    }
    let mut what = format!(
        "load `{}` compares (`compare: true`): each of {} records is read before it is sent",
        load.name,
        updates + conditional
    );
    if conditional > 0 {
        what.push_str(", and searched for where it goes by a condition");
    }
    if load.packaging.kind.is_none() && facts.batch == Some(true) {
        what.push_str("; each travels by itself, where batches would be filled without it");
    }
    if totals.groups > 0 {
        what.push_str("; transactions are sent whole, without comparing");
    }
    Some(what)
}

/// Looks at every load. Errors are returned, warnings go into the summary.
pub(crate) fn check(header: &PlanHeader, summary: &mut Summary) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    for (load, totals) in header.loads.iter().zip(&summary.loads) {
        let Some(target) = header
            .targets
            .iter()
            .find(|target| target.settings.name == load.target)
        else {
            continue;
        };
        let facts = &target.facts;
        for problem in differing(target) {
            if !errors.contains(&problem) {
                errors.push(problem);
            }
        }
        let count = |interaction: Operation| {
            let count = totals.interactions.get(interaction.as_str());
            count.copied().unwrap_or_default()
        };
        // A server that does not know the condition ignores it, and then a second run doubles everything.
        for (interaction, honoured) in [
            (Operation::ConditionalCreate, facts.conditional_create),
            (Operation::ConditionalUpdate, facts.conditional_update),
        ] {
            let records = count(interaction);
            if records > 0 && honoured == Some(false) {
                errors.push(
                    Diagnostic::error(format!(
                        "load `{}` holds {records} records to be sent by {interaction}, and target `{}` says that it does not know it",
                        load.name, load.target
                    ))
                    .hint("use `create`, or `update` where the files' ids may stay"),
                );
            }
        }
        let updates = count(Operation::Update);
        if updates > 0 && facts.update_create == Some(false) {
            warnings.push(format!(
                "load `{}` holds {updates} updates, and target `{}` creates nothing by PUT (updateCreate is off): a record whose id it does not hold is refused",
                load.name, load.target
            ));
        }
        warnings.extend(compared(load, facts, totals));
        if updates > 0 && !facts.versioned_update.is_empty() {
            let types = match facts.versioned_update.as_slice() {
                types if types.len() > NAMED => format!("{} types", types.len()),
                types => types.join(", "),
            };
            let warning = format!(
                "target `{}` takes an update of {types} only with the version that it replaces: each of those records is read before it is sent",
                load.target
            );
            // It is the target's, and said once for all loads that are bound for it.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        if let Some(warning) = facts.foreign(&load.target)
            && !warnings.contains(&warning)
        {
            warnings.push(warning);
        }
    }
    summary.warnings.extend(warnings);
    errors
}

/// Names the fields in which an existing store is not what the manifest wants. Stoker makes stores, and changes none.
pub(crate) fn differing(target: &PlannedTarget) -> Vec<Diagnostic> {
    let name = &target.settings.name;
    let key = if target.settings.store.is_local() {
        "store"
    } else {
        "ensure"
    };
    let problem = |difference: &crate::target::google::SettingDifference| {
        let found = match &difference.found {
            Some(found) => format!("the store has {found}"),
            None => "the store has nothing there".to_owned(),
        };
        let problem = Diagnostic::error(format!(
            "target `{name}`: `{key}` wants {} to be {}, and {found}",
            difference.field, difference.wanted
        ));
        problem.hint(if difference.is_fixed() {
            format!("that can only be chosen when a store is made: name another store, or mend `{key}`")
        } else {
            format!("Stoker changes no store that exists: change it yourself, name another, or mend `{key}`")
        })
    };
    target.facts.differs.iter().map(problem).collect()
}
