//! Messages and instances: a load that is killed at a named place of the protocol, and resumed, leaves what an undisturbed one
//! leaves.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use fs_err as fs;
use serde_json::Value;

use super::{
    bench::{BLOCK, journal, stoker},
    kinds::{BEFORE, held, of_before},
    receiver::Receiver,
    store::Store,
    wire::{Framing, Place, Point, Wire},
};
use crate::support::instances::{uids, written};

/// What is loaded, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Instances,
    /// Another has stored instances under the same UIDs before.
    Replaced,
    Messages,
    /// To a receiver; what may have arrived is not sent again.
    Transmitted,
    /// To a receiver that knows again what comes twice.
    Resent,
}

/// When a load is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// It is planned: of the run there is no journal.
    Planning,
    /// Its journal is there.
    Begun,
    /// An exchange has come to a place.
    At(Point),
    /// An answer has come, and the journal takes so many bytes more: what is written behind them is torn.
    Full(Point, u64),
    /// The store has answered the second write with nothing that tells, and is asked: the question is here.
    Asking(Place),
    /// Everything has its outcome, and the reports are written.
    Closing,
}

/// Requests in flight.
const SLOTS: [u64; 2] = [1, 3];
const STUDIES: usize = 3;
const INSTANCES: usize = 4;
const MESSAGES: usize = 12;
const PATIENTS: usize = 6;

impl Kind {
    fn is_transmitted(self) -> bool {
        matches!(self, Self::Transmitted | Self::Resent)
    }

    /// How a request of it begins that writes.
    fn writes(self) -> &'static str {
        if self.is_transmitted() { "MSH" } else { "POST" }
    }
}

/// A folder with a manifest and what it loads, and the server behind the wire.
struct Bed {
    folder: tempfile::TempDir,
    kind: Kind,
    wire: Wire,
    store: Option<Store>,
    receiver: Option<Receiver>,
}

