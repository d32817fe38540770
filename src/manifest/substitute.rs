//! `${NAME}` and `${NAME:-default}` in the text of a value.
//!
//! Works on values that YAML has already been read into, so that what comes from the environment is never
//! taken for structure. `$${` stands for a plain `${`.

/// The reason why a text could not be completed, and the part of it that is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem<'t> {
    /// The variable is not set and has no default.
    Unset { name: &'t str, written: &'t str },
    /// It begins like a variable but is none.
    Malformed { written: &'t str },
}

/// A text with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) text: String,
    /// True if any variable stood in it, so that the text must not be shown.
    pub(super) from_environment: bool,
}

/// Fills in the variables of a text. As in a shell, a default also stands for a variable that is empty.
pub(super) fn complete<'t>(
    text: &'t str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Completed, Vec<Problem<'t>>> {
    let mut completed = String::with_capacity(text.len());
    let mut from_environment = false;
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, variable) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            completed.push_str(before);
            completed.push_str("${");
            rest = variable.strip_prefix("${").unwrap_or_default();
            continue;
        }
        completed.push_str(before);
        let Some((inner, tail)) = variable
            .strip_prefix("${")
            .and_then(|inner| inner.split_once('}'))
        else {
            problems.push(Problem::Malformed { written: variable });
            return Err(problems);
        };
        let written = variable.get(..inner.len() + 3).unwrap_or(variable);
        rest = tail;
        from_environment = true;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
            problems.push(Problem::Malformed { written });
            continue;
        }
        match (env(name), default) {
            (Some(value), None) => completed.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => completed.push_str(&value),
            (_, Some(default)) => completed.push_str(default),
            (None, None) => problems.push(Problem::Unset { name, written }),
        }
    }
    completed.push_str(rest);
    if problems.is_empty() {
        Ok(Completed {
            text: completed,
            from_environment,
        })
    } else {
        Err(problems)
    }
}

/// Tells whether no variable stands in a text.
pub(super) fn is_plain(text: &str) -> bool {
    !text.replace("$${", "").contains("${")
}

/// Tells whether a text can be the name of an environment variable.
pub(super) fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "ONE" => Some("1: {a}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(text: &str) -> String {
        complete(text, &env).unwrap().text
    }

    #[test]
    fn variables_are_filled_in_once() {
        assert_eq!(text("a ${ONE} b"), "a 1: {a} b");
        assert_eq!(
            text("${EMPTY}|${EMPTY:-x}|${NONE:-y:-z}|${NONE:-}"),
            "|x|y:-z|"
        );
        assert_eq!(text("$${ONE} costs 5$ $"), "${ONE} costs 5$ $");
        assert!(!complete("$${ONE}", &env).unwrap().from_environment);
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        assert_eq!(
            complete("${A}/${1B}/${ONE", &env).unwrap_err(),
            [
                Problem::Unset {
                    name: "A",
                    written: "${A}"
                },
                Problem::Malformed { written: "${1B}" },
                Problem::Malformed { written: "${ONE" },
            ]
        );
        assert!(complete("${A:-${B}}", &env).is_err());
    }
}
