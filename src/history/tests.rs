use super::*;

#[test]
fn the_nth_of_a_key_is_counted_by_target_interaction_and_content() {
    let mut counter = Counter::default();
    let mut count = |target, interaction, hash| counter.count(target, interaction, hash);
    assert_eq!(count("a", Operation::Create, 1), 0);
    assert_eq!(count("a", Operation::Create, 1), 1);
    assert_eq!(count("b", Operation::Create, 1), 0);
    assert_eq!(count("a", Operation::Update, 1), 0);
    assert_eq!(count("a", Operation::Create, 1 << 100), 0);
    assert_eq!(count("a", Operation::Create, 1), 2);
}

fn loaded(id: &str) -> Before {
    Before::Loaded {
        id: id.to_owned(),
        version: Some("3".to_owned()),
        meaning: ReferenceMeaning::Untold,
    }
}

fn doubtful() -> Before {
    Before::Doubtful {
        since: "2026-11-23T07:00:00Z".parse().unwrap(),
        tag: Some("a.b.1".to_owned()),
    }
}

fn write(state: &Path, run: &str, rows: impl IntoIterator<Item = (u128, Before)>) {
    let mut collected = rows::Collected::new(&directory_of(state));
    collected.target("there");
    for (hash, before) in rows {
        let key = rows::key("there", Operation::Create, hash, 0);
        collected.push(key, &before).unwrap();
    }
    collected.finish(vec![(run.to_owned(), 7)], false).unwrap();
}

fn before(history: &History, hash: u128) -> Option<Before> {
    history.before("there", Operation::Create, hash, 0).unwrap()
}

#[test]
fn what_was_taken_in_is_known_and_the_last_word_holds() {
    let folder = tempfile::tempdir().unwrap();
    let uuid = "5f0c21aa-0000-4000-8000-00000000000b";
    let no_version = Before::Loaded {
        id: "A-1".to_owned(),
        version: None,
        meaning: ReferenceMeaning::Nothing,
    };
    let refers = |id: &str| Before::Loaded {
        id: id.to_owned(),
        version: None,
        meaning: ReferenceMeaning::Of(u64::MAX - 1),
    };
    let first = (0..5_000).map(|n| (n, loaded(&format!("id-{n}"))));
    write(folder.path(), "one", first);
    let second = [
        (3, loaded(uuid)),
        (4, doubtful()),
        (5, no_version.clone()),
        (6, refers(uuid)),
        (7, refers("A-1")),
        (8, Before::Elsewhere),
        (5_000, loaded("old")),
        (5_000, loaded("new")),
    ];
    write(folder.path(), "two", second);
    let history = History::open(folder.path()).unwrap();
    assert!(history.knows("there").unwrap() && !history.knows("elsewhere").unwrap());
    assert_eq!(before(&history, 2), Some(loaded("id-2")));
    assert_eq!(before(&history, 3), Some(loaded(uuid)));
    assert_eq!(before(&history, 4), Some(doubtful()));
    assert_eq!(before(&history, 5), Some(no_version));
    assert_eq!(before(&history, 6), Some(refers(uuid)));
    assert_eq!(before(&history, 7), Some(refers("A-1")));
    assert_eq!(before(&history, 8), Some(Before::Elsewhere));
    assert_eq!(before(&history, 5_000), Some(loaded("new")));
    assert_eq!(before(&history, 5_001), None);
    let elsewhere = history.before("elsewhere", Operation::Create, 2, 0);
    assert_eq!(elsewhere.unwrap(), None);
    assert_eq!(
        (history.known("two"), history.known("three")),
        (Some(7), None)
    );
}

#[test]
fn looking_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(&folder.path().join("state")).unwrap();
    assert!(!history.knows("there").unwrap());
    assert_eq!(before(&history, 0), None);
    history.sync().unwrap();
    assert!(!folder.path().join("state").exists());
}

