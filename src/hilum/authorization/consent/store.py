"""Table and rows of authorizations."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    desc,
    func,
    select,
)

from hilum.authorization.consent.models import VERSIONS_BOUND, AgreementVersion, Authorization, Basis
from hilum.foundation.infra.db import BATCH_SIZE, Instant, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.rows import Condition, Rows
from hilum.foundation.kernel.ids import AppId, AuthorizationId, ClientId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery

FILTERED_BOUND = 5_000
"""Up to how many clients a count filters in the database; SQLite accepts 32,766 values in a statement."""
authorization = Table(
    "authorization",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("person", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("client", String(64), nullable=False),
    Column("basis", String(16), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("patient", String(64), nullable=False),
    Column("launch", String(64), nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("last_validated_at", Instant),
    Column("revoked_at", Instant, index=True),
    Column("revoked_by", String(128), nullable=False),
    Column("workflow", String(64), nullable=False, server_default=""),
    # This one index suffices, because a person has few agreements.
    Index("ix_authorization_person", "tenant", "person", "client"),
)
agreement_version = Table(
    "authorization_version",
    metadata,
    Column("authorization", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("change", String(16), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("by", String(128), nullable=False),
)
AUTHORIZATIONS = Rows(authorization, Authorization, "authorization", code="authorization_unknown")
VERSIONS = Rows(agreement_version, AgreementVersion)
_HOLD = PreparedStatement(
    select(authorization)
    .where(authorization.c.id == bindparam("authorization_id"))
    # Otherwise a code redeemed during a narrowing would yield a token with the old scopes: on PostgreSQL neither
    # transaction sees the other.
    .with_for_update(read=True),
    *authorization.c,
)
"""FOR SHARE: several transactions may issue tokens at once; narrowing and withdrawing exclude them and each other."""


def hold(tx: Connection, authorization_id: AuthorizationId) -> Authorization | None:
    """Read an authorization and lock it against changes until this transaction ends. SQLite has a single writer and needs no lock."""
    return next(map(AUTHORIZATIONS.of, _HOLD.records(tx, {"authorization_id": authorization_id})), None)


def list_in_force_of_app(
    tx: Connection, tenant: TenantId, person: PersonId, now: datetime, *, app: AppId
) -> list[Authorization]:
    """Read a person's authorizations of an app that are in force, newest first; all of them, since a withdrawal must not miss one."""
    query = AUTHORIZATIONS.select(*_in_force(tenant, person, now), app=app)
    return AUTHORIZATIONS.read(tx, query.order_by(desc(authorization.c.created_at), desc(authorization.c.id)))


def list_in_force(
    tx: Connection, tenant: TenantId, person: PersonId, now: datetime, page: PageQuery = FIRST_PAGE
) -> list[Authorization]:
    """List a person's authorizations in force by id, oldest first."""
    return AUTHORIZATIONS.page(tx, page, *_in_force(tenant, person, now))


def _in_force(tenant: TenantId, person: PersonId, now: datetime) -> list[Condition]:
    return AUTHORIZATIONS.where(
        authorization.c.expires_at > now, tenant=tenant, person=person, revoked_at=None
    )


def revoke(tx: Connection, authorization_id: AuthorizationId, by: str, now: datetime) -> bool:
    """Revoke an authorization; return False if it was revoked before."""
    # Conditional, so that the first revocation keeps its time and its author.
    values = {"revoked_at": now, "revoked_by": by}
    return AUTHORIZATIONS.change(tx, values, id=authorization_id, revoked_at=None) == 1


def last_version(tx: Connection, authorization_id: AuthorizationId) -> int:
    """Return the number of an agreement's last version; 0 if it has none."""
    table = agreement_version
    query = select(func.max(table.c.number)).where(table.c.authorization == authorization_id)
    return int(tx.execute(query).scalar_one() or 0)


