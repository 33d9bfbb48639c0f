"""Tables of allowances (overrides and exceptions). Rows are only ever added, and ended early."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import JSON, Column, Connection, Index, Select, String, Table, Text, bindparam, func, select

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.sorting import newest_first
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.override_models import Override


class Allowance(Protocol):
    """The fields of every kind of allowance."""

    @property
    def id(self) -> str: ...
    @property
    def app(self) -> AppId: ...
    @property
    def tenant(self) -> TenantId | None:
        """Return the tenant; None for everywhere."""

    @property
    def ends_at(self) -> datetime: ...
    @property
    def agreed_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def ended_by(self) -> str: ...


W = TypeVar("W", Override, PolicyException)


overrides = Table(
    "policies_override",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("rule", Text, nullable=False),
    Column("rule_digest", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("control", Text, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("agreed_by", String(120), nullable=False),
    Column("agreed_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Index("ix_policies_override_ends_at", "ends_at"),
)
"""``tenant``: empty for everywhere."""

exceptions = Table(
    "policies_exception",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("control", Text, nullable=False, server_default=""),
    Column("tier", String(20), nullable=False),
    Column("computed", String(20), nullable=False),
    Column("category", String(64), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("book_digest", String(64), nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("agreed_by", String(120), nullable=False),
    Column("agreed_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Index("ix_policies_exception_ends_at", "ends_at"),
)
"""``tenant``: empty for everywhere."""


@dataclass(frozen=True, slots=True)
class Rows(Generic[W]):
    """The rows of a table of allowances of one kind. ``parse`` returns None for a row that this release does not understand: it allows nothing."""

    table: Table
    parse: Callable[[Mapping[str, Any]], W | None]

    def add(self, tx: Connection, allowance: W) -> None:
        row = {column.name: _plain(getattr(allowance, column.name)) for column in self.table.c}
        tx.execute(self.table.insert().values(row | {"tenant": allowance.tenant or ""}))

    def find(self, tx: Connection, allowance_id: str) -> W | None:
        """Find an allowance."""
        return next(iter(self._read(tx, select(self.table).where(self.table.c.id == allowance_id))), None)

    def save_ended(self, tx: Connection, ended: W) -> bool:
        """Save the early end of an allowance; return False if it had ended."""
        mine = (self.table.c.id == ended.id, self.table.c.ended_at.is_(None))
        values = {"ended_at": ended.ended_at, "ended_by": ended.ended_by}
        return tx.execute(self.table.update().where(*mine).values(values)).rowcount == 1

    def list_page(self, tx: Connection, page: PageQuery, *, tenant: TenantId | None) -> list[W]:
        """List allowances, newest first; with a tenant those that reach it."""
        query = newest_first(select(self.table), self.table, page)
        if tenant is not None:
            query = query.where(self.table.c.tenant.in_(("", tenant)))
        return self._read(tx, query)

    def list_live(self, tx: Connection, now: datetime, bound: int) -> list[W]:
        """List the allowances that have not ended, oldest first."""
        return self._read(tx, self._live(select(self.table), now).order_by(self.table.c.id).limit(bound))

    def count_live(self, tx: Connection, now: datetime) -> int:
        """Count the allowances that have not ended."""
        count = self._live(select(func.count()).select_from(self.table), now)
        return int(tx.execute(count).scalar_one())

    def list_of(self, tx: Connection, app: AppId, at: datetime) -> list[W]:
        """List the allowances of an app that were agreed to by a time, oldest first."""
        return self._made(_agreed_by(self.table).records(tx, {"of": app, "by": at}))

    def _live(self, query: Select[Any], now: datetime) -> Select[Any]:
        return query.where(self.table.c.ends_at > now, self.table.c.ended_at.is_(None))

    def _read(self, tx: Connection, query: Select[Any]) -> list[W]:
        return self._made(tx.execute(query).all())

    def _made(self, rows: Iterable[Any]) -> list[W]:
        names = self.table.c.keys()

        def parsed(row: Any) -> W | None:
            return self.parse(dict(zip(names, row, strict=True)) | {"tenant": row.tenant or None})

        return [each for each in map(parsed, rows) if each is not None]


@cache
def _agreed_by(table: Table) -> PreparedStatement:
    mine = (
        table.c.app == bindparam("of"),
        table.c.agreed_at <= bindparam("by", type_=table.c.agreed_at.type),
    )
    return PreparedStatement(select(table).where(*mine).order_by(table.c.id), *table.c)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value


def _override(row: Mapping[str, Any]) -> Override:
    return Override(**row)


def _exception(row: Mapping[str, Any]) -> PolicyException | None:
    kind = member_of(ExceptionKind, row["kind"], "policies_exception.kind")
    return None if kind is None else PolicyException(**{**row, "kind": kind, "rules": tuple(row["rules"])})


OVERRIDES = Rows(overrides, _override)
EXCEPTIONS = Rows(exceptions, _exception)
