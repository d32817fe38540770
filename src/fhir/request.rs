//! `Bundle.entry.request.url`: what it names, relative to the store's base or with another base in front.

use super::{reference::is_id, types::has_type_shape};

/// The URL of an entry's request, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestUrl<'a> {
    /// The part in front of the type, with its last slash, where the URL is absolute.
    pub base: Option<&'a str>,
    /// The first segment that is named: a type, if the URL is one of FHIR's.
    pub kind: &'a str,
    /// The segment behind it; empty where only the slash stands there.
    pub id: Option<&'a str>,
    /// The part behind the question mark.
    pub query: Option<&'a str>,
}

impl<'a> RequestUrl<'a> {
    /// Takes a URL apart.
    pub fn read(url: &'a str) -> Self {
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        let is_absolute = path.starts_with("https://") || path.starts_with("http://");
        let named = if is_absolute {
            named_at(path)
        } else {
            path.len() - path.trim_start_matches('/').len()
        };
        let (base, named) = path.split_at(named);
        let mut segments = named.split('/');
        Self {
            base: is_absolute.then_some(base),
            kind: segments.next().unwrap_or(named),
            id: segments.next(),
            query,
        }
    }

    /// Returns the resource that it names by type and id.
    pub fn resource(&self) -> Option<(&'a str, &'a str)> {
        let id = self.id.filter(|id| is_id(id))?;
        has_type_shape(self.kind).then_some((self.kind, id))
    }
}

/// Returns where the type stands in an absolute path: `[base]/Type` or `[base]/Type/id`, else at its last segment.
fn named_at(path: &str) -> usize {
    let mut from = path.len();
    let last = path.rfind('/').map_or(0, |at| at + 1);
    for _ in 0..2 {
        let Some(slash) = path.get(..from).and_then(|rest| rest.rfind('/')) else {
            break;
        };
        let segment = path.get(slash + 1..from).unwrap_or(path);
        if has_type_shape(segment) {
            return slash + 1;
        }
        from = slash;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, base, kind, id, query) in [
            ("Patient", None, "Patient", None, None),
            ("/Patient", None, "Patient", None, None),
            ("Patient/1", None, "Patient", Some("1"), None),
            ("Patient/", None, "Patient", Some(""), None),
            (
                "Patient?identifier=a|b/c",
                None,
                "Patient",
                None,
                Some("identifier=a|b/c"),
            ),
            (
                "https://h/r4/Patient/1",
                Some("https://h/r4/"),
                "Patient",
                Some("1"),
                None,
            ),
            (
                "https://h/r4/Patient",
                Some("https://h/r4/"),
                "Patient",
                None,
                None,
            ),
            (
                "https://h/Patient?x=y",
                Some("https://h/"),
                "Patient",
                None,
                Some("x=y"),
            ),
            ("https://h/x/y", Some("https://h/x/"), "y", None, None),
            ("", None, "", None, None),
        ] {
            let expected = RequestUrl {
                base,
                kind,
                id,
                query,
            };
            assert_eq!(RequestUrl::read(url), expected, "{url}");
        }
        assert_eq!(
            RequestUrl::read("https://h/Patient/1").resource(),
            Some(("Patient", "1"))
        );
        assert_eq!(RequestUrl::read("Patient/a_b").resource(), None);
    }
}
