"""Counts of decisions by day: how often which client was permitted or refused what at which tenant, without reading whole journals.

Derived from the journals, which are the record: a job counts new records in batches, and each batch moves the position up to which its
journal was counted in the same transaction, so that a record is counted exactly once whatever breaks off, and on whichever node. No
patient, person or address is in them. What repeats on every day, the shape of a decision, is stored once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    Text,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from hilum.foundation.infra import lanes
from hilum.foundation.infra.db import BATCH_SIZE, Database, Instant, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.decision import ReadPurpose
from hilum.foundation.kernel.times import from_micros
from hilum.records.audit import decision_slots, service_counts
from hilum.records.audit.access_index import has_all, open_beside
from hilum.records.audit.counted_times import date_of, day_of
from hilum.records.audit.journal_records import JournalReader, NewRecords, Positions
from hilum.records.audit.models import (
    COUNT_BATCH,
    COUNTED_FOR,
    PLACES_BOUND,
    PURGE_BATCH,
    RULE_BOUND,
    SETTLEMENT,
    UNDELIVERED,
    Access,
    BusyDay,
    DecisionCount,
    DecisionShape,
    Outcome,
    PermitCount,
    Served,
    Traffic,
)
from hilum.records.audit.policy import OWN_RECORD, WRITES

shapes = Table(
    "decision_shape",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("app", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("interaction", Text, nullable=False),
    Column("resource_type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Index("ix_decision_shape_client", "client"),
)
"""``id`` is a digest of the other columns, so that a batch needs no look-up."""

counts = Table(
    "decision_count",
    metadata,
    Column("shape", LargeBinary(16), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("first", Instant, nullable=False),
    Column("last", Instant, nullable=False),
    Column("example", String(64), nullable=False),
    PrimaryKeyConstraint("shape", "tenant", "day"),
    Index("ix_decision_count_day", "day"),
)
"""``day``: days since 1970-01-01. ``example``: a request id."""

days = Table(
    "decision_day",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)
"""All counts of a day together: to add them up takes a second and more of two million."""

counted = Table(
    "decision_counted",
    metadata,
    Column("journal", String(10), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""The last counted record of each journal."""
FILE = "decisions.db"
TABLES = (shapes, counts, days, counted, decision_slots.slots, service_counts.slots, service_counts.days)
_complete: set[str] = set()
"""The databases of this process that have every table."""
_OWN_READS = frozenset(each.value for each in ReadPurpose)
_REPEATS = frozenset({SETTLEMENT, UNDELIVERED})
"""Rules of records that say more about a decision which has a record of its own."""
_NAMES = DecisionShape._fields


@dataclass(slots=True)
class _Count:
    number: int
    first: datetime
    last: datetime
    example: str


def _shape_of(access: Access) -> DecisionShape | None:
    """Return the shape of a decision about an app; None for other records."""
    if not access.client or access.outcome is Outcome.INTENDED or access.rule in _REPEATS:
        return None
    # The platform's own reads are no use by the app.
    if access.interaction in _OWN_READS:
        return None
    rule = access.rule
    if len(rule) > RULE_BOUND:
        # Cut at a comma: fewer scopes are remembered for it, so it counts as lost sooner, and never later.
        rule = rule[:RULE_BOUND].rpartition(", ")[0]
    return DecisionShape(
        access.app, access.client, access.interaction, access.resource_type, access.reason, rule
    )


def positions(tx: Connection) -> Positions:
    """Return the last counted record of each journal."""
    return {row.journal: int(row.number) for row in tx.execute(select(counted))}


def begin(tx: Connection, starts: Positions) -> None:
    """Store from where each journal is counted, where that is not known yet."""
    for journal, number in starts.items():
        tx.execute(insert_or_ignore(tx, counted).values(journal=journal, number=number))


