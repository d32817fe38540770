//! The stores that loads have made because the manifest says `ensure`: noted, so that `reset --stores` deletes no others.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Error, connect::Connection};
use crate::{journal, plan::PlanHeader};

/// A store that a load has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeStore {
    /// The place that tells the store from all others.
    pub(super) place: String,
    /// The store's resource name.
    pub(super) name: String,
    /// The target by which the store was made.
    pub(super) target: String,
}

/// The stores that loads have made, a line each: `stores.ndjson` in the state directory.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<MadeStore>);

fn file(state: &Path) -> PathBuf {
    state.join("stores.ndjson")
}

/// Notes that a load has made the store of a target.
pub(super) fn note(state: &Path, target: &str, connection: &Connection) -> Result<(), Error> {
    let Some(name) = &connection.endpoint.google else {
        return Ok(());
    };
    let made = MadeStore {
        place: connection.place(),
        name: name.display(),
        target: target.to_owned(),
    };
    let line = serde_json::to_string(&made).map_err(Error::internal)?;
    let opened =
        journal::private_directory(state).and_then(|()| journal::private_append(&file(state)));
    opened
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .map_err(Error::disk)
}

impl Made {
    /// Reads which they are.
    pub(super) fn read(state: &Path) -> Result<Self, Error> {
        let text = match fs_err::read_to_string(file(state)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::disk(error)),
        };
        // A line that was torn was never told of.
        let made = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(Self(made.collect()))
    }

    /// Returns those that the targets of a manifest name.
    pub(super) fn of(self, header: &PlanHeader) -> Vec<MadeStore> {
        let mut found: Vec<MadeStore> = Vec::new();
        for made in self.0 {
            let mut targets = header.targets.iter().map(|target| &target.settings);
            let target = targets.find(|settings| settings.store.place() == made.place);
            if let Some(settings) = target
                && found.iter().all(|other| other.place != made.place)
            {
                found.push(MadeStore {
                    target: settings.name.clone(),
                    ..made
                });
            }
        }
        found
    }

    /// Forgets a store that is not there any more.
    pub(super) fn forget(state: &Path, place: &str) -> Result<(), Error> {
        let kept = Self::read(state)?
            .0
            .into_iter()
            .filter(|made| made.place != place);
        let mut text = String::new();
        for made in kept {
            text += &serde_json::to_string(&made).map_err(Error::internal)?;
            text.push('\n');
        }
        let (path, new) = (file(state), state.join(".stores.new"));
        let written = journal::private_file(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs_err::rename(&new, &path));
        written.map_err(Error::disk)
    }
}
