"""The tables of emergency accesses and of hospitals' settings for them."""

from datetime import datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
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
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.ids import PersonId
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

USES = Rows(uses, Use, "emergency access", code="break_glass_not_found")
SETTINGS = Rows(settings, Settings)


def list_uses(tx: Connection, query: UseQuery, now: datetime, page: PageQuery) -> list[Use]:
    """List uses by id, or in the page's order."""
    where = given(tenant=query.tenant or None, person=query.person or None)
    if query.waiting or query.findings:
        where["reviewed_at"] = None
    overdue = [uses.c.review_by <= now] if query.findings else []
    return USES.sorted(tx, SORTS, page, *overdue, **where)


def read_running(tx: Connection, now: datetime, *, tenant: str = "", launch: str = "") -> list[Use]:
    """Read the open uses: all, or those of a hospital or a launch."""
    same = given(tenant=tenant or None, launch=launch or None)
    return USES.read(tx, USES.select(uses.c.ends_at > now, ended_at=None, **same))


def read_recent(tx: Connection, person: PersonId, now: datetime) -> Recent:
    """Read a person's recent uses and their last unjustified one."""
    # The bar begins at the review, which may come long after the use.
    unjustified = select(func.max(uses.c.reviewed_at)).where(
        uses.c.person == person,
        uses.c.verdict == Verdict.UNJUSTIFIED,
        uses.c.reviewed_at > now - MISUSE_BAR,
    )
    opened = USES.count(tx, uses.c.opened_at > now - DAY, person=person)
    return Recent(opened, tx.execute(unjustified).scalar_one())


def save_settings(tx: Connection, changed: Settings) -> None:
    """Store a hospital's settings. The caller has locked the hospital's row."""
    if not SETTINGS.save(tx, changed):
        SETTINGS.add(tx, changed)
