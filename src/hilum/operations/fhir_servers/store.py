"""The table of FHIR servers as they were checked last."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, String, Table, or_

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, Stored, given
from hilum.foundation.kernel.pages import PageQuery
from hilum.gateway.upstream.models import CheckLine, CheckOutcome
from hilum.operations.fhir_servers.models import FhirServer, ServerState

servers = Table(
    "fhir_servers_server",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("settings", String(16), nullable=False),
    Column("checked_at", Instant),
    Column("failing_since", Instant),
    Column("lines", JSON, nullable=False),
    Index("ix_fhir_servers_server_state", "state", "id"),
)


def _line(stored: dict[str, Any]) -> CheckLine:
    return CheckLine(**stored | {"outcome": CheckOutcome(stored["outcome"])})


_LINES = Stored(
    lambda lines: [asdict(each) for each in lines], lambda stored: tuple(_line(each) for each in stored)
)
SERVERS = Rows(servers, FhirServer, "fhir_server", lines=_LINES)


def list_servers(
    tx: Connection, page: PageQuery, *, tenant: str | None, state: ServerState | None
) -> list[FhirServer]:
    """List servers by their hospital's id."""
    return SERVERS.page(tx, page, **given(id=tenant, state=state))


def list_since(tx: Connection, moment: datetime) -> list[FhirServer]:
    """List the servers that were checked since a moment, or for which a check is asked for."""
    checked = servers.c.checked_at
    asked = or_(checked.is_(None), checked < servers.c.asked_at)
    return SERVERS.read(tx, SERVERS.select(or_(checked >= moment, asked)))


def list_waiting(tx: Connection, limit: int) -> list[FhirServer]:
    """List servers for which a check was asked for that has not ended, the oldest first."""
    asked, checked = servers.c.asked_at, servers.c.checked_at
    query = SERVERS.select(or_(checked.is_(None), checked < asked))
    return SERVERS.read(tx, query.order_by(asked, servers.c.id).limit(limit))
