"""The service of apps, counted: how their calls at each tenant ended and how long the answers took, by ten minutes and by day.

Counted beside the counts by day, in the same transaction and so exactly once. By ten minutes they are kept for three hours, for alerts;
by day for as long as decisions are.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from datetime import date, datetime
from functools import reduce
from operator import add

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from hilum.foundation.infra.db import in_batches, metadata
from hilum.records.audit.counted_times import date_of, day_of, day_of_slot, slot_of
from hilum.records.audit.models import COUNTED_FOR, PURGE_BATCH, SERVICE_SLOTS_KEPT, TENANTS_READ, Access
from hilum.records.audit.policy import ending_of
from hilum.records.audit.served_models import BUCKETS, SERVED_EDGES_MS, Ending, Served

_ENDINGS = (Ending.REFUSED, Ending.MISTAKEN, Ending.THROTTLED, Ending.FAILED)
_NAMES = (*(each.value for each in _ENDINGS), *(f"answered_{n}" for n in range(BUCKETS)))
Key = tuple[str, str, int, str]
"""Tenant, app, slot of ten minutes, name of the count."""


def _counts() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in _NAMES]


slots = Table(
    "service_slot",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    *_counts(),
    PrimaryKeyConstraint("tenant", "app", "slot"),
    Index("ix_service_slot_slot", "slot"),
)
"""``slot``: tens of minutes since 1970-01-01. ``answered_n``: answers within the n-th bucket of SERVED_EDGES_MS."""

days = Table(
    "service_day",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("day", Integer, nullable=False),
    *_counts(),
    PrimaryKeyConstraint("app", "tenant", "day"),
    Index("ix_service_day_tenant", "tenant", "day"),
    Index("ix_service_day_day", "day"),
)
"""``day``: days since 1970-01-01."""


def key_of(access: Access, tenant: str) -> Key | None:
    """Return which count a decision belongs to; None if it says nothing of an app's service."""
    ending = ending_of(access)
    # What an app is put through in a certification run says nothing of how it works.
    if ending is None or not access.app or access.run:
        return None
    name = ending.value
    if ending is Ending.ANSWERED:
        name = f"answered_{bisect_left(SERVED_EDGES_MS, access.latency_us / 1_000)}"
    return tenant, access.app, slot_of(access.at), name


def save(tx: Connection, new: Counter[Key]) -> None:
    """Add to the counts."""
    by_slot: dict[tuple[str, str, int], Counter[str]] = {}
    by_day: dict[tuple[str, str, int], Counter[str]] = {}
    for (tenant, app, slot, name), number in new.items():
        by_slot.setdefault((tenant, app, slot), Counter())[name] += number
        by_day.setdefault((tenant, app, day_of_slot(slot)), Counter())[name] += number
    _save(tx, slots, "slot", by_slot)
    _save(tx, days, "day", by_day)


def _save(tx: Connection, table: Table, when: str, new: dict[tuple[str, str, int], Counter[str]]) -> None:
    # In one order, so that two writers never wait for each other's rows.
    rows = [
        {"tenant": tenant, "app": app, when: number} | {name: counted[name] for name in _NAMES}
        for (tenant, app, number), counted in sorted(new.items(), key=lambda each: each[0])
    ]
    insert = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)
    more = {name: table.c[name] + insert.excluded[name] for name in _NAMES}
    tx.execute(insert.on_conflict_do_update(index_elements=["tenant", "app", when], set_=more), rows)


def read_recent(
    tx: Connection, since: datetime, after: tuple[str, str], limit: int
) -> dict[tuple[str, str], Served]:
    """Return, by tenant and app, the calls from the slot of a moment on, the next pairs in order after one."""
    query = (
        select(slots.c.tenant, slots.c.app, *_sums(slots))
        .where(slots.c.slot >= slot_of(since), tuple_(slots.c.tenant, slots.c.app) > tuple_(*after))
        .group_by(slots.c.tenant, slots.c.app)
        .order_by(slots.c.tenant, slots.c.app)
        .limit(limit)
    )
    return {(tenant, app): _served(numbers) for tenant, app, *numbers in tx.execute(query)}


def called_among(tx: Connection, since: datetime, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return at which of some tenants, and by which apps, there were calls from the slot of a moment on."""
    found: set[tuple[str, str]] = set()
    for batch in in_batches(pairs):
        query = (
            select(slots.c.tenant, slots.c.app)
            .where(slots.c.slot >= slot_of(since), tuple_(slots.c.tenant, slots.c.app).in_(batch))
            .distinct()
        )
        found |= {(row.tenant, row.app) for row in tx.execute(query)}
    return found


def read_days(tx: Connection, app: str, since: datetime, tenant: str) -> dict[date, Served]:
    """Return how the calls of an app ended on each day since that of a moment, at one tenant or (empty) at all together."""
    query = (
        select(days.c.day, *_sums(days))
        .where(days.c.app == app, days.c.day >= day_of(since))
        .group_by(days.c.day)
        .order_by(days.c.day)
    )
    found = tx.execute(query.where(days.c.tenant == tenant) if tenant else query)
    return {date_of(day): _served(numbers) for day, *numbers in found}


def read_tenants(tx: Connection, app: str, since: datetime, tenant: str) -> dict[str, Served]:
    """Return how the calls of an app ended at each tenant since the day of a moment, or (not empty) at one; the busiest first, TENANTS_READ at most."""
    numbers = _sums(days)
    query = (
        select(days.c.tenant, *numbers)
        .where(days.c.app == app, days.c.day >= day_of(since))
        .group_by(days.c.tenant)
        .order_by(reduce(add, numbers).desc(), days.c.tenant)
        .limit(TENANTS_READ)
    )
    found = tx.execute(query.where(days.c.tenant == tenant) if tenant else query)
    return {at: _served(counted) for at, *counted in found}


def read_totals(tx: Connection, tenants: Collection[str], since: datetime) -> dict[str, Served]:
    """Return how the calls of all apps at some tenants ended since the day of a moment."""
    found: dict[str, Served] = {}
    for batch in in_batches(tenants):
        query = (
            select(days.c.tenant, *_sums(days))
            .where(days.c.tenant.in_(batch), days.c.day >= day_of(since))
            .group_by(days.c.tenant)
        )
        found |= {tenant: _served(numbers) for tenant, *numbers in tx.execute(query)}
    return found


def _sums(table: Table) -> list[ColumnElement[int]]:
    return [func.sum(table.c[name]) for name in _NAMES]


def _served(numbers: Collection[int]) -> Served:
    refused, mistaken, throttled, failed, *answered = (int(each) for each in numbers)
    return Served(refused, mistaken, throttled, failed, tuple(answered))


def purge(tx: Connection, now: datetime) -> int:
    """Delete up to PURGE_BATCH counts that are older than they are kept; return how many."""
    for table, when, before in (
        (slots, "slot", slot_of(now - SERVICE_SLOTS_KEPT)),
        (days, "day", day_of(now - COUNTED_FOR)),
    ):
        key = tuple_(table.c.tenant, table.c.app, table.c[when])
        old = select(table.c.tenant, table.c.app, table.c[when]).where(table.c[when] < before)
        if removed := tx.execute(delete(table).where(key.in_(old.limit(PURGE_BATCH)))).rowcount:
            return removed
    return 0
