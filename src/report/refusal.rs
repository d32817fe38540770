//! What a refusal means, and what to do about it, said in Stoker's own words.
//!
//! One place for all that people read of it: the reports of runs, and the verbs that send a single request.

use super::text;
use crate::{fhir::meaning::Meaning as M, record::Operation};

/// A refusal, and what is known of the record that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// What it means.
    pub meaning: M,
    /// The type that a reference is to, or the element that is wrong; empty where nothing is known.
    pub about: &'a str,
    /// The record's type.
    pub kind: &'a str,
    /// What was asked for.
    pub interaction: Option<Operation>,
    /// It is known to refer to what no known record is.
    pub dangles: bool,
    /// The target is one of Google's stores, or like one.
    pub is_googles: bool,
}

impl Refusal<'_> {
    /// Says what is wrong.
    pub fn what(&self) -> String {
        let about = self.about;
        let to = match about {
            "" => "a resource".to_owned(),
            kind => text::article(kind),
        };
        let at = |words: &str| match about {
            "" => words.to_owned(),
            element => format!("{element}: {words}"),
        };
        let kind = text::kind(self.kind);
        let words = match self.meaning {
            M::MissingReference => {
                return format!("reference to {to} that the store does not hold");
            }
            M::DeletedReference => {
                return format!("reference to {to} that was deleted from the store");
            }
            M::UnfitReference => {
                return format!(
                    "reference to {to} that is not of the type or profile that the element takes"
                );
            }
            M::UnmatchedReference => {
                return format!(
                    "conditional reference to {to} that nothing in the store answers to"
                );
            }
            M::Unsaid if self.dangles => {
                return format!(
                    "the server does not say why in a code; they refer to {to} that is in neither this plan nor a known run"
                );
            }
            M::Conflict if self.dangles => {
                return format!(
                    "in conflict with what the store holds, or reference to {to} that it does not hold"
                );
            }
            M::Required if !about.is_empty() => {
                return format!("{about} is missing, and it has to be there");
            }
            // Azure's servers say so, with 400 and not a word more in codes.
            M::Required if self.interaction == Some(Operation::Update) => {
                "a required element is missing, or the store wants a version with each update (If-Match)"
            }
            M::AmbiguousReference => {
                "conditional reference that several resources in the store answer to"
            }
            M::ForeignReference => "reference to another server, which this server does not take",
            M::DigitsId => "the id is digits only, which this server refuses",
            M::NoClientId => "the store creates nothing under an id of the file's",
            M::InvalidId => "the id is not one that the server takes",
            M::OtherId => "id or type in the resource are not those of its address",
            M::IdTaken => "a resource with this id is there already",
            M::StoredBundle => "the server stores no Bundle of this type",
            M::ExecutedBundle => "the server executes no Bundle of this type",
            M::TooManyEntries => "the Bundle has more entries than the server takes",
            M::TwiceInBundle => "the Bundle holds the same resource, or the same condition, twice",
            M::Placeholder => "a fullUrl that the server does not understand",
            M::UnmetCondition => "the resource does not meet its own condition",
            M::AmbiguousCondition => "several resources in the store meet its condition",
            M::UnusableCondition => "a condition that the server cannot search by",
            M::VersionWanted => "the store wants a version with each update (If-Match)",
            M::VersionChanged => "the resource in the store was changed meanwhile",
            M::Raced => "another request changed the same resource at the same time",
            M::TooLarge => "larger than the server takes",
            M::Required => "a required element is missing",
            M::UnknownElement => return at("an element that the server does not know"),
            M::Structure => return at("not built as FHIR demands"),
            M::Value => return at("a value that the server does not take"),
            M::Code => return at("a code that its value set does not hold"),
            M::Invariant => {
                return at("breaks a rule of FHIR, or of a profile that the server demands");
            }
            M::BusinessRule => return at("breaks a rule of the server's own"),
            M::UnknownType => return format!("the server does not take {kind}"),
            M::NotOffered => {
                return format!(
                    "the server does not offer {} of {kind}",
                    self.interaction.map_or("this", Operation::as_str)
                );
            }
            M::Forbidden => "the credentials do not allow it",
            M::Login => "the server does not accept the credentials",
            M::NotThere => "the server knows nothing at this address",
            M::Deleted => "the resource has been deleted",
            M::Duplicate => "the store holds such a resource already",
            M::Conflict => "in conflict with what the store holds",
            M::MediaType => "the server does not take the media type",
            M::Throttled => "the server was asked for too much, however often it was tried",
            M::Trouble => "the server failed at it",
            M::Redirected => "the server sends elsewhere, and redirects are not followed",
            M::NoAnswer => "no answer came",
            M::Unsaid => return at("the server does not say why in a code"),
        };
        words.to_owned()
    }

    /// Says what to do, where there is more to say than that the record is to be mended.
    pub fn next(&self) -> Option<String> {
        let words = match self.meaning {
            M::MissingReference | M::DeletedReference | M::UnmatchedReference => {
                let integrity = if self.is_googles {
                    "a store with `disableReferentialIntegrity: true` takes them as they are"
                } else {
                    "or let the server take references to what is not there"
                };
                return Some(format!(
                    "load what they refer to first, or in the same run (`stoker plan` lists what dangles); {integrity}"
                ));
            }
            M::UnfitReference => {
                "check the type that the reference names, and what the server demands of it"
            }
            M::ForeignReference => {
                "make the references relative and load what they refer to, or let the server take others \
                 (HAPI: `allow_external_references`)"
            }
            M::AmbiguousReference | M::AmbiguousCondition => {
                "a condition has to name one resource: by an identifier with its system; or remove what is there twice"
            }
            M::DigitsId => {
                "use `interaction: create`: the server chooses the ids, and references are rewritten to them"
            }
            M::NoClientId if self.is_googles => {
                "use `interaction: create`, or a store with `enableUpdateCreate: true`"
            }
            M::NoClientId => {
                "use `interaction: create` (references are rewritten to the server's ids), or let the server take \
                 ids of clients; check the target's address, too"
            }
            M::IdTaken => "use `interaction: update` to replace what is there",
            M::StoredBundle => {
                "only Bundles of the types transaction and batch are executed; others have to be of a type that the \
                 server stores"
            }
            M::ExecutedBundle => "`bundle: { type: none }` sends each record by itself",
            M::TooManyEntries => {
                "`bundle: { max_entries: … }` makes smaller Bundles, `transactions: split` divides those of the files"
            }
            M::TooLarge => {
                "`bundle: { max_bytes: … }` makes smaller Bundles, `transactions: split` divides those of the files; a \
                 resource that is too large by itself needs a server that takes it"
            }
            M::UnmetCondition => {
                "compare the condition (`ifNoneExist`, or the identifier that `identity` names) with the record"
            }
            M::UnusableCondition => {
                "check the condition's parameters, and that the server has its search parameters installed; without \
                 conditions it goes by `interaction: update`"
            }
            M::InvalidId => {
                "an id has 1 to 64 letters, digits, `-` and `.`; with `interaction: create` it may be left out"
            }
            M::Required if self.interaction == Some(Operation::Update) && self.about.is_empty() => {
                "where nothing is missing: `compare: true` reads each resource first, and updates the version that was read"
            }
            M::VersionWanted => {
                "use `compare: true`: each resource is read first, and the version that was read is updated"
            }
            M::VersionChanged | M::Raced => {
                "load again; with `compare: true` only what differs is sent. Who else writes there?"
            }
            M::UnknownType => {
                "leave these files out (`\"!…\"` in `files`), and check that the target's address is its FHIR base"
            }
            M::NotOffered => {
                "`stoker plan` shows what the target offers; try another `interaction`"
            }
            M::Forbidden => {
                "the credentials may lack the right to write this type; on Google Cloud it is that of \
                 roles/healthcare.fhirResourceEditor"
            }
            M::Login => "check `auth`: a token may have expired",
            M::NotThere => "check that the target's address is its FHIR base",
            M::Redirected => "write the address that it leads to as the target's address",
            M::Throttled => "try them again later; a `rate` keeps below what the server allows",
            M::Trouble | M::NoAnswer => "look into the server's log; then try them again",
            M::Conflict | M::Duplicate if self.interaction == Some(Operation::Store) => {
                "the store has instances of these UIDs; `duplicates: verify` names the attributes in which they differ, \
                 `duplicates: replace` puts these in their place"
            }
            M::Conflict | M::Duplicate => {
                "look at what the store holds under this id or identifier; `interaction: update` replaces it"
            }
            _ => return None,
        };
        Some(words.to_owned())
    }
}
