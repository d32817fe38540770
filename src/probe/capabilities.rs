//! Reads a CapabilityStatement (<https://hl7.org/fhir/R4/capabilitystatement.html>) into the facts that bear on loading.
//!
//! Servers write theirs by hand, and no load depends on most of it: a member of another shape than the standard's is one
//! that says nothing, and never a reason to refuse the whole. The request is `probe`'s business.

use serde_json::Value;

use crate::target::Facts;

/// Returns the facts that a body states.
///
/// # Errors
///
/// The body is no CapabilityStatement: the words for what it is, and the advice.
pub(super) fn read(body: &[u8]) -> Result<Facts, (&'static str, &'static str)> {
    const BASE: &str =
        "check the URL: it is the service base, the one under which `metadata` is found";
    let Ok(statement) = serde_json::from_slice::<Value>(body) else {
        let starts = |text: &[u8]| body.trim_ascii_start().starts_with(text);
        let is_xml = starts(b"<?xml") || starts(b"<CapabilityStatement") || starts(b"<Conformance");
        return Err(if is_xml {
            (
                "the server gives its metadata in XML, and was asked for JSON",
                "Stoker speaks FHIR's JSON only; check that the server has JSON switched on",
            )
        } else {
            (
                "what the server calls metadata is no CapabilityStatement",
                BASE,
            )
        });
    };
    match text(&statement, "resourceType") {
        Some("CapabilityStatement") => Ok(of_statement(&statement)),
        Some("Conformance") => Err((
            "the server speaks FHIR DSTU2: its metadata is a Conformance resource",
            "Stoker loads STU3 and later; look for the service base of a later version",
        )),
        _ => Err((
            "what the server calls metadata is no CapabilityStatement",
            BASE,
        )),
    }
}

fn of_statement(statement: &Value) -> Facts {
    let rests = list(statement, "rest");
    let of_server = |rest: &&Value| text(rest, "mode") == Some("server");
    let server = rests.iter().find(of_server).or_else(|| rests.first());
    let resources: Vec<Resource<'_>> = server
        .map(|rest| list(rest, "resource").iter().filter_map(Resource::of))
        .into_iter()
        .flatten()
        .collect();
    // A flag that no type states is not known; one that some type states holds where any type has it.
    let any = |flag: fn(&Resource<'_>) -> Option<bool>| {
        resources
            .iter()
            .filter_map(flag)
            .reduce(|one, other| one || other)
    };
    let codes = server.map(|rest| codes(rest));
    // Servers that list no system interaction at all often execute Bundles all the same; then it is not known.
    let system = |code: &str| {
        let listed = codes.as_ref().filter(|listed| !listed.is_empty())?;
        Some(listed.contains(&code))
    };
    let transaction = system("transaction");
    // One that executes transactions is not taken to refuse batches just because it does not list them.
    let batch = system("batch").filter(|&listed| listed || transaction == Some(false));
    let types = kinds(&resources, |resource| resource.writes);
    let policies: Vec<&str> = (resources.iter())
        .flat_map(|resource| resource.policies.iter().copied())
        .collect();
    Facts {
        assumed: false,
        missing: false,
        version: version(statement),
        update_create: any(|resource| resource.update_create),
        conditional_create: any(|resource| resource.conditional_create),
        conditional_update: any(|resource| resource.conditional_update),
        transaction,
        batch,
        integrity: (!policies.is_empty()).then(|| policies.contains(&"enforced")),
        types: (!types.is_empty()).then_some(types),
        versioned_update: kinds(&resources, |resource| resource.wants_version),
        ..Facts::UNKNOWN
    }
}

/// A type, as the statement describes it.
struct Resource<'a> {
    kind: &'a str,
    /// It can be created or updated, or the statement does not list its interactions.
    writes: bool,
    update_create: Option<bool>,
    conditional_create: Option<bool>,
    conditional_update: Option<bool>,
    policies: Vec<&'a str>,
    wants_version: bool,
}

