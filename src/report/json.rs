//! `report.json`, and the JSON Schema that documents it.

use super::Report;

/// Renders a report as indented JSON with a line break at its end.
pub fn render(report: &Report) -> String {
    // A report holds nothing that JSON cannot express: its only float is finite.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

/// Renders the JSON Schema of `report.json`; a copy is kept in `resources/report.schema.json`.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Report);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
