//! From parts to settings: the run and the loads, with defaults filled in. Targets are `target`'s.

use std::{collections::BTreeMap, path::Path};

use super::{
    FilePattern, Identity, LoadSettings, Manifest, MaxErrors, Missing, RunSettings, Sync, check,
    document::{Entry, Node, Spot, Value},
    read::{Parts, over},
    reader::{Reader, Text, get, nearest},
    schema, target,
};
use crate::{diagnostic::Diagnostic, record::Interaction, unit::ByteSize};

/// Bodies in flight or waiting: the design's budget (§3).
const DEFAULT_MEMORY: ByteSize = ByteSize(64_000_000);

/// The longest name: a run's directory is named after the manifest and a time, and file systems end at 255 bytes.
const MAX_NAME: usize = 100;

const INTERACTIONS: [(&str, Interaction); 4] = [
    ("create", Interaction::Create),
    ("update", Interaction::Update),
    ("conditional-create", Interaction::ConditionalCreate),
    ("conditional-update", Interaction::ConditionalUpdate),
];

/// A load with the places that rules across loads point at.
pub(super) struct Draft {
    pub(super) settings: LoadSettings,
    pub(super) name: Option<Text>,
    pub(super) spot: Spot,
    pub(super) target: Option<Text>,
    pub(super) after: Vec<Text>,
}

/// Resolves everything. The result counts only if the reader has noted no error.
pub(super) fn manifest(reader: &mut Reader<'_>, parts: &Parts, path: &Path) -> Manifest {
    let name = get(&parts.root, "name")
        .and_then(|node| self::name(reader, "name", node))
        .map_or_else(|| name_of_file(path), |name| name.value);
    let run = run(reader, &parts.root);
    // Defaults are read once by themselves, so that a wrong one is found even where every target sets its own.
    target::settings_of_defaults(reader, &parts.target_defaults);
    load_basics(reader, &parts.load_defaults);
    let targets: Vec<_> = parts
        .targets
        .iter()
        .filter_map(|entry| target::settings(reader, entry, &parts.target_defaults))
        .collect();
    let drafts: Vec<_> = parts
        .loads
        .iter()
        .filter_map(|node| load(reader, node, &parts.load_defaults))
        .collect();
    let loads = check::loads(reader, parts, drafts);
    Manifest {
        name,
        path: path.to_owned(),
        targets,
        loads,
        run,
    }
}

/// Reads a name: what may also name a file.
pub(super) fn name(reader: &mut Reader<'_>, key: &str, node: &Node) -> Option<Text> {
    let text = reader.text(key, node)?;
    match unfit(&text.value) {
        None => Some(text),
        Some(why) => {
            let message = format!("`{}` cannot be a name: {why}", text.written);
            reader.report(text.spot, Diagnostic::error(message));
            None
        }
    }
}

/// Says why a text cannot be a name.
pub(super) fn unfit(name: &str) -> Option<String> {
    if name.chars().count() > MAX_NAME {
        Some(format!("it is longer than {MAX_NAME} characters"))
    } else if name.contains(['/', '\\']) {
        Some("it holds a slash, and files are named after it".to_owned())
    } else if name.chars().any(char::is_control) {
        Some("it holds a line break or another control character".to_owned())
    } else if name.trim().is_empty() || name == "." || name == ".." {
        Some("files are named after it".to_owned())
    } else {
        None
    }
}

fn name_of_file(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    match unfit(&name) {
        None => name,
        Some(_) => "manifest".to_owned(),
    }
}

fn run(reader: &mut Reader<'_>, root: &[Entry]) -> RunSettings {
    let journal = get(root, "journal")
        .and_then(|node| reader.map("journal", node, Some(schema::Journal::KEYS)))
        .and_then(|journal| get(journal, "sync"))
        .and_then(|node| {
            let words = [
                ("none", Sync::None),
                ("group", Sync::Group),
                ("always", Sync::Always),
            ];
            reader.word("sync", node, &words)
        });
    RunSettings {
        max_errors: get(root, "max_errors").and_then(|node| max_errors(reader, node)),
        state: get(root, "state").and_then(|node| reader.path("state", node)),
        journal: journal.unwrap_or_default(),
        memory: get(root, "memory")
            .and_then(|node| {
                let size = reader.unit("memory", node, str::parse::<ByteSize>)?;
                if size.0 == 0 {
                    let message = "`memory` must be more than nothing";
                    reader.report(node.spot, Diagnostic::error(message).hint("write `64 MB`"));
                }
                Some(size)
            })
            .unwrap_or(DEFAULT_MEMORY),
    }
}

fn max_errors(reader: &mut Reader<'_>, node: &Node) -> Option<MaxErrors> {
    let text = match &node.value {
        Value::Number(number) => number.to_string(),
        _ => reader.text("max_errors", node)?.value,
    };
    let text = text.trim();
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent
            .trim()
            .parse()
            .ok()
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(MaxErrors::Percent),
        None => text.parse().ok().map(MaxErrors::Count),
    };
    if parsed.is_none() {
        let message = "`max_errors` must be a number of records or a percentage";
        let hint = "write `100` or `2%`";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    parsed
}

/// What a load and the defaults of loads share.
struct Basics {
    target: Option<Text>,
    interaction: Option<Interaction>,
    identity: Identity,
    compare: bool,
}

fn load_basics(reader: &mut Reader<'_>, entries: &[Entry]) -> Basics {
    Basics {
        target: get(entries, "target").and_then(|node| reader.text("target", node)),
        interaction: get(entries, "interaction")
            .and_then(|node| reader.word("interaction", node, &INTERACTIONS)),
        identity: get(entries, "identity")
            .and_then(|node| identity(reader, node))
            .unwrap_or_default(),
        compare: get(entries, "compare")
            .and_then(|node| reader.boolean("compare", node))
            .unwrap_or(false),
    }
}

