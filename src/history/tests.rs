use super::*;

#[test]
fn the_nth_of_a_key_is_counted_by_target_interaction_and_content() {
    let mut counter = Counter::default();
    let mut count = |target, interaction, hash| counter.count(target, interaction, hash);
    assert_eq!(count("a", Interaction::Create, 1), 0);
    assert_eq!(count("a", Interaction::Create, 1), 1);
    assert_eq!(count("b", Interaction::Create, 1), 0);
    assert_eq!(count("a", Interaction::Update, 1), 0);
    assert_eq!(count("a", Interaction::Create, 1 << 100), 0);
    assert_eq!(count("a", Interaction::Create, 1), 2);
}

#[test]
fn a_history_of_another_version_is_begun_anew() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    history
        .connection
        .execute_batch(
            "INSERT INTO target VALUES (1, 'there');
             INSERT INTO record VALUES (1, 'create', zeroblob(16), 0, 'an-id', '3', NULL, NULL);
             INSERT INTO record VALUES (1, 'create', zeroblob(16), 1, NULL, NULL, '2026-11-23T07:00:00Z', 'a.b.1');",
        )
        .unwrap();
    let before = |history: &History, nth| history.before("there", Interaction::Create, 0, nth);
    assert_eq!(
        before(&history, 0).unwrap(),
        Some(Before::Loaded {
            id: "an-id".to_owned(),
            version: Some("3".to_owned())
        })
    );
    assert_eq!(
        before(&history, 1).unwrap(),
        Some(Before::Doubtful {
            since: "2026-11-23T07:00:00Z".parse().unwrap(),
            tag: Some("a.b.1".to_owned())
        })
    );
    assert_eq!(before(&history, 2).unwrap(), None);
    assert!(history.knows("there").unwrap() && !history.knows("elsewhere").unwrap());
    history
        .connection
        .pragma_update(None, "user_version", VERSION + 1)
        .unwrap();
    drop(history);
    let history = History::open(folder.path()).unwrap();
    assert!(!history.knows("there").unwrap());
    let file = folder.path().join("history.sqlite");
    let mode = fs_err::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
