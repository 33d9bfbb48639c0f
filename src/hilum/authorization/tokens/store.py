"""Tables of tokens, token families and used ``jti`` values. Each step that may happen only once is one statement."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from hilum.authorization.tokens.models import (
    FAMILIES_BOUND,
    PURGE_BATCH,
    AccessToken,
    Grant,
    OpenTokens,
    RefreshToken,
    TokenFamily,
)
from hilum.foundation.infra.db import Instant, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import (
    PreparedStatement,
    prepare_insert,
    prepare_insert_or_ignore,
)
from hilum.foundation.kernel.ids import AuthorizationId, ClientId, FamilyId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.times import EPOCH

token_family = Table(
    "token_family",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("authorization", String(64), nullable=False, index=True),
    Column("launch", String(64), nullable=False, index=True),
    Column("offline", Boolean, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("minted_at", Instant, nullable=False, index=True),
    Column("revoked_at", Instant, index=True),
    Column("revoked_because", String(64), nullable=False),
    # When the newest tokens that were seen in use were issued, and when an answer was last repeated (ADR 163).
    Column("arrived_at", Instant),
    Column("repeated_at", Instant),
    Index("ix_token_family_person", "person", "app"),
)

# Fields that no query filters by are in ``facts``. A field that a later release adds has its default in older rows.
access_token = Table(
    "access_token",
    metadata,
    # The SHA-256 of the token, so that a copy of the database contains no usable token.
    Column("hash", LargeBinary(32), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False, index=True),
    Column("family", String(64), nullable=False, index=True),
    Column("facts", JSON, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("revoked_at", Instant, index=True),
)

refresh_token = Table(
    "refresh_token",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("family", String(64), nullable=False, index=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("offline", Boolean, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("used_at", Instant),
)
# A partial index: most tokens are unused, and only the purge looks for used ones.
_IS_USED = refresh_token.c.used_at.is_not(None)
Index("ix_refresh_token_used_at", refresh_token.c.used_at, sqlite_where=_IS_USED, postgresql_where=_IS_USED)

used_jti = Table(
    "used_jti",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("expires_at", Instant, nullable=False, index=True),
)

_FAMILY_IS_ACTIVE = exists().where(
    token_family.c.id == refresh_token.c.family, token_family.c.revoked_at.is_(None)
)

_TOUCH_FAMILY = PreparedStatement(
    update(token_family)
    .where(token_family.c.id == bindparam("family"), token_family.c.revoked_at.is_(None))
    .values(minted_at=bindparam("now"))
)
_ADD_FAMILY = prepare_insert_or_ignore(token_family)
_ADD_ACCESS = prepare_insert(access_token)
_ADD_REFRESH = prepare_insert(refresh_token)
_ADD_JTI = prepare_insert_or_ignore(used_jti)
_FAMILY_REVOKED_AT = token_family.c.revoked_at.label("family_revoked_at")
_FAMILY_STARTED_AT = token_family.c.started_at.label("family_started_at")
_FIND_ACCESS = PreparedStatement(
    # An outer join: tokens by client credentials belong to no family.
    select(*access_token.c, _FAMILY_REVOKED_AT)
    .select_from(access_token.outerjoin(token_family, token_family.c.id == access_token.c.family))
    .where(access_token.c.hash == bindparam("fingerprint")),
    *access_token.c,
    _FAMILY_REVOKED_AT,
)
_FIND_REFRESH = PreparedStatement(
    select(*refresh_token.c, _FAMILY_REVOKED_AT, _FAMILY_STARTED_AT)
    .select_from(refresh_token.outerjoin(token_family, token_family.c.id == refresh_token.c.family))
    .where(refresh_token.c.hash == bindparam("fingerprint")),
    *refresh_token.c,
    _FAMILY_REVOKED_AT,
    _FAMILY_STARTED_AT,
)
_USE_REFRESH = PreparedStatement(
    update(refresh_token)
    .where(
        refresh_token.c.hash == bindparam("fingerprint"),
        refresh_token.c.client == bindparam("by_client"),
        refresh_token.c.tenant == bindparam("at_tenant"),
        refresh_token.c.used_at.is_(None),
        refresh_token.c.expires_at > bindparam("now"),
        _FAMILY_IS_ACTIVE,
    )
    .values(used_at=bindparam("now"))
    .returning(*refresh_token.c),
    *refresh_token.c,
)


def touch_family(tx: Connection, family: FamilyId, grant: Grant, *, offline: bool, now: datetime) -> bool:
    """Record that the family issues a token, creating it if it is new; return False if it is revoked."""
    # Nearly every family exists already. If the update changes no row, the family is new or revoked; the insert
    # succeeds only if it is new.
    if _TOUCH_FAMILY.count(tx, {"family": family, "now": now}) == 1:
        return True
    row = {
        "id": family,
        "tenant": grant.tenant,
        "client": grant.client,
        "app": grant.app,
        "person": grant.person,
        "authorization": grant.authorization,
        "launch": grant.launch,
        "offline": offline,
        "started_at": now,
        "minted_at": now,
        "revoked_at": None,
        "revoked_because": "",
        "arrived_at": None,
        "repeated_at": None,
    }
    return _ADD_FAMILY.count(tx, row) == 1


def note_arrived(tx: Connection, family: FamilyId, issued_at: datetime) -> None:
    """Record that the tokens of a family that were issued at a moment are in use."""
    table = token_family
    is_newer = or_(table.c.arrived_at.is_(None), table.c.arrived_at < issued_at)
    tx.execute(update(table).where(table.c.id == family, is_newer).values(arrived_at=issued_at))


def note_repeated(
    tx: Connection, family: FamilyId, issued_at: datetime, *, now: datetime, unless_since: datetime | None
) -> bool:
    """Record that the answer of a moment is repeated; False if the family is revoked or that answer has arrived.

    Also False if another answer was repeated after ``unless_since``.
    """
    table = token_family
    wanted = [
        table.c.id == family,
        table.c.revoked_at.is_(None),
        or_(table.c.arrived_at.is_(None), table.c.arrived_at < issued_at),
    ]
    if unless_since is not None:
        # A repeat of this same answer may have been lost too.
        before = or_(table.c.repeated_at < unless_since, table.c.repeated_at >= issued_at)
        wanted.append(or_(table.c.repeated_at.is_(None), before))
    return tx.execute(update(table).where(*wanted).values(repeated_at=now)).rowcount == 1


def revoke_families(
    tx: Connection, matching: ColumnElement[bool], *, because: str, now: datetime
) -> list[FamilyId]:
    """Revoke the active families that match; return their ids."""
    table = token_family
    revoked = tx.execute(
        update(table)
        .where(matching, table.c.revoked_at.is_(None))
        .values(revoked_at=now, revoked_because=because)
        .returning(table.c.id)
    )
    return [FamilyId(family) for family in revoked.scalars()]


def bar_family(tx: Connection, family: FamilyId, *, because: str, now: datetime) -> None:
    """Create a family as revoked, so that no token can be issued in it later."""
    row = dict.fromkeys(("tenant", "client", "app", "person", "authorization", "launch"), "") | {
        "id": family,
        "offline": False,
        "started_at": now,
        "minted_at": now,
        "revoked_at": now,
        "revoked_because": because,
    }
    # Ignored if the row exists: its first token was issued just now, or it is revoked already.
    tx.execute(insert_or_ignore(tx, token_family).values(row))


def add_access(tx: Connection, token: AccessToken) -> None:
    row = {
        "hash": token.hash,
        "tenant": token.tenant,
        "client": token.client,
        "family": token.family,
        "facts": _access_facts(token),
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "revoked_at": None,
    }
    _ADD_ACCESS.enqueue(tx, row)


def find_access(tx: Connection, fingerprint: bytes) -> tuple[AccessToken, bool] | None:
    """Return an access token and whether it or its family is revoked; None if it was not issued."""
    row = _FIND_ACCESS.first(tx, {"fingerprint": fingerprint})
    if row is None:
        return None
    return _access(row), row["revoked_at"] is not None or row["family_revoked_at"] is not None


def revoke_access(tx: Connection, matching: ColumnElement[bool], now: datetime) -> list[bytes]:
    """Revoke the unexpired access tokens that match; return their hashes."""
    table = access_token
    active = and_(table.c.revoked_at.is_(None), table.c.expires_at > now)
    revoked = tx.execute(update(table).where(matching, active).values(revoked_at=now).returning(table.c.hash))
    return [bytes(fingerprint) for fingerprint in revoked.scalars()]


def add_refresh(tx: Connection, token: RefreshToken) -> None:
    row = {
        "hash": token.hash,
        "family": token.family,
        "tenant": token.grant.tenant,
        "client": token.grant.client,
        "facts": _grant_facts(token.grant),
        "offline": token.offline,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "used_at": None,
    }
    _ADD_REFRESH.enqueue(tx, row)


def use_refresh(
    tx: Connection, fingerprint: bytes, *, client: ClientId, tenant: TenantId, now: datetime
) -> RefreshToken | None:
    """Mark a token as used and return it, if it is unused, unexpired, of this client and in an active family; otherwise return None.

    One statement, so that only one of two concurrent callers gets the token.
    """
    parameters = {"fingerprint": fingerprint, "by_client": client, "at_tenant": tenant, "now": now}
    row = _USE_REFRESH.first(tx, parameters)
    return None if row is None else _refresh(row, None)


def find_refresh(tx: Connection, fingerprint: bytes) -> RefreshToken | None:
    """Find a refresh token in any state."""
    row = _FIND_REFRESH.first(tx, {"fingerprint": fingerprint})
    if row is None:
        return None
    token = _refresh(row, row["family_revoked_at"])
    return replace(token, family_started_at=row["family_started_at"])


def active_refreshes(tx: Connection, authorization: AuthorizationId) -> list[RefreshToken]:
    """Read the unused refresh tokens of an authorization's active families."""
    family = token_family
    families = select(family.c.id).where(
        family.c.authorization == authorization, family.c.revoked_at.is_(None)
    )
    query = select(refresh_token).where(
        refresh_token.c.family.in_(families),
        refresh_token.c.used_at.is_(None),
    )
    return [_refresh(dict(row), None) for row in tx.execute(query).mappings()]


