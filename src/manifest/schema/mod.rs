//! The manifest as it is written: every key, what it means, and which shape its value has.
//!
//! These types are never filled. The JSON Schema for editors is made from them, and `resolve` takes from them
//! the keys that exist, so that the two cannot disagree. Rules across keys are `check`'s.

#![expect(
    missing_debug_implementations,
    reason = "types that are never filled have nothing to show"
)]

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema,
    transform::RecursiveTransform,
};
use serde_json::{Value, json};

use super::{BundleChoice, Duplicates, Missing, Settle, Sync, Transactions, Versioned};
use crate::fhir::types::RESOURCE_TYPES;

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

mod scalar;
mod store;

pub use self::{scalar::*, store::*};

/// Where the schema lies, as manifests name it for editors.
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
        #[schemars(extend("const" = 1))]
        version: u32,
        /// The name of the manifest; runs are named after it. By default the name of its file.
        name: Option<Name>,
        /// Other manifests, relative to this one, whose targets, loads and defaults are taken over.
        include: Option<OneOrMore<NonEmpty>>,
        /// Settings for all targets and all loads; what a target or a load sets itself wins.
        defaults: Option<Defaults>,
        /// The stores to load, by name.
        #[schemars(extend("minProperties" = 1))]
        targets: Option<BTreeMap<String, Target>>,
        /// What to load, in order.
        #[schemars(length(min = 1))]
        loads: Option<Vec<Load>>,
        /// Stop when so many records have failed: a number, or a percentage of the plan's records.
        max_errors: Option<MaxErrors>,
        /// The directory, relative to the manifest, in which runs and history are kept; `.stoker` beside the manifest by default.
        state: Option<NonEmpty>,
        /// What bodies in flight or waiting and answers may take, 64 MB by default; a quarter of it is for answers. Of a plan's graph as much stays in memory, the rest on the disk.
        memory: Option<Size>,
        /// For all loads: earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        known: Option<OneOrMore<NonEmpty>>,
        /// How the journal is kept.
        journal: Option<Journal>,
    }
}

map! {
    /// Settings for all targets and all loads. A key that a target or a load sets itself wins whole.
    Defaults {
        /// For all targets.
        target: Option<TargetDefaults>,
        /// For all loads.
        load: Option<LoadDefaults>,
    }
}

map! {
    /// How the journal is kept.
    Journal {
        /// `none` survives a kill, `group` (the default) also a power cut, `always` writes through every time.
        sync: Option<OrVariable<Sync>>,
    }
}

/// Defines the settings that a target and the defaults of targets share, once.
macro_rules! target {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        map! {
            $(#[$meta])*
            $name {
                $($own)*
                /// How to prove who we are: `google` for Google stores unless set, else `none`.
                auth: Option<Auth>,
                /// TLS settings. Certificates are always verified.
                tls: Option<Tls>,
                /// The URL of a proxy for this target. Without it the environment's proxies hold.
                proxy: Option<WebUrl>,
                /// Headers added to every request. Credentials belong to `auth`.
                headers: Option<BTreeMap<String, NonEmpty>>,
                /// The project that pays for the quota (`x-goog-user-project`).
                quota_project: Option<NonEmpty>,
                /// At most so many operations, in any second or minute; a Bundle costs its entries.
                rate: Option<RateText>,
                /// At most so many bytes of request bodies, in any second or minute.
                bytes_rate: Option<BytesRate>,
                /// Requests in flight: a number, or `{ min, max }` to find the best between them (the default, 1 and 256).
                concurrency: Option<Concurrency>,
                /// How long one attempt may take, 60s by default.
                timeout: Option<DurationText>,
                /// How attempts are repeated.
                retry: Option<Retry>,
                /// End the run when the target has been down for so long, 10m by default.
                give_up_after: Option<DurationText>,
            }
        }
    };
}

target! {
    /// A store to load: exactly one of `google`, `fhir` and `local`, and how to talk to it.
    #[schemars(extend("oneOf" = [
        {"required": ["google"]}, {"required": ["fhir"]}, {"required": ["local"]}
    ]))]
    Target {
        /// A FHIR store of the Google Cloud Healthcare API.
        google: Option<Google>,
        /// Any FHIR R4 server.
        fhir: Option<Fhir>,
        /// The embedded local store: its directory, or its directory and settings.
        local: Option<Local>,
        /// Create the dataset and the store when they are missing: `true`, or the settings of the store.
        ensure: Option<Ensure>,
    }
}

