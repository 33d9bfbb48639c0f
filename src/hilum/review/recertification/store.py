"""Tables of findings, of how far apps climbed, and of the round."""

import hashlib
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Date,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    delete,
    select,
    text,
)

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.sorting import NEVER, by_key, paged
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.review.recertification.models import (
    PURGE_BATCH,
    SORTS,
    Escalation,
    Finding,
    Level,
    Round,
    Severity,
    State,
)

ONLY = "round"
_OPEN, _DUE = text("closed_at IS NULL"), text(f"coalesce(due_at, {NEVER})")

findings = Table(
    "revalidation_finding",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("certification", String(64), nullable=False),
    Column("rule", String(60), nullable=False),
    Column("about", Text, nullable=False),
    # Of rule and about: one that is open for each.
    Column("digest", String(64), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("reproduction", Text, nullable=False),
    Column("fix", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("closed_at", Instant),
    Index(
        "uq_revalidation_finding_open",
        "app",
        "digest",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    Index("ix_revalidation_finding_app", "app", "id"),
    Index("ix_revalidation_finding_vendor", "vendor", "id"),
    Index("ix_revalidation_finding_due", "state", "due_at"),
    Index("ix_revalidation_finding_by_due", _DUE, "id"),
    Index("ix_revalidation_finding_vendor_due", "vendor", _DUE, "id"),
    Index("ix_revalidation_finding_closed", "closed_at"),
)
escalations = Table(
    "revalidation_app",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("level", Integer, nullable=False),
    Column("due", Integer, nullable=False),
    Column("switches", JSON, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("looked_at", Instant),
    Column("asked_at", Instant),
    Index("ix_revalidation_app_asked", "asked_at"),
    Index("ix_revalidation_app_due", "due", "app"),
)
places = Table(
    "revalidation_place",
    metadata,
    Column("finding", String(64), primary_key=True),
    Column("tenant", String(32), primary_key=True),
    Index("ix_revalidation_place_tenant", "tenant", "finding"),
)
"""The hospitals where the calls of a finding were seen."""
rounds = Table(
    "revalidation_round",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("day", Date),
    Column("after", String(64), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("began_at", Instant),
    Column("ended_at", Instant),
)

_NAMES = [each.name for each in findings.c if each.name != "digest"]
_OF_ROUND = [each.name for each in rounds.c if each.name != "id"]


def no_such_finding() -> NotFound:
    return NotFound("finding_not_found", "There is no such finding; `hilum finding list` lists them.")


# --- findings ----------------------------------------------------------------------------------------------------------------


def add_finding(tx: Connection, found: Finding) -> None:
    tx.execute(findings.insert().values(_row(found)))


def save_finding(tx: Connection, found: Finding) -> None:
    values = _row(found)
    for name in ("id", "app", "vendor", "digest"):
        values.pop(name)
    tx.execute(findings.update().where(findings.c.id == found.id).values(values))


def _row(found: Finding) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in _NAMES}
    digest = hashlib.sha256(f"{found.rule}\n{found.about}".encode()).hexdigest()
    return values | {"severity": found.severity.value, "state": found.state.value, "digest": digest}


def drop_finding(tx: Connection, found: Finding) -> None:
    """Delete a suspicion that came to nothing."""
    tx.execute(delete(findings).where(findings.c.id == found.id))


def open_findings(tx: Connection, app: AppId) -> list[Finding]:
    """List an app's findings that are not closed, suspicions among them."""
    query = select(findings).where(findings.c.app == app, findings.c.closed_at.is_(None))
    return [_finding(row) for row in tx.execute(query.order_by(findings.c.id))]


def recently_closed(tx: Connection, app: AppId, since: datetime) -> list[Finding]:
    """List an app's findings that were closed since a moment, the last one last."""
    query = select(findings).where(findings.c.app == app, findings.c.closed_at >= since)
    return [_finding(row) for row in tx.execute(query.order_by(findings.c.closed_at, findings.c.id))]


def get_finding(tx: Connection, finding_id: str) -> Finding:
    """Get a finding. Raises NotFound."""
    row = row_of(tx, findings, finding_id)
    if row is None:
        raise no_such_finding()
    return _finding(row)


def list_findings(
    tx: Connection,
    page: PageQuery,
    *,
    vendor: str,
    app: str,
    state: State | None,
    overdue_at: datetime | None,
) -> list[Finding]:
    """List findings by id or in the page's order; without a state those that are open or closed."""
    wanted: list[ColumnElement[bool]] = []
    wanted.append(
        findings.c.state != State.SUSPECTED.value if state is None else findings.c.state == state.value
    )
    if vendor:
        wanted.append(findings.c.vendor == vendor)
    if app:
        wanted.append(findings.c.app == app)
    if overdue_at is not None:
        wanted += [findings.c.state == State.OPEN.value, findings.c.due_at <= overdue_at]
    return [
        _finding(row) for row in tx.execute(paged(select(findings).where(*wanted), findings, SORTS, page))
    ]


def apps_overdue(tx: Connection, now: datetime) -> set[AppId]:
    """Return the apps that have an overdue finding."""
    query = select(findings.c.app).where(findings.c.state == State.OPEN.value, findings.c.due_at <= now)
    return {AppId(row.app) for row in tx.execute(query.distinct())}


def apps_not_looked_at(tx: Connection, since: datetime, after: str, limit: int) -> list[AppId]:
    """List apps after one that have something open and were not looked at since a moment."""
    query = (
        select(findings.c.app)
        .join(escalations, escalations.c.app == findings.c.app)
        .where(findings.c.closed_at.is_(None), escalations.c.looked_at < since, findings.c.app > after)
        .distinct()
    )
    return [AppId(row.app) for row in tx.execute(query.order_by(findings.c.app).limit(limit))]


def purge(tx: Connection, closed_before: datetime) -> int:
    """Delete findings that were closed long ago, at most a batch; return how many."""
    old = select(findings.c.id).where(findings.c.closed_at < closed_before).limit(PURGE_BATCH)
    ids = list(tx.execute(old).scalars())
    tx.execute(delete(places).where(places.c.finding.in_(ids)))
    return tx.execute(delete(findings).where(findings.c.id.in_(ids))).rowcount


def set_places(tx: Connection, finding: str, tenants: Collection[str]) -> None:
    """Replace at which hospitals the calls of a finding were seen."""
    held = set(tx.execute(select(places.c.tenant).where(places.c.finding == finding)).scalars())
    gone = held.difference(tenants)
    if gone:
        tx.execute(delete(places).where(places.c.finding == finding, places.c.tenant.in_(gone)))
    if new := sorted(set(tenants) - held):
        rows = [{"finding": finding, "tenant": tenant} for tenant in new]
        tx.execute(insert_or_ignore(tx, places), rows)


def list_seen_at(tx: Connection, tenant: TenantId, page: PageQuery) -> list[Finding]:
    """List by id the open findings about calls that were seen at a hospital."""
    query = (
        select(findings)
        .join(places, places.c.finding == findings.c.id)
        .where(places.c.tenant == tenant)
        .where(findings.c.state == State.OPEN.value)
    )
    return [_finding(row) for row in tx.execute(by_key(query, places.c.finding, page))]


def _finding(row: Row[Any]) -> Finding:
    values = dict(row._mapping)
    values.pop("digest")
    values |= {"app": AppId(row.app), "vendor": VendorId(row.vendor)}
    return Finding(**values | {"severity": Severity(row.severity), "state": State(row.state)})


# --- how far apps climbed ----------------------------------------------------------------------------------------------------


def lock_escalation(tx: Connection, app: AppId) -> Escalation:
    """Get how far an app climbed, locked until the transaction ends."""
    first = {"level": 0, "due": 0, "switches": [], "suspended": False, "looked_at": None, "asked_at": None}
    tx.execute(insert_or_ignore(tx, escalations).values(app=app, **first))
    return _escalation(
        tx.execute(select(escalations).where(escalations.c.app == app).with_for_update()).one()
    )


def get_escalation(tx: Connection, app: AppId) -> Escalation:
    row = tx.execute(select(escalations).where(escalations.c.app == app)).first()
    return Escalation(app) if row is None else _escalation(row)


def save_escalation(tx: Connection, after: Escalation) -> None:
    values = {
        "level": int(after.level),
        "due": int(after.due),
        "switches": list(after.switches),
        "suspended": after.suspended,
        "looked_at": after.looked_at,
        "asked_at": after.asked_at,
    }
    tx.execute(escalations.update().where(escalations.c.app == after.app).values(values))


def list_escalations(tx: Connection, page: PageQuery) -> list[Escalation]:
    """List by app those that climbed, or are to climb."""
    query = select(escalations).where(escalations.c.due > 0)
    return [_escalation(row) for row in tx.execute(by_key(query, escalations.c.app, page))]


def list_asked(tx: Connection, limit: int) -> list[Escalation]:
    """List the apps that somebody asked to have looked at, the longest waiting first."""
    query = select(escalations).where(escalations.c.asked_at.is_not(None)).order_by(escalations.c.asked_at)
    return [_escalation(row) for row in tx.execute(query.limit(limit))]


def _escalation(row: Row[Any]) -> Escalation:
    return Escalation(
        AppId(row.app),
        Level(row.level),
        Level(row.due),
        tuple(row.switches),
        row.suspended,
        row.looked_at,
        row.asked_at,
    )


# --- the round ---------------------------------------------------------------------------------------------------------------


def lock_round(tx: Connection) -> Round:
    """Get the round, locked until the transaction ends."""
    first = {"day": None, "after": "", "done": 0, "total": 0, "began_at": None, "ended_at": None}
    tx.execute(insert_or_ignore(tx, rounds).values(id=ONLY, **first))
    return _round(tx.execute(select(rounds).where(rounds.c.id == ONLY).with_for_update()).one())


def get_round(tx: Connection) -> Round:
    row = row_of(tx, rounds, ONLY)
    return Round() if row is None else _round(row)


def save_round(tx: Connection, after: Round) -> None:
    values = {name: getattr(after, name) for name in _OF_ROUND}
    tx.execute(rounds.update().where(rounds.c.id == ONLY).values(values))


def _round(row: Row[Any]) -> Round:
    day: date | None = row.day
    return Round(day, row.after, row.done, row.total, row.began_at, row.ended_at)
