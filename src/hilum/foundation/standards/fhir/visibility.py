"""Visibility: which patients a resource belongs to.

R4's Patient compartment is not an access rule: Device is absent from it, Provenance counts only with a Patient as target,
Group enters by its members, authors and recipients would include other people's records. This table defines, type by type, which
elements decide; a type that is not listed is refused.
Source: security decision 10; FHIR R4 compartmentdefinition-patient.html served as its draft.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from hilum.foundation.standards.fhir.values import is_id

# Each target may cost an upstream read before a Provenance can be judged.
REFERENCES_BOUND = 200


class Belonging(StrEnum):
    """How the patients of a type's resources are determined."""

    SUBJECT = "subject"
    """The patients in its subject elements."""
    SELF = "self"
    """The resource is the patient."""
    SHARED = "shared"
    """None: directories, catalogues, forms. Needs a scope for exactly this type."""
    TARGETS = "targets"
    """The patients of its targets; visible only if every target is."""
    REFERRER = "referrer"
    """The patients of the resource that refers to it; accessible only through that resource."""
    POPULATION = "population"
    """Many at once; never accessible with a patient scope."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of one type. ``paths``: the deciding references; ``narrow``: the search parameter over the same elements."""

    belonging: Belonging
    paths: tuple[tuple[str, ...], ...] = ()
    narrow: str = ""


def _subject(*paths: str, narrow: str) -> Rule:
    return Rule(Belonging.SUBJECT, tuple(tuple(path.split(".")) for path in paths), narrow)


_SHARED = Rule(Belonging.SHARED)

