"""Evidence: what keeps records from being purged, and how far the audit's chains are signed and anchored."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.names.models import Kind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import HOLD_REASON_BOUND, Anchored, Hold
from hilum.records.audit.policy import may_hold
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to


async def show(visit: Visit) -> Response:
    """Show the holds in force, and what the anchor confirms."""
    return await _page(visit, fields.NO_FORM, None)


async def _page(visit: Visit, given: Form, error: Invalid | None) -> Response:
    # Read before the transaction: what is anchored later is not seen in it.
    anchored = await visit.read(partial(_anchored, visit=visit))
    facts = await visit.read(partial(_shown, visit=visit))
    return visit.render(
        "console/operations/evidence.html",
        **fields.answered(given, error),
        bound=HOLD_REASON_BOUND,
        anchored=anchored,
        **facts,
    )


def _anchored(_: Context, visit: Visit) -> Anchored | None:
    return max(visit.ports.anchored(), key=lambda each: each.number, default=None)


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    holds = audit.list_holds(ctx, PageQuery(limit=PAGE_BOUND))
    ids = [id_ for each in holds for id_ in (each.app, each.placed_by)]
    known = fields.names(ctx, ids, [each.tenant for each in holds])
    me = str(ctx.actor)
    return {
        "holds": [
            (
                each,
                _about(each, known),
                fields.who(known, each.placed_by, "a colleague"),
                each.placed_by == me,
            )
            for each in holds
        ],
        "keeps": may_hold(ctx.actor),
        "newest": audit.newest_checkpoint(ctx),
        "hospitals": [each.name for each in identity.view_tenants(ctx, PageQuery(limit=PAGE_BOUND))],
        "me": visit.visitor.person.id,
    }


def _about(hold: Hold, known: dict[str, str]) -> str:
    parts = [known.get(hold.tenant, hold.tenant), known.get(hold.app, hold.app)]
    parts += [f"patient {hold.patient}" if hold.patient else ""]
    return ", ".join(filter(None, parts)) or "everything"


async def act(visit: Visit, form: Form) -> Response:
    """Place a hold, or release one as a second person."""
    try:
        match form.one("act"):
            case "place":
                await visit.write(partial(_place, form=form))
            case "release":
                await visit.write(partial(audit.release_hold, hold=form.one("hold")))
            case _:
                raise fields.no_such_act()
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("operations.evidence"))


def _place(ctx: Context, form: Form) -> Hold:
    about = {"patient": form.one("patient").strip()}
    for name, kind in (("tenant", Kind.TENANT), ("app", Kind.APP)):
        text = form.one(name).strip()
        about[name] = fields.named(ctx, kind, text, name) if text else ""
    known = bool(about["tenant"]) and identity.was_tenant(ctx, TenantId(about["tenant"]))
    reason, since = form.one("reason"), fields.day(form, "since")
    return audit.place_hold(ctx, reason, since=since, about=about, tenant_known=known)