def add(tx: Connection, found: NewRecords) -> None:
    """Count new records of each journal. Records that were counted already are skipped."""
    new: dict[tuple[DecisionShape, str, int], _Count] = {}
    traffic: Counter[decision_slots.Key] = Counter()
    served: Counter[service_counts.Key] = Counter()
    for journal, records in sorted(found.items()):
        tx.execute(insert_or_ignore(tx, counted).values(journal=journal, number=0))
        # Locked: of two nodes that count the same records, the second sees the position that the first has moved.
        at = select(counted.c.number).where(counted.c.journal == journal).with_for_update()
        reached = int(tx.execute(at).scalar_one())
        for number, access in records:
            if number > reached and (shape := _shape_of(access)) is not None:
                # The tenant is from the address, where an app may write anything; PostgreSQL stores no NUL in a text.
                tenant = access.tenant.replace("\0", "")
                _count(new, (shape, tenant, day_of(access.at)), access)
                if decision_slots.is_counted(access):
                    traffic[decision_slots.key_of(access, tenant)] += access.count
                if (key := service_counts.key_of(access, tenant)) is not None:
                    served[key] += access.count
        moved = update(counted).where(counted.c.journal == journal)
        tx.execute(moved.values(number=max(records[-1][0], reached)))
    if new:
        _save(tx, new)
    if traffic:
        decision_slots.save(tx, traffic)
    if served:
        service_counts.save(tx, served)


def _count(
    new: dict[tuple[DecisionShape, str, int], _Count], key: tuple[DecisionShape, str, int], access: Access
) -> None:
    held = new.get(key)
    if held is None:
        new[key] = _Count(access.count, access.at, access.at, access.request_id)
        return
    held.number += access.count
    held.first, held.last = min(held.first, access.at), max(held.last, access.at)
    held.example = access.request_id


def _save(tx: Connection, new: dict[tuple[DecisionShape, str, int], _Count]) -> None:
    ids = {shape: _id_of(shape) for shape, _, _ in new}
    rows = [{"id": id_, **shape._asdict()} for shape, id_ in ids.items()]
    tx.execute(insert_or_ignore(tx, shapes), rows)
    values = [
        {
            "shape": ids[shape],
            "tenant": tenant,
            "day": day,
            "number": each.number,
            "first": each.first,
            "last": each.last,
            "example": each.example,
        }
        for (shape, tenant, day), each in new.items()
    ]
    # In one order, so that two writers never wait for each other's rows.
    values.sort(key=lambda row: (row["shape"], row["tenant"], row["day"]))
    insert = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(counts)
    more, kept = insert.excluded, counts.c
    tx.execute(
        insert.on_conflict_do_update(
            index_elements=["shape", "tenant", "day"],
            set_={
                "number": kept.number + more.number,
                "first": case((more.first < kept.first, more.first), else_=kept.first),
                "last": case((more.last > kept.last, more.last), else_=kept.last),
                "example": more.example,
            },
        ),
        values,
    )
    _save_days(tx, values)


def _save_days(tx: Connection, values: Iterable[Mapping[str, Any]]) -> None:
    new: Counter[int] = Counter()
    for each in values:
        new[each["day"]] += each["number"]
    insert = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(days)
    more = {"number": days.c.number + insert.excluded.number}
    by_day = [{"day": day, "number": number} for day, number in sorted(new.items())]
    tx.execute(insert.on_conflict_do_update(index_elements=["day"], set_=more), by_day)


def fill_days(tx: Connection) -> None:
    """Add the counts of a release before up by day."""
    if tx.execute(select(days.c.day).limit(1)).first() is None:
        of_before = select(counts.c.day, func.sum(counts.c.number)).group_by(counts.c.day)
        tx.execute(days.insert().from_select(["day", "number"], of_before))


def _id_of(shape: DecisionShape) -> bytes:
    return sha256(orjson.dumps(list(shape))).digest()[:16]


