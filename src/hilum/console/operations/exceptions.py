"""Exceptions: what two people allow an app for a time, with who answers for it, until when, and how many are open (C19, C23, C109, C207, K14)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from statistics import median
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from hilum.certificates import service as certificates
from hilum.console import fields, service
from hilum.console.desk import Visit, address, to
from hilum.console.lists import List
from hilum.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.infra.context import Context
from hilum.kernel.pages import PageQuery
from hilum.policies import service as policies
from hilum.policies.models import NOT_STATED, Override, PolicyException
from hilum.web.forms import Form

LIST = List(
    columns=(
        Column("App"),
        Column("What is allowed"),
        Column("State"),
        Column("Who answers for it"),
        Column("Why"),
        Column("Done instead"),
        Column("Ends", number=True),
    ),
    one="exception",
    many="exceptions",
    empty=Empty(
        "None of this kind",
        "Two of you set an overridable rule aside for an app, or lower a version's tier, on the page of the app, for a time.",
    ),
    filters=(Filter("kind", "Kind", (Option("versions", "Of versions"),), unset="Rules set aside"),),
)
WHY_NOT: Mapping[str, str] = MappingProxyType(
    {
        "": "open",
        "ended": "ended",
        "expired": "over",
        "elsewhere": "counts nowhere",
    }
)
"""The state of an exception in a word; what is not here does not count under the rule book in force."""
TEXT_SHOWN = 200


async def show(visit: Visit) -> Response:
    """Show exceptions, newest first, with how many are open."""

    async def read(asked: Asked) -> Listed:
        return await visit.read(partial(_listed, asked=asked))

    lead = await visit.read(_figures)
    return await visit.listing(LIST, read, lead=lead, title="Exceptions")


def _figures(ctx: Context) -> str:
    """Return how many are open beside how many apps are certified, and how old they are (K14)."""
    live = (policies.live_overrides(ctx), policies.live_exceptions(ctx))
    since = [each.agreed_at for kind in live for of_app in kind.values() for each in of_app]
    apps = certificates.count_certified(ctx)
    certified = f"{apps:,} certified {'app' if apps == 1 else 'apps'}"
    if not since:
        return (
            f"None is open, beside {certified}. Nothing else is certified for production without its lenses."
        )
    return f"{len(since):,} open, beside {certified}; their median age is {_days(since, ctx.now)} days."


def _days(since: Iterable[datetime], now: datetime) -> int:
    return round(median((now - each).total_seconds() for each in since) / 86_400)


def _listed(ctx: Context, asked: Asked) -> Listed:
    page = PageQuery(asked.after, ROWS + 1)
    found: list[tuple[Override | PolicyException, str]]
    found = [*(policies.shown_exceptions if asked["kind"] else policies.shown_overrides)(ctx, page)]
    shown = found[:ROWS]
    ids = [id_ for each, _ in shown for id_ in (each.app, each.asked_by, each.agreed_by)]
    names = service.names(ctx, ids, tenants=[each.tenant or "" for each, _ in shown])
    rows = [_row(ctx, each, why, names) for each, why in shown]
    return Listed(rows, next=shown[-1][0].id if len(found) > ROWS else "")


def _row(ctx: Context, each: Override | PolicyException, why: str, names: service.Names) -> tuple[Cell, ...]:
    place = names.tenant(each.tenant) if each.tenant else "every hospital"
    allowed, instead = what(ctx, each)
    return (
        Cell(names.app(each.app), address("operations.app", each.app)),
        Cell(allowed, address("operations.exception", each.id), note=f"at {place}"),
        Cell(WHY_NOT.get(why, "does not count"), kind="pill", tone="plain" if why else "warn"),
        Cell(names.actor(each.asked_by), note=f"agreed by {names.actor(each.agreed_by)}"),
        Cell(_short(each.reason)),
        Cell(instead),
        Cell("", at=each.ends_at),
    )


def what(ctx: Context, each: Override | PolicyException) -> tuple[str, str]:
    """Return what is allowed, and what is done instead."""
    if isinstance(each, Override):
        return f"without the rule {each.rule}", _short(each.control)
    label, instead = f"version {service.version_label(ctx, each.version)}", _short(each.control) or NOT_STATED
    if each.tier:
        return f"{label} counts as {each.tier}, not as {each.computed}", instead
    return f"the AI of {label} writes alone", instead


async def show_one(visit: Visit) -> Response:
    """Show one exception, and the form that ends it early."""
    return visit.render("console/operations/exception.html", **await visit.read(partial(_one, visit=visit)))


def _one(ctx: Context, visit: Visit) -> dict[str, Any]:
    found, why = policies.shown_allowance(ctx, visit.param())
    names = service.names(
        ctx, [found.app, found.asked_by, found.agreed_by, found.ended_by], tenants=[found.tenant or ""]
    )
    allowed, _ = what(ctx, found)
    over = found.ended_at is not None or ctx.now >= found.ends_at
    return {
        "found": found,
        "what": f"{allowed[:1].upper()}{allowed[1:]}",
        "place": names.tenant(found.tenant) if found.tenant else "every hospital",
        "app": names.app(found.app),
        "app_page": address("operations.app", found.app),
        "state": WHY_NOT.get(why, "does not count"),
        "tone": "plain" if why else "warn",
        "control": found.control or NOT_STATED,
        "asked_by": names.actor(found.asked_by),
        "agreed_by": names.actor(found.agreed_by),
        "ended_by": names.actor(found.ended_by) if found.ended_at else "",
        "ends": not over and policies.may_change(ctx.actor),
    }


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    reason = fields.required(form, "reason")
    verb = policies.end_override if visit.param().startswith("ovr_") else policies.end_exception
    await visit.write(lambda ctx: verb(ctx, visit.param(), reason))
    return to(address("operations.exception", visit.param()))


def _short(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
