"""What apps did: the record of accesses, with its filters in the address. Shared by the staff's audit and a hospital's activity."""

import re
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from starlette.responses import Response

from hilum.controls.switches.models import Target
from hilum.controls.switches.policy import parse_target
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid
from hilum.records.audit import service as audit
from hilum.records.audit.models import (
    Access,
    AccessQuery,
    ActivityPage,
    Event,
    EventPage,
    EventQuery,
    Outcome,
    RecordedEvent,
)
from hilum.surfaces.console import service, words
from hilum.surfaces.console.action_words import OPENINGS, ROUTINE
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Console, Empty, Filter, Listed, Option

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
    empty=Empty(
        "Nothing yet",
        "Each FHIR request of an app is listed here, with its decision, and what apps were refused before.",
    ),
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
    columns=(
        Column("When"),
        Column("Who"),
        Column("What"),
        Column("About"),
        Column("Why"),
        Column("Request"),
    ),
    one="event",
    many="events",
    empty=Empty("Nothing yet", "What people change is listed here."),
    filters=(
        Filter(
            "kind",
            "Kind",
            (
                Option("sign_in", "Sign-in"),
                Option("apps", "Launches and tokens"),
                Option("reading", "Reading"),
                Option("upkeep", "Upkeep"),
                Option("all", "Everything"),
            ),
            unset="Changes",
        ),
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
    """List FHIR requests and their decisions, among what apps were refused before they had a token. The read is recorded."""
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
        verb = partial(audit.read_activity, query=query, page=visit.ports.accesses, refused=tuple(OPENINGS))
        page: ActivityPage = await visit.audited(audit.reading_of(query), verb)
        return await visit.read(partial(_activity, page=page, console=visit.page.console))

    around = await frame(visit, ids, "accesses")
    return await visit.listing(ACCESSES, read, "console/activity.html", within=around["kept"], **around)


def _activity(ctx: Context, page: ActivityPage, console: Console) -> Listed:
    accesses = [each if isinstance(each, Access) else _as_access(each) for each in page.records]
    ids = [*(each.app for each in accesses), *(each.person for each in accesses)]
    names = service.names(ctx, ids, tenants=[each.tenant for each in accesses])
    rows = [
        (
            Cell("", at=each.at),
            _outcome(each),
            Cell(names.app(each.app) if each.app else each.client or "unknown"),
            Cell(
                f"{each.interaction} {each.resource_type}".strip(),
                note=f"patient {each.patient}" if each.patient else "",
            ),
            Cell(
                names.person(each.person) if each.person else "",
                note=words.role(each.role) if each.role else "",
            ),
            Cell(names.tenant(each.tenant)),
            _number(console, each.request_id),
        )
        for each in accesses
    ]
    records = [_named(each, names) | {"scope_or_rule": each.rule} | asdict(each) for each in accesses]
    return Listed(rows, None, next=page.next, records=records)


def _named(of: Access | Event, names: service.Names) -> dict[str, Any]:
    """Return the first fields of a record in a file: what its ids stand for."""
    return {"app_name": names.app(of.app), "person_name": names.person(of.person)}


def _number(console: Console, request_id: str) -> Cell:
    """Return the number of a request, which opens why it was answered as it was."""
    return Cell(request_id[-8:], address(f"{console}.request", request_id), kind="code")


def _as_access(recorded: RecordedEvent) -> Access:
    """Return what an app was refused before it had a token, as a row of the list of accesses."""
    event, facts, number = recorded.event, recorded.event.facts, recorded.request_id
    shared = ("tenant", "outcome", "reason", "app", "person", "launch", "authorization", "patient")
    return Access(
        **{name: getattr(event, name) for name in shared},
        request_id=number,
        decision=number,
        at=recorded.at,
        interaction=OPENINGS.get(event.action, event.action),
        resource_type="",
        status=0,
        detail=str(facts.get("rule", "")) or str(facts.get("detail", "")),
        client=event.client or str(facts.get("client_id", "")),
        role=str(facts.get("role", "")),
        correlation_id=recorded.correlation_id,
        source=recorded.source,
        count=int(facts.get("count", 1)),
    )


def _outcome(access: Access) -> Cell:
    if access.reason:
        times = f", {access.count} times" if access.count > 1 else ""
        text = f"refused {access.status or ''}".strip()
        return Cell(text, kind="badge", tone="bad", note=access.reason.replace("_", " ") + times)
    if access.outcome is Outcome.DONE:
        return Cell(f"answered {access.status}", kind="badge", tone="good")
    return Cell(access.outcome.value.replace("_", " "), kind="badge", tone="warn")


async def show_events(visit: Visit) -> Response:
    """List what people changed, newest first; what changes nothing, where its kind is asked for. The read is recorded."""
    ids = given(visit)
    ids.pop("patient", None)

    async def read(asked: Asked) -> Listed:
        kind = asked["kind"]
        query = EventQuery(
            **ids,
            outcome=asked["outcome"],
            since=_since(asked, visit.kit.clock.now()),
            after=asked.after,
            limit=ROWS,
            actions=ROUTINE.get(kind, ()),
            without=() if kind else tuple(chain.from_iterable(ROUTINE.values())),
        )
        page: EventPage = await visit.audited(
            audit.reading_of(query), partial(audit.read_events, query=query)
        )
        return await visit.read(partial(_events, visit=visit, page=page))

    around = await frame(visit, ids, "events")
    return await visit.listing(EVENTS, read, "console/activity.html", within=around["kept"], **around)


def _events(ctx: Context, visit: Visit, page: EventPage) -> Listed:
    found = page.events
    about = [text for each in found for text in (each.event.app, each.event.person)]
    targets = [target_of(each) for each in found]
    names = service.names(
        ctx,
        [*(each.actor for each in found), *about],
        tenants=[each.event.tenant for each in found],
        targets=[each for each in targets if each],
    )
    rows, records = [], []
    for each, target in zip(found, targets, strict=True):
        entry, event = words.timeline_entry(each, names), each.event
        object_, href = _object(visit, event, names.target(target) if target else "")
        people = filter(None, (names.app(event.app), names.person(event.person), names.tenant(event.tenant)))
        what = object_ or ", ".join(people)
        rows.append(
            (
                Cell("", at=each.at),
                Cell(entry.who),
                Cell(entry.what, tone=entry.tone),
                Cell(what, href, note=names.tenant(event.tenant) if object_ else ""),
                Cell(entry.why),
                _number(visit.page.console, each.request_id),
            )
        )
        said = {"who": entry.who, "what": entry.what, "about": what, "why": entry.why}
        fields = asdict(each)
        records.append(_named(event, names) | said | fields.pop("event") | fields)
    return Listed(rows, None, next=page.next, records=records)


def target_of(recorded: RecordedEvent) -> Target | None:
    """Return what the switch of an event is on; None for events of other modules."""
    text = str(recorded.event.facts.get("target", ""))
    return parse_target(text) if text and recorded.event.action.startswith("controls.switch.") else None


_OBJECTS = (
    ("switch", "switch", "kill switch"),
    ("approval", "approval", ""),
    ("exception", "exception", "exception"),
    ("dry_run", "dry_run", "dry run"),
    ("version", "version", "policy"),
    ("agreement", "agreement", "agreement"),
    ("service_owner", "service_owner", "service owner"),
    ("offboarding", "offboarding", "offboarding"),
)
"""The facts that name an object, the page that shows it, and its kind in words; the first that an event has is its object."""


def _object(visit: Visit, event: Event, target: str) -> tuple[str, str]:
    """Return what an event is about besides app, person and hospital, and the page of that, each empty if there is none."""
    by_book = event.action.startswith("policies.")
    for fact, page, kind in _OBJECTS:
        id_ = str(event.facts.get(fact, "") or "")
        # Apps have versions too, without a page of their own; a policy that is put in force names its dry run besides.
        if id_ and (fact != "version" or by_book) and (fact != "dry_run" or ".dry_run." in event.action):
            text = {"switch": target, "approval": f"request: {event.facts.get('kind', '')}".replace("_", " ")}
            return text.get(fact) or f"{kind} {id_}", visit.link(page, id_)
    return "", visit.link("app", event.app) or visit.link("person", event.person)


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
