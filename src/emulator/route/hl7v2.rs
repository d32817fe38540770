//! Paths below `…/hl7V2Stores`, and what each names.

/// The meaning of a path: stores, messages, one of them or a method; names of datasets and stores are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) enum Path {
    /// `…/hl7V2Stores`
    Stores { dataset: String },
    /// `…/hl7V2Stores/{h}`
    Store { dataset: String, name: String },
    /// `…/hl7V2Stores/{h}:verb`
    Method {
        dataset: String,
        name: String,
        verb: String,
    },
    /// `…/hl7V2Stores/{h}/messages`
    Messages { dataset: String, store: String },
    /// `…/hl7V2Stores/{h}/messages:verb`
    MessagesMethod {
        dataset: String,
        store: String,
        verb: String,
    },
    /// `…/hl7V2Stores/{h}/messages/{m}`
    Message {
        dataset: String,
        store: String,
        id: String,
    },
}

/// Reads the segments behind `hl7V2Stores` in a path; `None` when nothing of the API has that form.
pub(in crate::emulator) fn path(dataset: String, segments: &[&str]) -> Option<Path> {
    let of = |store: &str| format!("{dataset}/hl7V2Stores/{store}");
    Some(match segments {
        [] => Path::Stores { dataset },
        [store] => match store.split_once(':') {
            Some((store, verb)) => Path::Method {
                name: of(store),
                verb: verb.to_owned(),
                dataset,
            },
            None => Path::Store {
                name: of(store),
                dataset,
            },
        },
        [store, "messages"] => Path::Messages {
            store: of(store),
            dataset,
        },
        [store, messages] => Path::MessagesMethod {
            store: of(store),
            verb: messages.strip_prefix("messages:")?.to_owned(),
            dataset,
        },
        [store, "messages", id] => Path::Message {
            store: of(store),
            id: (*id).to_owned(),
            dataset,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let read = |segments: &[&str]| path("d".to_owned(), segments);
        assert!(matches!(read(&[]), Some(Path::Stores { .. })));
        assert!(
            matches!(read(&["h"]), Some(Path::Store { name, .. }) if name == "d/hl7V2Stores/h")
        );
        assert!(
            matches!(read(&["h:import"]), Some(Path::Method { verb, name, .. }) if verb == "import" && name.ends_with("/h"))
        );
        assert!(matches!(
            read(&["h", "messages"]),
            Some(Path::Messages { .. })
        ));
        assert!(
            matches!(read(&["h", "messages:ingest"]), Some(Path::MessagesMethod { verb, .. }) if verb == "ingest")
        );
        assert!(
            matches!(read(&["h", "messages", "a="]), Some(Path::Message { id, .. }) if id == "a=")
        );
        assert_eq!(read(&["h", "segments"]), None);
        assert_eq!(read(&["h", "messages", "a", "b"]), None);
    }
}
