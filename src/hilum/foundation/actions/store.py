"""The table of creations that were sent under a key."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Column, Connection, String, Table, delete, select

from hilum.foundation.actions.models import PURGE_BATCH, Creation
from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata

creations = Table(
    "actions_creation",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", Instant, nullable=False, index=True),
    Column("record", String(100), nullable=False),
)


def add_creation(tx: Connection, creation: Creation) -> bool:
    """Add a creation; False if there is one of this id, for whose end another transaction was waited for."""
    return tx.execute(insert_or_ignore(tx, creations).values(asdict(creation))).rowcount == 1


def find_creation(tx: Connection, creation: str) -> Creation | None:
    row = tx.execute(select(creations).where(creations.c.id == creation)).first()
    return None if row is None else Creation(**row._mapping)


def save_record(tx: Connection, creation: str, record: str) -> None:
    """Record the id of what was created."""
    tx.execute(creations.update().where(creations.c.id == creation).values(record=record))


def delete_creation(tx: Connection, creation: str, before: datetime | None = None) -> None:
    """Delete a creation; with ``before`` only one that was sent by then."""
    older = () if before is None else (creations.c.at <= before,)
    tx.execute(delete(creations).where(creations.c.id == creation, *older))


def purge(tx: Connection, before: datetime) -> int:
    """Delete a batch of creations that were sent by a moment; return how many."""
    old = select(creations.c.id).where(creations.c.at <= before).limit(PURGE_BATCH)
    return tx.execute(delete(creations).where(creations.c.id.in_(old))).rowcount
