"""Judge what a FHIR server answers to the requests of a check. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any

from hilum.foundation.standards.fhir.bundles import resources_of
from hilum.foundation.standards.fhir.shaping import load
from hilum.foundation.standards.fhir.statements import ServerCapabilities
from hilum.foundation.standards.fhir.visibility import rule_of
from hilum.gateway.upstream.models import CheckLine, CheckOutcome, UpstreamResponse
from hilum.identity.people.models import TenantFacts, UpstreamRef

CLOCK_BOUND_S = 60
SLOW_S = 1.0
NAMED_BOUND = 10
"""How many types one sentence names."""
WORKS, LIMITED = CheckOutcome.WORKS, CheckOutcome.LIMITED
FAILS, UNTRIED = CheckOutcome.FAILS, CheckOutcome.UNTRIED
ABSENT_IDS = ("hilum-check", "hilum-check-2")
"""No record has these ids, so that no answer of a check has clinical data."""
_REFUSED = frozenset({401, 403})
_REDIRECTS = range(300, 400)
_BASE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,253}(?:/[A-Za-z0-9._~-]{1,100}){0,10}")
_INVALID = frozenset({400, 405, 406, 415, 422, 501})


def statement(answer: UpstreamResponse, tenant: TenantFacts) -> CheckLine:
    """Judge an answer to ``GET metadata``: a CapabilityStatement of R4."""
    where, name = f"{tenant.upstream.url.rstrip('/')}/metadata", "CapabilityStatement"
    if answer.status in _REFUSED:
        return credentials(answer, tenant)
    if answer.status in _REDIRECTS:
        advice = "Set the address that it redirects to; Hilum follows no redirect with its credentials."
        return CheckLine(name, FAILS, f"{where} redirects ({answer.status}).", advice)
    if answer.status != 200:
        return CheckLine(
            name, FAILS, f"{where} answers {answer.status} in place of 200.", "Check the FHIR base."
        )
    found = parsed(answer)
    if found.get("resourceType") != "CapabilityStatement":
        return CheckLine(
            name, FAILS, f"{where} is not a CapabilityStatement in JSON.", "Check the FHIR base."
        )
    version = found.get("fhirVersion")
    if not isinstance(version, str) or not version.startswith("4.0"):
        sentence = f"It speaks FHIR {str(version)[:20]!r}."
        return CheckLine(
            name, FAILS, sentence, "Hilum needs R4 (4.0.1). Set the base of the server's R4 endpoint."
        )
    return CheckLine(name, WORKS, f"FHIR {version[:10]}.")


def credentials(answer: UpstreamResponse, tenant: TenantFacts) -> CheckLine:
    """Judge an answer to the read of a record that does not exist: 404 or 410."""
    name = "Credentials"
    if answer.status in _REFUSED:
        advice = "Set credentials that it accepts (`hilum tenant upstream`)."
        return CheckLine(name, FAILS, f"It refuses Hilum's credentials ({answer.status}).", advice)
    if answer.status in {404, 410}:
        kind = "It accepts Hilum's" if has_credentials(tenant.upstream) else "None are set, and it answers"
        return CheckLine(name, WORKS, f"{kind}: a record that does not exist is {answer.status}.")
    sentence = f"The read of a record that does not exist is {answer.status} in place of 404."
    return CheckLine(name, FAILS, sentence, "Check the FHIR base.")


def has_credentials(upstream: UpstreamRef) -> bool:
    """Return whether Hilum shows a FHIR server any credentials."""
    return bool(upstream.credentials_sealed or upstream.token_auth or upstream.certificate)


def anonymous(answer: UpstreamResponse | None) -> CheckLine:
    """Judge what a caller without credentials gets; None if it was not answered."""
    name = "Without credentials"
    if answer is None or answer.status in _REFUSED:
        return CheckLine(name, WORKS, "It refuses whoever comes without credentials.")
    advice = (
        "Whoever reaches it over the network passes by Hilum. Let it require credentials that only Hilum has."
    )
    return CheckLine(name, LIMITED, f"It answers {answer.status} without credentials.", advice)


def search(answer: UpstreamResponse, type_: str) -> CheckLine:
    """Judge a search by a patient who does not exist: an empty page."""
    name, asked = "Search by patient", f"{type_}?patient=..."
    if _has_records(answer):
        sentence = f"{asked} returns records of others: it ignores `patient`."
        advice = (
            "Hilum withholds them, and reads many more pages than it shows. Let the server search by patient."
        )
        return CheckLine(name, FAILS, sentence, advice)
    if _is_page(answer):
        return CheckLine(name, WORKS, f"{asked} returns the records of that patient only.")
    return CheckLine(
        name, FAILS, f"{asked} answers {answer.status}.", "Apps cannot search. Ask whoever runs it why."
    )


def refused_form(name: str, answer: UpstreamResponse, quirk: str, works: str, limited: str) -> CheckLine:
    """Judge a search in a form that some servers do not take: one that answers with an empty page has not the quirk."""
    if _is_page(answer) and not _has_records(answer):
        return CheckLine(name, WORKS, works)
    if answer.status in _INVALID or _is_page(answer):
        return CheckLine(name, LIMITED, limited, quirk=quirk)
    return CheckLine(name, UNTRIED, f"It answers {answer.status}.")


def page_sizes(answers: Mapping[int, UpstreamResponse]) -> CheckLine:
    """Judge which ``_count`` is taken, from the largest to the smallest that was tried."""
    name, largest = "Page size", max(answers)
    taken = next((size for size in sorted(answers, reverse=True) if _is_page(answers[size])), 0)
    if taken == largest:
        return CheckLine(name, WORKS, f"It takes a `_count` of {largest}.")
    if not taken:
        return CheckLine(
            name, FAILS, f"It refuses a `_count` of {min(answers)}.", "Searches cannot be paged."
        )
    return CheckLine(name, LIMITED, f"It refuses a `_count` above {taken}.", quirk=f"page={taken}")


def listing(answer: UpstreamResponse, by_name: UpstreamResponse) -> CheckLine:
    """Judge whether patients are listed without a criterion, where they are found by name."""
    name = "List of patients"
    if _is_page(answer):
        return CheckLine(name, WORKS, "It lists patients without a criterion.")
    if not _is_page(by_name):
        sentence = f"A search for patients by name answers {by_name.status}."
        return CheckLine(
            name, LIMITED, sentence, "People cannot choose a patient where an app is opened outside a chart."
        )
    return CheckLine(name, LIMITED, "It lists no patients without a criterion.", quirk="patient-criteria")


def unknown_parameter(answer: UpstreamResponse) -> CheckLine:
    """Judge a search by a parameter that no server knows, with ``Prefer: handling=strict``."""
    name = "Unknown parameters"
    if answer.status in _INVALID:
        return CheckLine(name, WORKS, "It refuses a search parameter that it does not know.")
    sentence = "It ignores a search parameter that it does not know, though asked to be strict."
    advice = "Hilum refuses those that its CapabilityStatement does not list; let it list only those that it acts on."
    return CheckLine(name, LIMITED, sentence, advice)


def tags(answer: UpstreamResponse, type_: str) -> CheckLine:
    """Judge a search by a tag that no record has."""
    name = "Search by tag"
    if _is_page(answer) and not _has_records(answer):
        return CheckLine(name, WORKS, f"{type_}?_tag=... finds nothing, as it should.")
    sentence = f"{type_}?_tag=... {'ignores the tag' if _is_page(answer) else f'answers {answer.status}'}."
    advice = 'A create whose answer is lost stays "unknown", and an identical one is refused for 24 hours.'
    return CheckLine(name, LIMITED, sentence, advice)


def pages(
    answer: UpstreamResponse, type_: str, target: str | None, second: UpstreamResponse | None
) -> CheckLine:
    """Judge a page of one record and the next one, of a type without clinical data. ``target``: of its next link, if that is below a known base."""
    name, records = "Pages", list(_records(answer))
    link = next_link(answer)
    if not _is_page(answer):
        return CheckLine(
            name, FAILS, f"{type_}?_count=1 answers {answer.status}.", "Searches cannot be paged."
        )
    if len(records) > 1:
        sentence = f"It ignores `_count`: {type_}?_count=1 returns {len(records)} records."
        return CheckLine(name, LIMITED, sentence, "Pages work, and each costs the server's whole page.")
    if not link:
        return CheckLine(name, UNTRIED, f"It has too few records of {type_} for a second page.")
    if target is None:
        base = base_in(link, type_)
        sentence = (
            f"Its links to the next page lead to {base or 'another address'}, where Hilum does not reach it."
        )
        option = f"`--public-url {base}`" if base else "`--public-url`"
        advice = f"Set the base that it writes: {option}. Until then each second page is 502."
        return CheckLine(name, FAILS, sentence, advice)
    if second is None or not _is_page(second):
        status = "nothing" if second is None else second.status
        return CheckLine(
            name, FAILS, f"Its link to the next page answers {status}.", "Ask whoever runs it why."
        )
    return CheckLine(name, WORKS, f"The link to the next page of {type_} works.")


def versions(answer: UpstreamResponse | None) -> CheckLine:
    """Judge the read of a record without clinical data: it has an ETag by which changes can be protected."""
    name = "Versions"
    if answer is None or answer.status != 200:
        return CheckLine(name, UNTRIED, "There is no record to read that has no clinical data.")
    if answer.headers.get("etag"):
        sentence = "Records have an ETag. Whether it refuses an old one (If-Match) is not tried: a check writes nothing."
        return CheckLine(name, WORKS, sentence)
    sentence = "Records have no ETag."
    return CheckLine(
        name, LIMITED, sentence, "When two change a record at the same moment, one change may be lost."
    )


def binaries(answer: UpstreamResponse) -> CheckLine:
    """Judge the read of a Binary that does not exist."""
    name = "Attachments"
    if answer.status in {404, 410}:
        return CheckLine(name, WORKS, "It reads Binary.")
    advice = "Attachments that are stored as Binary are 404 to apps. Let Hilum's account read Binary."
    return CheckLine(name, LIMITED, f"The read of a Binary that does not exist is {answer.status}.", advice)


def clock(answer: UpstreamResponse, now: datetime) -> CheckLine:
    """Judge how far the server's clock is from this one."""
    name = "Clock"
    try:
        apart = abs((parsedate_to_datetime(answer.headers.get("date", "")) - now).total_seconds())
    except (ValueError, TypeError):
        return CheckLine(name, UNTRIED, "Its answers have no Date.")
    if apart <= CLOCK_BOUND_S:
        return CheckLine(name, WORKS, f"Within {CLOCK_BOUND_S} seconds of this platform's.")
    advice = "Signed assertions and times of records are off by as much. Synchronize both with NTP."
    return CheckLine(name, LIMITED, f"{apart:,.0f} seconds from this platform's.", advice)


