use proptest::prelude::*;

use super::*;

/// The piece that a test looks at, with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Message(u64, Vec<u8>, FileStretch, bool),
    Envelope(BatchEnvelope, FileStretch),
    Problem(SplitProblem),
}

fn found(piece: Piece<'_>) -> Found {
    match piece {
        Piece::Message(message) => Found::Message(
            message.index,
            message.bytes.to_vec(),
            message.place,
            message.is_framed,
        ),
        Piece::Envelope(envelope, place) => Found::Envelope(envelope, place),
        Piece::Problem(problem) => Found::Problem(problem),
    }
}

fn split(file: &[u8]) -> Vec<Found> {
    let mut all = Vec::new();
    MessageSplitter::whole(file, &mut |piece| all.push(found(piece)));
    all
}

fn range(place: FileStretch) -> std::ops::Range<usize> {
    let [from, to] = [place.start, place.end()].map(|at| usize::try_from(at).unwrap());
    from..to
}

fn messages(file: &[u8]) -> Vec<String> {
    let all = split(file).into_iter();
    all.filter_map(|found| match found {
        Found::Message(_, bytes, place, _) => {
            assert_eq!(bytes, &file[range(place)]);
            Some(String::from_utf8(bytes).unwrap())
        }
        _ => None,
    })
    .collect()
}

fn problems(file: &[u8]) -> Vec<(ProblemKind, u64, u64)> {
    let all = split(file).into_iter();
    all.filter_map(|found| match found {
        Found::Problem(problem) => Some((problem.kind, problem.place.start, problem.place.line)),
        _ => None,
    })
    .collect()
}

#[test]
fn one_message_by_any_line_end() {
    for end in ["\r", "\n", "\r\n"] {
        let file = format!("MSH|^~\\&|A{end}PID|1{end}");
        assert_eq!(messages(file.as_bytes()), [file.as_str()]);
        assert_eq!(problems(file.as_bytes()), []);
    }
    assert_eq!(messages(b"MSH|^~\\&|A\rPID|1"), ["MSH|^~\\&|A\rPID|1"]);
    assert_eq!(split(b""), []);
}

#[test]
fn many_messages_with_their_places() {
    let file = b"MSH|1\nPID|1\n\n\nMSH|2\r\rMSH!$r?@!3\r\nPID!1";
    assert_eq!(
        messages(file),
        ["MSH|1\nPID|1\n", "MSH|2\r", "MSH!$r?@!3\r\nPID!1"]
    );
    let blank = |lines| ProblemKind::BlankLines {
        lines,
        is_inside: false,
    };
    assert_eq!(problems(file), [(blank(2), 12, 3), (blank(1), 20, 6)]);
    let Some(Found::Message(2, _, place, false)) = split(file).pop() else {
        panic!("the last message");
    };
    assert_eq!((place.start, place.line), (21, 7));
}

