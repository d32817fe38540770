//! Conditions: the searches by which a conditional create, update or reference names a resource, as they are compared.
//!
//! The same condition is written in many ways: percent-encoded or not, its parameters in any order, with the type in
//! front (`Type?query`) or only the `?`. Two that come to the same [`Condition`] ask a store for the same. The records
//! that a query finds are not known here.

use std::borrow::Cow;

/// A condition, normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition<'a> {
    /// `identifier=system|value` and nothing else: the record with that identifier.
    Identifier {
        /// The system, as it stands in a record.
        system: Cow<'a, str>,
        /// The value, as it stands in a record.
        value: Cow<'a, str>,
    },
    /// Any other: its parameters with their values, decoded and sorted.
    Search(Vec<(String, String)>),
}

impl Condition<'_> {
    /// Reads a query: the part of a URL behind the `?`. None where it asks for nothing.
    pub fn read(query: &str) -> Option<Condition<'_>> {
        if let Some(token) = query.strip_prefix("identifier=")
            && !token.contains('&')
            && let Some((system, value)) = token_of(&decoded(token))
        {
            return Some(Condition::Identifier { system, value });
        }
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
        let mut parameters: Vec<(String, String)> = parameters
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (decoded(name).into_owned(), decoded(value).into_owned())
            })
            .collect();
        parameters.sort_unstable();
        parameters.dedup();
        match parameters.as_slice() {
            [] => None,
            [(name, value)] if name == "identifier" => {
                Some(match token_of(&Cow::Owned(value.clone())) {
                    Some((system, value)) => Condition::Identifier { system, value },
                    None => Condition::Search(parameters),
                })
            }
            _ => Some(Condition::Search(parameters)),
        }
    }
}

/// A condition as somebody wrote it, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenCondition<'a> {
    /// The type in front, if there is one.
    pub kind: Option<&'a str>,
    /// The query behind the `?`: the standard's form of `ifNoneExist` (<https://hl7.org/fhir/R4/http.html#ccreate>).
    pub query: &'a str,
    /// Something stands in front of the query that the standard has not.
    pub has_front: bool,
}

/// Takes `ifNoneExist` apart: many write `Type?query` or `?query`, HL7's own examples among them.
pub fn written(condition: &str) -> WrittenCondition<'_> {
    match condition.split_once('?') {
        // A question mark behind the first `=` belongs to a value.
        Some((front, query)) if !front.contains('=') => {
            let kind = front.rsplit('/').next().filter(|kind| !kind.is_empty());
            WrittenCondition {
                kind,
                query,
                has_front: true,
            }
        }
        _ => WrittenCondition {
            kind: None,
            query: condition,
            has_front: false,
        },
    }
}

/// Reads `system|value`, with FHIR's escapes resolved (<https://hl7.org/fhir/R4/search.html#escaping>); none for anything
/// else, such as several values.
fn token_of<'a>(token: &Cow<'a, str>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    if token.contains(['\\', ',']) {
        let mut parts = vec![String::new()];
        let mut letters = token.chars();
        while let Some(letter) = letters.next() {
            match letter {
                ',' => return None,
                '|' => parts.push(String::new()),
                letter => {
                    let letter = match letter {
                        '\\' => letters.next()?,
                        letter => letter,
                    };
                    parts.last_mut()?.push(letter);
                }
            }
        }
        let [system, value] = <[String; 2]>::try_from(parts).ok()?;
        return is_token(&system, &value).then_some((system.into(), value.into()));
    }
    let (system, value) = match token {
        Cow::Borrowed(token) => {
            let (system, value) = token.split_once('|')?;
            (Cow::Borrowed(system), Cow::Borrowed(value))
        }
        Cow::Owned(token) => {
            let (system, value) = token.split_once('|')?;
            (Cow::Owned(system.to_owned()), Cow::Owned(value.to_owned()))
        }
    };
    (is_token(&system, &value) && !value.contains('|')).then_some((system, value))
}

fn is_token(system: &str, value: &str) -> bool {
    !system.is_empty() && !value.is_empty()
}

