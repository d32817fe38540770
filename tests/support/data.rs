//! Real data for tests: sets that lie beside the repository as `<set>.tar.zst`, unpacked once.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the folder of a set of data, or none where the data is not at hand.
///
/// The sets are looked for in `STOKER_TEST_DATA`, else in `../shared/data`.
pub(crate) fn set(name: &str) -> Option<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "tests have no `cli` above them")]
    let folder = env::var_os("STOKER_TEST_DATA")
        .map_or_else(|| crate_folder.join("../shared/data"), PathBuf::from);
    let archive = folder.join(format!("{name}.tar.zst"));
    let unpacked = crate_folder.join("target/test-data").join(name);
    if unpacked.is_dir() {
        return Some(unpacked);
    }
    if !archive.is_file() {
        return None;
    }
    // Unpacked aside and moved into place, so that tests that do so at once do not see each other's halves.
    #[expect(
        clippy::disallowed_methods,
        reason = "a failure here fails the test anyway"
    )]
    fs::create_dir_all(unpacked.parent()?).expect("target/test-data can be made");
    let aside = tempfile::tempdir_in(unpacked.parent()?).expect("a temporary folder can be made");
    // tar of GNU and of BSD both run zstd by themselves.
    let tar = Command::new("tar")
        .args(["--zstd", "-xf"])
        .arg(&archive)
        .arg("-C")
        .arg(aside.path())
        .status()
        .expect("tar runs");
    assert!(tar.success(), "{name} cannot be unpacked");
    // An archive may hold its set as a folder, or as it is.
    let inner = aside.path().join(name);
    let made = if inner.is_dir() {
        inner
    } else {
        aside.path().to_owned()
    };
    if fs::rename(&made, &unpacked).is_err() {
        assert!(unpacked.is_dir(), "{name} cannot be unpacked");
    }
    Some(unpacked)
}
