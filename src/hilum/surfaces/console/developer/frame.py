"""What every page of an app shares: its heading, its tabs, and the verb that finds it for its vendor's members."""

from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import may_as_member
from hilum.surfaces.console.desk import Visit, address, frame_of
from hilum.surfaces.console.models import State
from hilum.surfaces.console.parts.app_status import AppStatus, statuses_of

TABS = (
    ("Overview", "developer.app"),
    ("Versions", "developer.versions"),
    ("Rules", "developer.rules"),
    ("Clients & keys", "developer.clients"),
    ("Scopes", "developer.scopes"),
    ("Traffic", "developer.traffic"),
    ("Sandbox", "developer.sandbox"),
    ("Statements", "developer.statements"),
    ("Runs", "developer.runs"),
    ("Review", "developer.review"),
)
_PARTS = {
    "developer.clients": "Clients & keys",
    "developer.scopes": "Scopes",
    "developer.review": "Review",
    "developer.runs": "Runs",
}
"""Tabs that have pages of their own below them."""


def own_app(ctx: Context, id_: str) -> App:
    """Get an app of the actor's vendor. Raises NotFound, also for another vendor's."""
    app = registry.view_app(ctx, AppId(id_))
    # A system client or a trial that belongs to one hospital is not an app that its vendor's members keep.
    if app.vendor != ctx.actor.vendor or app.tenant is not None:
        raise NotFound("app_not_found", "There is no such app.")
    return app


def own_vendor(ctx: Context) -> VendorId:
    """Return the actor's vendor."""
    assert ctx.actor.vendor is not None, "the pages are for members only"
    return VendorId(ctx.actor.vendor)


def may(visit: Visit, right: VendorRight) -> bool:
    """Check whether the visitor has a right at their vendor; the verb judges it again."""
    actor = visit.visitor.actor
    return actor.vendor is not None and may_as_member(actor, VendorId(actor.vendor), right)


def app_statuses_of(ctx: Context, apps: list[App]) -> dict[str, AppStatus]:
    """Return the state of each app, without the reasons that the staff wrote for each other."""
    found = statuses_of(ctx, apps)
    return {id_: _for_the_vendor(each) for id_, each in found.items()}


def app_status_of(ctx: Context, app: App) -> AppStatus:
    """Return the state of one app, as ``app_statuses_of`` does."""
    return app_statuses_of(ctx, [app])[app.id]


def _for_the_vendor(app_status: AppStatus) -> AppStatus:
    if app_status.state is not State.STOPPED:
        return app_status
    return AppStatus(State.STOPPED, "stopped by the platform; ask its staff why", app_status.since)


def show(visit: Visit, template: str, app: App, app_status: AppStatus, **facts: Any) -> Response:
    """Render a page of an app below its name and tabs."""
    page = visit.page
    trail = [("My apps", address("developer.apps"))]
    if page.key != "developer.app":
        trail.append((app.name, address("developer.app", app.id)))
    if page.parent in _PARTS:
        trail.append((_PARTS[page.parent], address(page.parent, app.id)))
    current = page.parent if page.parent in _PARTS else page.key
    more: dict[str, Any] = {
        "frame": frame_of(visit.visitor, page, visit.kit) | {"trail": trail},
        "tabs": [(text, address(key, app.id), key == current) for text, key in TABS],
        "app": app,
        "app_status": app_status,
        "tone": app_status.tone,
    }
    return visit.render(template, **(more | facts))