impl<'a> Resource<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        let interactions = codes(value);
        let policies = list(value, "referencePolicy").iter();
        Some(Self {
            kind: text(value, "type")?,
            writes: interactions.is_empty()
                || interactions.contains(&"create")
                || interactions.contains(&"update"),
            update_create: flag(value, "updateCreate"),
            conditional_create: flag(value, "conditionalCreate"),
            conditional_update: flag(value, "conditionalUpdate"),
            policies: policies.filter_map(Value::as_str).collect(),
            wants_version: text(value, "versioning") == Some("versioned-update"),
        })
    }
}

/// Returns the names of some types, sorted, each once.
fn kinds(resources: &[Resource<'_>], wanted: fn(&Resource<'_>) -> bool) -> Vec<String> {
    let wanted = resources.iter().filter(|resource| wanted(resource));
    let mut kinds: Vec<String> = wanted.map(|resource| resource.kind.to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Returns the codes of the interactions that a part of the statement lists.
fn codes(value: &Value) -> Vec<&str> {
    let interactions = list(value, "interaction").iter();
    interactions.filter_map(|one| text(one, "code")).collect()
}

/// Returns the items of a member; one that stands by itself is a list of one.
fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    match value.get(member) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str()
}

fn flag(value: &Value, member: &str) -> Option<bool> {
    match value.get(member)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Returns the version of FHIR; `4.0` may stand as a number.
fn version(statement: &Value) -> Option<String> {
    match statement.get("fhirVersion")? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(json: &str) -> Facts {
        read(json.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        for rest in ["", r#","rest":null"#, r#","rest":[]"#, r#","rest":"no""#] {
            let facts = statement(&format!(
                r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"{rest}}}"#
            ));
            assert_eq!(
                (facts.update_create, facts.transaction, facts.types),
                (None, None, None),
                "{rest}"
            );
        }
    }

    #[test]
    fn a_statement_is_read() {
        let facts = statement(
            r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server",
                "interaction":[{"code":"transaction"}],
                "resource":[
                  {"type":"Patient","interaction":[{"code":"read"},{"code":"create"}],"updateCreate":true,
                   "conditionalCreate":false,"referencePolicy":["literal","enforced"]},
                  {"type":"AuditEvent","interaction":[{"code":"read"}],"versioning":"versioned"},
                  {"type":"Basic","versioning":"versioned-update"}]}]}"#,
        );
        assert_eq!(facts.versioned_update, ["Basic"]);
        assert_eq!(facts.types.unwrap(), ["Basic", "Patient"]);
        assert_eq!(
            (facts.update_create, facts.conditional_create),
            (Some(true), Some(false))
        );
        assert_eq!((facts.transaction, facts.batch), (Some(true), None));
        assert_eq!(facts.integrity, Some(true));
    }

    /// Forms that servers have which write their statement by hand.
    #[test]
    fn a_statement_of_other_shapes_is_read_as_far_as_it_goes() {
        let facts = statement(
            "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":4.0,\"rest\":{\"mode\":\"server\",
              \"interaction\":null,\"resource\":[null,{\"interaction\":[]},{\"type\":\"Patient\",\"interaction\":[null,{\"code\":7}],
              \"updateCreate\":\"true\",\"conditionalCreate\":\"yes\",\"referencePolicy\":\"enforced\",\"versioning\":null}]}}",
        );
        assert_eq!(facts.version.as_deref(), Some("4.0"));
        assert_eq!(facts.types.unwrap(), ["Patient"]);
        assert_eq!(
            (facts.update_create, facts.conditional_create),
            (Some(true), None)
        );
        assert_eq!((facts.transaction, facts.integrity), (None, Some(true)));
    }

    #[test]
    fn what_is_no_statement_is_named() {
        for (body, word) in [
            ("<?xml version=\"1.0\"?><CapabilityStatement/>", "XML"),
            (
                "<CapabilityStatement xmlns=\"http://hl7.org/fhir\"/>",
                "XML",
            ),
            (
                r#"{"resourceType":"Conformance","fhirVersion":"1.0.2"}"#,
                "DSTU2",
            ),
            ("<html>", "no CapabilityStatement"),
            ("{}", "no CapabilityStatement"),
            ("", "no CapabilityStatement"),
        ] {
            let (what, _) = read(body.as_bytes()).unwrap_err();
            assert!(what.contains(word), "{body}: {what}");
        }
    }
}
