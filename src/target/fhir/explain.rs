//! The meaning of a FHIR server's refusal, and what to do about it, said in Stoker's own words.
//!
//! Made of the status, the codes, the element, and what record and plan show; never of the server's text. The codes'
//! meanings are known by `fhir::meaning`.

use crate::{
    fhir::meaning::{self, Meaning as M},
    record::Operation,
    target::{Explained, Refused},
};

/// A refusal, read.
struct Refusal<'a> {
    /// The refusal's meaning.
    meaning: M,
    /// The type that a reference is to, or the element that is wrong; empty where nothing is known.
    about: &'a str,
    /// The record's type.
    kind: &'a str,
    /// The operation that the request asked for.
    interaction: Option<Operation>,
    /// The record is known to refer to what no known record is.
    dangles: bool,
    /// The target is one of Google's stores, or like one.
    is_googles: bool,
}

/// Says what a refusal means.
pub(in crate::target) fn explain(refused: &Refused<'_>, status: u16) -> Explained {
    let (meaning, about) = read(refused, status);
    let refusal = Refusal {
        meaning,
        about: &about,
        kind: refused.kind,
        interaction: refused.operation,
        dangles: refused.lacks.iter().any(|lack| lack.to.is_some()),
        is_googles: refused.is_googles,
    };
    Explained {
        meaning: Some(meaning as u16),
        what: refusal.what(),
        next: refusal.next(),
        is_unsaid: meaning == M::Unsaid,
        about,
    }
}

/// Tells what a refusal means and what it is about: the type that a reference is to, or the element that is wrong.
fn read(refused: &Refused<'_>, status: u16) -> (M, String) {
    let kind = refused.kind;
    let meaning = meaning::of(
        refused.operation,
        Some(status),
        refused.code,
        refused.detail,
    );
    let element = element(kind, refused.expression);
    let reference = refused.lacks.iter().find_map(|lack| lack.to.as_deref());
    let required = refused.lacks.iter().find(|lack| lack.to.is_none());
    let is_whole = element.is_empty() || element == kind;
    match (meaning, required, reference) {
        (M::Required | M::Structure | M::Unsaid | M::Invariant, Some(lack), _)
            if is_whole || element == lack.path =>
        {
            (M::Required, lack.path.clone())
        }
        (M::Structure | M::Value | M::Unsaid, _, _) if element == format!("{kind}.id") => {
            (M::InvalidId, String::new())
        }
        // A store that is known to check references, and says no more than that there is a conflict.
        (M::Unsaid | M::Conflict, _, Some(to)) if refused.checks => {
            (M::MissingReference, to.to_owned())
        }
        // Some stores have no other word for a reference to what is not there.
        (M::Structure | M::Value, _, _) if let Some(to) = dangling(refused, &element) => {
            (M::MissingReference, to.to_owned())
        }
        // The element is that of the reference; the type says more.
        (
            M::MissingReference | M::DeletedReference | M::UnfitReference | M::UnmatchedReference,
            _,
            to,
        ) => (meaning, to.unwrap_or_default().to_owned()),
        (M::Unsaid | M::Conflict, _, Some(to)) => (meaning, to.to_owned()),
        _ => (meaning, element),
    }
}

/// Returns the type that the reference in an element is to, where no known record is what it refers to.
fn dangling<'a>(refused: &'a Refused<'_>, place: &str) -> Option<&'a str> {
    let place = place.strip_suffix(".reference").unwrap_or(place);
    let lack = refused.lacks.iter().find(|lack| {
        let path = element(refused.kind, std::slice::from_ref(&lack.path));
        lack.to.is_some() && path == place
    });
    lack?.to.as_deref()
}

