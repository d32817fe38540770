//! Rewrites the references of a transaction's resources to the ids that the store assigned.
//!
//! The rule (FHIR R4, http.html, "transaction"): where an element of type Reference, uri, url, oid or uuid, or a
//! narrative's `href` or `src`, equals the `fullUrl` of an entry, it becomes the new `Type/id`; canonicals do not.

use std::collections::HashMap;

use super::json::{Json, Object};
use super::kind::{is_id, kind};
use super::reply::Refusal;
use crate::fhir::reference::LINKS;

/// The resources that the entries of a transaction became.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// From `fullUrl` to `Type/id`.
    targets: HashMap<String, String>,
}

impl Links {
    /// Notes an entry; `false` when its `fullUrl` is taken by another resource.
    pub(super) fn insert(&mut self, full_url: &str, target: String) -> bool {
        if let Some(taken) = self.targets.get(full_url) {
            return *taken == target;
        }
        self.targets.insert(full_url.to_owned(), target);
        true
    }

    /// Finds what a reference became; `base` is the base of the entry's own `fullUrl`, against which a relative
    /// reference is resolved.
    fn find(&self, link: &str, base: Option<&str>) -> Option<String> {
        let (plain, fragment) = match link.find('#') {
            Some(at) => link.split_at(at),
            None => (link, ""),
        };
        let exact = |url: &str| {
            self.targets
                .get(url)
                .map(|target| format!("{target}{fragment}"))
        };
        if let Some(found) = exact(plain) {
            return Some(found);
        }
        if self.targets.is_empty() || plain.starts_with("urn:") {
            return None;
        }
        // A version of what an entry replaces cannot be one of the new resource's.
        let plain = plain
            .split_once("/_history/")
            .map_or(plain, |(plain, _)| plain);
        if plain.contains("://") {
            return exact(plain);
        }
        let (name, id) = plain.split_once('/')?;
        (kind(name).is_some() && is_id(id))
            .then(|| exact(&format!("{}{plain}", base?)))
            .flatten()
    }
}

/// Returns the base of an absolute `fullUrl` (`https://host/base/` of `https://host/base/Patient/1`).
pub(super) fn base(full_url: &str) -> Option<&str> {
    if !full_url.starts_with("http://") && !full_url.starts_with("https://") {
        return None;
    }
    let (rest, _) = full_url.rsplit_once('/')?;
    let (base, _) = rest.rsplit_once('/')?;
    full_url.get(..=base.len())
}

/// Tells whether a reference is conditional (`Patient?identifier=…`), and what it asks for.
pub(super) fn conditional(reference: &str) -> Option<(&'static str, &str)> {
    let (name, query) = reference.split_once('?')?;
    Some((kind(name)?, query))
}

/// A reference that could not be resolved, and where it stands (innermost step first).
#[derive(Debug)]
pub(super) struct Unresolved {
    refusal: Refusal,
    steps: Vec<String>,
}

impl Unresolved {
    /// Makes a refusal of it; `root` is the path of the resource.
    pub(super) fn into_refusal(self, root: &str) -> Refusal {
        let mut path = root.to_owned();
        for step in self.steps.iter().rev() {
            path.push_str(step);
        }
        self.refusal.at(&path)
    }
}

/// Finds the `Type/id` of a conditional reference, or leaves it (`None`).
pub(super) type Resolve<'a> = dyn FnMut(&'static str, &str) -> Result<Option<String>, Refusal> + 'a;

/// Walks through a resource.
pub(super) struct Rewriter<'a> {
    pub(super) links: &'a Links,
    pub(super) base: Option<&'a str>,
    /// References inside extensions take part (the store's `complexDataTypeReferenceParsing`).
    pub(super) extensions: bool,
    pub(super) resolve: &'a mut Resolve<'a>,
}

