"""The table of walks: one row for each."""

from sqlalchemy import Column, Connection, String, Table, select

from hilum.apps.deprecations.models import Phase, Walk
from hilum.foundation.infra.db import insert_or_ignore, metadata

ENDS, BOOKS = "walk", "books"
"""The walks about scopes that end, and about applications of the policy."""

walks = Table(
    "sunsets_walk",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("after", String(64), nullable=False),
)


def lock_walk(tx: Connection, which: str = ENDS) -> Walk:
    """Get the walk, locked until the transaction ends."""
    tx.execute(insert_or_ignore(tx, walks).values(id=which, key="", phase=Phase.DONE.value, after=""))
    row = tx.execute(select(walks).where(walks.c.id == which).with_for_update()).one()
    return Walk(row.key, Phase(row.phase), row.after)


def save_walk(tx: Connection, walk: Walk, which: str = ENDS) -> None:
    values = {"key": walk.key, "phase": walk.phase.value, "after": walk.after}
    tx.execute(walks.update().where(walks.c.id == which).values(values))
