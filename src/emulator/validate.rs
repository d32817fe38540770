//! What a body must be before it is kept: JSON, an object, of a known type that fits the request.

use super::error::Failure;
use http::StatusCode;
use serde_json::Value;

/// The resource types of FHIR R4 (<https://hl7.org/fhir/R4/resourcelist.html>), in order.
const TYPES: &[&str] = &[
    "Account",
    "ActivityDefinition",
    "AdverseEvent",
    "AllergyIntolerance",
    "Appointment",
    "AppointmentResponse",
    "AuditEvent",
    "Basic",
    "Binary",
    "BiologicallyDerivedProduct",
    "BodyStructure",
    "Bundle",
    "CapabilityStatement",
    "CarePlan",
    "CareTeam",
    "CatalogEntry",
    "ChargeItem",
    "ChargeItemDefinition",
    "Claim",
    "ClaimResponse",
    "ClinicalImpression",
    "CodeSystem",
    "Communication",
    "CommunicationRequest",
    "CompartmentDefinition",
    "Composition",
    "ConceptMap",
    "Condition",
    "Consent",
    "Contract",
    "Coverage",
    "CoverageEligibilityRequest",
    "CoverageEligibilityResponse",
    "DetectedIssue",
    "Device",
    "DeviceDefinition",
    "DeviceMetric",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentManifest",
    "DocumentReference",
    "EffectEvidenceSynthesis",
    "Encounter",
    "Endpoint",
    "EnrollmentRequest",
    "EnrollmentResponse",
    "EpisodeOfCare",
    "EventDefinition",
    "Evidence",
    "EvidenceVariable",
    "ExampleScenario",
    "ExplanationOfBenefit",
    "FamilyMemberHistory",
    "Flag",
    "Goal",
    "GraphDefinition",
    "Group",
    "GuidanceResponse",
    "HealthcareService",
    "ImagingStudy",
    "Immunization",
    "ImmunizationEvaluation",
    "ImmunizationRecommendation",
    "ImplementationGuide",
    "InsurancePlan",
    "Invoice",
    "Library",
    "Linkage",
    "List",
    "Location",
    "Measure",
    "MeasureReport",
    "Media",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationKnowledge",
    "MedicationRequest",
    "MedicationStatement",
    "MedicinalProduct",
    "MedicinalProductAuthorization",
    "MedicinalProductContraindication",
    "MedicinalProductIndication",
    "MedicinalProductIngredient",
    "MedicinalProductInteraction",
    "MedicinalProductManufactured",
    "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect",
    "MessageDefinition",
    "MessageHeader",
    "MolecularSequence",
    "NamingSystem",
    "NutritionOrder",
    "Observation",
    "ObservationDefinition",
    "OperationDefinition",
    "OperationOutcome",
    "Organization",
    "OrganizationAffiliation",
    "Parameters",
    "Patient",
    "PaymentNotice",
    "PaymentReconciliation",
    "Person",
    "PlanDefinition",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
    "Questionnaire",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RequestGroup",
    "ResearchDefinition",
    "ResearchElementDefinition",
    "ResearchStudy",
    "ResearchSubject",
    "RiskAssessment",
    "RiskEvidenceSynthesis",
    "Schedule",
    "SearchParameter",
    "ServiceRequest",
    "Slot",
    "Specimen",
    "SpecimenDefinition",
    "StructureDefinition",
    "StructureMap",
    "Subscription",
    "Substance",
    "SubstanceNucleicAcid",
    "SubstancePolymer",
    "SubstanceProtein",
    "SubstanceReferenceInformation",
    "SubstanceSourceMaterial",
    "SubstanceSpecification",
    "SupplyDelivery",
    "SupplyRequest",
    "Task",
    "TerminologyCapabilities",
    "TestReport",
    "TestScript",
    "ValueSet",
    "VerificationResult",
    "VisionPrescription",
];

/// The types, in order.
pub(super) fn types() -> &'static [&'static str] {
    TYPES
}

/// Refuses a type FHIR R4 does not have.
pub(super) fn kind(kind: &str) -> Result<(), Failure> {
    if TYPES.binary_search(&kind).is_ok() {
        Ok(())
    } else {
        Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "not-supported",
            "bad_resource_type",
            format!("unsupported resource type: {kind}"),
        ))
    }
}

/// Refuses what is no FHIR id (`[A-Za-z0-9\-\.]{1,64}`).
pub(super) fn id(id: &str) -> Result<(), Failure> {
    let fits = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if fits {
        Ok(())
    } else {
        Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "value",
            "invalid_id",
            "invalid Id format",
        ))
    }
}

/// The JSON of a body: one value of at most 128 levels (the parser's own limit), nothing after it.
pub(super) fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::unparseable(format!("invalid JSON: {error}")))
}

/// Refuses a value that is no resource of a known type, or not of the type `wanted`.
pub(super) fn resource(value: &Value, wanted: Option<&str>) -> Result<String, Failure> {
    let Value::Object(object) = value else {
        return Err(Failure::unparseable(
            "invalid JSON: a resource is an object",
        ));
    };
    let found = match object.get("resourceType") {
        None => {
            return Err(Failure::unparseable(
                "missing required field \"resourceType\"",
            ));
        }
        Some(Value::String(found)) => found,
        Some(_) => return Err(Failure::unparseable("invalid resource type")),
    };
    if TYPES.binary_search(&found.as_str()).is_err() {
        return Err(Failure::unparseable(format!(
            "unknown resource type: {found:?}"
        )));
    }
    if let Some(wanted) = wanted
        && wanted != found
    {
        return Err(Failure::fhir(
            StatusCode::BAD_REQUEST,
            "structure",
            "resource_mismatch",
            format!(
                "resource type mismatch, type of specified resource: {wanted}, type from payload: {found}"
            ),
        ));
    }
    if object
        .get("meta")
        .is_some_and(|meta| !meta.is_object() && !meta.is_null())
    {
        return Err(Failure::unparseable(
            "error at \"meta\": invalid value (expected a Meta object)",
        ));
    }
    match object.get("id") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => id(text)?,
        Some(_) => return Err(Failure::unparseable("error at \"id\": expected ID")),
    }
    Ok(found.clone())
}
