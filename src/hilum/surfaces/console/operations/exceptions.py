"""Exceptions: where the policy is not followed for an app, with who answers for it, until when, and how many are open (C19, C23, C109, C207, K14)."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from statistics import median
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import policy as registry_policy
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.lists import counted
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import PolicyException
from hilum.review.certificates import service as certificates
from hilum.review.submissions.service import barred
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Listed
from hilum.surfaces.console.parts import exceptions as parts

LIST = List(
    columns=(
        Column("App"),
        Column("What applies"),
        Column("State"),
        Column("Who answers for it"),
        Column("Why"),
        Column("Done instead"),
        Column("Ends", number=True),
    ),
    one="exception",
    many="exceptions",
    empty=Empty(
        "None",
        "A reviewer raises a version's tier on the page of the app; two of you lower one, or waive a requirement, for a time.",
    ),
    filters=(parts.KINDS,),
)


async def show(visit: Visit) -> Response:
    """Show exceptions, newest first, with how many are open."""
    lead = await visit.read(_figures)
    return await visit.show_list(LIST, _listed, lead=lead, title="Exceptions")


def _figures(ctx: Context) -> str:
    """Return how many are open beside how many apps are certified, and how old they are (K14)."""
    live = policies.live_exceptions(ctx).values()
    since = [each.starts_at for of_app in live for each in of_app if each.kind.loosens]
    apps = certificates.count_certified(ctx)
    certified = counted(apps, "certified app")
    if not since:
        return f"None is in force among {certified}. Nothing else is certified for production without its disciplines."
    return f"{len(since):,} in force, among {certified}; their median age is {counted(_days(since, ctx.now), 'day')}."


def _days(since: Iterable[datetime], now: datetime) -> int:
    return round(median((now - each).total_seconds() for each in since) / 86_400)


def _listed(ctx: Context, asked: Asked) -> Listed:
    shown, following = parts.page(ctx, asked)
    ids = [id_ for each, _ in shown for id_ in (each.app, each.owner, each.agreed_by)]
    names = service.names(ctx, ids, tenants=[each.tenant or "" for each, _ in shown])
    rows = [_row(ctx, each, why, names) for each, why in shown]
    return Listed(rows, next=following)


def _row(ctx: Context, each: PolicyException, why: str, names: service.Names) -> tuple[Cell, ...]:
    place = names.tenant(each.tenant) if each.tenant else "every hospital"
    return (
        Cell(names.app(each.app), address("operations.app", each.app)),
        Cell(parts.what(ctx, each), address("operations.exception", each.id), note=f"at {place}"),
        parts.badge(why),
        Cell(
            names.actor(each.owner), note=f"agreed by {names.actor(each.agreed_by)}" if each.agreed_by else ""
        ),
        Cell(parts.short(each.reason)),
        Cell(parts.short(parts.instead(each))),
        parts.ends(each),
    )


async def show_one(visit: Visit) -> Response:
    """Show one exception, and the form that ends it early."""
    return await _page(visit)


async def _page(
    visit: Visit, given: Form = fields.NO_FORM, error: Invalid | Conflict | NotPermitted | None = None
) -> Response:
    return visit.render(
        "console/operations/exception.html",
        **fields.answered(given, error),
        **await visit.read(partial(_one, visit=visit)),
    )


def _one(ctx: Context, visit: Visit) -> dict[str, Any]:
    found, facts = parts.shown(ctx, visit.param())
    names = service.names(
        ctx, [found.app, found.owner, found.agreed_by, found.ended_by], tenants=[found.tenant or ""]
    )
    return facts | {
        "place": names.tenant(found.tenant) if found.tenant else "every hospital",
        "app": names.app(found.app),
        "app_page": address("operations.app", found.app),
        "owner": names.actor(found.owner),
        "agreed_by": names.actor(found.agreed_by) if found.agreed_by else "",
        "ended_by": names.actor(found.ended_by) if found.ended_at else "",
        "ends": not parts.is_over(ctx, found) and may_end(ctx.actor, found),
    }


def may_end(actor: Actor, found: PolicyException) -> bool:
    """Check whether the page offers to end an exception: a raised tier to reviewers, and everything else to administrators."""
    return policies.may_change(actor) if found.kind.loosens else registry_policy.may_certify(actor)


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    try:
        reason = fields.required(form, "reason")
        await visit.write(
            partial(registry.end_exception, exception_id=visit.param(), reason=reason, barred=barred)
        )
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(address("operations.exception", visit.param()))
