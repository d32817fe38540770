//! The elements of R4 that hold references and must be there: a record cannot be created without them.
//!
//! Derived from the `StructureDefinition`s of FHIR 4.0.1 (<https://hl7.org/fhir/R4/downloads.html>): all elements with a
//! minimum of 1 that are references or hold some, choices (`value[x]`) under the name that they have as a reference.

/// By type, as paths within it.
const REQUIRED: &[(&str, &str)] = &[
    ("Account", "coverage.coverage guarantor.party"),
    ("AdverseEvent", "subject suspectEntity.instance"),
    ("AllergyIntolerance", "patient"),
    ("Appointment", "participant"),
    ("AppointmentResponse", "appointment"),
    ("AuditEvent", "agent source source.observer"),
    ("BodyStructure", "patient"),
    ("CarePlan", "subject"),
    ("CatalogEntry", "referencedItem relatedEntry.item"),
    ("ChargeItem", "performer.actor subject"),
    (
        "Claim",
        "careTeam.provider diagnosis.diagnosisReference insurance insurance.coverage \
         patient procedure.procedureReference provider",
    ),
    ("ClaimResponse", "insurance.coverage insurer patient"),
    ("ClinicalImpression", "subject"),
    ("Communication", "payload.contentReference"),
    ("CommunicationRequest", "payload.contentReference"),
    (
        "Composition",
        "author relatesTo.targetIdentifier relatesTo.targetReference",
    ),
    ("Condition", "subject"),
    (
        "Consent",
        "provision.actor.reference provision.data.reference",
    ),
    (
        "Contract",
        "friendly.contentReference legal.contentReference rule.contentReference \
         signer.party signer.signature term.action.subject.reference term.offer \
         term.offer.answer.valueReference term.offer.party.reference",
    ),
    ("Coverage", "beneficiary payor"),
    (
        "CoverageEligibilityRequest",
        "insurance.coverage insurer patient supportingInfo.information",
    ),
    (
        "CoverageEligibilityResponse",
        "insurance.coverage insurer patient request",
    ),
    ("DeviceRequest", "codeReference subject"),
    ("DeviceUseStatement", "device subject"),
    ("DiagnosticReport", "media.link"),
    ("DocumentManifest", "content"),
    ("DocumentReference", "relatesTo.target"),
    (
        "EffectEvidenceSynthesis",
        "exposure exposureAlternative outcome population \
         resultsByExposure.riskEvidenceSynthesis",
    ),
    (
        "ElementDefinition",
        "example.valueAnnotation example.valueDataRequirement example.valueIdentifier \
         example.valueMeta example.valueReference example.valueSignature \
         example.valueTriggerDefinition example.valueUsageContext",
    ),
    ("Encounter", "diagnosis.condition location.location"),
    ("EpisodeOfCare", "diagnosis.condition patient"),
    ("EventDefinition", "trigger"),
    ("Evidence", "exposureBackground"),
    (
        "EvidenceVariable",
        "characteristic characteristic.definitionReference",
    ),
    (
        "ExplanationOfBenefit",
        "careTeam.provider diagnosis.diagnosisReference insurance insurance.coverage \
         insurer patient procedure.procedureReference provider",
    ),
    ("FamilyMemberHistory", "patient"),
    ("Flag", "subject"),
    ("Goal", "subject"),
    ("Group", "characteristic.valueReference member.entity"),
    ("ImagingStudy", "series.performer.actor subject"),
    ("Immunization", "patient performer.actor"),
    ("ImmunizationEvaluation", "immunizationEvent patient"),
    ("ImmunizationRecommendation", "patient recommendation"),
    (
        "ImplementationGuide",
        "definition.page.nameReference definition.resource definition.resource.reference \
         manifest.resource manifest.resource.reference",
    ),
    ("Invoice", "lineItem.chargeItemReference participant.actor"),
    ("Linkage", "item item.resource"),
    ("List", "entry.item"),
    ("Medication", "ingredient.itemReference"),
    (
        "MedicationAdministration",
        "medicationReference performer.actor subject",
    ),
    ("MedicationDispense", "medicationReference performer.actor"),
    (
        "MedicationKnowledge",
        "ingredient.itemReference regulatory.regulatoryAuthority \
         relatedMedicationKnowledge.reference",
    ),
    ("MedicationRequest", "medicationReference subject"),
    ("MedicationStatement", "medicationReference subject"),
    (
        "MedicinalProductContraindication",
        "otherTherapy.medicationReference",
    ),
    (
        "MedicinalProductIndication",
        "otherTherapy.medicationReference",
    ),
    ("MedicinalProductInteraction", "interactant.itemReference"),
    (
        "MedicinalProductPackaged",
        "batchIdentifier.outerPackaging packageItem",
    ),
    ("NutritionOrder", "patient"),
    ("Patient", "link.other"),
    ("PaymentNotice", "payment recipient"),
    ("Person", "link.target"),
    (
        "Procedure",
        "focalDevice.manipulated performer.actor subject",
    ),
    ("Provenance", "agent agent.who entity.what target"),
    (
        "Questionnaire",
        "item.answerOption.valueReference item.enableWhen.answerReference \
         item.initial.valueReference",
    ),
    ("RelatedPerson", "patient"),
    ("ResearchDefinition", "population"),
    (
        "ResearchElementDefinition",
        "characteristic characteristic.definitionDataRequirement",
    ),
    ("ResearchSubject", "individual study"),
    ("RiskAssessment", "subject"),
    ("RiskEvidenceSynthesis", "outcome population"),
    ("Schedule", "actor"),
    ("ServiceRequest", "subject"),
    ("Signature", "who"),
    ("Slot", "schedule"),
    (
        "SpecimenDefinition",
        "typeTested.container.additive.additiveReference",
    ),
    (
        "StructureDefinition",
        "differential.element snapshot.element",
    ),
    ("StructureMap", "group group.rule group.rule.source"),
    ("Substance", "ingredient.substanceReference"),
    ("SupplyRequest", "itemReference"),
    (
        "Task",
        "input.valueAnnotation input.valueDataRequirement input.valueIdentifier \
         input.valueMeta input.valueReference input.valueSignature \
         input.valueTriggerDefinition input.valueUsageContext output.valueAnnotation \
         output.valueDataRequirement output.valueIdentifier output.valueMeta \
         output.valueReference output.valueSignature output.valueTriggerDefinition \
         output.valueUsageContext",
    ),
    ("TestReport", "testScript"),
    ("UsageContext", "valueReference"),
    ("VerificationResult", "validator.organization"),
    ("VisionPrescription", "lensSpecification patient prescriber"),
];

