//! What reads bytes that others wrote, each with what has to hold for any bytes whatever.
//!
//! Shared by the smoke among the tests and by the crate in `bolero`. An input is the bytes themselves, so that any file is a
//! seed; where they have to be cut into pieces, the sizes come from the bytes.

#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "also part of a crate of its own"
)]

use std::io::Read;

use stoker::dicom::{
    answer, compare,
    describe::describe,
    header,
    multipart::{Boundary, boundary_of, only_part},
    parts::{MalformedParts, PartEvent, PartSplitter},
};
use stoker::hl7v2::{
    ack::Ack,
    header::MessageHeader,
    mllp::{Decoder, FrameTooLarge, Received, frame},
    segment::normalised,
    split::{self, Piece},
    wire::{Characters, Segments, wire},
};

use super::{exchange, memory};

/// The most that any input may make anything hold.
pub(crate) const CEILING: usize = 256 << 20;

/// A thing that is given inputs.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Panics where something does not hold.
    check: fn(&[u8]),
}

/// All of them.
pub(crate) const TARGETS: [Target; 6] = [
    Target {
        name: "hl7v2_split",
        check: hl7v2_split,
    },
    Target {
        name: "mllp_decoder",
        check: mllp_decoder,
    },
    Target {
        name: "mllp_exchange",
        check: exchange::check,
    },
    Target {
        name: "dicom_header",
        check: dicom_header,
    },
    Target {
        name: "stow_answer",
        check: stow_answer,
    },
    Target {
        name: "multipart",
        check: multipart,
    },
];

impl Target {
    /// Gives an input.
    pub(crate) fn check(&self, input: &[u8]) {
        let held = memory::most(|| (self.check)(input));
        assert!(
            held <= CEILING,
            "{} held {held} bytes for an input of {}",
            self.name,
            input.len()
        );
    }
}

/// Cuts bytes into pieces of odd sizes, small ones mostly.
fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let mut state = input.iter().fold(input.len() as u64, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rest = input;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let most = if state >> 62 == 0 { 4096 } else { 5 };
        let size = usize::try_from((state >> 33) % most).unwrap() + 1;
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Where a piece of a file stands, and what it is.
fn told(piece: Piece<'_>) -> (std::ops::Range<usize>, bool, String) {
    let (place, is_message) = match &piece {
        Piece::Message(message) => (message.place, true),
        Piece::Envelope(_, place) => (*place, false),
        Piece::Problem(problem) => (problem.place, false),
    };
    let range = usize::try_from(place.start).unwrap()..usize::try_from(place.end()).unwrap();
    (range, is_message, format!("{piece:?}"))
}

fn hl7v2_split(input: &[u8]) {
    let mut whole = Vec::new();
    let mut messages = Vec::new();
    split::MessageSplitter::whole(input, &mut |piece| {
        if let Piece::Message(message) = piece {
            let start = usize::try_from(message.place.start).unwrap();
            assert_eq!(
                input.get(start..start + message.bytes.len()),
                Some(message.bytes)
            );
            messages.push(message.bytes.to_vec());
        }
        whole.push(told(piece));
    });
    covers(input, &whole);
    let cut = |limit: usize| {
        let mut told = Vec::new();
        let mut splitter = split::MessageSplitter::new(limit);
        for piece in pieces(input) {
            splitter.feed(piece, &mut |piece| told.push(self::told(piece)));
        }
        splitter.finish(&mut |piece| told.push(self::told(piece)));
        told
    };
    assert_eq!(
        whole,
        cut(usize::MAX),
        "the pieces in which a file comes play a part"
    );
    let limited = cut(64);
    covers(input, &limited);
    for (range, is_message, _) in limited {
        assert!(!is_message || range.len() <= 64);
    }
    for message in &messages {
        hl7v2_message(message);
    }
}

/// Every byte lies in a piece, or ends a line or frames one; messages do not overlap.
fn covers(input: &[u8], told: &[(std::ops::Range<usize>, bool, String)]) {
    let mut is_seen = vec![false; input.len()];
    let mut end = 0;
    for (range, is_message, what) in told {
        if *is_message {
            assert!(range.start >= end, "{what} begins before {end}");
            end = range.end;
        }
        is_seen
            .get_mut(range.clone())
            .unwrap_or_else(|| panic!("{range:?} is outside of the file: {what}"))
            .fill(true);
    }
    for (at, (byte, is_seen)) in input.iter().zip(is_seen).enumerate() {
        assert!(
            is_seen || matches!(byte, b'\r' | b'\n' | 0x0b | 0x1c),
            "byte {at} ({byte:#04x}) is in no piece: {told:?}"
        );
    }
}

fn hl7v2_message(message: &[u8]) {
    let ended = normalised(message).into_owned();
    assert_eq!(normalised(&ended), ended);
    if let Ok(header) = MessageHeader::of(message) {
        let _ = (header.kind(), header.at(), header.faults());
        let _ = stoker::hl7v2::header::patients(message, &header.separators);
        let _ = stoker::hl7v2::charset::written(message, &header);
    }
    for segments in [Segments::Cr, Segments::AsIs] {
        if let Ok(converted) = wire(message, segments, Characters::Convert) {
            // What is left as it is, is ASCII or says that it is UTF-8.
            assert!(std::str::from_utf8(&converted).is_ok());
        }
    }
    let _ = Ack::parse(message);
}

/// What a decoder gives, up to the frame that is too large.
fn decoded<'p>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Vec<Received>, Option<FrameTooLarge>) {
    let mut decoder = Decoder::new(limit);
    let mut all = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.received() {
                Ok(Some(received)) => all.push(received),
                Ok(None) => break,
                Err(why) => return (all, Some(why)),
            }
        }
    }
    all.extend(decoder.rest());
    (all, None)
}

