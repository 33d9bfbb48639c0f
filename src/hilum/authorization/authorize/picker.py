"""Reads of a tenant's records for pages: names of patients, and a patient's encounters.

They run outside a transaction, as the person at the browser, through the same decision as an app's read, and so return only charts that
the person may open. The service judges the choice again.
Source: security decision 21
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from hilum.authorization.authorize.models import ENCOUNTERS_BOUND, PICKER_PAGE, SEARCH_TEXT_BOUND
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra.context import Trace
from hilum.foundation.kernel.decision import Deny, ReadPurpose, Reason
from hilum.foundation.kernel.sentences import Sentence, day, joined
from hilum.foundation.standards.fhir.values import is_id

SCOPES = ("user/Patient.rs", "user/Encounter.rs")
"""The scopes with which the platform reads for the picker. The person's role and charts limit them further."""
_DATE = re.compile(r"\d{4}(-\d{2}){0,2}")
_PAGE = "_page"


class PatientDirectory(Protocol):
    """Reads of a tenant's records, implemented by ``gateway.platform_reads.PlatformReads``."""

    async def search(
        self, reader: Grant, purpose: ReadPurpose, target: str, *, since: datetime, binding: str, trace: Trace
    ) -> dict[str, Any] | Deny: ...


class ReadRefused(Exception):
    """The records may not be read, or cannot be read now."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.reason)
        self.deny = deny


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads of one person for one purpose. ``since`` is when their request began; links to further pages are bound to ``binding``."""

    directory: PatientDirectory
    grant: Grant
    purpose: ReadPurpose
    since: datetime
    binding: str
    trace: Trace

    async def search(self, target: str) -> dict[str, Any]:
        """Search the tenant's records; return an empty Bundle for a chart that the person may not open. Raises ReadRefused."""
        bundle = await self.directory.search(
            self.grant, self.purpose, target, since=self.since, binding=self.binding, trace=self.trace
        )
        if not isinstance(bundle, Deny):
            return bundle
        # As for an app: a chart that may not be opened is answered as one that does not exist (ADR 13).
        if bundle.reason is Reason.OUTSIDE_LAUNCH_CONTEXT:
            return {}
        raise ReadRefused(bundle)


@dataclass(frozen=True, slots=True)
class PatientChoice:
    """A patient as the picker shows it. ``number`` is the record number, ``facility`` the managing organization. All but the id may be empty."""

    id: str
    name: str
    birth_date: str = ""
    gender: str = ""
    number: str = ""
    facility: str = ""


@dataclass(frozen=True, slots=True)
class EncounterChoice:
    """An encounter as the picker shows it. ``date`` is the day on which it began. All but the id may be empty."""

    id: str
    date: str
    kind: str
    status: str


GENDERS = ("male", "female", "other", "unknown")
"""Source: FHIR R4 valueset-administrative-gender.html."""
FORMER_NAMES = frozenset({"old", "maiden"})
"""Source: FHIR R4 valueset-name-use.html."""


@dataclass(frozen=True, slots=True)
class PatientPage:
    """One page of patients. ``after`` is the sealed cursor of the next page, empty on the last."""

    patients: tuple[PatientChoice, ...]
    after: str = ""


async def find_patients(reader: RecordReader, patients: Iterable[str]) -> tuple[PatientChoice, ...]:
    """Read patients by id; those not found are left out. Raises ReadRefused."""
    ids = tuple(patients)
    if not ids:
        return ()
    bundle = await reader.search(f"Patient?_id={quote(','.join(ids), safe=',')}&_count={len(ids)}")
    # Filtered again: a server that ignores _id would otherwise show the person another's chart.
    return tuple(choice for choice in _patients(bundle) if choice.id in ids)


async def search_patients(reader: RecordReader, *, text: str, after: str) -> PatientPage:
    """Read one page of the tenant's patients, by name if ``text`` is not empty. ``after`` is the cursor of the page.

    With a cursor of another request, return the first page. Raises ReadRefused.
    """
    if after:
        try:
            return _page_of(await reader.search("Patient?" + urlencode([(_PAGE, after)])))
        except ReadRefused as refused:
            if refused.deny.reason is not Reason.REQUEST_UNSUPPORTED:
                raise
    words = text.strip()[:SEARCH_TEXT_BOUND]
    # In a FHIR search a comma means "or": 'Bell, Oscar' would find every Bell and every Oscar.
    query = [("name", word) for word in words.replace(",", " ").split()]
    target = "Patient?" + urlencode([*query, ("_count", str(PICKER_PAGE)), ("_sort", "family")])
    return _page_of(await reader.search(target))


def _page_of(bundle: dict[str, Any]) -> PatientPage:
    """Build a page, sorted by the names that it shows, since a FHIR server may sort a patient by a former name."""
    resources = sorted(_resources(bundle, "Patient"), key=_sort_key)
    return PatientPage(tuple(_patient(each) for each in resources), _next_cursor(bundle))


async def find_patient(reader: RecordReader, patient: str) -> PatientChoice | None:
    """Read one patient; None if there is none whom the person may open. Raises ReadRefused."""
    # The id comes from a form and becomes part of a search.
    if not is_id(patient):
        return None
    return next(iter(await find_patients(reader, (patient,))), None)


async def encounters(reader: RecordReader, patient: str) -> tuple[EncounterChoice, ...]:
    """Read a patient's encounters, newest first. Raises ReadRefused."""
    if not is_id(patient):
        return ()
    bundle = await reader.search(f"Encounter?patient={patient}&_count={ENCOUNTERS_BOUND}&_sort=-date")
    return tuple(_encounters(bundle, patient))


