//! The page of reason codes says what the code says.

use std::{fmt::Write as _, path::Path};

use stoker::record::ReasonCode;

const HEAD: &str = "# Why a record is not sent

A record that cannot be loaded is `unsupported`: it stands in the plan with a code and a sentence, in Stoker's own words, and is
never sent. `stoker check MANIFEST` names every one of them; `plan --json`, `records.ndjson` and `report.json` carry the code.
What a *server* refuses is `rejected`, and has the server's codes ([troubleshooting](troubleshooting.md)).

| code | what it means |
|---|---|
";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for people who added a code"
)]
fn every_code_is_documented() {
    let mut page = HEAD.to_owned();
    for code in ReasonCode::ALL {
        writeln!(page, "| `{}` | {} |", code.as_str(), code.meaning()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    if std::env::var_os("STOKER_UPDATE").is_some() {
        fs_err::write(&path, &page).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap();
    assert_eq!(
        written, page,
        "docs/reasons.md is not what the code says: run the test again with STOKER_UPDATE=1"
    );
}
