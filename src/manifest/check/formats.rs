//! The keys of a load against the format of its target: what is done with its records, and which keys mean something
//! for them.

use crate::{
    diagnostic::Diagnostic,
    manifest::{Existing, Format, Settle, Store, TargetSettings, load::Draft, reader::Reader},
    record::Operation,
};

/// Gives each load the format of its target, and what is done with records of it.
pub(super) fn formats(reader: &mut Reader<'_>, targets: &[TargetSettings], drafts: &mut [Draft]) {
    for draft in drafts {
        let name = &draft.settings.target;
        let Some(target) = targets.iter().find(|target| target.name == *name) else {
            continue;
        };
        draft.settings.format = target.store.format();
        let is_mllp = matches!(target.store, Store::Mllp { .. });
        without_effect(reader, draft, is_mllp);
        let settle = draft.settings.settle;
        let fits = match settle {
            None | Some(Settle::None) => true,
            Some(Settle::Resend) => is_mllp,
            Some(Settle::Tag | Settle::Identifier) => draft.settings.format.has_references(),
        };
        if let (false, Some(settle)) = (fits, settle) {
            let word = settle.as_str();
            let (message, hint) = if is_mllp {
                (
                    format!(
                        "`settle: {word}` asks a store, and the target `{name}` is a receiver that cannot be asked"
                    ),
                    "write `resend` if it knows what it has by MSH-10, or `none`",
                )
            } else {
                (
                    format!("`settle: {word}` does not fit the target `{name}`"),
                    "`tag` and `identifier` are for resources, `resend` for receivers of MLLP; other stores hold records under names of their own",
                )
            };
            reader.report(draft.spot, Diagnostic::error(message).hint(hint));
        }
        let own = draft.own_interaction.map(|(operation, _)| operation);
        let (operation, words) = match (draft.settings.format, own) {
            (Format::Fhir, _)
                if matches!(
                    draft.settings.interaction,
                    Some(Operation::Ingest | Operation::Store | Operation::Transmit)
                ) =>
            {
                (
                    None,
                    "`create`, `update`, `conditional-create` and `conditional-update`",
                )
            }
            (Format::Fhir, _) => continue,
            (Format::Hl7v2, None | Some(Operation::Ingest | Operation::Transmit)) if is_mllp => {
                (Some(Operation::Transmit), "")
            }
            (Format::Hl7v2, _) if is_mllp => (None, "`transmit`"),
            (Format::Hl7v2, None | Some(Operation::Ingest)) => (Some(Operation::Ingest), ""),
            (Format::Hl7v2, Some(Operation::Create)) => (Some(Operation::CreateMessage), ""),
            (Format::Hl7v2, _) => (None, "`ingest` and `create`"),
            (Format::Dicom, None | Some(Operation::Store)) => (Some(Operation::Store), ""),
            (Format::Dicom, _) => (None, "`store`"),
        };
        if let (None, Some((own, spot))) = (operation, draft.own_interaction) {
            let store = draft.settings.format.as_str();
            let message = format!("`{own}` is not done with the records of {store} stores");
            let hint = format!("the target `{name}` takes {words}");
            reader.report(spot, Diagnostic::error(message).hint(hint));
        }
        draft.settings.interaction = operation;
    }
}

/// Names the keys of a load that mean nothing for records of its format.
fn without_effect(reader: &mut Reader<'_>, draft: &Draft, is_mllp: bool) {
    let none: &[&str] = match draft.settings.format {
        Format::Fhir => &["segments", "charset", "order", "labels"],
        Format::Hl7v2 => &[
            "identity",
            "bundle",
            "transactions",
            "duplicates",
            "versioned",
            "compare",
        ],
        Format::Dicom => &[
            "identity",
            "transactions",
            "versioned",
            "segments",
            "charset",
            "order",
            "labels",
        ],
    };
    let store = draft.settings.format.as_str();
    for (key, spot) in &draft.own_keys {
        if is_mllp && key == "labels" {
            let message = "`labels` has no effect on what is sent over MLLP";
            reader.report(*spot, Diagnostic::warning(message).hint("leave it out"));
        }
        if none.contains(&key.as_str()) {
            let message = format!("`{key}` has no effect on the records of {store} stores");
            reader.report(*spot, Diagnostic::warning(message).hint("leave it out"));
        }
    }
    existing(reader, draft);
}

/// Tells what is wrong with the keys about what a store has already: only stores of instances say that they have it.
fn existing(reader: &mut Reader<'_>, draft: &Draft) {
    let own = |key: &str| {
        let keys = draft.own_keys.iter();
        keys.clone()
            .find(|(own, _)| own == key)
            .map(|(_, spot)| *spot)
    };
    let is_dicom = draft.settings.format == Format::Dicom;
    if let (Some(spot), Some(is_about_existing)) = (own("duplicates"), draft.is_about_existing)
        && is_about_existing != is_dicom
        && draft.settings.format != Format::Hl7v2
    {
        let (message, hint) = if is_dicom {
            (
                "of instances that come twice in the files the first is sent, or the first that is whole, whatever `duplicates` say",
                "say what becomes of those that the store already holds: `skip`, `verify` or `replace`",
            )
        } else {
            (
                "`duplicates` can be `skip`, `verify` or `replace` only where instances are stored",
                "say what becomes of records of one identity in the files: `first`, `last`, `error` or `ignore`",
            )
        };
        reader.report(spot, Diagnostic::error(message).hint(hint));
    }
    let settings = &draft.settings;
    if let Some(spot) = own("compare") {
        let compares = settings.existing.bytes;
        let problem = match (is_dicom, compares) {
            (true, true) if settings.existing.what == Existing::Skip => Some((
                "`compare: bytes` has no effect: what the store already holds is not looked at",
                "set `duplicates: verify` or `replace`",
            )),
            (true, false) if settings.compare => Some((
                "`compare: true` has no effect on instances",
                "set `duplicates: verify`, and `compare: bytes` where the attributes are not enough",
            )),
            (false, true) => Some((
                "`compare: bytes` compares instances, and these are none",
                "use `compare: true`",
            )),
            _ => None,
        };
        if let Some((message, hint)) = problem {
            reader.report(spot, Diagnostic::warning(message).hint(hint));
        }
    }
}
