//! Putting new texts into the bytes of a record, where a scan found the old ones; the rest stays as it is.

use super::{Scanned, TextRange, escape};

/// The reason why nothing was spliced: a bug of the caller, told instead of sending a spoilt record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// An edit begins before the end of the one before it.
    #[error("edits overlap or are not sorted at byte {0}")]
    Order(usize),
    /// An edit lies outside of the text.
    #[error("an edit ends at byte {end}, outside of the text's {length} bytes")]
    Outside {
        /// The offset at which the edit ends.
        end: usize,
        /// The length of the text in bytes.
        length: usize,
    },
}

/// Replaces parts of `bytes` by new texts, which are put in as they are (see [`super::escape`]).
///
/// An empty part inserts. The edits must be sorted and must not overlap.
pub fn splice<T: AsRef<[u8]>>(
    bytes: &[u8],
    edits: &[(TextRange, T)],
) -> Result<Vec<u8>, SpliceError> {
    let added: usize = edits.iter().map(|(_, text)| text.as_ref().len()).sum();
    let mut spliced = Vec::with_capacity(bytes.len() + added);
    let mut done = 0;
    for (part, text) in edits {
        if part.start < done || part.end < part.start {
            return Err(SpliceError::Order(part.start));
        }
        let (Some(kept), true) = (bytes.get(done..part.start), part.end <= bytes.len()) else {
            return Err(SpliceError::Outside {
                end: part.end,
                length: bytes.len(),
            });
        };
        spliced.extend_from_slice(kept);
        spliced.extend_from_slice(text.as_ref());
        done = part.end;
    }
    spliced.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Ok(spliced)
}

/// Returns the edit by which a record gets another id; none where it has that already.
pub fn renamed(found: &Scanned, bytes: &[u8], id: &str) -> Option<(TextRange, String)> {
    match found.id {
        Some(old) if old.text(bytes) == id => None,
        Some(old) => Some((old, escape(id).into_owned())),
        None => {
            let at = found.whole.start + 1;
            let part = TextRange { start: at, end: at };
            Some((part, format!("\"id\":\"{}\",", escape(id))))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_replaced_removed_and_inserted() {
        let edits = [
            (TextRange { start: 0, end: 0 }, "<"),
            (TextRange { start: 1, end: 3 }, "XYZ"),
            (TextRange { start: 3, end: 4 }, ""),
            (TextRange { start: 6, end: 6 }, ">"),
        ];
        assert_eq!(splice(b"abcdef", &edits).unwrap(), b"<aXYZef>");
        assert_eq!(splice::<&str>(b"abc", &[]).unwrap(), b"abc");
    }

    #[test]
    fn a_record_gets_another_id() {
        let rename = |text: &str| {
            let mut scanner = crate::fhir::Scanner::new();
            let found = scanner.scan(text.as_bytes()).unwrap();
            let edits: Vec<_> = renamed(found, text.as_bytes(), "new").into_iter().collect();
            String::from_utf8(splice(text.as_bytes(), &edits).unwrap()).unwrap()
        };
        assert_eq!(
            rename(r#" {"a":1.0,"id":"old"}"#),
            r#" {"a":1.0,"id":"new"}"#
        );
        assert_eq!(rename(r#"{ "a":1.0}"#), r#"{"id":"new", "a":1.0}"#);
        assert_eq!(rename(r#"{"id":"new"}"#), r#"{"id":"new"}"#);
    }

    #[test]
    fn wrong_edits_are_refused() {
        let part = |start, end| (TextRange { start, end }, "x");
        assert_eq!(
            splice(b"abc", &[part(0, 2), part(1, 3)]),
            Err(SpliceError::Order(1))
        );
        assert_eq!(splice(b"abc", &[part(2, 1)]), Err(SpliceError::Order(2)));
        let outside = SpliceError::Outside { end: 4, length: 3 };
        assert_eq!(splice(b"abc", &[part(2, 4)]), Err(outside));
        assert!(splice(b"abc", &[part(5, 6)]).is_err());
    }

    proptest! {
        #[test]
        fn the_rest_is_conserved(
            pieces in proptest::collection::vec(("[a-z]{0,5}", "[0-9]{0,4}", "[A-Z]{0,6}"), 0..8),
            tail in "[a-z]{0,5}",
        ) {
            // Built from kept texts, old texts and new texts: what comes out is known without splicing.
            let (mut before, mut after, mut edits) = (String::new(), String::new(), Vec::new());
            for (kept, old, new) in &pieces {
                before.push_str(kept);
                after.push_str(kept);
                let start = before.len();
                before.push_str(old);
                after.push_str(new);
                edits.push((TextRange { start, end: before.len() }, new));
            }
            before.push_str(&tail);
            after.push_str(&tail);
            prop_assert_eq!(splice(before.as_bytes(), &edits).unwrap(), after.into_bytes());
        }
    }
}
