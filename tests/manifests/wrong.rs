//! What is said of wrong manifests: the whole text, as a person sees it.

use std::path::Path;

use stoker::{cli::render::render, manifest};

use super::{env, files};

/// Reads a wrong manifest and returns what a person would see.
fn wrong(file: &str) -> String {
    let path = Path::new("tests/data/invalid").join(file);
    let text = render(&manifest::read(&path, &env).unwrap_err(), false);
    text.replace("tests/data/invalid/", "")
}

#[test]
fn every_wrong_manifest_is_shown_below() {
    let this = include_str!("wrong.rs");
    for folder in ["structure", "rules", "syntax"] {
        for path in files(&format!("invalid/{folder}")) {
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            assert!(this.contains(&format!("wrong(\"{name}\")")), "{name}");
        }
    }
}

#[test]
fn what_is_no_file_is_told_apart() {
    let message = |path: &str| {
        manifest::read(Path::new(path), &env).unwrap_err()[0]
            .message
            .clone()
    };
    assert_eq!(
        message("tests/data/none.yaml"),
        "there is no file `tests/data/none.yaml`"
    );
    assert_eq!(message("tests/data"), "`tests/data` is a directory");
}

#[test]
fn fhir_store() {
    insta::assert_snapshot!(wrong("structure/fhir-store.yaml"), @r#"
    error: `R4B` is not a value of `version`
     --> structure/fhir-store.yaml:6:16
      |
    6 |       version: R4B
      |                ^^^
      |
      = hint: did you mean `R4`?
      = hint: it can be `R4`, `R5`, `STU3`, `DSTU2`

    error: unknown key "enableUpdatecreate", did you mean "enableUpdateCreate"?
     --> structure/fhir-store.yaml:7:7
      |
    7 |       enableUpdatecreate: true
      |       ^^^^^^^^^^^^^^^^^^

    error: `disableReferentialIntegrity` must be `true` or `false`
     --> structure/fhir-store.yaml:8:36
      |
    8 |       disableReferentialIntegrity: "false"
      |                                    ^^^^^^^

    error: `validationConfig` must be a map, not true or false
     --> structure/fhir-store.yaml:9:25
      |
    9 |       validationConfig: true
      |                         ^^^^

    error: `streamConfigs` must be a list
      --> structure/fhir-store.yaml:10:7
       |
    10 |       streamConfigs: {}
       |       ^^^^^^^^^^^^^

    error: `env` is empty
      --> structure/fhir-store.yaml:11:17
       |
    11 |       labels: { env: }
       |                 ^^^
       |
       = hint: give it a value, or take the key out if it is not needed
    "#);
}

#[test]
fn bundle() {
    insta::assert_snapshot!(wrong("structure/bundle.yaml"), @r#"
    error: `transactions` is not a value of `bundle`
     --> structure/bundle.yaml:4:39
      |
    4 |   - { name: a, files: a.json, bundle: transactions }
      |                                       ^^^^^^^^^^^^
      |
      = hint: did you mean `transaction`?
      = hint: it can be `batch`, `transaction`, `none`

    error: `bundle` must be a map, not a list
     --> structure/bundle.yaml:5:31
      |
    5 |   - { name: b, files: b.json, bundle: [batch] }
      |                               ^^^^^^

    error: unknown key "kind"
     --> structure/bundle.yaml:8:15
      |
    8 |     bundle: { kind: batch, max_entries: 0, max_bytes: 0 }
      |               ^^^^
      |
      = hint: the keys here are `type`, `max_entries`, `max_bytes`

    error: `max_entries` must be a whole number from 1 to 4,294,967,295
     --> structure/bundle.yaml:8:41
      |
    8 |     bundle: { kind: batch, max_entries: 0, max_bytes: 0 }
      |                                         ^

    error: `max_bytes` must be more than nothing
     --> structure/bundle.yaml:8:55
      |
    8 |     bundle: { kind: batch, max_entries: 0, max_bytes: 0 }
      |                                                       ^
      |
      = hint: write `10 MB`

    error: `max_entries` must be a number, not text
     --> structure/bundle.yaml:9:54
      |
    9 |   - { name: d, files: d.json, bundle: { max_entries: many, max_bytes: 10 megs } }
      |                                                      ^^^^

    error: `10 megs` is not a size
     --> structure/bundle.yaml:9:71
      |
    9 |   - { name: d, files: d.json, bundle: { max_entries: many, max_bytes: 10 megs } }
      |                                                                       ^^^^^^^
      |
      = hint: write `64 MB`, `512 KiB` or a number of bytes
    "#);
}

#[test]
fn references() {
    insta::assert_snapshot!(wrong("structure/references.yaml"), @r"
    error: `known` is empty
     --> structure/references.yaml:2:1
      |
    2 | known: []
      | ^^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `fist` is not a value of `duplicates`
     --> structure/references.yaml:4:33
      |
    4 | defaults: { load: { duplicates: fist } }
      |                                 ^^^^
      |
      = hint: did you mean `first`?
      = hint: it can be `first`, `last`, `error`, `ignore`, `skip`, `verify`, `replace`

    error: `splitt` is not a value of `transactions`
     --> structure/references.yaml:6:45
      |
    6 |   - { name: a, files: a.json, transactions: splitt, duplicates: all, versioned: true }
      |                                             ^^^^^^
      |
      = hint: did you mean `split`?
      = hint: it can be `split`, `keep`, `refuse`

    error: `all` is not a value of `duplicates`
     --> structure/references.yaml:6:65
      |
    6 |   - { name: a, files: a.json, transactions: splitt, duplicates: all, versioned: true }
      |                                                                 ^^^
      |
      = hint: it can be `first`, `last`, `error`, `ignore`, `skip`, `verify`, `replace`

    error: `versioned` must be text, not true or false
     --> structure/references.yaml:6:81
      |
    6 |   - { name: a, files: a.json, transactions: splitt, duplicates: all, versioned: true }
      |                                                                                 ^^^^
      |
      = hint: put it in quotes

    error: `known` must be text or a list of texts, not a number
     --> structure/references.yaml:7:38
      |
    7 |   - { name: b, files: b.json, known: 7 }
      |                                      ^
    ");
}

#[test]
fn known() {
    insta::assert_snapshot!(wrong("rules/known.yaml"), @r#"
    error: `${DATA}/run` is no run, and no file of ids
     --> rules/known.yaml:3:9
      |
    3 | known: ["${DATA}/run"]
      |         ^^^^^^^^^^^^^
      |
      = hint: name the directory of a run (`.stoker/runs/…`) or a file that `stoker report RUN --format ids` has printed

    error: `included` is no run, and no file of ids
     --> rules/known.yaml:6:39
      |
    6 |   - { name: a, files: a.json, known: [included, ../../valid/earlier] }
      |                                       ^^^^^^^^
      |
      = hint: name the directory of a run (`.stoker/runs/…`) or a file that `stoker report RUN --format ids` has printed

    error: `included/none.ndjson` is no run, and no file of ids
     --> rules/known.yaml:7:38
      |
    7 |   - { name: b, files: b.json, known: included/none.ndjson }
      |                                      ^^^^^^^^^^^^^^^^^^^^
      |
      = hint: name the directory of a run (`.stoker/runs/…`) or a file that `stoker report RUN --format ids` has printed
    "#);
}

#[test]
fn entries_over_rate() {
    insta::assert_snapshot!(wrong("rules/entries-over-rate.yaml"), @r#"
    error: `max_entries` is above a tenth of the rate of the target `calm`: at most 50
     --> rules/entries-over-rate.yaml:4:34
      |
    4 |   load: { bundle: { max_entries: 51 } }
      |                                  ^^
      |
      = hint: the rate is set at rules/entries-over-rate.yaml:3:19
      = hint: make `max_entries` smaller or raise the rate; a Bundle costs as much as its entries

    error: `max_entries` is above a tenth of the rate of the target `slow`: at most 1
      --> rules/entries-over-rate.yaml:11:81
       |
    11 |   - { name: b, target: slow, files: b.json, bundle: { type: batch, max_entries: 2 } }
       |                                                                                 ^
       |
       = hint: the rate is set at rules/entries-over-rate.yaml:7:30
       = hint: make `max_entries` smaller or raise the rate; a Bundle costs as much as its entries

    warning: `max_entries` has no effect with `type: none`
      --> rules/entries-over-rate.yaml:13:70
       |
    13 |   - { name: none, target: slow, files: b.json, bundle: { type: none, max_entries: 2 } }
       |                                                                      ^^^^^^^^^^^
       |
       = hint: leave it out, or let records travel in a `batch`
    "#);
}

#[test]
fn one_store() {
    insta::assert_snapshot!(wrong("rules/one-store.yaml"), @r#"
    error: the targets `strict` and `lax` are one store, and want it with different fields
     --> rules/one-store.yaml:6:3
      |
    6 |   lax: { local: { dir: ./here, store: { disableReferentialIntegrity: true } } }
      |   ^^^
      |
      = hint: give both the same fields, or name the store by one target alone
    "#);
}

#[test]
fn identity_without_type() {
    insta::assert_snapshot!(wrong("rules/identity-without-type.yaml"), @r#"
    error: `identity` names no resource type
     --> rules/identity-without-type.yaml:8:5
      |
    8 |     identity: { missing: create }
      |     ^^^^^^^^
      |
      = hint: write `identity: { Patient: ["https://clinic.example/mrn"] }`
    "#);
}

#[test]
fn list_for_map() {
    insta::assert_snapshot!(wrong("structure/list-for-map.yaml"), @r#"
    error: `local` must be text, not a list
    --> structure/list-for-map.yaml:3:11

    error: `headers` must be a map, not a list
    --> structure/list-for-map.yaml:3:27

    error: `tls` must be a map, not text
    --> structure/list-for-map.yaml:3:46

    error: `auth` is not a way to authenticate that is known
    --> structure/list-for-map.yaml:3:51
     = hint: write `none`, `google`, `{ google: { credentials: FILE } }`, `{ bearer: { env: NAME } }` or `{ basic: { user: …, password: { env: NAME } } }`

    error: `rate` must be text, not a list
    --> structure/list-for-map.yaml:3:67

    error: `ensure` creates stores of the Healthcare API, and this target is none
    --> structure/list-for-map.yaml:3:80
     = hint: leave it out; the local store takes `local: { dir: …, store: { … } }`

    error: `loads` must be a list
     --> structure/list-for-map.yaml:4:8
      |
    4 | loads: people
      |        ^^^^^^
      |
      = hint: write `- name: …` for each load
    "#);
}

#[test]
fn load_not_a_map() {
    insta::assert_snapshot!(wrong("structure/load-not-a-map.yaml"), @r#"
    error: `load` must be a map, not text
     --> structure/load-not-a-map.yaml:5:5
      |
    5 |   - people.json
      |     ^^^^^^^^^^^
    "#);
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(wrong("structure/missing-keys.yaml"), @r#"
    error: `google` has no `dataset`
     --> structure/missing-keys.yaml:3:12
      |
    3 |   cloud: { google: { project: p, location: us-central1 } }
      |            ^^^^^^
      |
      = hint: add `dataset: …`

    error: `google` has no `fhir_store`
     --> structure/missing-keys.yaml:3:12
      |
    3 |   cloud: { google: { project: p, location: us-central1 } }
      |            ^^^^^^
      |
      = hint: add `fhir_store: …`

    error: `fhir` is empty
     --> structure/missing-keys.yaml:4:13
      |
    4 |   server: { fhir: {} }
      |             ^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `fhir` has no `url`
     --> structure/missing-keys.yaml:5:11
      |
    5 |   open: { fhir: { uri: "https://a.example" } }
      |           ^^^^
      |
      = hint: add `url: …`

    error: unknown key "uri", did you mean "url"?
     --> structure/missing-keys.yaml:5:19
      |
    5 |   open: { fhir: { uri: "https://a.example" } }
      |                   ^^^

    error: `local` has no `dir`
     --> structure/missing-keys.yaml:6:11
      |
    6 |   disk: { local: { store: { version: R4 } } }
      |           ^^^^^
      |
      = hint: add `dir: …`

    error: the load has no `name`
     --> structure/missing-keys.yaml:8:5
      |
    8 |   - files: x.json
      |     ^^^^^
      |
      = hint: add `name: …`

    error: the load `results` has no `files`
      --> structure/missing-keys.yaml:10:11
       |
    10 |   - name: results
       |           ^^^^^^^
       |
       = hint: add `files: …`
    "#);
}

#[test]
fn names() {
    insta::assert_snapshot!(wrong("structure/names.yaml"), @r#"
    error: `a/b` cannot be a name: it holds a slash, and files are named after it
     --> structure/names.yaml:2:7
      |
    2 | name: a/b
      |       ^^^

    error: `a\nb` cannot be a name: it holds a line break or another control character
     --> structure/names.yaml:6:11
      |
    6 |   - name: "a\nb"
      |           ^^^^^^

    error: `c/d` cannot be a name: it holds a slash, and files are named after it
     --> structure/names.yaml:8:11
      |
    8 |   - name: "c/d"
      |           ^^^^^
    "#);
}

#[test]
fn newer_version() {
    insta::assert_snapshot!(wrong("structure/newer-version.yaml"), @r#"
    error: version 2 of the manifest is not known
     --> structure/newer-version.yaml:1:10
      |
    1 | version: 2
      |          ^
      |
      = hint: write `version: 1`, or use a newer Stoker
    "#);
}

#[test]
fn no_store() {
    insta::assert_snapshot!(wrong("structure/no-store.yaml"), @r#"
    error: the target `none` names no store
     --> structure/no-store.yaml:3:3
      |
    3 |   none: { rate: 5/s }
      |   ^^^^
      |
      = hint: add one of `google: { … }`, `fhir: { url: … }`, `dicomweb: { url: … }`, `mllp: { address: … }` and `local: DIR`

    error: the target `two` names two stores, `local` and `fhir`
     --> structure/no-store.yaml:4:24
      |
    4 |   two: { local: store, fhir: { url: "https://a.example" } }
      |                        ^^^^
      |
      = hint: make each a target of its own
    "#);
}

#[test]
fn no_version() {
    insta::assert_snapshot!(wrong("structure/no-version.yaml"), @r#"
    error: the manifest has no `version`
     --> structure/no-version.yaml:1:1
      |
    1 | targets:
      | ^
      |
      = hint: begin with `version: 1`
    "#);
}

#[test]
fn not_a_map() {
    insta::assert_snapshot!(wrong("structure/not-a-map.yaml"), @r#"
    error: the manifest is not a map of keys
    --> structure/not-a-map.yaml:1:1
     = hint: begin with `version: 1`, then `targets:` and `loads:`
    "#);
}

#[test]
fn null_list() {
    insta::assert_snapshot!(wrong("structure/null-list.yaml"), @r#"
    error: `files` is empty
     --> structure/null-list.yaml:6:5
      |
    6 |     files:
      |     ^^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `files` is empty
     --> structure/null-list.yaml:8:5
      |
    8 |     files: []
      |     ^^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: an item of `files` is empty
      --> structure/null-list.yaml:12:8
       |
    12 |       -
       |        ^
       |
       = hint: remove the `-`, or write something after it
    "#);
}

#[test]
fn null_maps() {
    insta::assert_snapshot!(wrong("structure/null-maps.yaml"), @r#"
    error: `defaults` is empty
     --> structure/null-maps.yaml:2:1
      |
    2 | defaults:
      | ^^^^^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `here` is empty
     --> structure/null-maps.yaml:4:3
      |
    4 |   here:
      |   ^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `local` is empty
     --> structure/null-maps.yaml:5:12
      |
    5 |   there: { local: }
      |            ^^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: `loads` is empty
     --> structure/null-maps.yaml:6:1
      |
    6 | loads:
      | ^^^^^
      |
      = hint: write `- name: …` for each load
    "#);
}

#[test]
fn rate_number() {
    insta::assert_snapshot!(wrong("structure/rate-number.yaml"), @r#"
    error: `500` is not a rate
     --> structure/rate-number.yaml:3:31
      |
    3 |   here: { local: store, rate: 500 }
      |                               ^^^
      |
      = hint: write `500/s` or `30000/min`
    "#);
}

#[test]
fn secret_literal() {
    insta::assert_snapshot!(wrong("structure/secret-literal.yaml"), @r#"
    error: `bearer` is written as a literal, and a manifest holds no secrets
    --> structure/secret-literal.yaml:3:62
     = hint: name the variable or the file that holds it: `bearer: { env: NAME }` or `bearer: { file: PATH }`

    error: `password` is written as a literal, and a manifest holds no secrets
    --> structure/secret-literal.yaml:4:82
     = hint: name the variable or the file that holds it: `password: { env: NAME }` or `password: { file: PATH }`

    error: `auth` is not a way to authenticate that is known
    --> structure/secret-literal.yaml:5:54
     = hint: write `none`, `google`, `{ google: { credentials: FILE } }`, `{ bearer: { env: NAME } }` or `{ basic: { user: …, password: { env: NAME } } }`

    error: unknown key "token"
    --> structure/secret-literal.yaml:6:55
     = hint: the keys here are `google`, `bearer`, `basic`

    error: `env` must be the name of an environment variable
    --> structure/secret-literal.yaml:7:70
     = hint: write the name alone, such as `FHIR_TOKEN`, without `$`

    error: `bearer` is written as a literal, and a manifest holds no secrets
    --> structure/secret-literal.yaml:8:62
     = hint: name the variable or the file that holds it: `bearer: { env: NAME }` or `bearer: { file: PATH }`

    error: `bearer` has both `env` and `file`
    --> structure/secret-literal.yaml:9:74
     = hint: keep one of them

    error: unknown key "apikey"
    --> structure/secret-literal.yaml:9:87
     = hint: the keys here are `google`, `fhir`, `dicomweb`, `mllp`, `local`, `ensure`, `auth`, `tls`, `proxy`, `headers`, `quota_project`, `rate`, `bytes_rate`, `concurrency`, `timeout`, `retry`, `give_up_after`
    "#);
}

#[test]
fn types() {
    insta::assert_snapshot!(wrong("structure/types.yaml"), @r#"
    error: `version` must be the number 1
     --> structure/types.yaml:1:10
      |
    1 | version: "1"
      |          ^^^
      |
      = hint: write `version: 1`

    error: `name` must be text, not a number
     --> structure/types.yaml:2:7
      |
    2 | name: 7
      |       ^
      |
      = hint: put it in quotes

    error: `targets` must be a map, not a list
     --> structure/types.yaml:3:1
      |
    3 | targets: [here]
      | ^^^^^^^

    error: `loads` must be a list
     --> structure/types.yaml:4:1
      |
    4 | loads:
      | ^^^^^
      |
      = hint: write `- name: …` for each load
    "#);
}

#[test]
fn units() {
    insta::assert_snapshot!(wrong("structure/units.yaml"), @r#"
    error: `64 megs` is not a size
     --> structure/units.yaml:2:9
      |
    2 | memory: 64 megs
      |         ^^^^^^^
      |
      = hint: write `64 MB`, `512 KiB` or a number of bytes

    error: `max_errors` must be a number of records or a percentage
     --> structure/units.yaml:3:13
      |
    3 | max_errors: many
      |             ^^^^
      |
      = hint: write `100` or `2%`

    error: `fast` is not a rate
     --> structure/units.yaml:7:11
      |
    7 |     rate: fast
      |           ^^^^
      |
      = hint: write `500/s` or `30000/min`

    error: `10 MB` is not a rate in bytes
     --> structure/units.yaml:8:17
      |
    8 |     bytes_rate: 10 MB
      |                 ^^^^^
      |
      = hint: write `10 MB/s` or `600 MB/min`

    error: `60` is not a duration
     --> structure/units.yaml:9:14
      |
    9 |     timeout: 60
      |              ^^
      |
      = hint: write `500ms`, `30s`, `5m` or `1h`

    error: `soon` is not a duration
      --> structure/units.yaml:10:20
       |
    10 |     give_up_after: soon
       |                    ^^^^
       |
       = hint: write `500ms`, `30s`, `5m` or `1h`

    error: `concurrency` must be a whole number from 1 to 1,024
      --> structure/units.yaml:11:18
       |
    11 |     concurrency: 0
       |                  ^

    error: `attempts` must be a number, not text
      --> structure/units.yaml:12:24
       |
    12 |     retry: { attempts: none, base: 1 }
       |                        ^^^^

    error: `1` is not a duration
      --> structure/units.yaml:12:36
       |
    12 |     retry: { attempts: none, base: 1 }
       |                                    ^
       |
       = hint: write `500ms`, `30s`, `5m` or `1h`
    "#);
}

#[test]
fn unknown_keys() {
    insta::assert_snapshot!(wrong("structure/unknown-keys.yaml"), @r#"
    error: unknown key "nam", did you mean "name"?
     --> structure/unknown-keys.yaml:2:1
      |
    2 | nam: x
      | ^^^

    error: unknown key "interacton", did you mean "interaction"?
     --> structure/unknown-keys.yaml:8:5
      |
    8 |     interacton: create
      |     ^^^^^^^^^^

    error: unknown key "bundel", did you mean "bundle"?
     --> structure/unknown-keys.yaml:9:5
      |
    9 |     bundel: batch
      |     ^^^^^^
    "#);
}

#[test]
fn url_not_http() {
    insta::assert_snapshot!(wrong("structure/url-not-http.yaml"), @r#"
    error: `url` must be a URL that begins with `http://` or `https://`
     --> structure/url-not-http.yaml:3:23
      |
    3 |   one: { fhir: { url: "ftp://a.example/r4" } }
      |                       ^^^^^^^^^^^^^^^^^^^^
      |
      = hint: write it like `https://fhir.example/r4`

    error: `url` must be a URL that begins with `http://` or `https://`
     --> structure/url-not-http.yaml:4:23
      |
    4 |   two: { fhir: { url: a.example } }
      |                       ^^^^^^^^^
      |
      = hint: write it like `https://fhir.example/r4`

    error: `endpoint` must be a URL that begins with `http://` or `https://`
     --> structure/url-not-http.yaml:5:84
      |
    5 |   three: { google: { project: p, location: l, dataset: d, fhir_store: f, endpoint: "localhost:8080" } }
      |                                                                                    ^^^^^^^^^^^^^^^^
      |
      = hint: write it like `https://fhir.example/r4`
    "#);
}

#[test]
fn words() {
    insta::assert_snapshot!(wrong("structure/words.yaml"), @r#"
    error: `grup` is not a value of `sync`
     --> structure/words.yaml:4:18
      |
    4 | journal: { sync: grup }
      |                  ^^^^
      |
      = hint: did you mean `group`?
      = hint: it can be `none`, `group`, `always`

    error: `upsert` is not a value of `interaction`
     --> structure/words.yaml:8:18
      |
    8 |     interaction: upsert
      |                  ^^^^^^
      |
      = hint: it can be `create`, `update`, `conditional-create`, `conditional-update`, `ingest`, `store`, `transmit`

    error: `yes` is not a value of `compare`
     --> structure/words.yaml:9:14
      |
    9 |     compare: "yes"
      |              ^^^^^
      |
      = hint: it can be `true`, `false`, `bytes`

    error: "Pateint" is not a resource type of FHIR R4
      --> structure/words.yaml:10:17
       |
    10 |     identity: { Pateint: [a], Patient: a, missing: creat }
       |                 ^^^^^^^
       |
       = hint: did you mean "Patient"?

    error: `creat` is not a value of `missing`
      --> structure/words.yaml:10:52
       |
    10 |     identity: { Pateint: [a], Patient: a, missing: creat }
       |                                                    ^^^^^
       |
       = hint: did you mean `create`?
       = hint: it can be `create`, `refuse`
    "#);
}

#[test]
fn after() {
    insta::assert_snapshot!(wrong("rules/after.yaml"), @r#"
    error: the loads wait for each other: a → c → b → a
     --> rules/after.yaml:6:38
      |
    6 |   - { name: b, files: b.json, after: a }
      |                                      ^
      |
      = hint: remove one of the `after`

    error: no load is named `d`
     --> rules/after.yaml:7:42
      |
    7 |   - { name: c, files: c.json, after: [b, d] }
      |                                          ^
      |
      = hint: the loads are `a`, `b`, `c`, `e`

    error: the load `e` waits for itself
     --> rules/after.yaml:8:39
      |
    8 |   - { name: e, files: e.json, after: [e] }
      |                                       ^
      |
      = hint: remove one of the `after`
    "#);
}

#[test]
fn conditional_without_identity() {
    insta::assert_snapshot!(wrong("rules/conditional-without-identity.yaml"), @r#"
    error: `conditional-create` needs `identity`
     --> rules/conditional-without-identity.yaml:7:18
      |
    7 |     interaction: conditional-create
      |                  ^^^^^^^^^^^^^^^^^^
      |
      = hint: name the identifier systems: `identity: { Patient: ["https://clinic.example/mrn"] }`
    "#);
}

#[test]
fn credentials_in_the_clear() {
    insta::assert_snapshot!(wrong("rules/credentials-in-the-clear.yaml"), @r#"
    error: credentials would cross the network in the clear
     --> rules/credentials-in-the-clear.yaml:3:23
      |
    3 |   one: { fhir: { url: "http://fhir.example/r4" }, auth: { bearer: { env: TOKEN } } }
      |                       ^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: use `https://`, or `auth: none` if the server asks for none

    error: credentials would cross the network in the clear
     --> rules/credentials-in-the-clear.yaml:4:82
      |
    4 |   two: { google: { project: p, location: l, dataset: d, fhir_store: f, endpoint: "http://emulator:8080" } }
      |                                                                                  ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: use `https://`, or `auth: none` if the server asks for none

    error: `url` holds credentials
    --> rules/credentials-in-the-clear.yaml:5:25
     = hint: take them out, and name their place: `auth: { basic: { user: …, password: { env: NAME } } }`

    error: `proxy` holds credentials
    --> rules/credentials-in-the-clear.yaml:5:72
     = hint: leave `proxy` out, and give it in the environment (`HTTPS_PROXY`)

    error: `url` must end with its path
    --> rules/credentials-in-the-clear.yaml:6:24
     = hint: take out what begins with `?` or `#`
    "#);
}

#[test]
fn duplicate_load() {
    insta::assert_snapshot!(wrong("rules/duplicate-load.yaml"), @r#"
    error: two loads are named `people`
     --> rules/duplicate-load.yaml:6:13
      |
    6 |   - { name: people, files: b.json }
      |             ^^^^^^
      |
      = hint: it is already defined at rules/duplicate-load.yaml:5:13
    "#);
}

#[test]
fn ensure_elsewhere() {
    insta::assert_snapshot!(wrong("rules/ensure-elsewhere.yaml"), @r#"
    error: `ensure` creates stores of the Healthcare API, and this target is none
     --> rules/ensure-elsewhere.yaml:3:25
      |
    3 |   here: { local: store, ensure: true }
      |                         ^^^^^^
      |
      = hint: leave it out; the local store takes `local: { dir: …, store: { … } }`
    "#);
}

#[test]
fn patterns() {
    insta::assert_snapshot!(wrong("rules/patterns.yaml"), @r#"
    error: `files` only takes files away, so that none is left
     --> rules/patterns.yaml:5:16
      |
    5 |   - { name: a, files: ["!drafts/*"] }
      |                ^^^^^
      |
      = hint: add a pattern without `!` before them

    error: `!` is not a pattern
     --> rules/patterns.yaml:6:29
      |
    6 |   - { name: b, files: ["-", "!", "!-"] }
      |                             ^^^
      |
      = hint: write a glob such as `data/**/*.json`, or `!` and a glob to leave files out

    error: `!-` is not a pattern
     --> rules/patterns.yaml:6:34
      |
    6 |   - { name: b, files: ["-", "!", "!-"] }
      |                                  ^^^^
      |
      = hint: write a glob such as `data/**/*.json`, or `!` and a glob to leave files out

    error: standard input can be read only once
     --> rules/patterns.yaml:7:23
      |
    7 |   - { name: c, files: "-" }
      |                       ^
      |
      = hint: it is already read at rules/patterns.yaml:6:24
    "#);
}

#[test]
fn google_ids() {
    insta::assert_snapshot!(wrong("rules/google-ids.yaml"), @r#"
    error: `projects/p` is not an id for `project`
     --> rules/google-ids.yaml:3:29
      |
    3 |   one: { google: { project: projects/p, location: "us central1", dataset: "d?x", fhir_store: .. } }
      |                             ^^^^^^^^^^
      |
      = hint: write the id alone, without slashes or spaces

    error: `us central1` is not an id for `location`
     --> rules/google-ids.yaml:3:51
      |
    3 |   one: { google: { project: projects/p, location: "us central1", dataset: "d?x", fhir_store: .. } }
      |                                                   ^^^^^^^^^^^^^
      |
      = hint: write the id alone, without slashes or spaces

    error: `d?x` is not an id for `dataset`
     --> rules/google-ids.yaml:3:75
      |
    3 |   one: { google: { project: projects/p, location: "us central1", dataset: "d?x", fhir_store: .. } }
      |                                                                           ^^^^^
      |
      = hint: write the id alone, without slashes or spaces

    error: `..` is not an id for `fhir_store`
     --> rules/google-ids.yaml:3:94
      |
    3 |   one: { google: { project: projects/p, location: "us central1", dataset: "d?x", fhir_store: .. } }
      |                                                                                              ^^
      |
      = hint: write the id alone, without slashes or spaces
    "#);
}

#[test]
fn include_circle() {
    insta::assert_snapshot!(wrong("rules/include-circle.yaml"), @r#"
    error: the manifests include each other: include-circle.yaml → circle.yaml → include-circle.yaml
     --> rules/included/circle.yaml:2:11
      |
    2 | include: [../include-circle.yaml]
      |           ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: remove one of the includes

    warning: `state` of an included manifest is not used
     --> rules/included/circle.yaml:3:1
      |
    3 | state: x
      | ^^^^^
      |
      = hint: set it in the manifest that includes this one
    "#);
}

#[test]
fn include_itself() {
    insta::assert_snapshot!(wrong("rules/include-itself.yaml"), @r#"
    error: the manifest includes itself
     --> rules/include-itself.yaml:2:11
      |
    2 | include: [include-itself.yaml]
      |           ^^^^^^^^^^^^^^^^^^^
      |
      = hint: remove one of the includes
    "#);
}

#[test]
fn include_missing() {
    insta::assert_snapshot!(wrong("rules/include-missing.yaml"), @r#"
    error: there is no file `nowhere.yaml`
     --> rules/include-missing.yaml:2:11
      |
    2 | include: [nowhere.yaml, .]
      |           ^^^^^^^^^^^^
      |
      = hint: included paths are relative to the manifest that includes them

    error: `.` is a directory
     --> rules/include-missing.yaml:2:25
      |
    2 | include: [nowhere.yaml, .]
      |                         ^
      |
      = hint: name the manifest in it; `stoker init DIR` writes one
    "#);
}

#[test]
fn include_twice() {
    insta::assert_snapshot!(wrong("rules/include-twice.yaml"), @r#"
    error: the target "here" is defined twice
     --> rules/include-twice.yaml:4:3
      |
    4 |   here: { local: store }
      |   ^^^^
      |
      = hint: it is already defined at rules/included/people.yaml:3:3

    error: two loads are named `people`
     --> rules/include-twice.yaml:6:11
      |
    6 |   - name: people
      |           ^^^^^^
      |
      = hint: it is already defined at rules/included/people.yaml:5:11
    "#);
}

#[test]
fn no_targets() {
    insta::assert_snapshot!(wrong("rules/no-targets.yaml"), @r#"
    error: the manifest has no targets
     --> rules/no-targets.yaml:1:1
      |
    1 | version: 1
      | ^
      |
      = hint: add `targets:` with a store to load, such as `here: { local: .stoker/store }`
    "#);
}

#[test]
fn retry_and_tls() {
    insta::assert_snapshot!(wrong("rules/retry-and-tls.yaml"), @r#"
    error: `timeout` must be more than nothing
     --> rules/retry-and-tls.yaml:5:14
      |
    5 |     timeout: 0s
      |              ^^

    error: `base` is longer than `max`
     --> rules/retry-and-tls.yaml:6:20
      |
    6 |     retry: { base: 1m }
      |                    ^^
      |
      = hint: waits double from `base` to `max`; they are 500ms and 32s unless set

    error: `min` is more than `max`
     --> rules/retry-and-tls.yaml:7:25
      |
    7 |     concurrency: { min: 300 }
      |                         ^^^
      |
      = hint: the number is found between the two; they are 1 and 256 unless set

    error: `tls` has `certificate` but it has no `key`
     --> rules/retry-and-tls.yaml:8:5
      |
    8 |     tls: { certificate: c.pem }
      |     ^^^
      |
      = hint: add `key: …`
    "#);
}

#[test]
fn secret_headers() {
    insta::assert_snapshot!(wrong("rules/secret-headers.yaml"), @r#"
    error: `Authorization` is not set by `headers`
    --> rules/secret-headers.yaml:5:16
     = hint: name the place of the secret: `auth: { bearer: { env: NAME } }`

    error: `Host` is set by Stoker
    --> rules/secret-headers.yaml:5:47
     = hint: leave it out

    error: "a b" is not the name of a header
    --> rules/secret-headers.yaml:5:64

    warning: the value of `X-Token` is kept in plans and runs as it is
    --> rules/secret-headers.yaml:5:74
     = hint: if it is a secret, put it into a variable and write `${NAME}`, or use `auth`
    "#);
}

#[test]
fn target_omitted() {
    insta::assert_snapshot!(wrong("rules/target-omitted.yaml"), @r#"
    error: the load `people` has no `target`
     --> rules/target-omitted.yaml:6:11
      |
    6 |   - name: people
      |           ^^^^^^
      |
      = hint: there are several: `here`, `there`
    "#);
}

#[test]
fn unknown_target() {
    insta::assert_snapshot!(wrong("rules/unknown-target.yaml"), @r#"
    error: no target is named `heer`
     --> rules/unknown-target.yaml:6:13
      |
    6 |     target: heer
      |             ^^^^
      |
      = hint: did you mean `here`?

    error: no target is named `somewhere`
     --> rules/unknown-target.yaml:9:13
      |
    9 |     target: somewhere
      |             ^^^^^^^^^
      |
      = hint: the targets are `here`
    "#);
}

#[test]
fn unset_variables() {
    insta::assert_snapshot!(wrong("rules/unset-variables.yaml"), @r#"
    error: the variable `NAME` is not set
     --> rules/unset-variables.yaml:2:8
      |
    2 | name: "${NAME}"
      |        ^^^^^^^
      |
      = hint: set it, or write `${NAME:-default}`

    error: the variable `DIR` is not set
     --> rules/unset-variables.yaml:4:24
      |
    4 |   here: { local: "data/${DIR}/${1X}", rate: "${RATE}", concurrency: "${COUNT:-many}" }
      |                        ^^^^^^
      |
      = hint: set it, or write `${DIR:-default}`

    error: this is not a variable
     --> rules/unset-variables.yaml:4:31
      |
    4 |   here: { local: "data/${DIR}/${1X}", rate: "${RATE}", concurrency: "${COUNT:-many}" }
      |                               ^^^^^
      |
      = hint: write `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`

    error: the value of `${RATE}` is not a rate
     --> rules/unset-variables.yaml:4:45
      |
    4 |   here: { local: "data/${DIR}/${1X}", rate: "${RATE}", concurrency: "${COUNT:-many}" }
      |                                             ^^^^^^^^^
      |
      = hint: write `500/s` or `30000/min`

    error: `concurrency` must be a whole number from 1 to 1,024
     --> rules/unset-variables.yaml:4:69
      |
    4 |   here: { local: "data/${DIR}/${1X}", rate: "${RATE}", concurrency: "${COUNT:-many}" }
      |                                                                     ^^^^^^^^^^^^^^^^

    error: this is not a variable
     --> rules/unset-variables.yaml:7:14
      |
    7 |     files: ["${DATA", "$${fine}", "${FAST}"]
      |              ^^^^^^
      |
      = hint: write `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`

    error: no target is named `${FAST}`
     --> rules/unset-variables.yaml:8:13
      |
    8 |     target: "${FAST}"
      |             ^^^^^^^^^
      |
      = hint: the targets are `here`
    "#);
}

#[test]
fn at_sign() {
    insta::assert_snapshot!(wrong("syntax/at-sign.yaml"), @r#"
    error: a plain value cannot begin with `@`
     --> syntax/at-sign.yaml:2:7
      |
    2 | name: @clinic
      |       ^^^^^^^
      |
      = hint: put the value in quotes
    "#);
}

#[test]
fn bracket() {
    insta::assert_snapshot!(wrong("syntax/bracket.yaml"), @r#"
    error: this `{` or `[` is not closed, or a comma is missing in it
     --> syntax/bracket.yaml:6:12
      |
    6 |     files: [a.json, b.json
      |            ^
      |
      = hint: close it, or write one item a line
    "#);
}

#[test]
fn colon() {
    insta::assert_snapshot!(wrong("syntax/colon.yaml"), @r#"
    error: a `:` stands where none can
     --> syntax/colon.yaml:2:8
      |
    2 | name: a: b
      |        ^
      |
      = hint: check the indentation, and put values that hold `: ` in quotes
    "#);
}

#[test]
fn duplicate_keys() {
    insta::assert_snapshot!(wrong("syntax/duplicate-keys.yaml"), @r#"
    error: the key "here" is given twice
     --> syntax/duplicate-keys.yaml:4:3
      |
    4 |   here: { local: other }
      |   ^^^^
      |
      = hint: it is already given on line 3

    error: the key "name" is given twice
     --> syntax/duplicate-keys.yaml:8:5
      |
    8 |     name: results
      |     ^^^^
      |
      = hint: it is already given on line 6
    "#);
}

#[test]
fn empty() {
    insta::assert_snapshot!(wrong("syntax/empty.yaml"), @r#"
    error: the manifest is empty
    --> syntax/empty.yaml:1:1
     = hint: begin with `version: 1`, then `targets:` and `loads:`
    "#);
}

#[test]
fn indentation_of_a_key() {
    insta::assert_snapshot!(wrong("syntax/indentation-of-a-key.yaml"), @r#"
    error: this line does not fit the lines above it
     --> syntax/indentation-of-a-key.yaml:5:4
      |
    5 |    rate: 5/s
      |    ^^^^
      |
      = hint: check the indentation: keys of one map, and items of one list, begin in the same column; and that quotes are closed
    "#);
}

#[test]
fn indentation() {
    insta::assert_snapshot!(wrong("syntax/indentation.yaml"), @r#"
    error: this line does not fit the lines above it
     --> syntax/indentation.yaml:6:4
      |
    6 |    files: x.json
      |    ^^^^^
      |
      = hint: check the indentation: keys of one map, and items of one list, begin in the same column; and that quotes are closed
    "#);
}

#[test]
fn latin1() {
    insta::assert_snapshot!(wrong("syntax/latin1.yaml"), @r#"
    error: `syntax/latin1.yaml` is not UTF-8 text
    --> syntax/latin1.yaml:2:8
     = hint: save it as UTF-8
    "#);
}

#[test]
fn no_space() {
    insta::assert_snapshot!(wrong("syntax/no-space.yaml"), @r#"
    error: this line is not `key: value`
     --> syntax/no-space.yaml:2:1
      |
    2 | name clinic
      | ^^^^
      |
      = hint: put a `:` and a space after the key, or check the indentation
    "#);
}

#[test]
fn quote() {
    insta::assert_snapshot!(wrong("syntax/quote.yaml"), @r#"
    error: this line does not fit the lines above it
     --> syntax/quote.yaml:7:14
      |
    7 |     files: "*.json"
      |              ^^^^^^
      |
      = hint: check the indentation: keys of one map, and items of one list, begin in the same column; and that quotes are closed
    "#);
}

#[test]
fn secret_line() {
    insta::assert_snapshot!(wrong("syntax/secret-line.yaml"), @r#"
    error: this quote is never closed
    --> syntax/secret-line.yaml:3:62
     = hint: close it with the same quote
    "#);
}

#[test]
fn tab() {
    insta::assert_snapshot!(wrong("syntax/tab.yaml"), @r#"
    error: a tab stands where YAML wants spaces
     --> syntax/tab.yaml:3:1
      |
    3 |     here: { local: store }
      | ^^^^
      |
      = hint: indent with spaces
    "#);
}

#[test]
fn tags_and_keys() {
    insta::assert_snapshot!(wrong("syntax/tags-and-keys.yaml"), @r#"
    error: `here` is empty
     --> syntax/tags-and-keys.yaml:3:3
      |
    3 |   here: !local store
      |   ^^^^
      |
      = hint: give it a value, or take the key out if it is not needed

    error: the tag `!local` means nothing here
     --> syntax/tags-and-keys.yaml:3:9
      |
    3 |   here: !local store
      |         ^^^^^^
      |
      = hint: remove it, or put the value in quotes

    error: a key must be text
     --> syntax/tags-and-keys.yaml:4:5
      |
    4 |   ? [a, b]
      |     ^
      |
      = hint: if this was meant to be a `${…}` variable, put it in quotes

    error: `<<` takes over maps, and this is none
     --> syntax/tags-and-keys.yaml:7:5
      |
    7 |   - <<: people
      |     ^^
      |
      = hint: write `<<: *anchor`, where the anchor stands at a map
    "#);
}

#[test]
fn two_documents() {
    insta::assert_snapshot!(wrong("syntax/two-documents.yaml"), @r#"
    error: the file holds more than one YAML document
     --> syntax/two-documents.yaml:8:1
      |
    8 | version: 1
      | ^^^^^^^
      |
      = hint: remove the `---` between them, or make each a file of its own
    "#);
}

#[test]
fn unknown_anchor() {
    insta::assert_snapshot!(wrong("syntax/unknown-anchor.yaml"), @r#"
    error: this alias names an anchor that is not there
     --> syntax/unknown-anchor.yaml:3:9
      |
    3 |   here: *there
      |         ^^^^^^
      |
      = hint: define it first with `&name`
    "#);
}
