"""Where a vendor is called: its webhooks."""

from typing import Any

from starlette.responses import Response

from hilum.console.desk import Visit
from hilum.console.developer import frame
from hilum.infra.context import Context
from hilum.kernel.ids import AppId
from hilum.kernel.pages import PageQuery
from hilum.notices import service as notices
from hilum.notices.models import ENDPOINTS_BOUND
from hilum.registry import service as registry


async def show(visit: Visit) -> Response:
    """Show the vendor's webhooks."""
    return visit.render("console/developer/webhooks.html", **await visit.read(_shown))


def _shown(ctx: Context) -> dict[str, Any]:
    endpoints = notices.list_endpoints(ctx, frame.own_vendor(ctx), PageQuery(limit=ENDPOINTS_BOUND))
    apps = [AppId(each.app) for each in endpoints if each.app]
    names = registry.read_apps(ctx, apps) if apps else {}
    return {
        "webhooks": [
            (each, names[AppId(each.app)].name if each.app in names else "every app") for each in endpoints
        ]
    }