impl Bed {
    fn new(kind: Kind, slots: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("in")).unwrap();
        let (mut store, mut receiver) = (None, None);
        let (wire, target) = if kind.is_transmitted() {
            let started = Receiver::calm();
            let wire = Wire::start(Framing::Mllp, &started.address);
            receiver = Some(started);
            let target = format!("mllp: {{ address: \"{}\" }}", wire.address);
            (wire, target)
        } else {
            let started = Store::start(path);
            let server = started.url.strip_prefix("http://").unwrap();
            let wire = Wire::start(Framing::Http, server);
            store = Some(started);
            let which = match kind {
                Kind::Messages => "hl7v2_store: hl7v2",
                _ => "dicom_store: dicom",
            };
            let target = format!(
                "google: {{ project: local, location: local, dataset: stoker, {which}, endpoint: \"http://{}\" }}, auth: none",
                wire.address
            );
            (wire, target)
        };
        let bed = Self {
            folder,
            kind,
            wire,
            store,
            receiver,
        };
        let keys = match kind {
            Kind::Instances => ", bundle: { max_entries: 2 }",
            Kind::Replaced => ", bundle: { max_entries: 2 }, duplicates: replace",
            Kind::Messages => "",
            Kind::Transmitted => ", settle: none",
            Kind::Resent => ", settle: resend",
        };
        let manifest = |keys: &str| {
            format!(
                "version: 1\nname: points\ntargets: {{ t: {{ {target}, concurrency: {slots}, give_up_after: 1s, retry: {{ base: 1ms, max: 5ms }} }} }}\nloads: [ {{ name: all, files: [\"in/*\"]{keys} }} ]\n"
            )
        };
        if kind == Kind::Replaced {
            bed.write_files(Some(BEFORE));
            fs::write(bed.path("m.yaml"), manifest("")).unwrap();
            assert_eq!(bed.finish(), 0);
            fs::remove_dir_all(bed.path(".stoker")).unwrap();
            bed.wire.let_pass();
        }
        bed.write_files(None);
        fs::write(bed.path("m.yaml"), manifest(keys)).unwrap();
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self, patient: Option<&str>) {
        if matches!(self.kind, Kind::Instances | Kind::Replaced) {
            for number in 0..STUDIES * INSTANCES {
                let uids = uids(number / INSTANCES, number % INSTANCES);
                let mut sample = uids.tiny();
                sample.patient = patient.unwrap_or(sample.patient);
                fs::write(self.path(&format!("in/{number:02}")), written(&sample)).unwrap();
            }
        } else {
            let messages = (0..MESSAGES).map(|number| {
                format!(
                    "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|m{number}|P|2.5\rPID|1||p{}^^^X\r",
                    number % PATIENTS
                )
            });
            fs::write(self.path("in/feed.hl7"), messages.collect::<String>()).unwrap();
        }
    }

    fn start(&self, mut command: Command) -> Child {
        let stderr = fs::File::create(self.path("stderr")).unwrap();
        command
            .stdout(Stdio::null())
            .stderr(stderr.into_file())
            .spawn()
            .unwrap()
    }

    /// Goes on with the run, or begins one where there is none, to its end. Returns the exit code.
    fn finish(&self) -> i32 {
        let run = journal(self.folder.path());
        let arguments = match &run {
            Some(run) => ["resume", run.to_str().unwrap()],
            None => ["load", "m.yaml"],
        };
        let mut child = self.start(stoker(self.folder.path(), &arguments));
        child.wait().unwrap().code().unwrap()
    }

    /// How each record ended, in their order, with what is said of it.
    fn records(&self) -> Vec<Value> {
        let run = journal(self.folder.path()).unwrap();
        let records = fs::read_to_string(run.join("records.ndjson")).unwrap();
        let records = records.lines();
        records
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What is there: the names, and how often each came to a receiver.
    fn contents(&self, runtime: &tokio::runtime::Runtime) -> BTreeMap<String, usize> {
        let mut contents = BTreeMap::new();
        if let Some(store) = &self.store {
            for name in runtime.block_on(held(&store.url)) {
                *contents.entry(name).or_default() += 1;
            }
            assert_eq!(runtime.block_on(of_before(&store.url)), 0);
        }
        if let Some(receiver) = &self.receiver {
            for (number, _) in receiver.log() {
                *contents.entry(format!("m{number}")).or_default() += 1;
            }
        }
        contents
    }
}

/// What a load leaves that nobody disturbs.
struct Undisturbed {
    contents: BTreeMap<String, usize>,
    /// Reads of the target before anything is sent.
    reads: usize,
    /// Bytes of its journal, and of its largest report.
    journal: u64,
    report: u64,
}

impl Undisturbed {
    fn of(kind: Kind, slots: u64, runtime: &tokio::runtime::Runtime) -> Self {
        let bed = Bed::new(kind, slots);
        assert_eq!(bed.finish(), 0);
        let run = journal(bed.folder.path()).unwrap();
        let length = |name: &str| fs::metadata(run.join(name)).unwrap().len();
        Self {
            contents: bed.contents(runtime),
            reads: bed.wire.seen("GET"),
            journal: length("journal.ndjson"),
            report: length("report.html"),
        }
    }
}

