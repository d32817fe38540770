//! A load as it is written: its files, and what is done with their records.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    super::{
        Characters, MessageOrder, Missing, PackagingChoice, Segments, Settle, Transactions,
        Versioned,
    },
    Compare, DuplicatesOrExisting, Entries, Name, NonEmpty, OneOrMore, OrVariable, Size,
};
use crate::fhir::types::RESOURCE_TYPES;

/// Defines the settings that a load and the defaults of loads share, once.
macro_rules! load {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        map! {
            $(#[$meta])*
            $name {
                $($own)*
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
    };
}

load! {
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
    }
}

load! {
    /// Settings for all loads.
    LoadDefaults {
        /// The name of the target.
        #[schemars(extend("examples" = ["try-out"]))]
        target: Option<NonEmpty>,
        /// What is done with records. Left out, entries of Bundles keep their own request, and the rest is created.
        #[schemars(extend("examples" = ["update"]))]
        interaction: Option<OrVariable<LoadInteraction>>,
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
