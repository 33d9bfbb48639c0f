"""Exceptions: what two people allow an app for a time, with who answers for it, until when, and how many are open (C19, C23, C109, C207, K14)."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.lists import counted
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.review.certificates import service as certificates
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import exceptions as parts

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


async def show(visit: Visit) -> Response:
    """Show exceptions, newest first, with how many are open."""
    lead = await visit.read(_figures)
    return await visit.show_list(LIST, _listed, lead=lead, title="Exceptions")


def _figures(ctx: Context) -> str:
    """Return how many are open beside how many apps are certified, and how old they are (K14)."""
    live = (policies.live_overrides(ctx), policies.live_exceptions(ctx))
    since = [each.agreed_at for kind in live for of_app in kind.values() for each in of_app]
    apps = certificates.count_certified(ctx)
    certified = counted(apps, "certified app")
    if not since:
        return f"None is in force among {certified}. Nothing else is certified for production without its lenses."
    return f"{len(since):,} in force, among {certified}; their median age is {counted(_days(since, ctx.now), 'day')}."


def _days(since: Iterable[datetime], now: datetime) -> int:
    return round(median((now - each).total_seconds() for each in since) / 86_400)


def _listed(ctx: Context, asked: Asked) -> Listed:
    shown, following = parts.page(ctx, asked, rules=not asked["kind"])
    ids = [id_ for each, _ in shown for id_ in (each.app, each.asked_by, each.agreed_by)]
    names = service.names(ctx, ids, tenants=[each.tenant or "" for each, _ in shown])
    rows = [_row(ctx, each, why, names) for each, why in shown]
    return Listed(rows, next=following)


def _row(ctx: Context, each: parts.Allowance, why: str, names: service.Names) -> tuple[Cell, ...]:
    place = names.tenant(each.tenant) if each.tenant else "every hospital"
    allowed, instead = parts.what(ctx, each)
    return (
        Cell(names.app(each.app), address("operations.app", each.app)),
        Cell(allowed, address("operations.exception", each.id), note=f"at {place}"),
        parts.badge(why),
        Cell(names.actor(each.asked_by), note=f"agreed by {names.actor(each.agreed_by)}"),
        Cell(parts.short(each.reason)),
        Cell(instead),
        Cell("", at=each.ends_at),
    )


async def show_one(visit: Visit) -> Response:
    """Show one exception, and the form that ends it early."""
    return visit.render("console/operations/exception.html", **await visit.read(partial(_one, visit=visit)))


def _one(ctx: Context, visit: Visit) -> dict[str, Any]:
    found, facts = parts.shown(ctx, visit.param())
    names = service.names(
        ctx, [found.app, found.asked_by, found.agreed_by, found.ended_by], tenants=[found.tenant or ""]
    )
    return facts | {
        "place": names.tenant(found.tenant) if found.tenant else "every hospital",
        "app": names.app(found.app),
        "app_page": address("operations.app", found.app),
        "asked_by": names.actor(found.asked_by),
        "agreed_by": names.actor(found.agreed_by),
        "ended_by": names.actor(found.ended_by) if found.ended_at else "",
        "ends": not parts.is_over(ctx, found) and policies.may_change(ctx.actor),
    }


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    reason = fields.required(form, "reason")
    await visit.write(partial(parts.end, id_=visit.param(), reason=reason))
    return to(address("operations.exception", visit.param()))
