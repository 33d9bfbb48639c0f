"""Tables and rows of launches and activity counts. Each one-shot step is one statement, so that concurrent attempts cannot both pass."""

from collections.abc import Collection, Iterator
from datetime import date, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    or_,
    select,
)

from hilum.authorization.launches.models import LAUNCHES_TRIED, PURGE_BATCH, Activity, Launch, OpenLaunches
from hilum.foundation.infra.db import BATCH_SIZE, Instant, metadata
from hilum.foundation.infra.rows import Rows
from hilum.foundation.kernel.ids import ClientId, LaunchId, PersonId, TenantId

launch = Table(
    "launch",
    metadata,
    Column("id", String(64), primary_key=True),
    # The handle is the app's ``launch`` parameter, the open token is the browser's. Only hashes are stored.
    Column("handle_hash", LargeBinary(32), nullable=False, unique=True),
    Column("open_hash", LargeBinary(32), nullable=False, unique=True),
    Column("tenant", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("created_at", Instant, nullable=False, index=True),
    Column("expires_at", Instant, nullable=False),
    Column("open_expires_at", Instant, nullable=False),
    Column("patient", String(64), nullable=False),
    Column("encounter", String(64), nullable=False),
    Column("intent", String(128), nullable=False),
    Column("placement", String(128), nullable=False),
    Column("fhir_context", JSON, nullable=False),
    Column("need_patient_banner", Boolean, nullable=False),
    Column("run", String(64), nullable=False),
    Column("facility", String(64), nullable=False, server_default=""),
    Column("launch_uri", String(2048), nullable=False),
    Column("opened_by", String(64), nullable=False),
    Column("opened_at", Instant),
    Column("used_at", Instant),
    Column("moved_at", Instant, index=True),
    Column("ended_at", Instant, index=True),
    Column("session", String(64), nullable=False),
)

Index(None, launch.c.person, launch.c.created_at)
# Partial, for the purge. A taken launch that has not ended is kept, because tokens may depend on it.
_OVER = or_(launch.c.ended_at.is_not(None), launch.c.used_at.is_(None))
Index("ix_launch_over", launch.c.created_at, sqlite_where=_OVER, postgresql_where=_OVER)

ehr_activity = Table(
    "ehr_activity",
    metadata,
    Column("tenant", String(32), nullable=False),
    Column("day", String(10), nullable=False),
    Column("role", String(64), nullable=False),
    Column("facility", String(64), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("reported_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant", "day", "role", "facility"),
)


LAUNCHES = Rows(launch, Launch)
ACTIVITY = Rows(ehr_activity, Activity)
# Part of every condition: a launch that has ended is never changed.
_ALIVE = launch.c.ended_at.is_(None)


def use_open_token(tx: Connection, open_hash: bytes, tenant: TenantId, now: datetime) -> Launch | None:
    """Use up the open token in one statement, so that one browser gets the session."""
    unused = (launch.c.open_expires_at > now, _ALIVE)
    same = {"open_hash": open_hash, "tenant": tenant, "opened_at": None}
    return LAUNCHES.step(tx, {"opened_at": now}, *unused, **same)


def take(
    tx: Connection, handle_hash: bytes, *, client: ClientId, tenant: TenantId, person: PersonId, now: datetime
) -> Launch | None:
    """Take the launch if it is this client's, person's and tenant's, untaken, unexpired and not ended: one statement."""
    # All conditions are in the statement, so that an attempt by another client or person uses nothing up.
    untaken = (launch.c.expires_at > now, _ALIVE)
    same = {"handle_hash": handle_hash, "client": client, "tenant": tenant, "person": person, "used_at": None}
    return LAUNCHES.step(tx, {"used_at": now}, *untaken, **same)


def move(
    tx: Connection, launch_id: LaunchId, *, patient: str, encounter: str, moved_at: datetime | None
) -> Launch | None:
    """Update the chart of a launch; return None if the launch has ended."""
    values = {"patient": patient, "encounter": encounter, "moved_at": moved_at}
    return LAUNCHES.step(tx, values, _ALIVE, id=launch_id)


def end(tx: Connection, launch_id: LaunchId, now: datetime) -> Launch | None:
    """End the launch and return it as it is then; None if it had ended before."""
    return LAUNCHES.step(tx, {"ended_at": now}, _ALIVE, id=launch_id)


def read_moved(tx: Connection, since: datetime) -> Iterator[tuple[LaunchId, datetime]]:
    """Yield the launches that moved since a moment, each with the time. Unbounded."""
    rows = tx.execute(select(launch.c.id, launch.c.moved_at).where(launch.c.moved_at > since))
    return ((LaunchId(row.id), row.moved_at) for row in rows)


def read_ended(tx: Connection, since: datetime) -> Iterator[tuple[LaunchId, datetime]]:
    """Yield the launches that ended since a moment, each with the time. Unbounded."""
    rows = tx.execute(select(launch.c.id, launch.c.ended_at).where(launch.c.ended_at > since))
    return ((LaunchId(row.id), row.ended_at) for row in rows)


def list_of_person(tx: Connection, person: PersonId, since: datetime, limit: int) -> list[Launch]:
    """List the launches for a person that an app has taken and that neither ended nor moved, newest first."""
    query = LAUNCHES.select(
        launch.c.created_at > since, launch.c.used_at.is_not(None), _ALIVE, person=person, moved_at=None
    )
    return LAUNCHES.read(tx, query.order_by(launch.c.created_at.desc()).limit(limit))


def count_tasks(
    tx: Connection, clients: Collection[ClientId], since: datetime
) -> Iterator[tuple[TenantId, ClientId, str, str, int]]:
    """Yield tenant, client, intent and placement of the launches of some clients since a moment, with how many are equal.

    Reads the launches since then once, however many clients: an index by client would cost every launch a write.
    """
    column = launch.c
    what = column.tenant, column.client, column.intent, column.placement
    query = select(*what, func.count()).where(column.created_at > since)
    if len(clients) <= BATCH_SIZE:
        query = query.where(column.client.in_(clients))
    wanted = frozenset(clients)
    return (
        (TenantId(tenant), ClientId(client), intent, placement, number)
        for tenant, client, intent, placement, number in tx.execute(query.group_by(*what))
        if client in wanted
    )


def count_people(
    tx: Connection, tenant: TenantId, clients: Collection[ClientId], since: datetime
) -> tuple[datetime | None, list[tuple[PersonId, str, int]]]:
    """Count the launches of some clients at a tenant by person and facility, among the newest LAUNCHES_TRIED of all since a moment.

    Return it with the time of the oldest launch that was looked at; None if all since the moment were.
    """
    column = launch.c
    newest = (
        select(column.tenant, column.client, column.person, column.facility, column.created_at)
        .where(column.created_at > since)
        .order_by(column.created_at.desc())
        .limit(LAUNCHES_TRIED)
        .subquery()
    )
    counted, oldest = tx.execute(
        select(func.count(), func.min(newest.c.created_at, type_=Instant)).select_from(newest)
    ).one()
    query = (
        select(newest.c.person, newest.c.facility, func.count())
        .where(newest.c.tenant == tenant, newest.c.client.in_(clients))
        .group_by(newest.c.person, newest.c.facility)
    )
    counted_since = oldest if counted >= LAUNCHES_TRIED else None
    return counted_since, [
        (PersonId(person), facility, number) for person, facility, number in tx.execute(query)
    ]


def last_launches(tx: Connection, tenants: Collection[TenantId], since: datetime) -> dict[TenantId, datetime]:
    """Return when each of some tenants had its newest launch; without those that had none since a moment."""
    query = select(launch.c.tenant, func.max(launch.c.created_at)).where(
        launch.c.created_at >= since, launch.c.tenant.in_(list(tenants))
    )
    return {TenantId(tenant): at for tenant, at in tx.execute(query.group_by(launch.c.tenant))}


def purge(tx: Connection, before: datetime) -> int:
    """Delete launches created before the moment that ended or were never taken, at most PURGE_BATCH; return how many."""
    # By the partial index, so that launches in use are not scanned.
    return LAUNCHES.purge(tx, PURGE_BATCH, launch.c.created_at < before, _OVER)


def count_open(
    tx: Connection,
    now: datetime,
    since: datetime,
    *,
    tenant: str,
    clients: Collection[str] | None,
    person: str,
) -> list[OpenLaunches]:
    """Count launches since a moment that were taken, or still can be, and have not ended, by tenant; empty or None: not limited by it."""
    column = launch.c
    query = (
        select(column.tenant, func.count(), func.count(func.nullif(column.encounter, "").distinct()))
        .where(
            column.created_at > since,
            column.ended_at.is_(None),
            or_(column.used_at.is_not(None), column.expires_at > now),
        )
        .group_by(column.tenant)
        .order_by(column.tenant)
    )
    if tenant:
        query = query.where(column.tenant == tenant)
    if clients is not None:
        query = query.where(column.client.in_(clients))
    if person:
        query = query.where(column.person == person)
    return [
        OpenLaunches(TenantId(each), number, encounters) for each, number, encounters in tx.execute(query)
    ]


def report_activity(tx: Connection, tenant: TenantId, row: Activity, now: datetime) -> None:
    """Store a count; a later report of the same day, role and facility replaces it."""
    # If two nodes both find no row, the second insert is ignored, and the EHR's next report of the day sets the count.
    same = {name: getattr(row, name) for name in ("day", "role", "facility")}
    values = {"count": row.count, "reported_at": now}
    if ACTIVITY.change(tx, values, tenant=tenant, **same) == 0:
        ACTIVITY.add_new(tx, row, tenant=tenant, reported_at=now)


def list_activity(tx: Connection, tenant: TenantId, *, since: date, until: date) -> list[Activity]:
    column = ehr_activity.c
    # ISO dates sort as text as they do as dates.
    days = (column.day >= since.isoformat(), column.day <= until.isoformat())
    query = ACTIVITY.select(*days, tenant=tenant).order_by(column.day, column.role, column.facility)
    return ACTIVITY.read(tx, query)
