"""The table of exceptions. Rows are only added, and ended early."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Select, String, Table, Text, bindparam, func, select

from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.sorting import newest_first
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException

exceptions = Table(
    "policies_exception",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("app", String(64), nullable=False),
    Column("version", String(64)),
    Column("tenant", String(64)),
    Column("reason", Text, nullable=False),
    Column("control", Text, nullable=False),
    Column("tier", String(20), nullable=False),
    Column("requirement", String(120), nullable=False),
    Column("title", Text, nullable=False),
    Column("computed", String(20), nullable=False),
    Column("category", String(64), nullable=False),
    Column("rules", JSON, nullable=False),
    Column("book_digest", String(64), nullable=False),
    Column("owner", String(120), nullable=False),
    Column("agreed_by", String(120), nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Index("ix_policies_exception_ends_at", "ends_at"),
    Index("ix_policies_exception_app", "app", "id"),
)
"""``tenant`` NULL: everywhere. ``ends_at`` NULL: until somebody ends it."""
_NAMES = tuple(each.name for each in fields(PolicyException))


def add(tx: Connection, exception: PolicyException) -> None:
    row = {name: _plain(getattr(exception, name)) for name in _NAMES}
    tx.execute(exceptions.insert().values(row))


def find(tx: Connection, exception_id: str) -> PolicyException | None:
    """Find an exception; None for one that this release does not understand: it allows nothing."""
    found = tx.execute(select(exceptions).where(exceptions.c.id == exception_id)).all()
    return next(iter(_made(found)), None)


def save_ended(tx: Connection, ended: PolicyException) -> bool:
    """Save the early end of an exception; return False if it had ended."""
    mine = (exceptions.c.id == ended.id, exceptions.c.ended_at.is_(None))
    values = {"ended_at": ended.ended_at, "ended_by": ended.ended_by}
    return tx.execute(exceptions.update().where(*mine).values(values)).rowcount == 1


def list_page(
    tx: Connection, page: PageQuery, *, tenant: TenantId | None, kind: ExceptionKind | None
) -> list[PolicyException]:
    """List exceptions, newest first; with a tenant those that reach it."""
    query = newest_first(select(exceptions), exceptions, page)
    if tenant is not None:
        query = query.where((exceptions.c.tenant == tenant) | exceptions.c.tenant.is_(None))
    if kind is not None:
        query = query.where(exceptions.c.kind == kind.value)
    return _made(tx.execute(query).all())


def list_live(tx: Connection, now: datetime) -> list[PolicyException]:
    """List the exceptions that have not ended, oldest first. All of them: a raised tier that is left out would loosen something."""
    return _made(tx.execute(_live(select(exceptions), now).order_by(exceptions.c.id)).all())


def count_loosening(tx: Connection, now: datetime) -> int:
    """Count the exceptions that loosen something and have not ended."""
    query = _live(select(func.count()).select_from(exceptions), now).where(
        exceptions.c.kind != ExceptionKind.RAISED_TIER.value
    )
    return int(tx.execute(query).scalar_one())


def list_at(tx: Connection, app: AppId, at: datetime) -> list[PolicyException]:
    """List the exceptions of an app that had begun by a time, oldest first."""
    return _made(_BEGUN.records(tx, {"of": app, "by": at}))


def _live(query: Select[Any], now: datetime) -> Select[Any]:
    open_ended = exceptions.c.ends_at.is_(None) | (exceptions.c.ends_at > now)
    return query.where(open_ended, exceptions.c.ended_at.is_(None))


def _made(rows: Iterable[Any]) -> list[PolicyException]:
    return [each for each in map(_exception, rows) if each is not None]


def _exception(row: Any) -> PolicyException | None:
    kind = member_of(ExceptionKind, row.kind, "policies_exception.kind")
    if kind is None:
        return None
    stated = {name: getattr(row, name) for name in _NAMES}
    return PolicyException(
        **stated
        | {
            "kind": kind,
            "app": AppId(row.app),
            "version": None if row.version is None else VersionId(row.version),
            "tenant": None if row.tenant is None else TenantId(row.tenant),
            "rules": tuple(row.rules),
        }
    )


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else list(value) if isinstance(value, tuple) else value


_mine = (
    exceptions.c.app == bindparam("of"),
    exceptions.c.starts_at <= bindparam("by", type_=exceptions.c.starts_at.type),
)
_BEGUN = PreparedStatement(select(exceptions).where(*_mine).order_by(exceptions.c.id), *exceptions.c)
