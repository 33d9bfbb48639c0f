"""Reads of the context picker from the tenant's records: names of patients, and a patient's encounters.

They run before the transaction, as the person at the browser, through the same decision as an app's read. They return only charts that
the person may open; the service checks the choice again.
Source: security decision 21
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from hilum.frontchannel.models import ENCOUNTERS_BOUND, PICKER_PAGE, SEARCH_TEXT_BOUND
from hilum.infra.context import Trace
from hilum.kernel.decision import Deny, ReadPurpose, Reason
from hilum.tokens.models import Grant

SCOPES = ("user/Patient.rs", "user/Encounter.rs")
"""The scopes with which the platform reads for the picker. The person's role and charts limit them further."""
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DATE = re.compile(r"\d{4}(-\d{2}){0,2}")
_PAGE = "_page"


class PatientDirectory(Protocol):
    """Reads of a tenant's records, implemented by ``gateway.platform_reads.PlatformReads``."""

    async def search(
        self, reader: Grant, purpose: ReadPurpose, target: str, *, since: datetime, binding: str, trace: Trace
    ) -> dict[str, Any] | Deny: ...


class LookRefused(Exception):
    """The records may not, or cannot, be read now."""

    def __init__(self, deny: Deny) -> None:
        super().__init__(deny.reason)
        self.deny = deny


@dataclass(frozen=True, slots=True)
class Look:
    """Who reads, and for which purpose. ``since`` is when their request began; links to pages are bound to ``binding``."""

    directory: PatientDirectory
    reader: Grant
    purpose: ReadPurpose
    since: datetime
    binding: str
    trace: Trace

    async def search(self, target: str) -> dict[str, Any]:
        """Search the tenant's records; empty if what is searched for is out of reach. Raises LookRefused."""
        found = await self.directory.search(
            self.reader, self.purpose, target, since=self.since, binding=self.binding, trace=self.trace
        )
        if not isinstance(found, Deny):
            return found
        # Out of reach is answered as absent, on a page as for an app (ADR 13).
        if found.reason is Reason.OUTSIDE_LAUNCH_CONTEXT:
            return {}
        raise LookRefused(found)


@dataclass(frozen=True, slots=True)
class PatientChoice:
    """A patient as shown by the picker. ``number`` is the record number, ``facility`` the managing organization; either may be empty."""

    id: str
    name: str
    birth_date: str = ""
    gender: str = ""
    number: str = ""
    facility: str = ""


@dataclass(frozen=True, slots=True)
class EncounterChoice:
    id: str
    label: str


FORMER_NAMES = frozenset({"old", "maiden"})
"""Source: FHIR R4 valueset-name-use.html."""


@dataclass(frozen=True, slots=True)
class PatientPage:
    """One page of patients. ``after`` is the sealed cursor of the next page, empty on the last."""

    patients: tuple[PatientChoice, ...]
    after: str = ""


async def own_charts(look: Look, charts: Iterable[str]) -> tuple[PatientChoice, ...]:
    """Read the names of a person's own charts; those not found are left out. Raises LookRefused."""
    wanted = tuple(charts)
    if not wanted:
        return ()
    found = await look.search(f"Patient?_id={quote(','.join(wanted), safe=',')}&_count={len(wanted)}")
    # Filtered again: a server that ignores _id would otherwise put another's chart before the
    # person.
    return tuple(choice for choice in _patients(found) if choice.id in wanted)


async def search(look: Look, *, text: str, after: str) -> PatientPage:
    """Read one page of the tenant's patients, by name if ``text`` is not empty. ``after`` is the cursor of a page.

    A cursor that was not issued for this request starts again at the first page. Raises LookRefused.
    """
    if after:
        try:
            return _page_of(await look.search("Patient?" + urlencode([(_PAGE, after)])))
        except LookRefused as refused:
            if refused.deny.reason is not Reason.REQUEST_UNSUPPORTED:
                raise
    words = text.strip()[:SEARCH_TEXT_BOUND]
    # A comma means or in a FHIR search: 'Bell, Oscar' would find every Bell and every Oscar.
    query = [("name", word) for word in words.replace(",", " ").split()]
    target = "Patient?" + urlencode([*query, ("_count", str(PICKER_PAGE)), ("_sort", "family")])
    return _page_of(await look.search(target))


def _page_of(found: dict[str, Any]) -> PatientPage:
    """Build a page, sorted by the names it shows, since a FHIR server may sort a patient by a former name."""
    resources = sorted(_resources(found, "Patient"), key=_family_first)
    return PatientPage(tuple(_patient(each) for each in resources), _way_on(found))


