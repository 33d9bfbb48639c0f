"""What vendors changed and waits for a reviewer: names, purposes, logos and clients (C12)."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import policy
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import EditState, HeldEdit
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.forms import Form
from hilum.review.submissions.service import barred
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.fields import no_such_act
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import held_changes as parts

LIST = List(
    columns=(
        Column("Of"),
        Column("What"),
        Column("Vendor"),
        Column("Asked", number=True),
    ),
    one="change",
    many="changes",
    empty=Empty(
        "Nothing waits",
        "Vendors' changes to certified apps and clients wait here.",
    ),
    filters=(Filter("kind", "Of", (Option("clients", "Clients"),), unset="Names, purposes and logos"),),
)


async def show_list(visit: Visit) -> Response:
    """List the changes that wait, the oldest first."""
    return await visit.show_list(
        LIST,
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="Changes by vendors that wait for a reviewer. Nothing changes before the decision.",
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    found, known, following = parts.page(ctx, visit, asked, of_apps=not asked["kind"])
    rows = [
        (
            Cell(parts.of_what(each, known), address("review.change", each.id)),
            Cell(parts.what(each)),
            Cell(known.get(each.vendor, "a vendor")),
            Cell("", at=each.asked_at),
        )
        for each in found
    ]
    return Listed(rows, next=following)


async def show(visit: Visit) -> Response:
    """Show a change: what it replaces, its logo beside the one before, and the form that decides."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    return visit.render(
        "console/review/change.html",
        **fields.answered(given, error),
        **await visit.read(partial(_shown, visit=visit)),
    )


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    found = parts.held(ctx, visit)
    known = fields.names(ctx, [found.app, found.client or "", found.vendor, found.asked_by, found.decided_by])
    waits = found.state is EditState.PENDING
    certifies = policy.may_certify(ctx.actor)
    tied = certifies and barred(ctx, registry.get_app(ctx, found.app))
    return {
        "found": found,
        "of": parts.of_what(found, known),
        "app": known.get(found.app, "an app"),
        "app_page": address("operations.app", found.app),
        "vendor": known.get(found.vendor, "a vendor"),
        "state": parts.STATES[found.state],
        "rows": parts.rows_of(found),
        "logos": _logos(visit, found) if "logo" in found.order and waits else (),
        "asked_by": fields.who(known, found.asked_by, "a former member"),
        "decided_by": fields.who(known, found.decided_by, "a colleague") if found.decided_by else "",
        "waits": waits,
        "approves": waits and certifies and not tied,
        "tied": waits and tied,
        "refuses": waits and (certifies or policy.may_change(ctx.actor, found.vendor)),
        "again": "purpose" in found.order,
    }


def _logos(visit: Visit, held: HeldEdit) -> list[tuple[str, str, str]]:
    """Return pictures to compare, each with what it is and where it is shown: the one before, and the one that is asked for."""
    before, after = str(held.before.get("logo", "")), str(held.order["logo"])
    urls = visit.kit.urls
    return [
        ("Now", "its logo" if before else "no logo", app_logo(urls, held.app, before)),
        (
            "Asked for",
            "the new logo" if after else "no logo",
            address("review.change_logo", held.id) if after else "",
        ),
    ]


async def decide(visit: Visit, form: Form) -> Response:
    """Agree to a change, which takes effect now, or refuse it with a reason."""
    reason = form.one("reason").strip()

    def verb(ctx: Context) -> object:
        edits = parts.edits_of(visit)
        match form.one("act"):
            case "approve":
                return edits.approve(ctx, visit.param(), reason)
            case "refuse":
                return edits.refuse(ctx, visit.param(), reason)
            case _:
                raise no_such_act("Choose whether to agree or to refuse.")

    try:
        await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(address("review.change", visit.param()))
