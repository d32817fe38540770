//! A plan's paths, seen from another directory than the one in which it was made.

use std::path::{Path, PathBuf};

use super::{PlanHeader, PlannedSource, PlannedTarget};
use crate::{
    manifest::{Auth, LoadSettings, SecretPlace, Store},
    path::tidy,
};

impl PlanHeader {
    /// Tells whether two plans are of one manifest, wherever they were made.
    pub fn is_of(&self, other: &Self) -> bool {
        let place = |header: &Self| tidy(&header.root.join(&header.manifest));
        self.name == other.name && place(self) == place(other)
    }

    /// Tells whether two plans load the same, from the same files into the same targets.
    pub fn loads_as(&self, other: &Self) -> bool {
        let (own, other) = (self.rooted(), other.rooted());
        let settings = |header: &Self| -> Vec<_> {
            let targets = header.targets.iter();
            targets.map(|target| target.settings.clone()).collect()
        };
        own.loads == other.loads && settings(&own) == settings(&other)
    }

    /// Tells whether two plans have loads of the same names.
    pub fn has_loads_of(&self, other: &Self) -> bool {
        let names = |header: &Self| -> Vec<String> {
            let loads = header.loads.iter();
            loads.map(|load| load.name.clone()).collect()
        };
        names(self) == names(other)
    }

    /// Returns it with all paths absolute.
    #[must_use]
    pub fn rooted(&self) -> Self {
        let mut header = self.clone();
        if self.root.as_os_str().is_empty() {
            return header;
        }
        let root = self.root.as_path();
        join(root, &mut header.manifest);
        if let Some(state) = &mut header.run.state {
            join(root, state);
        }
        for target in &mut header.targets {
            root_target(root, target);
        }
        for load in &mut header.loads {
            root_load(root, load);
        }
        header
    }
}

impl PlannedSource {
    /// Returns it with its path absolute, shown as such.
    pub(super) fn rooted(mut self, root: &Path) -> Self {
        if root.as_os_str().is_empty() {
            return self;
        }
        if let Some(path) = &mut self.path {
            join(root, path);
            self.name = path.display().to_string();
        }
        self
    }
}

fn join(root: &Path, path: &mut PathBuf) {
    if path.is_relative() {
        *path = tidy(&root.join(&path));
    }
}

fn root_target(root: &Path, target: &mut PlannedTarget) {
    let settings = &mut target.settings;
    if let Store::Local { dir, .. } = &mut settings.store {
        join(root, dir);
    }
    match &mut settings.auth {
        Auth::Google {
            credentials: Some(file),
        }
        | Auth::Bearer(SecretPlace::File(file))
        | Auth::Basic {
            password: SecretPlace::File(file),
            ..
        } => join(root, file),
        _ => {}
    }
    let tls = &mut settings.tls;
    let files = [&mut tls.ca, &mut tls.certificate, &mut tls.key];
    for file in files.into_iter().flatten() {
        join(root, file);
    }
}

fn root_load(root: &Path, load: &mut LoadSettings) {
    for pattern in &mut load.files {
        join(root, &mut pattern.folder);
        join(root, &mut pattern.place.0);
    }
    for known in &mut load.known {
        join(root, known);
    }
}
