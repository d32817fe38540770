//! The elements that R4 requires at the top of a resource (<https://hl7.org/fhir/R4/resourcelist.html>), of the types
//! that are loaded most. Says nothing of other types, nor of what profiles require.

/// By type, sorted: the elements, those of open type as `value[x]`.
const MANDATORY: [(&str, &str); 60] = [
    ("Account", "status"),
    ("AllergyIntolerance", "patient"),
    ("Appointment", "status participant"),
    ("AppointmentResponse", "appointment participantStatus"),
    ("AuditEvent", "type recorded agent source"),
    ("Basic", "code"),
    ("Binary", "contentType"),
    ("BodyStructure", "patient"),
    ("Bundle", "type"),
    ("CarePlan", "status intent subject"),
    ("ChargeItem", "status code subject"),
    (
        "Claim",
        "status type use patient created provider priority insurance",
    ),
    (
        "ClaimResponse",
        "status type use patient created insurer outcome",
    ),
    ("ClinicalImpression", "status subject"),
    ("CodeSystem", "status content"),
    ("Communication", "status"),
    ("CommunicationRequest", "status"),
    ("Composition", "status type date author title"),
    ("ConceptMap", "status"),
    ("Condition", "subject"),
    ("Consent", "status scope category"),
    ("Coverage", "status beneficiary payor"),
    ("DetectedIssue", "status"),
    ("DeviceRequest", "intent code[x] subject"),
    ("DiagnosticReport", "status code"),
    ("DocumentReference", "status content"),
    ("Encounter", "status class"),
    ("Endpoint", "status connectionType payloadType address"),
    ("EpisodeOfCare", "status patient"),
    (
        "ExplanationOfBenefit",
        "status type use patient created insurer provider outcome insurance",
    ),
    ("FamilyMemberHistory", "status patient relationship"),
    ("Flag", "status code subject"),
    ("Goal", "lifecycleStatus description subject"),
    ("Group", "type actual"),
    ("ImagingStudy", "status subject"),
    ("Immunization", "status vaccineCode patient occurrence[x]"),
    ("List", "status mode"),
    ("MeasureReport", "status type measure period"),
    ("Media", "status content"),
    (
        "MedicationAdministration",
        "status medication[x] subject effective[x]",
    ),
    ("MedicationDispense", "status medication[x]"),
    ("MedicationRequest", "status intent medication[x] subject"),
    ("MedicationStatement", "status medication[x] subject"),
    ("MessageHeader", "event[x] source"),
    ("NutritionOrder", "status intent patient dateTime"),
    ("Observation", "status code"),
    ("Procedure", "status subject"),
    ("Provenance", "target recorded agent"),
    ("Questionnaire", "status"),
    ("QuestionnaireResponse", "status"),
    ("RelatedPerson", "patient"),
    ("RequestGroup", "status intent"),
    ("RiskAssessment", "status subject"),
    ("Schedule", "actor"),
    ("ServiceRequest", "status intent subject"),
    ("Slot", "schedule status start end"),
    ("Substance", "code"),
    ("SupplyRequest", "item[x] quantity"),
    ("Task", "status intent"),
    ("ValueSet", "status"),
];

/// Returns the elements that R4 requires at the top of a resource of a type, and that are not among `members`.
pub fn missing<'a>(
    kind: &str,
    members: &'a [String],
) -> impl Iterator<Item = &'static str> + use<'a> {
    let at = MANDATORY.binary_search_by(|(other, _)| (*other).cmp(kind));
    let elements = at.ok().and_then(|at| MANDATORY.get(at));
    let elements = elements.map_or("", |(_, elements)| elements);
    elements.split_ascii_whitespace().filter(|&element| {
        !members
            .iter()
            .any(|member| match element.strip_suffix("[x]") {
                None => {
                    // `_status` has an extension that says why there is no value.
                    member == element || member.strip_prefix('_') == Some(element)
                }
                Some(open) => member
                    .strip_prefix(open)
                    .is_some_and(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase())),
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_r4_requires() {
        let missing = |kind: &str, members: &[&str]| {
            let members: Vec<String> = members.iter().map(|&member| member.to_owned()).collect();
            missing(kind, &members).collect::<Vec<_>>()
        };
        assert_eq!(
            missing("Observation", &["resourceType", "code"]),
            ["status"]
        );
        assert_eq!(missing("Observation", &["_status", "code"]), [""; 0]);
        let immunization = ["status", "vaccineCode", "patient", "occurrenceDateTime"];
        assert_eq!(missing("Immunization", &immunization), [""; 0]);
        assert_eq!(
            missing("Immunization", &immunization[..3]),
            ["occurrence[x]"]
        );
        assert_eq!(missing("Patient", &[]), [""; 0]);
        assert_eq!(missing("Smith", &[]), [""; 0]);
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(MANDATORY.is_sorted_by(|one, other| one.0 < other.0));
    }
}
