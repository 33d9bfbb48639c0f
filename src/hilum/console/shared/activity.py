"""What apps did: the record of accesses, with its filters in the address. Shared by the staff's audit and a hospital's activity."""

import re
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.audit import service as audit
from hilum.audit.models import Access, AccessPage, AccessQuery, EventPage, EventQuery, Outcome
from hilum.console import service, words
from hilum.console.desk import Visit, address
from hilum.console.lists import List
from hilum.console.models import ROWS, Asked, Cell, Column, Console, Empty, Filter, Listed, Option
from hilum.infra.context import Context
from hilum.kernel.decision import Reason
from hilum.kernel.errors import Invalid

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
SPANS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
KEPT = ("app", "person", "patient", "tenant", "client")
"""Filters that are ids: a page that links here sets them."""
_TIMES = Filter(
    "since",
    "When",
    (
        Option("hour", "Last hour"),
        Option("day", "Last day"),
        Option("week", "Last week"),
        Option("month", "Last month"),
    ),
)
ACCESSES = List(
    columns=(
        Column("When"),
        Column("Outcome"),
        Column("App"),
        Column("What"),
        Column("For"),
        Column("Hospital"),
        Column("Request"),
    ),
    one="access",
    many="accesses",
    empty=Empty("Nothing yet", "Each FHIR request of an app is listed here, with its decision."),
    filters=(
        Filter(
            "outcome",
            "Outcome",
            (
                Option("done", "Answered"),
                Option("refused", "Refused"),
                Option("not_done", "Not done"),
                Option("unknown", "Unknown"),
            ),
        ),
        _TIMES,
        Filter(
            "reason", "Because", tuple(Option(each.value, each.value.replace("_", " ")) for each in Reason)
        ),
    ),
)
EVENTS = List(
    columns=(Column("When"), Column("Who"), Column("What"), Column("About"), Column("Why")),
    one="event",
    many="events",
    empty=Empty("Nothing yet", "What people change is listed here."),
    filters=(
        Filter("outcome", "Outcome", (Option("done", "Done"), Option("refused", "Refused"))),
        _TIMES,
    ),
)


def given(visit: Visit) -> dict[str, Any]:
    """Return the ids that the address filters by. Raises Invalid."""
    query = visit.query()
    found = {name: query.one(name).strip() for name in KEPT if query.one(name).strip()}
    for name, text in found.items():
        if not _ID.fullmatch(text):
            raise Invalid(
                "filter_malformed", "The address of this page is not valid.", fields={name: "word_malformed"}
            )
    if visit.page.console is Console.TENANT:
        # An administrator's is the hospital's, whatever the address says.
        found["tenant"] = str(visit.visitor.session.tenant or "")
    return found


def _since(asked: Asked, now: datetime) -> datetime | None:
    span = SPANS.get(asked["since"])
    return None if span is None else now - span


async def show_accesses(visit: Visit) -> Response:
    """List FHIR requests and their decisions. The read is recorded."""
    ids = given(visit)

    async def read(asked: Asked) -> Listed:
        query = AccessQuery(
            **ids,
            outcome=asked["outcome"],
            reason=asked["reason"],
            since=_since(asked, visit.kit.clock.now()),
            after=asked.after,
            limit=ROWS,
        )
        page: AccessPage = await visit.audited(
            audit.reading_of(query), partial(audit.read_accesses, query=query, page=visit.ports.accesses)
        )
        return await visit.read(partial(_accesses, page=page, console=visit.page.console))

    around = await frame(visit, ids, "accesses")
    return await visit.listing(ACCESSES, read, "console/activity.html", within=around["kept"], **around)


def _accesses(ctx: Context, page: AccessPage, console: Console) -> Listed:
    found = page.accesses
    ids = [*(each.app for each in found), *(each.person for each in found)]
    names = service.names(ctx, ids, tenants=[each.tenant for each in found])
    rows = [
        (
            Cell("", at=each.at),
            _outcome(each),
            Cell(names.app(each.app) if each.app else "unknown"),
            Cell(
                f"{each.interaction} {each.resource_type}".strip(),
                note=f"patient {each.patient}" if each.patient else "",
            ),
            Cell(
                names.person(each.person) if each.person else "",
                note=words.role(each.role) if each.role else "",
            ),
            Cell(names.tenant(each.tenant)),
            Cell("why", address(f"{console}.request", each.request_id)),
        )
        for each in found
    ]
    return Listed(rows, None, next=page.next)


def _outcome(access: Access) -> Cell:
    if access.reason:
        times = f", {access.count} times" if access.count > 1 else ""
        return Cell(
            f"refused {access.status}", kind="badge", tone="bad", note=access.reason.replace("_", " ") + times
        )
    if access.outcome is Outcome.DONE:
        return Cell(f"answered {access.status}", kind="badge", tone="good")
    return Cell(access.outcome.value.replace("_", " "), kind="badge", tone="warn")


async def show_events(visit: Visit) -> Response:
    """List what people changed, newest first. The read is recorded."""
    ids = given(visit)
    ids.pop("patient", None)

    async def read(asked: Asked) -> Listed:
        query = EventQuery(
            **ids,
            outcome=asked["outcome"],
            since=_since(asked, visit.kit.clock.now()),
            after=asked.after,
            limit=ROWS,
        )
        page: EventPage = await visit.audited(
            audit.reading_of(query), partial(audit.read_events, query=query)
        )
        return await visit.read(partial(_events, page=page))

    around = await frame(visit, ids, "events")
    return await visit.listing(EVENTS, read, "console/activity.html", within=around["kept"], **around)


def _events(ctx: Context, page: EventPage) -> Listed:
    found = page.events
    about = [text for each in found for text in (each.event.app, each.event.person)]
    names = service.names(
        ctx, [*(each.actor for each in found), *about], tenants=[each.event.tenant for each in found]
    )
    rows = []
    for each in found:
        entry, event = words.timeline_entry(each, names), each.event
        what = ", ".join(
            filter(None, (names.app(event.app), names.person(event.person), names.tenant(event.tenant)))
        )
        rows.append(
            (
                Cell("", at=each.at),
                Cell(entry.who),
                Cell(entry.what, tone=entry.tone),
                Cell(what),
                Cell(entry.why),
            )
        )
    return Listed(rows, None, next=page.next)


async def frame(visit: Visit, ids: dict[str, str], shown: str) -> dict[str, Any]:
    """Return what is around the list: the kinds of records, and what the address filters by, in names."""
    console = visit.page.console
    names = await visit.read(
        lambda ctx: service.names(
            ctx, [ids.get("app", ""), ids.get("person", "")], tenants=[ids.get("tenant", "")]
        )
    )
    own = {"tenant"} if console is Console.TENANT else set()
    kept = {name: text for name, text in ids.items() if name not in own}
    labels = {"app": names.app, "person": names.person, "tenant": names.tenant}
    first = "activity" if console is Console.TENANT else "audit"
    second = "events" if f"{console}.events" else ""
    if console is Console.OPERATIONS:
        more = [("Evidence", address("operations.evidence"), False)]
    else:
        person = {"person": kept["person"]} if "person" in kept else {}
        more = [("What people agreed to", address("tenant.consents", **person), shown == "consents")]
    return {
        "tabs": [
            ("What apps did", address(f"{console}.{first}", **kept), shown == "accesses"),
            ("What people changed", address(f"{console}.{second}", **kept), shown == "events"),
            *more,
        ],
        "ids": [(name, labels.get(name, str)(text)) for name, text in kept.items()],
        "kept": kept,
        "fields": [name for name in KEPT if name not in own and (shown == "accesses" or name != "patient")],
    }