/// Elements whose content is defined elsewhere: by another element of the same type, or by a data type of its own.
const DEFINED_BY: &[(&str, &str)] = &[
    ("Consent.provision.provision", "Consent.provision"),
    ("Contract.term.asset.answer", "Contract.term.offer.answer"),
    ("Contract.term.group", "Contract.term"),
    (
        "ImplementationGuide.definition.page.page",
        "ImplementationGuide.definition.page",
    ),
    ("Provenance.entity.agent", "Provenance.agent"),
    ("Questionnaire.item.item", "Questionnaire.item"),
    (
        "StructureDefinition.differential.element",
        "ElementDefinition",
    ),
    ("StructureDefinition.snapshot.element", "ElementDefinition"),
    ("StructureMap.group.rule.rule", "StructureMap.group.rule"),
];

/// Tells whether an element of R4 that holds references must be there. `holder` is what [`definition`] says of the
/// element that it stands in, or a resource type.
///
/// An extension has either a value or extensions (its invariant `ext-1`), so what it has must stay; what is contained is
/// referred to from within its record.
pub fn is_required(holder: &str, name: &str) -> bool {
    if name == "contained" {
        return true;
    }
    let (kind, path) = match holder.split_once('.') {
        Some((kind, path)) => (kind, Some(path)),
        None => (holder, None),
    };
    if kind == "Extension" {
        return name == "extension" || name.starts_with("value");
    }
    let Ok(at) = REQUIRED.binary_search_by(|(other, _)| (*other).cmp(kind)) else {
        return false;
    };
    let Some((_, paths)) = REQUIRED.get(at) else {
        return false;
    };
    paths.split(' ').any(|required| match path {
        None => required == name,
        Some(path) => required
            .strip_prefix(path)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| rest == name),
    })
}

/// Returns what defines the content of an element: a path such as `Patient.link`, or a type such as `Signature`.
pub fn definition(holder: &str, name: &str) -> String {
    if name == "extension" || name == "modifierExtension" {
        return "Extension".to_owned();
    }
    // Under whatever name, these types are the only ones of their kind that require a reference.
    for (ending, kind) in [
        ("ignature", "Signature"),
        ("seContext", "UsageContext"),
        ("sageContext", "UsageContext"),
    ] {
        if name.ends_with(ending) {
            return kind.to_owned();
        }
    }
    let path = format!("{holder}.{name}");
    let elsewhere = DEFINED_BY.iter().find(|(element, _)| *element == path);
    elsewhere.map_or(path, |(_, definition)| (*definition).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spot checks against the pages of R4, such as <https://hl7.org/fhir/R4/observation.html>.
    #[test]
    fn what_r4_requires() {
        let required = [
            ("Encounter.diagnosis", "condition"),
            ("Condition", "subject"),
            ("Claim", "insurance"),
            ("Claim.insurance", "coverage"),
            ("Patient.link", "other"),
            ("Provenance", "target"),
            ("MedicationRequest", "medicationReference"),
            ("Signature", "who"),
            ("Group.member", "entity"),
            ("Composition", "author"),
            ("Extension", "valueReference"),
            ("Questionnaire.item.enableWhen", "answerReference"),
            ("Patient", "contained"),
        ];
        for (holder, name) in required {
            assert!(is_required(holder, name), "{holder}.{name}");
        }
        let optional = [
            ("Observation", "subject"),
            ("Encounter", "subject"),
            ("Encounter", "diagnosis"),
            ("Patient", "link"),
            ("Patient", "managingOrganization"),
            ("Organization", "partOf"),
            ("Location", "partOf"),
            ("Procedure", "performer"),
            ("Condition", "subjects"),
            ("Nothing", "subject"),
            ("Patient", "extension"),
            ("Claim.insurance", "insurance"),
        ];
        for (holder, name) in optional {
            assert!(!is_required(holder, name), "{holder}.{name}");
        }
    }

    #[test]
    fn content_is_found_where_it_is_defined() {
        assert_eq!(definition("Patient", "link"), "Patient.link");
        assert_eq!(
            definition("Questionnaire.item", "item"),
            "Questionnaire.item"
        );
        assert_eq!(definition("Provenance", "signature"), "Signature");
        assert_eq!(
            definition("VerificationResult.attestation", "proxySignature"),
            "Signature"
        );
        assert_eq!(definition("Library", "useContext"), "UsageContext");
        assert_eq!(definition("Patient.name", "extension"), "Extension");
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(REQUIRED.is_sorted_by(|one, other| one.0 < other.0));
    }
}
