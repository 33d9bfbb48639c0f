"""The plan of a synthetic hospital, before any resource is written."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Resource = dict[str, Any]
"""A FHIR R4 resource as JSON-able values."""

PATIENTS_BOUND = 1_000
"""Charts in one hospital: the generator holds a hospital in memory."""
NOTABLE_ENCOUNTERS_BOUND = 20
"""Encounters listed for one chart in the card, newest first."""


class Role(StrEnum):
    """A person's role at a tenant. The same values as the platform's, which this room may not import."""

    PHYSICIAN = "physician"
    NURSE = "nurse"
    ANALYST = "analyst"
    ADMINISTRATOR = "administrator"
    FRONT_DESK = "front_desk"
    PATIENT = "patient"


class Kind(StrEnum):
    """Which people a hospital sees."""

    GENERAL = "general"
    CHILDREN = "children"
    CLINIC = "clinic"


class Story(StrEnum):
    """A fact about a patient. Illnesses first, then circumstances that make a chart worth opening."""

    HYPERTENSION = "hypertension"
    DIABETES = "diabetes"
    TYPE1_DIABETES = "type1-diabetes"
    KIDNEY = "kidney"
    LIPIDS = "lipids"
    HEART_FAILURE = "heart-failure"
    ATRIAL_FIBRILLATION = "atrial-fibrillation"
    CORONARY = "coronary"
    COPD = "copd"
    ASTHMA = "asthma"
    DEPRESSION = "depression"
    ANXIETY = "anxiety"
    HYPOTHYROID = "hypothyroid"
    ARTHRITIS = "arthritis"
    BREAST_CANCER = "breast-cancer"
    PROSTATE_CANCER = "prostate-cancer"
    PREGNANCY = "pregnancy"
    OPIOID_USE = "opioid-use"
    HIV = "hiv"
    MIGRAINE = "migraine"
    DEMENTIA = "dementia"
    REFLUX = "reflux"
    OBESITY = "obesity"
    ADHD = "adhd"
    ECZEMA = "eczema"
    RHINITIS = "rhinitis"
    PREMATURITY = "prematurity"
    CYSTIC_FIBROSIS = "cystic-fibrosis"
    EPILEPSY = "epilepsy"

    NO_DATA = "no-data"
    """Registered, and nothing else."""
    OLD_NAME = "old-name"
    """Has an earlier name and an earlier address."""
    DECEASED = "deceased"
    TRIBAL = "tribal"
    UNNAMED = "unnamed"
    """Name and birth date are unknown; each has a data-absent-reason."""
    MANY_RESULTS = "many-results"
    """Home monitoring: more than 500 observations."""
    INPATIENT = "inpatient"
    """In a bed right now."""
    FOOD_INSECURITY = "food-insecurity"
    EVERY_PROFILE = "every-profile"
    """Has the must-support elements that ordinary charts rarely have."""


@dataclass(frozen=True, slots=True)
class Kin:
    """A person who acts for a patient. ``relation`` is a code of HL7's v3-RoleCode (MTH, FTH, SPS ...)."""

    slug: str
    given: str
    family: str
    relation: str


@dataclass(frozen=True, slots=True)
class PatientPlan:
    """A chart planned by hand. Everything that is not planned here is drawn from the seed."""

    slug: str
    given: tuple[str, ...]
    family: str
    female: bool
    age_days: int
    stories: tuple[Story, ...]
    notable: str
    kin: tuple[Kin, ...] = ()
    suffix: str = ""
    gave_birth_days_ago: int | None = None
    """For a pregnancy that has ended; otherwise it is still going on."""


@dataclass(frozen=True, slots=True)
class CastMember:
    """A person who signs in. ``patient`` is their own chart, ``proxies`` the charts they act for (Patient ids)."""

    username: str
    password: str
    role: Role
    fhir_user: str
    """A relative reference to a generated resource: ``Practitioner/...``, ``Patient/...`` or ``RelatedPerson/...``."""
    name: str
    patient: str = ""
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HospitalPlan:
    """A hospital that does not exist. ``prefix`` begins every id in it, so no two hospitals share one."""

    tenant: str
    name: str
    kind: Kind
    prefix: str
    city: str
    state: str
    postal_code: str
    utc_offset_h: int
    size: int
    """How many charts, the hand-written ones included."""
    notable: tuple[PatientPlan, ...]
    cast: tuple[CastMember, ...]

    def __post_init__(self) -> None:
        assert len(self.notable) <= self.size <= PATIENTS_BOUND, (
            "a plan holds its notable charts and stays bounded"
        )
        # A slug is a part of every id in the chart.
        assert len({plan.slug for plan in self.notable}) == len(self.notable), "a slug names one chart"
        assert len({member.username for member in self.cast}) == len(self.cast), "a username names one person"

    def patient_id(self, slug: str) -> str:
        """Return the Patient resource of a chart."""
        return f"{self.prefix}-pat-{slug}"


@dataclass(frozen=True, slots=True)
class ChartSummary:
    """One line of the card: a chart, why one would open it, and the encounters to launch in (newest first)."""

    id: str
    name: str
    notable: str
    encounters: tuple[str, ...]
