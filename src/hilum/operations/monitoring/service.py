"""Show how well apps work, and the alerts about them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import require_platform
from hilum.foundation.kernel.errors import NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.operations.monitoring import policy, store
from hilum.operations.monitoring.models import CLOSED_KEPT, HOSPITALS_SHOWN, Alert, Run, ServiceView
from hilum.records.audit.models import Served, ServedApp

ReadServed = Callable[[str, datetime, str], ServedApp]
"""Reads how an app's calls ended since the day of a moment, at one tenant or, if empty, at all (``audit.live.read_served``)."""
_DAY = timedelta(days=1)


def view_service(
    ctx: Context, app_id: AppId, days: int, tenant: TenantId | None, served: ReadServed
) -> ServiceView:
    """Return how an app's calls ended over some days, including today.

    For the platform's staff, members of its vendor, and administrators about their hospital. Raises NotFound.
    """
    app = registry.get_app(ctx, app_id)
    actor, at = ctx.actor, tenant or ctx.actor.tenant
    if not policy.may_see_service(actor, app, at):
        raise NotFound("app_not_found", "There is no such app.")
    since = ctx.now - (days - 1) * _DAY
    # A day that is partly the former vendor's is shown to neither.
    if policy.is_own_app(actor, app) and app.owner_since is not None:
        since = max(since, app.owner_since + _DAY)
    if since > ctx.now:
        return ServiceView(app.id, days, at or "", Served())
    found = served(app.id, since, at or "")
    total = sum(found.by_day.values(), Served())
    first = dict(islice(found.by_tenant.items(), HOSPITALS_SHOWN))
    return ServiceView(app.id, days, at or "", total, found.by_day, first)


def list_alerts(
    ctx: Context,
    page: PageQuery = FIRST_PAGE,
    *,
    tenant: str = "",
    app: str = "",
    is_open: bool | None = None,
) -> list[Alert]:
    """List alerts by id: staff get all, a vendor's member those about its apps, an administrator those at their hospital. Raises NotPermitted."""
    shown = policy.alerts_shown(ctx.actor, tenant)
    if shown is None:
        raise not_shown("alerts", Readers.CATALOGUE)
    vendor, at = shown
    return store.list_alerts(ctx.tx, page, tenant=at, vendor=vendor, app=app, is_open=is_open)


def view_alert(ctx: Context, alert_id: str) -> Alert:
    """Get an alert. Raises NotFound."""
    found = store.get(ctx.tx, alert_id)
    if not policy.may_see(ctx.actor, found):
        raise store.no_such_alert()
    return found


def newest_open(ctx: Context, limit: int) -> list[Alert]:
    """List the newest open alerts, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.newest_open(ctx.tx, limit)


def last_run(ctx: Context) -> Run:
    """Return the last run over all apps, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.get_run(ctx.tx)


def purge(ctx: Context) -> int:
    """Delete a batch of alerts that closed long ago; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - CLOSED_KEPT)