def read(
    tx: Connection, clients: Collection[str], since: datetime, matters: Callable[[DecisionShape], bool]
) -> Iterator[DecisionCount]:
    """Stream the decisions of shapes that matter about some clients since the day of a moment, one for each shape and tenant."""
    for batch in in_batches(clients):
        asked = select(shapes.c.id, *(shapes.c[name] for name in _NAMES)).where(shapes.c.client.in_(batch))
        found = ((row[0], DecisionShape._make(row[1:])) for row in tx.execute(asked).all())
        named = {id_: shape for id_, shape in found if matters(shape)}
        # The shapes by themselves: joined to a hundred thousand counts, their texts cost more than the counts.
        for some in in_batches(sorted(named)):
            # Whole, and not row by row, which costs several times as much; a batch has few enough.
            for shape, tenant, number, first, last, example in tx.execute(_summed(some, since)).all():
                yield DecisionCount._make(
                    (tenant, *named[shape], int(number), from_micros(first), from_micros(last), example)
                )


def _summed(some: list[bytes], since: datetime) -> Select[Any]:
    # Moments as the integers that they are stored as: converted by ``from_micros``, which costs less a row than the column's type.
    first, last = (type_coerce(column, BigInteger) for column in (counts.c.first, counts.c.last))
    sums = func.sum(counts.c.number), func.min(first), func.max(last), func.max(counts.c.example)
    return (
        select(counts.c.shape, counts.c.tenant, *sums)
        .where(counts.c.shape.in_(some), counts.c.day >= day_of(since))
        .group_by(counts.c.shape, counts.c.tenant)
    )


def read_permits(
    tx: Connection, clients: Collection[str], since: datetime, tenant: str
) -> Iterator[PermitCount]:
    """Stream what was permitted to some clients since the day of a moment, at one tenant or (empty) at all together."""
    kinds = (shapes.c.rule, shapes.c.resource_type, shapes.c.interaction)
    for batch in in_batches(clients):
        query = (
            select(*kinds, func.sum(counts.c.number), func.max(counts.c.last, type_=Instant))
            .select_from(shapes.join(counts, counts.c.shape == shapes.c.id))
            .where(shapes.c.client.in_(batch), shapes.c.reason == "", counts.c.day >= day_of(since))
            .group_by(*kinds)
        )
        for row in tx.execute(query.where(counts.c.tenant == tenant) if tenant else query):
            rule, type_, interaction, number, last = row
            yield PermitCount(rule, type_, interaction, int(number), last)


def read_busy_days(
    tx: Connection, client: str, since: datetime, calls: int | None, writes: int | None
) -> list[BusyDay]:
    """Return the days after that of a moment on which a client was permitted more calls or writes at one tenant than so many (None: any)."""
    written = case((shapes.c.interaction.in_(sorted(WRITES)), counts.c.number), else_=0)
    sums = func.sum(counts.c.number), func.sum(written)
    limits = [total > most for total, most in zip(sums, (calls, writes), strict=True) if most is not None]
    # A service may declare patients or hours alone.
    if not limits:
        return []
    query = (
        select(counts.c.tenant, counts.c.day, *sums)
        .select_from(shapes.join(counts, counts.c.shape == shapes.c.id))
        .where(shapes.c.client == client, shapes.c.reason == "", counts.c.day > day_of(since))
        .group_by(counts.c.tenant, counts.c.day)
        .having(or_(*limits))
        .order_by(counts.c.day.desc(), counts.c.tenant)
        .limit(PLACES_BOUND)
    )
    return [
        BusyDay(tenant, date_of(day), int(permitted), int(changed))
        for tenant, day, permitted, changed in tx.execute(query)
    ]


