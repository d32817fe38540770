//! The CapabilityStatement of a store (`/metadata`).

use super::json::Json;
use super::parameters::{self, Form};
use super::stores::fhir::Store;
use crate::fhir::types::RESOURCE_TYPES;

fn codes(names: &[&str]) -> Json {
    Json::List(
        names
            .iter()
            .map(|name| Json::object([("code", Json::text(*name))]))
            .collect(),
    )
}

/// Writes what the store can do, as its settings have it.
pub(super) fn statement(store: &Store, base: &str) -> Json {
    let settings = store.settings;
    let mut interactions = vec!["read", "create", "update", "patch", "delete", "search-type"];
    let mut versioning = "no-version";
    if !settings.disable_resource_versioning {
        interactions.extend(["vread", "history-instance"]);
        versioning = "versioned-update";
    }
    let parameter = |name: &str, form: &str| {
        Json::object([("name", Json::text(name)), ("type", Json::text(form))])
    };
    let parameters_of = |kind: &str| {
        let indexed = ["_id", "_tag", "identifier"].map(|name| parameter(name, "token"));
        let others = parameters::of(kind).map(|element| {
            let form = match element.form {
                Form::Text => "string",
                Form::Token => "token",
                Form::Reference(_) => "reference",
                Form::Date => "date",
                Form::Uri => "uri",
            };
            parameter(element.name, form)
        });
        Json::List(indexed.into_iter().chain(others).collect())
    };
    let mut policies = vec![Json::text("literal"), Json::text("logical")];
    if settings.integrity {
        policies.push(Json::text("enforced"));
    }
    let policies = Json::List(policies);
    let resources = RESOURCE_TYPES.iter().map(|kind| {
        Json::object([
            ("conditionalCreate", Json::Bool(true)),
            ("conditionalDelete", Json::text("single")),
            ("conditionalRead", Json::text("full-support")),
            ("conditionalUpdate", Json::Bool(true)),
            ("interaction", codes(&interactions)),
            (
                "readHistory",
                Json::Bool(!settings.disable_resource_versioning),
            ),
            ("referencePolicy", policies.clone()),
            ("searchParam", parameters_of(kind)),
            ("type", Json::text(*kind)),
            ("updateCreate", Json::Bool(settings.enable_update_create)),
            ("versioning", Json::text(versioning)),
        ])
    });
    let rest = Json::object([
        ("interaction", codes(&["transaction", "batch"])),
        ("mode", Json::text("server")),
        ("resource", Json::List(resources.collect())),
    ]);
    Json::object([
        (
            "date",
            Json::text(
                jiff::Timestamp::now()
                    .strftime("%Y-%m-%dT%H:%M:%S+00:00")
                    .to_string(),
            ),
        ),
        (
            "description",
            Json::text("FHIR capability statement for the FHIR store specified by the request."),
        ),
        ("experimental", Json::Bool(true)),
        ("fhirVersion", Json::text("4.0.1")),
        ("format", Json::List(vec![Json::text("json")])),
        (
            "implementation",
            Json::object([
                ("description", Json::text("Stoker's local store")),
                ("url", Json::text(base)),
            ]),
        ),
        ("kind", Json::text("instance")),
        (
            "patchFormat",
            Json::List(vec![Json::text("application/json-patch+json")]),
        ),
        ("resourceType", Json::text("CapabilityStatement")),
        ("rest", Json::List(vec![rest])),
        (
            "software",
            Json::object([
                ("name", Json::text("stoker")),
                ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ]),
        ),
        ("status", Json::text("active")),
    ])
}
