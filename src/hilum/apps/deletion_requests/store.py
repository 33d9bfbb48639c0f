"""The table of disposal requests."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Row, String, Table, UniqueConstraint, delete, select

from hilum.apps.deletion_requests.models import BATCH, Cause, Disposal, DisposalQuery, State
from hilum.foundation.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.pages import PageQuery

disposals = Table(
    "disposals_request",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("once", String(200), nullable=False),
    Column("cause", String(20), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("authorization", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("answered_at", Instant),
    Column("answered_by", String(128), nullable=False),
    UniqueConstraint("once"),
    Index("ix_disposals_request_vendor", "vendor", "id"),
    Index("ix_disposals_request_tenant", "tenant", "id"),
    Index("ix_disposals_request_app", "app", "id"),
    Index("ix_disposals_request_requested", "requested_at"),
)


def add(tx: Connection, disposal: Disposal, once: str) -> bool:
    """Add a request; return False if its cause has one already."""
    return tx.execute(insert_or_ignore(tx, disposals).values(asdict(disposal) | {"once": once})).rowcount == 1


def get(tx: Connection, disposal: str, *, lock: bool = False) -> Disposal:
    """Get a request. Raises NotFound."""
    return _disposal(get_row(tx, disposals, disposal, "disposal request", code="disposal", lock=lock))


def list_requests(tx: Connection, query: DisposalQuery, page: PageQuery) -> list[Disposal]:
    """List requests by id, which is in the order of their making."""
    filters = [
        disposals.c[name] == value
        for name in ("vendor", "tenant", "app", "state")
        if (value := getattr(query, name)) is not None
    ]
    rows = tx.execute(by_key(select(disposals).where(*filters), disposals.c.id, page))
    return [_disposal(row) for row in rows]


def save_answer(tx: Connection, disposal: Disposal) -> None:
    """Save the answer to a request that the transaction has locked."""
    values = {name: getattr(disposal, name) for name in ("state", "reason", "answered_at", "answered_by")}
    tx.execute(disposals.update().where(disposals.c.id == disposal.id).values(values))


def purge(tx: Connection, before: datetime) -> int:
    """Delete a batch of requests that were made before a moment; return how many."""
    old = select(disposals.c.id).where(disposals.c.requested_at < before).limit(BATCH)
    return tx.execute(delete(disposals).where(disposals.c.id.in_(old))).rowcount


def _disposal(row: Row[Any]) -> Disposal:
    values = dict(row._mapping)
    del values["once"]
    return Disposal(**values | {"cause": Cause(row.cause), "state": State(row.state)})
