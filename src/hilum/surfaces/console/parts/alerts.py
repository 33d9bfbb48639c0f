"""Alerts about the calls of apps, in words, as every console shows them."""

from collections.abc import Iterable
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.pages import PageQuery
from hilum.operations.monitoring import service as monitoring
from hilum.operations.monitoring.models import Alert, AlertKind, AlertQuery, AlertState
from hilum.surfaces.console import service

SHOWN = 20
_WENT_WRONG = {
    AlertKind.REFUSED: ("refused",),
    AlertKind.FAILED: ("mistaken", "throttled", "failed"),
}


def in_words(alert: Alert) -> str:
    """Return what an alert is about, with its numbers."""
    figures = alert.figures
    if alert.kind is AlertKind.SLOW:
        took = f"up to {figures['within_ms']:,} ms" if figures["within_ms"] else "more than 10 s"
        return f"95 of 100 answers took {took}; the limit is {alert.limit:,} ms"
    calls = figures["calls"]
    parts = [(figures[name], name) for name in _WENT_WRONG[alert.kind]]
    share = 100 * sum(number for number, _ in parts) / calls
    said = " and ".join(f"{number:,} {name}" for number, name in parts if number)
    return f"{share:.1f} % of {counted(calls, 'call')}: {said}; the limit is {alert.limit} %"


def rows(ctx: Context, found: Iterable[Alert]) -> list[dict[str, Any]]:
    """Return what a page shows of alerts."""
    alerts = list(found)
    names = service.names(ctx, [each.app for each in alerts], tenants={each.tenant for each in alerts})
    return [
        {
            "id": each.id,
            "app_id": each.app,
            "app": names.app(each.app),
            "hospital": names.tenant(each.tenant),
            "kind": each.kind.value,
            "text": in_words(each),
            "since": each.opened_at,
        }
        for each in alerts
    ]


def of_app(ctx: Context, app: str, tenant: str = "") -> list[dict[str, Any]]:
    """Return what a page shows of the open alerts about an app, at one hospital or at all."""
    found = monitoring.list_alerts(ctx, AlertQuery(tenant, app, AlertState.OPEN), PageQuery(limit=SHOWN))
    return rows(ctx, found)
