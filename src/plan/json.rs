//! A plan as machines read it.

use serde_json::json;

use super::{Forecast, PlanHeader, Summary, text::to_send};

/// Renders a plan for machines.
pub fn render(header: &PlanHeader, summary: &Summary, forecast: &Forecast) -> serde_json::Value {
    let loads: Vec<_> = header
        .loads
        .iter()
        .zip(&summary.loads)
        .zip(&forecast.loads)
        .map(|((load, totals), found)| {
            let types: serde_json::Map<_, _> = totals
                .types
                .iter()
                .map(|(kind, (records, bytes))| {
                    (kind.clone(), json!({ "records": records, "bytes": bytes }))
                })
                .collect();
            json!({
                "name": load.name,
                "target": load.target,
                "after": load.after,
                "files": totals.files,
                "records": totals.records,
                "bytes": totals.bytes,
                "largest_record": totals.largest_record,
                "requests": found.requests,
                "requests_estimated": found.is_estimate,
                "reads": found.reads(),
                "unchanged": found.loaded.saturating_sub(found.strayed),
                "left_alone": found.strayed,
                "elsewhere": found.elsewhere,
                "interactions": totals.interactions,
                "types": types,
                "bundles": totals.groups,
                "largest_bundle": totals.largest_group,
                "unsupported": totals.unsupported,
                "duplicates": totals.duplicates,
                "blocked": totals.blocked,
                "cycles": totals.cycles,
                "two_steps": totals.two_steps,
                "left_out": totals.left_out,
                "sent": totals.sent().saturating_sub(found.loaded + found.elsewhere),
            })
        })
        .collect();
    let targets: serde_json::Map<_, _> = header
        .targets
        .iter()
        .map(|t| {
            let place = t.settings.store.describe();
            (
                t.settings.name.clone(),
                json!({ "store": place, "facts": t.facts }),
            )
        })
        .collect();
    json!({
        "plan": super::VERSION,
        "name": header.name,
        "created": header.created,
        "targets": targets,
        "loads": loads,
        "records": summary.records(),
        "unsupported": summary.unsupported(),
        "sent": to_send(summary, forecast),
        "unchanged": forecast.loaded().saturating_sub(forecast.strayed()),
        "left_alone": forecast.strayed(),
        "elsewhere": forecast.elsewhere(),
        "unchanged_assumed": forecast.is_assumed,
        "samples": forecast.samples,
        "references": summary.references,
        "warnings": summary.warnings,
    })
}
