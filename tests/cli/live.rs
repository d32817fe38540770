//! `stoker load --live`: the page of a run that goes on, for those who have its token, on this machine.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::bed::Bed;

const MANIFEST: &str = "version: 1\nname: watched\ntargets: { here: { local: store } }\nloads:\n  \
                        - { name: people, target: here, files: [people.ndjson], interaction: update }\n";

/// A load that is being served, until it is interrupted.
struct Served {
    load: Child,
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Served {
    fn start(bed: &Bed) -> Self {
        let patients =
            (0..50).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}\n"));
        bed.write("people.ndjson", &patients.collect::<String>());
        bed.write("m.yaml", MANIFEST);
        let mut load = bed
            .command(&[
                "load",
                "m.yaml",
                "--live",
                "--live-keep",
                "--progress",
                "none",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(load.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.strip_prefix("the page of this run: ")?.to_owned())
        });
        // What else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let url = url.unwrap();
        let (base, token) = url.split_once("/#").unwrap();
        assert!(token.len() >= 32, "{url}");
        Self {
            load,
            base: base.to_owned(),
            token: token.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn get(&self, path: &str, token: Option<&str>, host: Option<&str>) -> (u16, String) {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.load);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }
}

#[tokio::test]
async fn the_page_of_a_run_is_served_to_who_has_its_token() {
    let bed = Bed::new();
    let mut served = Served::start(&bed);
    let token = served.token.clone();
    let name = "watched";
    // Events tell that there is something to look at, and at last that it is over.
    let (status, events) = served.get("/events", Some(&token), None).await;
    assert_eq!(status, 200);
    assert!(events.starts_with("event: changed\n") || events.starts_with("event: over\n"));
    assert_eq!(events.matches("event: over").count(), 1, "{events}");

    let (status, page) = served.get("/page", Some(&token), None).await;
    assert_eq!(status, 200);
    assert!(page.contains("watched: all 50 records loaded"), "{page}");
    let kept = fs_err::read_to_string(bed.newest_run().join("report.html")).unwrap();
    assert_eq!(page, kept, "it is the page that the run leaves");

    let (status, shell) = served.get("/", None, None).await;
    assert_eq!(status, 200);
    assert!(!shell.contains(name) && !shell.contains(&token));
    assert_eq!(served.get("/live.js", None, None).await.0, 200);
    let wrong = "0".repeat(token.len());
    for given in [None, Some(""), Some(&token[1..]), Some(&*wrong)] {
        for path in ["/page", "/events"] {
            let (status, words) = served.get(path, given, None).await;
            assert_eq!(status, 401, "{given:?}");
            assert!(!words.contains(name) && !words.contains(&token), "{words}");
        }
    }
    // A name of somebody else that leads here.
    let port = served.base.rsplit(':').next().unwrap();
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1",
        "localhost",
    ] {
        for path in ["/", "/page"] {
            let (status, words) = served.get(path, Some(&token), Some(host)).await;
            assert_eq!(status, 403, "{host}");
            assert!(!words.contains(name), "{words}");
        }
    }
    let local = format!("localhost:{port}");
    assert_eq!(served.get("/page", Some(&token), Some(&local)).await.0, 200);

    assert!(served.load.try_wait().unwrap().is_none(), "it stays");
    served.interrupt();
    let ended = tokio::task::spawn_blocking(move || served.load.wait().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

#[test]
fn it_listens_on_this_machine_only() {
    let bed = Bed::new();
    bed.write(
        "people.ndjson",
        "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n",
    );
    bed.write("m.yaml", MANIFEST);
    let ran = bed.run(&["load", "m.yaml", "--live=0.0.0.0:0"]).exits(2);
    assert!(
        ran.err.contains("0.0.0.0:0 is not a loopback address"),
        "{}",
        ran.err
    );
    assert!(!bed.path(".stoker").exists());
    let ran = bed.run(&["load", "m.yaml", "--live", "--quiet"]).exits(2);
    assert!(ran.err.contains("nobody is told the URL"), "{}", ran.err);
    // With nobody watching, it ends with the run.
    let ran = bed.run(&["load", "m.yaml", "--live"]).exits(0);
    assert!(
        ran.err.contains("the page of this run: http://127.0.0.1:"),
        "{}",
        ran.err
    );
    // The token is told to whoever started it, and kept nowhere.
    let token = ran
        .err
        .split("/#")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let mut find = Command::new("grep");
    let found = find
        .args(["-r", token])
        .arg(bed.path(".stoker"))
        .output()
        .unwrap();
    assert_eq!(found.status.code(), Some(1), "{found:?}");
}
