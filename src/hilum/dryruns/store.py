"""The rows of dry runs. What a run is about, and its numbers, is a row of the room ``policies``."""

from collections.abc import Collection, Iterable

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    delete,
    select,
    tuple_,
)

from hilum.dryruns.models import DELETE_BATCH, Kind, StoredRow
from hilum.infra.db import metadata
from hilum.infra.prepared_statements import prepare_insert
from hilum.kernel.pages import PageQuery

rows = Table(
    "dryruns_row",
    metadata,
    Column("run", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("number", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("app", String(64), nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("run", "kind", "number"),
    Index("ix_dryruns_row_tenant", "run", "kind", "tenant", "number"),
)


_INSERT = prepare_insert(rows)


def add_rows(tx: Connection, run: str, added: Iterable[StoredRow]) -> None:
    # Twenty thousand at once: what SQLAlchemy does for each row costs as much as the database.
    _INSERT.many(
        tx, ((run, kind.value, number, tenant, app, body) for number, kind, tenant, app, body in added)
    )


def list_rows(
    tx: Connection,
    run: str,
    kind: Kind,
    page: PageQuery,
    *,
    app: str = "",
    only: Collection[str] | None = None,
    beside: Collection[str] = (),
) -> list[StoredRow]:
    """List rows of one kind in their order, of some hospitals (None: all) and not of others; ``page.after`` is a number."""
    query = select(rows).where(
        rows.c.run == run, rows.c.kind == kind.value, rows.c.number > int(page.after or 0)
    )
    if only is not None:
        query = query.where(rows.c.tenant.in_(only))
    if beside:
        query = query.where(rows.c.tenant.not_in(beside))
    if app:
        query = query.where(rows.c.app == app)
    found = tx.execute(query.order_by(rows.c.number).limit(page.limit))
    return [StoredRow(row.number, Kind(row.kind), row.tenant, row.app, row.body) for row in found]


def delete_rows(tx: Connection, *, of: str = "", beside: Collection[str] = ()) -> int:
    """Delete up to DELETE_BATCH rows of a run, or of all runs but some; return how many."""
    key = tuple_(rows.c.run, rows.c.kind, rows.c.number)
    chosen = rows.c.run == of if of else rows.c.run.not_in(beside)
    some = select(rows.c.run, rows.c.kind, rows.c.number).where(chosen).limit(DELETE_BATCH)
    return tx.execute(delete(rows).where(key.in_(some))).rowcount
