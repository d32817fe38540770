//! A place for one case: a copy of its folder, its server, and what the binary did there.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use fs_err as fs;
use serde_json::Value;

/// Where the cases are: `STOKER_TEST_CASES`, or `../shared/cases` beside the manifest.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn root() -> PathBuf {
    std::env::var_os("STOKER_TEST_CASES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases"),
        PathBuf::from,
    )
}

/// A case at work.
pub(super) struct Bed {
    folder: tempfile::TempDir,
    server: Option<Child>,
    pub(super) url: String,
}

/// What a run of the binary left.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) said: String,
}

/// A request as the case's server saw it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u64,
    pub(super) headers: Value,
    pub(super) body: String,
}

impl Bed {
    /// Copies a case and starts its server. None, said on the terminal, where the case or Python is not at hand.
    pub(super) fn of(name: &str) -> Option<Self> {
        let case = root().join(name);
        if !case.is_dir() {
            eprintln!("skipped: case {name} is not there (set STOKER_TEST_CASES)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        copy(&case, folder.path());
        let mut bed = Self {
            folder,
            server: None,
            url: String::new(),
        };
        let script = case.join("server.py");
        if script.exists() {
            let arguments = [bed.path("port"), bed.path("requests.ndjson")];
            let Some(server) = python(&script, &arguments, bed.folder.path()) else {
                eprintln!("skipped: case {name} needs python3");
                return None;
            };
            bed.server = Some(server);
            let port = bed.wait_for(|bed| {
                fs::read_to_string(bed.path("port"))
                    .ok()
                    .filter(|port| !port.is_empty())
            });
            bed.url = format!("http://127.0.0.1:{port}/fhir");
        }
        Some(bed)
    }

    /// Starts another program of the case; it ends with the case.
    pub(super) fn start(&mut self, child: Child) {
        assert!(self.server.is_none(), "one server a case");
        self.server = Some(child);
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// Waits until there is something.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(since.elapsed() < Duration::from_mins(1), "it never came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a manifest made of the case's own, with texts replaced.
    pub(super) fn manifest(&self, name: &str, replaced: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.path("manifest.yaml")).unwrap();
        for (old, new) in replaced {
            assert!(text.contains(old), "the manifest has no `{old}`: {text}");
            text = text.replace(old, new);
        }
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("stoker"));
        command
            .env_clear()
            .env("PATH", "/nowhere")
            .env("FHIR_URL", &self.url)
            .current_dir(self.folder.path())
            .args(arguments);
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// Loads, whatever earlier loads did.
    pub(super) fn load(&self, manifest: &str) -> Ran {
        self.run(&["load", manifest, "--fresh", "--progress", "none"])
    }

    /// The directory of the newest run.
    fn newest(&self) -> PathBuf {
        let runs = fs::read_dir(self.path(".stoker/runs")).unwrap();
        let runs = runs.map(|run| run.unwrap().path());
        let runs = runs.filter(|run| run.join("report.json").exists());
        runs.max_by_key(|run| fs::metadata(run).unwrap().created().unwrap())
            .expect("there is a run")
    }

    /// How many records of the newest run ended so.
    pub(super) fn count(&self, outcome: &str) -> u64 {
        let report = fs::read_to_string(self.newest().join("report.json")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        report["outcomes"][outcome].as_u64().unwrap()
    }

    /// The lines of a file of the newest run.
    pub(super) fn lines(&self, file: &str) -> Vec<Value> {
        fs::read_to_string(self.newest().join(file))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// `Type/id` under which the newest run has put what stands in the files under this name or `fullUrl`.
    pub(super) fn assigned(&self, source: &str) -> String {
        let lines = self.lines("ids.ndjson");
        let found = lines
            .iter()
            .find(|line| line["source"] == source || line["url"] == source);
        let found = found.unwrap_or_else(|| panic!("{source} is not in {lines:?}"));
        found["assigned"].as_str().unwrap().to_owned()
    }

    /// All `Type/id` of a type that the newest run has put somewhere.
    pub(super) fn all_assigned(&self, kind: &str) -> Vec<String> {
        let lines = self.lines("ids.ndjson");
        let names = lines.iter().map(|line| line["assigned"].as_str().unwrap());
        let names = names.filter(|name| name.split('/').next() == Some(kind));
        names.map(str::to_owned).collect()
    }

    /// `Type/id` of the only record of a type that the newest run has put somewhere.
    pub(super) fn assigned_only(&self, kind: &str) -> String {
        let names = self.all_assigned(kind);
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }

    /// What a local store holds under `Type/id`.
    pub(super) fn get(&self, store: &str, name: &str) -> Option<Value> {
        let got = self
            .command(&["get", name, "--local", store])
            .output()
            .unwrap();
        got.status
            .success()
            .then(|| serde_json::from_slice(&got.stdout).unwrap())
    }

    /// What the case's server saw, from the n-th request on.
    pub(super) fn seen(&self, from: usize) -> Vec<Seen> {
        let text = fs::read_to_string(self.path("requests.ndjson")).unwrap_or_default();
        text.lines()
            .skip(from)
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let text = |name: &str| line[name].as_str().unwrap().to_owned();
                Seen {
                    method: text("method"),
                    path: text("path"),
                    status: line["status"].as_u64().unwrap(),
                    headers: line["headers"].clone(),
                    body: text("body"),
                }
            })
            .collect()
    }

    /// Lets the case's server behave in one of its ways; returns how many requests came before.
    pub(super) fn shape(&self, shape: &str) -> usize {
        let base = self.url.trim_end_matches("/fhir");
        Self::ask(&format!("{base}/shape/{shape}"));
        self.seen(0).len()
    }

    /// Reads JSON from the case's server.
    pub(super) fn ask(url: &str) -> Value {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let text = runtime.block_on(async { reqwest::get(url).await?.text().await });
        serde_json::from_str(&text.unwrap()).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Self {
            code: output.status.code(),
            said: said.into_owned(),
        }
    }

    /// Expects an exit code; shows everything if it was another.
    #[track_caller]
    pub(super) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }
}

impl Seen {
    /// Tells whether a resource of a type was written by itself.
    pub(super) fn is_write_of(&self, kind: &str) -> bool {
        let path = self.path.trim_start_matches("/fhir/");
        self.method != "GET" && path.split(['/', '?']).next() == Some(kind)
    }
}

/// Starts a script with Python, where there is one.
pub(super) fn python(script: &Path, arguments: &[PathBuf], folder: &Path) -> Option<Child> {
    Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Some of them keep notes where they are run.
        .current_dir(folder)
        .arg(script)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // Written anew: what is read may be without the right to write.
            fs::write(&to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
