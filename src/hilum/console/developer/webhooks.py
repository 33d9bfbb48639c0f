"""Where a vendor is called: its webhooks, and which of them receive requests to delete data, to which a second person agrees (ADR 29)."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.approvals import service as approvals
from hilum.approvals.models import ApprovalKind
from hilum.console.desk import Visit, address, to_approval
from hilum.console.developer import frame
from hilum.disposals import service as disposals
from hilum.identity.models import VendorRight
from hilum.infra.context import Context
from hilum.kernel.ids import AppId
from hilum.kernel.pages import PAGE_BOUND, PageQuery
from hilum.notices import service as notices
from hilum.notices.models import ENDPOINTS_BOUND, Endpoint, EventKind
from hilum.registry import service as registry
from hilum.web.forms import Form


async def show(visit: Visit) -> Response:
    """Show the vendor's webhooks, and what waits for a second owner."""
    return visit.render("console/developer/webhooks.html", **await visit.read(partial(_shown, visit=visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    vendor, owns = frame.own_vendor(ctx), frame.may(visit, VendorRight.PROFILE)
    found = notices.list_endpoints(ctx, vendor, PageQuery(limit=ENDPOINTS_BOUND))
    apps = [AppId(each.app) for each in found if each.app]
    names = registry.read_apps(ctx, apps) if apps else {}
    waiting = approvals.list_pending(ctx, page=PageQuery(limit=PAGE_BOUND)) if owns else []
    asked = {each.act.target: each.id for each in waiting if each.act.kind is ApprovalKind.WEBHOOK}
    return {
        "owns": owns,
        "webhooks": [
            (
                each,
                names[AppId(each.app)].name if each.app in names else "every app",
                *_deletions(each),
                address("developer.approval", asked[each.id]) if each.id in asked else "",
            )
            for each in found
        ],
    }


def _deletions(endpoint: Endpoint) -> tuple[str, str]:
    """Return whether a webhook receives requests to delete data, in words, and how it is shown."""
    if endpoint.events and EventKind.DISPOSAL_REQUESTED.value not in endpoint.events:
        return "no requests to delete", "plain"
    if endpoint.agreed_by:
        return "also requests to delete", "good"
    return "no requests to delete yet", "warn"


async def ask(visit: Visit, form: Form) -> Response:
    """Ask a second person to let a webhook receive requests to delete data."""
    asked = await visit.write(partial(disposals.ask_receiver, webhook_id=form.one("id")))
    return to_approval(visit, asked)