impl Rewriter<'_> {
    /// Rewrites everything below an object.
    pub(super) fn object(&mut self, object: &mut Object) -> Result<(), Unresolved> {
        for (key, value) in object.iter_mut() {
            if !self.extensions && matches!(key.as_str(), "extension" | "modifierExtension") {
                continue;
            }
            self.element(key, value).map_err(|mut unresolved| {
                if key != "reference" {
                    unresolved.steps.push(format!(".{key}"));
                }
                unresolved
            })?;
        }
        Ok(())
    }

    fn element(&mut self, key: &str, value: &mut Json) -> Result<(), Unresolved> {
        match value {
            Json::Object(object) => self.object(object),
            Json::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.element(key, item).map_err(|mut unresolved| {
                        unresolved.steps.push(format!("[{index}]"));
                        unresolved
                    })?;
                }
                Ok(())
            }
            Json::Text(text) if key == "div" => {
                if let Some(rewritten) = self.narrative(text) {
                    *text = rewritten;
                }
                Ok(())
            }
            Json::Text(text) if LINKS.contains(&key) => {
                if let Some(found) = self.links.find(text, self.base) {
                    *text = found;
                } else if key == "reference"
                    && let Some((kind, query)) = conditional(text)
                {
                    let resolved = (self.resolve)(kind, query);
                    if let Some(found) = resolved.map_err(|refusal| Unresolved {
                        refusal,
                        steps: Vec::new(),
                    })? {
                        *text = found;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Rewrites the `href` and `src` attributes of a narrative; `None` when nothing changes.
    fn narrative(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut written = 0;
        let mut at = 0;
        while let Some(found) = text
            .get(at..)
            .and_then(|rest| rest.find("=\"").into_iter().chain(rest.find("='")).min())
        {
            let name_end = at + found;
            let start = name_end + 2;
            let quote = if text.get(start - 1..start) == Some("\"") {
                '"'
            } else {
                '\''
            };
            let Some(length) = text.get(start..).and_then(|rest| rest.find(quote)) else {
                break;
            };
            let end = start + length;
            let before = text.get(..name_end).unwrap_or_default();
            if (before.ends_with("href") || before.ends_with("src"))
                && let Some(link) = text.get(start..end)
                && let Some(target) = self.links.find(link, self.base)
            {
                out.push_str(text.get(written..start).unwrap_or_default());
                out.push_str(&target);
                written = end;
            }
            at = end + 1;
        }
        if written == 0 {
            return None;
        }
        out.push_str(text.get(written..).unwrap_or_default());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str, base: Option<&str>, extensions: bool) -> Result<String, Unresolved> {
        let mut links = Links::default();
        assert!(links.insert("urn:uuid:1", "Patient/a".to_owned()));
        assert!(links.insert("http://h/b/Patient/1", "Patient/b".to_owned()));
        assert!(!links.insert("urn:uuid:1", "Patient/c".to_owned()));
        let Json::Object(mut object) = Json::parse(text.as_bytes()).unwrap() else {
            panic!("an object")
        };
        let mut resolve = |kind: &'static str, query: &str| match query {
            "miss" => Err(Refusal::missing("x")),
            _ => Ok(Some(format!("{kind}/found"))),
        };
        Rewriter {
            links: &links,
            base,
            extensions,
            resolve: &mut resolve,
        }
        .object(&mut object)?;
        Ok(Json::Object(object).to_string())
    }

    fn check(from: &str, base: Option<&str>, to: &str) {
        assert_eq!(rewritten(from, base, true).unwrap(), to);
    }

    #[test]
    fn links_become_the_new_ids() {
        check(
            r#"{"subject":{"reference":"urn:uuid:1"}}"#,
            None,
            r#"{"subject":{"reference":"Patient/a"}}"#,
        );
        check(
            r#"{"s":[{"reference":"http://h/b/Patient/1/_history/2"}]}"#,
            None,
            r#"{"s":[{"reference":"Patient/b"}]}"#,
        );
        check(
            r#"{"valueUri":"urn:uuid:1#x"}"#,
            None,
            r#"{"valueUri":"Patient/a#x"}"#,
        );
        check(
            r#"{"s":{"reference":"Patient/1"}}"#,
            Some("http://h/b/"),
            r#"{"s":{"reference":"Patient/b"}}"#,
        );
        check(
            r#"{"s":{"reference":"Patient/1"}}"#,
            None,
            r#"{"s":{"reference":"Patient/1"}}"#,
        );
        check(
            r#"{"valueCanonical":"urn:uuid:1","value":"urn:uuid:1"}"#,
            None,
            r#"{"value":"urn:uuid:1","valueCanonical":"urn:uuid:1"}"#,
        );
        check(
            r#"{"s":{"reference":"Patient?identifier=x"}}"#,
            None,
            r#"{"s":{"reference":"Patient/found"}}"#,
        );
        check(
            r#"{"text":{"div":"<a href=\"urn:uuid:1\">urn:uuid:1</a><img alt='é' src='http://h/b/Patient/1'/>"}}"#,
            None,
            r#"{"text":{"div":"<a href=\"Patient/a\">urn:uuid:1</a><img alt='é' src='Patient/b'/>"}}"#,
        );
        let extension = r#"{"extension":[{"valueReference":{"reference":"urn:uuid:1"}}]}"#;
        assert_eq!(rewritten(extension, None, false).unwrap(), extension);
    }

    #[test]
    fn what_cannot_be_resolved_is_named_by_its_path() {
        let unresolved = rewritten(
            r#"{"a":[{},{"b":{"reference":"Patient?miss"}}]}"#,
            None,
            true,
        )
        .unwrap_err();
        let body = unresolved
            .into_refusal("Bundle.entry[2].resource")
            .body()
            .to_string();
        assert!(
            body.contains(r#""expression":["Bundle.entry[2].resource.a[1].b"]"#),
            "{body}"
        );
    }

    #[test]
    fn bases() {
        assert_eq!(base("https://h/b/Patient/1"), Some("https://h/b/"));
        assert_eq!(base("urn:uuid:1"), None);
    }
}