target! {
    /// Settings for all targets.
    TargetDefaults {}
}

/// How to prove who we are.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Auth {
    /// Without any settings.
    Word(OrVariable<AuthWord>),
    /// With settings.
    Settings(AuthSettings),
}

/// Ways to authenticate that need no settings.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum AuthWord {
    /// Nothing is sent.
    None,
    /// Google's Application Default Credentials.
    Google,
}

/// Ways to authenticate that have settings. No secret stands in a manifest, only where it is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum AuthSettings {
    /// Google credentials from a file of any kind that Google hands out.
    Google(GoogleAuth),
    /// `Authorization: Bearer`.
    Bearer(SecretPlace),
    /// `Authorization: Basic`.
    Basic(Basic),
}

impl AuthSettings {
    /// The keys that exist.
    pub const KEYS: &[&str] = &["google", "bearer", "basic"];
}

map! {
    /// Google credentials.
    GoogleAuth {
        /// A credential file, relative to the manifest.
        credentials: NonEmpty,
    }
}

map! {
    /// A user and where the password is kept.
    Basic {
        /// The user name.
        user: NonEmpty,
        /// Where the password is kept.
        password: SecretPlace,
    }
}

/// Where a secret is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum SecretPlace {
    /// The name of an environment variable.
    Env(VariableName),
    /// A file, relative to the manifest; trailing line breaks are dropped.
    File(NonEmpty),
}

impl SecretPlace {
    /// The keys that exist.
    pub const KEYS: &[&str] = &["env", "file"];
}

map! {
    /// TLS settings.
    Tls {
        /// A PEM file of certificate authorities trusted besides the system's.
        ca: Option<NonEmpty>,
        /// A PEM file with the client's certificate chain.
        certificate: Option<NonEmpty>,
        /// A PEM file with the client's private key.
        key: Option<NonEmpty>,
    }
}

map! {
    /// Requests in flight: as many as the store takes best, between two numbers.
    ConcurrencyRange {
        /// At the least, however little the store takes; 1 by default.
        min: Option<OrVariable<Requests>>,
        /// At the most; 256 by default.
        max: Option<OrVariable<Requests>>,
    }
}

map! {
    /// How attempts are repeated: waits double from `base` to `max`, and are jittered.
    Retry {
        /// Attempts for one record, the first included; 8 by default.
        attempts: Option<OrVariable<Attempts>>,
        /// The first wait is at most so long; 500ms by default.
        base: Option<DurationText>,
        /// No wait is longer, unless the server asks for it; 32s by default.
        max: Option<DurationText>,
    }
}

map! {
    /// A named set of files bound for one target.
    Load {
        /// Its name.
        name: Name,
        /// The name of its target; may be left out where there is only one.
        target: Option<NonEmpty>,
        /// Loads that must be over before this one begins.
        after: Option<OneOrMore<NonEmpty>>,
        /// Globs, relative to the manifest; one that begins with `!` takes away; `-` is standard input.
        files: OneOrMore<NonEmpty>,
        /// What is done with its records. Left out, entries of Bundles keep their own request, and the rest is created.
        interaction: Option<OrVariable<LoadInteraction>>,
        /// Which identifier systems identify records, by resource type.
        identity: Option<Identity>,
        /// Before an update, read what the store holds and leave equal content alone; what differs is sent with the version that was read, so that nothing is overwritten that changed meanwhile.
        compare: Option<OrVariable<bool>>,
        /// In which Bundles records travel: `none`, or their type and size. By default the facts of the target decide.
        bundle: Option<Bundle>,
        /// What becomes of a transaction over the target's limits: `split` (the default, no longer all or nothing), `keep`
        /// (sent whole all the same) or `refuse`.
        transactions: Option<OrVariable<Transactions>>,
        /// What becomes of records with the same identity and differing content: `first` (the default) or `last` is sent,
        /// `error` sends nothing at all, `ignore` sends each. An identical copy is sent once, except with `ignore`.
        duplicates: Option<OrVariable<Duplicates>>,
        /// The version in a reference to a record of the run: `strip` (the default) takes it off, since the store
        /// assigns versions anew; `keep` leaves it.
        versioned: Option<OrVariable<Versioned>>,
        /// How to find out what became of a create whose answer was lost: `tag` adds a `meta.tag` that names run and record and
        /// asks the store for it, `identifier` asks by `identity` (the default where that is set), `none` reports it as `unknown`.
        settle: Option<OrVariable<Settle>>,
        /// Earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        known: Option<OneOrMore<NonEmpty>>,
    }
}

