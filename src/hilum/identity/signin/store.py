"""Tables and rows of password hashes, sessions, attempts and API tokens."""

from collections.abc import Collection, Iterator
from datetime import datetime

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    or_,
    select,
    true,
)

from hilum.foundation.infra.db import Instant, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.rows import Rows
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.signin.models import (
    ATTEMPTS_FORGOTTEN,
    PURGE_BATCH,
    SESSIONS_PER_PERSON,
    STEPS_PER_PERSON,
    ApiToken,
    Method,
    Pending,
    Session,
)

passwords = Table(
    "signin_password",
    metadata,
    Column("person", String(64), primary_key=True),
    Column("digest", String(300), nullable=False),
    Column("set_at", Instant, nullable=False),
    Column("used_at", Instant),
)

password_rules = Table(
    "signin_password_rule",
    metadata,
    # A hospital without a row lets everybody use a password.
    Column("tenant", String(32), primary_key=True),
    Column("roles", JSON, nullable=False),
)

sessions = Table(
    "signin_session",
    metadata,
    Column("id", String(64), primary_key=True),
    # The cookie itself is stored nowhere, so a copy of the database signs nobody in.
    Column("digest", String(64), nullable=False, unique=True),
    Column("person", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("role", String(20), nullable=False),
    Column("method", String(20), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("factor_at", Instant),
    Column("authenticated_at", Instant),
    Column("network", String(64), nullable=False, server_default=""),
    Column("browser", String(40), nullable=False, server_default=""),
    Index(None, "person", "expires_at"),
    Index(None, "expires_at"),
)

pending = Table(
    "signin_pending",
    metadata,
    # In a table of their own, so that nothing that reads sessions finds one without its second factor.
    Column("digest", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("step", String(10), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "person", "created_at"),
    Index(None, "expires_at"),
)

attempts = Table(
    "signin_attempt",
    metadata,
    # A digest of realm, name and network, so that the table has no names (C57).
    Column("key", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("blocked_until", Instant, nullable=False),
    Index(None, "last_at"),
)

api_tokens = Table(
    "signin_api_token",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("person", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("factor_at", Instant),
    Column("last_used_at", Instant),
    Index(None, "person", "id"),
)


SESSIONS = Rows(sessions, Session)
PENDING = Rows(pending, Pending)
API_TOKENS = Rows(api_tokens, ApiToken, "token")
_NOTE_USE = PreparedStatement(
    api_tokens.update()
    .where(
        api_tokens.c.digest == bindparam("of"),
        or_(api_tokens.c.last_used_at.is_(None), api_tokens.c.last_used_at <= bindparam("before")),
    )
    .values(last_used_at=bindparam("at"))
)


def save_password(tx: Connection, person: PersonId, digest: str, at: datetime) -> None:
    row = {"digest": digest, "set_at": at, "used_at": at}
    if tx.execute(insert_or_ignore(tx, passwords).values(person=person, **row)).rowcount == 0:
        tx.execute(passwords.update().where(passwords.c.person == person).values(row))


def find_password(tx: Connection, person: PersonId, *, lock: bool = False) -> str | None:
    """Return the hash of a person's password; ``lock``: no other transaction changes it until this one ends."""
    query = select(passwords.c.digest).where(passwords.c.person == person)
    return tx.execute(query.with_for_update() if lock else query).scalar_one_or_none()


def save_password_roles(tx: Connection, tenant: TenantId, roles: Collection[str] | None) -> None:
    """Set the roles that may use a password at a tenant; None for all."""
    tx.execute(delete(password_rules).where(password_rules.c.tenant == tenant))
    if roles is not None:
        tx.execute(password_rules.insert().values(tenant=tenant, roles=sorted(roles)))


def find_password_roles(tx: Connection, tenant: TenantId) -> frozenset[str] | None:
    """Return the roles that may use a password at a tenant; None for all."""
    query = select(password_rules.c.roles).where(password_rules.c.tenant == tenant)
    roles = tx.execute(query).scalar_one_or_none()
    return None if roles is None else frozenset(roles)


def save_password_used(tx: Connection, person: PersonId, at: datetime) -> None:
    tx.execute(passwords.update().where(passwords.c.person == person).values(used_at=at))


def password_used_at(tx: Connection, person: PersonId) -> datetime | None:
    """Return when a person last signed in, or set the password; None without one."""
    row = tx.execute(
        select(passwords.c.set_at, passwords.c.used_at).where(passwords.c.person == person)
    ).first()
    return None if row is None else row.used_at or row.set_at


def list_sessions(tx: Connection, person: PersonId, now: datetime) -> list[Session]:
    """List a person's sessions that have neither ended nor expired, newest first; at most SESSIONS_PER_PERSON."""
    living = SESSIONS.select(sessions.c.expires_at > now, person=person, ended_at=None)
    newest = living.order_by(sessions.c.created_at.desc()).limit(SESSIONS_PER_PERSON)
    return SESSIONS.read(tx, newest)


def add_pending(tx: Connection, step: Pending) -> None:
    """Store a pending sign-in, and delete the person's oldest ones beyond STEPS_PER_PERSON."""
    mine = select(pending.c.digest).where(pending.c.person == step.person)
    newest_first = mine.order_by(pending.c.created_at.desc())
    old = [row.digest for row in tx.execute(newest_first)][STEPS_PER_PERSON - 1 :]
    for some in in_batches(old):
        PENDING.delete(tx, pending.c.digest.in_(some))
    PENDING.add(tx, step)


def save_session_ended(tx: Connection, session: SessionId, at: datetime) -> bool:
    # Of two concurrent sign-outs one changes the row, and only that one records the end.
    return SESSIONS.change(tx, {"ended_at": at}, id=session, ended_at=None) == 1


def read_ended(tx: Connection, since: datetime) -> Iterator[tuple[SessionId, datetime]]:
    """Yield the sessions ended since a moment that had not expired by then, each with the time of its end. Unbounded."""
    query = select(sessions.c.id, sessions.c.ended_at)
    # Without sessions that had expired by then: no token that ends with them is still valid.
    rows = tx.execute(query.where(sessions.c.ended_at > since, sessions.c.expires_at > since))
    return ((SessionId(row.id), row.ended_at) for row in rows)


def save_sessions_ended(
    tx: Connection, person: PersonId, at: datetime, *, keep: int = 0, by_password: bool = False
) -> list[SessionId]:
    """End a person's live sessions except the ``keep`` newest, or those that a password alone began; return the ended ones."""
    living = (
        select(sessions.c.id)
        .where(sessions.c.person == person, sessions.c.ended_at.is_(None), sessions.c.expires_at > at)
        .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
    )
    if by_password:
        living = living.where(sessions.c.method == Method.PASSWORD.value, sessions.c.factor_at.is_(None))
    surplus = [SessionId(row.id) for row in tx.execute(living)][keep:]
    # In batches: both databases bound the parameters of one statement.
    for some in in_batches(surplus):
        tx.execute(sessions.update().where(sessions.c.id.in_(some)).values(ended_at=at))
    return surplus


def purge(tx: Connection, *, sessions_before: datetime, attempts_before: datetime) -> int:
    """Delete expired sessions and failures that no longer count, at most PURGE_BATCH of each; return how many."""
    removed = 0
    for key, wanted in (
        (sessions.c.id, sessions.c.expires_at < sessions_before),
        (attempts.c.key, attempts.c.last_at < attempts_before),
        (pending.c.digest, pending.c.expires_at < sessions_before),
    ):
        old = select(key).where(wanted).limit(PURGE_BATCH)
        removed += tx.execute(delete(key.table).where(key.in_(old))).rowcount
    return removed


def reserve_attempt(tx: Connection, key: str, now: datetime) -> int | datetime:
    """Count an attempt before it is made; return the number of failures including it, or until when the pair must wait.

    A single UPDATE counts and checks, so that concurrent attempts cannot pass together.
    """
    # Old failures are deleted, so that the table does not keep a history of attempts.
    tx.execute(attempts.delete().where(attempts.c.last_at < now - ATTEMPTS_FORGOTTEN))
    fresh = {"key": key, "failures": 0, "last_at": now, "blocked_until": now}
    tx.execute(insert_or_ignore(tx, attempts).values(fresh))
    counted = tx.execute(
        attempts.update()
        .where(attempts.c.key == key, attempts.c.blocked_until <= now)
        .values(failures=attempts.c.failures + 1, last_at=now)
        .returning(attempts.c.failures)
    ).scalar_one_or_none()
    if counted is not None:
        return int(counted)
    # No row was counted, so the pair is blocked; its row exists, since it was added above.
    until: datetime = tx.execute(select(attempts.c.blocked_until).where(attempts.c.key == key)).scalar_one()
    return until


def save_blocked(tx: Connection, key: str, until: datetime) -> None:
    tx.execute(attempts.update().where(attempts.c.key == key).values(blocked_until=until))


def delete_attempts(tx: Connection, key: str) -> None:
    tx.execute(attempts.delete().where(attempts.c.key == key))


def save_api_token_used(tx: Connection, digest: str, at: datetime, before: datetime) -> None:
    """Record a use of a token, unless one was recorded since ``before``."""
    _NOTE_USE.enqueue(tx, {"of": digest, "at": at, "before": before})


def count_api_tokens(tx: Connection, person: PersonId, now: datetime) -> int:
    return API_TOKENS.count(tx, api_tokens.c.expires_at > now, person=person, revoked_at=None)


def list_api_tokens(
    tx: Connection, person: PersonId, now: datetime, page: PageQuery = FIRST_PAGE
) -> list[ApiToken]:
    """List a person's valid tokens, newest first."""
    return API_TOKENS.newest(tx, page, api_tokens.c.expires_at > now, person=person, revoked_at=None)


def save_api_token_revoked(tx: Connection, token: str, at: datetime) -> bool:
    # Of two concurrent revocations one changes the row; the other fails.
    return API_TOKENS.change(tx, {"revoked_at": at}, id=token, revoked_at=None) == 1


def end_all(tx: Connection, at: datetime) -> tuple[int, int]:
    """End every session and revoke every API token; return how many of each."""
    # After a restore, a session that ended since the backup would otherwise be valid again.
    ended = SESSIONS.change(tx, {"ended_at": at}, ended_at=None)
    PENDING.delete(tx, true())
    return ended, API_TOKENS.change(tx, {"revoked_at": at}, revoked_at=None)
