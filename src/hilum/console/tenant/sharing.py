"""What a hospital shares of its approval of an app, and why."""

from typing import Any

from starlette.responses import Response

from hilum.console import fields
from hilum.console.desk import Visit, address, to
from hilum.console.tenant.apps import own
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.errors import Invalid, NotFound
from hilum.kernel.ids import AppId
from hilum.precedents import service as precedents
from hilum.precedents.models import SharingOrder
from hilum.registry import service as registry
from hilum.web.forms import Form

CHOICES = {"hospital": None, "yes": True, "no": False}


async def show(visit: Visit) -> Response:
    """Show whether the approval of an app is shared, and what others see of it."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(lambda ctx: _shown(ctx, visit))
    if error is not None:
        facts |= {"choice": given.one("choice"), "reasons": given.one("reasons")}
    return visit.render("console/tenant/share.html", **fields.answered(given, error), **facts)


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    tenant, app = own(ctx), registry.view_app(ctx, AppId(visit.param()))
    if installations.current(ctx, tenant.id, app) is None:
        raise NotFound(
            "installation_not_found", "The app is not approved here, so there is nothing to share."
        )
    held, shared = precedents.sharing_of(ctx, tenant.id, app.id)
    return {
        "app": app,
        "shared": shared,
        "general": precedents.shares_in_general(ctx, tenant.id),
        "choice": "hospital" if held is None else "yes" if held.shares else "no",
        "reasons": held.reasons if held is not None else "",
    }


async def share(visit: Visit, form: Form) -> Response:
    """Set whether the approval of an app is shared."""
    choice = form.one("choice")

    def verb(ctx: Context) -> object:
        if choice not in CHOICES:
            raise Invalid("form_invalid", "Choose one of the three.", fields={"choice": "not_an_option"})
        reasons = form.one("reasons").strip() if CHOICES[choice] else ""
        order = SharingOrder(own(ctx).id, AppId(visit.param()), CHOICES[choice], reasons)
        return precedents.set_sharing(ctx, order)

    try:
        await visit.write(verb)
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("tenant.app", visit.param()))
