"""Exceptions that reach a hospital, letting an AI write alone there, and ending it (C19, C23, C207)."""

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
from hilum.policy.matrix.models import Autonomy, ExceptionKind, ExceptionOrder
from hilum.review.submissions.service import barred
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Listed
from hilum.surfaces.console.parts import exceptions as parts

LIST = List(
    columns=(
        Column("App"),
        Column("What applies"),
        Column("State"),
        Column("Done instead"),
        Column("Ends", number=True),
    ),
    one="exception",
    many="exceptions",
    empty=Empty(
        "None",
        "Two of you let an AI write alone on its app's page, for a time. What the platform's staff set everywhere is listed, too.",
    ),
    filters=(parts.KINDS,),
)


def live_at(ctx: Context, tenant: TenantId, app: AppId) -> list[tuple[str, str, datetime | None, str]]:
    """Return the exceptions for an app at a hospital now: what, what is done instead, until when, and its page."""
    return [
        (parts.titled(ctx, each), parts.instead(each), each.ends_at, address("tenant.exception", each.id))
        for each in policies.live_exceptions(ctx).get(app, ())
        if each.tenant in {None, tenant}
    ]


async def show_list(visit: Visit) -> Response:
    """List what is allowed at the hospital, newest first."""
    lead = "Where the policy is not followed for an app, and until when. One of you ends what is for your hospital alone."
    return await visit.show_list(LIST, _listed, lead=lead)


def _listed(ctx: Context, asked: Asked) -> Listed:
    shown, following = parts.page(ctx, asked)
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
                Cell(parts.instead(each)),
                parts.ends(each),
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
    known = fields.names(ctx, [found.app, found.owner, found.agreed_by, found.ended_by])
    own = found.tenant is not None and administers(ctx.actor, found.tenant)
    return facts | {
        "app": known.get(found.app, "an app"),
        "app_page": address("tenant.app", found.app),
        "owner": fields.who(known, found.owner, "the platform's staff"),
        "agreed_by": fields.who(known, found.agreed_by, "the platform's staff") if found.agreed_by else "",
        "ended_by": fields.who(known, found.ended_by, "the platform's staff") if found.ended_at else "",
        "writes": found.kind is ExceptionKind.AUTONOMOUS_WRITES,
        "ends": own and not parts.is_over(ctx, found),
        "everywhere": found.tenant is None,
    }


async def end(visit: Visit, form: Form) -> Response:
    """End an exception at once; one person does it."""
    try:
        reason = fields.required(form, "reason")
        await visit.write(
            partial(registry.end_exception, exception_id=visit.param(), reason=reason, barred=barred)
        )
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
        return {"app": app, "versions": alone_of(ctx, app.id), "longest": book.exceptions.longest.days}

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
        order = ExceptionOrder(
            ExceptionKind.AUTONOMOUS_WRITES,
            app,
            form.one("reason"),
            VersionId(form.one("version")),
            TenantId(str(ctx.actor.tenant)),
            control=form.one("control"),
            ends_at=until,
        )
        done = registry.ask_exception(ctx, order)
        assert isinstance(done, AskedTwo), "what loosens something takes two people"
        return done

    try:
        done = await visit.write(verb)
    except (Invalid, Conflict, NotPermitted, Unavailable) as error:
        return await _alone(visit, form, error)
    return to_approval(visit, done)
