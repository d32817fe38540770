use std::collections::BTreeMap;

use super::{
    Ending, Journal, Ledger as _, Line, RecordState, RunDirectory, SaidLine, SettleLine,
    Settlement, Tally,
    format::{EndLine, IntendLine, SessionLine},
    read,
};
use crate::{manifest::Sync, record::Outcome, record::StepId};

fn session(number: u32) -> SessionLine {
    SessionLine {
        number,
        started: "2026-11-23T07:00:00Z".parse().unwrap(),
    }
}

fn end(session: u32, how: Ending) -> EndLine {
    EndLine {
        session,
        at: "2026-11-23T07:00:09Z".parse().unwrap(),
        how,
        reason: None,
    }
}

fn settled(record: StepId, outcome: Outcome) -> Settlement {
    Settlement {
        line: SettleLine {
            attempts: 2,
            status: Some(201),
            id: (outcome != Outcome::Pending).then(|| format!("id-{record}")),
            latency_us: Some(7),
            ..SettleLine::new(record, outcome)
        },
        said: None,
    }
}

fn intended_at(lines: &[Line]) -> jiff::Timestamp {
    let at = lines.iter().find_map(|line| match line {
        Line::Intend(intend) => Some(intend.at),
        _ => None,
    });
    at.unwrap()
}

fn run() -> (tempfile::TempDir, RunDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let now = "2026-11-23T07:00:00Z".parse().unwrap();
    let run = RunDirectory::create(folder.path(), "a run/of mine", now).unwrap();
    (folder, run)
}

/// Returns a line without its checksum and line break.
fn unchecked(line: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::rfind(line, b",\"c\":\"").unwrap();
    [&line[..at], b"}"].concat()
}

/// Writes a journal of these lines.
fn write(run: &RunDirectory, lines: &str) {
    let (mut text, mut seed) = (Vec::new(), crate::checksum::FIRST);
    for line in lines.lines() {
        let offset = text.len() as u64;
        let sum = crate::checksum::append(&mut text, line.as_bytes(), seed, offset);
        if offset == 0 {
            seed = sum;
        }
    }
    fs_err::write(run.journal(), text).unwrap();
}

async fn two_sessions() -> (tempfile::TempDir, RunDirectory) {
    let (folder, run) = run();
    let journal = Journal::open(&run, Sync::None, session(1), None).unwrap();
    journal
        .intend(
            jiff::Timestamp::now(),
            &[StepId(0), StepId(1), StepId(2), StepId(3)],
        )
        .await
        .unwrap();
    let first = vec![
        settled(StepId(0), Outcome::Created),
        settled(StepId(1), Outcome::Pending),
    ];
    journal.settle(first).await.unwrap();
    let tally = |requests| Tally {
        reads: 1,
        requests,
        statuses: BTreeMap::from([("201".to_owned(), requests)]),
        ..Tally::default()
    };
    journal.tally(tally(1)).await.unwrap();
    journal.tally(tally(2)).await.unwrap();
    journal.end(end(1, Ending::Interrupted)).await.unwrap();
    drop(journal);
    let history = read(&run.journal()).unwrap();
    let journal = Journal::open(&run, Sync::Group, session(2), Some(&history)).unwrap();
    let again = vec![
        settled(StepId(3), Outcome::Rejected),
        settled(StepId(3), Outcome::Unknown),
    ];
    journal.settle(again).await.unwrap();
    journal.end(end(2, Ending::Complete)).await.unwrap();
    (folder, run)
}

