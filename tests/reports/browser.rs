//! `report.html` in a real browser: Chromium, driven by `ChromeDriver` over plain HTTP. Where none stands, the test says so by
//! name and is skipped.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::Engine as _;
use serde_json::{Value, json};
use stoker::{journal::RunDirectory, report, samples};

use super::{
    page::{of_two_sessions, second, write},
    run::{make, make_every},
};

/// A `ChromeDriver`, and the browser that it drives.
struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
}

/// Starts the driver on a port of its choice; nothing where it ends before it says which.
fn driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let port = line.split_once("started successfully on port ")?.1;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

impl Browser {
    /// Starts both; nothing where they are not installed.
    async fn start() -> Option<Self> {
        let has = |name: &str| {
            let version = Command::new(name).arg("--version").output();
            version.is_ok_and(|version| version.status.success())
        };
        if !has("chromium") || !has("chromedriver") {
            eprintln!("skipped: there is no chromium with its chromedriver");
            return None;
        }
        // It takes a free port for IPv4 and wants the same one for IPv6; where somebody has that, it gives up.
        let (driver, port) = (0..10)
            .find_map(|_| driver())
            .expect("chromedriver finds no port");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut browser = Self {
            driver,
            client,
            session: format!("http://127.0.0.1:{port}/session"),
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                // A name of somebody else that leads to this machine.
                "--host-resolver-rules=MAP evil.example 127.0.0.1",
            ]},
        }}});
        let made = browser.post("", wanted).await;
        let id = made["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let url = format!("{}{command}", self.session);
        let request = self.client.post(url).body(body.to_string());
        let answer = request.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["value"]["error"].is_null(), "{command}: {answer}");
        answer["value"].clone()
    }

    async fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.post("/execute/sync", body).await
    }

    async fn open(&self, file: &Path, width: u32) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": size});
        self.post("/goog/cdp/execute", command).await;
        self.go(&format!("file://{}", file.display())).await;
    }

    async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// What the page that is open says, without what differs from one drawing to the next: how wide a space is.
    async fn words(&self, of: &str) -> String {
        let script = format!("return document.querySelector('{of}').textContent");
        let words = self.run(&script).await;
        let words = words.as_str().unwrap().split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    }

    /// Errors and warnings since the last time.
    async fn console(&self) -> Value {
        self.post("/se/log", json!({"type": "browser"})).await
    }

    async fn end(self) {
        self.client.delete(&self.session).send().await.unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browser with it when it is asked to; what has ended needs no end.
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}

/// What is wrong with a page that is open, as a list.
const FAULTS: &str = r#"
const faults = [];
if (document.documentElement.scrollWidth > innerWidth) faults.push('the page scrolls sideways');
for (const e of document.querySelectorAll('body *')) {
  // What scrolls by itself may be wide inside.
  if (e.parentElement.closest('.scroll, svg')) continue;
  const box = e.getBoundingClientRect();
  if (box.right > innerWidth + 1 || box.left < -1) faults.push('too wide: ' + e.outerHTML.slice(0, 120));
}
for (const figure of document.querySelectorAll('figure')) {
  const caption = figure.querySelector('figcaption');
  const svg = figure.querySelector('svg[role=img]');
  if (!svg) { faults.push('no picture: ' + caption.textContent); continue; }
  if (svg.getAttribute('aria-labelledby') !== caption.id || !caption.textContent) faults.push('no name');
  const texts = [...svg.querySelectorAll('text')].map(t => t.textContent.trim());
  if (!texts.some(t => t.startsWith('time (') || t === 'records')) faults.push('axis without unit: ' + texts);
  if (!svg.querySelector('rect, polyline')) faults.push('an empty picture: ' + caption.textContent);
  const inside = svg.getBoundingClientRect();
  for (const e of svg.querySelectorAll('rect, polyline, text')) {
    const box = e.getBoundingClientRect();
    if (box.left < inside.left - 2 || box.right > inside.right + 2 || box.top < inside.top - 2 || box.bottom > inside.bottom + 2)
      faults.push('beyond the picture "' + caption.textContent + '": ' + e.outerHTML.slice(0, 120));
  }
  const heads = figure.querySelectorAll('table thead th[scope=col]').length;
  const rows = [...figure.querySelectorAll('table tbody tr')];
  if (!rows.length || heads < 2) faults.push('no table: ' + caption.textContent);
  if (rows.some(row => row.cells.length !== heads)) faults.push('a crooked table: ' + caption.textContent);
}
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size !== ids.length) faults.push('an id stands twice');
if (/NaN|Infinity|undefined/.test(document.body.innerHTML)) faults.push('no number');
return faults;
"#;

