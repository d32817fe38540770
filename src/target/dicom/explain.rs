//! The meaning of the refusal of an instance, and what to do about it, in Stoker's own words: by the reason of its failure
//! (PS3.18, table I.2-2, and the status of C-STORE, PS3.4, table B.2-1), else by the status of the answer.

use crate::target::{
    Explained, InTheWay, Refused,
    status::{self, READ, Terms},
};

const TERMS: Terms = Terms {
    records: "instances",
    record: "an instance",
    address: "the base of a DICOMweb service: what stands before `/studies`",
    smaller: "`bundle: { max_bytes: …, max_entries: … }` makes smaller requests; ",
};

/// Says what a refusal means.
pub(in crate::target) fn explain(refused: &Refused<'_>, status: u16) -> Explained {
    let code = refused.code.unwrap_or_default();
    let told = in_the_way(code).or_else(|| by_reason(refused, reason(code)?));
    let Some((what, next)) = told else {
        return status::explain(refused, status, &TERMS);
    };
    Explained {
        meaning: None,
        about: String::new(),
        what,
        next,
        is_unsaid: false,
    }
}

/// Reads the reason from a code as `super::answer` writes it: `duplicate SOP instance (0111H)`.
fn reason(code: &str) -> Option<u16> {
    let (_, digits) = code.strip_suffix("H)")?.rsplit_once('(')?;
    u16::from_str_radix(digits, 16).ok()
}

/// Explains what the store has under the UIDs of the instance.
fn in_the_way(code: &str) -> Option<(String, Option<String>)> {
    let (what, next) = match InTheWay::of(code)? {
        InTheWay::Other => (
            "the store has other instances under these UIDs, and keeps them",
            "`note` and `expression` in records.ndjson name the attributes in which they differ; `duplicates: replace` puts \
             these in their place",
        ),
        InTheWay::Uncompared => (
            "the store says that it has instances of these UIDs, and what it has could not be compared",
            "`note` in records.ndjson says why; `duplicates: skip` leaves what is there unseen, `duplicates: replace` puts \
             these in its place",
        ),
        InTheWay::Unremoved => (
            "what the store has under these UIDs was not removed, so that these were not stored",
            "`note` in records.ndjson says what the store answered; remove them there, then load again",
        ),
        InTheWay::Elsewhere => (
            "the store says that it has an instance of this SOP Instance UID, and finds none in the study and series of this one",
            "SOP Instance UIDs have to be unique: give one of the two a UID of its own, where both are wanted",
        ),
    };
    Some((what.to_owned(), Some(next.to_owned())))
}

fn by_reason(refused: &Refused<'_>, reason: u16) -> Option<(String, Option<String>)> {
    let (what, next) = match reason {
        0x0110 => (
            "the store failed at processing it",
            "look into the store's log; then try them again",
        ),
        0x0111 | 45070 => (
            "the store has instances of these UIDs already",
            "`duplicates: verify` names the attributes in which they differ, `duplicates: replace` puts these in their place",
        ),
        45071 => (
            "another request was storing the same instance",
            "load again; who else writes there?",
        ),
        0x0117 => ("the store does not take its SOP Instance UID", READ),
        0x0122 => (
            "the store does not take instances of this SOP class",
            "let the store take the class, or leave these files out (`\"!…\"` in `files`)",
        ),
        0x0124 => {
            let next = status::right(refused, TERMS.records);
            return Some(("the credentials do not allow it".to_owned(), Some(next)));
        }
        0xA700..=0xA7FF => (
            "the store is out of resources",
            "look at the store's disk and memory; then try them again",
        ),
        0xA900..=0xA9FF => (
            "the data set does not match its SOP class, or misses what the store asks for",
            READ,
        ),
        0xC122 => (
            "the store does not take the transfer syntax",
            "let the store take it, or write the files anew in one that it takes; `stoker plan` counts the transfer syntaxes",
        ),
        0xC000..=0xCFFF => ("the store cannot understand the data set", READ),
        _ => return None,
    };
    Some((what.to_owned(), Some(next.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dicom::answer::words, manifest::Format, record::Operation, target::explain as any,
    };

    fn refused(code: Option<&str>, is_googles: bool) -> Refused<'_> {
        Refused {
            format: Format::Dicom,
            kind: "OT",
            operation: Some(Operation::Store),
            status: Some(409),
            code,
            detail: None,
            expression: &[],
            lacks: &[],
            checks: false,
            is_googles,
        }
    }

    #[test]
    fn the_reason_says_more_than_the_status_and_duplicates_alone_are_replaced() {
        for (reason, word) in [
            (0x0110, "processing"),
            (0x0122, "SOP class"),
            (0x0124, "credentials"),
            (0xA700, "resources"),
            (0xA900, "data set"),
            (0xC122, "transfer syntax"),
            (0xC000, "understand"),
            (0x0FFF, "does not say why"),
        ] {
            let code = format!("{} ({reason:04X}H)", words(reason));
            let told = any(&refused(Some(&code), false)).unwrap();
            assert!(told.what.contains(word), "{code}: {}", told.what);
            let next = told.next.unwrap();
            assert!(!next.contains("duplicates"), "{code}: {next}");
        }
        for reason in [0x0111, 45070] {
            let code = format!("{} ({reason:04X}H)", words(reason));
            let told = any(&refused(Some(&code), false)).unwrap();
            assert!(told.next.unwrap().contains("duplicates: replace"));
        }
    }

    #[test]
    fn a_status_speaks_of_instances_and_roles_of_googles_stores_only() {
        for status in [
            300, 400, 401, 403, 404, 405, 406, 409, 411, 413, 415, 429, 500, 501,
        ] {
            for is_googles in [false, true] {
                let refused = Refused {
                    status: Some(status),
                    ..refused(None, is_googles)
                };
                let told = any(&refused).unwrap();
                let text = format!("{} {}", told.what, told.next.unwrap_or_default());
                for foreign in ["FHIR", "fhir", "resource editor", "Bundles", "interaction"] {
                    assert!(!text.contains(foreign), "{status}: {text}");
                }
                assert_eq!(
                    text.contains("roles/healthcare.dicomEditor"),
                    status == 403 && is_googles,
                    "{text}"
                );
            }
        }
    }
}
