//! Messages to receivers over MLLP, each with habits of its own.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use fs_err as fs;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::bed::Bed;

/// What a receiver does with a message: it is given the control id, and how often it has had this one.
pub(super) type Habit = fn(&mut TcpStream, &str, u32);

/// A connection, encrypted or not.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// What a receiver has had: control ids and patients, in the order in which they came.
pub(super) type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// Starts a receiver.
pub(super) fn receiver(habit: Habit) -> (String, Seen) {
    receiver_of(habit, false)
}

/// Starts a receiver, which may serve one connection after the other.
fn receiver_of(habit: Habit, is_serial: bool) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            let served = thread::spawn(move || serve(&mut stream.unwrap(), habit, &kept));
            if is_serial {
                served.join().ok();
            }
        }
    });
    (address, seen)
}

fn serve(stream: &mut TcpStream, habit: Habit, seen: &Seen) {
    let mut held = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap_or(0);
        if read == 0 {
            return;
        }
        held.extend_from_slice(&piece[..read]);
        while let Some(end) = held.windows(2).position(|two| two == [0x1c, b'\r']) {
            let frame: Vec<u8> = held.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&frame[1..end]).into_owned();
            // What is sent back to commit an acknowledgement is no message.
            let Some(msh) = text.strip_prefix("MSH|") else {
                continue;
            };
            let id = msh.split('|').nth(8).unwrap_or_default().to_owned();
            let patient = text
                .split("PID|1||")
                .nth(1)
                .map_or("", |rest| &rest[..2])
                .to_owned();
            let times = {
                let mut seen = seen.lock().unwrap();
                seen.push((id.clone(), patient));
                seen.iter().filter(|(other, _)| *other == id).count()
            };
            habit(stream, &id, u32::try_from(times).unwrap());
        }
    }
}

pub(super) fn framed(text: &str) -> Vec<u8> {
    [b"\x0b".as_slice(), text.as_bytes(), b"\x1c\r"].concat()
}

pub(super) fn ack(code: &str, id: &str, more: &str) -> Vec<u8> {
    framed(&format!(
        "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rMSA|{code}|{id}|Plantedname\r{more}"
    ))
}

/// The same in a file of one batch.
fn batch(code: &str, id: &str, more: &str) -> Vec<u8> {
    let ack = ack(code, id, more);
    let inner = String::from_utf8_lossy(&ack[1..ack.len() - 2]).into_owned();
    framed(&format!("FHS|^~\\&|R\rBHS|^~\\&|R\r{inner}BTS|1\rFTS|1\r"))
}

pub(super) fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).ok();
}

/// A message about a patient; `more` stands in MSH-15 and MSH-16.
fn message(id: &str, patient: &str, more: &str) -> String {
    format!(
        "MSH|^~\\&|APP|FAC|R|RF|20260101080000||ADT^A04|{id}|P|2.5|||{more}\rPID|1||{patient}^^^CLINIC^MR||Plantedname^Anna\r"
    )
}

fn bed(address: &str, load: &str, more: &str) -> Bed {
    let bed = Bed::new();
    bed.write(
        "m.yaml",
        &format!(
            "version: 1\nname: feed\ntargets: {{ r: {{ mllp: {{ address: \"{address}\" }}, timeout: 600ms, retry: {{ attempts: 3, base: 1ms, max: 5ms }}, give_up_after: 2s }} }}\n\
             loads: [ {{ name: feed, files: [\"in/*\"]{load} }} ]\n"
        ),
    );
    bed.write("in/a.hl7", &message("m1", "p1", more));
    bed.write("in/b.hl7", &message("m2", "p2", more));
    bed
}

