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
    func,
    select,
    tuple_,
)

from hilum.dryruns.models import DELETE_BATCH, Kind, StoredRow
from hilum.infra.db import metadata
from hilum.infra.prepared_statements import insert_many
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


def add_rows(tx: Connection, run: str, added: Iterable[StoredRow]) -> None:
    values = ((run, kind.value, number, tenant, app, body) for number, kind, tenant, app, body in added)
    insert_many(tx, rows, values)


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
    """Delete up to DELETE_BATCH rows of a run, or of one of all runs but some; return how many."""
    run = of or _other_run(tx, beside)
    key = tuple_(rows.c.run, rows.c.kind, rows.c.number)
    some = select(rows.c.run, rows.c.kind, rows.c.number).where(rows.c.run == run).limit(DELETE_BATCH)
    return tx.execute(delete(rows).where(key.in_(some))).rowcount if run else 0


def _other_run(tx: Connection, beside: Collection[str]) -> str:
    """Return a run that has rows and is none of some; empty if there is none."""
    # From run to run by the index: that none is there would else be known once every row was read, and there are millions.
    next_run, run = select(func.min(rows.c.run)), ""
    while run in {"", *beside}:
        run = tx.execute(next_run.where(rows.c.run > run)).scalar_one() or ""
        if not run:
            break
    return run
