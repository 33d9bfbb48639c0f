"""Tables and rows of password hashes, sessions, attempts and API tokens."""

from collections.abc import Collection, Iterator
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
    bindparam,
    delete,
    func,
    or_,
    select,
)

from hilum.factors.models import Step
from hilum.infra.db import Instant, get_row, in_batches, insert_or_ignore, metadata, row_of
from hilum.infra.prepared_statements import PreparedStatement
from hilum.infra.sorting import newest_first
from hilum.kernel.ids import PersonId, SessionId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.signin.models import (
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


# Every API call and every page begins with one of these.
_FIND_TOKEN = PreparedStatement(
    select(api_tokens).where(api_tokens.c.digest == bindparam("digest")), *api_tokens.c
)
_FIND_SESSION = PreparedStatement(
    select(sessions).where(sessions.c.digest == bindparam("digest")), *sessions.c
)
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
    mine = select(sessions).where(sessions.c.person == person, sessions.c.ended_at.is_(None))
    living = mine.where(sessions.c.expires_at > now).order_by(sessions.c.created_at.desc())
    return [_session(row) for row in tx.execute(living.limit(SESSIONS_PER_PERSON))]


def save_token_confirmed(tx: Connection, token: str, at: datetime) -> bool:
    query = api_tokens.update().where(api_tokens.c.id == token, api_tokens.c.revoked_at.is_(None))
    return tx.execute(query.values(factor_at=at)).rowcount == 1


def add_session(tx: Connection, session: Session, digest: str) -> None:
    tx.execute(
        sessions.insert().values(
            id=session.id,
            digest=digest,
            person=session.person,
            tenant=session.tenant or "",
            role=session.role,
            method=session.method.value,
            created_at=session.created_at,
            last_seen_at=session.last_seen_at,
            expires_at=session.expires_at,
            ended_at=None,
            factor_at=session.factor_at,
            authenticated_at=session.authenticated_at,
            network=session.network,
            browser=session.browser,
        )
    )


def _session(row: Any) -> Session:
    return Session(
        id=SessionId(row.id),
        person=PersonId(row.person),
        tenant=TenantId(row.tenant) if row.tenant else None,
        role=row.role,
        method=Method(row.method),
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        factor_at=row.factor_at,
        authenticated_at=row.authenticated_at,
        network=row.network,
        browser=row.browser,
    )


def find_session(tx: Connection, session: SessionId, *, lock: bool = False) -> Session | None:
    """Find a session in any state; ``lock``: no other transaction changes it until this one ends."""
    row = row_of(tx, sessions, session, lock=lock)
    return None if row is None else _session(row)


def find_session_by_digest(tx: Connection, digest: str) -> Session | None:
    return next(map(_session, _FIND_SESSION.records(tx, {"digest": digest})), None)


def add_pending(tx: Connection, found: Pending) -> None:
    """Store a pending sign-in, and delete the person's oldest ones beyond STEPS_PER_PERSON."""
    mine = select(pending.c.digest).where(pending.c.person == found.person)
    old = [row.digest for row in tx.execute(mine.order_by(pending.c.created_at.desc()))][
        STEPS_PER_PERSON - 1 :
    ]
    for some in in_batches(old):
        tx.execute(pending.delete().where(pending.c.digest.in_(some)))
    tx.execute(
        pending.insert().values(
            digest=found.digest,
            person=found.person,
            tenant=found.tenant or "",
            step=found.step.value,
            created_at=found.created_at,
            expires_at=found.expires_at,
        )
    )


def find_pending(tx: Connection, digest: str) -> Pending | None:
    row = tx.execute(select(pending).where(pending.c.digest == digest)).first()
    if row is None:
        return None
    tenant = TenantId(row.tenant) if row.tenant else None
    return Pending(row.digest, PersonId(row.person), tenant, Step(row.step), row.created_at, row.expires_at)


def take_pending(tx: Connection, digest: str) -> bool:
    # Of two concurrent forms, one finishes the sign-in.
    return tx.execute(pending.delete().where(pending.c.digest == digest)).rowcount == 1


def delete_pending_of(tx: Connection, person: PersonId) -> None:
    tx.execute(pending.delete().where(pending.c.person == person))


def save_factor_entered(tx: Connection, session: SessionId, at: datetime) -> None:
    tx.execute(sessions.update().where(sessions.c.id == session).values(factor_at=at))


def save_session_seen(tx: Connection, session: SessionId, at: datetime) -> None:
    tx.execute(sessions.update().where(sessions.c.id == session).values(last_seen_at=at))


def save_session_ended(tx: Connection, session: SessionId, at: datetime) -> bool:
    # Of two concurrent sign-outs one changes the row, and only that one records the end.
    query = sessions.update().where(sessions.c.id == session, sessions.c.ended_at.is_(None))
    return tx.execute(query.values(ended_at=at)).rowcount == 1


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


def add_api_token(tx: Connection, token: ApiToken, digest: str) -> None:
    tx.execute(
        api_tokens.insert().values(
            id=token.id,
            digest=digest,
            person=token.person,
            name=token.name,
            roles=list(token.roles),
            created_at=token.created_at,
            expires_at=token.expires_at,
            revoked_at=None,
            factor_at=token.factor_at,
        )
    )


def _api_token(row: Any) -> ApiToken:
    return ApiToken(
        id=row.id,
        person=PersonId(row.person),
        name=row.name,
        roles=tuple(row.roles),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        factor_at=row.factor_at,
        last_used_at=row.last_used_at,
    )


def save_api_token_used(tx: Connection, digest: str, at: datetime, before: datetime) -> None:
    """Record a use of a token, unless one was recorded since ``before``."""
    _NOTE_USE.enqueue(tx, {"of": digest, "at": at, "before": before})


def find_api_token_by_digest(tx: Connection, digest: str) -> ApiToken | None:
    return next(map(_api_token, _FIND_TOKEN.records(tx, {"digest": digest})), None)


def get_api_token(tx: Connection, token: str) -> ApiToken:
    return _api_token(get_row(tx, api_tokens, token, "token"))


def count_api_tokens(tx: Connection, person: PersonId, now: datetime) -> int:
    query = select(func.count()).select_from(api_tokens).where(api_tokens.c.person == person)
    in_force = query.where(api_tokens.c.revoked_at.is_(None), api_tokens.c.expires_at > now)
    return int(tx.execute(in_force).scalar_one())


def list_api_tokens(
    tx: Connection, person: PersonId, now: datetime, page: PageQuery = FIRST_PAGE
) -> list[ApiToken]:
    """List a person's valid tokens, newest first."""
    query = select(api_tokens).where(api_tokens.c.person == person, api_tokens.c.revoked_at.is_(None))
    in_force = query.where(api_tokens.c.expires_at > now)
    return [_api_token(row) for row in tx.execute(newest_first(in_force, api_tokens, page))]


def save_api_token_revoked(tx: Connection, token: str, at: datetime) -> bool:
    # Of two concurrent revocations one changes the row; the other fails.
    query = api_tokens.update().where(api_tokens.c.id == token, api_tokens.c.revoked_at.is_(None))
    return tx.execute(query.values(revoked_at=at)).rowcount == 1


def save_api_tokens_revoked(tx: Connection, person: PersonId, at: datetime) -> None:
    query = api_tokens.update().where(api_tokens.c.person == person, api_tokens.c.revoked_at.is_(None))
    tx.execute(query.values(revoked_at=at))


def end_all(tx: Connection, at: datetime) -> tuple[int, int]:
    """End every session and revoke every API token; return how many of each."""
    # After a restore, a session that ended since the backup would otherwise be valid again.
    ended = tx.execute(sessions.update().where(sessions.c.ended_at.is_(None)).values(ended_at=at))
    tx.execute(pending.delete())
    revoked = tx.execute(api_tokens.update().where(api_tokens.c.revoked_at.is_(None)).values(revoked_at=at))
    return ended.rowcount, revoked.rowcount