/// Kills a load there; tells whether it had come there.
fn kill(bed: &Bed, when: When, undisturbed: &Undisturbed) -> bool {
    let folder = bed.folder.path();
    let process = Arc::new(OnceLock::new());
    let mut command = stoker(folder, &["load", "m.yaml", "--progress", "none"]);
    match when {
        When::At(point) => bed.wire.hold_at(point),
        When::Full(point, room) => {
            let (process, folder) = (Arc::clone(&process), folder.to_owned());
            bed.wire.hold_at(point);
            bed.wire
                .call_before(move || leave_room(*process.wait(), &folder, room));
        }
        When::Asking(place) => {
            bed.wire.mumble("POST", 2);
            bed.wire.hold_at(Point {
                method: "GET",
                number: undisturbed.reads + 1,
                place,
            });
        }
        When::Closing => {
            command = torn_where(bed, u64::midpoint(undisturbed.journal, undisturbed.report));
        }
        When::Planning | When::Begun => {}
    }
    let mut child = bed.start(command);
    process.get_or_init(|| child.id());
    loop {
        let is_there = match when {
            When::Planning => bed.path(".stoker/runs").exists(),
            When::Begun => journal(folder).is_some(),
            // The kernel kills it.
            When::Full(..) | When::Closing => false,
            When::At(_) | When::Asking(_) => bed.wire.is_there(),
        };
        if is_there {
            child.kill().unwrap();
        }
        if let Some(ended) = child.try_wait().unwrap() {
            bed.wire.let_pass();
            return ended.code().is_none();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Lets the journal grow by so many bytes, and the process be killed that writes more.
fn leave_room(process: u32, folder: &Path, room: u64) {
    let journal = journal(folder).unwrap().join("journal.ndjson");
    let length = fs::metadata(journal).unwrap().len() + room;
    let set = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--fsize={length}")])
        .status();
    assert!(set.unwrap().success());
}

/// A load that is killed when a file of it is longer than so many bytes.
fn torn_where(bed: &Bed, longest: u64) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg("ulimit -c 0; ulimit -f \"$1\"; shift; exec \"$@\"")
        .arg("sh")
        .arg((longest / BLOCK).to_string())
        .arg(assert_cmd::cargo::cargo_bin!("stoker"))
        .args(["load", "m.yaml", "--progress", "none"])
        .env_clear()
        .current_dir(bed.folder.path());
    command
}

/// All the places, for a kind.
fn moments(kind: Kind) -> Vec<When> {
    let at = |method, number, place| {
        When::At(Point {
            method,
            number,
            place,
        })
    };
    let writes = kind.writes();
    let mut moments = vec![When::Planning, When::Begun];
    for place in [
        Place::Request,
        Place::HalfRequest,
        Place::Answer,
        Place::HalfAnswer,
    ] {
        for number in [1, 3] {
            moments.push(at(writes, number, place));
        }
        if kind == Kind::Replaced {
            moments.push(at("DELETE", 1, place));
            moments.push(at("DELETE", 2, place));
        }
    }
    if !kind.is_transmitted() {
        for place in [Place::Request, Place::Answer] {
            // Planning asks the target whether it is there.
            moments.push(at("GET", 1, place));
            if kind != Kind::Replaced {
                moments.push(When::Asking(place));
            }
        }
    }
    if cfg!(target_os = "linux") {
        // Of the line that settles, and of the one after it, which may intend.
        for room in [0, 60, 170, 230] {
            let point = Point {
                method: writes,
                number: 2,
                place: Place::WholeAnswer,
            };
            moments.push(When::Full(point, room));
        }
    }
    moments.push(When::Closing);
    moments
}

fn survives(kind: Kind) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for slots in SLOTS {
        let undisturbed = Undisturbed::of(kind, slots, &runtime);
        assert!(undisturbed.report > 2 * undisturbed.journal);
        for when in moments(kind) {
            let case = format!("{kind:?}, {slots} slots, {when:?}");
            let bed = Bed::new(kind, slots);
            let was_killed = kill(&bed, when, &undisturbed);
            // A busy machine may be too late for what nobody holds.
            assert!(
                was_killed || matches!(when, When::Planning | When::Begun),
                "{case}"
            );
            let code = bed.finish();
            let said = fs::read_to_string(bed.path("stderr")).unwrap();
            let case = format!("{case}: {said}");
            let records = bed.records();
            let outcomes: Vec<&str> = records
                .iter()
                .map(|record| record["outcome"].as_str().unwrap())
                .collect();
            let contents = bed.contents(&runtime);
            if kind.is_transmitted() {
                is_true_to_the_receiver(&case, &bed, slots, &outcomes, &contents);
                let has_unknown = outcomes.contains(&"unknown");
                assert_eq!(code, i32::from(has_unknown), "{case}: {outcomes:?}");
                continue;
            }
            assert_eq!(code, 0, "{case}");
            assert_eq!(contents, undisturbed.contents, "{case}");
            let (written, found) = match kind {
                Kind::Replaced => ("updated", "updated"),
                Kind::Instances => ("created", "matched"),
                _ => ("created", "unchanged"),
            };
            let (there, others): (Vec<&str>, Vec<&str>) = outcomes
                .iter()
                .filter(|outcome| **outcome != written)
                .partition(|outcome| **outcome == found);
            assert!(others.is_empty(), "{case}: {outcomes:?}");
            // What was on its way was there when it was sent again; and one more, where the store is asked: that holds nobody up.
            // Where the journal takes no more, what has been answered meanwhile is lost with it.
            let on_its_way = usize::try_from((slots + 1) * 2).unwrap();
            let is_full = matches!(when, When::Full(..));
            assert!(is_full || there.len() <= on_its_way, "{case}: {outcomes:?}");
        }
    }
}

/// Every message came once, or is said to be in doubt, or came twice where that is allowed; those of a patient in their order.
fn is_true_to_the_receiver(
    case: &str,
    bed: &Bed,
    slots: u64,
    outcomes: &[&str],
    contents: &BTreeMap<String, usize>,
) {
    assert_eq!(outcomes.len(), MESSAGES, "{case}");
    let slots = usize::try_from(slots).unwrap();
    let (mut unknown, mut twice) = (0, 0);
    for (number, outcome) in outcomes.iter().enumerate() {
        let times = contents.get(&format!("m{number}")).copied().unwrap_or(0);
        match (bed.kind, *outcome, times) {
            (_, "created", 1) => {}
            (Kind::Transmitted, "unknown", 0 | 1) => unknown += 1,
            (Kind::Resent, "created", 2) => twice += 1,
            other => panic!("{case}: m{number}: {other:?}"),
        }
    }
    assert!(
        unknown <= slots && twice <= slots,
        "{case}: {unknown}, {twice}"
    );
    let log = bed.receiver.as_ref().unwrap().log();
    for patient in 0..PATIENTS {
        let of = log.iter().map(|(number, _)| *number);
        let of = of.filter(|number| number % PATIENTS == patient);
        assert!(of.is_sorted(), "{case}: {log:?}");
    }
}

#[test]
fn instances_survive() {
    survives(Kind::Instances);
}

#[test]
fn instances_that_replace_others_survive() {
    survives(Kind::Replaced);
}

#[test]
fn messages_survive() {
    survives(Kind::Messages);
}

#[test]
fn messages_to_a_receiver_survive() {
    survives(Kind::Transmitted);
}

#[test]
fn messages_to_a_receiver_that_may_come_twice_survive() {
    survives(Kind::Resent);
}

/// The store dies while something is removed, and comes back for the next session.
#[test]
fn a_target_that_goes_down_during_a_removal_ends_the_run_that_can_be_resumed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for place in [Place::Request, Place::Answer] {
        let mut bed = Bed::new(Kind::Replaced, 3);
        bed.wire.hold_at(Point {
            method: "DELETE",
            number: 2,
            place,
        });
        let mut child = bed.start(stoker(bed.folder.path(), &["load", "m.yaml"]));
        while !bed.wire.is_there() {
            assert!(child.try_wait().unwrap().is_none(), "{place:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(bed.store.take());
        bed.wire.let_pass();
        let ended = child.wait().unwrap();
        let said = fs::read_to_string(bed.path("stderr")).unwrap();
        assert_eq!(ended.code(), Some(4), "{place:?}: {said}");
        let store = Store::start(bed.folder.path());
        bed.wire.lead_to(store.url.strip_prefix("http://").unwrap());
        bed.store = Some(store);
        assert_eq!(bed.finish(), 0, "{place:?}");
        assert_eq!(bed.contents(&runtime).len(), STUDIES * INSTANCES);
        for record in bed.records() {
            assert_eq!(record["outcome"], "updated", "{place:?}: {record}");
        }
    }
}
