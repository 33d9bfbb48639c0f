"""The rights of each role: of a tenant's on resource types, of a vendor's on the vendor's records. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from hilum.identity.people.models import Role, VendorRight, VendorRole

# Directories and definitions, which belong to no patient.
_SHARED = [
    "Organization",
    "Practitioner",
    "PractitionerRole",
    "Location",
    "HealthcareService",
    "Endpoint",
    "Medication",
    "Substance",
    "Questionnaire",
    "PlanDefinition",
    "ActivityDefinition",
    "ValueSet",
    "CodeSystem",
]
# The types of a patient's clinical record.
_RECORD = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "ClinicalImpression",
    "Communication",
    "CommunicationRequest",
    "Composition",
    "Condition",
    "Consent",
    "DetectedIssue",
    "Device",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "EpisodeOfCare",
    "FamilyMemberHistory",
    "Flag",
    "Goal",
    "ImagingStudy",
    "Immunization",
    "ImmunizationRecommendation",
    "List",
    "Media",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "NutritionOrder",
    "Observation",
    "Procedure",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RiskAssessment",
    "ServiceRequest",
    "Specimen",
    "Task",
]
_ADMINISTRATIVE = ["Account", "Appointment", "AppointmentResponse", "Coverage", "Schedule", "Slot"]
_PAYMENT = ["ClaimResponse", "CoverageEligibilityResponse", "ExplanationOfBenefit"]
# A Claim with use "preauthorization" asks an insurer beforehand whether it covers care.
_PAYER_REQUESTS = ["Claim", "CoverageEligibilityRequest"]


def _table(*parts: tuple[str, list[str]], **single: str) -> Mapping[str, str]:
    table = {resource_type: letters for letters, types in parts for resource_type in types}
    return MappingProxyType(table | single)


RIGHTS: Mapping[Role, Mapping[str, str]] = MappingProxyType(
    {
        Role.PHYSICIAN: _table(
            ("rs", _SHARED),
            ("crus", _RECORD),
            ("crus", _ADMINISTRATIVE),
            ("rs", _PAYMENT),
            ("crus", _PAYER_REQUESTS),
            Patient="crus",
            Provenance="crs",
            Binary="cr",
            RequestGroup="crus",
            VisionPrescription="crus",
            Group="rs",
            Basic="crus",
            MedicationRequest="cruds",
            ServiceRequest="cruds",
            Task="cruds",
            Appointment="cruds",
            QuestionnaireResponse="cruds",
            Observation="cruds",
        ),
        Role.NURSE: _table(
            ("rs", _SHARED),
            ("rs", _RECORD),
            ("rs", _ADMINISTRATIVE),
            Patient="rus",
            Provenance="crs",
            Binary="r",
            Group="rs",
            Observation="crus",
            MedicationAdministration="crus",
            Immunization="crus",
            CarePlan="crus",
            Goal="crus",
            Task="crus",
            Communication="crus",
            QuestionnaireResponse="crus",
            Specimen="crus",
            Flag="crus",
            AllergyIntolerance="crus",
            Appointment="crus",
        ),
        Role.ANALYST: _table(
            ("rs", _SHARED),
            Patient="rs",
            Group="rs",
            Encounter="rs",
            Condition="rs",
            Observation="rs",
            Procedure="rs",
            Immunization="rs",
            MedicationRequest="rs",
            DiagnosticReport="rs",
            Coverage="rs",
            ExplanationOfBenefit="rs",
        ),
        Role.ADMINISTRATOR: _table(
            (
                "rs",
                [
                    "Organization",
                    "Practitioner",
                    "PractitionerRole",
                    "Location",
                    "HealthcareService",
                    "Endpoint",
                ],
            ),
        ),
        Role.FRONT_DESK: _table(
            (
                "rs",
                [
                    "Organization",
                    "Practitioner",
                    "PractitionerRole",
                    "Location",
                    "HealthcareService",
                    "Encounter",
                ],
            ),
            ("crus", ["Patient", "RelatedPerson", "Coverage", "Account"]),
            ("cruds", ["Appointment", "AppointmentResponse"]),
            ("rs", ["Schedule", "Slot", "Questionnaire"]),
            ("crus", _PAYER_REQUESTS),
            QuestionnaireResponse="cr",
        ),
        Role.PATIENT: _table(
            ("rs", _SHARED),
            ("rs", _RECORD),
            ("rs", _ADMINISTRATIVE),
            ("rs", [*_PAYMENT, *_PAYER_REQUESTS]),
            Patient="rs",
            Provenance="rs",
            Binary="r",
            Observation="crs",
            QuestionnaireResponse="crs",
            Communication="crs",
            Appointment="crus",
            AppointmentResponse="crs",
        ),
    }
)
"""Role -> resource type -> letters c r u d s. Anything not listed is not permitted."""

_ALL_RIGHTS = frozenset(VendorRight)
VENDOR_RIGHTS: Mapping[VendorRole, frozenset[VendorRight]] = MappingProxyType(
    {
        VendorRole.OWNER: _ALL_RIGHTS,
        VendorRole.DEVELOPER: frozenset({VendorRight.APPS, VendorRight.SECRETS}),
        # Only reads.
        VendorRole.BILLING: frozenset(),
        # Can replace a leaked secret, but not widen what the client may do.
        VendorRole.SECURITY: frozenset({VendorRight.SECRETS, VendorRight.SECURITY_CONTACTS}),
    }
)
"""What each role of a vendor's members may do with its records. Every member may read them."""