def list_agreed(
    tx: Connection, tenant: TenantId, person: PersonId | None, page: PageQuery
) -> list[Authorization]:
    """List people's own agreements at a tenant, also ended ones, by person and id; the page's ``after`` is both, joined by ``~``."""
    return _listed(tx, AUTHORIZATIONS.select(tenant=tenant, basis=Basis.PERSON), person, page)


def _listed(
    tx: Connection, query: Select[Any], person: PersonId | None, page: PageQuery
) -> list[Authorization]:
    table = authorization
    if person is not None:
        query = query.where(table.c.person == person)
    after_person, _, after_id = page.after.partition("~")
    if after_person:
        # Redundant, but it lets the index by person serve the query.
        query = query.where(table.c.person >= after_person)
        beyond = (table.c.person > after_person) | (
            (table.c.person == after_person) & (table.c.id > after_id)
        )
        query = query.where(beyond)
    return AUTHORIZATIONS.read(tx, query.order_by(table.c.person, table.c.id).limit(page.limit))


def list_of_tenant(
    tx: Connection, tenant: TenantId, person: PersonId | None, page: PageQuery
) -> list[Authorization]:
    """List agreements of any basis at a tenant, also ended ones, by person and id; the page's ``after`` is both, joined by ``~``."""
    return _listed(tx, AUTHORIZATIONS.select(tenant=tenant), person, page)


def save_end(tx: Connection, authorization_id: AuthorizationId, expires_at: datetime) -> None:
    """Shorten an agreement."""
    is_later = authorization.c.expires_at > expires_at
    AUTHORIZATIONS.change(tx, {"expires_at": expires_at}, is_later, id=authorization_id)


def list_versions(tx: Connection, authorization_id: AuthorizationId) -> list[AgreementVersion]:
    """List the versions of an agreement, oldest first. Each has fewer scopes than the one before, so they are few."""
    query = VERSIONS.select(authorization=authorization_id).order_by(agreement_version.c.number)
    return VERSIONS.read(tx, query.limit(VERSIONS_BOUND))


def read_revoked(tx: Connection, since: datetime) -> Iterator[tuple[AuthorizationId, datetime]]:
    """Yield the authorizations revoked since a moment, each with the time of its revocation. Unbounded."""
    table = authorization
    rows = tx.execute(select(table.c.id, table.c.revoked_at).where(table.c.revoked_at > since))
    return ((AuthorizationId(row.id), row.revoked_at) for row in rows)


def count_in_force(
    tx: Connection, clients: Collection[ClientId], now: datetime
) -> Iterator[tuple[str, str, tuple[str, ...], int]]:
    """Yield tenant, client and scopes of the authorizations of some clients that are in force, with how many are equal.

    Reads the table once, however many clients: an index by client would cost every agreement a write.
    """
    table = authorization
    scopes = cast(table.c.scopes, Text)
    query = select(table.c.tenant, table.c.client, scopes, func.count()).where(
        table.c.revoked_at.is_(None), table.c.expires_at > now
    )
    if len(clients) <= FILTERED_BOUND:
        query = query.where(table.c.client.in_(clients))
    wanted = frozenset(clients)
    rows = tx.execute(query.group_by(table.c.tenant, table.c.client, scopes))
    return ((t, c, tuple(orjson.loads(s)), n) for t, c, s, n in rows if c in wanted)


def read_in_force(
    tx: Connection, clients: Collection[ClientId], now: datetime, after: str
) -> list[Authorization]:
    """Read the next BATCH_SIZE authorizations in force by id: of some clients or, if these are more than BATCH_SIZE, of all."""
    table = authorization
    query = select(table).where(table.c.revoked_at.is_(None), table.c.expires_at > now, table.c.id > after)
    if len(clients) <= BATCH_SIZE:
        query = query.where(table.c.client.in_(clients))
    return AUTHORIZATIONS.read(tx, query.order_by(table.c.id).limit(BATCH_SIZE))
