//! The search parameters that the store knows, beyond those that it has an index for.
//!
//! They are R4's, of the types that people look for by hand. A search by one of them reads every resource of its type.

/// A search parameter: what it is called, and where its values stand.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Element {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Elements with dots between them; lists are gone through. Behind `=`, what `system` has to be.
    pub(super) paths: &'static [&'static str],
}

/// The kind of a parameter (FHIR R4, "Search Parameter Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    Text,
    Token,
    /// The type that is referred to, where the parameter has only one.
    Reference(Option<&'static str>),
    Date,
    Uri,
}

const fn text(name: &'static str, paths: &'static [&'static str]) -> Element {
    Element {
        name,
        form: Form::Text,
        paths,
    }
}

const fn token(name: &'static str, paths: &'static [&'static str]) -> Element {
    Element {
        name,
        form: Form::Token,
        paths,
    }
}

const fn date(name: &'static str, paths: &'static [&'static str]) -> Element {
    Element {
        name,
        form: Form::Date,
        paths,
    }
}

const fn reference(name: &'static str, paths: &'static [&'static str]) -> Element {
    Element {
        name,
        form: Form::Reference(None),
        paths,
    }
}

const fn reference_to(
    kind: &'static str,
    name: &'static str,
    paths: &'static [&'static str],
) -> Element {
    Element {
        name,
        form: Form::Reference(Some(kind)),
        paths,
    }
}

const fn uri(name: &'static str, paths: &'static [&'static str]) -> Element {
    Element {
        name,
        form: Form::Uri,
        paths,
    }
}

/// Of every type.
static ALL: [Element; 4] = [
    date("_lastUpdated", &["meta.lastUpdated"]),
    uri("_profile", &["meta.profile"]),
    token("_security", &["meta.security"]),
    uri("_source", &["meta.source"]),
];

/// Of people and organizations.
static ADDRESS: [Element; 6] = [
    text("address", &["address"]),
    text("address-city", &["address.city"]),
    text("address-country", &["address.country"]),
    text("address-postalcode", &["address.postalCode"]),
    text("address-state", &["address.state"]),
    token("active", &["active"]),
];

/// Of people.
static PERSON: [Element; 7] = [
    token("email", &["telecom=email"]),
    text("family", &["name.family"]),
    token("gender", &["gender"]),
    text("given", &["name.given"]),
    text("name", &["name"]),
    token("phone", &["telecom=phone"]),
    token("telecom", &["telecom"]),
];

static PATIENT: [Element; 6] = [
    date("birthdate", &["birthDate"]),
    date("death-date", &["deceasedDateTime"]),
    reference("general-practitioner", &["generalPractitioner"]),
    token("language", &["communication.language"]),
    reference("link", &["link.other"]),
    reference_to("Organization", "organization", &["managingOrganization"]),
];

static PRACTITIONER: [Element; 1] = [token("communication", &["communication"])];

static ORGANIZATION: [Element; 4] = [
    reference_to("Endpoint", "endpoint", &["endpoint"]),
    text("name", &["name", "alias"]),
    reference_to("Organization", "partof", &["partOf"]),
    token("type", &["type"]),
];

static ENCOUNTER: [Element; 20] = [
    reference_to("Account", "account", &["account"]),
    reference_to("Appointment", "appointment", &["appointment"]),
    reference_to("ServiceRequest", "based-on", &["basedOn"]),
    token("class", &["class"]),
    date("date", &["period"]),
    reference("diagnosis", &["diagnosis.condition"]),
    reference_to("EpisodeOfCare", "episode-of-care", &["episodeOfCare"]),
    reference_to("Location", "location", &["location.location"]),
    reference_to("Encounter", "part-of", &["partOf"]),
    reference("participant", &["participant.individual"]),
    token("participant-type", &["participant.type"]),
    reference_to("Patient", "patient", &["subject"]),
    reference_to("Practitioner", "practitioner", &["participant.individual"]),
    token("reason-code", &["reasonCode"]),
    reference("reason-reference", &["reasonReference"]),
    reference_to("Organization", "service-provider", &["serviceProvider"]),
    token(
        "special-arrangement",
        &["hospitalization.specialArrangement"],
    ),
    token("status", &["status"]),
    reference("subject", &["subject"]),
    token("type", &["type"]),
];

static OBSERVATION: [Element; 23] = [
    reference("based-on", &["basedOn"]),
    token("category", &["category"]),
    token("code", &["code"]),
    token("combo-code", &["code", "component.code"]),
    token("component-code", &["component.code"]),
    token("data-absent-reason", &["dataAbsentReason"]),
    date(
        "date",
        &["effectiveDateTime", "effectivePeriod", "effectiveInstant"],
    ),
    reference("derived-from", &["derivedFrom"]),
    reference("device", &["device"]),
    reference_to("Encounter", "encounter", &["encounter"]),
    reference("focus", &["focus"]),
    reference("has-member", &["hasMember"]),
    token("method", &["method"]),
    reference("part-of", &["partOf"]),
    reference_to("Patient", "patient", &["subject"]),
    reference("performer", &["performer"]),
    reference_to("Specimen", "specimen", &["specimen"]),
    token("status", &["status"]),
    reference("subject", &["subject"]),
    token("value-concept", &["valueCodeableConcept"]),
    date("value-date", &["valueDateTime", "valuePeriod"]),
    text(
        "value-string",
        &["valueString", "valueCodeableConcept.text"],
    ),
    token(
        "combo-value-concept",
        &["valueCodeableConcept", "component.valueCodeableConcept"],
    ),
];

fn tables(kind: &str) -> Vec<&'static [Element]> {
    match kind {
        "Patient" => vec![&ALL, &ADDRESS, &PERSON, &PATIENT],
        "Practitioner" => vec![&ALL, &ADDRESS, &PERSON, &PRACTITIONER],
        "Organization" => vec![&ALL, &ADDRESS, &ORGANIZATION],
        "Encounter" => vec![&ALL, &ENCOUNTER],
        "Observation" => vec![&ALL, &OBSERVATION],
        _ => vec![&ALL],
    }
}

/// All parameters of a type.
pub(super) fn of(kind: &str) -> impl Iterator<Item = &'static Element> + use<> {
    tables(kind).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_parameter() {
        for kind in crate::fhir::types::RESOURCE_TYPES {
            let mut names: Vec<&str> = of(kind).map(|element| element.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{kind}");
        }
    }
}