/// Opens a page at a phone's and a desk's width, and prints it.
async fn looks_well(browser: &Browser, what: &str, file: &Path, pictures: u64) {
    shows_well(browser, what, file, pictures).await;
    prints(browser, what).await;
}

/// Opens a page at a phone's and a desk's width.
async fn shows_well(browser: &Browser, what: &str, file: &Path, pictures: u64) {
    for width in [390, 1_280] {
        browser.open(file, width).await;
        let faults = browser.run(FAULTS).await;
        assert_eq!(faults, json!([]), "{what} at {width} pixels");
        let count = "return document.querySelectorAll('figure').length";
        assert_eq!(browser.run(count).await, json!(pictures), "{what}");
        let first = "return document.querySelector('main > *').className";
        let first = browser.run(first).await;
        assert!(first.as_str().unwrap().starts_with("verdict"), "{what}");
        let log = browser.console().await;
        assert_eq!(log, json!([]), "{what} at {width} pixels");
    }
}

/// Prints the page that is open.
async fn prints(browser: &Browser, what: &str) {
    let printed = browser.post("/print", json!({})).await;
    let printed = base64::engine::general_purpose::STANDARD.decode(printed.as_str().unwrap());
    let printed = printed.unwrap();
    assert!(printed.starts_with(b"%PDF"), "{what}");
}

/// Sorts a table of the page that is open, by a click and by a key.
async fn sorts(browser: &Browser) {
    let column = "
        const table = [...document.querySelectorAll('table')].find(t => t.tHead && t.tBodies[0].rows.length > 3 && !t.closest('figure'));
        const head = table.tHead.rows[0].cells[1];
        const cells = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
        const numbers = () => cells().slice(0, -1).map(text => Number(text.replaceAll(',', '')));
        const total = cells().at(-1), all = numbers().sort((a, b) => a - b);
        head.click();
        const down = numbers(), kept = cells().at(-1) === total, told = head.getAttribute('aria-sort');
        head.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
        return [down, [...all].reverse(), numbers(), all, kept, told, head.tabIndex];";
    let sorted = browser.run(column).await;
    assert_eq!(
        (&sorted[0], &sorted[2]),
        (&sorted[1], &sorted[3]),
        "{sorted}"
    );
    assert_ne!(sorted[0], sorted[2]);
    assert_eq!(sorted[4], true, "the total stays last: {sorted}");
    assert_eq!((&sorted[5], &sorted[6]), (&json!("descending"), &json!(0)));
}

fn page_of(run: &RunDirectory) -> std::path::PathBuf {
    let report = report::of(run).unwrap();
    let file = run.path().join("report.html");
    fs_err::write(&file, report::page(run, &report).unwrap()).unwrap();
    file
}

