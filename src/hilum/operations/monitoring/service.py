"""Show how well apps work, and the alerts about them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

from hilum.apps.registry import service as registry
from hilum.foundation.actions.models import Effect, Noun, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import require_platform
from hilum.foundation.kernel.errors import NotFound, Readers, not_shown
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.operations.monitoring import policy, store
from hilum.operations.monitoring.models import (
    CLOSED_KEPT,
    HOSPITALS_SHOWN,
    Alert,
    AlertId,
    AlertQuery,
    AlertState,
    Run,
    ServiceView,
)
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


def _visible(ctx: Context, alert_id: str, *, lock: bool = False) -> Alert:
    alert = store.ALERTS.get(ctx.tx, alert_id, lock=lock)
    if not policy.may_see(ctx.actor, alert):
        raise store.ALERTS.missing()
    return alert


ALERT = Noun(
    "alert",
    "monitoring",
    Alert,
    load=_visible,
    about=lambda code, alert: Event(code, tenant=alert.tenant, app=alert.app),
    help="See whether calls of apps are refused, fail or are slow beyond the limits of the policy.",
    columns=(
        Shows("app", "App"),
        Shows("tenant", "Hospital"),
        Shows("kind", "Kind"),
        Shows("measured", "Measured"),
        Shows("limit", "Limit"),
        Shows("calls", "Calls"),
        Shows("opened_at", "Opened"),
        Shows("closed_at", "Closed"),
        Shows("why", "Why it closed"),
    ),
    derived={"calls": policy.calls_of, "measured": policy.measured},
    hidden=frozenset({"mailed_at"}),
)
READERS = ("staff", "administrator", "member")


@action(ALERT, "list", who=READERS, effect=Effect.READS)
def list_alerts(ctx: Context, query: AlertQuery, page: PageQuery = FIRST_PAGE) -> list[Alert]:
    """List alerts by id: a vendor's member gets those about its apps, an administrator those at their hospital, staff all.

    Raises NotPermitted.
    """
    shown = policy.alerts_shown(ctx.actor, query.tenant)
    if shown is None:
        raise not_shown("alerts", Readers.CATALOGUE)
    vendor, at = shown
    is_open = None if query.state is None else query.state is AlertState.OPEN
    return store.list_alerts(ctx.tx, page, tenant=at, vendor=vendor, app=query.app, is_open=is_open)


@action(ALERT, "show", who=READERS, effect=Effect.READS)
def view_alert(ctx: Context, alert_id: AlertId) -> Alert:
    """Show an alert: the limit, the calls that exceed it, and since when.

    Raises NotFound.
    """
    return _visible(ctx, alert_id)


@action(ALERT, "progress", who=("staff",), effect=Effect.READS)
def last_run(ctx: Context) -> Run:
    """Show when all apps were last judged, and how many could not be, by reason.

    Raises NotPermitted.
    """
    require_platform(ctx.actor)
    return store.get_run(ctx.tx)


def newest_open(ctx: Context, limit: int) -> list[Alert]:
    """List the newest open alerts, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.newest_open(ctx.tx, limit)


def purge(ctx: Context) -> int:
    """Delete a batch of alerts that closed long ago; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - CLOSED_KEPT)