#[tokio::test]
async fn the_last_word_on_every_record_is_read_back() {
    let (_folder, run) = two_sessions().await;
    let history = read(&run.journal()).unwrap();
    assert_eq!(history.journal.run, run.name());
    assert_eq!(history.sessions, [session(1), session(2)]);
    assert_eq!(history.tallies[&1].requests, 2, "the last tally holds");
    assert_eq!(history.end, Some(end(2, Ending::Complete)));
    assert_eq!(history.last_record(), Some(StepId(3)));
    assert_eq!(
        history.fate(StepId(0)).unwrap(),
        RecordState::Settled(settled(StepId(0), Outcome::Created).line)
    );
    // It was not sent after all, so nothing is known to have happened.
    assert_eq!(history.fate(StepId(1)).unwrap(), RecordState::Untouched);
    assert!(matches!(
        history.fate(StepId(2)).unwrap(),
        RecordState::Intended(_)
    ));
    assert!(history.is_interrupted(StepId(2)) && history.outcome(StepId(2)).is_none());
    assert_eq!(history.outcome(StepId(3)), Some(Outcome::Unknown));
    assert_eq!(
        history.fate(StepId(3)).unwrap(),
        RecordState::Settled(settled(StepId(3), Outcome::Unknown).line)
    );
    assert_eq!(
        history.fate(StepId(u64::MAX)).unwrap(),
        RecordState::Untouched
    );
}

/// A record that stands in the store is not whole before it is settled, whatever is said of its second request.
#[tokio::test]
async fn what_stands_is_remembered_until_it_is_settled() {
    let (_folder, run) = run();
    let journal = Journal::open(&run, Sync::None, session(1), None).unwrap();
    let mut standing = settled(StepId(0), Outcome::Pending);
    standing.line.id = Some("server".to_owned());
    journal
        .intend(jiff::Timestamp::now(), &[StepId(0)])
        .await
        .unwrap();
    journal.settle(vec![standing.clone()]).await.unwrap();
    let history = || read(&run.journal()).unwrap();
    assert_eq!(
        history().fate(StepId(0)).unwrap(),
        RecordState::Standing(standing.line.clone())
    );
    // Interrupted before its second request.
    let pending = settled(StepId(0), Outcome::Pending);
    journal.settle(vec![pending]).await.unwrap();
    let found = history();
    assert_eq!(
        found.fate(StepId(0)).unwrap(),
        RecordState::Standing(standing.line)
    );
    assert!(
        found.is_standing(StepId(0))
            && found.outcome(StepId(0)).is_none()
            && !found.is_interrupted(StepId(0))
    );
    let whole = settled(StepId(0), Outcome::Created);
    journal.settle(vec![whole.clone()]).await.unwrap();
    assert_eq!(
        history().fate(StepId(0)).unwrap(),
        RecordState::Settled(whole.line)
    );
    assert!(!history().is_standing(StepId(0)));
}

