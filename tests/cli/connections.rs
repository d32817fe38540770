//! Receivers over MLLP that close connections: behind each acknowledgement, those that are too many, or all of them.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{
    bed::Bed,
    mllp::{Habit, ack, framed, receiver as speaker, say},
};

/// What a receiver has had: control ids in the order in which they came, and the number of connections.
#[derive(Default)]
struct Seen {
    ids: Vec<String>,
    connections: usize,
    live: usize,
}

/// How a receiver treats connections.
#[derive(Clone, Copy)]
struct Ways {
    /// It closes the ones beyond.
    serves: usize,
    /// Those it closes it closes after so long, whatever came meanwhile.
    lingers: Duration,
    /// It closes a connection on which it has answered so many, after so long.
    closes: Option<(usize, Duration)>,
    /// It answers after so long.
    answers: Duration,
    /// It drops the connection of a message whose control id begins so.
    chokes: &'static str,
}

const GOOD: Ways = Ways {
    serves: usize::MAX,
    lingers: Duration::ZERO,
    closes: None,
    answers: Duration::from_millis(2),
    chokes: "?",
};

fn receiver(ways: Ways) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let kept = Arc::clone(&seen);
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, kept) = (stream.unwrap(), Arc::clone(&kept));
            let is_served = {
                let mut seen = kept.lock().unwrap();
                seen.connections += 1;
                let is_served = seen.live < ways.serves;
                seen.live += usize::from(is_served);
                is_served
            };
            thread::spawn(move || {
                if is_served {
                    serve(stream, ways, &kept);
                    kept.lock().unwrap().live -= 1;
                } else {
                    thread::sleep(ways.lingers);
                }
            });
        }
    });
    (address, seen)
}

fn serve(mut stream: TcpStream, ways: Ways, seen: &Mutex<Seen>) {
    let (mut held, mut piece, mut answered) = (Vec::new(), [0; 4096], 0);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        held.extend_from_slice(&piece[..read]);
        while let Some(end) = held.windows(2).position(|two| two == [0x1c, b'\r']) {
            let frame: Vec<u8> = held.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&frame).into_owned();
            let id = text.split('|').nth(9).unwrap_or_default().to_owned();
            seen.lock().unwrap().ids.push(id.clone());
            if id.starts_with(ways.chokes) {
                return;
            }
            thread::sleep(ways.answers);
            stream.write_all(&ack("AA", &id, "")).ok();
            answered += 1;
            if let Some((most, after)) = ways.closes
                && answered >= most
            {
                thread::sleep(after);
                stream.shutdown(Shutdown::Both).ok();
                return;
            }
        }
    }
}