/// Habits of receivers, what MSH-15 and 16 say, and what becomes of two messages: created, rejected, unknown.
const HABITS: &[(&str, Habit, &str, [u64; 3])] = &[
    ("AA", |s, id, _| say(s, &ack("AA", id, "")), "", [2, 0, 0]),
    (
        "AA in pieces",
        |s, id, _| {
            for piece in ack("AA", id, "").chunks(7) {
                say(s, piece);
                thread::sleep(Duration::from_millis(2));
            }
        },
        "",
        [2, 0, 0],
    ),
    (
        "AE",
        |s, id, _| say(s, &ack("AE", id, "ERR||PID^1^5|101^Required|E\r")),
        "",
        [0, 2, 0],
    ),
    (
        "AR for the version",
        |s, id, _| say(s, &ack("AR", id, "ERR||MSH^1^12|203^no|E\r")),
        "",
        [0, 2, 0],
    ),
    (
        "locked once, then taken",
        |s, id, times| {
            let code = if times == 1 {
                ("AE", "ERR||PID^1^3|206^locked|E\r")
            } else {
                ("AA", "")
            };
            say(s, &ack(code.0, id, code.1));
        },
        "",
        [2, 0, 0],
    ),
    (
        "AR twice, then taken",
        |s, id, times| say(s, &ack(if times < 3 { "AR" } else { "AA" }, id, "")),
        "",
        [2, 0, 0],
    ),
    (
        "AR for a reason of its own, then taken",
        |s, id, times| {
            let error = "ERR|||999^busy|E\r";
            say(
                s,
                &ack(
                    if times < 3 { "AR" } else { "AA" },
                    id,
                    if times < 3 { error } else { "" },
                ),
            );
        },
        "",
        [2, 0, 0],
    ),
    (
        "AR for the version, in MSA-6",
        |s, id, _| {
            say(
                s,
                &framed(&format!(
                    "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.3\rMSA|AR|{id}||||203^no\r"
                )),
            );
        },
        "",
        [0, 2, 0],
    ),
    (
        "NAK for ever",
        |s, _, _| say(s, &framed("\u{15}")),
        "",
        [0, 2, 0],
    ),
    (
        "AR for ever",
        |s, id, _| say(s, &ack("AR", id, "")),
        "",
        [0, 2, 0],
    ),
    (
        "taken with a warning",
        |s, id, _| say(s, &ack("AA", id, "ERR|||0^warned|W\r")),
        "",
        [2, 0, 0],
    ),
    (
        "its control id with blanks around",
        |s, id, _| say(s, &ack("AA", &format!(" {id}  "), "")),
        "",
        [2, 0, 0],
    ),
    (
        "its control id in other capitals",
        |s, id, _| say(s, &ack("AA", &id.to_uppercase(), "")),
        "",
        [2, 0, 0],
    ),
    (
        "a component behind its control id",
        |s, id, _| say(s, &ack("AA", &format!("{id}^APP"), "")),
        "",
        [2, 0, 0],
    ),
    (
        "a component before its control id",
        |s, id, _| say(s, &ack("AA", &format!("APP^{id}"), "")),
        "",
        [0, 0, 2],
    ),
    (
        "an acknowledgement in a batch",
        |s, id, _| say(s, &batch("AA", id, "")),
        "",
        [2, 0, 0],
    ),
    (
        "a refusal in a batch",
        |s, id, _| say(s, &batch("AE", id, "ERR||PID^1^5|101^Required|E\r")),
        "",
        [0, 2, 0],
    ),
    (
        "another message's acknowledgement in a batch",
        |s, _, _| say(s, &batch("AA", "m9", "")),
        "",
        [0, 0, 2],
    ),
    (
        "a segment in small letters",
        |s, id, _| {
            say(
                s,
                &framed(&format!(
                    "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\rsft|x\rmsa|AA|{id}\r"
                )),
            );
        },
        "",
        [2, 0, 0],
    ),
    (
        "a code in small letters",
        |s, id, _| say(s, &ack("aa", id, "")),
        "",
        [0, 0, 2],
    ),
    (
        "taken and refused in one answer",
        |s, id, _| say(s, &ack("AA", id, &format!("MSA|AE|{id}\r"))),
        "",
        [0, 0, 2],
    ),
    (
        "taken, for two messages in one answer",
        |s, id, _| say(s, &ack("AA", id, "MSA|AA|m9\r")),
        "",
        [0, 0, 2],
    ),
    (
        "a commit alone, as wanted",
        |s, id, _| say(s, &ack("CA", id, "")),
        "AL|NE",
        [2, 0, 0],
    ),
    (
        "a commit, then the application",
        |s, id, _| {
            say(s, &ack("CA", id, ""));
            say(s, &ack("AE", id, "ERR||PID^1^5|101^Required|E\r"));
        },
        "AL|AL",
        [0, 2, 0],
    ),
    (
        "a commit, and the application elsewhere",
        |s, id, _| say(s, &ack("CA", id, "")),
        "AL|AL",
        [2, 0, 0],
    ),
    (
        "a commit that nobody wanted",
        |s, id, _| {
            say(s, &ack("CA", id, ""));
            say(s, &ack("AA", id, ""));
        },
        "",
        [2, 0, 0],
    ),
    (
        "CE",
        |s, id, _| say(s, &ack("CE", id, "ERR|||102^type|E\r")),
        "AL|NE",
        [0, 2, 0],
    ),
    ("no answer, as wanted", |_, _, _| {}, "NE|NE", [2, 0, 0]),
    (
        "no answer, where errors alone are told",
        |_, _, _| {},
        "ER|NE",
        [0, 0, 2],
    ),
    (
        "a commit, and errors alone are told",
        |s, id, _| say(s, &ack("CA", id, "")),
        "AL|ER",
        [2, 0, 0],
    ),
    (
        "a commit, and then an error",
        |s, id, _| {
            say(s, &ack("CA", id, ""));
            thread::sleep(Duration::from_millis(50));
            say(s, &ack("AE", id, ""));
        },
        "AL|ER",
        [0, 2, 0],
    ),
    (
        "an acknowledgement that names no message",
        |s, _, _| say(s, &ack("AA", "", "")),
        "",
        [0, 0, 2],
    ),
    (
        "answers that nobody wants",
        |s, id, _| say(s, &ack("AE", id, "")),
        "NE|NE",
        [0, 2, 0],
    ),
    (
        "a refusal in small letters, that nobody wants",
        |s, id, _| say(s, &ack("ae", id, "")),
        "NE|NE",
        [0, 0, 2],
    ),
    ("no answer", |_, _, _| {}, "", [0, 0, 2]),
    (
        "closed without an answer",
        |s, _, _| {
            s.shutdown(std::net::Shutdown::Both).ok();
        },
        "",
        [0, 0, 2],
    ),
    (
        "another message's acknowledgement, then its own",
        |s, id, _| {
            say(s, &ack("AE", "m9", ""));
            say(s, &ack("AA", id, ""));
        },
        "",
        [2, 0, 0],
    ),
    (
        "another message's acknowledgement alone",
        |s, _, _| say(s, &ack("AA", "m9", "")),
        "",
        [0, 0, 2],
    ),
    (
        "two acknowledgements",
        |s, id, _| {
            say(s, &ack("AA", id, ""));
            say(s, &ack("AA", id, ""));
        },
        "",
        [2, 0, 0],
    ),
    (
        "an acknowledgement without a frame",
        |s, id, _| say(s, &ack("AA", id, "")[1..30]),
        "",
        [0, 0, 2],
    ),
    (
        "a block that is none",
        |s, _, _| say(s, &framed("Plantedname says hello")),
        "",
        [0, 0, 2],
    ),
    (
        "an answer without MSA",
        |s, _, _| say(s, &framed("MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\r")),
        "",
        [0, 0, 2],
    ),
    (
        "an answer that is cut",
        |s, id, _| {
            say(s, &ack("AA", id, "")[..30]);
            s.shutdown(std::net::Shutdown::Both).ok();
        },
        "",
        [0, 0, 2],
    ),
    (
        "release 2: commits of one byte",
        |s, id, _| {
            say(s, &framed("\u{6}"));
            say(s, &ack("AA", id, ""));
        },
        "",
        [2, 0, 0],
    ),
    (
        "release 2: NAK once, then taken",
        |s, id, times| {
            if times == 1 {
                say(s, &framed("\u{15}"));
            } else {
                say(s, &ack("AA", id, ""));
            }
        },
        "",
        [2, 0, 0],
    ),
    (
        "other separators in the answer",
        |s, id, _| {
            say(
                s,
                &framed(&format!(
                    "MSH#*~\\&#R#F#S#F#2026##ACK#1#P#2.5\rMSA#AA#{id}\r"
                )),
            );
        },
        "",
        [2, 0, 0],
    ),
    (
        "a line end and a mark before the answer",
        |s, id, _| {
            let ack = ack("AA", id, "");
            say(s, &[b"\x0b\r\xef\xbb\xbf", &ack[1..]].concat());
        },
        "",
        [2, 0, 0],
    ),
    (
        "an empty frame before the answer",
        |s, id, _| {
            say(s, b"\x0b\x1c\r\x0b\r\n\x1c\r");
            say(s, &ack("AA", id, ""));
        },
        "",
        [2, 0, 0],
    ),
    (
        "an empty frame, and nothing else",
        |s, _, _| say(s, &framed("")),
        "",
        [0, 0, 2],
    ),
    (
        "a frame that ends without its CR",
        |s, id, _| {
            let ack = ack("AA", id, "");
            say(s, &ack[..ack.len() - 1]);
        },
        "",
        [2, 0, 0],
    ),
    (
        "line ends of another kind",
        |s, id, _| {
            say(
                s,
                &framed(&format!(
                    "MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\nMSA|AA|{id}\n"
                )),
            );
        },
        "",
        [2, 0, 0],
    ),
];

