//! Matches a resource with a search by a parameter without an index: the values are looked for in its text.
//!
//! Texts are compared without regard to case, but with regard to accents.

use super::json::{Json, Object};
use super::parameters::{Element, Form};
use super::period::{Period, Prefix};
use super::reply::Refusal;
use super::values::{TokenTest, split, unescape};

/// A test of a resource: an element, and the condition that it has to meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Content {
    element: &'static Element,
    test: Test,
}

/// One of the alternatives has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    /// The element is there, or is not.
    Missing(bool),
    Starts(Vec<String>),
    Contains(Vec<String>),
    Exactly(Vec<String>),
    Token(Vec<TokenTest>),
    NotToken(Vec<TokenTest>),
    /// The type that is wanted, and an id, a `Type/id` or a URL.
    Reference(Option<String>, Vec<String>),
    Date(Vec<(Prefix, Period)>),
}

impl Content {
    /// Reads a parameter with its modifier and values.
    ///
    /// # Errors
    ///
    /// 400 for a modifier that the parameter does not have here, whatever the handling (FHIR R4, "Modifiers"), and for values
    /// that are none.
    pub(super) fn read(
        element: &'static Element,
        modifier: Option<&str>,
        value: &str,
    ) -> Result<Self, Refusal> {
        let name = element.name;
        let wrong = |expected: &str| {
            Refusal::query(format!(
                "invalid value of search parameter {name}: expected {expected}"
            ))
        };
        let parts = split(value, ',');
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong("a value"));
        }
        let texts = || parts.iter().map(|part| unescape(part)).collect();
        let folded = || parts.iter().map(|part| fold(&unescape(part))).collect();
        let test = match (element.form, modifier) {
            (_, Some("missing")) => match value {
                "true" => Test::Missing(true),
                "false" => Test::Missing(false),
                _ => return Err(wrong("true or false")),
            },
            (Form::Text, None) => Test::Starts(folded()),
            (Form::Text, Some("contains")) => Test::Contains(folded()),
            (Form::Text, Some("exact")) | (Form::Uri, None) => Test::Exactly(texts()),
            (Form::Token, modifier @ (None | Some("not"))) => {
                let tokens = parts.iter().map(|part| TokenTest::read(part));
                let tokens = tokens.collect::<Option<_>>();
                let tokens = tokens.ok_or_else(|| wrong("system|value"))?;
                match modifier {
                    None => Test::Token(tokens),
                    Some(_) => Test::NotToken(tokens),
                }
            }
            (Form::Reference(kind), None) => Test::Reference(kind.map(str::to_owned), texts()),
            (Form::Reference(None), Some(kind)) if super::kind::kind(kind).is_some() => {
                Test::Reference(Some(kind.to_owned()), texts())
            }
            (Form::Date, None) => {
                let dates = parts.iter().map(|part| {
                    let (prefix, date) = Prefix::split(part)?;
                    Some((prefix, Period::read(date)?))
                });
                let dates = dates.collect::<Option<_>>();
                Test::Date(dates.ok_or_else(|| wrong("a date, with a prefix other than ap"))?)
            }
            (_, Some(modifier)) => {
                return Err(Refusal::query(format!(
                    "unsupported modifier of search parameter {name}: {modifier}"
                )));
            }
        };
        Ok(Self { element, test })
    }

    /// Tells whether a resource meets it.
    pub(super) fn is_met(&self, resource: &Object) -> bool {
        let mut values = Vec::new();
        for path in self.element.paths {
            collect(resource, path, &mut values);
        }
        let any = |test: &dyn Fn(&Json) -> bool| values.iter().any(|value| test(value));
        match &self.test {
            Test::Missing(missing) => values.is_empty() == *missing,
            Test::Starts(wanted) => any(&|value| {
                words(value, &mut |word| {
                    let word = fold(word);
                    wanted.iter().any(|wanted| word.starts_with(wanted))
                })
            }),
            Test::Contains(wanted) => any(&|value| {
                words(value, &mut |word| {
                    let word = fold(word);
                    wanted.iter().any(|wanted| word.contains(wanted))
                })
            }),
            Test::Exactly(wanted) => any(&|value| {
                words(value, &mut |word| {
                    wanted.iter().any(|wanted| word == wanted)
                })
            }),
            Test::Token(wanted) => any(&|value| is_token(value, wanted)),
            Test::NotToken(wanted) => !any(&|value| is_token(value, wanted)),
            Test::Reference(kind, wanted) => any(&|value| {
                let reference = value.as_object().and_then(|value| value.get("reference"));
                let reference = reference.and_then(Json::as_text);
                reference.is_some_and(|text| {
                    wanted
                        .iter()
                        .any(|wanted| refers(text, kind.as_deref(), wanted))
                })
            }),
            Test::Date(wanted) => any(&|value| {
                period(value).is_some_and(|found| {
                    wanted
                        .iter()
                        .any(|(prefix, wanted)| found.is(*prefix, *wanted))
                })
            }),
        }
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// Gathers the values at a path.
fn collect<'a>(object: &'a Object, path: &str, values: &mut Vec<&'a Json>) {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let (key, system) = match first.split_once('=') {
        Some((key, system)) => (key, Some(system)),
        None => (first, None),
    };
    let Some(value) = object.get(key) else { return };
    for value in value.each() {
        if *value == Json::Null {
            continue;
        }
        if let Some(system) = system {
            let found = value.as_object().and_then(|value| value.get("system"));
            if found.and_then(Json::as_text) != Some(system) {
                continue;
            }
        }
        match (rest, value) {
            (None, value) => values.push(value),
            (Some(rest), Json::Object(inner)) => collect(inner, rest, values),
            (Some(_), _) => {}
        }
    }
}