fn bed(address: &str, load: &str, target: &str, messages: impl Iterator<Item = String>) -> Bed {
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: feed\ntargets: {{ r: {{ mllp: {{ address: \"{address}\" }}, timeout: 5s, retry: {{ attempts: 3, base: 1ms, max: 5ms }}, give_up_after: 2s{target} }} }}\n\
             loads: [ {{ name: feed, files: [\"in/*\"]{load} }} ]\n"
        ),
    );
    bed.write("in/all.hl7", &messages.collect::<String>());
    bed
}

fn message(id: &str, patient: &str) -> String {
    format!(
        "MSH|^~\\&|APP|FAC|R|RF|20260101080000||ADT^A04|{id}|P|2.5\rPID|1||{patient}^^^CLINIC^MR||Plantedname^Anna\r"
    )
}

fn many(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| message(&format!("m{n}"), &format!("p{n}")))
}

#[test]
fn a_receiver_that_closes_behind_each_acknowledgement_costs_no_message() {
    for after in [0, 2, 20].map(Duration::from_millis) {
        for (load, target) in [("", ""), ("", ", concurrency: 1"), (", order: strict", "")] {
            let (address, seen) = receiver(Ways {
                closes: Some((1, after)),
                ..GOOD
            });
            let bed = bed(&address, load, target, many(60));
            let ran = bed.run(&["load", "m.yaml", "-v"]).exits(0);
            assert_eq!(bed.count("created"), 60, "{after:?} {load}{target}");
            assert_eq!(seen.lock().unwrap().ids.len(), 60);
            let told = ran.err.matches("closes each connection behind").count();
            assert_eq!(told, 1, "{}", ran.err);
            let note = "Note: target `r` closes each connection behind its first";
            assert!(ran.out.contains(note), "{}", ran.out);
            let remarks = bed.report()["requests"]["remarks"].to_string();
            assert!(remarks.contains("behind its first"), "{remarks}");
        }
    }
}

#[test]
fn a_habit_that_cannot_be_seen_beforehand_costs_a_few() {
    // Well after the moment in which the first is watched.
    for (closes, most) in [((1, 150), 3), ((10, 0), 40)] {
        let (address, _) = receiver(Ways {
            closes: Some((closes.0, Duration::from_millis(closes.1))),
            ..GOOD
        });
        let bed = bed(&address, "", ", concurrency: 8", many(300));
        assert!(bed.run(&["load", "m.yaml"]).code <= 1);
        assert!(
            bed.count("unknown") <= most,
            "{closes:?}: {}",
            bed.count("unknown")
        );
    }
}

#[test]
fn connections_that_are_kept_are_used_again() {
    let (address, seen) = receiver(GOOD);
    let bed = bed(&address, "", ", concurrency: 4", many(200));
    bed.run(&["load", "m.yaml"]).exits(0);
    assert!(seen.lock().unwrap().connections <= 6);
}

#[test]
fn connections_that_are_too_many_are_not_opened_again() {
    for serves in [1, 3] {
        let (address, seen) = receiver(Ways {
            serves,
            answers: Duration::from_millis(5),
            ..GOOD
        });
        let bed = bed(&address, "", "", many(300));
        bed.run(&["load", "m.yaml"]).exits(0);
        let seen = seen.lock().unwrap();
        assert_eq!((bed.count("created"), seen.ids.len()), (300, 300));
        let remarks = bed.report()["requests"]["remarks"].to_string();
        let words = format!("serves no more than {serves} connection");
        assert!(remarks.contains(&words), "{remarks}");
        assert!(seen.connections <= serves + 3, "{}", seen.connections);
    }
    // One that has messages written to it first costs some, and then no more.
    let (address, _) = receiver(Ways {
        serves: 2,
        lingers: Duration::from_millis(60),
        ..GOOD
    });
    let bed = bed(&address, "", "", many(300));
    assert!(bed.run(&["load", "m.yaml"]).code <= 1);
    assert!(bed.count("unknown") <= 4, "{}", bed.count("unknown"));
}

#[test]
fn nobody_behind_the_port_uses_up_no_records() {
    let (address, seen) = receiver(Ways { serves: 0, ..GOOD });
    let at_once = bed(&address, "", "", many(60));
    let ran = at_once.run(&["load", "m.yaml"]).exits(4);
    assert!(ran.err.contains("closes them at once"), "{}", ran.err);
    assert!(seen.lock().unwrap().ids.is_empty());
    // One that is found out only when a message was sent.
    let (address, _) = receiver(Ways {
        serves: 0,
        lingers: Duration::from_millis(300),
        ..GOOD
    });
    for load in ["", ", settle: resend"] {
        let bed = bed(&address, load, "", many(60));
        let ran = bed.run(&["load", "m.yaml"]).exits(4);
        assert!(ran.err.contains("no more are risked"), "{}", ran.err);
        assert!(bed.count("unknown") <= 6, "{}", bed.count("unknown"));
    }
}

#[test]
fn a_receiver_that_never_acknowledges_uses_up_no_records() {
    let habits: [(&str, Habit); 7] = [
        ("an echo", |s, id, _| {
            say(s, &framed(&message(id, "Plantedname")));
        }),
        ("HTTP", |s, _, _| {
            say(s, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            s.shutdown(Shutdown::Both).ok();
        }),
        ("HTTP that stays", |s, _, _| {
            say(s, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }),
        ("an empty frame", |s, _, _| say(s, &framed(""))),
        ("UTF-16", |s, _, _| say(s, &framed("M\0S\0H\0|\0"))),
        ("small letters", |s, id, _| say(s, &ack("aa", id, ""))),
        ("another message", |s, _, _| say(s, &ack("AA", "none", ""))),
    ];
    for (what, habit) in habits {
        let (address, seen) = speaker(habit);
        let bed = bed(&address, "", "", many(60));
        let manifest = fs_err::read_to_string(bed.path("m.yaml")).unwrap();
        bed.write("m.yaml", &manifest.replace("timeout: 5s", "timeout: 300ms"));
        let ran = bed.run(&["load", "m.yaml"]).exits(4);
        let words = "answers with what is no acknowledgement";
        assert!(ran.err.contains(words), "{what}: {}", ran.err);
        assert!(!ran.err.contains("Plantedname"), "{what}: {}", ran.err);
        assert!(ran.out.contains("acknowledged none of"), "{}", ran.out);
        let (lost, sent) = (bed.count("unknown"), seen.lock().unwrap().len());
        assert!(lost <= 6 && sent <= 6, "{what}: {lost} of {sent}");
    }
}

#[test]
fn messages_that_a_receiver_chokes_on_cost_no_others() {
    let (address, seen) = receiver(Ways {
        chokes: "bad",
        ..GOOD
    });
    let all = (0..200).map(|n| {
        let id = if n % 10 == 1 { "bad" } else { "m" };
        message(&format!("{id}{n}"), &format!("p{n}"))
    });
    let bed = bed(&address, "", ", concurrency: 4", all);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unknown")), (180, 20));
    assert!(seen.lock().unwrap().connections < 100);
}

#[test]
fn a_merge_keeps_its_place_among_the_messages_of_all_that_it_names() {
    let (address, seen) = receiver(Ways {
        answers: Duration::from_millis(10),
        ..GOOD
    });
    let all = (0..20).flat_map(|n| {
        let (old, new) = (format!("q{n}"), format!("r{n}"));
        let event = |id: &str, patient: &str, event: &str, more: &str| {
            let text = message(&format!("{id}-{n}"), patient).replace("A04", event);
            text + more
        };
        let swapped = format!("PID|2||s{n}^^^CLINIC^MR\r");
        [
            event("a", &old, "A04", ""),
            event("b", &old, "A08", ""),
            event("c", &new, "A40", &format!("MRG|{old}^^^CLINIC^MR\r")),
            event("d", &old, "A08", ""),
            event("e", &format!("s{n}"), "A08", ""),
            event("f", &new, "A17", &swapped),
            event("g", &format!("s{n}"), "A08", ""),
        ]
    });
    let bed = bed(&address, "", "", all);
    bed.run(&["load", "m.yaml"]).exits(0);
    let ids = seen.lock().unwrap().ids.clone();
    let at = |id: &str, n: usize| ids.iter().position(|seen| *seen == format!("{id}-{n}"));
    for n in 0..20 {
        for (before, after) in ["ab", "bc", "cd", "cf", "ef", "fg"].map(|two| two.split_at(1)) {
            assert!(
                at(before, n) < at(after, n),
                "{before} {after} {n}: {ids:?}"
            );
        }
    }
}
