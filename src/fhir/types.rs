//! The resource types of FHIR: those of R4, those that other versions have beside them, and the shape of such a name.
//!
//! The types that a target takes are a fact of the target; these lists stand in where a target does not say.

/// The 146 concrete types, sorted (<https://hl7.org/fhir/R4/valueset-resource-types.html>; `Resource` and
/// `DomainResource` are abstract).
pub const RESOURCE_TYPES: [&str; 146] = [
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

/// Types that R4 does not have and another version does, sorted: DSTU2, STU3, R4B, R5, and what R6 adds
/// (<https://hl7.org/fhir/directory.html>).
const OF_OTHER_VERSIONS: [&str; 56] = [
    "ActorDefinition",
    "AdministrableProductDefinition",
    "ArtifactAssessment",
    "BiologicallyDerivedProductDispense",
    "BodySite",
    "Citation",
    "ClinicalUseDefinition",
    "ConditionDefinition",
    "Conformance",
    "DataElement",
    "DeviceAlert",
    "DeviceAssociation",
    "DeviceComponent",
    "DeviceDispense",
    "DeviceUsage",
    "DeviceUseRequest",
    "DiagnosticOrder",
    "EligibilityRequest",
    "EligibilityResponse",
    "EncounterHistory",
    "EvidenceReport",
    "ExpansionProfile",
    "FormularyItem",
    "GenomicStudy",
    "ImagingManifest",
    "ImagingObjectSelection",
    "ImagingSelection",
    "Ingredient",
    "InsuranceProduct",
    "InventoryItem",
    "InventoryReport",
    "ManufacturedItemDefinition",
    "MedicationOrder",
    "MedicinalProductDefinition",
    "MolecularDefinition",
    "NutritionIntake",
    "NutritionProduct",
    "Order",
    "OrderResponse",
    "PackagedProductDefinition",
    "Permission",
    "PersonalRelationship",
    "ProcedureRequest",
    "ProcessRequest",
    "ProcessResponse",
    "ReferralRequest",
    "RegulatedAuthorization",
    "RequestOrchestration",
    "Requirements",
    "Sequence",
    "ServiceDefinition",
    "SubscriptionStatus",
    "SubscriptionTopic",
    "SubstanceDefinition",
    "TestPlan",
    "Transport",
];

/// The longest name that is believed to be one of a type; FHIR's longest has 33 letters.
const LONGEST_NAME: usize = 64;

/// Tells whether `name` is a concrete resource type of R4.
pub fn is_resource_type(name: &str) -> bool {
    RESOURCE_TYPES.binary_search(&name).is_ok()
}

/// Tells whether `name` is a resource type of any version of FHIR, so that it may be shown.
pub fn is_known_type(name: &str) -> bool {
    is_resource_type(name) || OF_OTHER_VERSIONS.binary_search(&name).is_ok()
}

/// Tells whether `name` could be a resource type: of a version to come, or one that a server made up.
pub fn has_type_shape(name: &str) -> bool {
    (2..=LONGEST_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_searched() {
        assert!(RESOURCE_TYPES.is_sorted());
        assert!(RESOURCE_TYPES.iter().all(|name| is_resource_type(name)));
        for other in [
            "",
            "patient",
            "Resource",
            "DomainResource",
            "Patients",
            "BodySite",
        ] {
            assert!(!is_resource_type(other), "{other}");
        }
        assert!(OF_OTHER_VERSIONS.is_sorted());
        for other in OF_OTHER_VERSIONS {
            assert!(!is_resource_type(other), "{other} is one of R4's");
        }
    }

    #[test]
    fn types_of_other_versions_are_types() {
        for name in ["Patient", "SubscriptionTopic", "BodySite", "DeviceAlert"] {
            assert!(is_known_type(name) && has_type_shape(name), "{name}");
        }
        // A server's own: it may be one, and nobody knows.
        assert!(has_type_shape("ClientApplication") && !is_known_type("ClientApplication"));
        for name in [
            "",
            "P",
            "patient",
            "Anna Smith",
            "Müller",
            "P4711",
            "Patient/1",
        ] {
            assert!(!has_type_shape(name), "{name}");
        }
    }
}