#[test]
fn every_habit_of_a_receiver_ends_as_it_says() {
    for (what, habit, wants, expected) in HABITS {
        let (address, _) = receiver(*habit);
        let bed = bed(&address, "", wants);
        let ran = bed.run(&["load", "m.yaml"]);
        let counts = ["created", "rejected", "unknown"].map(|outcome| bed.count(outcome));
        assert_eq!(counts, *expected, "{what}: {}{}", ran.out, ran.err);
        assert_eq!(ran.code, i32::from(expected[0] < 2), "{what}");
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains("Plantedname"), "{what}: {text}");
        }
        // What came instead of an acknowledgement is kept, and nowhere else.
        let came = [
            ("a block that is none", "Plantedname"),
            ("an answer that is cut", "R|F|S"),
            ("an acknowledgement without a frame", "R|F|S"),
            ("an acknowledgement that names no message", "Plantedname"),
            ("another message's acknowledgement alone", "Plantedname"),
        ];
        if let Some((_, words)) = came.iter().find(|(name, _)| name == what) {
            let kept = bed.newest_run().join("rejected/answers.ndjson");
            let kept = fs::read_to_string(kept).unwrap();
            assert!(kept.contains(words), "{what}: {kept}");
            let run = bed.newest_run();
            let run = run.to_str().unwrap();
            let shown = bed.run(&["report", run, "--show-content"]);
            assert!(shown.out.contains(words), "{what}: {}", shown.out);
        }
        if expected[1] > 0 {
            let kept = fs::read_to_string(bed.newest_run().join("rejected/feed.hl7")).unwrap();
            assert!(kept.contains("Plantedname"), "{what}");
        }
    }
}

