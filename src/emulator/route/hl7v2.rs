//! Paths below `…/hl7V2Stores`, and what each names.

use super::stores::{StorePath, store_path};

/// The meaning of such a path.
pub(in crate::emulator) type Path = StorePath<Messages>;

/// The meaning of a path below a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) enum Messages {
    /// `…/messages`
    All,
    /// `…/messages:verb`
    Method(String),
    /// `…/messages/{m}`
    One(String),
}

/// Reads the segments behind `hl7V2Stores` in a path; `None` when nothing of the API has that form.
pub(in crate::emulator) fn path(dataset: String, segments: &[&str]) -> Option<Path> {
    store_path(dataset, "hl7V2Stores", segments, messages)
}

fn messages(segments: &[&str]) -> Option<Messages> {
    Some(match segments {
        ["messages"] => Messages::All,
        [messages] => Messages::Method(messages.strip_prefix("messages:")?.to_owned()),
        ["messages", id] => Messages::One((*id).to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_messages() {
        assert_eq!(messages(&["messages"]), Some(Messages::All));
        let ingest = Messages::Method("ingest".to_owned());
        assert_eq!(messages(&["messages:ingest"]), Some(ingest));
        let one = Messages::One("a=".to_owned());
        assert_eq!(messages(&["messages", "a="]), Some(one));
        assert_eq!(messages(&["segments"]), None);
        assert_eq!(messages(&["messages", "a", "b"]), None);
        let name = "d/hl7V2Stores/h".to_owned();
        let expected = Path::Store {
            dataset: "d".to_owned(),
            name,
        };
        assert_eq!(path("d".to_owned(), &["h"]), Some(expected));
    }
}
