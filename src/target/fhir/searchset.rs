//! The members of a searchset Bundle that tell what a search found and whether there is more (R4, bundle.html#searchset).

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Searchset<'a> {
    resource_type: String,
    pub(super) total: Option<u64>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(borrow, default)]
    pub(super) entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Link {
    relation: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) resource: Option<&'a RawValue>,
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

impl<'a> Searchset<'a> {
    /// Reads a body; none where it is no Bundle.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let set: Self = serde_json::from_slice(body).ok()?;
        (set.resource_type == "Bundle").then_some(set)
    }

    /// Returns the address of a relation: `self`, `next`.
    pub(super) fn link(&self, relation: &str) -> Option<&str> {
        let mut links = self.link.iter();
        let link = links.find(|link| link.relation.as_deref() == Some(relation));
        link?.url.as_deref()
    }
}

impl Entry<'_> {
    /// Tells whether it came along with what was searched for.
    pub(super) fn is_included(&self) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(|search| search.mode.as_deref() == Some("include"))
    }
}