/// Habits of receivers, what MSH-15 and 16 say, and what is said of them.
const SAID: &[(Habit, &str, &str)] = &[
    (|_, _, _| {}, "", "did not acknowledge the message in time"),
    (
        |s, _, _| {
            s.shutdown(std::net::Shutdown::Both).ok();
        },
        "",
        "closed the connection without an acknowledgement",
    ),
    (
        |s, _, _| say(s, &ack("AA", "m9", "")),
        "",
        "an acknowledgement of another message came",
    ),
    (
        |s, _, _| say(s, &ack("AA", "", "")),
        "",
        "names no message (MSA-2 is empty)",
    ),
    (
        |s, id, _| say(s, &ack("AA", id, "")[1..40]),
        "",
        "an answer came without MLLP's frame (39 bytes)",
    ),
    (
        |s, _, _| say(s, b"Plantedname\n"),
        "",
        "what came is in no MLLP frame (12 bytes)",
    ),
    (
        |s, id, _| {
            say(s, &ack("AA", id, "")[..30]);
            s.shutdown(std::net::Shutdown::Both).ok();
        },
        "",
        "an answer began and did not end",
    ),
    (
        |s, _, _| say(s, &framed("")),
        "",
        "a frame came with nothing in it",
    ),
    (
        |s, _, _| say(s, &framed("Plantedname")),
        "",
        "the answer is no message of HL7v2",
    ),
    (
        |s, _, _| say(s, &framed("MSH|^~\\&|R|F|S|F|2026||ACK|1|P|2.5\r")),
        "",
        "the answer has no MSA",
    ),
    (
        |s, id, _| say(s, &ack("OK", id, "")),
        "",
        "none of AA, AE, AR, CA, CE, CR",
    ),
    (
        |s, id, _| say(s, &ack("aa", id, "")),
        "",
        "in small letters, which no code of table 0008 is",
    ),
    (
        |s, id, _| say(s, &ack("AA", id, &format!("MSA|AR|{id}\r"))),
        "",
        "several MSA, which contradict each other",
    ),
    (
        |s, _, _| say(s, &framed("M\0S\0H\0|\0")),
        "",
        "the answer is in UTF-16",
    ),
    (
        |s, _, _| say(s, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "",
        "what came is an answer of HTTP, without MLLP's frame (28 bytes)",
    ),
    (
        |_, _, _| {},
        "ER|NE",
        "it was taken, or the answer was lost",
    ),
    (
        |_, _, _| {},
        "NE|SU",
        "it was refused, or the answer was lost",
    ),
    (
        |s, _, _| say(s, &framed("\u{6}")),
        "",
        "it has received the frame",
    ),
    (|s, _, _| say(s, &framed("\u{15}")), "", "a NAK of MLLP"),
    (
        |s, id, _| say(s, &ack("AE", id, "ERR||PID^1^5|101^Plantedname|E\r")),
        "",
        "PID^1^5: a required field is missing",
    ),
    (
        |s, id, _| say(s, &ack("AR", id, "")),
        "",
        "the receiver refused it for now; given up after 3 attempts",
    ),
];

#[test]
fn what_happened_is_said_in_the_report() {
    for (habit, wants, words) in SAID {
        let (address, _) = receiver(*habit);
        let bed = bed(&address, "", wants);
        let ran = bed.run(&["load", "m.yaml"]).exits(1);
        // Lines are folded.
        let out = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains(words), "{words}: {out}");
        assert!(!out.contains("Plantedname"), "{words}: {out}");
    }
}

