"""Tables of incidents and of the notices about them."""

from collections.abc import Mapping
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
    UniqueConstraint,
    func,
    or_,
    select,
)

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.pages import PageQuery
from hilum.operations.incidents.models import Incident, IncidentNotice, IncidentState

incidents = Table(
    "incidents_incident",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(24), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("summary", String(200), nullable=False),
    Column("apps", JSON, nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("tenants", JSON, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opened_by", String(120), nullable=False),
    Column("owner", String(64)),
    Column("state", String(16), nullable=False),
    Column("alert", String(64), nullable=False),
    Column("switches", JSON, nullable=False),
    Column("hold", String(64), nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("done", JSON, nullable=False),
    Column("skipped", JSON, nullable=False),
    Column("reach", JSON, nullable=False),
    Column("reach_asked_at", Instant),
    Column("reach_at", Instant),
    Column("statement", Text, nullable=False),
    Column("notice_number", Integer, nullable=False),
    Column("sent_number", Integer, nullable=False),
    Column("notice_cursor", String(64), nullable=False),
    Column("notified_at", Instant),
    Column("contained_at", Instant),
    Column("eradicated_at", Instant),
    Column("recovered_at", Instant),
    Column("closed_at", Instant),
    Column("closed_by", String(120), nullable=False),
    Column("cause", Text, nullable=False),
    Column("corrective", Text, nullable=False),
    Column("scenario", String(64), nullable=False),
    Column("no_scenario", Text, nullable=False),
    Column("certificate", String(16)),
    Index("ix_incidents_incident_closed", "closed_at", "id"),
)
notices = Table(
    "incidents_notice",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("incident", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    # Empty for the vendor's own.
    Column("tenant", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("statement", Text, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("patients", Integer, nullable=False),
    Column("people", Integer, nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("acknowledged_at", Instant),
    Column("acknowledged_by", String(120), nullable=False),
    UniqueConstraint("incident", "number", "tenant", name="uq_incidents_notice_recipient"),
    Index("ix_incidents_notice_tenant", "tenant", "id"),
    Index("ix_incidents_notice_vendor", "vendor", "tenant", "id"),
)

INCIDENTS = Rows(incidents, Incident, "incident")
NOTICES = Rows(notices, IncidentNotice, "incident_notice")


def list_incidents(tx: Connection, page: PageQuery, *, is_open: bool) -> list[Incident]:
    """List incidents, newest first; with ``is_open`` only those that are not closed."""
    return INCIDENTS.newest(tx, page, **({"closed_at": None} if is_open else {}))


def list_to_count(tx: Connection) -> list[Incident]:
    """List the incidents whose reach somebody asked for since it was counted last."""
    asked, counted = incidents.c.reach_asked_at, incidents.c.reach_at
    stale = or_(counted.is_(None), counted < asked)
    return INCIDENTS.read(tx, INCIDENTS.select(asked.is_not(None), stale, closed_at=None).order_by(asked))


def list_to_notify(tx: Connection) -> list[Incident]:
    """List the incidents with a notice that some have not got yet."""
    return INCIDENTS.read(tx, INCIDENTS.select(incidents.c.notice_number > incidents.c.sent_number))


def list_notices(
    tx: Connection, page: PageQuery, *, tenant: str | None, vendor: str | None, incident: str | None
) -> list[IncidentNotice]:
    """List notices, newest first: to one hospital, to one vendor, or about one incident."""
    return NOTICES.newest(tx, page, **given(tenant=tenant, vendor=vendor, incident=incident))


def count_notices(tx: Connection, incident: str, number: int) -> tuple[int, int]:
    """Count to how many one notice of an incident was sent, and how many have acknowledged it."""
    every = notices.c.incident == incident, notices.c.number == number
    found = tx.execute(select(func.count(), func.count(notices.c.acknowledged_at)).where(*every)).one()
    return int(found[0]), int(found[1])


def list_unread(tx: Connection, incident: str, number: int, limit: int) -> list[IncidentNotice]:
    """List whom one notice of an incident was sent to, and who has not acknowledged it."""
    query = NOTICES.select(incident=incident, number=number, acknowledged_at=None)
    return NOTICES.read(tx, query.order_by(notices.c.tenant).limit(limit))


def states_of(tx: Connection, of: set[str]) -> dict[str, IncidentState]:
    """Return the states of some incidents."""
    return {each.id: each.state for each in INCIDENTS.among(tx, "id", of)}


def save_reach(tx: Connection, incident: str, reach: Mapping[str, object], counted_at: datetime) -> None:
    """Save what an incident reached, as counted at a moment."""
    INCIDENTS.change(tx, {"reach": reach, "reach_at": counted_at}, id=incident)