fn load(reader: &mut Reader<'_>, node: &Node, defaults: &[Entry]) -> Option<Draft> {
    let own = reader.map("load", node, Some(schema::Load::KEYS))?;
    let entries = over(own, defaults);
    let name = if let Some(node) = get(own, "name") {
        self::name(reader, "name", node)
    } else {
        reader.report_missing("the load", node.spot, "name");
        None
    };
    let what = match &name {
        Some(name) => format!("the load `{}`", name.written),
        None => "the load".to_owned(),
    };
    let basics = load_basics(reader, &entries);
    let after = get(own, "after").map_or_else(Vec::new, |node| reader.texts("after", node));
    let files = if let Some(node) = get(own, "files") {
        files(reader, node)
    } else {
        let spot = name.as_ref().map_or(node.spot, |name| name.spot);
        reader.report_missing(&what, spot, "files");
        Vec::new()
    };
    if let Some(interaction) = basics.interaction {
        let conditional = matches!(
            interaction,
            Interaction::ConditionalCreate | Interaction::ConditionalUpdate
        );
        let spot = get(&entries, "interaction").map_or(node.spot, |node| node.spot);
        if conditional && get(&entries, "identity").is_none() {
            reader.report(
                spot,
                Diagnostic::error(format!("`{interaction}` needs `identity`")).hint(
                    "name the identifier systems: `identity: { Patient: [\"https://clinic.example/mrn\"] }`",
                ),
            );
        }
        if let Some(identity) = own
            .iter()
            .find(|entry| entry.key == "identity" && !conditional)
        {
            reader.report(
                identity.key_spot,
                Diagnostic::warning(format!("`identity` has no effect with `{interaction}`"))
                    .hint("use `conditional-create` or `conditional-update`, or leave it out"),
            );
        }
        let updates = matches!(
            interaction,
            Interaction::Update | Interaction::ConditionalUpdate
        );
        if basics.compare
            && !updates
            && let Some(compare) = own.iter().find(|entry| entry.key == "compare")
        {
            reader.report(
                compare.key_spot,
                Diagnostic::warning(format!("`compare` has no effect with `{interaction}`"))
                    .hint("it compares before an `update`; leave it out"),
            );
        }
    }
    Some(Draft {
        settings: LoadSettings {
            name: name
                .as_ref()
                .map_or_else(String::new, |name| name.value.clone()),
            target: String::new(),
            after: after.iter().map(|name| name.value.clone()).collect(),
            files,
            interaction: basics.interaction,
            identity: basics.identity,
            compare: basics.compare,
        },
        spot: name.as_ref().map_or(node.spot, |name| name.spot),
        name,
        target: basics.target,
        after,
    })
}

fn files(reader: &mut Reader<'_>, node: &Node) -> Vec<FilePattern> {
    let mut patterns: Vec<FilePattern> = Vec::new();
    for text in reader.texts("files", node) {
        reader.warn_of_tilde(&text);
        let (pattern, exclude) = match text.value.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (text.value.as_str(), false),
        };
        if pattern.is_empty() || (exclude && pattern == "-") {
            let message = format!("`{}` is not a pattern", text.written);
            let hint =
                "write a glob such as `data/**/*.json`, or `!` and a glob to leave files out";
            reader.report(text.spot, Diagnostic::error(message).hint(hint));
            continue;
        }
        patterns.push(FilePattern {
            pattern: pattern.to_owned(),
            exclude,
            folder: reader.folder(text.spot).to_owned(),
            place: (
                reader.file(text.spot).to_owned(),
                text.spot.line,
                text.spot.column,
            ),
        });
    }
    if !patterns.is_empty() && patterns.iter().all(|pattern| pattern.exclude) {
        let message = "`files` only takes files away, so that none is left";
        let hint = "add a pattern without `!` before them";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    patterns
}

fn identity(reader: &mut Reader<'_>, node: &Node) -> Option<Identity> {
    let mut identity = Identity::default();
    let entries = reader.map("identity", node, None)?;
    let mut systems = BTreeMap::new();
    for entry in entries {
        if entry.key == "missing" {
            let words = [("create", Missing::Create), ("refuse", Missing::Refuse)];
            identity.missing = reader
                .word("missing", &entry.node, &words)
                .unwrap_or_default();
        } else if R4_RESOURCE_TYPES.contains(&entry.key.as_str()) {
            let texts = reader.texts(&entry.key, &entry.node);
            systems.insert(
                entry.key.clone(),
                texts.into_iter().map(|text| text.value).collect(),
            );
        } else {
            let mut diagnostic =
                Diagnostic::error(format!("{:?} is not a resource type of FHIR R4", entry.key));
            let known = R4_RESOURCE_TYPES.iter().copied().chain(["missing"]);
            if let Some(near) = nearest(&entry.key, known) {
                diagnostic = diagnostic.hint(format!("did you mean {near:?}?"));
            }
            reader.report(entry.key_spot, diagnostic);
        }
    }
    if entries.iter().all(|entry| entry.key == "missing") {
        let message = "`identity` names no resource type";
        let hint = "write `identity: { Patient: [\"https://clinic.example/mrn\"] }`";
        reader.report(node.spot, Diagnostic::error(message).hint(hint));
    }
    identity.systems = systems;
    Some(identity)
}

/// The concrete resource types of FHIR R4 (<https://hl7.org/fhir/R4/resourcelist.html>).
pub(super) const R4_RESOURCE_TYPES: [&str; 146] = [
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
