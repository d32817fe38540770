//! The place of a mistake in the words on it: each record has its own, and what is said of many records has none.

/// Takes the place (`(line 3, column 7)`) out of the words on a mistake. Returns the words without it, and the place with its
/// line.
pub(super) fn without_place(words: &str) -> (String, Option<(&str, u64)>) {
    let parts = || {
        let (before, rest) = words.split_once(" (line ")?;
        let (place, after) = rest.split_once(')')?;
        let (line, column) = place.split_once(", column ")?;
        column.parse::<u64>().ok()?;
        let line = line.parse().ok()?;
        let begin = before.len() + 1;
        let place = words.get(begin..begin + "(line ".len() + place.len() + 1)?;
        Some((format!("{before}{after}"), Some((place, line))))
    };
    parts().unwrap_or_else(|| (words.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_taken_out_and_nothing_else() {
        let (words, place) =
            without_place("a comma stands there (line 12, column 37); take it away");
        assert_eq!(words, "a comma stands there; take it away");
        assert_eq!(place, Some(("(line 12, column 37)", 12)));
        for words in [
            "",
            "it has no id",
            "x (line of it)",
            "x (line 1, column y)",
            "x (line 1",
        ] {
            assert_eq!(without_place(words), (words.to_owned(), None));
        }
    }
}
