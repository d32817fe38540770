//! Paths below the stores of one kind that are named as the API names all of them, and what each names.

/// The meaning of a path: the stores of a kind, one of them, a method of it, or what lies below it; names of datasets and
/// stores are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::emulator) enum StorePath<B> {
    /// `…/{stores}`
    Stores { dataset: String },
    /// `…/{stores}/{s}`
    Store { dataset: String, name: String },
    /// `…/{stores}/{s}:verb`
    Method {
        dataset: String,
        name: String,
        verb: String,
    },
    /// `…/{stores}/{s}/…`
    Below {
        dataset: String,
        store: String,
        below: B,
    },
}

/// Reads the segments behind the word for the stores of a kind; `below` reads those behind the name of one. `None` when nothing
/// of the API has that form.
pub(super) fn store_path<B>(
    dataset: String,
    stores: &str,
    segments: &[&str],
    below: impl FnOnce(&[&str]) -> Option<B>,
) -> Option<StorePath<B>> {
    let of = |store: &str| format!("{dataset}/{stores}/{store}");
    Some(match segments {
        [] => StorePath::Stores { dataset },
        [store] => match store.split_once(':') {
            Some((store, verb)) => StorePath::Method {
                name: of(store),
                verb: verb.to_owned(),
                dataset,
            },
            None => StorePath::Store {
                name: of(store),
                dataset,
            },
        },
        [store, rest @ ..] => StorePath::Below {
            store: of(store),
            below: below(rest)?,
            dataset,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_stores() {
        let read = |segments: &[&str]| {
            let below = |rest: &[&str]| (rest == ["x"]).then_some(7);
            store_path("d".to_owned(), "kindStores", segments, below)
        };
        let (dataset, name) = ("d".to_owned(), "d/kindStores/s".to_owned());
        let stores = StorePath::Stores {
            dataset: dataset.clone(),
        };
        assert_eq!(read(&[]), Some(stores));
        let store = StorePath::Store {
            dataset: dataset.clone(),
            name: name.clone(),
        };
        assert_eq!(read(&["s"]), Some(store));
        let method = StorePath::Method {
            dataset: dataset.clone(),
            name: name.clone(),
            verb: "import".to_owned(),
        };
        assert_eq!(read(&["s:import"]), Some(method));
        let below = StorePath::Below {
            dataset,
            store: name,
            below: 7,
        };
        assert_eq!(read(&["s", "x"]), Some(below));
        assert_eq!(read(&["s", "y"]), None);
    }
}
