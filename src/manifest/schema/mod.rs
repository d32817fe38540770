//! The manifest as it is written: every key, what it means, and which shape its value has.
//!
//! These types are never filled. The JSON Schema for editors is made from them, and `resolve` takes from them
//! the keys that exist, so that the two cannot disagree; `reference` makes the page for people from the schema. Rules across
//! keys are `check`'s.

#![expect(
    missing_debug_implementations,
    reason = "types that are never filled have nothing to show"
)]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::Sync;

/// Returns the key of a field: a field that is named like a word of Rust has a mark in front.
pub(super) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Defines a map of fixed keys, and lists its keys.
macro_rules! map {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $name {
            /// The keys that exist.
            pub const KEYS: &[&str] = &[$($crate::manifest::schema::key(stringify!($field))),*];
        }
    };
}

mod auth;
mod load;
mod reference;
mod scalar;
mod store;
mod target;

pub use self::{auth::*, load::*, reference::reference, scalar::*, store::*, target::*};

/// The name of the schema's file, as manifests name it for editors.
pub const SCHEMA_FILE: &str = "manifest.schema.json";

/// Returns the JSON Schema of the manifest.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft07()
        .with_transform(RecursiveTransform(refuse_null))
        .into_generator()
        .into_root_schema_for::<Manifest>()
        .to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Stoker manifest"));
    }
    schema
}

/// A key may be left out, but one that is there has a value.
fn refuse_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            if object.is_empty() {
                object.extend(only);
            } else {
                // Beside a `$ref`, draft 7 ignores all other keywords.
                object.insert("allOf".to_owned(), json!([only]));
            }
        }
    }
}

map! {
    /// What is loaded where. See the README for a tour.
    Manifest {
        /// The version of the manifest's format.
        #[schemars(extend("const" = 1, "examples" = [1]))]
        version: u32,
        /// The name of the manifest; runs are named after it. By default the name of its file.
        #[schemars(extend("examples" = ["clinic"]))]
        name: Option<Name>,
        /// Other manifests, relative to this one, whose targets, loads and defaults are taken over.
        #[schemars(extend("examples" = [["targets.yaml"]]))]
        include: Option<OneOrMore<NonEmpty>>,
        /// Settings for all targets and all loads; what a target or a load sets itself wins.
        defaults: Option<Defaults>,
        /// The stores to load, by name.
        #[schemars(extend("minProperties" = 1, "examples" = [{"try-out": {"local": ".stoker/store"}}]))]
        targets: Option<BTreeMap<String, Target>>,
        /// What to load, in order.
        #[schemars(length(min = 1), extend("examples" = [[{"name": "people", "files": ["*.json"]}]]))]
        loads: Option<Vec<Load>>,
        /// Stop when this number of records has failed (rejected, blocked or unknown), or this percentage of the plan's records.
        /// By default a run goes on to its end.
        #[schemars(extend("examples" = [100, "2%"]))]
        max_errors: Option<MaxErrors>,
        /// The directory in which the runs, their reports and the history of what was loaded are kept: relative to the manifest,
        /// `.stoker` by default. A pipeline that caches it does not load twice.
        #[schemars(extend("examples" = ["state/clinic"], "default" = ".stoker"))]
        state: Option<NonEmpty>,
        /// What bodies in flight or waiting and answers may take, 64 MB by default; a quarter of it is for answers. Of a plan's graph as much stays in memory, the rest on the disk.
        #[schemars(extend("examples" = ["256 MB"], "default" = "64 MB"))]
        memory: Option<Size>,
        /// For all loads: earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        #[schemars(extend("examples" = [[".stoker/runs/clinic-20261123T091235Z"]]))]
        known: Option<OneOrMore<NonEmpty>>,
        /// How the journal is kept.
        #[schemars(extend("examples" = [{"sync": "always"}]))]
        journal: Option<Journal>,
    }
}

map! {
    /// Settings for all targets and all loads. A key that a target or a load sets itself wins whole.
    Defaults {
        /// For all targets.
        #[schemars(extend("examples" = [{"rate": "100/s"}]))]
        target: Option<TargetDefaults>,
        /// For all loads.
        #[schemars(extend("examples" = [{"interaction": "update"}]))]
        load: Option<LoadDefaults>,
    }
}

map! {
    /// How the journal is kept.
    Journal {
        /// When a line of the journal counts as written: with `none` once the system has it, so that it survives a kill; with `group`
        /// (the default) also a power cut, which costs the last moments at most; with `always` each line is on the disk before
        /// anything goes on.
        #[schemars(extend("examples" = ["always"], "default" = "group"))]
        sync: Option<OrVariable<Sync>>,
    }
}