/// A message that waits for its turn at a receiver that answers nothing is not said to have been sent as often as it waited.
#[test]
fn an_attempt_in_which_nothing_is_sent_is_none_at_a_message() {
    let (address, seen) = receiver(|_, _, _| {});
    let bed = bed(&address, "", "");
    for name in ["c", "d", "e"] {
        bed.write(&format!("in/{name}.hl7"), &message(name, name, ""));
    }
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    // Three are risked at once, and one at a time behind a pause in which the others are not sent.
    let sent = seen.lock().unwrap().len();
    assert!((4..=5).contains(&sent), "{sent}");
    assert!(!ran.out.contains("given up after"), "{}", ran.out);
}

#[test]
fn one_message_is_sent_by_itself() {
    let cases: [(Habit, i32, &str); 4] = [
        (|s, id, _| say(s, &ack("AA", id, "")), 0, ""),
        (
            |s, id, _| say(s, &ack("AE", id, "ERR||PID^1^5|101^Plantedname|E\r")),
            1,
            "AE 101, PID^1^5: a required field is missing",
        ),
        (
            |s, _, _| say(s, &framed("Plantedname")),
            4,
            "the answer is no message of HL7v2",
        ),
        (|_, _, _| {}, 4, "did not acknowledge the message in time"),
    ];
    for (habit, code, words) in cases {
        let (address, _) = receiver(habit);
        let bed = bed(&address, "", "");
        let ran = bed
            .run(&["create", "in/a.hl7", "--manifest", "m.yaml"])
            .exits(code);
        assert!(ran.err.contains(words), "{}", ran.err);
        assert!(!ran.err.contains("Plantedname"), "{}", ran.err);
    }
}