/// Goes through the texts of a value: itself, or the parts of a name or an address.
fn words(value: &Json, test: &mut dyn FnMut(&str) -> bool) -> bool {
    const PARTS: [&str; 11] = [
        "city",
        "country",
        "district",
        "family",
        "given",
        "line",
        "postalCode",
        "prefix",
        "state",
        "suffix",
        "text",
    ];
    match value {
        Json::Text(word) => test(word),
        Json::Object(object) => PARTS
            .iter()
            .filter_map(|part| object.get(*part))
            .flat_map(Json::each)
            .filter_map(Json::as_text)
            .any(test),
        _ => false,
    }
}

/// Compares a code, a boolean, a `Coding`, a `CodeableConcept`, an `Identifier` or a `ContactPoint`.
fn is_token(value: &Json, wanted: &[TokenTest]) -> bool {
    let any = |system: Option<&str>, value: &str| {
        wanted.iter().any(|wanted| wanted.is_met(system, value))
    };
    match value {
        Json::Text(code) => any(None, code),
        Json::Bool(flag) => any(None, if *flag { "true" } else { "false" }),
        Json::Object(object) => {
            if let Some(codings) = object.get("coding") {
                return codings.each().iter().any(|coding| is_token(coding, wanted));
            }
            let part = |name: &str| object.get(name).and_then(Json::as_text);
            let code = part("code").or_else(|| part("value")).unwrap_or_default();
            any(Some(part("system").unwrap_or_default()), code)
        }
        _ => false,
    }
}

/// Tells whether a reference leads to what is wanted; a version of it counts as well.
fn refers(reference: &str, kind: Option<&str>, wanted: &str) -> bool {
    let unversioned = reference.split("/_history/").next().unwrap_or(reference);
    let mut tail = unversioned.rsplit('/');
    let (id, found) = (tail.next(), tail.next());
    if kind.is_some() && kind != found {
        return false;
    }
    if wanted.contains('/') {
        unversioned == wanted || reference == wanted
    } else {
        // An id alone means one of this store.
        tail.next().is_none() && found.is_some() && id == Some(wanted)
    }
}