def latency(seconds: list[float]) -> CheckLine:
    """Judge how long the server took to answer."""
    middle, most = median(seconds), max(seconds)
    sentence = f"Median {middle * 1000:,.0f} ms of {len(seconds)} answers, the slowest {most * 1000:,.0f} ms."
    if middle <= SLOW_S:
        return CheckLine("Latency", WORKS, sentence)
    return CheckLine("Latency", LIMITED, sentence, "Every request of an app takes at least as long.")


def narrowing(capabilities: ServerCapabilities) -> CheckLine:
    """Judge by its CapabilityStatement which types it does not search by patient."""
    name, without = "Declared searches", []
    for type_, filters in sorted(capabilities.filters.items()):
        rule = rule_of(type_)
        if rule is not None and rule.narrow and rule.narrow not in filters:
            without.append(type_)
    if not without:
        return CheckLine(name, WORKS, "Every type of a patient's records is searched by patient.")
    listed = ", ".join(without[:NAMED_BOUND]) + (" and others" if len(without) > NAMED_BOUND else "")
    sentence = f"It does not declare a search by patient for {listed}."
    return CheckLine(name, LIMITED, sentence, "Searches of these types may be refused, or slow.")


def with_settings(lines: tuple[CheckLine, ...], quirks: tuple[str, ...]) -> tuple[CheckLine, ...]:
    """Return the lines with what to do about each quirk: nothing if the settings name it already."""
    return tuple(_with_quirk(each, quirks) if each.quirk else each for each in lines)


