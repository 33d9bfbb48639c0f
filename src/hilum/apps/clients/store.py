"""Tables of clients and their secrets. Scopes are stored as one space-separated text."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
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
    cast,
    exists,
    or_,
    select,
)

from hilum.apps.clients.models import (
    ENDED_BATCH,
    KEYS,
    UNUSED_AFTER,
    USE_NOTED_EVERY,
    BackendUse,
    Client,
    ClientSecret,
    ClientType,
    Deployment,
    Transfer,
)
from hilum.apps.registry.models import Environment
from hilum.apps.registry.service import HeldRows, held_table
from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.prepared_statements import prepare_rows, prepare_rows_by_values
from hilum.foundation.infra.rows import Rows, Stored
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.ids import AppId, ClientId, VendorId
from hilum.foundation.kernel.pages import PageQuery

PARSED_BOUND = 50_000

clients = Table(
    "registry_client",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("environment", String(20), nullable=False),
    Column("type", String(30), nullable=False),
    Column("deployment", String(20), nullable=False),
    Column("name", String(200), nullable=False, index=True),
    Column("redirect_uris", JSON, nullable=False),
    Column("launch_uri", String(1_000), nullable=False),
    Column("origins", JSON, nullable=False),
    Column("scopes", Text, nullable=False),
    # SQL NULL and not JSON null, so that "no keys" is one value.
    Column("jwks", JSON(none_as_null=True)),
    Column("jwks_uri", String(1_000), nullable=False),
    Column("grant_types", JSON, nullable=False),
    Column("expires_at", Instant),
    Column("backend_use", JSON(none_as_null=True)),
    # Beside it: a release before this one reads a list of four parts.
    Column("calls_a_day", Integer),
    Column("writes_a_day", Integer),
    Column("patients_a_day", Integer),
    Column("hours", String(40)),
    Column("dynamic", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("adopted_at", Instant),
    Column("certified_before", Instant),
    Index(None, "app", "id"),
    Index(None, "dynamic", "expires_at"),
)

# A table of its own: a client has two secrets during an overlap, and lists of clients are read without them.
secrets = Table(
    "registry_client_secret",
    metadata,
    Column("client", String(100), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("expires_at", Instant),
    Column("created_at", Instant),
)

uses = Table(
    "registry_credential_use",
    metadata,
    Column("client", String(100), primary_key=True),
    # The digest of a secret, or KEYS.
    Column("credential", String(64), primary_key=True),
    Column("first_used_at", Instant, nullable=False, index=True),
    Column("last_used_at", Instant, nullable=False),
)

transfers = Table(
    "registry_transfer",
    metadata,
    # One offer of an app at a time; the row is deleted when it is decided, and its events stay.
    Column("app", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("to", String(64), nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

changes = held_table(
    "registry_client_change",
    100,
    Column("client", String(100), nullable=False),
    Column("revision", String(32), nullable=False),
)
CHANGES = HeldRows(changes, "change", "client")
_CLIENTS, _CLIENTS_OF = prepare_rows(clients), prepare_rows_by_values(clients, "app")
_SECRETS, _SECRETS_OF = prepare_rows(secrets), prepare_rows_by_values(secrets, "client")


class _Clients(Rows[Client]):
    """Of a backend's use four parts are one list, whose order is fixed, and four have columns of their own."""

    def of(self, row: Sequence[Any], **more: Any) -> Client:
        client = super().of(row, **more)
        if client.backend_use is None:
            return client
        declared = {name: row[at] for name, at in _DECLARED.items()}
        return replace(client, backend_use=replace(client.backend_use, **declared))

    def row(self, value: Client) -> dict[str, Any]:
        return super().row(value) | {name: getattr(value.backend_use, name, None) for name in _DECLARED}


_DECLARED = {
    name: clients.c.keys().index(name) for name in ("calls_a_day", "writes_a_day", "patients_a_day", "hours")
}
CLIENTS = _Clients(
    clients,
    Client,
    "client",
    backend_use=Stored(
        lambda use: use and [use.purpose, use.population, use.schedule, use.approver],
        lambda stored: None if stored is None else BackendUse(*stored),
    ),
)
SECRETS = Rows(secrets, ClientSecret)
TRANSFERS = Rows(transfers, Transfer)


def add_client(tx: Connection, client: Client, at: datetime) -> bool:
    """Add a client and its secrets; return False if the id is taken."""
    if not CLIENTS.add_new(tx, replace(client, created_at=at)):
        return False
    for secret in client.secrets:
        add_secret(tx, client.id, secret, at)
    return True


def add_secret(tx: Connection, client: ClientId, secret: ClientSecret, at: datetime) -> None:
    SECRETS.add(tx, replace(secret, created_at=at), client=client)


