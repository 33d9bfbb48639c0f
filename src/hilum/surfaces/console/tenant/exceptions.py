"""What two people allow an app at a hospital for a time: an AI that writes alone, a rule set aside, a lower tier; and ending it (C19, C23, C207)."""

from datetime import datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.controls.switches.policy import administers
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Autonomy, Override
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import exceptions as parts

LIST = List(
    columns=(
        Column("App"),
        Column("What is allowed"),
        Column("State"),
        Column("Done instead"),
        Column("Ends", number=True),
    ),
    one="exception",
    many="exceptions",
    empty=Empty(
        "None of this kind",
        "Two of you let an AI write alone on its app's page, for a time. What the platform's staff allow everywhere is listed, too.",
    ),
    filters=(Filter("kind", "Kind", (Option("rules", "Rules set aside"),), unset="AI and tiers"),),
)


def live_at(ctx: Context, tenant: TenantId, app: AppId) -> list[tuple[str, str, datetime, str]]:
    """Return what is allowed an app at a hospital now: what, what is done instead, until when, and its page."""
    of: list[parts.Allowance] = [
        *policies.live_exceptions(ctx).get(app, ()),
        *policies.live_overrides(ctx).get(app, ()),
    ]
    return [
        (
            parts.titled(ctx, each),
            parts.what(ctx, each)[1],
            each.ends_at,
            address("tenant.exception", each.id),
        )
        for each in of
        if each.tenant in {None, tenant}
    ]


async def show_list(visit: Visit) -> Response:
    """List what is allowed at the hospital, newest first."""
    lead = "What apps may do here for a time although the rule book says otherwise. One of you ends what is for your hospital alone."
    return await visit.show_list(LIST, _listed, lead=lead)


def _listed(ctx: Context, asked: Asked) -> Listed:
    shown, following = parts.page(ctx, asked, rules=bool(asked["kind"]))
    known = fields.names(ctx, [each.app for each, _ in shown])
    rows = []
    for each, why in shown:
        rows.append(
            (
                Cell(known.get(each.app, "an app"), address("tenant.app", each.app)),
                Cell(
                    parts.titled(ctx, each),
                    address("tenant.exception", each.id),
                    note="" if each.tenant else "everywhere",
                ),
                parts.badge(why),
                Cell(parts.what(ctx, each)[1]),
                Cell("", at=each.ends_at),
            )
        )
    return Listed(rows, next=following)


async def show(visit: Visit) -> Response:
    """Show one exception, and the form that ends it early."""
    return await _page(visit)


async def _page(
    visit: Visit, given: Form = fields.NO_FORM, error: Invalid | Conflict | NotPermitted | None = None
) -> Response:
    return visit.render(
        "console/tenant/exception.html",
        **fields.answered(given, error),
        **await visit.read(partial(_one, id_=visit.param())),
    )


def _one(ctx: Context, id_: str) -> dict[str, Any]:
    found, facts = parts.shown(ctx, id_)
    known = fields.names(ctx, [found.app, found.asked_by, found.agreed_by, found.ended_by])
    own = found.tenant is not None and administers(ctx.actor, found.tenant)
    return facts | {
        "app": known.get(found.app, "an app"),
        "app_page": address("tenant.app", found.app),
        "asked_by": fields.who(known, found.asked_by, "the platform's staff"),
        "agreed_by": fields.who(known, found.agreed_by, "the platform's staff"),
        "ended_by": fields.who(known, found.ended_by, "the platform's staff") if found.ended_at else "",
        "writes": not isinstance(found, Override) and not found.tier,
        "ends": own and not parts.is_over(ctx, found),
        "everywhere": found.tenant is None,
    }


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    try:
        reason = fields.required(form, "reason")
        await visit.write(partial(parts.end, id_=visit.param(), reason=reason))
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(visit.path)


def alone_of(ctx: Context, app: AppId) -> list[tuple[str, str]]:
    """Return the versions of an app whose AI acts alone, those added last first."""
    found = sorted(registry.read_versions(ctx, [app]).values(), key=lambda each: each.id, reverse=True)
    return [
        (each.id, f"version {each.label}: {each.ai_use.purpose}")
        for each in found
        if each.ai_use is not None and each.ai_use.autonomy is Autonomy.ACTS_ALONE
    ]


async def show_alone(visit: Visit) -> Response:
    """Show the form that asks to let an app's AI write alone."""
    return await _alone(visit)


async def _alone(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        app = registry.view_app(ctx, AppId(visit.param()))
        assert ctx.actor.tenant is not None, "the page is for people of a hospital"
        book = policies.current(ctx).book_at(TenantId(ctx.actor.tenant), ctx.now, app.id)
        return {"app": app, "versions": alone_of(ctx, app.id), "longest": book.longest_exception.days}

    return visit.render(
        "console/tenant/alone.html", **fields.answered(given, error), **await visit.read(look)
    )


async def ask_alone(visit: Visit, form: Form) -> Response:
    """Ask a colleague to let a version's AI write here with no person in between, until a day."""

    def verb(ctx: Context) -> AskedTwo:
        app = AppId(visit.param())
        if form.one("version") not in dict(alone_of(ctx, app)):
            raise Invalid("form_invalid", "Choose a version.", fields={"version": "not_autonomous"})
        until = fields.day(form, "ends_at")
        if until is None:
            raise Invalid("form_invalid", "Say until when.", fields={"ends_at": "missing"})
        return registry.allow_autonomous_writes(
            ctx,
            TenantId(str(ctx.actor.tenant)),
            VersionId(form.one("version")),
            form.one("reason"),
            until,
            control=form.one("control"),
        )

    try:
        done = await visit.write(verb)
    except (Invalid, Conflict, NotPermitted, Unavailable) as error:
        return await _alone(visit, form, error)
    return to_approval(visit, done)