fn period(value: &Json) -> Option<Period> {
    match value {
        Json::Text(text) => Period::read(text),
        Json::Object(object) => {
            let part = |name: &str| object.get(name).and_then(Json::as_text);
            let read = |name: &str| part(name).map(Period::read);
            let (start, end) = (read("start"), read("end"));
            if start.is_none() && end.is_none() {
                return None;
            }
            Some(Period {
                start: start.map_or(Some(Period::ALWAYS.start), |start| Some(start?.start))?,
                end: end.map_or(Some(Period::ALWAYS.end), |end| Some(end?.end))?,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameters;
    use super::*;

    fn meets(kind: &str, parameter: &str, value: &str, resource: &str) -> bool {
        let (name, modifier) = match parameter.split_once(':') {
            Some((name, modifier)) => (name, Some(modifier)),
            None => (parameter, None),
        };
        let element = parameters::of(kind).find(|e| e.name == name).unwrap();
        let Ok(Json::Object(resource)) = Json::parse(resource.as_bytes()) else {
            panic!("an object");
        };
        Content::read(element, modifier, value)
            .unwrap()
            .is_met(&resource)
    }

    #[test]
    fn people_are_found_by_what_they_are_called() {
        let anna = r#"{"resourceType":"Patient","active":true,"gender":"female","birthDate":"1970-05-01","managingOrganization":{"reference":"Organization/o/_history/3"},
            "name":[{"family":"Lindqvist","given":["Anna","Maria"]},{"text":"Ms. Öberg"}],
            "telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b"}],
            "address":[{"city":"Uppsala","line":["Storgatan 1"]}]}"#;
        for (parameter, value, expected) in [
            ("family", "lind", true),
            ("family", "qvist", false),
            ("family:contains", "QVIST", true),
            ("family:exact", "Lindqvist", true),
            ("family:exact", "lindqvist", false),
            ("family", "x,Lind", true),
            ("given", "maria", true),
            ("name", "Smith", false),
            ("name", "ms.", true),
            ("name:exact", "Anna", true),
            ("address", "upp", true),
            ("address-city", "Storgatan", false),
            ("phone", "1", true),
            ("email", "1", false),
            ("telecom", "email|a@b", true),
            ("gender", "female", true),
            ("gender:not", "female", false),
            (
                "gender",
                "http://hl7.org/fhir/administrative-gender|female",
                true,
            ),
            ("gender", "http://other|female", false),
            ("active", "true", true),
            ("birthdate", "1970", true),
            ("birthdate", "lt1970", false),
            ("birthdate", "ge1970-05-01", true),
            ("birthdate:missing", "false", true),
            ("death-date:missing", "true", true),
            ("organization", "Organization/o", true),
            ("organization", "o", true),
            ("organization", "Organization/p", false),
        ] {
            assert_eq!(
                meets("Patient", parameter, value, anna),
                expected,
                "{parameter}={value}"
            );
        }
    }

    #[test]
    fn observations_are_found_by_code_date_and_subject() {
        let weight = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},
            "subject":{"reference":"Patient/a"},"effectivePeriod":{"start":"2024-05-01"},"focus":[{"reference":"https://x.example/Patient/b"}]}"#;
        for (parameter, value, expected) in [
            ("code", "http://loinc.org|29463-7", true),
            ("code", "http://loinc.org|", true),
            ("code", "|29463-7", false),
            ("code", "29463-7", true),
            ("date", "gt2025", true),
            ("date", "lt2024", false),
            ("date", "2024", false),
            ("subject", "Patient/a", true),
            ("subject", "a", true),
            ("subject:Group", "a", false),
            ("subject:Patient", "a", true),
            ("patient", "a", true),
            ("focus", "https://x.example/Patient/b", true),
            ("focus", "Patient/b", false),
            ("focus", "b", false),
        ] {
            assert_eq!(
                meets("Observation", parameter, value, weight),
                expected,
                "{parameter}={value}"
            );
        }
    }

    #[test]
    fn modifiers_that_are_not_known_are_refused() {
        for (kind, name, modifier, value) in [
            ("Patient", "family", "above", "x"),
            ("Patient", "gender", "text", "x"),
            ("Observation", "subject", "Nothing", "x"),
            ("Patient", "birthdate", "exact", "1970"),
            ("Patient", "gender", "missing", "perhaps"),
        ] {
            let element = parameters::of(kind).find(|e| e.name == name).unwrap();
            assert!(Content::read(element, Some(modifier), value).is_err());
        }
        let birth = parameters::of("Patient").find(|e| e.name == "birthdate");
        assert!(Content::read(birth.unwrap(), None, "ap1970").is_err());
        assert!(Content::read(birth.unwrap(), None, "1970,").is_err());
    }
}