#[test]
fn what_is_odd_is_named() {
    let inside = ProblemKind::BlankLines {
        lines: 1,
        is_inside: true,
    };
    let outside = ProblemKind::BlankLines {
        lines: 1,
        is_inside: false,
    };
    for (file, count, expected) in [
        (
            "\u{feff}MSH|1\r",
            1,
            vec![(ProblemKind::ByteOrderMark, 0, 1)],
        ),
        (
            "MSH|1\r\u{feff}MSH|2\r",
            2,
            vec![(ProblemKind::ByteOrderMark, 6, 2)],
        ),
        ("MSH|1\r\rPID|1\r", 1, vec![(inside, 6, 2)]),
        ("MSH|1\r\u{1a}", 1, vec![(outside, 6, 2)]),
        ("  MSH|1\r", 1, vec![(ProblemKind::Indented, 0, 1)]),
        (
            "MSH|1\rmore\rPID|1\r",
            1,
            vec![(ProblemKind::NotASegment, 6, 2)],
        ),
        (
            "PID|1\r\rOBX|1\rMSH|1\r",
            1,
            vec![(ProblemKind::Stray, 0, 1)],
        ),
        ("msg", 0, vec![(ProblemKind::Stray, 0, 1)]),
        ("\u{b}MSH|1\r\u{1c}\r\u{b}MSH|2\r\u{1c}\r", 2, vec![]),
        ("\u{b}MSH|1\r\u{1c}\r\n\u{b}MSH|2\r\u{1c}\r\n", 2, vec![]),
        ("\u{b}MSH|1\u{1c}\r", 1, vec![]),
        ("\u{b}MSH|1\r", 1, vec![(ProblemKind::FrameNotEnded, 0, 1)]),
        (
            "\u{b}MSH|1\r\u{b}MSH|2\r\u{1c}\r",
            2,
            vec![(ProblemKind::FrameNotEnded, 0, 1)],
        ),
        (
            "\u{b}MSH|1\u{b}MSH|2\u{1c}\r",
            2,
            vec![(ProblemKind::FrameNotEnded, 0, 1)],
        ),
        (
            "MSH|1\r\u{1c}\r",
            1,
            vec![(ProblemKind::FrameNotBegun, 6, 2)],
        ),
        (
            "\u{b}MSH|1\r\u{1c}",
            1,
            vec![(ProblemKind::FrameEndWithoutCr, 7, 2)],
        ),
        ("\u{b}\u{1c}\r", 0, vec![(ProblemKind::EmptyFrame, 0, 1)]),
        ("MSH|a\u{b}b\u{1c}c\r", 1, vec![]),
        ("\u{b}MSH|a\u{1c}c\r\u{1c}\r", 1, vec![]),
    ] {
        assert_eq!(messages(file.as_bytes()).len(), count, "{file:?}");
        assert_eq!(problems(file.as_bytes()), expected, "{file:?}");
    }
    let wide: Vec<u8> = "\u{feff}MSH|1\r"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(problems(&wide), [(ProblemKind::Utf16, 0, 1)]);
    // Without its mark.
    for text in ["MSH|1\r", "FHS|\r", "BHS|\r"] {
        for to_bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
            assert_eq!(problems(&wide), [(ProblemKind::Utf16, 0, 1)], "{text:?}");
        }
    }
    assert_eq!(messages(b"MSH").len(), 1);
}

#[test]
fn batches_are_counted() {
    let good =
        "FHS|^~\\&|\rBHS|^~\\&|\rMSH|1\rPID|1\rMSH|2\rBTS|0002\rBHS|^~\\&\rMSH|3\rBTS|1|x\rFTS|2\r";
    assert_eq!(messages(good.as_bytes()).len(), 3);
    assert_eq!(problems(good.as_bytes()), []);
    let envelopes = split(good.as_bytes())
        .into_iter()
        .filter(|found| matches!(found, Found::Envelope(..)));
    assert_eq!(envelopes.count(), 6);
    for (file, expected) in [
        (
            "BHS|^~\\&|\rMSH|1\rBTS|96\r",
            vec![ProblemKind::BatchCount { said: 96, found: 1 }],
        ),
        ("FHS|\rMSH|1\rFTS|1\r", vec![]),
        ("FHS|\rMSH|1\rFTS|\r", vec![]),
        ("FHS|\rMSH|1\rFTS\r", vec![]),
        (
            "FHS|\rBHS|\rMSH|1\rBTS|1\rFTS|3\r",
            vec![ProblemKind::FileCount { said: 3, found: 1 }],
        ),
        (
            "BHS|\rMSH|1\rBTS|one\r",
            vec![ProblemKind::CountUnreadable("BTS")],
        ),
        ("BHS|\rMSH|1\r", vec![ProblemKind::BatchNotEnded]),
        (
            "FHS|\rBHS|\rMSH|1\r",
            vec![ProblemKind::BatchNotEnded, ProblemKind::FileNotEnded],
        ),
        ("FHS$\rBHS$\rMSH|1\rBTS$1\rFTS$1\r", vec![]),
    ] {
        let kinds: Vec<ProblemKind> = problems(file.as_bytes())
            .into_iter()
            .map(|(kind, ..)| kind)
            .collect();
        assert_eq!(kinds, expected, "{file:?}");
    }
    let open = problems(b"MSH|1\rBTS|1\rFTS|1\r");
    assert!(matches!(
        open[..],
        [
            (ProblemKind::NotBegun(_), 6, 2),
            (ProblemKind::NotBegun(_), 12, 3)
        ]
    ));
}