def read_places(
    tx: Connection, clients: Collection[str], since: datetime, kinds: Collection[tuple[str, str, str]]
) -> Iterator[tuple[str, str, str]]:
    """Stream the tenants at which some clients were permitted some kinds since the day of a moment: interaction, type, tenant.

    A kind is an interaction, a type, and what permitted it.
    """
    named = tuple_(shapes.c.interaction, shapes.c.resource_type, shapes.c.rule)
    for batch in in_batches(clients):
        query = (
            select(shapes.c.interaction, shapes.c.resource_type, counts.c.tenant)
            .select_from(shapes.join(counts, counts.c.shape == shapes.c.id))
            .where(shapes.c.client.in_(batch), shapes.c.reason == "", counts.c.day >= day_of(since))
            .where(named.in_(list(kinds)))
            .distinct()
            .order_by(counts.c.tenant, shapes.c.interaction, shapes.c.resource_type)
            .limit(PLACES_BOUND)
        )
        for row in tx.execute(query):
            yield row.interaction, row.resource_type, row.tenant


def read_used(tx: Connection, clients: Collection[str], since: datetime) -> Iterator[tuple[str, str, str]]:
    """Stream what was permitted to some clients since the day of a moment, each once: interaction, type, tenant.

    As many rows as types and interactions at all hospitals, whatever the traffic.
    """
    for batch in in_batches(clients):
        query = (
            select(shapes.c.interaction, shapes.c.resource_type, counts.c.tenant)
            .select_from(shapes.join(counts, counts.c.shape == shapes.c.id))
            .where(shapes.c.client.in_(batch), shapes.c.reason == "", shapes.c.rule != OWN_RECORD)
            .where(counts.c.day >= day_of(since))
            .distinct()
        )
        for row in tx.execute(query):
            yield row.interaction, row.resource_type, row.tenant


def total(tx: Connection, since: datetime) -> int:
    """Return how many decisions were counted since the day of a moment."""
    asked = select(func.sum(days.c.number)).where(days.c.day >= day_of(since))
    return int(tx.execute(asked).scalar_one() or 0)


def purge(tx: Connection, before: datetime) -> int:
    """Delete up to PURGE_BATCH counts of days before that of a moment, or else shapes without a count; return how many."""
    key = tuple_(counts.c.shape, counts.c.tenant, counts.c.day)
    old = select(counts.c.shape, counts.c.tenant, counts.c.day).where(counts.c.day < day_of(before))
    removed = tx.execute(delete(counts).where(key.in_(old.limit(PURGE_BATCH)))).rowcount
    if removed:
        return removed
    tx.execute(delete(days).where(days.c.day < day_of(before)))
    unused = select(shapes.c.id).where(~exists().where(counts.c.shape == shapes.c.id)).limit(BATCH_SIZE)
    return tx.execute(delete(shapes).where(shapes.c.id.in_(unused))).rowcount


def _purge(tx: Connection, now: datetime) -> int:
    return purge(tx, now - COUNTED_FOR) or decision_slots.purge(tx, now) or service_counts.purge(tx, now)


