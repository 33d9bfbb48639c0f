"""The rows of dry runs. What a run is about, and its numbers, is a row of the module ``policies``."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import orjson
from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    Text,
    delete,
    func,
    or_,
    select,
    tuple_,
)

from hilum.foundation.infra.db import metadata
from hilum.foundation.infra.prepared_statements import insert_many
from hilum.foundation.kernel.pages import PageQuery
from hilum.operations.dry_runs.models import DELETE_BATCH, Kind, Pack, StoredRow

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
"""Rows of one kind and hospital together: ``body`` has the fields of each as a JSON array, ``number`` is that of the last one, and ``app`` is empty if they are of several apps.

Releases before stored each row by itself, with its fields alone as ``body``.
"""
PACKS_AT_ONCE = 20
"""Packs that are read together, until a page is full."""


def add_packs(tx: Connection, run: str, added: Iterable[Pack]) -> None:
    insert_many(
        tx, rows, ((run, kind.value, last, tenant, app, body) for last, kind, tenant, app, body in added)
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
    query = select(rows).where(rows.c.run == run, rows.c.kind == kind.value)
    if only is not None:
        query = query.where(rows.c.tenant.in_(only))
    if beside:
        query = query.where(rows.c.tenant.not_in(beside))
    if app:
        # Whoever packs several apps names none of them in the column.
        named = orjson.dumps({"app": app})[1:-1].decode()
        query = query.where(
            or_(rows.c.app == app, (rows.c.app == "") & rows.c.body.contains(named, autoescape=True))
        )
    after = int(page.after or 0)
    found: list[StoredRow] = []
    for each in _unpacked(tx, query, after):
        if each.number > after and app in {"", each.app}:
            found.append(each)
            if len(found) == page.limit:
                break
    return found


def _unpacked(tx: Connection, query: Select[Any], after: int) -> Iterator[StoredRow]:
    """Yield the rows of the packs of a query that end after a number, some packs at a time."""
    ordered = query.order_by(rows.c.number).limit(PACKS_AT_ONCE)
    while packs := tx.execute(ordered.where(rows.c.number > after)).all():
        for pack in packs:
            body = orjson.loads(pack.body)
            some = body if isinstance(body, list) else [body]
            for number, each in enumerate(some, pack.number - len(some) + 1):
                yield StoredRow(number, Kind(pack.kind), pack.tenant, each.get("app", ""), each)
        if len(packs) < PACKS_AT_ONCE:
            break
        after = packs[-1].number


def delete_rows(tx: Connection, *, of: str = "", beside: Collection[str] = ()) -> int:
    """Delete up to DELETE_BATCH packs of a run, or of one of all runs but some; return how many."""
    run = of or _other_run(tx, beside)
    key = tuple_(rows.c.run, rows.c.kind, rows.c.number)
    some = select(rows.c.run, rows.c.kind, rows.c.number).where(rows.c.run == run).limit(DELETE_BATCH)
    return tx.execute(delete(rows).where(key.in_(some))).rowcount if run else 0


def _other_run(tx: Connection, beside: Collection[str]) -> str:
    """Return a run with rows other than some runs; empty if there is none."""
    # From run to run by the index: that none is there would else be known once every row was read, and there are millions.
    next_run, run = select(func.min(rows.c.run)), ""
    while run in {"", *beside}:
        run = tx.execute(next_run.where(rows.c.run > run)).scalar_one() or ""
        if not run:
            break
    return run
