//! Writes a manifest that loads rejected records again, with the settings of the run that they come from.
//!
//! It is written in the manifest's own shape (design §8) from the settings that the plan holds: these name the places
//! of secrets and hold none, and their paths do not depend on where this manifest stands. `target` and `load` hold the shape
//! of each, `value` renders paths, durations and JSON.

mod load;
mod target;
mod value;

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use serde_yaml::Value;

use self::{
    load::{Load, load},
    target::{Target, target},
    value::{escaped, shown},
};
use crate::{
    manifest::{LoadSettings, TargetSettings},
    record::Operation,
};

/// The parts of which the manifest is made.
#[derive(Debug, Clone, Copy)]
pub struct Skeleton<'a> {
    /// The name of the manifest whose records were rejected.
    pub name: &'a str,
    /// The directory of its state, if it names one.
    pub state: Option<&'a Path>,
    /// The targets of the manifest.
    pub targets: &'a [&'a TargetSettings],
    /// The loads of the manifest.
    pub loads: &'a [LoadSettings],
}

/// The part of a load that is loaded again.
#[derive(Debug, Clone)]
pub struct Again {
    /// The load, by its place.
    pub load: usize,
    /// The globs of its files.
    pub files: Vec<String>,
    /// The store holds the records already, and they are updated.
    pub standing: bool,
}

#[derive(Serialize)]
struct Manifest {
    version: u32,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    targets: BTreeMap<String, Target>,
    loads: Vec<Load>,
}

impl Skeleton<'_> {
    /// Renders the manifest for the loads that have rejected records; `path` is what people type for it.
    ///
    /// # Errors
    ///
    /// When it cannot be put into YAML.
    pub fn render(&self, loads: &[Again], path: &str) -> Result<String, serde_yaml::Error> {
        let chosen: Vec<_> = loads
            .iter()
            .filter_map(|again| Some((self.loads.get(again.load)?, again)))
            .collect();
        let is_chosen = |name: &String| {
            let mut chosen = chosen.iter();
            chosen.any(|(load, again)| load.name == *name && !again.standing)
        };
        let targets = self.targets.iter().copied();
        let manifest = Manifest {
            version: 1,
            name: format!("{}-rejected", self.name),
            state: self.state.map(shown),
            targets: targets
                .filter(|target| chosen.iter().any(|(load, _)| load.target == target.name))
                .map(|settings| (settings.name.clone(), target(settings)))
                .collect(),
            loads: chosen
                .iter()
                .map(|(settings, again)| {
                    let mut load = load(settings);
                    load.after.retain(is_chosen);
                    load.files.extend(again.files.iter().cloned());
                    if again.standing {
                        load.name.push_str("-standing");
                        load.interaction = Some(Operation::Update.as_str());
                    }
                    load
                })
                .collect(),
        };
        let text = serde_yaml::to_value(&manifest)
            .map(|value| self.with_headers(escaped(value)))
            .and_then(|manifest| serde_yaml::to_string(&manifest))?;
        Ok(format!(
            "# Loads the records that were rejected: mend the files beside this one, then\n#   stoker load {path}\n\
             # What the server said of each stands in `answers.ndjson`.\n{text}"
        ))
    }

    /// Puts the headers in again as they are written: their variables have not been filled in.
    fn with_headers(&self, mut manifest: Value) -> Value {
        for settings in self.targets {
            let mut target = manifest
                .get_mut("targets")
                .and_then(|targets| targets.get_mut(settings.name.as_str()));
            for (name, written) in &settings.headers {
                if let Some(value) = target
                    .as_deref_mut()
                    .and_then(|target| target.get_mut("headers")?.get_mut(name.as_str()))
                {
                    *value = Value::from(written.as_str());
                }
            }
        }
        manifest
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Again, Skeleton};
    use crate::manifest::{self, LoadSettings, TargetSettings};

    /// Reads a manifest that stands in `folder`.
    fn read(text: &str, folder: &Path) -> manifest::Manifest {
        manifest::read_text(text, &folder.join("m.yaml"), &|_| None)
            .unwrap()
            .0
    }

    /// Renders the manifest of rejected records of a manifest's first load.
    fn rejected(manifest: &manifest::Manifest, path: &Path) -> String {
        let targets: Vec<&TargetSettings> = manifest.targets.iter().collect();
        let skeleton = Skeleton {
            name: &manifest.name,
            state: manifest.run.state.as_deref(),
            targets: &targets,
            loads: &manifest.loads,
        };
        let again = Again {
            load: 0,
            files: vec!["people.ndjson".to_owned()],
            standing: false,
        };
        skeleton
            .render(&[again], &path.display().to_string())
            .unwrap()
    }

    #[test]
    fn bundles_and_references_are_carried_over_and_the_run_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/now");
        let below = run.join("rejected");
        fs_err::create_dir_all(&below).unwrap();
        fs_err::create_dir_all(dir.path().join("earlier")).unwrap();
        for ids in [
            run.join("ids.ndjson"),
            dir.path().join("earlier/ids.ndjson"),
        ] {
            fs_err::write(ids, "").unwrap();
        }
        for load in [
            "known: [earlier, earlier/ids.ndjson]",
            "bundle: none, duplicates: ignore, transactions: refuse",
            "bundle: { type: transaction, max_entries: 7, max_bytes: 1500001 }, versioned: keep",
            "transactions: keep, duplicates: error",
            "bundle: { max_bytes: 2 MB }, duplicates: last, known: earlier",
            "compare: true, interaction: update",
            "target: pictures, compare: bytes, duplicates: verify",
            "target: pictures, duplicates: replace",
        ] {
            let target = if load.contains("target") {
                ""
            } else {
                "target: a, "
            };
            let text = format!(
                "version: 1\ntargets: {{ a: {{ local: s }}, pictures: {{ local: {{ dir: s, dicom_store: d }} }} }}\nloads: [{{ name: a, files: x, {target}{load} }}]\n"
            );
            let first = read(&text, dir.path());
            let text = rejected(&first, &below.join("manifest.yaml"));
            let again = read(&text, &below);
            let (LoadSettings { known: before, .. }, LoadSettings { known: after, .. }) =
                (&first.loads[0], &again.loads[0]);
            assert_eq!(Some(after[0].as_path()), below.parent(), "{text}");
            assert_eq!(after[1..], before[..], "{text}");
            let expected = LoadSettings {
                files: again.loads[0].files.clone(),
                known: after.clone(),
                ..first.loads[0].clone()
            };
            assert_eq!(again.loads[0], expected, "{text}");
        }
    }
}
