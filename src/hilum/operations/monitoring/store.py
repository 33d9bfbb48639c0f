"""Tables of alerts and of the last run over them."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    select,
    text,
    tuple_,
)

from hilum.foundation.infra.db import Instant, in_batches, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.ids import AppAtTenant, AppId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.operations.monitoring.models import PURGE_BATCH, Alert, Run

ONLY = "alerts"
"""The key of the only row of the last run."""
_OPEN = text("closed_at IS NULL")

alerts = Table(
    "monitoring_alert",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    # From an address of the gateway, as the counts have it.
    Column("tenant", Text, nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("limit", Integer, nullable=False),
    Column("figures", JSON, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("mailed_at", Instant),
    Column("closed_at", Instant),
    Column("why", String(12), nullable=False),
    Index(
        "uq_monitoring_alert_open",
        "tenant",
        "app",
        "kind",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    Index("ix_monitoring_alert_app", "app", "id"),
    Index("ix_monitoring_alert_tenant", "tenant", "id"),
    Index("ix_monitoring_alert_vendor", "vendor", "id"),
    Index("ix_monitoring_alert_mailed", "mailed_at"),
    Index("ix_monitoring_alert_closed", "closed_at"),
)
runs = Table(
    "monitoring_run",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("at", Instant),
    Column("judged", Integer, nullable=False),
    Column("skipped", JSON, nullable=False),
)


ALERTS = Rows(alerts, Alert, "alert")
RUNS = Rows(runs, Run)


def open_at(tx: Connection, pairs: Collection[AppAtTenant]) -> dict[AppAtTenant, list[Alert]]:
    """Return the open alerts of some apps at some hospitals."""
    pair = tuple_(alerts.c.tenant, alerts.c.app)
    found: dict[AppAtTenant, list[Alert]] = {}
    for batch in in_batches(pairs):
        for alert in ALERTS.read(tx, ALERTS.select(pair.in_(batch), closed_at=None)):
            found.setdefault((alert.tenant, alert.app), []).append(alert)
    return found


def open_pairs(tx: Connection, after: AppAtTenant, limit: int) -> list[AppAtTenant]:
    """List the next hospitals and apps, in order after one, that have an open alert."""
    pair = tuple_(alerts.c.tenant, alerts.c.app)
    query = (
        select(alerts.c.tenant, alerts.c.app)
        .where(alerts.c.closed_at.is_(None), pair > tuple_(*after))
        .distinct()
        .order_by(alerts.c.tenant, alerts.c.app)
        .limit(limit)
    )
    return [(TenantId(row.tenant), AppId(row.app)) for row in tx.execute(query)]


def mailed_since(tx: Connection, since: datetime, tenants: Collection[str]) -> set[tuple[str, str, str]]:
    """Return the hospitals, apps and kinds about which mail was sent since a moment, at some hospitals."""
    found: set[tuple[str, str, str]] = set()
    for batch in in_batches(tenants):
        query = select(alerts.c.tenant, alerts.c.app, alerts.c.kind).where(
            alerts.c.mailed_at >= since, alerts.c.tenant.in_(batch)
        )
        found |= {(row.tenant, row.app, row.kind) for row in tx.execute(query)}
    return found


def list_alerts(
    tx: Connection, page: PageQuery, *, tenant: str, vendor: str, app: str, is_open: bool | None
) -> list[Alert]:
    """List alerts by id; with ``is_open`` None both open and closed ones."""
    wanted = given(tenant=tenant or None, vendor=vendor or None, app=app or None)
    closed = alerts.c.closed_at
    of_state = [] if is_open is None else [closed.is_(None) if is_open else closed.is_not(None)]
    return ALERTS.page(tx, page, *of_state, **wanted)


def newest_open(tx: Connection, limit: int) -> list[Alert]:
    """List the newest open alerts."""
    return ALERTS.read(tx, ALERTS.select(closed_at=None).order_by(alerts.c.id.desc()).limit(limit))


def purge(tx: Connection, closed_before: datetime) -> int:
    """Delete a batch of alerts that closed long ago; return how many."""
    return ALERTS.purge(tx, PURGE_BATCH, alerts.c.closed_at < closed_before)


def get_run(tx: Connection) -> Run:
    """Return the last run over all apps."""
    run, still_open = RUNS.find(tx, id=ONLY) or Run(), ALERTS.count(tx, closed_at=None)
    return replace(run, open=still_open)


def save_run(tx: Connection, run: Run) -> None:
    if not RUNS.add_new(tx, run, id=ONLY):
        RUNS.change(tx, RUNS.row(run), id=ONLY)
