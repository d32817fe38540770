//! The manifest as it is written: every key, what it means, and which shape its value has.
//!
//! These types are never filled. The JSON Schema for editors is made from them, and `resolve` takes from them
//! the keys that exist, so that the two cannot disagree; `reference` makes the page for people from the schema. Rules across
//! keys are `check`'s.

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

use super::{
    Characters, MessageOrder, Missing, PackagingChoice, Segments, Settle, Sync, Transactions,
    Versioned,
};
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

mod reference;
mod scalar;
mod store;

pub use self::{reference::reference, scalar::*, store::*};

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

/// Defines the settings that a target and the defaults of targets share, once.
macro_rules! target {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        map! {
            $(#[$meta])*
            $name {
                $($own)*
                /// How to prove who we are: `google` for Google stores unless set, else `none`.
                #[schemars(extend("examples" = ["none", {"bearer": {"env": "FHIR_TOKEN"}}]))]
                auth: Option<Auth>,
                /// TLS settings. Certificates are always verified.
                #[schemars(extend("examples" = [{"ca": "certs/ca.pem"}]))]
                tls: Option<Tls>,
                /// The URL of a proxy for this target. Without it the environment's proxies hold.
                #[schemars(extend("examples" = ["http://proxy.example:3128"]))]
                proxy: Option<WebUrl>,
                /// Headers added to every request. Credentials belong to `auth`.
                #[schemars(extend("examples" = [{"X-Tenant": "${TENANT}"}]))]
                headers: Option<BTreeMap<String, NonEmpty>>,
                /// The project that pays for the quota (`x-goog-user-project`).
                #[schemars(extend("examples" = ["my-project"]))]
                quota_project: Option<NonEmpty>,
                /// The highest number of operations in any sliding second or minute; a Bundle costs its entries. Without it the speed is
                /// found by what the store takes.
                #[schemars(extend("examples" = ["500/s", "30000/min"]))]
                rate: Option<RateText>,
                /// The highest number of bytes of request bodies in any second or minute.
                #[schemars(extend("examples" = ["10 MB/s"]))]
                bytes_rate: Option<BytesRate>,
                /// Requests in flight: a number, or `{ min, max }` to find the best between them (the default, 1 and 256).
                #[schemars(extend("examples" = [8, {"min": 4, "max": 64}], "default" = {"min": 1, "max": 256}))]
                concurrency: Option<Concurrency>,
                /// How long one request may take, from its first byte to the last of its answer; then it is tried again. A body that is read from a file while it is sent, and an answer of more than 64 MiB, may take longer as long as they move.
                #[schemars(extend("examples" = ["2m"], "default" = "60s"))]
                timeout: Option<DurationText>,
                /// How often, and after which waits, a request is tried again that failed for a reason that may pass.
                #[schemars(extend("examples" = [{"attempts": 5, "base": "1s", "max": "1m"}]))]
                retry: Option<Retry>,
                /// End the run when the target has been down for this time. It can be resumed.
                #[schemars(extend("examples" = ["1h"], "default" = "10m"))]
                give_up_after: Option<DurationText>,
            }
        }
    };
}

target! {
    /// A store to load: exactly one of `google`, `fhir`, `dicomweb`, `mllp` and `local`, and how to talk to it.
    #[schemars(extend("oneOf" = [
        {"required": ["google"]}, {"required": ["fhir"]}, {"required": ["dicomweb"]}, {"required": ["mllp"]}, {"required": ["local"]}
    ]))]
    Target {
        /// A store of the Google Cloud Healthcare API.
        #[schemars(extend("examples" = [{"project": "${PROJECT}", "location": "us-central1", "dataset": "demo", "fhir_store": "r4"}]))]
        google: Option<Google>,
        /// Any FHIR R4 server.
        #[schemars(extend("examples" = [{"url": "https://fhir.example/r4"}]))]
        fhir: Option<Fhir>,
        /// Any DICOMweb server.
        #[schemars(extend("examples" = [{"url": "https://pacs.example/dicom-web"}]))]
        dicomweb: Option<Dicomweb>,
        /// Any receiver of HL7v2 messages over MLLP; with `tls`, over TLS.
        #[schemars(extend("examples" = [{"address": "mllp.example:2575"}]))]
        mllp: Option<Mllp>,
        /// The embedded local store: its directory, or its directory and settings.
        #[schemars(extend("examples" = [".stoker/store"]))]
        local: Option<Local>,
        /// Create the dataset and the store when they are missing: `true`, or the settings of the store. For `google` only.
        #[schemars(extend("examples" = [true, {"version": "R4", "enableUpdateCreate": true}], "default" = false))]
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
    /// `Authorization: Bearer`: where the token is kept. It is read anew when it is refused.
    Bearer(SecretPlace),
    /// `Authorization: Basic`: a user and where the password is kept.
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
        #[schemars(extend("examples" = ["keys/loader.json"]))]
        credentials: NonEmpty,
    }
}