#[test]
fn a_message_over_the_limit_is_named_and_memory_stays_small() {
    let mut file = b"MSH|1\rOBX|".to_vec();
    file.resize(10_000, b'x');
    file.extend_from_slice(b"\rPID|1\rMSH|2\r");
    let mut all = Vec::new();
    let mut splitter = MessageSplitter::new(100);
    for chunk in file.chunks(7) {
        splitter.feed(chunk, &mut |piece| all.push(found(piece)));
        assert!(splitter.kept.len() <= 107, "{}", splitter.kept.len());
    }
    splitter.finish(&mut |piece| all.push(found(piece)));
    let place = FileStretch {
        start: 0,
        length: 10_007,
        line: 1,
    };
    let large = ProblemKind::TooLarge { limit: 100 }.at(place);
    assert_eq!(all[0], Found::Problem(large));
    assert!(
        matches!(&all[1], Found::Message(1, bytes, ..) if bytes == b"MSH|2\r"),
        "{all:?}"
    );
    assert_eq!(all.len(), 2);
}

/// A first line without an end is a message that is too large, and a file that is none is told in one problem.
#[test]
fn a_line_without_end_is_borne() {
    for (beginning, is_message) in [("MSH|", true), ("PID|", false)] {
        let mut all = Vec::new();
        let mut splitter = MessageSplitter::new(100);
        splitter.feed(beginning.as_bytes(), &mut |piece| all.push(found(piece)));
        for _ in 0..100 {
            splitter.feed(&[b'x'; 50], &mut |piece| all.push(found(piece)));
            assert!(splitter.kept.len() <= 150);
        }
        splitter.finish(&mut |piece| all.push(found(piece)));
        let [Found::Problem(problem)] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!(problem.place.length, 5004);
        assert_eq!(
            matches!(problem.kind, ProblemKind::TooLarge { .. }),
            is_message
        );
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "MSH|^~\\&|A", "MSH|", "MSH", "PID|1||x", "OBX|1|TX||text", "ZZZ", "FHS|^~\\&|", "BHS|^~\\&|", "BTS|1",
            "FTS|1", "more", " ", "MSH!", "\u{feff}", "é", "  MSH|2",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        4 => prop::sample::select(vec!["\r", "\n", "\r\n", "\r\r\n", "\n\r"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec!["\u{b}", "\u{1c}", "\u{1c}\r", "\u{1c}\r\n", "\u{1a}", "\0"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_byte_is_accounted_for(parts in prop::collection::vec(part(), 0..40)) {
        let file = parts.concat();
        let mut covered = vec![0_u32; file.len()];
        for found in split(&file) {
            let place = match found {
                Found::Message(_, bytes, place, _) => {
                    prop_assert_eq!(&bytes[..], &file[range(place)]);
                    prop_assert!(bytes.starts_with(b"MSH"));
                    place
                }
                Found::Envelope(_, place) => place,
                Found::Problem(problem) if problem.kind.weight() == Weight::Loss => problem.place,
                Found::Problem(problem) if matches!(
                    problem.kind, ProblemKind::BlankLines { is_inside: false, .. } | ProblemKind::ByteOrderMark | ProblemKind::Indented
                ) => problem.place,
                Found::Problem(_) => continue,
            };
            for covered in &mut covered[range(place)] {
                *covered += 1;
            }
        }
        for (at, (byte, times)) in file.iter().zip(&covered).enumerate() {
            prop_assert!(*times <= 1, "byte {at} twice: {file:?}");
            let is_between = b"\r\n\x0b\x1c".contains(byte);
            prop_assert!(*times == 1 || is_between, "byte {at} is lost: {file:?}");
        }
    }

    #[test]
    fn chunks_change_nothing(parts in prop::collection::vec(part(), 0..40), size in 1_usize..9) {
        let file = parts.concat();
        let mut all = Vec::new();
        let mut splitter = MessageSplitter::default();
        for chunk in file.chunks(size) {
            splitter.feed(chunk, &mut |piece| all.push(found(piece)));
        }
        splitter.finish(&mut |piece| all.push(found(piece)));
        prop_assert_eq!(all, split(&file));
    }

    #[test]
    fn memory_is_bounded(parts in prop::collection::vec(part(), 0..80), limit in 1_usize..40) {
        let file = parts.concat();
        let mut splitter = MessageSplitter::new(limit);
        let mut last = 0;
        let mut ordered = true;
        for chunk in file.chunks(5) {
            splitter.feed(chunk, &mut |piece| if let Piece::Message(message) = piece {
                ordered &= message.place.start >= last && message.bytes.len() <= limit;
                last = message.place.end();
            });
            prop_assert!(splitter.kept.len() <= limit + 5);
        }
        splitter.finish(&mut |_| {});
        prop_assert!(ordered);
    }
}