#[test]
fn a_receiver_that_serves_one_connection_at_a_time_gets_one() {
    let habit: Habit = |s, id, _| say(s, &ack("AA", id, ""));
    let (address, seen) = receiver_of(habit, true);
    let bed = bed(&address, "", "");
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    bed.write("m.yaml", &manifest.replace("600ms", "4s"));
    let all: String = (0..60)
        .map(|n| message(&format!("z{n}"), &format!("z{n}"), ""))
        .collect();
    bed.write("in/many.hl7", &all);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), seen.lock().unwrap().len()), (62, 62));
}

#[test]
fn what_cannot_be_answered_otherwise_is_not_sent_again() {
    let (address, seen) = receiver(|_, _, _| {});
    let bed = bed(&address, ", settle: resend", "ER|NE");
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("unknown"), seen.lock().unwrap().len()), (2, 2));
}

#[test]
fn a_message_without_a_control_id_has_its_connection_alone() {
    // Each answers twice: a second answer must not be taken for the next message's.
    let (address, seen) = receiver(|s, id, times| {
        let code = if id.is_empty() && times > 1 {
            "AE"
        } else {
            "AA"
        };
        say(s, &ack(code, id, ""));
        say(s, &ack("AE", "", ""));
    });
    let bed = bed(&address, ", order: strict", "");
    bed.write("in/c.hl7", &message("", "p3", ""));
    bed.write("in/d.hl7", &message("m4", "p4", ""));
    let ran = bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 4, "{}", ran.out);
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[test]
fn what_cannot_be_framed_is_not_sent() {
    let (address, seen) = receiver(|s, id, _| say(s, &ack("AA", id, "")));
    let bed = bed(&address, "", "");
    bed.write("in/c.hl7", &message("m3", "p\u{1c}", ""));
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(ran.out.contains("1 (frame)"), "{}", ran.out);
    bed.run(&["load", "m.yaml"]).exits(1);
    assert_eq!((bed.count("created"), bed.count("unsupported")), (2, 1));
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn a_manifest_says_how_a_receiver_is_reached() {
    let bed = bed("127.0.0.1:9", "", "");
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    let of = |mllp: &str, more: &str, load: &str| {
        manifest
            .replace(
                "address: \"127.0.0.1:9\"",
                &format!("address: \"127.0.0.1:9\"{mllp}"),
            )
            .replace("timeout:", &format!("{more}timeout:"))
            .replace("files:", &format!("{load}files:"))
    };
    for (mllp, more, load, code, words) in [
        ("", "", "interaction: transmit, ", 0, ""),
        ("", "", "interaction: create, ", 2, "takes `transmit`"),
        (", tls: { ca: a.pem }", "", "", 0, ""),
        (
            ", tls: { ca: a.pem }",
            "tls: { ca: b.pem }, ",
            "",
            2,
            "one of the two places",
        ),
        (
            ", tls: false",
            "tls: { ca: b.pem }, ",
            "",
            0,
            "`tls` has no effect",
        ),
        (", tls: { cert: a.pem }", "", "", 2, "certificate"),
        ("", "auth: none, ", "", 0, "`auth` has no effect"),
        (
            "",
            "proxy: \"http://p.example:1\", ",
            "",
            0,
            "`proxy` has no effect",
        ),
        ("", "", "labels: { a: b }, ", 0, "`labels` has no effect"),
        ("", "", "settle: tag, ", 2, "cannot be asked"),
    ] {
        bed.write("m.yaml", &of(mllp, more, load));
        let ran = bed.run(&["plan", "m.yaml", "--offline"]).exits(code);
        assert!(ran.err.contains(words), "{mllp}{more}{load}: {}", ran.err);
    }
    let defaults = manifest.replace(
        "targets:",
        "defaults: { target: { tls: { ca: nowhere.pem } } }\ntargets:",
    );
    bed.write(
        "m.yaml",
        &defaults.replace("127.0.0.1:9\"", "127.0.0.1:9\", tls: false"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(ran.err.contains("nobody listens"), "{}", ran.err);
}

#[test]
fn what_was_acknowledged_is_not_sent_again_and_patients_keep_their_order() {
    // Some are refused for a moment, so that others could overtake them.
    let (address, seen) = receiver(|s, id, times| {
        let is_slow = id.ends_with('1') && times == 1;
        say(s, &ack(if is_slow { "AR" } else { "AA" }, id, ""));
    });
    let bed = bed(&address, "", "");
    let all: String = (0..40)
        .map(|n| message(&format!("x{n:02}"), &format!("q{}", n % 4), ""))
        .collect();
    bed.write("in/many.hl7", &all);
    let ran = bed.run(&["plan", "m.yaml"]).exits(0);
    assert!(ran.out.contains("42 records to send"), "{}", ran.out);
    assert_eq!(seen.lock().unwrap().len(), 0);
    bed.run(&["load", "m.yaml", "--dry-run"]).exits(0);
    assert_eq!(seen.lock().unwrap().len(), 0);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(bed.count("created"), 42);
    let came = seen.lock().unwrap().clone();
    for patient in ["q0", "q1", "q2", "q3"] {
        let of = came.iter().filter(|(_, of)| of == patient);
        let mut ids: Vec<&String> = of.map(|(id, _)| id).collect();
        ids.dedup();
        assert!(ids.is_sorted(), "{patient}: {ids:?}");
        assert_eq!(ids.len(), 10);
    }
    let before = came.len();
    let ran = bed.run(&["plan", "m.yaml", "--online"]).exits(0);
    assert!(ran.out.contains("0 to create"), "{}", ran.out);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!(
        (bed.count("unchanged"), seen.lock().unwrap().len()),
        (42, before)
    );
    bed.run(&["load", "m.yaml", "--fresh"]).exits(0);
    assert_eq!(seen.lock().unwrap().len(), before + 42);
}

#[test]
fn a_lost_acknowledgement_is_settled_as_the_load_says() {
    // The first answer is lost.
    let habit: Habit = |s, id, times| {
        if times == 1 {
            s.shutdown(std::net::Shutdown::Both).ok();
        } else {
            say(s, &ack("AA", id, ""));
        }
    };
    let (address, seen) = receiver(habit);
    let without = bed(&address, "", "");
    let ran = without.run(&["load", "m.yaml"]).exits(1);
    assert_eq!(
        (without.count("unknown"), seen.lock().unwrap().len()),
        (2, 2)
    );
    assert!(ran.out.contains("settle: resend"), "{}", ran.out);
    let (address, seen) = receiver(habit);
    let with = bed(&address, ", settle: resend", "");
    let ran = with.run(&["plan", "m.yaml"]).exits(0);
    assert!(ran.out.contains("MSH-10"), "{}", ran.out);
    let ran = with.run(&["load", "m.yaml"]).exits(0);
    assert!(
        ran.out
            .contains("2, which the receiver has to know by MSH-10"),
        "{}",
        ran.out
    );
    assert_eq!((with.count("created"), seen.lock().unwrap().len()), (2, 4));
    let records = fs::read_to_string(with.newest_run().join("records.ndjson")).unwrap();
    assert_eq!(
        records.matches("has to know it by MSH-10").count(),
        2,
        "{records}"
    );
    // A store that can be asked is asked.
    with.write("m.yaml", "version: 1\nname: feed\ntargets: { t: { local: { dir: store, hl7v2_store: hl7v2 } } }\nloads: [ { name: feed, files: [\"in/*\"], settle: resend } ]\n");
    let ran = with.run(&["check", "m.yaml"]).exits(2);
    assert!(ran.err.contains("settle: resend"), "{}", ran.err);
}

#[test]
fn a_receiver_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let bed = bed(&address, "", "");
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(
        ran.err.contains(&address) && ran.err.contains("nobody listens"),
        "{}",
        ran.err
    );
    // A plan without it is made all the same.
    let ran = bed.run(&["plan", "m.yaml", "--offline"]).exits(0);
    let words = ["cannot be asked", &address, "settle"];
    assert!(
        words.iter().all(|words| ran.out.contains(words)),
        "{}",
        ran.out
    );
    bed.write(
        "m.yaml",
        &fs::read_to_string(bed.path("m.yaml"))
            .unwrap()
            .replace("127.0.0.1:", "nowhere.invalid:"),
    );
    let ran = bed.run(&["load", "m.yaml"]).exits(4);
    assert!(ran.err.contains("cannot be resolved (DNS)"), "{}", ran.err);
}

#[test]
fn an_idle_connection_that_was_closed_is_opened_anew() {
    // Each connection takes one message, and is closed behind its answer: well before the next one is sent.
    let (address, seen) = receiver(|s, id, _| {
        say(s, &ack("AA", id, ""));
        s.shutdown(std::net::Shutdown::Both).ok();
    });
    let bed = bed(&address, ", order: strict", "");
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    bed.write(
        "m.yaml",
        &manifest.replace("timeout: 600ms", "timeout: 600ms, rate: 30/s"),
    );
    let all: String = (0..20)
        .map(|n| message(&format!("y{n}"), "p9", ""))
        .collect();
    bed.write("in/many.hl7", &all);
    bed.run(&["load", "m.yaml"]).exits(0);
    assert_eq!((bed.count("created"), seen.lock().unwrap().len()), (22, 22));
}

/// A private authority, and a receiver of TLS that wants a certificate of it.
fn receiver_of_tls(bed: &Bed) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    bed.write("ca.pem", &certificate.pem());
    let issuer = Issuer::new(authority, authority_key);
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (client, client_key) = issue("client");
    bed.write("client.pem", &client.pem());
    bed.write("client.key", &client_key.serialize_pem());
    let (server, key) = issue("localhost");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            thread::spawn(move || acknowledge_all(&mut stream));
        }
    });
    format!("localhost:{port}")
}