class DecisionCounts:
    """The counts in their database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def update(self, journals: JournalReader, now: datetime, may_continue: Callable[[], bool]) -> None:
        """Count the records since the last call, the first time those of ``COUNTED_FOR``, and delete older counts."""
        with lanes.using(Lane.OWN), closing(journals):
            since = now - COUNTED_FOR
            self._database.write(fill_days)
            if not self._database.read(positions):
                self._database.write(partial(begin, starts=journals.starts(since)))
            while may_continue():
                found = journals.after(self._database.read(positions), COUNT_BATCH)
                if not found:
                    break
                self._database.write(partial(add, found=found))
            while may_continue() and self._database.write(partial(_purge, now=now)):
                pass

    def about(
        self,
        clients: Collection[str],
        since: datetime,
        matters: Callable[[DecisionShape], bool] = lambda _: True,
    ) -> list[DecisionCount]:
        """Return the decisions about some clients since the day of a moment; of shapes that do not matter nothing is read."""
        with lanes.using(Lane.OWN):
            return self._database.read(lambda tx: list(read(tx, clients, since, matters)))

    def permits(self, clients: Collection[str], since: datetime, tenant: str) -> list[PermitCount]:
        """Return what was permitted to some clients since the day of a moment, in the caller's lane."""
        return self._database.read(lambda tx: list(read_permits(tx, clients, since, tenant)))

    def busy_days(self, client: str, since: datetime, calls: int | None, writes: int | None) -> list[BusyDay]:
        """Return the days on which a client did more at one tenant than so much, in the caller's lane."""
        return self._database.read(lambda tx: read_busy_days(tx, client, since, calls, writes))

    def places(
        self, clients: Collection[str], since: datetime, kinds: Collection[tuple[str, str, str]]
    ) -> list[tuple[str, str, str]]:
        """Return the tenants at which some kinds were permitted, in the caller's lane."""
        return self._database.read(lambda tx: list(read_places(tx, clients, since, kinds)))

    def used(self, clients: Collection[str], since: datetime) -> list[tuple[str, str, str]]:
        """Return what was permitted to some clients and where, in the caller's lane."""
        return self._database.read(lambda tx: list(read_used(tx, clients, since)))

    def traffic(
        self, since: datetime, until: datetime, tenants: Collection[str] | None
    ) -> dict[str, Traffic]:
        """Return the traffic of each app at some tenants, or with None at all, by slots of ten minutes."""
        verb = partial(decision_slots.read, since=since, until=until, tenants=tenants)
        with lanes.using(Lane.OWN):
            return self._database.read(verb)

    def served_recently(
        self, since: datetime, after: tuple[str, str], limit: int
    ) -> dict[tuple[str, str], Served]:
        """Return, by tenant and app, how calls from the ten minutes of a moment on ended, of the next pairs in order after one."""
        verb = partial(service_counts.read_recent, since=since, after=after, limit=limit)
        with lanes.using(Lane.OWN):
            return self._database.read(verb)

    def called_among(self, since: datetime, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return at which of some tenants, and by which apps, there were calls from the ten minutes of a moment on."""
        with lanes.using(Lane.OWN):
            return self._database.read(partial(service_counts.called_among, since=since, pairs=pairs))

    def served_by_day(self, app: str, since: datetime, tenant: str) -> dict[date, Served]:
        """Return how the calls of an app ended on each day, at one tenant or (empty) at all together, in the caller's lane."""
        return self._database.read(lambda tx: service_counts.read_days(tx, app, since, tenant))

    def served_by_tenant(self, app: str, since: datetime, tenant: str) -> dict[str, Served]:
        """Return how the calls of an app ended at each tenant, or (not empty) at one, the busiest first, in the caller's lane."""
        return self._database.read(lambda tx: service_counts.read_tenants(tx, app, since, tenant))

    def served_totals(self, tenants: Collection[str], since: datetime) -> dict[str, Served]:
        """Return how the calls of all apps at some tenants ended since the day of a moment, in the caller's lane."""
        return self._database.read(partial(service_counts.read_totals, tenants=tenants, since=since))

    def total(self, since: datetime) -> int:
        """Return how many decisions were counted since the day of a moment."""
        with lanes.using(Lane.OWN):
            return self._database.read(partial(total, since=since))


def find_counts(database_url: str, directory: Path) -> DecisionCounts | None:
    """Open the counts to read them; None if nothing was counted yet."""
    # A reader creates no file: that is the counting job's.
    if not database_url.startswith("postgresql") and not (directory / FILE).exists():
        return None
    database = open_beside(database_url, directory / FILE, ())
    # Asked until it has them, and no more: a night reads the counts several times for each app.
    if database.url not in _complete:
        if not has_all(database, TABLES):
            return None
        _complete.add(database.url)
    return DecisionCounts(database)


def open_counts(database_url: str, directory: Path) -> DecisionCounts:
    """Open the counts: in the control plane's PostgreSQL, else in a file beside the journals."""
    return DecisionCounts(open_beside(database_url, directory / FILE, TABLES))
