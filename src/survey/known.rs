//! Reads which ids earlier runs got, so that references to their records hold (design §9).

use std::{
    io::{BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;

use super::resources;
use crate::{diagnostic::Diagnostic, event::LoadId, manifest::LoadSettings, plan::graph::Graph};

/// A line of `ids.ndjson`.
#[derive(Deserialize)]
struct IdLine {
    target: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    url: Option<String>,
    assigned: String,
}

/// Takes what a load knows of earlier runs into the graph.
///
/// A run counts for the target of the same name.
pub(super) fn read(graph: &mut Graph, id: LoadId, load: &LoadSettings) -> Vec<Diagnostic> {
    load.known
        .iter()
        .filter_map(|path| file(graph, id, load, path).err().map(|problem| *problem))
        .collect()
}

fn file(
    graph: &mut Graph,
    id: LoadId,
    load: &LoadSettings,
    path: &Path,
) -> Result<(), Box<Diagnostic>> {
    let path = if path.is_dir() {
        path.join("ids.ndjson")
    } else {
        path.to_owned()
    };
    let failed = |why: String| {
        Diagnostic::error(format!(
            "load `{}`: cannot read the ids of an earlier run, {}: {why}",
            load.name,
            path.display()
        ))
        .hint("`known` takes the directory of a run, or a file that `stoker report RUN --format ids` has printed")
    };
    let failed = |why| Box::new(failed(why));
    let file = fs_err::File::open(&path).map_err(|e| failed(e.to_string()))?;
    for (number, line) in (1_u64..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|e| failed(e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let line: IdLine = serde_json::from_str(&line)
            .map_err(|e| failed(format!("line {number}, column {}: not an id", e.column())))?;
        if line.target == load.target {
            let (source, url) = (line.source.as_deref(), line.url.as_deref());
            resources::know(graph, id, source, url, &line.assigned);
        }
    }
    Ok(())
}
