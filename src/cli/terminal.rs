//! The abilities of the terminal, as the environment tells them.

use std::borrow::Cow;

use super::variable;

/// The abilities of the terminal, and the wish for colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Terminal {
    /// The wish for colour, where there is one.
    pub(super) colour: Option<bool>,
    /// It knows no sequences that move the cursor or colour a text.
    pub(super) is_dumb: bool,
    /// It shows ASCII only, as far as it is known.
    pub(super) is_ascii: bool,
}

impl Terminal {
    /// Reads it from the environment.
    pub(super) fn of_environment() -> Self {
        Self::of(variable)
    }

    /// Reads it from variables. `NO_COLOR` (<https://no-color.org>) forbids colour, `CLICOLOR_FORCE`
    /// (<https://bixense.com/clicolors>) wants it also where nobody looks on.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_dumb = given("TERM").is_some_and(|term| term == "dumb");
        let is_forced = given("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let colour = if given("NO_COLOR").is_some() {
            Some(false)
        } else if is_forced {
            Some(true)
        } else {
            is_dumb.then_some(false)
        };
        let mut locales = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(given);
        Self {
            colour,
            is_dumb,
            is_ascii: locales.next().is_some_and(|locale| is_ascii(&locale)),
        }
    }
}

impl Terminal {
    /// Spells the signs that Stoker uses in ASCII on a terminal that shows nothing else, wherever they stand. Other characters, such
    /// as those of names, stay as they are.
    pub(super) fn spelled(self, text: &str) -> Cow<'_, str> {
        if !self.is_ascii || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut spelled = text.to_owned();
        for (sign, ascii) in [
            ("…", "..."),
            ("→", "->"),
            ("·", "-"),
            ("µs", "us"),
            ("×", "x"),
        ] {
            spelled = spelled.replace(sign, ascii);
        }
        Cow::Owned(spelled)
    }
}

/// Tells whether a locale (`C`, `en_US.UTF-8`) has another set of characters than Unicode's. One that names none is taken for
/// a modern one, but for C and POSIX.
fn is_ascii(locale: &str) -> bool {
    match locale.split_once('.') {
        Some((_, codeset)) => {
            let codeset = codeset.split('@').next().unwrap_or_default();
            !matches!(codeset.to_ascii_lowercase().as_str(), "utf-8" | "utf8")
        }
        None => matches!(locale, "C" | "POSIX"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_signs_are_spelled_in_ascii_where_nothing_else_is_shown() {
        let text = "… and 3 more · 12 µs → größe";
        assert_eq!(of(&[("LANG", "en_US.UTF-8")]).spelled(text), text);
        let spelled = of(&[("LC_ALL", "C")]).spelled(text).into_owned();
        assert_eq!(spelled, "... and 3 more - 12 us -> größe");
    }

    fn of(variables: &[(&str, &str)]) -> Terminal {
        Terminal::of(|name| {
            let mut variables = variables.iter();
            let found = variables.find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_dumb_terminal_gets_no_colour_unless_it_is_forced() {
        assert_eq!(of(&[]), Terminal::default());
        let dumb = of(&[("TERM", "dumb")]);
        assert_eq!((dumb.colour, dumb.is_dumb), (Some(false), true));
        let forced = of(&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")]);
        assert_eq!((forced.colour, forced.is_dumb), (Some(true), true));
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "")]).colour, None);
        assert_eq!(
            of(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).colour,
            Some(false)
        );
    }

    #[test]
    fn the_first_locale_that_is_given_holds() {
        for (variables, expected) in [
            (&[("LC_ALL", "C")][..], true),
            (&[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")], true),
            (&[("LC_ALL", ""), ("LANG", "de_DE.UTF-8")], false),
            (&[("LC_CTYPE", "en_US.ISO-8859-1")], true),
            (&[("LC_ALL", "C.UTF-8")], false),
            (&[("LANG", "ca_ES.utf8@valencia")], false),
            (&[("LANG", "en_US")], false),
            (&[], false),
        ] {
            assert_eq!(of(variables).is_ascii, expected, "{variables:?}");
        }
    }
}
