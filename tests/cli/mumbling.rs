//! Receivers over MLLP that acknowledge some messages of each connection and not the others: a load ends, and every message has
//! its own outcome.

use std::{
    cell::Cell,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use super::{
    bed::Bed,
    mllp::{Habit, ack, framed, receiver, say},
};

const MESSAGES: u64 = 200;

thread_local! {
    /// The number of messages of a connection: each is served by a thread of its own.
    static NTH: Cell<u32> = const { Cell::new(0) };
}

/// Counts a message of this connection.
fn nth() -> u32 {
    NTH.set(NTH.get() + 1);
    NTH.get()
}

fn bed(address: &str, more: &str) -> Bed {
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: feed\ntargets: {{ r: {{ mllp: {{ address: \"{address}\" }}, timeout: 400ms, retry: {{ attempts: 3, base: 1ms, max: 5ms }}, give_up_after: 2s }} }}\n\
             loads: [ {{ name: feed, files: [\"in/*\"]{more} }} ]\n"
        ),
    );
    let message = |n| {
        format!(
            "MSH|^~\\&|APP|FAC|R|RF|20260101080000||ADT^A04|m{n}|P|2.5\rPID|1||p{n}^^^CLINIC^MR||Plantedname^Anna\r"
        )
    };
    let all: String = (0..MESSAGES).map(message).collect();
    bed.write("in/a.hl7", &all);
    bed
}

const RECEIVERS: &[(&str, Habit)] = &[
    ("garbage behind the first", |s, id, _| {
        if nth() == 1 {
            say(s, &ack("AA", id, ""));
        } else {
            say(s, &framed("Plantedname says hello"));
        }
    }),
    ("another's behind the first", |s, id, _| {
        if nth() == 1 {
            say(s, &ack("AA", id, ""));
        } else {
            say(s, &ack("AA", "m9999", ""));
        }
    }),
    ("nothing behind the first", |s, id, _| {
        if nth() == 1 {
            say(s, &ack("AA", id, ""));
        }
    }),
    ("closes behind each", |s, id, _| {
        say(s, &ack("AA", id, ""));
        s.shutdown(Shutdown::Both).ok();
    }),
    ("closes at the second", |s, id, _| {
        if nth() == 1 {
            say(s, &ack("AA", id, ""));
        } else {
            s.shutdown(Shutdown::Both).ok();
        }
    }),
    ("answers twice", |s, id, _| {
        say(s, &ack("AA", id, ""));
        say(s, &ack("AA", id, ""));
    }),
    ("late for all", |s, id, _| {
        thread::sleep(Duration::from_millis(450));
        say(s, &ack("AA", id, ""));
    }),
    ("late behind the first", |s, id, _| {
        // Far behind the timeout, which a busy machine notices late.
        if nth() > 1 {
            thread::sleep(Duration::from_secs(2));
        }
        say(s, &ack("AA", id, ""));
    }),
];

#[test]
fn a_load_ends_whatever_stands_behind_the_first_acknowledgement() {
    for order in ["", ", order: strict"] {
        for settle in ["", ", settle: resend"] {
            for (what, habit) in RECEIVERS {
                let what = format!("{what}{order}{settle}");
                let (address, seen) = receiver(*habit);
                let bed = bed(&address, &[order, settle].concat());
                let begun = Instant::now();
                let ran = bed.run(&["load", "m.yaml"]);
                let took = begun.elapsed();
                let [created, unknown, pending] =
                    ["created", "unknown", "pending"].map(|outcome| bed.count(outcome));
                let all = (created, unknown, pending, &ran.out);
                assert_eq!(created + unknown + pending, MESSAGES, "{what}: {all:?}");
                assert!(took < Duration::from_secs(30), "{what}: {took:?}");
                // No more is lost than it takes to see the habit, and each is sent three times at most.
                assert!(unknown <= 4, "{what}: {all:?}");
                // One that is sent again goes on a fresh connection, and its first message is acknowledged there.
                if !settle.is_empty() && !what.starts_with("late for all") {
                    assert_eq!(unknown, 0, "{what}: {all:?}");
                }
                let sent = seen.lock().unwrap().len() as u64;
                assert!(sent <= MESSAGES + 8, "{what}: {sent} were sent");
                if what.starts_with("late for all") {
                    assert_eq!((created, ran.code), (0, 4), "{what}: {all:?}");
                } else {
                    assert_eq!(pending, 0, "{what}: {all:?}");
                    assert_eq!(ran.code, i32::from(unknown > 0), "{what}");
                }
                assert!(!ran.out.contains("Plantedname"), "{what}");
            }
        }
    }
}

#[test]
fn what_a_receiver_acknowledges_on_a_connection_is_said() {
    let (_, habit) = RECEIVERS[0];
    let (address, _) = receiver(habit);
    let bed = bed(&address, ", order: strict");
    let ran = bed.run(&["load", "m.yaml"]).exits(1);
    let all = [ran.out.as_str(), &ran.err].join(" ");
    let all = all.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "acknowledges on each connection no more than 1 of the messages";
    assert!(all.contains(words), "{all}");
}
