"""The tables of allowed hosts, identity providers, links, sessions that providers began, and used states and logout tokens."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    select,
)

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.infra.rows import Rows, Stored
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.identity.federation.models import (
    ENDED_BOUND,
    HOSTS_BOUND,
    PROVIDERS_BOUND,
    PURGE_BATCH,
    ClientAuth,
    FederatedSession,
    Host,
    LinkBy,
    LinkedPerson,
    Passwords,
    Provider,
    RoleRow,
    Settings,
)

hosts = Table(
    "federation_host",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("origin", String(300), nullable=False, unique=True),
    Column("added_at", Instant, nullable=False),
    Column("added_by", String(120), nullable=False),
)

providers = Table(
    "federation_provider",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("settings", JSON, nullable=False),
    # Sealed for the issuer, so it does not open with another one in the row.
    Column("secret_sealed", String(4_000), nullable=False),
    Column("number", Integer, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", String(120), nullable=False),
    Index(None, "tenant", "id"),
)

links = Table(
    "federation_link",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("issuer", String(500), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("person", String(64), nullable=False),
    Column("linked_at", Instant, nullable=False),
    Column("linked_by", String(120), nullable=False),
    Column("seen_at", Instant),
    # A subject has one account at a tenant, and an account one subject of an issuer.
    UniqueConstraint("tenant", "issuer", "subject"),
    UniqueConstraint("issuer", "person"),
    Index(None, "tenant", "id"),
    Index(None, "person"),
)

sessions = Table(
    "federation_session",
    metadata,
    Column("session", String(64), primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("issuer", String(500), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("sid", String(255), nullable=False),
    Column("hint_sealed", String(50_000), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("sub", String(255), nullable=False),
    Index(None, "provider", "sub"),
    Index(None, "provider", "sid"),
    Index(None, "expires_at"),
)

unlinked = Table(
    "federation_unlinked",
    metadata,
    # Kept for good: no claim links this account again.
    Column("person", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
)

used = Table(
    "federation_used",
    metadata,
    # A digest of a state, or of a provider and the jti of its logout token.
    Column("key", String(64), primary_key=True),
    Column("until", Instant, nullable=False),
    Index(None, "until"),
)


def write_settings(settings: Settings) -> dict[str, Any]:
    """Return a provider's settings as a record that ``read_settings`` parses again."""
    written = asdict(settings)
    written["role_table"] = [[row.value, row.role] for row in settings.role_table]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in written.items()}


def read_settings(written: Mapping[str, Any]) -> Settings:
    """Parse a provider's settings."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
    }
    values["role_table"] = tuple(RoleRow(value, role) for value, role in written["role_table"])
    values["client_auth"] = ClientAuth(written["client_auth"])
    values["link_by"] = LinkBy(written["link_by"])
    values["passwords"] = Passwords(written["passwords"])
    return Settings(**values)


HOSTS = Rows(hosts, Host)
PROVIDERS = Rows(
    providers,
    Provider,
    "identity provider",
    code="provider_not_found",
    settings=Stored(write_settings, read_settings),
)
LINKS = Rows(links, LinkedPerson, "link")
SESSIONS = Rows(sessions, FederatedSession)


def take_host(tx: Connection, host_id: str) -> Host:
    """Delete a host and return it. Raises NotFound."""
    host = HOSTS.take(tx, id=host_id)
    if host is None:
        raise NotFound("host_not_found", "This host is not on the list.")
    return host


def allowed_origins(tx: Connection) -> frozenset[str]:
    """Return every allowed origin, at most HOSTS_BOUND; an origin beyond it would be refused."""
    return frozenset(tx.execute(select(hosts.c.origin).limit(HOSTS_BOUND)).scalars())


def providers_of(tx: Connection, tenant: TenantId) -> list[Provider]:
    """List a hospital's providers, active or not."""
    query = PROVIDERS.select(tenant=tenant).order_by(providers.c.id)
    return PROVIDERS.read(tx, query.limit(PROVIDERS_BOUND))


def read_providers(tx: Connection) -> list[Provider]:
    """Read every provider, without a bound."""
    return PROVIDERS.read(tx, PROVIDERS.select().order_by(providers.c.id))


def find_link(tx: Connection, tenant: TenantId, issuer: str, subject: str) -> LinkedPerson | None:
    return LINKS.find(tx, tenant=tenant, issuer=issuer, subject=subject)


def remove_link(tx: Connection, link: LinkedPerson, at: datetime) -> bool:
    """Remove a link, and record that its person was unlinked."""
    tx.execute(insert_or_ignore(tx, unlinked).values(person=link.person, at=at))
    return LINKS.delete(tx, id=link.id) == 1


def was_unlinked(tx: Connection, person: PersonId) -> bool:
    return tx.execute(select(unlinked.c.person).where(unlinked.c.person == person)).first() is not None


def take_sessions(tx: Connection, provider: str, *, sub: str = "", sid: str = "") -> list[SessionId]:
    """Delete the sessions of a provider, of a ``sub``, of a ``sid``, or of both; return their ids, at most ENDED_BOUND."""
    matching = [sessions.c.provider == provider]
    if sub:
        matching.append(sessions.c.sub == sub)
    if sid:
        matching.append(sessions.c.sid == sid)
    some = select(sessions.c.session).where(*matching).limit(ENDED_BOUND)
    query = delete(sessions).where(sessions.c.session.in_(some)).returning(sessions.c.session)
    return [SessionId(each) for each in tx.execute(query).scalars()]


def use(tx: Connection, key: str, until: datetime) -> bool:
    """Record the use of a state or logout token; False if it was used already."""
    return tx.execute(insert_or_ignore(tx, used).values(key=key, until=until)).rowcount == 1


def keep(tx: Connection, key: str, until: datetime) -> None:
    """Record a key until a time; a later recorded time stays."""
    if not use(tx, key, until):
        tx.execute(used.update().where(used.c.key == key, used.c.until < until).values(until=until))


def used_until(tx: Connection, keys: Collection[str]) -> datetime | None:
    """Return until when the latest of some keys is kept; None if none is."""
    return tx.execute(select(func.max(used.c.until)).where(used.c.key.in_(keys))).scalar()


def purge(tx: Connection, *, now: datetime) -> int:
    """Delete expired sessions and used states, at most PURGE_BATCH of each; return how many."""
    removed = 0
    for key, end in ((sessions.c.session, sessions.c.expires_at), (used.c.key, used.c.until)):
        old = select(key).where(end < now).limit(PURGE_BATCH)
        removed += tx.execute(delete(key.table).where(key.in_(old))).rowcount
    return removed


def end_all(tx: Connection) -> None:
    """Delete the list of sessions, after a restore that ended them all."""
    tx.execute(delete(sessions))
