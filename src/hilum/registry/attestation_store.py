"""Adds and reads attestations. Rows are only ever added."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    bindparam,
    func,
    select,
)

from hilum.infra.db import insert_or_ignore, metadata
from hilum.infra.prepared_statements import PreparedStatement
from hilum.infra.unreadable import Moment
from hilum.kernel.ids import AppId
from hilum.registry.models import Attestation

attestations = Table(
    "registry_attestation",
    metadata,
    # The database lets only one of two processes add the attestation that follows another.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("app", String(64), nullable=False),
    Column("category", String(64), nullable=False),
    Column("after", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
    Index(None, "app", "number"),
)


def add_attestations(tx: Connection, made: Sequence[Attestation]) -> bool:
    """Add consecutive attestations; return False, adding none, if the number of the first is taken."""
    rows = [{column.name: getattr(each, column.name) for column in attestations.c} for each in made]
    # The first decides: the transaction that gets its number adds the rest.
    if rows and tx.execute(insert_or_ignore(tx, attestations).values(rows[0])).rowcount != 1:
        return False
    if rows[1:]:
        tx.execute(attestations.insert(), rows[1:])
    return True


def _newest(*wanted: ColumnElement[bool]) -> PreparedStatement:
    last = select(func.max(attestations.c.number)).where(*wanted).scalar_subquery()
    return PreparedStatement(select(attestations).where(attestations.c.number == last), *attestations.c)


_NEWEST = _newest()
_NEWEST_OF = _newest(attestations.c.app == bindparam("app"))


def newest_attestation(tx: Connection, app: AppId | None = None) -> Attestation | None:
    """Return the newest attestation of all apps or of one; None without one."""
    row = _NEWEST.first(tx, {}) if app is None else _NEWEST_OF.first(tx, {"app": app})
    return None if row is None else Attestation(**row)


def read_attestations(tx: Connection, *, after: int = 0, until: int | None = None) -> Iterator[Attestation]:
    """Read attestations in the order of their numbers, from the one after ``after`` to ``until``."""
    query = select(attestations).where(attestations.c.number > after).order_by(attestations.c.number)
    query = query if until is None else query.where(attestations.c.number <= until)
    return (_attestation(row) for row in tx.execute(query))


def numbered_attestations(tx: Connection, numbers: Collection[int]) -> list[Attestation]:
    """Read the attestations with these numbers, as far as they exist."""
    query = select(attestations).where(attestations.c.number.in_(numbers))
    return [_attestation(row) for row in tx.execute(query)]


def _attestation(row: Row[Any]) -> Attestation:
    # By position, since a process reads all of them when it starts.
    values: tuple[Any, ...] = tuple(row)
    return Attestation(*values)
