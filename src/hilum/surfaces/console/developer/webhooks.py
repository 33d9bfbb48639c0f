"""Where a vendor is called: its webhooks."""

from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import PageQuery
from hilum.records.notices import service as notices
from hilum.records.notices.models import ENDPOINTS_BOUND
from hilum.surfaces.console.desk import Visit
from hilum.surfaces.console.developer import frame


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
