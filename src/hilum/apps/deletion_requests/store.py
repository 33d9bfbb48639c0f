"""The table of deletion requests."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Index, Row, String, Table, UniqueConstraint, delete, select

from hilum.apps.deletion_requests.models import BATCH, Cause, DeletionRequest, DeletionRequestQuery, State
from hilum.foundation.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.pages import PageQuery

deletion_requests = Table(
    "deletion_requests_request",
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
    Index("ix_deletion_requests_request_vendor", "vendor", "id"),
    Index("ix_deletion_requests_request_tenant", "tenant", "id"),
    Index("ix_deletion_requests_request_app", "app", "id"),
    Index("ix_deletion_requests_request_requested", "requested_at"),
)


def add(tx: Connection, deletion_request: DeletionRequest, once: str) -> bool:
    """Add a request; return False if its cause has one already."""
    return (
        tx.execute(
            insert_or_ignore(tx, deletion_requests).values(asdict(deletion_request) | {"once": once})
        ).rowcount
        == 1
    )


def get(tx: Connection, deletion_request: str, *, lock: bool = False) -> DeletionRequest:
    """Get a request. Raises NotFound."""
    return _deletion_request(
        get_row(
            tx,
            deletion_requests,
            deletion_request,
            "deletion request",
            code="deletion_request",
            lock=lock,
        )
    )


def list_requests(tx: Connection, query: DeletionRequestQuery, page: PageQuery) -> list[DeletionRequest]:
    """List requests by id, which is in the order of their making."""
    filters = [
        deletion_requests.c[name] == value
        for name in ("vendor", "tenant", "app", "state")
        if (value := getattr(query, name)) is not None
    ]
    rows = tx.execute(by_key(select(deletion_requests).where(*filters), deletion_requests.c.id, page))
    return [_deletion_request(row) for row in rows]


def save_answer(tx: Connection, deletion_request: DeletionRequest) -> None:
    """Save the answer to a request that the transaction has locked."""
    values = {
        name: getattr(deletion_request, name) for name in ("state", "reason", "answered_at", "answered_by")
    }
    tx.execute(deletion_requests.update().where(deletion_requests.c.id == deletion_request.id).values(values))


def purge(tx: Connection, before: datetime) -> int:
    """Delete a batch of requests that were made before a moment; return how many."""
    old = select(deletion_requests.c.id).where(deletion_requests.c.requested_at < before).limit(BATCH)
    return tx.execute(delete(deletion_requests).where(deletion_requests.c.id.in_(old))).rowcount


def _deletion_request(row: Row[Any]) -> DeletionRequest:
    values = dict(row._mapping)
    del values["once"]
    return DeletionRequest(**values | {"cause": Cause(row.cause), "state": State(row.state)})