def narrow_refresh(tx: Connection, token: RefreshToken, scopes: tuple[str, ...]) -> None:
    facts = _grant_facts(replace(token.grant, scopes=scopes))
    tx.execute(update(refresh_token).where(refresh_token.c.hash == token.hash).values(facts=facts))


Condition = ColumnElement[bool]


def of_authorization(authorization: AuthorizationId) -> ColumnElement[bool]:
    return token_family.c.authorization == authorization


def of_person(person: PersonId) -> ColumnElement[bool]:
    return token_family.c.person == person


def of_family(family: FamilyId) -> ColumnElement[bool]:
    return token_family.c.id == family


def of_launch(launch: LaunchId) -> ColumnElement[bool]:
    # Offline access outlives the EHR's session (C36).
    return and_(token_family.c.launch == launch, token_family.c.offline.is_(False))


def access_of(matching: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition for access tokens whose family matches."""
    # Excludes tokens by client credentials, which have no family; see access_of_client_at.
    return access_token.c.family.in_(select(token_family.c.id).where(matching))


def access_of_hash(fingerprint: bytes) -> ColumnElement[bool]:
    return access_token.c.hash == fingerprint


def of_client_at(client: ClientId, tenant: TenantId) -> ColumnElement[bool]:
    return and_(token_family.c.client == client, token_family.c.tenant == tenant)


def access_of_client_at(client: ClientId, tenant: TenantId) -> ColumnElement[bool]:
    return and_(access_token.c.client == client, access_token.c.tenant == tenant)


def last_minted(tx: Connection, authorizations: Iterable[AuthorizationId]) -> dict[AuthorizationId, datetime]:
    """Return when a token was last issued under each authorization."""
    table = token_family
    query = select(table.c.authorization, table.c.minted_at).where(
        table.c.authorization.in_(list(authorizations))
    )
    latest: dict[AuthorizationId, datetime] = {}
    for row in tx.execute(query):
        authorization = AuthorizationId(row.authorization)
        latest[authorization] = max(row.minted_at, latest.get(authorization, row.minted_at))
    return latest


def read_revoked_tokens(tx: Connection, since: datetime) -> Iterator[tuple[bytes, datetime]]:
    """Read the access tokens revoked after ``since``, with the time of each. Not paged."""
    table = access_token
    # No limit may drop a revocation (security decision 27).
    rows = tx.execute(select(table.c.hash, table.c.revoked_at).where(table.c.revoked_at > since))
    return ((bytes(row.hash), row.revoked_at) for row in rows)


def read_revoked_families(tx: Connection, since: datetime) -> Iterator[tuple[FamilyId, datetime]]:
    """Read the families revoked after ``since``, with the time of each. Not paged."""
    table = token_family
    rows = tx.execute(select(table.c.id, table.c.revoked_at).where(table.c.revoked_at > since))
    return ((FamilyId(row.id), row.revoked_at) for row in rows)


def list_families(
    tx: Connection, authorizations: Iterable[AuthorizationId], now: datetime
) -> list[TokenFamily]:
    """List the families of authorizations that can still be refreshed, the last used one first, at most FAMILIES_BOUND of each."""
    family, refresh = token_family.c, refresh_token.c
    rank = func.row_number().over(partition_by=family.authorization, order_by=family.minted_at.desc())
    refreshable = (
        select(
            family.id,
            family.authorization,
            refresh.offline,
            family.started_at,
            family.minted_at,
            refresh.expires_at,
            rank.label("rank"),
        )
        .select_from(token_family.join(refresh_token, refresh.family == family.id))
        .where(
            family.authorization.in_(list(authorizations)),
            family.revoked_at.is_(None),
            refresh.used_at.is_(None),
            refresh.expires_at > now,
        )
        .subquery()
    )
    query = select(refreshable).where(refreshable.c.rank <= FAMILIES_BOUND)
    return [
        TokenFamily(
            FamilyId(row.id),
            AuthorizationId(row.authorization),
            bool(row.offline),
            row.started_at,
            row.minted_at,
            row.expires_at,
        )
        for row in tx.execute(query.order_by(refreshable.c.authorization, refreshable.c.rank))
    ]


def record_jti(tx: Connection, fingerprint: bytes, until: datetime) -> bool:
    """Store a used ``jti``; return False if it is already stored."""
    row = {"hash": fingerprint, "expires_at": until}
    return _ADD_JTI.count(tx, row) == 1


def delete_jtis(tx: Connection, now: datetime) -> int:
    table = used_jti
    # An assertion with an expired jti is refused for its exp.
    old = select(table.c.hash).where(table.c.expires_at <= now).limit(PURGE_BATCH)
    return tx.execute(delete(table).where(table.c.hash.in_(old))).rowcount


def purge(
    tx: Connection, *, access_before: datetime, refresh_before: datetime, ended_before: datetime
) -> int:
    """Delete tokens and families that can no longer be used, at most PURGE_BATCH of each kind; return how many rows.

    Deletes access tokens that expired before ``access_before``; refresh tokens that expired before ``refresh_before`` or were used before
    ``ended_before``; families revoked before ``ended_before``, with all their tokens; and families whose last token is deleted here.
    Every query uses an index, so active tokens are not scanned.
    """
    access, refresh, family = access_token, refresh_token, token_family
    emptied = _purge_where(tx, access, access.c.expires_at < access_before)
    emptied += _purge_where(tx, refresh, refresh.c.expires_at < refresh_before)
    emptied += _purge_where(tx, refresh, refresh.c.used_at < ended_before)
    revoked = select(family.c.id).where(family.c.revoked_at < ended_before).order_by(family.c.revoked_at)
    for table in (access, refresh):
        emptied += _purge_where(tx, table, table.c.family.in_(revoked.limit(PURGE_BATCH)))
    is_over = (
        or_(family.c.revoked_at.is_(None), family.c.revoked_at < ended_before),
        # A replay is recognized by the row of the family, so it is deleted after its tokens.
        ~exists().where(access.c.family == family.c.id),
        ~exists().where(refresh.c.family == family.c.id),
    )
    removed = len(emptied)
    for batch in in_batches(sorted(set(emptied))):
        removed += tx.execute(delete(family).where(family.c.id.in_(batch), *is_over)).rowcount
    return (
        removed
        + tx.execute(delete(family).where(family.c.id.in_(revoked.limit(PURGE_BATCH)), *is_over)).rowcount
    )


def _purge_where(tx: Connection, table: Table, matching: ColumnElement[bool]) -> list[str]:
    """Delete at most PURGE_BATCH tokens that match; return the family of each, empty for one without."""
    old = select(table.c.hash).where(matching).limit(PURGE_BATCH)
    deleted = tx.execute(delete(table).where(table.c.hash.in_(old)).returning(table.c.family))
    return [str(family) for family in deleted.scalars()]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - EPOCH).total_seconds()


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=EPOCH.tzinfo)


# Fields with a column. All others are in the column ``facts``, so that a new field needs no migration.
_ROW_ONLY = frozenset({"hash", "tenant", "client", "family", "issued_at", "expires_at"})
_ACCESS_FACTS = tuple(field.name for field in fields(AccessToken) if field.name not in _ROW_ONLY)
_GRANT_FACTS = tuple(field.name for field in fields(Grant))


def _access_facts(token: AccessToken) -> dict[str, Any]:
    # Only fields that are set: the row is written with every token and parsed at every cache miss.
    facts = {name: value for name in _ACCESS_FACTS if (value := getattr(token, name))}
    return _to_json(facts, token.person_patients, token.authorization_expires_at)


def _grant_facts(grant: Grant) -> dict[str, Any]:
    facts = {name: value for name in _GRANT_FACTS if (value := getattr(grant, name))}
    return _to_json(facts, grant.person_patients, grant.authorization_expires_at)


def _to_json(
    facts: dict[str, Any], patients: tuple[str, ...] | None, expires_at: datetime | None
) -> dict[str, Any]:
    return facts | {
        "scopes": list(facts.get("scopes", ())),
        "person_patients": None if patients is None else list(patients),
        "authorization_expires_at": _seconds(expires_at),
    }


def _from_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    patients = facts["person_patients"]
    return dict(facts) | {
        "scopes": tuple(facts["scopes"]),
        "person_patients": None if patients is None else tuple(patients),
        "authorization_expires_at": _moment(facts["authorization_expires_at"]),
    }


def _access(row: Mapping[str, Any]) -> AccessToken:
    return AccessToken(
        hash=bytes(row["hash"]),
        tenant=TenantId(row["tenant"]),
        client=ClientId(row["client"]),
        family=FamilyId(row["family"]),
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        **_from_json(row["facts"]),
    )


def _refresh(row: Mapping[str, Any], family_revoked_at: datetime | None) -> RefreshToken:
    return RefreshToken(
        hash=bytes(row["hash"]),
        family=FamilyId(row["family"]),
        grant=Grant(**_from_json(row["facts"])),
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        offline=bool(row["offline"]),
        used_at=row["used_at"],
        family_revoked_at=family_revoked_at,
    )


# --- what is open --------------------------------------------------------------------------------------------------------------


def count_open(
    tx: Connection,
    now: datetime,
    since: datetime,
    *,
    tenant: str,
    clients: Collection[str] | None,
    person: str,
) -> list[OpenTokens]:
    """Count by tenant the access tokens in force, and the people with a token issued since a moment. Empty or None does not filter."""
    token, family = access_token.c, token_family.c
    in_force = (token.expires_at > now, token.revoked_at.is_(None), family.revoked_at.is_(None))
    tokens = (
        select(token.tenant, func.count())
        .select_from(access_token.outerjoin(token_family, family.id == token.family))
        .where(*in_force)
        .group_by(token.tenant)
    )
    people = (
        select(family.tenant, func.count(family.person.distinct()))
        .where(family.minted_at > since, family.person != "")
        .group_by(family.tenant)
    )
    if tenant:
        tokens, people = tokens.where(token.tenant == tenant), people.where(family.tenant == tenant)
    if clients is not None:
        tokens, people = tokens.where(token.client.in_(clients)), people.where(family.client.in_(clients))
    if person:
        tokens, people = tokens.where(family.person == person), people.where(family.person == person)
    tokens_of: dict[str, int] = {row[0]: row[1] for row in tx.execute(tokens)}
    people_of: dict[str, int] = {row[0]: row[1] for row in tx.execute(people)}
    return [
        OpenTokens(TenantId(id_), tokens_of.get(id_, 0), people_of.get(id_, 0))
        for id_ in sorted({*tokens_of, *people_of})
    ]