def save_use(tx: Connection, client: ClientId, credential: str, at: datetime) -> None:
    """Record a use of a credential, unless one was recorded within USE_NOTED_EVERY."""
    row = {"client": client, "credential": credential, "first_used_at": at, "last_used_at": at}
    if tx.execute(insert_or_ignore(tx, uses).values(row)).rowcount == 1:
        return
    same = (uses.c.client == client, uses.c.credential == credential)
    old = uses.c.last_used_at <= at - USE_NOTED_EVERY
    tx.execute(uses.update().where(*same, old).values(last_used_at=at))


def forget_kids(tx: Connection, client: ClientId, keep: int) -> None:
    """Delete the uses of all but the ``keep`` last used keys of a client: a client names its keys as it likes, and as many as it likes."""
    own = (uses.c.client == client, uses.c.credential.startswith("kid:", autoescape=True))
    query = select(uses.c.credential).where(*own).order_by(uses.c.last_used_at.desc(), uses.c.credential)
    if old := list(tx.execute(query.offset(keep)).scalars()):
        tx.execute(uses.delete().where(uses.c.client == client, uses.c.credential.in_(old)))


def find_first_uses(tx: Connection, client: ClientId) -> dict[str, datetime]:
    """Return when each credential of a client was used first."""
    query = select(uses.c.credential, uses.c.first_used_at).where(uses.c.client == client)
    return {row.credential: row.first_used_at for row in tx.execute(query)}


def find_uses(tx: Connection, client: ClientId) -> dict[str, datetime]:
    """Return when each credential of a client was last used."""
    query = select(uses.c.credential, uses.c.last_used_at).where(uses.c.client == client)
    return {row.credential: row.last_used_at for row in tx.execute(query)}


def recorded_since(tx: Connection) -> datetime | None:
    """Return since when uses have been recorded at all; None if none was."""
    row = tx.execute(select(uses.c.first_used_at).order_by(uses.c.first_used_at).limit(1)).first()
    return None if row is None else row.first_used_at


def list_unused(
    tx: Connection, *, of: Collection[AppId] | None, now: datetime, kinds: Collection[str], page: PageQuery
) -> list[tuple[ClientId, AppId, str]]:
    """List clients by id, of some apps or (None) of all, with a secret, or of some kinds with keys, that was not used for UNUSED_AFTER."""
    before = now - UNUSED_AFTER

    def used(credential: Any) -> Any:
        recent = (
            uses.c.client == clients.c.id,
            uses.c.credential == credential,
            uses.c.last_used_at > before,
        )
        return exists().where(*recent)

    secret = exists().where(
        secrets.c.client == clients.c.id,
        or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > now),
        or_(secrets.c.created_at.is_(None), secrets.c.created_at <= before),
        ~used(secrets.c.digest),
    )
    query = select(clients.c.id, clients.c.app, clients.c.name).where(
        clients.c.created_at <= before,
        or_(clients.c.expires_at.is_(None), clients.c.expires_at > now),
        or_(secret, clients.c.type.in_(kinds) & ~used(KEYS)),
    )
    query = query if of is None else query.where(clients.c.app.in_(of))
    found = tx.execute(by_key(query, clients.c.id, page))
    return [(ClientId(row.id), AppId(row.app), row.name) for row in found]


def save_secrets_ending(tx: Connection, client: ClientId, *, keep: str, at: datetime) -> None:
    """Set the end of the secret with digest ``keep`` to ``at``, unless it ends earlier, and delete all others."""
    # With `keep` empty (no secret in force) this deletes all of them.
    tx.execute(secrets.delete().where(secrets.c.client == client, secrets.c.digest != keep))
    query = secrets.update().where(secrets.c.client == client)
    tx.execute(
        query.where(or_(secrets.c.expires_at.is_(None), secrets.c.expires_at > at)).values(expires_at=at)
    )


def find_client(tx: Connection, client_id: ClientId, *, lock: bool = False) -> Client | None:
    client = CLIENTS.find(tx, lock=lock, id=client_id)
    # After the client's row was locked, so that no rotation changes them in between.
    return None if client is None else replace(client, secrets=tuple(SECRETS.all(tx, client=client_id)))


def read_client(tx: Connection, client: ClientId) -> Client | None:
    """Read a client for enforcement; None also if it is of a kind that this release does not know."""
    row = row_of(tx, clients, client)
    if row is None or not _is_known(row):
        return None
    return CLIENTS.of(row, secrets=tuple(SECRETS.all(tx, client=client)))


def get_client(tx: Connection, client: ClientId, *, lock: bool = False) -> Client:
    found = find_client(tx, client, lock=lock)
    if found is None:
        raise CLIENTS.missing()
    return found


def list_at(tx: Connection, host: str, limit: int) -> list[Client]:
    """List clients in whose addresses of keys or redirects a host's name stands, by id; every client is looked at."""
    where = (clients.c.jwks_uri, cast(clients.c.redirect_uris, Text))
    here = or_(*(column.contains(f"//{host}", autoescape=True) for column in where))
    return CLIENTS.page(tx, PageQuery("", limit), here)


