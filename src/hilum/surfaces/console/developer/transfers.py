"""An app that goes to another vendor: an owner offers it, an owner of the other takes it or declines (C14)."""

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Transfer
from hilum.apps.names.models import Kind
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.fields import no_such_act, require_tick


async def show(visit: Visit) -> Response:
    """Show the open offer of an app, or the form to make one."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> Any:
        app = frame.own_app(ctx, visit.param())
        waiting = _waiting(ctx, app.id)
        known = fields.names(ctx, [waiting.to, waiting.asked_by]) if waiting else {}
        facts = {
            "waiting": waiting,
            "to": known.get(waiting.to, "another vendor") if waiting else "",
            "asked_by": fields.who(known, waiting.asked_by, "a former colleague") if waiting else "",
        }
        return app, frame.app_status_of(ctx, app), facts

    app, app_status, facts = await visit.read(look)
    return frame.show(
        visit,
        "console/developer/transfer.html",
        app,
        app_status,
        owns=frame.may(visit, VendorRight.TRANSFER),
        back=address("developer.app", app.id),
        **fields.answered(given, error),
        **facts,
    )


def _waiting(ctx: Context, app: AppId) -> Transfer | None:
    with suppress(NotFound):
        return clients.view_transfer(ctx, app)
    return None


async def act(visit: Visit, form: Form) -> Response:
    """Offer an app to another vendor, or withdraw the offer."""

    def verb(ctx: Context) -> object:
        app = frame.own_app(ctx, visit.param())
        match form.one("act"):
            case "offer":
                require_tick(form, "Tick the box to confirm that the other vendor should get it.")
                vendor = fields.named(ctx, Kind.VENDOR, form.one("to"), "to")
                return clients.offer_app(ctx, app.id, VendorId(vendor))
            case "withdraw":
                return clients.decline_app(ctx, app.id)
            case _:
                raise no_such_act()

    try:
        await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(visit.path)


async def show_offer(visit: Visit) -> Response:
    """Show an app that another vendor offers to this one, and what taking it over ends."""
    return await _offer(visit)


async def _offer(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        found = _offered(ctx, visit.param())
        app = registry.get_app(ctx, found.app)
        return {
            "found": found,
            "app": app,
            "vendor": fields.names(ctx, [found.vendor]).get(found.vendor, "another vendor"),
        }

    return visit.render(
        "console/developer/offer.html",
        owns=frame.may(visit, VendorRight.TRANSFER),
        **fields.answered(given, error),
        **await visit.read(look),
    )


def _offered(ctx: Context, id_: str) -> Transfer:
    """Get an offer to the actor's vendor. Raises NotFound, also for one that it made itself."""
    found = clients.view_transfer(ctx, AppId(id_))
    if found.to != ctx.actor.vendor:
        raise NotFound("transfer_not_found", "This app is not offered to you now.")
    return found


async def answer(visit: Visit, form: Form) -> Response:
    """Take over an app that was offered, or decline it."""
    took = form.one("act") == "accept"

    def verb(ctx: Context) -> object:
        found = _offered(ctx, visit.param())
        match form.one("act"):
            case "accept":
                require_tick(form, "Tick the box to confirm that you know what ends.")
                return clients.accept_app(ctx, found.app, transferred=visit.ports.transferred)
            case "decline":
                return clients.decline_app(ctx, found.app)
            case _:
                raise no_such_act()

    try:
        await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _offer(visit, form, error)
    return to(address("developer.app", visit.param()) if took else address("developer.apps"))
