//! Bytes that nobody would write, for everything that reads bytes of others: no panic, no more than 256 MB held, and what has to
//! hold for any input (`targets`).
//!
//! The smoke changes seeds at random, so many for each target, and the same on every run. `tests/fuzz/run` gives the same targets
//! to an engine that looks for inputs by what they reach.

mod exchange;
mod memory;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::targets::{CEILING, TARGETS};
use super::support::data;

/// How many inputs each target gets; `STOKER_FUZZ` gives more.
const INPUTS: u64 = 3000;

/// How long the part of a seed is that the smoke takes: what stands behind it is pixels mostly.
const TAKEN: usize = 8 << 10;

/// What formats give a meaning: line ends, frames, separators, lengths.
const TELLING: [&[u8]; 17] = [
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\x0b",
    b"\x1c\r",
    b"MSH|^~\\&|",
    b"BHS|",
    b"BTS|9",
    b"\xef\xbb\xbf",
    b"--b",
    b"--",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\xdd\xe0",
    b"SQ\0\0",
    b"<Item>",
];

/// Makes an input of a seed.
fn changed(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let pick = |random: &mut StdRng| {
        let seed = &seeds[random.random_range(0..seeds.len())];
        seed[..seed.len().min(TAKEN)].to_vec()
    };
    let mut input = pick(random);
    for _ in 0..random.random_range(0..6) {
        if input.is_empty() {
            break;
        }
        let at = random.random_range(0..input.len());
        match random.random_range(0..7) {
            0 => input[at] ^= 1 << random.random_range(0..8),
            1 => input[at] = random.random(),
            2 => input.truncate(at),
            3 => {
                let telling = TELLING[random.random_range(0..TELLING.len())];
                input.splice(at..at, telling.iter().copied());
            }
            4 => {
                let telling = TELLING[random.random_range(0..TELLING.len())];
                let end = input.len().min(at + telling.len());
                input.splice(at..end, telling.iter().copied());
            }
            5 => {
                let end = random.random_range(at..=input.len());
                let twice = input[at..end].to_vec();
                input.splice(at..at, twice);
            }
            _ => {
                let other = pick(random);
                input.truncate(at);
                input.extend_from_slice(&other[other.len().min(at)..]);
            }
        }
    }
    input
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no `cli` that reads the environment for them"
)]
fn inputs() -> u64 {
    std::env::var("STOKER_FUZZ").map_or(INPUTS, |number| number.parse().unwrap())
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds::of(name);
    for seed in &seeds {
        target.check(seed);
    }
    for number in 0..inputs() {
        let mut random = StdRng::seed_from_u64(number);
        let input = changed(&seeds, &mut random);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target.check(&input))) {
            let found = data::root().join(format!("target/fuzz/{name}-{number}"));
            fs_err::create_dir_all(found.parent().unwrap()).unwrap();
            fs_err::write(&found, &input).unwrap();
            eprintln!("{name}: input {number} is written to {}", found.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn messages_are_split_whatever_a_file_holds() {
    smoke("hl7v2_split");
}

#[test]
fn frames_are_decoded_whatever_comes() {
    smoke("mllp_decoder");
}

#[test]
fn a_message_is_sent_whatever_a_receiver_answers() {
    smoke("mllp_exchange");
}

#[test]
fn instances_are_read_and_described_whatever_a_file_holds() {
    smoke("dicom_header");
}

#[test]
fn answers_are_read_whatever_a_server_says() {
    smoke("stow_answer");
}

#[test]
fn bodies_of_parts_are_read_whatever_comes() {
    smoke("multipart");
}

/// The ceiling is one: what is held over it is found out.
#[test]
fn what_is_held_is_counted() {
    let held = memory::most(|| drop(vec![1_u8; CEILING + 1]));
    assert!(held > CEILING, "{held}");
    let held = memory::most(|| {
        for _ in 0..10 {
            drop(vec![1_u8; 1 << 20]);
        }
    });
    assert!((1 << 20..2 << 20).contains(&held), "{held}");
}