/// Loads lines with the binary; returns the page that it leaves.
fn loaded(folder: &Path, lines: &str) -> std::path::PathBuf {
    fs_err::write(folder.join("people.ndjson"), lines).unwrap();
    let manifest = "version: 1\nname: short\ntargets: { here: { local: store } }\nloads:\n  \
                    - { name: people, target: here, files: [people.ndjson], interaction: update }\n";
    fs_err::write(folder.join("m.yaml"), manifest).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("stoker"));
    let run = command
        .args(["load", "m.yaml", "--progress", "none"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let runs = fs_err::read_dir(folder.join(".stoker/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).next().unwrap();
    run.join("report.html")
}

#[tokio::test]
async fn every_page_is_whole_on_a_phone_a_desk_and_paper() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let patients = (0..200).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}\n"));
    let good = loaded(folder.path(), &patients.collect::<String>());
    looks_well(&browser, "a good run of a moment", &good, 7).await;

    let folder = tempfile::tempdir().unwrap();
    let empty = loaded(folder.path(), "");
    looks_well(&browser, "an empty run", &empty, 0).await;

    let made = make().await;
    of_two_sessions(&made.run);
    looks_well(&browser, "killed and resumed", &page_of(&made.run), 13).await;

    let made = make_every().await;
    looks_well(&browser, "without samples", &page_of(&made.run), 1).await;
    write(&made.run, &[0, 1].map(|at| second(1, "clinic", at)));
    looks_well(
        &browser,
        "every outcome, two seconds",
        &page_of(&made.run),
        7,
    )
    .await;

    sorts(&browser).await;

    let hours: Vec<_> = (0..36_000).map(|at| second(1, "clinic", at)).collect();
    let width = samples::width(&hours, 1_500, 1_000);
    write(&made.run, &samples::fold(hours, width));
    let page = page_of(&made.run);
    looks_well(&browser, "ten hours", &page, 7).await;
    let size = fs_err::metadata(&page).unwrap().len();
    assert!(size < 1_500_000, "{size} bytes");

    let mut report = report::of(&made.run).unwrap();
    let cause = report.causes[0].clone();
    report.causes = (0..2_000)
        .map(|n| {
            let mut cause = cause.clone();
            cause.what = format!("{} of kind{n}{}", cause.what, "x".repeat(n % 300));
            cause
        })
        .collect();
    let totals = report.types["Patient"];
    let types = (0..2_000).map(|n| (format!("Type{n}{}", "Of".repeat(n % 60)), totals));
    report.types = types.collect();
    let file = made.run.path().join("many.html");
    fs_err::write(&file, report::page(&made.run, &report).unwrap()).unwrap();
    // Its hundreds of sheets take longer than the driver waits for a print.
    shows_well(&browser, "2,000 problems and types", &file, 7).await;
    browser.end().await;
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary; returns the first line that begins so, without its beginning.
fn started(folder: &Path, arguments: &str, says: &str) -> (Ends, String) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("stoker"));
    let command = command.args(arguments.split(' ')).current_dir(folder);
    let said = fs_err::File::create(folder.join("said")).unwrap();
    let (said, also) = (said.try_clone().unwrap().into_file(), said.into_file());
    let child = Ends(command.stdout(said).stderr(also).spawn().unwrap());
    let found = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let said = fs_err::read_to_string(folder.join("said")).unwrap();
        // A line that is not whole yet is looked at again.
        let lines = said
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let mut found = lines.filter_map(|line| line.strip_prefix(says));
        found.next().map(|line| line.trim().to_owned())
    });
    (child, found.unwrap())
}