map! {
    /// A user and where the password is kept.
    Basic {
        /// The user name.
        #[schemars(extend("examples" = ["loader"]))]
        user: NonEmpty,
        /// Where the password is kept.
        #[schemars(extend("examples" = [{"env": "FHIR_PASSWORD"}]))]
        password: SecretPlace,
    }
}

/// Where a secret is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum SecretPlace {
    /// The name of an environment variable.
    Env(VariableName),
    /// A file, relative to the manifest; trailing line breaks are dropped. Only its owner should be able to read it.
    File(SecretFile),
}

impl SecretPlace {
    /// The keys that exist.
    pub const KEYS: &[&str] = &["env", "file"];
}

map! {
    /// TLS settings.
    Tls {
        /// A PEM file of certificate authorities trusted besides the system's.
        #[schemars(extend("examples" = ["certs/ca.pem"]))]
        ca: Option<NonEmpty>,
        /// A PEM file with the client's certificate chain.
        #[schemars(extend("examples" = ["certs/client.pem"]))]
        certificate: Option<NonEmpty>,
        /// A PEM file with the client's private key.
        #[schemars(extend("examples" = ["certs/client-key.pem"]))]
        key: Option<NonEmpty>,
    }
}

map! {
    /// Requests in flight: as many as the store takes best, between two numbers.
    ConcurrencyRange {
        /// The lower bound, however little the store takes.
        #[schemars(extend("examples" = [4], "default" = 1))]
        min: Option<OrVariable<Requests>>,
        /// The upper bound, however much it takes.
        #[schemars(extend("examples" = [64], "default" = 256))]
        max: Option<OrVariable<Requests>>,
    }
}

map! {
    /// How attempts are repeated: waits double from `base` to `max`, and are jittered.
    Retry {
        /// Attempts for one record, the first included.
        #[schemars(extend("examples" = [5], "default" = 8))]
        attempts: Option<OrVariable<Attempts>>,
        /// The upper bound of the first wait; it doubles from there.
        #[schemars(extend("examples" = ["1s"], "default" = "500ms"))]
        base: Option<DurationText>,
        /// No wait is longer, unless the server asks for it.
        #[schemars(extend("examples" = ["1m"], "default" = "32s"))]
        max: Option<DurationText>,
    }
}

