"""Tables of alerts and of the last run over them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    text,
    tuple_,
)

from hilum.infra.db import Instant, in_batches, insert_or_ignore, metadata, row_of
from hilum.infra.sorting import by_key
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import AppAtTenant, AppId, TenantId, VendorId
from hilum.kernel.pages import PageQuery
from hilum.monitoring.models import PURGE_BATCH, Alert, AlertKind, CloseReason, Run

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


def add(tx: Connection, alert: Alert) -> None:
    tx.execute(alerts.insert().values(_row(alert)))


def save(tx: Connection, alert: Alert) -> None:
    values = _row(alert)
    tx.execute(alerts.update().where(alerts.c.id == values.pop("id")).values(values))


def _row(alert: Alert) -> dict[str, Any]:
    values = {each.name: getattr(alert, each.name) for each in alerts.c}
    return values | {
        "kind": alert.kind.value,
        "figures": dict(alert.figures),
        "why": "" if alert.why is None else alert.why.value,
    }


def open_at(tx: Connection, pairs: Collection[AppAtTenant]) -> dict[AppAtTenant, list[Alert]]:
    """Return the open alerts of some apps at some hospitals."""
    found: dict[AppAtTenant, list[Alert]] = {}
    for batch in in_batches(pairs):
        query = select(alerts).where(
            alerts.c.closed_at.is_(None), tuple_(alerts.c.tenant, alerts.c.app).in_(batch)
        )
        for row in tx.execute(query):
            each = _alert(row)
            found.setdefault((each.tenant, each.app), []).append(each)
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


def get(tx: Connection, alert_id: str) -> Alert:
    """Get an alert. Raises NotFound."""
    row = row_of(tx, alerts, alert_id)
    if row is None:
        raise no_such_alert()
    return _alert(row)


def no_such_alert() -> NotFound:
    return NotFound("alert_not_found", "There is no such alert; `hilum alert list` lists them.")


def list_alerts(
    tx: Connection, page: PageQuery, *, tenant: str, vendor: str, app: str, is_open: bool | None
) -> list[Alert]:
    """List alerts by id; with ``is_open`` None both open and closed ones."""
    wanted: list[ColumnElement[bool]] = [
        column == value
        for column, value in ((alerts.c.tenant, tenant), (alerts.c.vendor, vendor), (alerts.c.app, app))
        if value
    ]
    if is_open is not None:
        wanted.append(alerts.c.closed_at.is_(None) if is_open else alerts.c.closed_at.is_not(None))
    query = by_key(select(alerts).where(*wanted), alerts.c.id, page)
    return [_alert(row) for row in tx.execute(query)]


def newest_open(tx: Connection, limit: int) -> list[Alert]:
    """List the newest open alerts."""
    query = select(alerts).where(alerts.c.closed_at.is_(None)).order_by(alerts.c.id.desc()).limit(limit)
    return [_alert(row) for row in tx.execute(query)]


def count_open(tx: Connection) -> int:
    """Count the open alerts."""
    return int(
        tx.execute(select(func.count()).select_from(alerts).where(alerts.c.closed_at.is_(None))).scalar_one()
    )


def purge(tx: Connection, closed_before: datetime) -> int:
    """Delete a batch of alerts that closed long ago; return how many."""
    old = select(alerts.c.id).where(alerts.c.closed_at < closed_before).limit(PURGE_BATCH)
    return tx.execute(delete(alerts).where(alerts.c.id.in_(old))).rowcount


def get_run(tx: Connection) -> Run:
    """Return the last run over all apps."""
    row = row_of(tx, runs, ONLY)
    return Run(open=count_open(tx)) if row is None else Run(row.at, row.judged, row.skipped, count_open(tx))


def save_run(tx: Connection, run: Run) -> None:
    values = {"at": run.at, "judged": run.judged, "skipped": dict(run.skipped)}
    tx.execute(insert_or_ignore(tx, runs).values(id=ONLY, **values))
    tx.execute(runs.update().where(runs.c.id == ONLY).values(values))


def _alert(row: Row[Any]) -> Alert:
    values = dict(row._mapping)
    values |= {
        "app": AppId(row.app),
        "tenant": TenantId(row.tenant),
        "vendor": VendorId(row.vendor),
        "kind": AlertKind(row.kind),
        "why": CloseReason(row.why) if row.why else None,
    }
    return Alert(**values)