impl Refusal<'_> {
    /// Says what is wrong.
    fn what(&self) -> String {
        let about = self.about;
        let to = match about {
            "" => "a resource".to_owned(),
            kind => article(kind),
        };
        let at = |words: &str| match about {
            "" => words.to_owned(),
            element => format!("{element}: {words}"),
        };
        let kind = shown(self.kind);
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
            M::NoRoom => "the server has no room left for it",
            M::Trouble => "the server failed at it",
            M::Redirected => "the server sends elsewhere, and redirects are not followed",
            M::NoAnswer => "no answer came",
            M::Unsaid => return at("the server does not say why in a code"),
        };
        words.to_owned()
    }

    /// Says what to do, where there is more to say than that the record is to be mended.
    fn next(&self) -> Option<String> {
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
            M::Forbidden if self.is_googles => {
                "the credentials may lack the right to write this type: roles/healthcare.fhirResourceEditor holds it"
            }
            M::Forbidden => {
                "the credentials may lack the right to write this type: check `auth`, and what this user may do there"
            }
            M::Login => "check `auth`: a token may have expired",
            M::NotThere => "check that the target's address is its FHIR base",
            M::Redirected => "write the address that it leads to as the target's address",
            M::Throttled => "try them again later; a `rate` keeps below what the server allows",
            M::NoRoom => "make room at the server; then try them again",
            M::Trouble | M::NoAnswer => "look into the server's log; then try them again",
            M::Conflict | M::Duplicate => {
                "look at what the store holds under this id or identifier; `interaction: update` replaces it"
            }
            _ => return None,
        };
        Some(words.to_owned())
    }
}

/// Returns the name under which a type is shown.
fn shown(kind: &str) -> &str {
    if kind.is_empty() { "(no type)" } else { kind }
}

/// Puts the indefinite article before a type: `a Patient`, `an Encounter`.
fn article(kind: &str) -> String {
    // The types that begin with a vowel that is not spoken as one begin with `U` alone, and there is none.
    let article = if kind.starts_with(['A', 'E', 'I', 'O']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

/// Returns the element that is wrong, as in `Patient.name.given`: of the record itself, without numbers.
fn element(kind: &str, expression: &[String]) -> String {
    let Some(expression) = expression.first() else {
        return String::new();
    };
    let mut path = expression.replace("/f:", ".");
    path = path.trim_start_matches('.').to_owned();
    if kind != "Bundle"
        && let Some(rest) = path.strip_prefix("Bundle.entry")
    {
        // A place in the Bundle that it travelled in, which no file has.
        let rest = rest.split_once('.').map_or("", |(_, rest)| rest);
        let rest = rest.strip_prefix("resource").unwrap_or(rest);
        let rest = rest.trim_start_matches('.');
        let rest = rest
            .strip_prefix(kind)
            .map_or(rest, |rest| rest.trim_start_matches('.'));
        path = match rest {
            "" => return String::new(),
            rest => format!("{kind}.{rest}"),
        };
    }
    let mut element = String::with_capacity(path.len());
    let mut depth = 0;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c if depth == 0 => element.push(c),
            _ => {}
        }
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::Format, record::Lack};

    /// Explains a refusal at an element of a record that refers to a Practitioner who is nowhere.
    fn explained(code: &str, element: &str) -> Explained {
        let lacks = [Lack {
            path: "Observation.performer[0]".to_owned(),
            to: Some("Practitioner".to_owned()),
        }];
        let refused = Refused {
            format: Format::Fhir,
            kind: "Observation",
            operation: Some(Operation::Create),
            status: Some(400),
            code: Some(code),
            detail: None,
            expression: &[element.to_owned()],
            lacks: &lacks,
            checks: false,
            is_googles: false,
        };
        explain(&refused, 400)
    }

    #[test]
    fn a_value_that_is_a_dangling_reference_is_called_so() {
        for code in ["value", "invalid"] {
            for element in [
                "Observation.performer[0].reference",
                "Observation.performer",
            ] {
                let told = explained(code, element);
                let what = "reference to a Practitioner that the store does not hold";
                assert_eq!(
                    (told.what.as_str(), told.next.is_some()),
                    (what, true),
                    "{code} {element}"
                );
            }
            let told = explained(code, "Observation.status");
            assert!(
                told.what.starts_with("Observation.status: "),
                "{}",
                told.what
            );
        }
    }
}