map! {
    /// A named set of files bound for one target.
    Load {
        /// Its name, by which `after`, reports and progress call it.
        #[schemars(extend("examples" = ["people"]))]
        name: Name,
        /// The name of its target; may be left out where there is only one.
        #[schemars(extend("examples" = ["try-out"]))]
        target: Option<NonEmpty>,
        /// Loads that must be over before this one begins.
        #[schemars(extend("examples" = [["base"]]))]
        after: Option<OneOrMore<NonEmpty>>,
        /// Files and globs, relative to the manifest; one that begins with `!` takes away what stands before it; `-` is standard
        /// input. `*` and `?` stay within a folder, `**` crosses folders, `{a,b}` and `[a-z]` choose. Hidden files and folders
        /// are found only where the pattern names their dot.
        #[schemars(extend("examples" = [["patients/*.ndjson.gz", "!**/draft-*"]]))]
        files: OneOrMore<NonEmpty>,
        /// What is done with its records. Left out, entries of Bundles keep their own request, and the rest is created; HL7v2 messages
        /// are ingested, and DICOM instances stored.
        #[schemars(extend("examples" = ["update"]))]
        interaction: Option<OrVariable<LoadInteraction>>,
        /// Which identifier systems identify records, by resource type.
        #[schemars(extend("examples" = [{"Patient": ["https://clinic.example/mrn"], "missing": "create"}]))]
        identity: Option<Identity>,
        /// Before an update, read what the store holds and leave equal content alone; what differs is sent with the version that was read, so that nothing is overwritten that changed meanwhile.
        /// For instances: `bytes` lets `duplicates` compare all bytes, and not only the attributes.
        #[schemars(extend("examples" = [true], "default" = false))]
        compare: Option<OrVariable<Compare>>,
        /// In which Bundles records travel: `none`, or their type and size. By default the facts of the target decide.
        #[schemars(extend("examples" = ["none", {"type": "transaction", "max_entries": 50}]))]
        bundle: Option<Bundle>,
        /// What becomes of a transaction over the target's limits: `split` (the default, no longer all or nothing), `keep`
        /// (sent whole all the same) or `refuse`.
        #[schemars(extend("examples" = ["keep"], "default" = "split"))]
        transactions: Option<OrVariable<Transactions>>,
        /// What becomes of records with the same identity and differing content: `first` (the default) or `last` is sent,
        /// `error` sends nothing at all, `ignore` sends each. An identical copy is sent once, except with `ignore`.
        /// For instances, what becomes of one that the store says it already holds: `skip` (the default) leaves it and does not
        /// look, `verify` reads it back and compares (another is rejected), `replace` removes it and stores the file's; a load
        /// that is cut off in between leaves neither there until it is resumed.
        #[schemars(extend("examples" = ["last", "verify"]))]
        duplicates: Option<OrVariable<DuplicatesOrExisting>>,
        /// The version in a reference to a record of the run: `strip` (the default) takes it off, since the store
        /// assigns versions anew; `keep` leaves it.
        #[schemars(extend("examples" = ["keep"], "default" = "strip"))]
        versioned: Option<OrVariable<Versioned>>,
        /// How to find out what became of a create whose answer was lost: `tag` adds a `meta.tag` that names run and record and
        /// asks the store for it, `identifier` asks by `identity` (the default where that is set), `none` reports it as `unknown`.
        /// For messages to a receiver over MLLP: `resend` sends it again, which the receiver has to know by MSH-10; or `none`.
        #[schemars(extend("examples" = ["tag"]))]
        settle: Option<OrVariable<Settle>>,
        /// For messages: how segments end in what is sent: by `cr`, as the standard has it, or `as-is`.
        #[schemars(extend("examples" = ["as-is"], "default" = "cr"))]
        segments: Option<OrVariable<Segments>>,
        /// For messages: in which characters they are sent: those of the file (`as-is`), or UTF-8 with MSH-18 saying so
        /// (`convert`).
        #[schemars(extend("examples" = ["convert"], "default" = "as-is"))]
        charset: Option<OrVariable<Characters>>,
        /// For messages: which are sent one after the other, in the order of the files: those of one sender about one `patient`,
        /// all of the load (`strict`), or `none`.
        #[schemars(extend("examples" = ["strict"], "default" = "patient"))]
        order: Option<OrVariable<MessageOrder>>,
        /// For messages: labels that the store gives them.
        #[schemars(extend("examples" = [{"feed": "adt"}]))]
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// Earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        #[schemars(extend("examples" = [[".stoker/runs/clinic-20261123T091235Z"]]))]
        known: Option<OneOrMore<NonEmpty>>,
    }
}

