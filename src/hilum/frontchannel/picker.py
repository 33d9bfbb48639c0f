"""The context picker's look into the tenant's FHIR server: names of patients, and a patient's encounters.

Runs before the transaction. It shows only charts that the person may open; whether the choice counts, the service judges again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import orjson

from hilum.frontchannel.models import ENCOUNTERS_BOUND, PICKER_PAGE, SEARCH_TEXT_BOUND
from hilum.identity.models import TenantFacts
from hilum.kernel.errors import Invalid, Unavailable
from hilum.kernel.ports import Ids
from hilum.keys.live import vault
from hilum.upstream.models import UpstreamRequest, UpstreamResponse

PAGE_PURPOSE = "authserver.picker"
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DATE = re.compile(r"\d{4}(-\d{2}){0,2}")


class Sender(Protocol):
    """The way to a tenant's FHIR server (``upstream.live.Upstreams``)."""

    def base_of(self, tenant: TenantFacts) -> str: ...

    async def send(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse: ...


@dataclass(frozen=True, slots=True)
class PatientChoice:
    id: str
    name: str
    birth_date: str = ""
    gender: str = ""


@dataclass(frozen=True, slots=True)
class EncounterChoice:
    id: str
    label: str


@dataclass(frozen=True, slots=True)
class PatientPage:
    """One page of patients. ``after`` is the sealed way to the next, empty on the last."""

    patients: tuple[PatientChoice, ...]
    after: str = ""


async def own_charts(sender: Sender, tenant: TenantFacts, charts: Iterable[str]) -> tuple[PatientChoice, ...]:
    """Read the names on somebody's own charts; a chart that is not there is left out."""
    wanted = tuple(charts)
    if not wanted:
        return ()
    target = f"Patient?_id={quote(','.join(wanted), safe=',')}&_count={len(wanted)}"
    found = await _read(sender, tenant, target)
    return tuple(choice for choice in _patients(found) if choice.id in wanted)


async def search(
    sender: Sender, tenant: TenantFacts, *, text: str, after: str, seal: tuple[Ids, str]
) -> PatientPage:
    """Read one page of the tenant's patients, by name if ``text`` is given. ``after`` is a page's own sealed way on.

    ``seal``: the source of nonces, and the request that pages are bound to.
    """
    ids, request_id = seal
    if after:
        try:
            target = vault().open(PAGE_PURPOSE, after, f"{tenant.id}:{request_id}").decode()
        except Invalid:
            target = ""
    else:
        target = ""
    if not target:
        words = text.strip()[:SEARCH_TEXT_BOUND]
        query = [("name", word) for word in words.replace(",", " ").split()]
        target = "Patient?" + urlencode([*query, ("_count", str(PICKER_PAGE)), ("_sort", "family")])
    found = await _read(sender, tenant, target)
    way_on = _way_on(found, sender.base_of(tenant))
    sealed = ""
    if way_on:
        sealed = vault().seal(PAGE_PURPOSE, way_on.encode(), nonce=ids, bound_to=f"{tenant.id}:{request_id}")
    return PatientPage(tuple(_patients(found)), sealed)


async def find_patient(sender: Sender, tenant: TenantFacts, patient: str) -> PatientChoice | None:
    """Read one patient; None when there is none of this id."""
    if not _ID.fullmatch(patient):
        return None
    found = await _read(sender, tenant, f"Patient?_id={patient}")
    return next((choice for choice in _patients(found) if choice.id == patient), None)


async def encounters(sender: Sender, tenant: TenantFacts, patient: str) -> tuple[EncounterChoice, ...]:
    """Read a patient's encounters, newest first."""
    if not _ID.fullmatch(patient):
        return ()
    target = f"Encounter?patient={patient}&_count={ENCOUNTERS_BOUND}&_sort=-date"
    found = await _read(sender, tenant, target)
    return tuple(_encounters(found, patient))


async def has_encounter(sender: Sender, tenant: TenantFacts, patient: str, encounter: str) -> bool:
    """Tell whether an encounter is there and is the patient's."""
    if not _ID.fullmatch(patient) or not _ID.fullmatch(encounter):
        return False
    found = await _read(sender, tenant, f"Encounter?_id={encounter}&patient={patient}")
    return any(each.id == encounter for each in _encounters(found, patient))


async def _read(sender: Sender, tenant: TenantFacts, target: str) -> dict[str, Any]:
    request = UpstreamRequest("GET", target, headers=(("accept", "application/fhir+json"),))
    answer = await sender.send(tenant, request)
    if answer.status != 200:
        raise Unavailable("upstream_unavailable", "The hospital's records cannot be searched right now.")
    try:
        bundle = orjson.loads(answer.body)
    except ValueError as error:
        raise Unavailable(
            "upstream_unavailable", "The hospital's records cannot be read right now."
        ) from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise Unavailable("upstream_unavailable", "The hospital's records cannot be read right now.")
    return bundle


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
    for resource in _resources(bundle, "Patient"):
        birth, gender = resource.get("birthDate"), resource.get("gender")
        yield PatientChoice(
            id=resource["id"],
            name=_name_of(resource) or "(no name)",
            birth_date=birth if isinstance(birth, str) and _DATE.fullmatch(birth) else "",
            gender=gender if gender in {"male", "female", "other", "unknown"} else "",
        )


def _name_of(resource: dict[str, Any]) -> str:
    names = resource.get("name")
    names = [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []
    current = [name for name in names if name.get("use") not in {"old", "maiden"}] or names
    best = next((name for name in current if name.get("use") == "official"), current[0] if current else {})
    if isinstance(best.get("text"), str):
        return str(best["text"])[:200]
    given = best.get("given")
    parts = [*(given if isinstance(given, list) else []), best.get("family")]
    return " ".join(part for part in parts if isinstance(part, str))[:200]


def _encounters(bundle: dict[str, Any], patient: str) -> Iterable[EncounterChoice]:
    for resource in _resources(bundle, "Encounter"):
        subject = resource.get("subject")
        reference = subject.get("reference") if isinstance(subject, dict) else None
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


def _way_on(bundle: dict[str, Any], base: str) -> str:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else []:
        url = link.get("url") if isinstance(link, dict) and link.get("relation") == "next" else None
        if isinstance(url, str) and base and url.startswith(base):
            return url[len(base) :].lstrip("/")[:2_000]
    return ""
