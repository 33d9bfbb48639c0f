"""Collects the resources of one patient: ids, tags, references, and Provenance."""

from dataclasses import dataclass, field
from datetime import date, datetime
from random import Random
from typing import Any

from hilum.foundation.kernel.batches import batched
from hilum_ehr.synthesis.codes import HL7, US_CORE_SYSTEM, coding, hl7
from hilum_ehr.synthesis.models import Resource
from hilum_ehr.synthesis.patients import Course, Person
from hilum_ehr.synthesis.places import Clinician, Reference, Site, tagged

Content = dict[str, Any]
Labels = tuple[dict[str, Any], ...]

PROVENANCE_TARGETS_BOUND = 20
"""Few enough that a reader of one Provenance can read all of its targets."""
# Short: an id has at most 64 characters (FHIR R4 datatypes.html#id), and the slug is a part of it.
ID_PREFIXES = {
    "AllergyIntolerance": "all", "Appointment": "apt", "Binary": "bin", "CarePlan": "plan", "CareTeam": "team", "Condition": "con", "Coverage": "cov",
    "Device": "dev", "DiagnosticReport": "rep", "DocumentReference": "doc", "Encounter": "enc", "Goal": "goal", "Immunization": "imm", "Media": "pic",
    "Medication": "drug", "MedicationDispense": "dis", "MedicationRequest": "med", "Observation": "obs", "Patient": "pat", "RelatedPerson": "rel", "Procedure": "proc", "Provenance": "prov",
    "QuestionnaireResponse": "qr", "ServiceRequest": "sr", "Specimen": "spec",
}  # fmt: skip
WITHOUT_PROVENANCE = frozenset({"Appointment", "Binary", "Medication", "Provenance", "Specimen"})


@dataclass(slots=True)
class Visit:
    """One encounter, as the rest of the chart refers to it."""

    kind: str
    start: datetime
    end: datetime | None
    by: Clinician
    ref: Reference = field(default_factory=dict)
    labels: Labels = ()
    acute: str = ""
    """The short illness that is the reason for the visit: a key of ``codes.ACUTE``; empty if there is none."""

    @property
    def day(self) -> date:
        return self.start.date()

    @property
    def inpatient(self) -> bool:
        return self.kind == "inpatient"


@dataclass(slots=True)
class Chart:
    """The resources of one person's chart, in the order in which they are written."""

    site: Site
    person: Person
    resources: list[Resource] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    problems: dict[str, Reference] = field(default_factory=dict)
    """Problem-list conditions by story."""
    numbers: dict[str, int] = field(default_factory=dict)
    """How many resources of each type were written."""

    @property
    def rng(self) -> Random:
        return self.person.rng

    @property
    def patient(self) -> Reference:
        return {"reference": f"Patient/{self.site.plan.patient_id(self.person.slug)}"}

    def id(self, name: str) -> str:
        """Return an id for a resource of this chart. It is unique in the hospital, because the slug is."""
        return self.site.id(f"{self.person.slug}-{name}")

    def write(
        self, kind: str, content: Content, *, profile: str = "", labels: Labels = (), resource_id: str = ""
    ) -> Reference:
        """Add a resource to the chart and return a reference to it. Without ``resource_id`` it gets the next id of its type."""
        # Numbered by type and in the order of writing, so that ids are the same in every run.
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        resource_id = resource_id or self.id(f"{ID_PREFIXES[kind]}-{self.numbers[kind]}")
        self.resources.append(tagged(kind, resource_id, content, profile, labels))
        return {"reference": f"{kind}/{resource_id}"}

    def observe(
        self, code: Content, when: datetime, value: Content, *, category: str, profile: str = "", labels: Labels = (),
        visit: Visit | None = None, more: Content | None = None,
    ) -> Reference:  # fmt: skip
        """Write an observation. ``more`` has members that are added to it or replaced."""
        content: Content = {
            "status": "final",
            "category": [hl7("observation-category", category)],
            "code": code,
            "subject": self.patient,
        }
        if visit is not None:
            content["encounter"] = visit.ref
        # effective[x] is one choice: a resource with both would be invalid.
        if "effectivePeriod" not in (more or {}):
            content["effectiveDateTime"] = when.isoformat()
        content["performer"] = [(visit.by if visit else self.site.primary).ref]
        return self.write("Observation", content | value | (more or {}), profile=profile, labels=labels)

    def reason(self, course: Course) -> list[Reference]:
        """Return an illness as the ``reasonReference`` of what is written because of it."""
        return [self.problems[course.story]]

    def close(self) -> list[Resource]:
        """Write the Provenance of every resource, and return the chart's resources.

        The targets of one Provenance have the same type, categories and labels: who may not see one of them may not see the Provenance.
        Targets of one code are adjacent, since a search for them includes their Provenance.
        """
        groups: dict[tuple[str, ...], list[Resource]] = {}
        for resource in self.resources:
            if resource["resourceType"] not in WITHOUT_PROVENANCE:
                groups.setdefault(_access_key(resource), []).append(resource)
        for group in groups.values():
            labels = tuple(group[0]["meta"].get("security", []))
            group.sort(key=_codes)
            targets = [{"reference": f"{each['resourceType']}/{each['id']}"} for each in group]
            for some in batched(targets, PROVENANCE_TARGETS_BOUND):
                self._write_provenance(some, labels)
        return self.resources

    def _write_provenance(self, targets: list[Reference], labels: Labels) -> None:
        hospital = self.site.organization
        author = hl7("provenance-participant-type", "author", "Author")
        sender = {
            "coding": [
                coding(US_CORE_SYSTEM + "us-core-provenance-participant-type", "transmitter", "Transmitter")
            ]
        }
        # At the end of the last day, after everything that it covers.
        when = self.site.at(self.person.until, 1_380)
        self.write("Provenance", {
            "target": targets,
            "recorded": when.isoformat(),
            "activity": {"coding": [coding(HL7 + "v3-DataOperation", "CREATE", "create")]},
            "agent": [
                {"type": author, "who": self.site.primary.ref, "onBehalfOf": hospital},
                {"type": sender, "who": hospital, "onBehalfOf": hospital},
            ],
        }, profile="us-core-provenance", labels=labels)  # fmt: skip


def _access_key(resource: Resource) -> tuple[str, ...]:
    """Return what access to a resource depends on: its type, categories and labels."""
    categories = (
        resource.get("category", [])
        if resource["resourceType"] in {"Observation", "Condition", "DiagnosticReport"}
        else []
    )
    # Granular scopes divide these types by category.
    codes = [code["code"] for each in categories for code in each.get("coding", [])]
    labels = [label["code"] for label in resource["meta"].get("security", [])]
    return (resource["resourceType"], *sorted(codes), "|", *labels)


def _codes(resource: Resource) -> list[str]:
    return [code["code"] for code in resource.get("code", {}).get("coding", [])]