#[test]
fn many_segments_become_few_and_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..20_u128 {
        let rows = (run..run + 50).map(|n| (n, loaded(&format!("{run}-{n}"))));
        write(folder.path(), &format!("run-{run}"), rows);
        merge::merge(&directory_of(folder.path())).unwrap();
    }
    let left = segments(&directory_of(folder.path())).unwrap();
    assert!(left.len() <= 8, "{left:?}");
    let history = History::open(folder.path()).unwrap();
    for n in 0..69 {
        let newest = std::cmp::min(n, 19);
        assert_eq!(before(&history, n), Some(loaded(&format!("{newest}-{n}"))));
    }
    assert!((0..20).all(|run| history.known(&format!("run-{run}")) == Some(7)));
}

#[test]
fn damage_is_named_with_a_way_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one", (0..500).map(|n| (n, loaded("x"))));
    let [path] = segments(&directory_of(folder.path()))
        .unwrap()
        .try_into()
        .unwrap();
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let whole = fs_err::read(&path).unwrap();
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        fs_err::write(&path, flipped).unwrap();
        let told = History::open(folder.path()).and_then(|history| {
            for n in 0..500 {
                let row = history.before("there", Operation::Create, n, 0)?;
                assert_eq!(row, Some(loaded("x")), "byte {at}");
            }
            Ok(())
        });
        let error = told.unwrap_err();
        assert!(error.to_string().contains(".rows` is damaged"), "{error}");
        assert!(error.hint().contains("--fresh"), "{}", error.hint());
    }
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs_err::write(&path, &whole[..length]).unwrap();
        assert!(matches!(
            History::open(folder.path()),
            Err(Error::Damaged { .. })
        ));
    }
}

const OLD: &str = "
CREATE TABLE target (number INTEGER PRIMARY KEY, place TEXT NOT NULL UNIQUE);
CREATE TABLE run (name TEXT PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE record (
    target INTEGER NOT NULL, interaction TEXT NOT NULL, hash BLOB NOT NULL, nth INTEGER NOT NULL,
    id TEXT, version TEXT, since TEXT, tag TEXT,
    PRIMARY KEY (target, interaction, hash, nth)
) WITHOUT ROWID;
PRAGMA user_version = 1;
INSERT INTO target VALUES (1, 'there');
INSERT INTO run VALUES ('clinic-1', 12);
INSERT INTO record VALUES (1, 'create', zeroblob(16), 0, 'an-id', '3', NULL, NULL);
INSERT INTO record VALUES (1, 'create', zeroblob(16), 1, NULL, NULL, '2026-11-23T07:00:00Z', 'a.b.1');
";

#[test]
fn what_an_older_stoker_kept_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.sqlite");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(OLD).unwrap();
    drop(old);
    for _ in 0..2 {
        let history = History::open(folder.path()).unwrap();
        let nth = |nth| history.before("there", Operation::Create, 0, nth).unwrap();
        assert_eq!(
            [nth(0), nth(1), nth(2)],
            [Some(loaded("an-id")), Some(doubtful()), None]
        );
        assert_eq!(history.known("clinic-1"), Some(12));
        assert!(!path.exists());
    }
}

#[test]
fn an_old_file_that_is_damaged_is_named_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.sqlite");
    fs_err::write(
        &path,
        "no database at all, and long enough to be read as one",
    )
    .unwrap();
    let error = History::open(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains("history.sqlite` is damaged"),
        "{error}"
    );
    assert!(error.hint().contains("aside"), "{}", error.hint());
    assert!(path.exists());
}

#[test]
fn a_large_run_is_found_in_few_segments_by_the_next_load() {
    let folder = tempfile::tempdir().unwrap();
    for part in 0..30_u128 {
        write(folder.path(), "large", [(part, loaded(&part.to_string()))]);
    }
    let mut history = History::open(folder.path()).unwrap();
    history.compact().unwrap();
    assert!(history.segments.len() <= 8, "{}", history.segments.len());
    for n in 0..30 {
        assert_eq!(before(&history, n), Some(loaded(&n.to_string())));
    }
    assert_eq!(history.known("large"), Some(7));
}