#[tokio::test]
async fn cut_at_any_byte_it_reads_as_its_beginning() {
    let (folder, run) = two_sessions().await;
    let bytes = fs_err::read(run.journal()).unwrap();
    let cut = folder.path().join("cut.ndjson");
    let first = memchr::memchr(b'\n', &bytes).unwrap() + 1;
    // As if it had been killed there.
    fs_err::remove_file(run.length()).unwrap();
    for length in 0..=bytes.len() {
        fs_err::write(&cut, &bytes[..length]).unwrap();
        let history = read(&cut);
        if length < first {
            assert!(history.is_err(), "{length}");
            continue;
        }
        let history = history.unwrap();
        let whole = memchr::memrchr(b'\n', &bytes[..length]).unwrap() + 1;
        assert_eq!(history.whole, whole as u64);
        let lines: Vec<Line> = bytes[..whole]
            .split_inclusive(|b| *b == b'\n')
            .map(|line| serde_json::from_slice(&unchecked(line)).unwrap())
            .collect();
        for record in 0..4 {
            let settled = lines.iter().rev().find_map(|line| match line {
                Line::Settle(settled) if settled.record == StepId(record) => Some(settled.clone()),
                _ => None,
            });
            let intended = lines.iter().any(|l| matches!(l, Line::Intend(_)));
            let expected = match settled {
                Some(settled) if settled.outcome == Outcome::Pending => RecordState::Untouched,
                Some(settled) => RecordState::Settled(settled),
                None if intended => RecordState::Intended(IntendLine {
                    at: intended_at(&lines),
                    records: vec![StepId(0), StepId(1), StepId(2), StepId(3)],
                    tag: None,
                }),
                None => RecordState::Untouched,
            };
            assert_eq!(history.fate(StepId(record)).unwrap(), expected, "{length}");
        }
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_before_the_next_session() {
    let (_folder, run) = two_sessions().await;
    let bytes = fs_err::read(run.journal()).unwrap();
    fs_err::write(run.journal(), &bytes[..bytes.len() - 5]).unwrap();
    // It was killed while it wrote its end.
    fs_err::remove_file(run.length()).unwrap();
    let history = read(&run.journal()).unwrap();
    let journal = Journal::open(&run, Sync::Always, session(3), Some(&history)).unwrap();
    journal
        .settle(vec![settled(StepId(2), Outcome::Created)])
        .await
        .unwrap();
    drop(journal);
    let history = read(&run.journal()).unwrap();
    assert_eq!(history.sessions.len(), 3);
    assert_eq!(history.outcome(StepId(2)), Some(Outcome::Created));
}

#[tokio::test]
async fn a_torn_answer_does_not_swallow_the_next_one() {
    let (_folder, run) = run();
    let said = |record, words: &str| Settlement {
        said: Some(words.to_owned()),
        ..settled(record, Outcome::Rejected)
    };
    let journal = Journal::open(&run, Sync::None, session(1), None).unwrap();
    journal
        .settle(vec![said(StepId(0), "no"), said(StepId(1), "never")])
        .await
        .unwrap();
    drop(journal);
    let bytes = fs_err::read(run.answers()).unwrap();
    fs_err::write(run.answers(), &bytes[..bytes.len() - 3]).unwrap();
    let history = read(&run.journal()).unwrap();
    let journal = Journal::open(&run, Sync::None, session(2), Some(&history)).unwrap();
    // Cut between characters.
    let long = "ü".repeat(SaidLine::LIMIT);
    journal.settle(vec![said(StepId(2), &long)]).await.unwrap();
    drop(journal);
    let text = fs_err::read_to_string(run.answers()).unwrap();
    let whole: Vec<SaidLine> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let records: Vec<_> = whole.iter().map(|said| said.record).collect();
    assert_eq!(records, [StepId(0), StepId(2)]);
    assert_eq!(whole[1].answer.len(), SaidLine::LIMIT);
    let journal = fs_err::read_to_string(run.journal()).unwrap();
    assert!(!journal.contains("never") && !journal.contains('ü'));
}

#[tokio::test]
async fn damage_in_the_middle_is_an_error_that_names_the_line() {
    let (_folder, run) = two_sessions().await;
    let text = fs_err::read_to_string(run.journal()).unwrap();
    fs_err::write(run.journal(), text.replace("\"intend\"", "\"intern\"")).unwrap();
    let error = read(&run.journal()).unwrap_err().to_string();
    assert!(
        error.contains("journal.ndjson`: line 3: it is damaged"),
        "{error}"
    );
    // Lines had no checksums in version 2.
    let old = text.replace("\"version\":3", "\"version\":2");
    let old: Vec<u8> = old
        .as_bytes()
        .split_inclusive(|b| *b == b'\n')
        .flat_map(|line| [unchecked(line), b"\n".to_vec()].concat())
        .collect();
    fs_err::write(run.journal(), old).unwrap();
    let error = read(&run.journal()).unwrap_err().to_string();
    assert!(
        error.contains("it has version 2, and this Stoker reads version 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_line_longer_than_a_read_is_read_whole() {
    let (_folder, run) = run();
    let mut long = settled(StepId(0), Outcome::Rejected);
    long.line.expression = (0..500).map(|i| format!("Patient.name[{i}]")).collect();
    let journal = Journal::open(&run, Sync::None, session(1), None).unwrap();
    journal.settle(vec![long.clone()]).await.unwrap();
    let history = read(&run.journal()).unwrap();
    assert_eq!(
        history.fate(StepId(0)).unwrap(),
        RecordState::Settled(long.line)
    );
}

#[test]
fn a_damaged_number_takes_no_memory() {
    let (_folder, run) = run();
    let lines = "{\"journal\":{\"version\":3,\"run\":\"r\",\"mark\":\"m\",\"stoker\":\"0.1.0\"}}\n\
                 {\"intend\":{\"at\":\"2026-11-23T07:00:00Z\",\"records\":[18446744073709551615,0]}}\n";
    write(&run, lines);
    let history = read(&run.journal()).unwrap();
    assert_eq!(history.last_record(), Some(StepId(u64::MAX)));
    assert_eq!(history.memory(), 2 * 512 * 8);
}

#[test]
fn a_million_records_take_eight_bytes_each() {
    let (_folder, run) = run();
    let mut lines = String::from(
        "{\"journal\":{\"version\":3,\"run\":\"r\",\"mark\":\"m\",\"stoker\":\"0.1.0\"}}\n",
    );
    let all: Vec<StepId> = (0..1_000_000).map(StepId).collect();
    for records in all.chunks(1_000) {
        let line = Line::Intend(IntendLine {
            at: jiff::Timestamp::UNIX_EPOCH,
            records: records.to_vec(),
            tag: None,
        });
        lines.push_str(&serde_json::to_string(&line).unwrap());
        lines.push('\n');
    }
    write(&run, &lines);
    let history = read(&run.journal()).unwrap();
    assert!(
        history.memory() <= 1_000_000 * 8 + 4_096,
        "{}",
        history.memory()
    );
    assert!(history.is_interrupted(StepId(999_999)) && !history.is_interrupted(StepId(1_000_000)));
}

#[test]
fn runs_of_one_second_have_directories_of_their_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, first) = run();
    let now = "2026-11-23T07:00:00Z".parse().unwrap();
    let second = RunDirectory::create(folder.path(), "a run/of mine", now).unwrap();
    assert_eq!(first.name(), "a-run-of-mine-20261123T070000Z");
    assert_eq!(second.name(), "a-run-of-mine-20261123T070000Z-2");
    let mode = fs_err::metadata(second.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(
        RunDirectory::open(second.path()).is_err(),
        "it has no journal yet"
    );
}

#[tokio::test]
async fn what_is_withdrawn_is_untouched_again() {
    let (_folder, run) = run();
    let journal = Journal::open(&run, Sync::Group, session(1), None).unwrap();
    journal
        .intend(jiff::Timestamp::now(), &[StepId(0), StepId(1), StepId(2)])
        .await
        .unwrap();
    journal
        .settle(vec![settled(StepId(0), Outcome::Rejected)])
        .await
        .unwrap();
    journal.withdraw(&[StepId(0), StepId(1)]);
    let history = read(&run.journal()).unwrap();
    assert_eq!(history.outcome(StepId(0)), Some(Outcome::Rejected));
    assert_eq!(history.fate(StepId(1)).unwrap(), RecordState::Untouched);
    assert!(history.is_interrupted(StepId(2)) && !history.is_over());
    assert_eq!(history.counts(), (1, 1));
}

#[tokio::test]
async fn what_is_about_to_be_removed_is_known_until_something_takes_its_place() {
    let (_folder, run) = run();
    let journal = Journal::open(&run, Sync::Group, session(1), None).unwrap();
    journal.remove(&[StepId(0), StepId(1)]).await.unwrap();
    journal.remove(&[StepId(2)]).await.unwrap();
    let outcomes = [(0, Outcome::Updated), (1, Outcome::Rejected)];
    for (record, outcome) in outcomes {
        journal
            .settle(vec![settled(StepId(record), outcome)])
            .await
            .unwrap();
    }
    let told = journal.told().unwrap();
    for history in [read(&run.journal()).unwrap(), told] {
        let removed = [0, 1, 2, 3].map(|record| history.is_removed(StepId(record)));
        assert_eq!(removed, [false, true, true, false]);
        assert_eq!(history.outcome(StepId(2)), None);
        assert_eq!(history.counts(), (2, 0));
    }
}

#[tokio::test]
async fn one_process_at_a_time_writes_a_journal() {
    let (_folder, run) = run();
    let first = Journal::open(&run, Sync::None, session(1), None).unwrap();
    let history = read(&run.journal()).unwrap();
    let second = Journal::open(&run, Sync::None, session(2), Some(&history));
    let error = second.unwrap_err().to_string();
    assert!(
        error.ends_with("another Stoker is at work on this run"),
        "{error}"
    );
    drop(first);
    Journal::open(&run, Sync::None, session(2), Some(&history)).unwrap();
}

/// A journal of two sessions, as lines.
async fn lines_of_two_sessions() -> (tempfile::TempDir, RunDirectory, Vec<Vec<u8>>) {
    let (folder, run) = two_sessions().await;
    let text = fs_err::read(run.journal()).unwrap();
    let lines = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec);
    let lines = lines.collect();
    (folder, run, lines)
}

fn read_of(run: &RunDirectory, text: &[u8]) -> Result<super::JournalIndex, String> {
    fs_err::write(run.journal(), text).unwrap();
    read(&run.journal()).map_err(|error| error.to_string())
}

/// Damage of any kind to a journal that ended in order is noticed, and the line is named with what can still be done.
#[tokio::test]
async fn damage_is_noticed_and_named() {
    let (_folder, run, lines) = lines_of_two_sessions().await;
    let whole = lines.concat();
    assert!(read_of(&run, &whole).unwrap().end.is_some());
    for at in 0..whole.len() {
        for flip in [1, 0x20, b'\n' ^ whole[at]] {
            if flip == 0 {
                continue;
            }
            let mut text = whole.clone();
            text[at] ^= flip;
            let error = read_of(&run, &text).unwrap_err();
            assert!(error.contains("journal.ndjson"), "{error}");
            let named = error.contains("line ") || error.contains("its end is missing");
            assert!(named && error.contains("from a copy"), "byte {at}: {error}");
        }
    }
    for first in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(first);
        read_of(&run, &removed.concat()).unwrap_err();
        let mut doubled = lines.clone();
        doubled.insert(first, lines[first].clone());
        read_of(&run, &doubled.concat()).unwrap_err();
        for second in first + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(first, second);
            if swapped != lines {
                read_of(&run, &swapped.concat()).unwrap_err();
            }
        }
    }
    for length in 0..whole.len() {
        let error = read_of(&run, &whole[..length]).unwrap_err();
        assert!(
            error.contains("its end is missing") || error.contains("it is empty"),
            "{length}: {error}"
        );
    }
}

