"""Hospitals that left: what each had, what its erasure waits for, what became of it, and the proof to hand over."""

from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.approvals import service as approvals
from hilum.approvals.models import ApprovalKind
from hilum.console import fields, policy
from hilum.console.desk import Visit, address, file
from hilum.console.lists import List
from hilum.console.models import Asked, Cell, Column, Empty, Listed
from hilum.departures import service as departures
from hilum.departures.models import Departure, State, Waits
from hilum.infra.context import Context
from hilum.kernel.pages import PAGE_BOUND, PageQuery

ROWS = 50
TONES = {State.LEFT: "warn", State.ERASING: "warn", State.ERASED: "good"}
WAITS = {
    Waits.EXPORT: "the export",
    Waits.DATE: "its day",
    Waits.HOLD: "a hold to be released",
    Waits.RECORD: "somebody to look: it is not as the audit recorded it",
    Waits.NOTHING: "nothing: the next step is under way",
}
LIST = List(
    columns=(
        Column("Hospital"),
        Column("State"),
        Column("Left", number=True),
        Column("Erased from", number=True),
        Column("Waits for"),
    ),
    one="departure",
    many="departures",
    empty=Empty(
        "No hospital has left",
        "Two people let one leave: hilum tenant leave ask. What waits for a second person is under Staff.",
    ),
)


async def show_list(visit: Visit) -> Response:
    """List the hospitals that left, newest first."""

    def look(ctx: Context, asked: Asked) -> Listed:
        page = PageQuery(policy.word(asked.after, "after"), ROWS)
        found = departures.list_departures(ctx, page)
        rows = [
            (
                Cell(each.name, address("operations.departure", each.id)),
                Cell(each.state.value, kind="pill", tone=TONES[each.state]),
                Cell(f"{each.left_at:%-d %b %Y}"),
                Cell(f"{each.erase_at:%-d %b %Y}"),
                Cell("" if each.state is State.ERASED else WAITS[waits]),
            )
            for each, waits in found
        ]
        return Listed(rows, None, next=found[-1][0].id if len(found) == ROWS else "")

    async def read(asked: Asked) -> Listed:
        return await visit.read(partial(look, asked=asked))

    lead = "Hospitals that left the platform, what is erased of them and when, and the proof of it."
    if asking := await visit.read(_asking) if visit.may_open("operations.staff") else 0:
        lead += f" {asking} more {'waits' if asking == 1 else 'wait'} for a second person, under Staff."
    return await visit.listing(LIST, read, lead=lead)


def _asking(ctx: Context) -> int:
    pending = approvals.list_pending(ctx, page=PageQuery(limit=PAGE_BOUND))
    return sum(each.act.kind is ApprovalKind.DEPARTURE for each in pending)


async def show(visit: Visit) -> Response:
    """Show a departure, or send its erasure proof as a file."""
    found, waits, known = await visit.read(partial(_read, visit=visit))
    if "proof" in visit.query().values and found.record:
        signed = {"document": found.record, "kid": found.kid, "signature": found.signature}
        body = orjson.dumps(signed, default=dict, option=orjson.OPT_INDENT_2)
        return file(body, f"erasure-proof-{found.id}.json", "application/json")
    return visit.render(
        "console/operations/departure.html",
        found=found,
        tone=TONES[found.state],
        waits="" if found.state is State.ERASED else waits.value,
        asked_by=fields.who(known, found.asked_by, "somebody of the hospital"),
        agreed_by=fields.who(known, found.agreed_by, "a colleague"),
        had=[(name.replace("_", " ").capitalize(), number) for name, number in found.preview.items()],
        erased=_erased(found),
        stays=found.record.get("stays", ()),
        switch=address("operations.switch", found.switch),
        evidence=address("operations.evidence") if visit.may_open("operations.evidence") else "",
        proof=f"{visit.path}?proof=1" if found.record else "",
    )


def _read(ctx: Context, visit: Visit) -> tuple[Departure, Waits, dict[str, str]]:
    found, waits = departures.view(ctx, visit.param())
    return found, waits, fields.names(ctx, [found.asked_by, found.agreed_by])


def _erased(found: Departure) -> list[tuple[str, Any]]:
    """Return how many rows were erased so far, by what they were."""
    counts = found.progress.get("counts", {})
    said = departures.erased_tables()
    return [(said[table], each["rows"]) for table, each in counts.items() if each["rows"] and table in said]
