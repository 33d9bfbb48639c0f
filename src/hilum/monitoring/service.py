"""Show how well apps work."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

from hilum.audit.models import Served, ServedApp
from hilum.controls.policy import administers
from hilum.identity.policy import is_member
from hilum.infra.context import Context
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import AppId, TenantId
from hilum.monitoring.models import HOSPITALS_SHOWN, ServiceView
from hilum.registry import service as registry

ReadServed = Callable[[str, datetime, str], ServedApp]
"""Reads how the calls of an app ended since the day of a moment, at one tenant or (empty) at all (``audit.live.read_served``)."""
_DAY = timedelta(days=1)


def no_service(app: str, since: datetime, tenant: str) -> ServedApp:
    """Return that nothing is counted."""
    del app, since, tenant
    return ServedApp()


def view_service(
    ctx: Context, app_id: AppId, days: int, tenant: TenantId | None, served: ReadServed
) -> ServiceView:
    """Return how the calls of an app ended over some days, today among them.

    For the platform's staff, its vendor's members, and the administrators of a hospital about that hospital. Raises NotFound.
    """
    app = registry.get_app(ctx, app_id)
    actor, at = ctx.actor, tenant or ctx.actor.tenant
    # A hospital's own system is no vendor's app.
    own = app.tenant is None and is_member(actor, app.vendor)
    if not (actor.is_platform or own or (at is not None and administers(actor, at))):
        raise NotFound("app_not_found", "There is no such app.")
    since = ctx.now - (days - 1) * _DAY
    # A day that the former vendor had a part of is nobody's.
    if own and app.owner_since is not None:
        since = max(since, app.owner_since + _DAY)
    if since > ctx.now:
        return ServiceView(app.id, days, at or "", Served())
    found = served(app.id, since, at or "")
    total = sum(found.by_day.values(), Served())
    first = dict(islice(found.by_tenant.items(), HOSPITALS_SHOWN))
    return ServiceView(app.id, days, at or "", total, found.by_day, first)
