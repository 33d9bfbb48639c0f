"""One search over everything that has a name or a number, and why a request was answered the way it was."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppsQuery
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import Explanation, Fact, Outcome
from hilum.surfaces.console import service, words
from hilum.surfaces.console.desk import Visit, address, at, to
from hilum.surfaces.console.models import FOUND_BOUND, QUERY_BOUND, Console

_REQUEST = re.compile(r"(req_[0-9a-z]{4,60})(?:\.[0-9]{1,6})?")
_RECORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")
"""What can be the number of a patient's record (FHIR R4 datatypes.html#id)."""
_SWITCH = re.compile(r"sw_[0-9a-z]{4,60}")


async def show(visit: Visit) -> Response:
    """Find something by its name or number; a number leads straight to its page."""
    text = " ".join(visit.query().one("q").split())[:QUERY_BOUND]
    if (number := _REQUEST.fullmatch(text.lower())) and visit.may_open(at(visit, "request")):
        return to(address(at(visit, "request"), number[1]))
    found = await visit.read(lambda ctx: _found(ctx, visit, text)) if text else []
    # Whether there is such a patient is not said here: what apps did with a record is read where the read is recorded.
    record = _record_of(visit)
    patient = address(record, patient=text) if _RECORD.fullmatch(text) and visit.may_open(record) else ""
    looked_in = _looked_in(visit)
    return visit.render(
        "console/search.html", text=text, groups=found, looked_in=looked_in, patient=patient, path=visit.path
    )


def _record_of(visit: Visit) -> str:
    """Return the page on which a reader sees what apps did."""
    return "operations.audit" if visit.page.console is Console.OPERATIONS else "tenant.activity"


def _looked_in(visit: Visit) -> str:
    if visit.page.console is Console.OPERATIONS:
        return "apps, vendors, hospitals, people, and the numbers of requests, decisions and switches"
    return "apps, the people of your hospital, and the numbers of requests, decisions and switches"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found: its page, and where it is stopped, each empty where the reader may not go."""

    name: str
    note: str = ""
    href: str = ""
    stop: str = ""


def _found(ctx: Context, visit: Visit, text: str) -> list[tuple[str, list[Found]]]:
    """Find by name, in groups."""
    stops, staff = visit.may_open(at(visit, "stop")), visit.page.console is Console.OPERATIONS
    record = _record_of(visit)
    reads = visit.may_open(record)

    def stop(kind: TargetKind, key: str) -> str:
        return address(at(visit, "stop"), kind=kind.value, key=key) if stops else ""

    def stop_app(id_: str) -> str:
        return (
            stop(TargetKind.APP, id_) if staff else stop(TargetKind.APP_TENANT, f"{id_}/{ctx.actor.tenant}")
        )

    page = registry.browse_apps(ctx, AppsQuery(text=text, limit=FOUND_BOUND))
    apps = [
        Found(
            each.name,
            page.vendors.get(each.vendor, ""),
            address(at(visit, "app"), each.id),
            stop_app(each.id),
        )
        for each in page.apps
    ]
    people = [
        Found(
            each.name,
            f"{words.role(each.role)}, {each.tenant or 'platform staff'}",
            address(record, person=each.id) if reads else "",
            stop(TargetKind.PERSON, each.id),
        )
        for each in identity.search_people(ctx, text, FOUND_BOUND)
    ]
    groups = [("Apps", apps), ("People", people)]
    if staff:
        groups += _wide(ctx, text, stop, reads=reads)
    if _SWITCH.fullmatch(text):
        with suppress(NotFound):
            found = controls.get_switch(ctx, text)
            groups.append(("Switches", [Found(text, "", address(at(visit, "switch"), found.id))]))
    return [(title, rows) for title, rows in groups if rows]


def _wide(
    ctx: Context, text: str, stop: Callable[[TargetKind, str], str], *, reads: bool
) -> list[tuple[str, list[Found]]]:
    """Find what only the staff look for: vendors and hospitals."""
    vendors = [
        Found(name, "", address("operations.apps", q=name), stop(TargetKind.VENDOR, id_))
        for id_, name in registry.find_vendors(ctx, text, FOUND_BOUND)
    ]
    hospitals = [
        Found(
            each.name,
            each.id,
            address("operations.audit", tenant=each.id) if reads else "",
            stop(TargetKind.TENANT, each.id),
        )
        for each in identity.search_tenants(ctx, text, FOUND_BOUND)
    ]
    return [("Vendors", vendors), ("Hospitals", hospitals)]


async def show_request(visit: Visit) -> Response:
    """Explain why a request was answered as it was. The read is recorded."""
    request_id = visit.param().partition(".")[0]
    found = await visit.audited(
        audit.reading_a_request(request_id), lambda ctx: visit.ports.explain(ctx, request_id)
    )
    return visit.render("console/request.html", **await visit.read(lambda ctx: _explained(ctx, visit, found)))


def _explained(ctx: Context, visit: Visit, found: Explanation) -> dict[str, Any]:
    ids = {*service.ids_in(found.steps), *(each.actor for each in found.events)}
    names = service.names(ctx, ids, tenants=[each.tenant for each in found.accesses])
    first = {each.name: each for each in reversed((*found.why, *found.about))}
    # A refusal of the request itself is in the facts.
    led = [
        each
        for each in reversed(found.events)
        if each.request_id != found.request_id or each.event.outcome is not Outcome.REFUSED
    ]
    reason, meaning = first.get("Code"), first.get("Refused because")
    stoppable = "App" in first and "Kill switch" not in first and "Hospital" in first
    return {
        "number": found.request_id,
        "refused": bool(found.why),
        "answered": any(each.status for each in found.accesses),
        "meaning": meaning.text if meaning else "",
        "reason": reason.text.replace("_", " ") if reason else "",
        "why": [_linked(visit, each) for each in found.why if each not in {reason, meaning}],
        "facts": [_linked(visit, each) for each in found.about],
        "steps": [names.sentence(each) for each in found.steps],
        "timeline": [words.timeline_entry(each, names) for each in led],
        "stop": _stop(visit, first["App"].id, first["Hospital"].id) if stoppable else "",
    }


_PAGES = {"app": "app", "sw": "switch", "per": "person"}


def _linked(visit: Visit, fact: Fact) -> tuple[str, str, str]:
    return fact.name, fact.text, visit.link(_PAGES.get(fact.id.partition("_")[0], ""), fact.id)


def _stop(visit: Visit, app: str, tenant: str) -> str:
    """Return the page that stops the app of a request; empty for actors who may not."""
    if not visit.may_open(at(visit, "stop")):
        return ""
    if visit.page.console is Console.OPERATIONS:
        return address(at(visit, "stop"), kind=TargetKind.APP.value, key=app)
    return address(at(visit, "stop"), kind=TargetKind.APP_TENANT.value, key=f"{app}/{tenant}")