VISIBILITY: MappingProxyType[str, Rule] = MappingProxyType(
    {
        "Patient": Rule(Belonging.SELF, narrow="_id"),
        "Account": _subject("subject", narrow="patient"),
        # R4 defines no `patient` parameter for AdverseEvent; `subject` is the only one over its deciding element.
        "AdverseEvent": _subject("subject", narrow="subject"),
        "AllergyIntolerance": _subject("patient", narrow="patient"),
        # Several patients may take part. All of them must be within the grant, so a search narrowed to one of
        # them is filtered afterwards (query_rewrite._MANY_SUBJECTS).
        "Appointment": _subject("participant.actor", narrow="patient"),
        "AppointmentResponse": _subject("actor", narrow="patient"),
        "BodyStructure": _subject("patient", narrow="patient"),
        "CarePlan": _subject("subject", narrow="patient"),
        "CareTeam": _subject("subject", narrow="patient"),
        "ChargeItem": _subject("subject", narrow="patient"),
        "Claim": _subject("patient", narrow="patient"),
        "ClaimResponse": _subject("patient", narrow="patient"),
        "ClinicalImpression": _subject("subject", narrow="patient"),
        "Communication": _subject("subject", narrow="patient"),
        "CommunicationRequest": _subject("subject", narrow="patient"),
        "Composition": _subject("subject", narrow="patient"),
        "Condition": _subject("subject", narrow="patient"),
        "Consent": _subject("patient", narrow="patient"),
        "Coverage": _subject("beneficiary", narrow="patient"),
        "CoverageEligibilityRequest": _subject("patient", narrow="patient"),
        "CoverageEligibilityResponse": _subject("patient", narrow="patient"),
        "DetectedIssue": _subject("patient", narrow="patient"),
        # Not in R4's Patient compartment at all, although an implant's record is clinical (ADR 12).
        "Device": _subject("patient", narrow="patient"),
        "DeviceRequest": _subject("subject", narrow="patient"),
        "DeviceUseStatement": _subject("subject", narrow="patient"),
        "DiagnosticReport": _subject("subject", narrow="patient"),
        "DocumentManifest": _subject("subject", narrow="patient"),
        "DocumentReference": _subject("subject", narrow="patient"),
        "Encounter": _subject("subject", narrow="patient"),
        "EpisodeOfCare": _subject("patient", narrow="patient"),
        "ExplanationOfBenefit": _subject("patient", narrow="patient"),
        "FamilyMemberHistory": _subject("patient", narrow="patient"),
        "Flag": _subject("subject", narrow="patient"),
        "Goal": _subject("subject", narrow="patient"),
        "GuidanceResponse": _subject("subject", narrow="patient"),
        "ImagingStudy": _subject("subject", narrow="patient"),
        "Immunization": _subject("patient", narrow="patient"),
        "ImmunizationEvaluation": _subject("patient", narrow="patient"),
        "ImmunizationRecommendation": _subject("patient", narrow="patient"),
        "Invoice": _subject("subject", narrow="patient"),
        "List": _subject("subject", narrow="patient"),
        "MeasureReport": _subject("subject", narrow="patient"),
        "Media": _subject("subject", narrow="patient"),
        "MedicationAdministration": _subject("subject", narrow="patient"),
        "MedicationDispense": _subject("subject", narrow="patient"),
        "MedicationRequest": _subject("subject", narrow="patient"),
        "MedicationStatement": _subject("subject", narrow="patient"),
        "MolecularSequence": _subject("patient", narrow="patient"),
        "NutritionOrder": _subject("patient", narrow="patient"),
        "Observation": _subject("subject", narrow="patient"),
        "Procedure": _subject("subject", narrow="patient"),
        "QuestionnaireResponse": _subject("subject", narrow="patient"),
        "RelatedPerson": _subject("patient", narrow="patient"),
        "RequestGroup": _subject("subject", narrow="patient"),
        "ResearchSubject": _subject("individual", narrow="patient"),
        "RiskAssessment": _subject("subject", narrow="patient"),
        "ServiceRequest": _subject("subject", narrow="patient"),
        "Specimen": _subject("subject", narrow="patient"),
        "SupplyDelivery": _subject("patient", narrow="patient"),
        "Task": _subject("for", narrow="patient"),
        "VisionPrescription": _subject("patient", narrow="patient"),
        # Shared types have no patient to be limited to, so a patient scope on * does not include them: each
        # needs a scope of its own.
        "Organization": _SHARED,
        "Practitioner": _SHARED,
        "PractitionerRole": _SHARED,
        "Location": _SHARED,
        "Medication": _SHARED,
        "HealthcareService": _SHARED,
        "Endpoint": _SHARED,
        "Questionnaire": _SHARED,
        # A Slot says when a service is free and names no patient; who booked it is in the Appointment. A
        # Schedule may be a patient's own (Schedule.actor), so it stays unlisted.
        "Slot": _SHARED,
        # The compartment counts a Provenance only if a target is a Patient. Here every target must be
        # visible, since it may list another person's record beside this one's.
        "Provenance": Rule(Belonging.TARGETS, (("target",),)),
        # A Binary states neither whose it is nor how sensitive it is (ADR 27).
        "Binary": Rule(Belonging.REFERRER),
        # A Group would enter by any one member and disclose all the others.
        "Group": Rule(Belonging.POPULATION),
    }
)


def rule_of(type_: str) -> Rule | None:
    """Return the rule of a type; None for an unlisted one, which is refused."""
    return VISIBILITY.get(type_)


