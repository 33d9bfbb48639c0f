"""The table of requests."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Row,
    String,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.sql.elements import ColumnElement

from hilum.foundation.infra.db import Instant, get_row, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.hospitals.requests.models import (
    MAILED_BATCH,
    PURGE_BATCH,
    REQUEST_SORTS,
    WAITING_BOUND,
    AppRequest,
    State,
    Waiting,
)

_OPEN = text("state = 'open'")

requests = Table(
    "requests_request",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("role", String(40), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("workflows", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("decided_by", String(120), nullable=False),
    Column("decided_at", Instant),
    Column("answer", Text, nullable=False),
    Column("installation", String(64), nullable=False),
    # Any number that were decided, and one that is open, for each person and app at a tenant.
    Index(
        "uq_requests_request_open",
        "tenant",
        "app",
        "person",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    Index("ix_requests_request_listed", "tenant", "state", "id"),
    Index("ix_requests_request_tenant", "tenant", "id"),
    Index("ix_requests_request_state", "state", "id"),
    Index("ix_requests_request_person", "person", "id"),
    Index("ix_requests_request_decided", "decided_at"),
    Index("ix_requests_request_waiting", "asked_at", "tenant", sqlite_where=_OPEN, postgresql_where=_OPEN),
)
_IS_OPEN = requests.c.state == State.OPEN.value


def _request(row: Row[Any]) -> AppRequest:
    values = dict(row._mapping) | {
        "tenant": TenantId(row.tenant),
        "app": AppId(row.app),
        "person": PersonId(row.person),
        "roles": frozenset(row.roles),
        "scopes": tuple(row.scopes),
        "workflows": tuple(row.workflows),
        "state": State(row.state),
    }
    return AppRequest(**values)


def add_request(tx: Connection, request: AppRequest) -> bool:
    """Add a request; return False if its person has an open one for the app at the tenant."""
    values = {name: getattr(request, name) for name in AppRequest.__dataclass_fields__} | {
        "roles": sorted(request.roles),
        "scopes": list(request.scopes),
        "workflows": list(request.workflows),
        "state": request.state.value,
    }
    return tx.execute(insert_or_ignore(tx, requests).values(values)).rowcount == 1


def get_request(tx: Connection, request: str) -> AppRequest:
    """Get a request. Raises NotFound."""
    return _request(get_row(tx, requests, request, "request"))


def _open_for(tenant: TenantId, app: AppId) -> ColumnElement[bool]:
    return and_(requests.c.tenant == tenant, requests.c.app == app, _IS_OPEN)


def lock_open(tx: Connection, tenant: TenantId, app: AppId) -> list[AppRequest]:
    """Lock and list all open requests for an app at a tenant, always in the same order; beyond WAITING_BOUND none are added."""
    query = select(requests).where(_open_for(tenant, app)).order_by(requests.c.id)
    return [_request(row) for row in tx.execute(query.with_for_update())]


def count_open(tx: Connection, tenant: TenantId, app: AppId | None = None) -> Waiting:
    """Count the open requests at a tenant, or those for one app."""
    here = and_(requests.c.tenant == tenant, _IS_OPEN) if app is None else _open_for(tenant, app)
    row = tx.execute(select(func.count(), func.min(requests.c.asked_at)).where(here)).one()
    return Waiting(row[0], row[1])


def asked_meanwhile(tx: Connection, request: AppRequest, person: str) -> bool:
    """Check whether a person has an open request for the same app at the same tenant, or withdrew one while this one waited."""
    withdrawn = and_(requests.c.state == State.WITHDRAWN.value, requests.c.decided_at >= request.asked_at)
    query = select(requests.c.id).where(
        requests.c.person == person,
        requests.c.tenant == request.tenant,
        requests.c.app == request.app,
        or_(_IS_OPEN, withdrawn),
    )
    return tx.execute(query.limit(1)).first() is not None


def open_apps_of(tx: Connection, person: PersonId) -> frozenset[AppId]:
    """Return the apps for which a person has an open request."""
    query = select(requests.c.app).where(requests.c.person == person, _IS_OPEN)
    return frozenset(AppId(row.app) for row in tx.execute(query))


def count_since(tx: Connection, person: PersonId, since: datetime, bound: int) -> int:
    """Count the requests of a person since a moment, up to a bound."""
    newest = select(requests.c.asked_at).where(requests.c.person == person)
    moments = tx.execute(newest.order_by(requests.c.id.desc()).limit(bound)).scalars()
    return sum(at >= since for at in moments)


def list_requests(
    tx: Connection,
    page: PageQuery,
    *,
    tenant: TenantId | None = None,
    person: PersonId | None = None,
    state: State | None = None,
) -> list[AppRequest]:
    """List the requests at a tenant, of a person, or everywhere, in a state or all, by id or in the page's order."""
    query = select(requests)
    if tenant is not None:
        query = query.where(requests.c.tenant == tenant)
    if person is not None:
        query = query.where(requests.c.person == person)
    if state is not None:
        query = query.where(requests.c.state == state.value)
    return [_request(row) for row in tx.execute(paged(query, requests, REQUEST_SORTS, page))]


def save_decided(tx: Connection, ids: Collection[str], after: AppRequest) -> int:
    """Save how some open requests ended, as ``after`` did; return how many were still open."""
    values = {
        "state": after.state.value,
        "decided_by": after.decided_by,
        "decided_at": after.decided_at,
        "answer": after.answer,
        "installation": after.installation,
    }
    return sum(
        tx.execute(requests.update().where(requests.c.id.in_(batch), _IS_OPEN).values(values)).rowcount
        for batch in in_batches(ids)
    )


def list_asked_at(tx: Connection, since: datetime, until: datetime, after: TenantId) -> list[TenantId]:
    """List the next tenants by id with open requests that were made within a time."""
    made = (_IS_OPEN, requests.c.asked_at >= since, requests.c.asked_at < until)
    query = select(requests.c.tenant).where(*made, requests.c.tenant > after).distinct()
    return [TenantId(row.tenant) for row in tx.execute(query.order_by(requests.c.tenant).limit(MAILED_BATCH))]


def list_asked(
    tx: Connection, tenant: TenantId, since: datetime, until: datetime
) -> list[tuple[datetime, AppId]]:
    """List when open requests at a tenant were made within a time, and for which app, the oldest first; at most WAITING_BOUND."""
    made = (_IS_OPEN, requests.c.asked_at >= since, requests.c.asked_at < until)
    query = select(requests.c.asked_at, requests.c.app).where(requests.c.tenant == tenant, *made)
    rows = tx.execute(query.order_by(requests.c.asked_at, requests.c.id).limit(WAITING_BOUND))
    return [(row.asked_at, AppId(row.app)) for row in rows]


def purge(tx: Connection, before: datetime) -> int:
    """Delete requests that ended before a moment, at most a batch; return how many."""
    ended = select(requests.c.id).where(requests.c.decided_at < before).limit(PURGE_BATCH)
    ids = list(tx.execute(ended).scalars())
    for batch in in_batches(ids):
        tx.execute(requests.delete().where(requests.c.id.in_(batch)))
    return len(ids)