def _with_quirk(line: CheckLine, quirks: tuple[str, ...]) -> CheckLine:
    if line.quirk in quirks:
        found = f"{line.found} The settings say so (`{line.quirk}`)."
        return replace(line, outcome=WORKS, found=found, quirk="")
    advice = f"Add the quirk `{line.quirk}` to its settings (`hilum tenant upstream --quirk`)."
    return replace(line, advice=advice)


def parsed(answer: UpstreamResponse) -> dict[str, Any]:
    """Return the object of an answer; empty if it is none."""
    try:
        found = load(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def next_link(answer: UpstreamResponse) -> str:
    """Return the address of the next page; empty if there is none."""
    links = parsed(answer).get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return ""


def base_in(link: str, type_: str) -> str:
    """Return the base of an address in a server's answer, for whoever sets it; empty for one that no command should be given."""
    base = link.partition("?")[0].partition(f"/{type_}")[0].rstrip("/")
    return base if _BASE.fullmatch(base) else ""


def first_id(answer: UpstreamResponse, type_: str) -> str:
    """Return the id of the first record of a page; empty if there is none."""
    return next(
        (str(each.get("id", "")) for each in _records(answer) if each.get("resourceType") == type_), ""
    )


def _is_page(answer: UpstreamResponse) -> bool:
    return answer.status == 200 and parsed(answer).get("resourceType") == "Bundle"


def _records(answer: UpstreamResponse) -> list[dict[str, Any]]:
    found = parsed(answer)
    kept = resources_of(found) if found.get("resourceType") == "Bundle" else ()
    return [each for each in kept if each.get("resourceType") != "OperationOutcome"]


def _has_records(answer: UpstreamResponse) -> bool:
    return bool(_records(answer))