fn mllp_decoder(input: &[u8]) {
    let (whole, none) = decoded(usize::MAX, [input]);
    assert_eq!(none, None);
    let (cut, none) = decoded(usize::MAX, pieces(input));
    assert_eq!(
        (&whole, none),
        (&cut, None),
        "the pieces that come play a part"
    );
    for received in &whole {
        if let Received::Block(block) = received {
            let _ = Ack::parse(block);
            // What came in a frame goes out in one.
            if let Ok(framed) = frame(block) {
                let (again, _) = decoded(usize::MAX, [framed.as_slice()]);
                assert_eq!(again, [Received::Block(block.clone())]);
            }
        }
    }
    let (small, _) = decoded(100, pieces(input));
    for received in small {
        if let Received::Block(block) = received {
            assert!(block.len() <= 100);
        }
    }
}

/// Gives bytes a few at a time, as a network does.
struct Slow<'b>(&'b [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(7);
        self.0.read(buffer.get_mut(..most).unwrap())
    }
}

fn dicom_header(input: &[u8]) {
    let read = header::read(input);
    if input.len() < 4096 {
        let slowly = header::read(Slow(input));
        assert_eq!(
            read.as_ref().ok(),
            slowly.as_ref().ok(),
            "the pieces that come play a part"
        );
    }
    let Ok(Ok(header)) = read else {
        return;
    };
    assert!(header.begins <= input.len() as u64);
    let mut whole = input;
    if let Ok(Ok(header)) = header::read_whole(&mut whole) {
        let _ = header.is_cut(whole);
    }
    let set = input.get(usize::try_from(header.begins).unwrap()..);
    let described = describe(set.unwrap(), &header);
    // Who it is stands in it, whatever else could be read.
    assert_eq!(described["00080018"]["Value"][0], header.instance);
    assert_eq!(described["0020000D"]["Value"][0], header.study);
    // An instance is the same as itself, and its own bytes are not another's.
    assert!(compare::differing(&described, &described).is_empty());
    assert!(compare::is_same_set(input, input).unwrap());
}

fn stow_answer(input: &[u8]) {
    let kinds = [
        None,
        Some("application/dicom+json"),
        Some("application/dicom+xml; charset=utf-8"),
        Some("text/html"),
        Some("multipart/related; boundary=b"),
        Some("application/dicom+xml; charset=iso-8859-1"),
    ];
    for kind in kinds {
        if let Ok(read) = answer::read(kind, input) {
            assert!(read.named() <= input.len());
            assert_eq!(read.of(""), None, "an instance without a name");
            for code in &read.others {
                assert!(!answer::words(*code).is_empty());
            }
        }
    }
}

/// The parts of a body: heads and contents, and how it ended.
type Parts = (Vec<(Vec<u8>, Vec<u8>)>, Result<(), MalformedParts>);

fn parts<'p>(boundary: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> Parts {
    let mut splitter = PartSplitter::new(boundary);
    let mut parts: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut is_open = false;
    for piece in pieces {
        let fed = splitter.feed(piece, &mut |event| match event {
            PartEvent::Begins(head) => {
                assert!(!std::mem::replace(&mut is_open, true));
                parts.push((head.to_vec(), Vec::new()));
            }
            PartEvent::Bytes(bytes) => {
                assert!(is_open);
                parts.last_mut().unwrap().1.extend_from_slice(bytes);
            }
            PartEvent::Ends => assert!(std::mem::take(&mut is_open)),
        });
        if let Err(why) = fed {
            return (parts, Err(why));
        }
    }
    (parts, splitter.finish())
}

/// The first line is the `Content-Type`, the rest a body.
fn multipart(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (kind, body) = input.split_at(end.unwrap_or(input.len()));
    let body = body.get(1..).unwrap_or_default();
    let Ok(kind) = std::str::from_utf8(kind) else {
        return;
    };
    let content = only_part(kind, body);
    let Some(boundary) = boundary_of(kind) else {
        // A single instance may come without parts around it.
        let media = kind.split(';').next().unwrap_or(kind).trim();
        let is_bare = media.eq_ignore_ascii_case("application/dicom") && !body.is_empty();
        assert_eq!(content, is_bare.then_some(body));
        return;
    };
    let whole = parts(boundary, [body]);
    let cut = parts(boundary, pieces(body));
    // A head without an end is found out sooner or later.
    if whole.1 != Err(MalformedParts::Head) && cut.1 != Err(MalformedParts::Head) {
        assert_eq!(whole, cut, "the pieces in which a body comes play a part");
    }
    let size: usize = whole
        .0
        .iter()
        .map(|(head, part)| head.len() + part.len())
        .sum();
    assert!(size <= body.len());
    // What is sent is read as it was.
    let own = Boundary::of(7);
    if !own.stands_in(body).unwrap() {
        let sent = [own.head().as_bytes(), body, own.tail().as_bytes()].concat();
        assert_eq!(only_part(&own.content_type(), &sent), Some(body));
        let (parts, end) = parts(own.as_str(), pieces(&sent));
        assert_eq!(end, Ok(()));
        let contents: Vec<&[u8]> = parts.iter().map(|(_, part)| part.as_slice()).collect();
        assert_eq!(contents, [body]);
    }
}