fn acknowledge_all(stream: &mut impl Stream) {
    let (mut held, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        held.extend_from_slice(&piece[..read]);
        while let Some(end) = held.windows(2).position(|two| two == [0x1c, b'\r']) {
            let frame: Vec<u8> = held.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&frame).into_owned();
            let id = text.split('|').nth(9).unwrap_or_default().to_owned();
            stream.write_all(&ack("AA", &id, "")).ok();
        }
    }
}

#[test]
fn tls_is_verified_and_shows_the_clients_certificate() {
    let bed = bed("localhost:1", "", "");
    let address = receiver_of_tls(&bed);
    let manifest = fs::read_to_string(bed.path("m.yaml")).unwrap();
    let cases = [
        (
            "tls: { ca: ca.pem, certificate: client.pem, key: client.key }, ",
            0,
            "",
        ),
        ("tls: { ca: ca.pem }, ", 4, "client's certificate"),
        (
            "tls: { certificate: client.pem, key: client.key }, ",
            4,
            "authority that is not trusted",
        ),
        ("tls: { ca: client.key }, ", 2, "holds no certificate"),
        ("tls: { ca: ca.pem, certificate: client.pem }, ", 2, "`key`"),
        ("", 4, "speaks TLS"),
    ];
    for (tls, code, words) in cases {
        let is_encrypted = if tls.is_empty() { "" } else { ", tls: true" };
        let target = format!("{tls}mllp: {{ address: \"{address}\"{is_encrypted} }}");
        bed.write(
            "m.yaml",
            &manifest.replace("mllp: { address: \"localhost:1\" }", &target),
        );
        let ran = bed.run(&["load", "m.yaml", "--fresh"]).exits(code);
        assert!(ran.err.contains(words), "{tls}: {}", ran.err);
    }
}
