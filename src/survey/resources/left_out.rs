//! Entries of a source that are no records to load: remarks on a search, older versions and deletions of a history,
//! reads.
//!
//! The author of the Bundle did not mean them to be loaded, so they are no failure; the plan counts and names them.

use std::{collections::BTreeMap, fmt::Write as _};

use super::Resources;
use crate::{
    fhir::request::RequestUrl,
    plan::Planner,
    source::{BundleKind, EntryAround, Found},
};

/// The reason why an entry is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeftOut {
    /// The entry tells how a search went (<https://hl7.org/fhir/R4/http.html#search>).
    SearchOutcome,
    /// The history holds a newer version.
    OlderVersion,
    /// The history says that it was deleted.
    Deleted,
    /// The entry reads.
    Read,
}

impl LeftOut {
    /// Returns the word for machines.
    fn code(self) -> &'static str {
        match self {
            Self::SearchOutcome => "search-outcome",
            Self::OlderVersion => "older-version",
            Self::Deleted => "deleted",
            Self::Read => "read-entry",
        }
    }

    /// Returns what it is, for one and for several.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::SearchOutcome => ("remark on the search", "remarks on the search"),
            Self::OlderVersion => ("older version", "older versions"),
            Self::Deleted => ("deletion", "deletions"),
            Self::Read => ("GET or HEAD entry", "GET or HEAD entries"),
        }
    }
}

/// The entries of a Bundle that are left out: their number for each reason, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_reason: BTreeMap<LeftOut, (u64, Vec<u32>)>,
}

/// The most entries that are named for each reason.
const NAMED: usize = 5;

impl Entries {
    fn add(&mut self, why: LeftOut, entry: u32) {
        let (count, named) = self.by_reason.entry(why).or_default();
        *count += 1;
        if named.len() < NAMED {
            named.push(entry);
        }
    }

    /// Says what was left out; none where nothing was.
    pub(super) fn words(&self) -> Option<String> {
        let mut words = String::new();
        for (why, (count, named)) in &self.by_reason {
            let between = if words.is_empty() { "" } else { ", " };
            let (one, several) = why.words();
            let what = if *count == 1 { one } else { several };
            let entries = if named.len() == 1 { "entry" } else { "entries" };
            let named_too: Vec<String> = named.iter().map(u32::to_string).collect();
            let more = if *count > named.len() as u64 {
                ", …"
            } else {
                ""
            };
            // Writing to a string cannot fail.
            let _ = write!(
                words,
                "{between}{count} {what} ({entries} {}{more})",
                named_too.join(", ")
            );
        }
        (!words.is_empty()).then_some(words)
    }
}

impl Resources {
    /// Tells whether an entry is no record to load, and counts it then.
    pub(in crate::survey) fn leaves_out(
        &mut self,
        planner: &mut Planner<'_>,
        found: &Found<'_>,
    ) -> bool {
        let Some(entry) = found.entry else {
            return false;
        };
        let Some(why) = self.why_left_out(planner, found, entry) else {
            return false;
        };
        planner.leave_out(why.code());
        if let Some(bundle) = &mut self.bundle {
            let number = found.position.entry.unwrap_or_default();
            bundle.left_out.add(why, number);
        }
        true
    }

    fn why_left_out(
        &mut self,
        planner: &Planner<'_>,
        found: &Found<'_>,
        entry: &EntryAround<'_>,
    ) -> Option<LeftOut> {
        let is_without_resource = entry.resource.is_none();
        let overrides = planner.settings().interaction.is_some() && !is_without_resource;
        let bundle = self.bundle.as_mut()?;
        let method = || Some(entry.envelope.request?.method?.text(entry.bytes));
        match bundle.kind {
            BundleKind::Searchset => {
                let mode = entry
                    .envelope
                    .search_mode
                    .map(|mode| mode.text(entry.bytes));
                let is_outcome = mode.is_some_and(|mode| mode == "outcome")
                    || found.scanned.is(found.bytes, "OperationOutcome");
                is_outcome.then_some(LeftOut::SearchOutcome)
            }
            // A history has the newest version of a resource first, and only that one is loaded.
            BundleKind::History => {
                let is_new =
                    resource_of(found, entry).is_none_or(|resource| bundle.newer.insert(resource));
                let is_delete = is_without_resource && method()? == "DELETE";
                match (is_new, is_delete) {
                    (false, _) => Some(LeftOut::OlderVersion),
                    (true, true) => Some(LeftOut::Deleted),
                    (true, false) => None,
                }
            }
            BundleKind::Transaction | BundleKind::Batch if !overrides => {
                let method = method()?;
                matches!(method.as_ref(), "GET" | "HEAD").then_some(LeftOut::Read)
            }
            _ => None,
        }
    }
}

/// Returns which resource an entry of a history is a version of: `Type/id`.
fn resource_of(found: &Found<'_>, entry: &EntryAround<'_>) -> Option<String> {
    if let (Some(kind), Some(id)) = (found.resource_type(), found.id()) {
        return Some(format!("{kind}/{id}"));
    }
    let named = |url: &str| {
        let (kind, id) = RequestUrl::read(url).resource()?;
        Some(format!("{kind}/{id}"))
    };
    let url = entry.envelope.request.and_then(|request| request.url);
    let of_request = url.and_then(|url| named(&url.text(entry.bytes)));
    of_request.or_else(|| named(&entry.envelope.full_url?.text(entry.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_with_its_entries() {
        let mut entries = Entries::default();
        assert_eq!(entries.words(), None);
        for entry in 2..9 {
            entries.add(LeftOut::OlderVersion, entry);
        }
        entries.add(LeftOut::Deleted, 1);
        assert_eq!(
            entries.words().unwrap(),
            "7 older versions (entries 2, 3, 4, 5, 6, …), 1 deletion (entry 1)"
        );
    }
}