def label(choice: PatientChoice) -> str:
    """Return a patient's label, with details that distinguish patients of the same name."""
    number = Sentence("record number %(number)s", number=choice.number) if choice.number else ""
    gender = Sentence(choice.gender) if choice.gender in GENDERS else choice.gender
    return joined(
        (
            choice.name or Sentence("(no name)"),
            _birth_text(choice.birth_date),
            gender,
            number,
            choice.facility,
        ),
        ", ",
    )


def _birth_text(text: str) -> str:
    return Sentence("born %(date)s", date=date_in_words(text)) if text else ""


def date_in_words(text: str) -> str:
    """Return a date in words; a partial or malformed one unchanged."""
    try:
        return day(datetime.fromisoformat(text))
    except ValueError:
        return text


async def has_encounter(reader: RecordReader, patient: str, encounter: str) -> bool:
    """Check whether an encounter exists and is the patient's. Raises ReadRefused."""
    if not is_id(patient) or not is_id(encounter):
        return False
    bundle = await reader.search(f"Encounter?_id={encounter}")
    return any(each.id == encounter for each in _encounters(bundle, patient))


def _resources(bundle: dict[str, Any], resource_type: str) -> Iterable[dict[str, Any]]:
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if (
            isinstance(resource, dict)
            and resource.get("resourceType") == resource_type
            and isinstance(resource.get("id"), str)
            and is_id(resource["id"])
        ):
            yield resource


def _patients(bundle: dict[str, Any]) -> Iterable[PatientChoice]:
    return (_patient(resource) for resource in _resources(bundle, "Patient"))


def _patient(resource: dict[str, Any]) -> PatientChoice:
    birth, gender = resource.get("birthDate"), resource.get("gender")
    return PatientChoice(
        id=resource["id"],
        name=_name_of(resource),
        # Only if well formed, because it distinguishes people of the same name.
        birth_date=birth if isinstance(birth, str) and _DATE.fullmatch(birth) else "",
        gender=gender if gender in GENDERS else "",
        number=_record_number(resource),
        facility=_facility(resource),
    )


def _record_number(resource: dict[str, Any]) -> str:
    """Return the medical record number. Source: FHIR R4 valueset-identifier-type.html (MR)."""
    listed = resource.get("identifier")
    for each in listed if isinstance(listed, list) else []:
        kind = each.get("type") if isinstance(each, dict) else None
        codings = kind.get("coding") if isinstance(kind, dict) else None
        codings = codings if isinstance(codings, list) else []
        if any(isinstance(coding, dict) and coding.get("code") == "MR" for coding in codings) and isinstance(
            each.get("value"), str
        ):
            return str(each["value"])[:40]
    return ""


def _facility(resource: dict[str, Any]) -> str:
    organization = resource.get("managingOrganization")
    display = organization.get("display") if isinstance(organization, dict) else None
    return display[:80] if isinstance(display, str) else ""


def _current_name(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a patient's current name: the official one, else the first that is not a former one."""
    names = resource.get("name")
    # The FHIR server is not trusted to send valid resources: any member may be missing or of another type.
    names = [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []
    current = [name for name in names if name.get("use") not in FORMER_NAMES] or names
    return next((name for name in current if name.get("use") == "official"), current[0] if current else {})


def _sort_key(resource: dict[str, Any]) -> tuple[str, str]:
    """Return the sort key of a patient: the family name that is shown, then the whole name."""
    family, whole = _current_name(resource).get("family"), _name_of(resource).casefold()
    return (family.casefold() if isinstance(family, str) else whole, whole)


def _name_of(resource: dict[str, Any]) -> str:
    current = _current_name(resource)
    # Cut, so that no name can fill the page.
    if isinstance(current.get("text"), str):
        return str(current["text"])[:200]
    given = current.get("given")
    parts = [*(given if isinstance(given, list) else []), current.get("family")]
    return " ".join(part for part in parts if isinstance(part, str))[:200]


def _encounters(bundle: dict[str, Any], patient: str) -> Iterable[EncounterChoice]:
    for resource in _resources(bundle, "Encounter"):
        subject = resource.get("subject")
        reference = subject.get("reference") if isinstance(subject, dict) else None
        # Checked again: a server that ignores the parameter must not offer another patient's encounter.
        if not isinstance(reference, str) or not reference.endswith(f"Patient/{patient}"):
            continue
        yield _encounter(resource)


def _encounter(resource: dict[str, Any]) -> EncounterChoice:
    period = resource.get("period")
    start = period.get("start") if isinstance(period, dict) else None
    kinds = resource.get("type")
    kind = kinds[0] if isinstance(kinds, list) and kinds and isinstance(kinds[0], dict) else {}
    coding = kind.get("coding")
    display = (
        coding[0].get("display")
        if isinstance(coding, list) and coding and isinstance(coding[0], dict)
        else None
    )
    return EncounterChoice(
        resource["id"],
        date=start[:10] if isinstance(start, str) else "",
        kind=str(kind.get("text") or display or "")[:120],
        status=str(resource.get("status") or "")[:20],
    )


def _next_cursor(bundle: dict[str, Any]) -> str:
    """Return the sealed cursor in the link to the next page; empty if there is none."""
    links = bundle.get("link")
    for link in links if isinstance(links, list) else []:
        if link.get("relation") == "next":
            return dict(parse_qsl(urlsplit(str(link["url"])).query)).get(_PAGE, "")
    return ""