#[tokio::test]
async fn lines_of_another_journal_do_not_fit() {
    let (_folder, run, lines) = lines_of_two_sessions().await;
    let (_other_folder, _, others) = lines_of_two_sessions().await;
    let mut mixed = lines.clone();
    mixed[1].clone_from(&others[1]);
    let error = read_of(&run, &mixed.concat()).unwrap_err();
    assert!(error.contains("line 2: it is damaged"), "{error}");
}

#[tokio::test]
async fn the_writer_knows_what_a_reader_would_read() {
    let (_folder, run) = run();
    let journal = Journal::open(&run, Sync::None, session(1), None).unwrap();
    journal
        .intend(jiff::Timestamp::now(), &[StepId(0), StepId(1), StepId(600)])
        .await
        .unwrap();
    journal
        .settle(vec![settled(StepId(0), Outcome::Created)])
        .await
        .unwrap();
    journal.withdraw(&[StepId(600)]);
    journal
        .tally(Tally {
            requests: 3,
            ..Tally::default()
        })
        .await
        .unwrap();
    drop(journal);
    let history = read(&run.journal()).unwrap();
    let journal = Journal::open(&run, Sync::Always, session(2), Some(&history)).unwrap();
    journal
        .settle(vec![settled(StepId(1), Outcome::Rejected)])
        .await
        .unwrap();
    assert!(
        history.is_interrupted(StepId(1)),
        "what was read before stays as it was"
    );
    journal.end(end(2, Ending::Complete)).await.unwrap();
    let told = journal.told().unwrap();
    journal.closed(Tally::default()).await.unwrap();
    let mut again = read(&run.journal()).unwrap();
    again.tallies.remove(&2);
    assert_eq!(
        (
            &told.journal,
            &told.sessions,
            &told.tallies,
            &told.end,
            told.ended
        ),
        (
            &again.journal,
            &again.sessions,
            &again.tallies,
            &again.end,
            again.ended
        )
    );
    for record in [0, 1, 2, 600, 601] {
        assert_eq!(
            told.fate(StepId(record)).unwrap(),
            again.fate(StepId(record)).unwrap()
        );
    }
    assert_eq!(
        told.fates().of(StepId(1)).unwrap(),
        RecordState::Settled(settled(StepId(1), Outcome::Rejected).line)
    );
}
