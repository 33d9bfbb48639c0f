"""Tables and rows of authorization requests and codes. Each one-shot step is one statement, so that concurrent attempts cannot both pass."""

from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    update,
)

from hilum.authorization.authorize.models import AuthorizationRequest, Code
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.rows import Rows, Stored
from hilum.foundation.kernel.ids import ClientId, PersonId, SessionId, TenantId
from hilum.foundation.kernel.times import EPOCH

PURGE_BATCH = 100

authorization_request = Table(
    "authorization_request",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("redirect_uri", String(2048), nullable=False),
    Column("state", String(2048), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("code_challenge", String(128), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("nonce", String(512), nullable=False),
    # Sealed rather than hashed: the handle is used once more, after sign-in.
    Column("launch_sealed", String(1024), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("login_hint", String(256), nullable=False),
    Column("max_age_s", Integer),
    Column("session", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("launch", String(64), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("encounter", String(64), nullable=False),
    Column("context_chosen_at", Instant),
    Column("finished_at", Instant),
)

authorization_code = Table(
    "authorization_code",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("redirect_uri", String(2048), nullable=False),
    Column("code_challenge", String(128), nullable=False),
    Column("family", String(64), nullable=False),
    Column("grant", JSON, nullable=False),
    Column("auth_time", Instant, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("offline", Integer),  # three states: no refresh token, one for the session, one beyond it
    Column("used_at", Instant),
)

# Judged and used up in one statement. Expiry is not part of it: an expired code is used up too, so that
# a second attempt is a replay.
_REDEEM = PreparedStatement(
    update(authorization_code)
    .where(
        authorization_code.c.hash == bindparam("fingerprint"),
        authorization_code.c.tenant == bindparam("at_tenant"),
        authorization_code.c.client == bindparam("by_client"),
        authorization_code.c.used_at.is_(None),
    )
    .values(used_at=bindparam("now"))
    .returning(*authorization_code.c),
    *authorization_code.c,
)
_GRANT_MEMBERS = tuple(field.name for field in fields(Grant))


def _grant_row(grant: Grant) -> dict[str, Any]:
    expires = grant.authorization_expires_at
    patients = grant.person_patients
    return {name: getattr(grant, name) for name in _GRANT_MEMBERS} | {
        "scopes": list(grant.scopes),
        "person_patients": None if patients is None else list(patients),
        "authorization_expires_at": None if expires is None else (expires - EPOCH).total_seconds(),
    }


def _grant(row: dict[str, Any]) -> Grant:
    patients, expires = row["person_patients"], row["authorization_expires_at"]
    values = row | {
        "scopes": tuple(row["scopes"]),
        "person_patients": None if patients is None else tuple(patients),
        "authorization_expires_at": None
        if expires is None
        else datetime.fromtimestamp(expires, tz=EPOCH.tzinfo),
    }
    return Grant(**values)


REQUESTS = Rows(authorization_request, AuthorizationRequest)
CODES = Rows(
    authorization_code,
    Code,
    grant=Stored(_grant_row, _grant),
    offline=Stored(
        lambda offline: None if offline is None else int(offline),
        lambda stored: None if stored is None else bool(stored),
    ),
)


def find_request(tx: Connection, tenant: TenantId, request_id: str) -> AuthorizationRequest | None:
    """Find a request of this tenant; None for one of another tenant."""
    # By the tenant of the URL too, so that no hospital's page continues a request made at another.
    return REQUESTS.find(tx, id=request_id, tenant=tenant)


def bind_request(tx: Connection, request_id: str, session: SessionId, person: PersonId) -> bool:
    """Bind a request to a session, unless it is bound to another person; return whether it is this person's now."""
    table = authorization_request
    # By person, not by session: signing in again, as prompt=login requires, must not end the request.
    free = (table.c.person == "") | (table.c.person == person)
    values = {"session": session, "person": person}
    return REQUESTS.change(tx, values, free, id=request_id, finished_at=None) == 1


def save_launch(tx: Connection, request: AuthorizationRequest) -> None:
    """Store the context of the launch, and delete the sealed handle."""
    columns = ("launch", "patient", "encounter", "context_chosen_at", "launch_sealed")
    REQUESTS.save(tx, replace(request, launch_sealed=""), only=columns)


def save_context(tx: Connection, request: AuthorizationRequest) -> None:
    """Store the context that the person chose."""
    REQUESTS.save(tx, request, only=("patient", "encounter", "context_chosen_at"))


def finish_request(tx: Connection, request_id: str, now: datetime) -> bool:
    """End a request; return True only for the first caller, so that it issues at most one code."""
    return REQUESTS.change(tx, {"finished_at": now}, id=request_id, finished_at=None) == 1


def add_code(tx: Connection, code: Code) -> None:
    CODES.add(tx, code, tenant=code.grant.tenant, client=code.grant.client)


def redeem_code(
    tx: Connection, code_hash: bytes, *, tenant: TenantId, client: ClientId, now: datetime
) -> Code | None:
    """Mark a code as used and return it, if it is unused and issued to this client at this tenant. Only one caller can get it.

    The caller checks its expiry, verifier and redirect URI. None does not say why; see ``find_code``.
    """
    wanted = {"fingerprint": code_hash, "at_tenant": tenant, "by_client": client, "now": now}
    return next(map(CODES.of, _REDEEM.records(tx, wanted)), None)


def purge(tx: Connection, *, requests_before: datetime, codes_before: datetime) -> int:
    """Delete requests and codes that expired before the given moments, at most PURGE_BATCH of each; return how many."""
    requests = REQUESTS.purge(tx, PURGE_BATCH, authorization_request.c.expires_at < requests_before)
    return requests + CODES.purge(tx, PURGE_BATCH, authorization_code.c.expires_at < codes_before)