/// `STOKER_LIVE_RECORDS=50000 cargo test --release --test tests browser::the_live -- --nocapture` is the same with more.
#[tokio::test]
async fn the_live_page_follows_a_faulty_run_to_its_end() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "tests read their own variables")]
    let wanted = std::env::var("STOKER_LIVE_RECORDS").ok();
    let count: u32 = wanted.as_ref().map_or(300, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let served = tempfile::tempdir().unwrap();
    // A small load is held up for as long as a page takes to follow it.
    let latency = if wanted.is_some() { "1ms" } else { "40ms" };
    let faults = format!(
        "seed: 5\nrules:\n  \
         - {{ when: {{ request: [update, bundle] }}, fault: {{ latency: {{ fixed: {latency} }} }} }}\n  \
         - {{ when: {{ path: '**/Patient/*77' }}, fault: {{ answer: {{ status: 422 }} }} }}\n  \
         - {{ when: {{ request: [update, bundle], probability: 0.05 }}, fault: {{ answer: {{ status: 503 }} }} }}\n"
    );
    fs_err::write(served.path().join("faults.yaml"), faults).unwrap();
    let emulate = "emulate --dir store --listen 127.0.0.1:0 --faults faults.yaml";
    let (_store, url) = started(served.path(), emulate, "http");
    let lines = (0..count).map(|n| {
        format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\",\"name\":[{{\"family\":\"Plantedname\"}}]}}\n")
    });
    fs_err::write(folder.path().join("p.ndjson"), lines.collect::<String>()).unwrap();
    let concurrency = if wanted.is_some() {
        ""
    } else {
        ", concurrency: 2"
    };
    let manifest = format!(
        "version: 1\nname: watched\ntargets: {{ t: {{ fhir: {{ url: \"http{url}v1/projects/local/locations/local/datasets/stoker/fhirStores/fhir/fhir\" }}, \
         retry: {{ attempts: 20, base: 1ms, max: 10ms }}{concurrency} }} }}\n\
         loads: [{{ name: people, target: t, files: p.ndjson, interaction: update, bundle: {{ type: none }} }}]\n"
    );
    fs_err::write(folder.path().join("m.yaml"), manifest).unwrap();
    let load = "load m.yaml --progress none --live --live-keep";
    let (mut load, url) = started(folder.path(), load, "the page of this run: ");

    browser.go(&url).await;
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let note = browser.words("#note").await;
        assert!(
            !note.contains("lost") && !note.contains("ended before"),
            "{note}"
        );
        if note == "The run is over." {
            break;
        }
        if note.contains("goes on") {
            let drawn = browser
                .run("return document.querySelectorAll('main svg').length")
                .await;
            let main = browser.words("main").await;
            // The end may have been drawn since the note was read.
            if drawn.as_u64() > Some(0) && browser.words("#note").await == note {
                seen.insert(main);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(load.0.try_wait().unwrap().is_none(), "it stays");
    }
    assert!(!seen.is_empty(), "nothing was drawn while the run went on");
    assert_eq!(browser.run(FAULTS).await, json!([]));
    assert_eq!(browser.console().await, json!([]));
    let shown = browser.words("main").await;
    assert!(!seen.contains(&shown), "the end is drawn, too");
    let all = browser
        .run("return document.documentElement.outerHTML")
        .await;
    assert!(!all.as_str().unwrap().contains("Plantedname"));
    eprintln!("{count} records: {} pages while it went on", seen.len());

    // It is the page that the run leaves.
    let runs = fs_err::read_dir(folder.path().join(".stoker/runs")).unwrap();
    let run = runs.map(|run| run.unwrap().path()).next().unwrap();
    browser.open(&run.join("report.html"), 1_280).await;
    assert_eq!(browser.words("main").await, shown);
    let report = fs_err::read_to_string(run.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let created = report["outcomes"]["created"].as_u64().unwrap();
    assert!(created > 0 && report["outcomes"]["rejected"].as_u64() > Some(0));
    assert!(shown.contains(&stoker::unit::grouped(created)), "{shown}");
    assert_eq!(browser.console().await, json!([]));

    // Without the token, and under the name of somebody else, there is nothing.
    let (base, token) = url.split_once("/#").unwrap();
    let port = base.rsplit(':').next().unwrap();
    for (url, words) in [
        (
            format!("{base}/#{}", "0".repeat(32)),
            "The token is missing or wrong",
        ),
        (format!("{base}/"), "The token is missing or wrong"),
        (
            format!("http://evil.example:{port}/#{token}"),
            "answers to its own address only",
        ),
    ] {
        // A page that differs in its fragment only is not opened anew.
        browser.go("about:blank").await;
        browser.go(&url).await;
        let mut text = String::new();
        for _ in 0..100 {
            text = browser.words("body").await;
            if text.contains(words) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(
            text.contains(words) && !text.contains("watched"),
            "{url}: {text}"
        );
    }
    browser.end().await;
}
