//! A folder of its own for every test, with a copy of the samples, and the binary in a clean environment.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fs_err as fs;

/// A folder in which the binary is run.
pub(super) struct Bed {
    folder: tempfile::TempDir,
}

/// What a run of the binary left.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder with copies of `manifests/` and `resources/`.
    pub(super) fn with_samples() -> Self {
        let bed = Self::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["manifests", "resources"] {
            copy(&root.join(folder), &bed.path(folder));
        }
        bed
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("stoker"));
        command
            .env_clear()
            .env("PATH", "/nowhere")
            .current_dir(self.folder.path())
            .args(arguments);
        command
    }

    #[must_use]
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    #[must_use]
    pub(super) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Ran::of(command.output().unwrap())
    }

    /// The directory of the newest run.
    pub(super) fn newest_run(&self) -> PathBuf {
        let runs = self.path(".stoker/runs");
        let mut runs: Vec<PathBuf> = fs::read_dir(runs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        runs.sort_by_key(|run| {
            fs::metadata(run.join("journal.ndjson"))
                .unwrap()
                .modified()
                .unwrap()
        });
        runs.pop().unwrap()
    }

    /// `report.json` of the newest run.
    pub(super) fn report(&self) -> serde_json::Value {
        let report = fs::read_to_string(self.newest_run().join("report.json")).unwrap();
        serde_json::from_str(&report).unwrap()
    }

    /// How many records of the newest run ended so.
    pub(super) fn count(&self, outcome: &str) -> u64 {
        self.report()["outcomes"][outcome].as_u64().unwrap()
    }
}

/// `stoker emulate`, until it is dropped.
pub(super) struct Emulating {
    child: std::process::Child,
    /// The URL of its FHIR store.
    pub(super) fhir: String,
}

impl Bed {
    /// Serves a store of its own, with faults.
    pub(super) fn emulate(&self, faults: &str) -> Emulating {
        use std::io::BufRead as _;
        self.write("faults.yaml", faults);
        let serve = "emulate --dir served --listen 127.0.0.1:0 --faults faults.yaml";
        let mut command = self.command(&serve.split(' ').collect::<Vec<_>>());
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let fhir = format!(
            "{}v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir",
            line.trim()
        );
        Emulating { child, fhir }
    }
}

impl Drop for Emulating {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    pub(super) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Expects an exit code; shows everything if it was another.
    pub(super) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