def find_named(tx: Connection, named: str, limit: int) -> list[Client]:
    """Find clients by id or exact name, without secrets."""
    query = CLIENTS.select(or_(clients.c.id == named, clients.c.name == named))
    return CLIENTS.read(tx, query.order_by(clients.c.id).limit(limit))


def serves_backends_only(tx: Connection, app: AppId) -> bool:
    """Check whether an app has clients, and all of them are backend services."""
    kinds = select(clients.c.type).where(clients.c.app == app).distinct()
    return set(tx.execute(kinds).scalars()) == {ClientType.BACKEND.value}


def add_transfer(tx: Connection, transfer: Transfer) -> bool:
    """Add an offer, in place of one that has expired; return False if another waits."""
    TRANSFERS.delete(tx, transfers.c.expires_at <= transfer.asked_at, app=transfer.app)
    return TRANSFERS.add_new(tx, transfer)


def find_transfer(tx: Connection, app: AppId, now: datetime) -> Transfer | None:
    return TRANSFERS.first(tx, TRANSFERS.select(transfers.c.expires_at > now, app=app))


def list_transfers_to(tx: Connection, vendor: VendorId, now: datetime, limit: int) -> list[Transfer]:
    """List the offers to a vendor that wait, the oldest first. No index: an offer is gone after two weeks."""
    query = TRANSFERS.select(transfers.c.expires_at > now, to=vendor)
    return TRANSFERS.read(tx, query.order_by(transfers.c.asked_at).limit(limit))


def delete_credentials(tx: Connection, app: AppId) -> None:
    """Delete the secrets and keys of all clients of an app."""
    of_app = select(clients.c.id).where(clients.c.app == app)
    # The clients first: whoever rotates a secret at this moment holds the client, and what they add is then deleted, too.
    CLIENTS.change(tx, {"jwks": None, "jwks_uri": ""}, app=app)
    SECRETS.delete(tx, secrets.c.client.in_(of_app))


def read_clients(tx: Connection, of: Collection[AppId] | None) -> Iterator[Client]:
    """Read the clients of some apps (None: of all) by id, without those of a kind that this release does not know."""
    rows = _CLIENTS.records(tx, {}) if of is None else _CLIENTS_OF.records(tx, of)
    rows.sort(key=lambda row: str(row.id))
    held = _secrets(tx, None if of is None else [row.id for row in rows]) if rows else {}
    return (CLIENTS.of(row, secrets=tuple(held.get(row.id, ()))) for row in rows if _is_known(row))


def _secrets(tx: Connection, of: Collection[ClientId] | None) -> dict[str, list[ClientSecret]]:
    """Read the secrets of some clients (None: of all) by client."""
    rows = _SECRETS.records(tx, {}) if of is None else _SECRETS_OF.records(tx, of)
    by_client: dict[str, list[ClientSecret]] = {}
    for row in rows:
        by_client.setdefault(row.client, []).append(SECRETS.of(row))
    return by_client


def _is_known(row: Row[Any]) -> bool:
    words = {"environment": Environment, "type": ClientType, "deployment": Deployment}
    return all(
        member_of(kind, getattr(row, name), f"registry_client.{name}") is not None
        for name, kind in words.items()
    )


def read_origins(tx: Connection, of: Collection[AppId]) -> Iterator[tuple[str, ...]]:
    """Read the origins of each client of some apps."""
    rows = tx.execute(select(clients.c.origins).where(clients.c.app.in_(of)))
    return (tuple(origins) for (origins,) in rows)


def count_dynamic(tx: Connection, of: Collection[AppId], now: datetime) -> int:
    """Count the dynamic clients of some apps that have not expired."""
    return CLIENTS.count(tx, clients.c.app.in_(of), clients.c.expires_at > now, dynamic=True)


def read_ended_dynamic(tx: Connection, now: datetime) -> list[tuple[ClientId, AppId]]:
    """Read the dynamic clients that have expired, with their apps, at most ENDED_BATCH, and keep others from changing them."""
    ended = select(clients.c.id, clients.c.app).where(
        clients.c.dynamic.is_(True), clients.c.expires_at <= now
    )
    # Rows that another registration is deleting are left to it.
    rows = tx.execute(ended.order_by(clients.c.id).limit(ENDED_BATCH).with_for_update(skip_locked=True))
    return [(ClientId(row.id), AppId(row.app)) for row in rows]


def delete_clients(tx: Connection, of: Collection[ClientId]) -> None:
    """Delete clients with their secrets and their uses."""
    tx.execute(secrets.delete().where(secrets.c.client.in_(of)))
    tx.execute(uses.delete().where(uses.c.client.in_(of)))
    tx.execute(clients.delete().where(clients.c.id.in_(of)))
