"""What two people allow an app at a hospital for a time: an AI that writes alone, a rule set aside, a lower tier; and ending it (C19, C23, C207)."""

from datetime import datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.approvals.models import Asked as AskedTwo
from hilum.console import fields
from hilum.console.desk import Visit, address, to
from hilum.console.lists import List
from hilum.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.console.operations.exceptions import WHY_NOT, what
from hilum.controls.policy import administers
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.kernel.ids import AppId, TenantId, VersionId
from hilum.kernel.pages import PageQuery
from hilum.policies import service as policies
from hilum.policies.models import NOT_STATED, Autonomy, Override, PolicyException
from hilum.registry import service as registry
from hilum.web.forms import Form

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
Allowance = Override | PolicyException


def live_at(ctx: Context, tenant: TenantId, app: AppId) -> list[tuple[str, str, datetime, str]]:
    """Return what is allowed an app at a hospital now: what, what is done instead, until when, and its page."""
    of: list[Allowance] = [
        *policies.live_exceptions(ctx).get(app, ()),
        *policies.live_overrides(ctx).get(app, ()),
    ]
    return [
        (*_said(ctx, each), each.ends_at, address("tenant.exception", each.id))
        for each in of
        if each.tenant in {None, tenant}
    ]


def _said(ctx: Context, each: Allowance) -> tuple[str, str]:
    allowed, instead = what(ctx, each)
    return f"{allowed[:1].upper()}{allowed[1:]}", instead


async def show_list(visit: Visit) -> Response:
    """List what is allowed at the hospital, newest first."""

    async def read(asked: Asked) -> Listed:
        return await visit.read(partial(_listed, asked=asked))

    lead = "What apps may do here for a time although the rule book says otherwise. One of you ends what is for your hospital alone."
    return await visit.listing(LIST, read, lead=lead)


def _listed(ctx: Context, asked: Asked) -> Listed:
    page = PageQuery(asked.after, ROWS + 1)
    found: list[tuple[Allowance, str]]
    found = [*(policies.shown_overrides if asked["kind"] else policies.shown_exceptions)(ctx, page)]
    shown = found[:ROWS]
    known = fields.names(ctx, [each.app for each, _ in shown])
    rows = []
    for each, why in shown:
        allowed, instead = _said(ctx, each)
        rows.append(
            (
                Cell(known.get(each.app, "an app"), address("tenant.app", each.app)),
                Cell(allowed, address("tenant.exception", each.id), note="" if each.tenant else "everywhere"),
                Cell(WHY_NOT.get(why, "does not count"), kind="pill", tone="plain" if why else "warn"),
                Cell(instead),
                Cell("", at=each.ends_at),
            )
        )
    return Listed(rows, next=shown[-1][0].id if len(found) > ROWS else "")


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
    found, why = policies.shown_allowance(ctx, id_)
    known = fields.names(ctx, [found.app, found.asked_by, found.agreed_by, found.ended_by])
    over = found.ended_at is not None or ctx.now >= found.ends_at
    return {
        "found": found,
        "what": _said(ctx, found)[0],
        "app": known.get(found.app, "an app"),
        "app_page": address("tenant.app", found.app),
        "state": WHY_NOT.get(why, "does not count"),
        "tone": "plain" if why else "warn",
        "control": found.control or NOT_STATED,
        "asked_by": fields.who(known, found.asked_by, "the platform's staff"),
        "agreed_by": fields.who(known, found.agreed_by, "the platform's staff"),
        "ended_by": fields.who(known, found.ended_by, "the platform's staff") if found.ended_at else "",
        "writes": not isinstance(found, Override) and not found.tier,
        "ends": not over and found.tenant is not None and administers(ctx.actor, found.tenant),
        "everywhere": found.tenant is None,
    }


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    id_ = visit.param()
    verb = policies.end_override if id_.startswith("ovr_") else policies.end_exception
    try:
        reason = fields.required(form, "reason")
        await visit.write(lambda ctx: verb(ctx, id_, reason))
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
    return to(address("tenant.approval", done.approval.id))
