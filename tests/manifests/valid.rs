//! Valid manifests, and what they come to.

use std::{num::NonZeroU32, path::Path, time::Duration};

use stoker::manifest::Concurrency;
use stoker::{
    diagnostic::Severity,
    manifest::{
        self, Auth, Duplicates, Manifest, PackagingChoice, PackagingSettings, Store, Transactions,
        Versioned,
    },
    unit::ByteSize,
};

use super::{env, files};

fn read(name: &str) -> Manifest {
    let path = Path::new("tests/data/valid").join(name);
    manifest::read(&path, &env).unwrap().0
}

#[test]
fn valid_manifests_are_read_without_errors() {
    for path in files("valid") {
        let (_, warnings) = manifest::read(&path, &env).unwrap();
        assert!(
            warnings
                .iter()
                .all(|warning| warning.severity == Severity::Warning)
        );
    }
}

#[test]
fn every_key_comes_to_what_it_means() {
    insta::assert_json_snapshot!("everything", read("everything.yaml"));
}

#[test]
fn resolved_settings_survive_being_written() {
    let manifest = read("everything.yaml");
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
}

#[test]
fn what_is_left_out_has_a_default() {
    let manifest = read("small.yaml");
    assert_eq!(manifest.name, "small");
    assert_eq!(manifest.run.memory, ByteSize(64_000_000));
    assert_eq!(manifest.loads[0].target, "here");
    let target = &manifest.targets[0];
    assert_eq!(target.auth, Auth::None);
    assert_eq!(
        (target.concurrency, target.timeout),
        (Concurrency { min: 1, max: 256 }, Duration::from_mins(1))
    );
    assert_eq!(target.retry.attempts, 8);
    assert_eq!(target.retry.max, Duration::from_secs(32));
    assert_eq!(target.give_up_after, Duration::from_mins(10));
    let Store::Local { dir, .. } = &target.store else {
        panic!("{target:?}")
    };
    assert_eq!(dir, Path::new("tests/data/valid/store"));
}

#[test]
fn a_number_of_requests_in_flight_is_fixed_or_found() {
    for (text, found) in [
        ("7", Concurrency::fixed(7)),
        ("{ max: 9 }", Concurrency { min: 1, max: 9 }),
        ("{ min: 4 }", Concurrency { min: 4, max: 256 }),
    ] {
        let text = format!("version: 1\ntargets: {{ a: {{ local: s, concurrency: {text} }} }}\n");
        let (manifest, _) = manifest::read_text(&text, Path::new("m.yaml"), &env).unwrap();
        assert_eq!(manifest.targets[0].concurrency, found);
    }
}

#[test]
fn google_credentials_are_the_default_of_google_stores() {
    let text = "version: 1\ntargets:\n  a: { google: { project: p, location: l, dataset: d, fhir_store: f, endpoint: 'http://127.0.0.1:1' } }\n";
    let (manifest, _) = manifest::read_text(text, Path::new("m.yaml"), &env).unwrap();
    assert_eq!(manifest.targets[0].auth, Auth::Google { credentials: None });
}

#[test]
fn a_manifest_named_without_its_folder_stands_in_the_current_one() {
    let text = "version: 1\ntargets: { a: { local: s } }\nloads: [{ name: a, files: x }]\n";
    let (manifest, _) = manifest::read_text(text, Path::new("m.yaml"), &env).unwrap();
    assert_eq!(manifest.loads[0].files[0].folder, Path::new("."));
}

#[test]
fn anchors_and_merge_keys_work() {
    let manifest = read("anchors.yaml");
    let rates: Vec<String> = manifest
        .targets
        .iter()
        .map(|target| target.rate.unwrap().to_string())
        .collect();
    assert_eq!(rates, ["5/s", "5/s", "5/s"]);
    assert_eq!(manifest.targets[2].timeout, Duration::from_secs(5));
    assert_eq!(manifest.loads[1].target, "two");
    let pattern = &manifest.loads[1].files[0];
    assert_eq!((pattern.pattern.as_str(), pattern.place.1), ("*.json", 7));
}

#[test]
fn a_byte_order_mark_and_foreign_line_ends_are_no_matter() {
    let text = "\u{feff}version: 1\r\ntargets:\r\n  hier: { local: größe }\r\nloads:\r\n  - { name: a, files: [é, x] }\r\n";
    let (manifest, _) = manifest::read_text(text, Path::new("m.yaml"), &env).unwrap();
    let place = &manifest.loads[0].files[1].place;
    assert_eq!((place.1, place.2), (5, 27));
}