map! {
    /// Settings for all loads.
    LoadDefaults {
        /// The name of the target.
        #[schemars(extend("examples" = ["try-out"]))]
        target: Option<NonEmpty>,
        /// What is done with records. Left out, entries of Bundles keep their own request, and the rest is created.
        #[schemars(extend("examples" = ["update"]))]
        interaction: Option<OrVariable<LoadInteraction>>,
        /// Which identifier systems identify records, by resource type.
        #[schemars(extend("examples" = [{"Patient": ["https://clinic.example/mrn"], "missing": "create"}]))]
        identity: Option<Identity>,
        /// Before an update, read what the store holds and leave equal content alone; what differs is sent with the version that was read, so that nothing is overwritten that changed meanwhile.
        /// For instances: `bytes` lets `duplicates` compare all bytes, and not only the attributes.
        #[schemars(extend("examples" = [true], "default" = false))]
        compare: Option<OrVariable<Compare>>,
        /// In which Bundles records travel: `none`, or their type and size. By default the facts of the target decide.
        #[schemars(extend("examples" = ["none", {"type": "transaction", "max_entries": 50}]))]
        bundle: Option<Bundle>,
        /// What becomes of a transaction over the target's limits: `split` (the default, no longer all or nothing), `keep`
        /// (sent whole all the same) or `refuse`.
        #[schemars(extend("examples" = ["keep"], "default" = "split"))]
        transactions: Option<OrVariable<Transactions>>,
        /// What becomes of records with the same identity and differing content: `first` (the default) or `last` is sent,
        /// `error` sends nothing at all, `ignore` sends each. An identical copy is sent once, except with `ignore`.
        /// For instances, what becomes of one that the store says it already holds: `skip` (the default) leaves it and does not
        /// look, `verify` reads it back and compares (another is rejected), `replace` removes it and stores the file's; a load
        /// that is cut off in between leaves neither there until it is resumed.
        #[schemars(extend("examples" = ["last", "verify"]))]
        duplicates: Option<OrVariable<DuplicatesOrExisting>>,
        /// The version in a reference to a record of the run: `strip` (the default) takes it off, since the store
        /// assigns versions anew; `keep` leaves it.
        #[schemars(extend("examples" = ["keep"], "default" = "strip"))]
        versioned: Option<OrVariable<Versioned>>,
        /// How to find out what became of a create whose answer was lost: `tag` adds a `meta.tag` that names run and record and
        /// asks the store for it, `identifier` asks by `identity` (the default where that is set), `none` reports it as `unknown`.
        /// For messages to a receiver over MLLP: `resend` sends it again, which the receiver has to know by MSH-10; or `none`.
        #[schemars(extend("examples" = ["tag"]))]
        settle: Option<OrVariable<Settle>>,
        /// For messages: how segments end in what is sent: by `cr`, as the standard has it, or `as-is`.
        #[schemars(extend("examples" = ["as-is"], "default" = "cr"))]
        segments: Option<OrVariable<Segments>>,
        /// For messages: in which characters they are sent: those of the file (`as-is`), or UTF-8 with MSH-18 saying so
        /// (`convert`).
        #[schemars(extend("examples" = ["convert"], "default" = "as-is"))]
        charset: Option<OrVariable<Characters>>,
        /// For messages: which are sent one after the other, in the order of the files: those of one sender about one `patient`,
        /// all of the load (`strict`), or `none`.
        #[schemars(extend("examples" = ["strict"], "default" = "patient"))]
        order: Option<OrVariable<MessageOrder>>,
        /// For messages: labels that the store gives them.
        #[schemars(extend("examples" = [{"feed": "adt"}]))]
        labels: Option<BTreeMap<String, NonEmpty>>,
        /// Earlier runs (their directories, or their `ids.ndjson`), relative to the manifest: references to their records
        /// are rewritten to the ids that they got.
        #[schemars(extend("examples" = [[".stoker/runs/clinic-20261123T091235Z"]]))]
        known: Option<OneOrMore<NonEmpty>>,
    }
}

/// In which Bundles records travel.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Bundle {
    /// Their type alone.
    Word(OrVariable<PackagingChoice>),
    /// Their type and size.
    Settings(BundleSettings),
}

map! {
    /// The Bundles that Stoker fills.
    BundleSettings {
        /// Their type; by default the facts of the target decide.
        #[schemars(extend("examples" = ["transaction"]))]
        r#type: Option<OrVariable<PackagingChoice>>,
        /// Entries of one Bundle at the most. Under a rate at most a tenth of it.
        #[schemars(extend("examples" = [20], "default" = 50))]
        max_entries: Option<OrVariable<Entries>>,
        /// Bytes of one Bundle at the most. Where a target does not say what it takes, transactions that are larger are split, too.
        #[schemars(extend("examples" = ["1 MB"], "default" = "5 MB"))]
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
    /// An HL7v2 message is stored, and its acknowledgement decides. To a store of messages `create` stores without one.
    Ingest,
    /// A DICOM instance is stored.
    Store,
    /// An HL7v2 message is sent to a receiver over MLLP, and its acknowledgement decides.
    Transmit,
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
            "properties": {
                "missing": {
                    "allOf": [missing],
                    "description": "What becomes of a record that has no such identifier: `refuse` does not send it, \
                        `create` creates it without a condition.",
                    "default": "refuse",
                    "examples": ["create"],
                },
            },
            "propertyNames": { "enum": names },
            "additionalProperties": {
                "allOf": [systems],
                "description": "Any other key is the name of a resource type; its value are the identifier systems that \
                    identify records of the type.",
                "examples": [["https://clinic.example/mrn"]],
            },
            "minProperties": 1,
        })
    }
}
