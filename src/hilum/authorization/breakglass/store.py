"""The tables of emergency accesses and of hospitals' settings for them."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    func,
    select,
    text,
)

from hilum.authorization.breakglass.models import (
    DAY,
    MISUSE_BAR,
    SORTS,
    Recent,
    Settings,
    Use,
    UseQuery,
    Verdict,
)
from hilum.foundation.infra.db import Instant, get_row, metadata
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery

_UNREVIEWED = text("reviewed_at IS NULL")

uses = Table(
    "breakglass_use",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("person", String(64), nullable=False),
    Column("role", String(32), nullable=False),
    Column("client", String(100), nullable=False),
    Column("app", String(64), nullable=False),
    Column("launch", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("categories", JSON, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False, index=True),
    Column("review_by", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Column("reviewed_at", Instant),
    Column("reviewed_by", String(120), nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Index(None, "tenant", "id"),
    Index(None, "person", "opened_at"),
    Index("ix_breakglass_use_tenant_review", "tenant", "review_by", "id"),
    Index("ix_breakglass_use_person_review", "person", "review_by", "id"),
    Index(
        "ix_breakglass_use_unreviewed", "tenant", "id", sqlite_where=_UNREVIEWED, postgresql_where=_UNREVIEWED
    ),
)
settings = Table(
    "breakglass_setting",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("categories", JSON, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("per_day", Integer, nullable=False),
    Column("review_hours", Integer, nullable=False),
)


def _use(row: Row[Any]) -> Use:
    typed = {
        "tenant": TenantId(row.tenant),
        "person": PersonId(row.person),
        "client": ClientId(row.client),
        "app": AppId(row.app),
        "launch": LaunchId(row.launch),
        "categories": tuple(row.categories),
    }
    return Use(**dict(row._mapping) | typed)


def _values(record: Use | Settings) -> dict[str, Any]:
    return asdict(record) | {"categories": list(record.categories)}


def _settings(row: Row[Any]) -> Settings:
    typed = {
        "tenant": TenantId(row.tenant),
        "categories": tuple(row.categories),
        "enabled": bool(row.enabled),
    }
    return Settings(**dict(row._mapping) | typed)


def add_use(tx: Connection, use: Use) -> None:
    tx.execute(uses.insert().values(_values(use)))


def save_use(tx: Connection, use: Use) -> None:
    tx.execute(uses.update().where(uses.c.id == use.id).values(_values(use)))


def get_use(tx: Connection, use: str, *, lock: bool = False) -> Use:
    """Get a use; ``lock``: until the transaction ends. Raises NotFound."""
    return _use(get_row(tx, uses, use, "emergency access", code="break_glass", lock=lock))


def read_uses(tx: Connection, ids: Iterable[str]) -> list[Use]:
    return [_use(row) for row in tx.execute(select(uses).where(uses.c.id.in_(list(ids))))]


def list_uses(tx: Connection, query: UseQuery, now: datetime, page: PageQuery) -> list[Use]:
    """List uses by id, or in the page's order."""
    matching = select(uses)
    if query.tenant:
        matching = matching.where(uses.c.tenant == query.tenant)
    if query.person:
        matching = matching.where(uses.c.person == query.person)
    if query.waiting or query.findings:
        matching = matching.where(_UNREVIEWED)
    if query.findings:
        matching = matching.where(uses.c.review_by <= now)
    return [_use(row) for row in tx.execute(paged(matching, uses, SORTS, page))]


def read_running(tx: Connection, now: datetime, *, tenant: str = "", launch: str = "") -> list[Use]:
    """Read the open uses: all, or those of a hospital or a launch."""
    running = select(uses).where(uses.c.ends_at > now, uses.c.ended_at.is_(None))
    if tenant:
        running = running.where(uses.c.tenant == tenant)
    if launch:
        running = running.where(uses.c.launch == launch)
    return [_use(row) for row in tx.execute(running)]


def read_recent(tx: Connection, person: PersonId, now: datetime) -> Recent:
    """Read a person's recent uses and their last unjustified one."""
    own = uses.c.person == person
    count = select(func.count()).select_from(uses).where(own, uses.c.opened_at > now - DAY)
    # The bar begins at the review, which may come long after the use.
    unjustified = select(func.max(uses.c.reviewed_at)).where(
        own, uses.c.verdict == Verdict.UNJUSTIFIED, uses.c.reviewed_at > now - MISUSE_BAR
    )
    return Recent(int(tx.execute(count).scalar_one()), tx.execute(unjustified).scalar_one())


def find_settings(tx: Connection, tenant: TenantId) -> Settings | None:
    row = tx.execute(select(settings).where(settings.c.tenant == tenant)).first()
    return None if row is None else _settings(row)


def read_enabled(tx: Connection) -> list[Settings]:
    """Read the settings of every hospital that has break-glass switched on."""
    return [_settings(row) for row in tx.execute(select(settings).where(settings.c.enabled.is_(True)))]


def save_settings(tx: Connection, changed: Settings) -> None:
    """Store a hospital's settings. The caller has locked the hospital's row."""
    same = settings.c.tenant == changed.tenant
    if tx.execute(settings.update().where(same).values(_values(changed))).rowcount == 0:
        tx.execute(settings.insert().values(_values(changed)))
