//! Whatever the text: an answer, never a panic, and never a secret in it.

use std::path::Path;

use proptest::prelude::*;
use stoker::{cli::render::render, manifest};

use super::{env, files};

/// Pieces of manifests, so that random texts get beyond the first line.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "version: 1",
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "\n  - ",
        "targets:",
        "loads:",
        "here:",
        "local:",
        "fhir:",
        "google:",
        "url:",
        "store",
        "name:",
        "files:",
        "after:",
        "identity:",
        "interaction:",
        "auth:",
        "bearer:",
        "include:",
        "defaults:",
        "target:",
        "load:",
        "{",
        "}",
        "[",
        "]",
        ", ",
        " ",
        ": ",
        "&a ",
        "*a",
        "<<: ",
        "!t ",
        "\"",
        "'",
        "${A}",
        "${SITE}",
        "${",
        "# ",
        "\t",
        "---\n",
        "null",
        "5",
        "1.5",
        "true",
        "é",
        "\u{2028}",
        "\r\n",
        "\u{feff}",
        "|",
        ">",
        "?",
        "~/",
        "0x10",
        "!!str ",
        "!!int ",
    ];
    prop_oneof![
        9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_text_gets_an_answer(pieces in proptest::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        let diagnostics = match manifest::read_text(&text, Path::new("m.yaml"), &env) {
            Ok((_, warnings)) => warnings,
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                errors
            }
        };
        render(&diagnostics, false);
    }

    #[test]
    fn a_damaged_manifest_gets_an_answer(
        cut in 0usize..4000,
        length in 0usize..40,
        put in piece(),
    ) {
        let mut text = fs_err::read_to_string("tests/data/valid/everything.yaml").unwrap();
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = (0..=(cut + length).min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.replace_range(cut..end.max(cut), &put);
        if let Err(errors) = manifest::read_text(&text, Path::new("tests/data/valid/m.yaml"), &env) {
            prop_assert!(!errors.is_empty());
            render(&errors, false);
        }
    }
}

#[test]
fn no_secret_is_ever_shown() {
    for folder in ["invalid/structure", "invalid/rules", "invalid/syntax"] {
        for path in files(folder) {
            let diagnostics = match manifest::read(&path, &env) {
                Ok((_, warnings)) => warnings,
                Err(errors) => errors,
            };
            assert!(
                !render(&diagnostics, true).contains("hunter"),
                "{}",
                path.display()
            );
            assert!(
                !format!("{diagnostics:?}").contains("hunter"),
                "{}",
                path.display()
            );
        }
    }
}