#[test]
fn bundles_and_references_take_defaults_variables_and_merge_keys() {
    let text = r#"
version: 1
known: "${RUN:-earlier}"
targets: { a: { local: s } }
defaults:
  load:
    bundle: { type: "${TYPE:-transaction}", max_entries: "${ENTRIES:-7}", max_bytes: "${BYTES:-1 MB}" }
    duplicates: last
    versioned: keep
loads:
  - { name: theirs, files: x }
  - { name: own, files: y, bundle: { max_entries: 8 }, versioned: strip, known: earlier/ids.ndjson }
  - &refusing { name: refusing, files: z, transactions: refuse, duplicates: "${TWICE:-error}" }
  - { <<: *refusing, name: merged, bundle: "${SHORT:-none}" }
"#;
    let path = Path::new("tests/data/valid/m.yaml");
    let (manifest, warnings) = manifest::read_text(text, path, &env).unwrap();
    assert_eq!(warnings, []);
    let [theirs, own, refusing, merged] = manifest.loads.as_slice() else {
        panic!("{:?}", manifest.loads)
    };
    let bundle = |kind, entries, bytes: Option<u64>| PackagingSettings {
        kind,
        max_entries: NonZeroU32::new(entries),
        max_bytes: bytes.map(ByteSize),
    };
    let defaults = bundle(Some(PackagingChoice::Transaction), 7, Some(1_000_000));
    assert_eq!((theirs.packaging, refusing.packaging), (defaults, defaults));
    // A key that a load sets itself wins whole.
    assert_eq!(own.packaging, bundle(None, 8, None));
    assert_eq!(
        merged.packaging,
        bundle(Some(PackagingChoice::None), 0, None)
    );
    assert_eq!(
        (theirs.transactions, merged.transactions),
        (Transactions::Split, Transactions::Refuse)
    );
    assert_eq!(
        (theirs.duplicates, merged.duplicates),
        (Duplicates::Last, Duplicates::Error)
    );
    assert_eq!(
        (theirs.versioned, own.versioned),
        (Versioned::Keep, Versioned::Strip)
    );
    let run = Path::new("tests/data/valid/earlier");
    assert_eq!(theirs.known, [run]);
    assert_eq!(own.known, [run.join("ids.ndjson").as_path(), run]);
}

#[test]
fn sizes_of_no_bundle_are_warned_of_and_dropped() {
    let text = "version: 1\ntargets: { a: { local: s, rate: 10/s } }\nloads:\n  - name: a\n    files: x\n    bundle: { type: none, max_entries: 500, max_bytes: 1 MB }\n";
    let (manifest, warnings) = manifest::read_text(text, Path::new("m.yaml"), &env).unwrap();
    assert_eq!(manifest.loads[0].packaging.max_entries, None);
    assert_eq!(manifest.loads[0].packaging.max_bytes, None);
    insta::assert_snapshot!(stoker::cli::render::render(&warnings, false), @r#"
    warning: `max_entries` has no effect with `type: none`
     --> m.yaml:6:27
      |
    6 |     bundle: { type: none, max_entries: 500, max_bytes: 1 MB }
      |                           ^^^^^^^^^^^
      |
      = hint: leave it out, or let records travel in a `batch`

    warning: `max_bytes` has no effect with `type: none`
     --> m.yaml:6:45
      |
    6 |     bundle: { type: none, max_entries: 500, max_bytes: 1 MB }
      |                                             ^^^^^^^^^
      |
      = hint: leave it out, or let records travel in a `batch`
    "#);
}

#[test]
fn warnings_do_not_stop_a_manifest() {
    let text = "version: 1\ntargets: { a: { local: ~/store } }\nloads:\n  - { name: a, files: ~/x, interaction: create, compare: true }\n";
    let (_, warnings) = manifest::read_text(text, Path::new("m.yaml"), &env).unwrap();
    insta::assert_snapshot!(stoker::cli::render::render(&warnings, false), @r#"
    warning: `~` is not expanded: this is a folder of that name
     --> m.yaml:2:24
      |
    2 | targets: { a: { local: ~/store } }
      |                        ^^^^^^^
      |
      = hint: write `${HOME}/store`

    warning: `~` is not expanded: this is a folder of that name
     --> m.yaml:4:23
      |
    4 |   - { name: a, files: ~/x, interaction: create, compare: true }
      |                       ^^^
      |
      = hint: write `${HOME}/x`

    warning: `compare` has no effect with `create`
     --> m.yaml:4:49
      |
    4 |   - { name: a, files: ~/x, interaction: create, compare: true }
      |                                                 ^^^^^^^
      |
      = hint: it compares before an `update`; leave it out
    "#);
}