@dataclass(frozen=True, slots=True)
class Reference:
    """A literal reference to a resource of the same server."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


def local_reference(value: object, bases: tuple[str, ...] = ()) -> Reference | None:
    """Parse ``Type/id`` (or the same below one of ``bases``, each ending in a slash) from a Reference's JSON; else None.

    References to other servers, to contained resources or by identifier cannot be trusted to identify a patient here.
    Source: FHIR R4 references.html#literal
    """
    if not isinstance(value, dict):
        return None
    return parse_reference(value.get("reference"), bases)


def parse_reference(text: object, bases: tuple[str, ...] = ()) -> Reference | None:
    """Parse a literal reference, with or without a version; None for any other text."""
    if not isinstance(text, str):
        return None
    # Only the first matching base is removed: after two removals a foreign URL could look like a local reference.
    for base in bases:
        if text.startswith(base):
            text = text[len(base) :]
            break
    parts = text.split("/")
    # A version of a resource belongs to the same patient as the resource.
    if len(parts) == 4 and parts[2] == "_history":
        parts = parts[:2]
    if len(parts) != 2 or not parts[0].isalpha() or not is_id(parts[1]):
        return None
    return Reference(parts[0], parts[1])


def at_path(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield every value at a path of element names, through lists."""
    if isinstance(value, list):
        for item in value:
            yield from at_path(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from at_path(value[path[0]], path[1:])


def subjects_of(resource: dict[str, Any], bases: tuple[str, ...] = ()) -> frozenset[str] | None:
    """Return the ids of the patients that a resource belongs to; empty if to none; None if that cannot be determined.

    For SUBJECT and SELF types only: others have no patients of their own. A deciding reference that is not a literal one to this
    server makes the result None; one to another type than Patient adds no patient.
    """
    type_ = resource.get("resourceType")
    rule = VISIBILITY.get(type_) if isinstance(type_, str) else None
    if rule is None:
        return None
    if rule.belonging is Belonging.SELF:
        own = resource.get("id")
        return frozenset((own,)) if isinstance(own, str) and is_id(own) else None
    if rule.belonging is not Belonging.SUBJECT:
        return frozenset()
    # INVARIANT: this shortcut answers exactly what the loop below would; it applies only to rules of one
    # path, whose element is one reference and no list.
    if len(rule.paths[0]) == 1:
        holder = resource.get(rule.paths[0][0])
        text = holder.get("reference") if type(holder) is dict else None
        if type(text) is str and text.startswith("Patient/") and is_id(text[8:]):
            return frozenset((text[8:],))  # the usual form; this runs for every returned resource
    patients: set[str] = set()
    for path in rule.paths:
        for value in at_path(resource, path):
            reference = local_reference(value, bases)
            # An unresolvable subject could be anyone. Unknown means no: the caller withholds the resource.
            if reference is None:
                return None
            if reference.type == "Patient":
                patients.add(reference.id)
    return frozenset(patients)


def targets_of(resource: dict[str, Any], bases: tuple[str, ...] = ()) -> tuple[Reference, ...] | None:
    """Return a Provenance's targets; None if it has none, more than REFERENCES_BOUND, or one on another server."""
    targets: list[Reference] = []
    for value in at_path(resource.get("target"), ()):
        reference = local_reference(value, bases)
        # A target on another server cannot be judged, and neither can those beyond the bound; one of them is
        # enough to withhold the Provenance.
        if reference is None or len(targets) >= REFERENCES_BOUND:
            return None
        targets.append(reference)
    # Without any target there is nothing that makes it visible.
    return tuple(targets) or None


def is_judged_by_targets(type_: str) -> bool:
    """Check whether a type's resources are judged by their targets."""
    rule = VISIBILITY.get(type_)
    return rule is not None and rule.belonging is Belonging.TARGETS


def patients_among(resources: Iterable[dict[str, Any]], bases: tuple[str, ...] = ()) -> dict[str, int]:
    """Return how many of the resources belong to each patient; a Group belongs to its members.

    Patients with records come first, members of groups after them: the audit lists only the first ones, and a Group may have thousands.
    """
    counts: dict[str, int] = {}
    members: dict[str, int] = {}
    for resource in resources:
        for patient in subjects_of(resource, bases) or ():
            counts[patient] = counts.get(patient, 0) + 1
        for patient in _members_of(resource, bases):
            members[patient] = members.get(patient, 0) + 1
    for patient, number in members.items():
        counts[patient] = counts.get(patient, 0) + number
    return counts


def _members_of(resource: dict[str, Any], bases: tuple[str, ...]) -> frozenset[str]:
    if resource.get("resourceType") != "Group":
        return frozenset()
    named = (local_reference(value, bases) for value in at_path(resource, ("member", "entity")))
    return frozenset(each.id for each in named if each is not None and each.type == "Patient")


def one_patient(resources: Iterable[dict[str, Any]], bases: tuple[str, ...] = ()) -> str:
    """Return the one patient that all resources belong to; empty if there are several, or none."""
    patients: set[str] = set()
    for resource in resources:
        patients |= subjects_of(resource, bases) or frozenset()
        if len(patients) > 1:
            return ""
    return next(iter(patients), "")