async def find_patient(look: Look, patient: str) -> PatientChoice | None:
    """Read one patient; None if there is none with this id within reach. Raises LookRefused."""
    # The id comes from a form and becomes part of a search.
    if not _ID.fullmatch(patient):
        return None
    found = await look.search(f"Patient?_id={patient}")
    # By id again: a server that ignores _id must not choose the launch's patient.
    return next((choice for choice in _patients(found) if choice.id == patient), None)


async def encounters(look: Look, patient: str) -> tuple[EncounterChoice, ...]:
    """Read a patient's encounters, newest first. Raises LookRefused."""
    if not _ID.fullmatch(patient):
        return ()
    found = await look.search(f"Encounter?patient={patient}&_count={ENCOUNTERS_BOUND}&_sort=-date")
    return tuple(_encounters(found, patient))


async def has_encounter(look: Look, patient: str, encounter: str) -> bool:
    """Check whether an encounter exists and is the patient's. Raises LookRefused."""
    if not _ID.fullmatch(patient) or not _ID.fullmatch(encounter):
        return False
    found = await look.search(f"Encounter?_id={encounter}&patient={patient}")
    return any(each.id == encounter for each in _encounters(found, patient))


def _resources(bundle: dict[str, Any], wanted: str) -> Iterable[dict[str, Any]]:
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if (
            isinstance(resource, dict)
            and resource.get("resourceType") == wanted
            and isinstance(resource.get("id"), str)
            and _ID.fullmatch(resource["id"])
        ):
            yield resource


def _patients(bundle: dict[str, Any]) -> Iterable[PatientChoice]:
    return (_patient(resource) for resource in _resources(bundle, "Patient"))


def _patient(resource: dict[str, Any]) -> PatientChoice:
    birth, gender = resource.get("birthDate"), resource.get("gender")
    return PatientChoice(
        id=resource["id"],
        name=_name_of(resource) or "(no name)",
        # Shown only if well formed: it distinguishes people of the same name.
        birth_date=birth if isinstance(birth, str) and _DATE.fullmatch(birth) else "",
        gender=gender if gender in {"male", "female", "other", "unknown"} else "",
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
    keeper = resource.get("managingOrganization")
    shown = keeper.get("display") if isinstance(keeper, dict) else None
    return shown[:80] if isinstance(shown, str) else ""


def _current_name(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a patient's current name: the official one, else the first that is not a former one."""
    names = resource.get("name")
    # The FHIR server's answer is data: any member may be missing, or of another type.
    names = [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []
    current = [name for name in names if name.get("use") not in FORMER_NAMES] or names
    return next((name for name in current if name.get("use") == "official"), current[0] if current else {})


def _family_first(resource: dict[str, Any]) -> tuple[str, str]:
    """Return the sort key of a patient: the family name that is shown, then the whole name."""
    family, shown = _current_name(resource).get("family"), _name_of(resource).casefold()
    return (family.casefold() if isinstance(family, str) else shown, shown)


def _name_of(resource: dict[str, Any]) -> str:
    best = _current_name(resource)
    # Cut: what a server sends must not be able to fill the page.
    if isinstance(best.get("text"), str):
        return str(best["text"])[:200]
    given = best.get("given")
    parts = [*(given if isinstance(given, list) else []), best.get("family")]
    return " ".join(part for part in parts if isinstance(part, str))[:200]


def _encounters(bundle: dict[str, Any], patient: str) -> Iterable[EncounterChoice]:
    for resource in _resources(bundle, "Encounter"):
        subject = resource.get("subject")
        reference = subject.get("reference") if isinstance(subject, dict) else None
        # The search asked for this already; what a server returns besides is not offered.
        if not isinstance(reference, str) or not reference.endswith(f"Patient/{patient}"):
            continue
        yield EncounterChoice(resource["id"], _encounter_label(resource))


def _encounter_label(resource: dict[str, Any]) -> str:
    period = resource.get("period")
    start = period.get("start") if isinstance(period, dict) else None
    kinds = resource.get("type")
    kind = kinds[0] if isinstance(kinds, list) and kinds and isinstance(kinds[0], dict) else {}
    coding = kind.get("coding")
    shown = (
        coding[0].get("display")
        if isinstance(coding, list) and coding and isinstance(coding[0], dict)
        else None
    )
    label = kind.get("text") or shown or "Visit"
    parts = [
        start[:10] if isinstance(start, str) else "",
        str(label)[:120],
        str(resource.get("status") or "")[:20],
    ]
    return " · ".join(part for part in parts if part)


def _way_on(bundle: dict[str, Any]) -> str:
    """Return the sealed cursor in the link to the next page; empty if there is none."""
    links = bundle.get("link")
    for link in links if isinstance(links, list) else []:
        if link.get("relation") == "next":
            return dict(parse_qsl(urlsplit(str(link["url"])).query)).get(_PAGE, "")
    return ""
