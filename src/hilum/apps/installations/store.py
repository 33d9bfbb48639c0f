"""The table of installations. Scopes, roles and facilities are each stored as one space-separated text."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from itertools import chain
from sys import intern
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    String,
    Table,
    Text,
    func,
    or_,
    select,
    text,
    tuple_,
    type_coerce,
)

from hilum.apps.installations.models import ApprovalRecord, Installation, InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows, Stored, word_set, words
from hilum.foundation.infra.sorting import NEVER
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.ids import AppAtTenant, AppId, FacilityId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.times import from_micros

PARSED_BOUND = 50_000
ROWS_AT_ONCE = 2_000

_ENDS = text(f"coalesce(expires_at, {NEVER})")


installations = Table(
    "registry_installation",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("roles", String(200), nullable=False),
    Column("approved_by", String(120), nullable=False),
    Column("approved_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("removed_at", Instant),
    Column("removed_by", String(120), nullable=False),
    Column("environment", String(20), nullable=False),
    # NULL: all, also those added later.
    Column("facilities", Text),
    Column("denied", Text, nullable=False, server_default=""),
    Column("record", JSON),
    Column("validated_at", Instant),
    Column("validated_by", String(120), nullable=False, server_default=""),
    Column("default_workflow", String(64), nullable=False, server_default=""),
    Column("networks", Text, nullable=False, server_default=""),
    Index(
        # Partial and unique: one current installation for each tenant and app, and any number of removed ones as history.
        "uq_registry_installation_eligibility",
        "tenant",
        "app",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index(
        # For paging the current installations of a tenant by id, without reading removed ones.
        "ix_registry_installation_listed",
        "tenant",
        "id",
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    # For paging them by their end or by when they were approved, of a tenant or of all.
    *(
        Index(
            f"ix_registry_installation_{name}",
            *terms,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        )
        for name, terms in {
            "tenant_ends": ("tenant", _ENDS, "id"),
            "ends": (_ENDS, "id"),
            "tenant_approved": ("tenant", "approved_at", "id"),
            "approved": ("approved_at", "id"),
        }.items()
    ),
    Index(None, "app"),
)


_ENVIRONMENTS = {each.value: each for each in Environment}
_RECORDED = {each.name for each in fields(ApprovalRecord)} - {"without"}
"""What every approval record has; the rest came later."""
DECISIVE = (
    "tenant",
    "app",
    "scopes",
    "roles",
    "expires_at",
    "approved_at",
    "environment",
    "facilities",
    "denied",
    "default_workflow",
    "networks",
)
"""The columns that enforcement reads of an installation."""


def joined(of: frozenset[str]) -> str:
    """Return words in their order, as the table has them."""
    return " ".join(sorted(of))


def _facilities(joined: str) -> frozenset[FacilityId]:
    return cast("frozenset[FacilityId]", word_set(joined))


def _record(stored: Any) -> ApprovalRecord | None:
    # A record that cannot be read must not keep anybody from removing the installation.
    if not isinstance(stored, dict) or not stored.keys() >= _RECORDED:
        return None
    facilities, end = stored["facilities"], stored["expires_at"]
    return ApprovalRecord(
        tuple(stored["asked"]),
        tuple(stored["scopes"]),
        tuple(stored["roles"]),
        None if facilities is None else tuple(facilities),
        tuple(stored["denied"]),
        None if end is None else datetime.fromisoformat(end),
        tuple(stored.get("without", ())),
    )


def _stored(record: ApprovalRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    end = record.expires_at
    return asdict(record) | {"expires_at": None if end is None else end.isoformat()}


_SAVED = tuple(column.name for column in installations.c if column.name not in {"id", "environment"})
"""Not the environment: a word of a newer release stays as it is."""
# In SQLite somebody may have written a value that is no text: it is shown, so that the installation can be removed.
_TEXT = Stored(str, str)
INSTALLATIONS = Rows(
    installations,
    Installation,
    "installation",
    approved_by=_TEXT,
    removed_by=_TEXT,
    validated_by=_TEXT,
    default_workflow=_TEXT,
    record=Stored(_stored, _record),
    # A word that is not known may be of a newer release: then enforcement has none of the installation (``facts_of``).
    environment=Stored(
        lambda environment: environment.value, lambda word: _ENVIRONMENTS.get(word, Environment.PRODUCTION)
    ),
)


def read_current(tx: Connection, tenant: TenantId, apps: Collection[AppId]) -> list[Installation]:
    """Read the current installations of some apps at a tenant, except those of a newer release."""
    query = select(installations).where(installations.c.tenant == tenant, installations.c.app.in_(apps))
    rows = tx.execute(query.where(installations.c.removed_at.is_(None)))
    return [INSTALLATIONS.of(row) for row in rows if row.environment in _ENVIRONMENTS]


def read_at(tx: Connection, app: AppId, tenants: Collection[TenantId]) -> list[Installation]:
    """Read the current installations of an app at some tenants."""
    here = INSTALLATIONS.select(installations.c.tenant.in_(tenants), app=app, removed_at=None)
    return INSTALLATIONS.read(tx, here)


def list_places(tx: Connection, app: AppId, page: PageQuery = FIRST_PAGE) -> list[TenantId]:
    """List the tenants at which an app is installed now, by id."""
    query = select(installations.c.tenant).where(
        installations.c.app == app, installations.c.removed_at.is_(None), installations.c.tenant > page.after
    )
    return [
        TenantId(row.tenant) for row in tx.execute(query.order_by(installations.c.tenant).limit(page.limit))
    ]


def list_denying(tx: Connection, tenant: TenantId) -> list[Installation]:
    """List the current installations of a tenant that deny any facility, and let no other transaction change them. As many as it has, which are as many as it administers."""
    query = INSTALLATIONS.select(installations.c.denied != "", tenant=tenant, removed_at=None)
    return INSTALLATIONS.read(tx, query.order_by(installations.c.id).with_for_update())


def read_installation_facts(
    tx: Connection,
    of: Collection[AppAtTenant] | None = None,
    *,
    apps: Collection[AppId] | None = None,
    tenant: TenantId | None = None,
) -> Iterator[tuple[TenantId, AppId, InstallationFacts]]:
    """Stream the facts of some current installations (by default of all)."""
    # Times are read as integers and converted below, which costs less per row than the conversion of the column type.
    columns = (
        type_coerce(column, BigInteger) if isinstance(column.type, Instant) else column
        for column in (installations.c[name] for name in DECISIVE)
    )
    # Expired ones are read too: each decision checks the end itself, so no job has to run at that moment.
    query = select(*columns).where(installations.c.removed_at.is_(None))
    if of is not None:
        query = query.where(tuple_(installations.c.tenant, installations.c.app).in_(of))
    if apps is not None:
        query = query.where(installations.c.app.in_(apps))
    if tenant is not None:
        query = query.where(installations.c.tenant == tenant)
    # Streamed, because a million rows at once would double the memory of a worker while it starts.
    rows = tx.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})
    for row in chain.from_iterable(rows.partitions()):
        if (found := facts_of(row)) is not None:
            yield row[0], row[1], found


def facts_of(row: Sequence[Any]) -> InstallationFacts | None:
    """Return the facts of a row; None if it is of a newer release. Repeated texts are parsed once and shared, to save memory."""
    _, _, scopes, roles, end, since, word, facilities, denied, workflow, networks = row
    environment = _ENVIRONMENTS.get(word) or member_of(Environment, word, "registry_installation.environment")
    # One of a newer release: this app is not installed there, and the others are.
    if environment is None:
        return None
    return InstallationFacts(
        words(scopes),
        word_set(roles),
        None if end is None else from_micros(end),
        from_micros(since),
        environment,
        None if facilities is None else _facilities(facilities),
        _facilities(denied),
        # Shared like the others: a million installations have a handful of them.
        intern(workflow),
        words(networks),
    )


def count_by_scopes(
    tx: Connection,
    app: AppId,
    now: datetime,
    since: datetime | None,
    limit: int,
    *,
    until: datetime | None = None,
) -> list[tuple[tuple[str, ...], int]]:
    """Count an app's current installations that have not ended by their scopes, most frequent first.

    Of those that were approved ``since`` a moment, and ``until`` another one.
    """
    number = func.count()
    query = select(installations.c.scopes, number).where(
        installations.c.app == app,
        installations.c.removed_at.is_(None),
        or_(installations.c.expires_at.is_(None), installations.c.expires_at > now),
    )
    if since is not None:
        query = query.where(installations.c.approved_at >= since)
    if until is not None:
        query = query.where(installations.c.approved_at <= until)
    query = query.group_by(installations.c.scopes).order_by(number.desc(), installations.c.scopes)
    return [(words(scopes), int(found)) for scopes, found in tx.execute(query.limit(limit))]


def save_installation(tx: Connection, installation: Installation) -> bool:
    """Save a narrowed or widened installation; return False if it has been removed."""
    return INSTALLATIONS.save(tx, installation, only=_SAVED, removed_at=None)


def save_removed(tx: Connection, installation: str, *, by: str, at: datetime) -> bool:
    return (
        INSTALLATIONS.change(tx, {"removed_at": at, "removed_by": by}, id=installation, removed_at=None) == 1
    )


def list_apps_at(tx: Connection, tenant: TenantId) -> list[AppId]:
    """List the apps that are installed at a tenant. Not paged."""
    query = select(installations.c.app).where(
        installations.c.tenant == tenant, installations.c.removed_at.is_(None)
    )
    return [AppId(app) for app in tx.execute(query).scalars()]


def delete_of_apps(tx: Connection, of: Collection[AppId]) -> None:
    tx.execute(installations.delete().where(installations.c.app.in_(of)))
