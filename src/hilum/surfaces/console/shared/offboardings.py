"""Hospitals that left: what each had, what its erasure waits for, and what became of it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import ApprovalKind
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.hospitals.offboarding import service as offboardings
from hilum.hospitals.offboarding.models import ERASE_AFTER_DEFAULT, Offboarding, State, Waits
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.surfaces.console import fields, policy
from hilum.surfaces.console.desk import Visit, address, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import FOUND_BOUND, Asked, Cell, Column, Console, Empty, Listed

ROWS = 50
TONES = {State.LEFT: "warn", State.ERASING: "warn", State.ERASED: "good"}
WAITS = {
    Waits.EXPORT: "the export",
    Waits.DATE: "its day",
    Waits.HOLD: "a hold to be released",
    Waits.NOTHING: "nothing: the next step is in progress",
}
LIST = List(
    columns=(
        Column("Hospital"),
        Column("State"),
        Column("Left", number=True),
        Column("Erased from", number=True),
        Column("Waits for"),
    ),
    one="offboarding",
    many="offboardings",
    empty=Empty(
        "No hospital has left",
        "Two of you let one leave. What waits for a second person is under Staff.",
    ),
)
DAYS = (
    ("7", "a week"),
    ("14", "two weeks"),
    ("30", "30 days"),
    ("60", "60 days"),
    ("90", "90 days"),
    ("180", "half a year"),
    ("365", "a year"),
)
"""After how long what is a hospital's own is erased: from the least to the most that there may be."""


async def show_list(visit: Visit) -> Response:
    """List the hospitals that left, newest first."""

    def look(ctx: Context, asked: Asked) -> Listed:
        page = PageQuery(policy.word(asked.after, "after"), ROWS)
        found = offboardings.list_offboardings(ctx, page)
        rows = [
            (
                Cell(each.name, address("operations.offboarding", each.id)),
                Cell(each.state.value, kind="badge", tone=TONES[each.state]),
                Cell(f"{each.left_at:%-d %b %Y}"),
                Cell(f"{each.erase_at:%-d %b %Y}"),
                Cell("" if each.state is State.ERASED else WAITS[waits]),
            )
            for each, waits in found
        ]
        return Listed(rows, None, next=found[-1][0].id if len(found) == ROWS else "")

    lead = "Hospitals that left the platform, what is erased of them and when."
    if asking := await visit.read(_asking) if visit.may_open("operations.staff") else 0:
        lead += f" {counted(asking, 'more waits', 'more wait')} for a second person, under Staff."
    new = address("operations.offboarding_new") if visit.may_open("operations.offboarding_new") else ""
    action = ("Let a hospital leave", new, "danger") if new else None
    return await visit.show_list(LIST, look, lead=lead, action=action)


async def show_new(visit: Visit) -> Response:
    """Choose the hospital that leaves; then show what it would lose, and ask why."""
    query = visit.query()
    if query.one("tenant"):
        return await _confirm(visit, query)
    text = " ".join(query.one("q").split())[:200]

    def look(ctx: Context) -> list[tuple[str, str]]:
        found = (
            identity.search_tenants(ctx, text, FOUND_BOUND)
            if text
            else identity.view_tenants(ctx, PageQuery(limit=FOUND_BOUND))
        )
        return [
            (each.name, address("operations.offboarding_new", tenant=each.id))
            for each in found
            if each.active
        ]

    return visit.render(
        "console/offboardings/choose.html", text=text, found=await visit.read(look), path=visit.path
    )


async def show_own(visit: Visit) -> Response:
    """Show a hospital's administrator what the hospital would lose by leaving, and ask why."""
    return await _confirm(visit, fields.NO_FORM)


def _of(ctx: Context, form: Form) -> Tenant:
    """Return the hospital that a form is about: an administrator's own, or the one that the staff chose. Raises NotFound."""
    id_ = ctx.actor.tenant or policy.word(form.one("tenant"), "tenant")
    return identity.get_tenant(ctx, TenantId(id_))


async def _confirm(visit: Visit, given: Form, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        tenant = _of(ctx, given)
        had = offboardings.preview(ctx, tenant.id)
        return {"tenant": tenant, "had": _in_words(had)}

    own = visit.page.console is Console.TENANT
    return visit.render(
        "console/offboardings/new.html",
        **fields.answered(given, error),
        days=DAYS,
        second="Another administrator, or the platform's staff,"
        if own
        else "A second of you, or an administrator of the hospital,",
        back=address("tenant.settings" if own else "operations.offboardings"),
        usual=str(ERASE_AFTER_DEFAULT),
        **await visit.read(look),
    )


async def ask(visit: Visit, form: Form) -> Response:
    """Ask a second person to let a hospital leave, for good."""

    def verb(ctx: Context) -> AskedTwo:
        tenant = _of(ctx, form)
        if form.one("name").strip() != tenant.name:
            raise Invalid("form_invalid", "Type its name as shown here.", fields={"name": "name_differs"})
        if form.one("days") not in {days for days, _ in DAYS}:
            raise Invalid("form_invalid", "Choose when it is erased.", fields={"days": "not_an_option"})
        return offboardings.ask(ctx, tenant.id, form.one("reason"), int(form.one("days")))

    try:
        done = await visit.write(verb)
    except (Invalid, Conflict, Unavailable, NotPermitted) as error:
        return await _confirm(visit, form, error)
    return to_approval(visit, done)


def _in_words(had: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name.replace("_", " ").capitalize(), number) for name, number in had.items()]


def _asking(ctx: Context) -> int:
    pending = approvals.list_pending(ctx, page=PageQuery(limit=PAGE_BOUND))
    return sum(each.act.kind is ApprovalKind.OFFBOARDING for each in pending)


async def show(visit: Visit) -> Response:
    """Show an offboarding."""
    found, waits, known = await visit.read(partial(_read, visit=visit))
    return visit.render(
        "console/offboardings/offboarding.html",
        found=found,
        tone=TONES[found.state],
        waits="" if found.state is State.ERASED else waits.value,
        asked_by=fields.who(known, found.asked_by, "somebody of the hospital"),
        agreed_by=fields.who(known, found.agreed_by, "a colleague"),
        had=_in_words(found.preview),
        erased=_erased(found),
        stays=offboardings.kept_tables() if found.erased_at else (),
        switch=address("operations.switch", found.switch),
        evidence=address("operations.evidence") if visit.may_open("operations.evidence") else "",
    )


def _read(ctx: Context, visit: Visit) -> tuple[Offboarding, Waits, dict[str, str]]:
    found, waits = offboardings.view(ctx, visit.param())
    return found, waits, fields.names(ctx, [found.asked_by, found.agreed_by])


def _erased(found: Offboarding) -> list[tuple[str, Any]]:
    """Return how many rows were erased so far, by what they were."""
    said = offboardings.erased_tables()
    rows = found.progress.get("rows", {})
    return [(said[table], number) for table, number in rows.items() if table in said]
