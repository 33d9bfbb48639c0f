"""Plain descriptions of resource types, categories and special scopes, for consent pages. Data only.

Each type: (title, content, sensitive). Titles are written to follow "See" and "Change".
"""

TYPES: dict[str, tuple[str, str, bool]] = {
    "Patient": ("personal details", "Name, date of birth, address, contacts.", False),
    "Account": ("accounts", "What care was charged to which account.", False),
    "AdverseEvent": ("unwanted events", "Harm, or near misses, during care.", True),
    "AllergyIntolerance": (
        "allergies",
        "Substances that are not tolerated, and how severe the reaction is.",
        False,
    ),
    "Appointment": ("appointments", "Visits that are planned or were held.", False),
    "AppointmentResponse": ("answers to appointments", "Who accepted or declined a visit.", False),
    "BodyStructure": ("body sites", "Places on the body that care refers to.", False),
    "CarePlan": ("care plans", "What care is planned, and why.", False),
    "CareTeam": ("care team", "Who takes part in the care.", False),
    "ChargeItem": ("charges", "Single charges for care.", False),
    "Claim": ("claims", "Bills sent to an insurer.", True),
    "ClaimResponse": ("answers to claims", "What an insurer decided on a bill.", True),
    "ClinicalImpression": ("clinical impressions", "What clinicians concluded, and from what.", True),
    "Communication": ("messages", "Messages between people involved in the care.", True),
    "CommunicationRequest": ("requests for messages", "What should be communicated, and to whom.", True),
    "Composition": ("composed documents", "Structure and text of clinical documents.", True),
    "Condition": ("health problems", "Diagnoses, problems and health concerns.", True),
    "Consent": ("consents", "What was agreed or refused about care and sharing.", True),
    "Coverage": ("insurance", "Who pays for care, with membership numbers.", False),
    "CoverageEligibilityRequest": ("insurance questions", "Questions sent to an insurer.", False),
    "CoverageEligibilityResponse": ("insurance answers", "What an insurer says it covers.", False),
    "DetectedIssue": ("detected issues", "Possible conflicts, for example between medicines.", True),
    "Device": ("devices and implants", "Implants and devices, with serial numbers.", False),
    "DeviceRequest": ("orders of devices", "Devices that were ordered.", False),
    "DeviceUseStatement": ("use of devices", "Which devices are used, and since when.", False),
    "DiagnosticReport": (
        "test reports",
        "Reports of laboratory tests, imaging and other examinations.",
        True,
    ),
    "DocumentManifest": ("sets of documents", "Which documents belong together.", True),
    "DocumentReference": (
        "documents and notes",
        "Clinical notes and other documents, with their text.",
        True,
    ),
    "Encounter": ("visits", "Visits and stays: when, where and why.", False),
    "EpisodeOfCare": (
        "episodes of care",
        "Periods in which a clinician was responsible for the care.",
        False,
    ),
    "ExplanationOfBenefit": ("insurance statements", "What was billed, paid and owed, with diagnoses.", True),
    "FamilyMemberHistory": ("family history", "Health problems of relatives.", True),
    "Flag": ("warnings", "Warnings shown when the record is opened.", True),
    "Goal": ("goals", "What the care is meant to achieve.", False),
    "GuidanceResponse": ("advice by software", "What decision support advised.", False),
    "ImagingStudy": ("imaging studies", "X-ray, CT, MRI and similar images.", True),
    "Immunization": ("vaccinations", "Vaccines given, refused or missed.", False),
    "ImmunizationEvaluation": ("checks of vaccinations", "Whether a dose counts.", False),
    "ImmunizationRecommendation": ("vaccinations due", "Which vaccines are recommended, and when.", False),
    "Invoice": ("invoices", "Bills for care.", False),
    "List": ("lists", "Lists kept in the record, for example of problems or medicines.", True),
    "MeasureReport": ("quality measures", "Results of quality measures.", False),
    "Media": ("photos and recordings", "Photos, videos and sound taken for care.", True),
    "MedicationAdministration": ("medicines given", "Which medicine was given, when and how much.", True),
    "MedicationDispense": ("medicines handed out", "What a pharmacy handed out.", True),
    "MedicationRequest": ("prescriptions", "Medicines prescribed or planned.", True),
    "MedicationStatement": ("medicines taken", "Medicines reported as taken.", True),
    "MolecularSequence": ("genetic data", "Gene sequences and their variants.", True),
    "NutritionOrder": ("diets", "Diets and supplements that were ordered.", False),
    "Observation": (
        "measurements and findings",
        "Vital signs, laboratory values, answers and other findings.",
        True,
    ),
    "Procedure": ("procedures", "Operations, examinations and treatments.", True),
    "QuestionnaireResponse": ("answers to questionnaires", "Forms that were filled in.", True),
    "RelatedPerson": ("relatives and contacts", "Relatives, guardians and other contacts.", False),
    "RequestGroup": ("groups of orders", "Orders that belong together.", False),
    "ResearchSubject": ("studies", "Research studies you take part in.", True),
    "RiskAssessment": ("risks", "How likely an illness or outcome is thought to be.", True),
    "ServiceRequest": ("orders and referrals", "Tests, treatments and referrals that were requested.", True),
    "Specimen": ("samples", "Samples taken for tests.", False),
    "SupplyDelivery": ("supplies", "Supplies that were delivered.", False),
    "Task": ("tasks", "Work to be done for the care.", False),
    "VisionPrescription": (
        "glasses and lenses",
        "Prescriptions for glasses and contact lenses.",
        False,
    ),
    "Provenance": ("history of entries", "Who wrote an entry, and when.", False),
    "Binary": ("attached files", "Files that belong to documents and reports.", True),
    "Group": ("groups of patients", "Lists of many patients.", True),
    "Organization": ("organizations", "Hospitals, practices, insurers.", False),
    "Practitioner": ("clinicians", "Names and roles of clinicians.", False),
    "PractitionerRole": ("roles of clinicians", "Where clinicians work, and as what.", False),
    "Location": ("places", "Wards, rooms and other places.", False),
    "Medication": ("medicine details", "What a medicine consists of.", False),
    "HealthcareService": ("services", "Services that are offered.", False),
    "Endpoint": ("technical addresses", "Where other systems can be reached.", False),
    "Questionnaire": ("questionnaires", "Empty forms.", False),
    "Slot": ("free times", "When appointments can be made.", False),
}

_CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
_US_CONDITION = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
_OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
_US_CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"

CATEGORIES: dict[str, tuple[tuple[str, str], ...]] = {
    "Condition": (
        (f"{_CONDITION}|problem-list-item", "the problem list"),
        (f"{_CONDITION}|encounter-diagnosis", "diagnoses made at visits"),
        (f"{_US_CONDITION}|health-concern", "health concerns"),
    ),
    "Observation": (
        (f"{_OBSERVATION}|vital-signs", "vital signs"),
        (f"{_OBSERVATION}|laboratory", "laboratory values"),
        (f"{_OBSERVATION}|procedure", "results of clinical tests"),
        (f"{_OBSERVATION}|survey", "answers to surveys and assessments"),
        (f"{_OBSERVATION}|social-history", "social history, such as smoking"),
        (f"{_US_CATEGORY}|sdoh", "living conditions, such as housing and food"),
    ),
}
"""By type: ``system|code`` and description. Source: US Core 6.1.0, scopes; the granular scopes that ONC (g)(10) requires."""

TOPICS: dict[str, tuple[str, frozenset[str]]] = {
    "person": ("About the person", frozenset({"Patient", "RelatedPerson", "FamilyMemberHistory", "Consent"})),
    "health": (
        "Health problems",
        frozenset(
            {"AllergyIntolerance", "ClinicalImpression", "Condition", "DetectedIssue", "Flag", "AdverseEvent"}
            | {"RiskAssessment", "BodyStructure"}
        ),
    ),
    "medicines": (
        "Medicines and vaccinations",
        frozenset(
            {"Medication", "MedicationAdministration", "MedicationDispense", "MedicationRequest"}
            | {"MedicationStatement", "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation"}
            | {"NutritionOrder"}
        ),
    ),
    "results": (
        "Tests and measurements",
        frozenset(
            {"Observation", "DiagnosticReport", "ImagingStudy", "Media", "MolecularSequence", "Specimen"}
            | {"Procedure"}
        ),
    ),
    "care": (
        "Visits, plans and orders",
        frozenset(
            {"Appointment", "AppointmentResponse", "CarePlan", "CareTeam", "Encounter", "EpisodeOfCare"}
            | {
                "Goal",
                "RequestGroup",
                "ServiceRequest",
                "Slot",
                "Task",
                "DeviceRequest",
                "VisionPrescription",
            }
        ),
    ),
    "documents": (
        "Documents, messages and forms",
        frozenset(
            {"Communication", "CommunicationRequest", "Composition", "DocumentManifest", "DocumentReference"}
            | {"List", "Questionnaire", "QuestionnaireResponse", "Provenance"}
        ),
    ),
    "money": (
        "Insurance and bills",
        frozenset(
            {"Account", "ChargeItem", "Claim", "ClaimResponse", "Coverage", "CoverageEligibilityRequest"}
            | {"CoverageEligibilityResponse", "ExplanationOfBenefit", "Invoice"}
        ),
    ),
    "hospital": (
        "The hospital and its people",
        frozenset(
            {"Endpoint", "HealthcareService", "Location", "Organization", "Practitioner", "PractitionerRole"}
        ),
    ),
}
"""Headings of a long consent page: key, title and resource types. Other types stand under OTHER_TOPIC."""
OTHER_TOPIC = ("other", "Everything else")

SPECIAL: dict[str, tuple[str, str]] = {
    "openid": ("Know who you are", "The app learns a stable identifier for you."),
    "fhirUser": ("Read your own entry", "The app may read your own name and role here."),
    "launch": ("Know what is open", "The app learns which patient and visit the EHR has open."),
    "launch/patient": ("Know which patient is chosen", "The app learns whose record you chose."),
    "launch/encounter": ("Know which visit is chosen", "The app learns which visit you chose."),
    "offline_access": (
        "Keep access when you are away",
        "The app may keep using its access until you remove it.",
    ),
    "online_access": ("Keep access while you are signed in", "The app's access ends with your session."),
    "hilum/launch": ("Open apps", "The system may open apps for people who work in it."),
}