map! {
    /// Settings for all loads.
    LoadDefaults {
        /// The name of the target.
        target: Option<NonEmpty>,
        /// What is done with records. Left out, entries of Bundles keep their own request, and the rest is created.
        interaction: Option<OrVariable<LoadInteraction>>,
        /// Which identifier systems identify records, by resource type.
        identity: Option<Identity>,
        /// Before an update, read what the store holds and leave equal content alone; what differs is sent with the version that was read, so that nothing is overwritten that changed meanwhile.
        compare: Option<OrVariable<bool>>,
        /// In which Bundles records travel: `none`, or their type and size. By default the facts of the target decide.
        bundle: Option<Bundle>,
        /// What becomes of a transaction over the target's limits: `split` (the default, no longer all or nothing), `keep`
        /// (sent whole all the same) or `refuse`.
        transactions: Option<OrVariable<Transactions>>,
        /// What becomes of records with the same identity and differing content: `first` (the default) or `last` is sent,
        /// `error` sends nothing at all, `ignore` sends each. An identical copy is sent once, except with `ignore`.
        duplicates: Option<OrVariable<Duplicates>>,
        /// The version in a reference to a record of the run: `strip` (the default) takes it off, since the store
        /// assigns versions anew; `keep` leaves it.
        versioned: Option<OrVariable<Versioned>>,
        /// How to find out what became of a create whose answer was lost: `tag` adds a `meta.tag` that names run and record and
        /// asks the store for it, `identifier` asks by `identity` (the default where that is set), `none` reports it as `unknown`.
        settle: Option<OrVariable<Settle>>,
        /// Earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        known: Option<OneOrMore<NonEmpty>>,
    }
}

/// In which Bundles records travel.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Bundle {
    /// Their type alone.
    Word(OrVariable<BundleChoice>),
    /// Their type and size.
    Settings(BundleSettings),
}

map! {
    /// The Bundles that Stoker fills.
    BundleSettings {
        /// Their type; by default the facts of the target decide.
        r#type: Option<OrVariable<BundleChoice>>,
        /// Entries of one at the most, 50 by default. Under a rate at most a tenth of it.
        max_entries: Option<OrVariable<Entries>>,
        /// Bytes of one at the most, 5 MB by default. Where a target does not say what it takes, transactions that are larger are split, too.
        max_bytes: Option<Size>,
    }
}

/// What is done with records.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum LoadInteraction {
    /// `POST`: the server assigns the id.
    Create,
    /// `PUT` with the id of the file.
    Update,
    /// `POST` with `If-None-Exist`, from the identifiers that `identity` names.
    ConditionalCreate,
    /// `PUT` with criteria, from the identifiers that `identity` names.
    ConditionalUpdate,
}

/// Identifier systems by resource type, and what becomes of records without one.
pub struct Identity;

impl JsonSchema for Identity {
    fn schema_name() -> Cow<'static, str> {
        "Identity".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let systems = generator.subschema_for::<OneOrMore<NonEmpty>>();
        let missing = generator.subschema_for::<OrVariable<Missing>>();
        let names: Vec<&str> = RESOURCE_TYPES.iter().copied().chain(["missing"]).collect();
        json_schema!({
            "description": "Which identifier systems identify records, by resource type: the first that a \
                record has counts. `missing` says what becomes of a record that has none.",
            "type": "object",
            "properties": { "missing": missing },
            "propertyNames": { "enum": names },
            "additionalProperties": systems,
            "minProperties": 1,
        })
    }
}