/// Resolves percent escapes, where a text has them; most in the field do not. A `+` stays one: whether it means a space is
/// the server's to say.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (Some(byte), Some(behind)) = (escape, after.get(2..)) {
            bytes.push(byte);
            rest = behind;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    match String::from_utf8(bytes) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn identifier(system: &str, value: &str) -> Condition<'static> {
        Condition::Identifier {
            system: system.to_owned().into(),
            value: value.to_owned().into(),
        }
    }

    #[test]
    fn ways_of_writing_come_to_the_same() {
        let read = |query| Condition::read(query).unwrap();
        let acme = identifier("https://ids.example/org", "a 1");
        for query in [
            "identifier=https://ids.example/org|a 1",
            "identifier=https://ids.example/org|a%201",
            "identifier=https%3A%2F%2Fids.example%2Forg%7Ca%201",
            "identifier=https%3a%2f%2fids.example%2forg|a%201&",
            "&identifier=https://ids.example/org|a 1",
            "identifie%72=https://ids.example/org|a 1",
            "identifier=https://ids.example/org|a 1&identifier=https://ids.example/org|a%201",
        ] {
            assert_eq!(read(query), acme, "{query}");
        }
        assert_eq!(
            read("name:exact=Acme&active=true"),
            read("active=true&name%3Aexact=Ac%6De")
        );
        assert_eq!(read(r"identifier=s\|t|v\,w"), identifier("s|t", "v,w"));
        for (one, other) in [
            ("identifier=s|1", "identifier=s|2"),
            ("identifier=s|1", "identifier=1"),
            ("identifier=s|1", "identifier=s|1,s|2"),
            ("identifier=s|1", "identifier=s|1&active=true"),
            ("name=a", "name:exact=a"),
            ("name=a+b", "name=a b"),
        ] {
            assert_ne!(read(one), read(other), "{one} {other}");
        }
        assert_eq!(Condition::read(""), None);
        assert_eq!(Condition::read("&&"), None);
    }

    #[test]
    fn what_stands_in_front_of_a_query_is_told_from_it() {
        for (condition, kind, query, has_front) in [
            ("identifier=a|b", None, "identifier=a|b", false),
            ("?identifier=a|b", None, "identifier=a|b", true),
            (
                "Patient?identifier=a|b",
                Some("Patient"),
                "identifier=a|b",
                true,
            ),
            ("/Patient?name=x", Some("Patient"), "name=x", true),
            (
                "https://h/r4/Patient?name=x",
                Some("Patient"),
                "name=x",
                true,
            ),
            (
                "identifier=https://a/?b|c",
                None,
                "identifier=https://a/?b|c",
                false,
            ),
        ] {
            let expected = WrittenCondition {
                kind,
                query,
                has_front,
            };
            assert_eq!(written(condition), expected, "{condition}");
        }
    }

    proptest! {
        /// Encoded in any way and in any order, a query is the same condition.
        #[test]
        fn encoding_and_order_do_not_matter(
            parameters in proptest::collection::vec(("[a-z:_]{1,8}", "[ -~äß漢]{1,12}"), 1..5),
            seed in proptest::collection::vec(any::<bool>(), 64),
            turn in 0_usize..5,
        ) {
            let mut bits = seed.iter().cycle();
            let mut encode = |text: &str, all: bool| {
                let mut out = String::new();
                for byte in text.bytes() {
                    let needs = !byte.is_ascii() || b"%&=".contains(&byte);
                    if all || needs || *bits.next().unwrap() {
                        write!(out, "%{byte:02X}").unwrap();
                    } else {
                        out.push(char::from(byte));
                    }
                }
                out
            };
            let mut query = |all: bool, turn: usize| {
                let mut parts: Vec<String> = parameters
                    .iter()
                    .map(|(name, value)| format!("{}={}", encode(name, all), encode(value, all)))
                    .collect();
                let length = parts.len();
                parts.rotate_left(turn % length);
                parts.join("&")
            };
            let (one, other) = (query(true, 0), query(false, turn));
            prop_assert_eq!(Condition::read(&one), Condition::read(&other));
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = Condition::read(&text);
            let WrittenCondition { query, .. } = written(&text);
            prop_assert!(text.ends_with(query));
        }
    }
}
