"""Tables of switches, ends of full stops and quotas."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
)
from sqlalchemy import tuple_ as pair

from hilum.controls.switches.models import (
    SETTLE_BATCH,
    SWITCH_SORTS,
    Mode,
    Quota,
    QuotaLevel,
    QuotaOverride,
    Switch,
    Target,
    TargetKind,
)
from hilum.foundation.infra import nodes
from hilum.foundation.infra.db import Instant, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.prepared_statements import PreparedStatement, prepare_insert, read_together
from hilum.foundation.infra.rows import Parts, Rows, given
from hilum.foundation.infra.sorting import newest_first, paged
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery

ROWS_AT_ONCE = 2_000
FEW = 4
"""The most targets that one prepared statement looks up. A person's credential is judged by fewer."""
Stops = tuple[list[Switch], list[tuple[Target, datetime]]]
"""Switches in force, and when full stops on their targets ended."""

switches = Table(
    "control_switch",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("key", String(600), nullable=False),
    Column("mode", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("engaged_by", String(120), nullable=False),
    Column("engaged_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("released_by", String(120), nullable=False),
    Column("released_at", Instant),
    Column("release_asked_by", String(120), nullable=False),
    Column("release_asked_at", Instant),
    Column("over_at", Instant),
    # The lists of a tenant's administrator are paged by id within the tenant.
    Index(None, "tenant", "id"),
    # What happened to an app lists the switches on it, also those that are over.
    Index(None, "kind", "key", "id"),
    Index(
        "ix_control_switch_eligibility",
        "kind",
        "key",
        # Partial: released switches stay as history and must not slow down what enforcement reads.
        sqlite_where=text("over_at IS NULL"),
        postgresql_where=text("over_at IS NULL"),
    ),
    Index(
        "ix_control_switch_expiring",
        "expires_at",
        sqlite_where=text("over_at IS NULL"),
        postgresql_where=text("over_at IS NULL"),
    ),
)
"""``over_at``: when a switch was released, or expired and was settled (``settle_expired``); NULL for those in force."""

ends = Table(
    "control_not_issued_before",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("key", String(600), primary_key=True),
    # One row for each target, with the latest end, so that the table is bounded by targets and not by stops.
    Column("at", Instant, nullable=False),
)

quotas = Table(
    "control_quota",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("tenant", String(64), primary_key=True),
    Column("level", String(10), primary_key=True),
    Column("rate_per_s", Float, nullable=False),
    Column("burst", Integer, nullable=False),
    Column("set_by", String(120), nullable=False),
    Column("set_at", Instant, nullable=False),
    Index(None, "tenant", "app", "level"),
)


SWITCHES = Rows(switches, Switch, "switch", target=Parts(Target))
QUOTAS = Rows(quotas, QuotaOverride, quota=Parts(Quota))
_ADD_SWITCH = prepare_insert(switches)


def append_switch(tx: Connection, switch: Switch) -> None:
    _ADD_SWITCH.enqueue(tx, SWITCHES.row(switch) | {"over_at": None})


def list_switches(tx: Connection, *, tenant: str | None = None, page: PageQuery = FIRST_PAGE) -> list[Switch]:
    """List switches, newest first or in the page's order; of one tenant if given."""
    return SWITCHES.read(tx, _in_order(SWITCHES.select(**given(tenant=tenant)), page))


def browse_switches(
    tx: Connection, now: datetime, *, tenant: str | None, in_force: bool | None, kind: str, page: PageQuery
) -> list[Switch]:
    """List switches, newest first: of one tenant, in force or over, of one kind, each if given."""
    of_state = [] if in_force is None else [_in_force(now) if in_force else not_(_in_force(now))]
    query = SWITCHES.select(*of_state, **given(tenant=tenant, kind=kind or None))
    return SWITCHES.read(tx, _in_order(query, page))


def list_newest_on(tx: Connection, targets: Iterable[Target], limit: int) -> list[Switch]:
    """List the newest switches on these targets, in force or over. They must be few enough for one statement."""
    here = pair(switches.c.kind, switches.c.key).in_([(each.kind.value, each.key) for each in targets])
    return SWITCHES.read(tx, SWITCHES.select(here).order_by(switches.c.id.desc()).limit(limit))


def list_within_hospitals(tx: Connection, apps: Iterable[str], now: datetime) -> list[Switch]:
    """List the switches in force on whole hospitals, and on any of these apps at one hospital."""
    at_one = [switches.c.key.startswith(f"{app}/", autoescape=True) for app in apps]
    here = or_(
        switches.c.kind == TargetKind.TENANT.value,
        and_(switches.c.kind == TargetKind.APP_TENANT.value, or_(*at_one)),
    )
    return SWITCHES.read(tx, _eligibility(now, here))


def list_release_asked(tx: Connection, now: datetime, limit: int) -> list[Switch]:
    """List the switches in force whose release one person asked for, oldest first."""
    return SWITCHES.read(tx, _eligibility(now, switches.c.release_asked_at.is_not(None)).limit(limit))


def _in_order(query: Select[Any], page: PageQuery) -> Select[Any]:
    """Return a page of switches, newest first or in the order that it asks for."""
    if page.sort:
        return paged(query, switches, SWITCH_SORTS, page)
    return newest_first(query, switches, page)


def _in_force(now: Any) -> Any:
    return and_(
        switches.c.over_at.is_(None), or_(switches.c.expires_at.is_(None), switches.c.expires_at > now)
    )


def count_in_force(tx: Connection, now: datetime, *, tenant: str | None = None) -> int:
    return SWITCHES.count(tx, _in_force(now), **given(tenant=tenant))


def before_engaging(tx: Connection, now: datetime) -> tuple[int, list[Node]]:
    """Return how many switches are in force, and the nodes on record: all that a stop needs besides its target, in one round trip."""
    counted, listed = read_together(tx, (_COUNT_IN_FORCE, {"now": now}), (nodes.LISTED, {}))
    return counted[0].n, nodes.read_nodes(listed)


def list_stops(tx: Connection, now: datetime, *, ended_since: datetime) -> Stops:
    """List every switch in force, and the end of the last full stop on each target. Unbounded: enforcement needs all of them."""
    return _EVERYWHERE.read(tx, {"since": ended_since}, now)


def list_stops_on(
    tx: Connection, targets: Iterable[Target], now: datetime, *, and_scopes: bool = False
) -> Stops:
    """List the same for these targets, and with ``and_scopes`` for every scope. Unbounded."""
    found: Stops = [], []
    keys = [(target.kind.value, target.key) for target in targets]
    # Switches on scopes are compared with the subject's scopes, so all of them are needed. What stops a
    # person never needs them: ten thousand would be read at each request.
    if and_scopes:
        _extend(found, _ON_SCOPES.read(tx, {}, now))
    if 0 < len(keys) <= FEW:
        _extend(found, _ON_FEW.read(tx, _values_of_few(keys), now))
        return found
    for some in in_batches(keys):
        here = pair(switches.c.kind, switches.c.key).in_(some)
        _extend(found, _stops(tx, now, here, pair(ends.c.kind, ends.c.key).in_(some)))
    return found


def _extend(
    found: Stops,
    more: Stops,
) -> None:
    found[0].extend(more[0])
    found[1].extend(more[1])


def _stops(tx: Connection, now: datetime, here: ColumnElement[bool], ended: ColumnElement[bool]) -> Stops:
    """List the switches in force that match ``here``, and when full stops ended: by release (``ended``) or by expiry."""
    # Of those that expired some wait for the job that records their end. They count, so that enforcement
    # never depends on the job.
    queries = (select(ends).where(ended), _ran_out(now, here))
    moments = [_moment(row) for query in queries for row in tx.execute(query)]
    return SWITCHES.read(tx, _eligibility(now, here)), moments


def _eligibility(now: Any, here: ColumnElement[bool]) -> Select[Any]:
    return select(switches).where(_in_force(now), here).order_by(switches.c.id)


def _ran_out(now: Any, here: ColumnElement[bool]) -> Select[Any]:
    # Grouped in the database, since one target may have many expired switches.
    return (
        select(switches.c.kind, switches.c.key, func.max(switches.c.expires_at).label("at"))
        .where(switches.c.over_at.is_(None), here)
        .where(switches.c.mode == Mode.FULL_STOP.value, switches.c.expires_at <= now)
        .group_by(switches.c.kind, switches.c.key)
    )


def _moment(row: Any) -> tuple[Target, datetime]:
    return Target(TargetKind(row.kind), row.key), row.at


def _one_of_few(table: Table) -> ColumnElement[bool]:
    return or_(
        *(
            and_(table.c.kind == bindparam(f"kind_{at}"), table.c.key == bindparam(f"key_{at}"))
            for at in range(FEW)
        )
    )


class _Prepared:
    """What ``_stops`` lists, by statements that are compiled once."""

    def __init__(self, here: ColumnElement[bool], ended: ColumnElement[bool]) -> None:
        now = bindparam("now", type_=Instant())
        self._eligibility = PreparedStatement(_eligibility(now, here), *switches.c)
        self._ended = PreparedStatement(select(ends).where(ended), *ends.c)
        self._ran_out = PreparedStatement(_ran_out(now, here), ends.c.kind, ends.c.key, ends.c.at)

    def read(self, tx: Connection, values: dict[str, Any], now: datetime) -> Stops:
        timed = values | {"now": now}
        ended, ran_out, engaged = read_together(
            tx, (self._ended, values), (self._ran_out, timed), (self._eligibility, timed)
        )
        return [SWITCHES.of(row) for row in engaged], [_moment(row) for row in (*ended, *ran_out)]


# What is asked at each call of the API and of a page, and by each snapshot.
_ON_FEW = _Prepared(_one_of_few(switches), _one_of_few(ends))
_EVERYWHERE = _Prepared(true(), ends.c.at > bindparam("since", type_=Instant()))
_COUNT_IN_FORCE = PreparedStatement(
    select(func.count().label("n")).select_from(switches).where(_in_force(bindparam("now", type_=Instant()))),
    func.count().label("n"),
)
_ON_SCOPES = _Prepared(switches.c.kind == TargetKind.SCOPE.value, ends.c.kind == TargetKind.SCOPE.value)


def _values_of_few(keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    # The last one fills up the rest: to ask for a target twice finds it once.
    filled = [*keys, *[keys[-1]] * (FEW - len(keys))]
    values: dict[str, Any] = {f"kind_{at}": kind for at, (kind, _) in enumerate(filled)}
    return values | {f"key_{at}": key for at, (_, key) in enumerate(filled)}


def settle_expired(tx: Connection, now: datetime) -> int:
    """Mark expired switches as over, and record the end of a full stop once for each target. Return how many."""
    # Oldest first and bounded, so that the transaction is short; the job calls again.
    rows = tx.execute(
        select(switches.c.id, switches.c.kind, switches.c.key, switches.c.mode, switches.c.expires_at)
        .where(switches.c.over_at.is_(None), switches.c.expires_at <= now)
        .order_by(switches.c.expires_at)
        .limit(SETTLE_BATCH)
    ).all()
    last: dict[Target, datetime] = {}
    for row in rows:
        if row.mode == Mode.FULL_STOP.value:
            target = Target(TargetKind(row.kind), row.key)
            last[target] = max(row.expires_at, last.get(target, row.expires_at))
    for target in sorted(last, key=str):  # in one order, so that two nodes cannot deadlock
        save_end(tx, target, last[target])
    # The end is written before the switch leaves the partial index, in one transaction.
    settled = switches.c.id.in_([row.id for row in rows])
    if rows:
        tx.execute(
            switches.update()
            .where(settled, switches.c.over_at.is_(None))
            # The moment of expiry, not of settling: the job may run minutes later.
            .values(over_at=switches.c.expires_at)
        )
    return len(rows)


def save_release_asked(tx: Connection, switch_id: str, *, by: str, at: datetime) -> bool:
    """Record the first person's request to release a switch; return False if it was released meanwhile."""
    # A later request replaces an earlier one: the newest person is the first of two.
    values = {"release_asked_by": by, "release_asked_at": at}
    return SWITCHES.change(tx, values, id=switch_id, released_at=None) == 1


def save_released(tx: Connection, switch: Switch, *, by: str, at: datetime) -> bool:
    """Release a switch in one statement; return False if it was released, or its release requested, concurrently."""
    # Optimistic: whoever decided on an older state gets a conflict and reads again.
    as_read = {"id": switch.id, "released_at": None, "release_asked_by": switch.release_asked_by}
    return SWITCHES.change(tx, {"released_by": by, "released_at": at, "over_at": at}, **as_read) == 1


def save_end(tx: Connection, target: Target, at: datetime) -> None:
    """Record that what was issued for a target until ``at`` is invalid; a later recorded time stays."""
    key = {"kind": target.kind.value, "key": target.key}
    # Insert, else raise the time. An upsert with a condition is written differently in the two databases;
    # these two statements are the same in both.
    if tx.execute(insert_or_ignore(tx, ends).values(**key, at=at)).rowcount == 1:
        return
    # Never back: two nodes may end stops on one target in either order.
    same = and_(ends.c.kind == key["kind"], ends.c.key == key["key"], ends.c.at < at)
    tx.execute(ends.update().where(same).values(at=at))


def list_quotas(
    tx: Connection, *, tenant: str | None = None, page: PageQuery = FIRST_PAGE
) -> list[QuotaOverride]:
    """List quotas by app, tenant and level; of one tenant if given. ``page.after`` is a ``QuotaOverride.key``."""
    key = {"app": quotas.c.app, "tenant": quotas.c.tenant, "level": quotas.c.level}
    query = QUOTAS.select(**given(tenant=tenant)).limit(page.limit)
    if tenant is not None:
        del key["tenant"]  # equal in every row; the index by tenant is ordered by the other two
    if page.after:
        last = dict(zip(("app", "tenant", "level"), (*page.after.split("~"), "", ""), strict=False))
        query = query.where(pair(*key.values()) > pair(*(literal(last[name]) for name in key)))
    return QUOTAS.read(tx, query.order_by(*key.values()))


def read_quotas(
    tx: Connection, of: Collection[tuple[str, str]] | None = None
) -> Iterator[tuple[str, str, QuotaLevel, Quota]]:
    """Yield the overrides of these (app, tenant), by default of all; equal quotas share one object. Unbounded."""
    query = select(quotas.c.app, quotas.c.tenant, quotas.c.level, quotas.c.rate_per_s, quotas.c.burst)
    here = pair(quotas.c.app, quotas.c.tenant)
    queries = [query] if of is None else [query.where(here.in_(some)) for some in in_batches(of)]
    levels = {level.value: level for level in QuotaLevel}
    shared: dict[tuple[float, int], Quota] = {}
    # Streamed: a million overrides are read in parts and never held as rows.
    found = (tx.execute(each, execution_options={"yield_per": ROWS_AT_ONCE}).partitions() for each in queries)
    for app, tenant, level, rate, burst in chain.from_iterable(chain.from_iterable(found)):
        # Most overrides have one of a few values, and a million
        # separate objects would be a large part of a worker's memory.
        quota = shared.get((rate, burst))
        if quota is None:
            quota = shared[rate, burst] = Quota(rate, burst)
        yield app, tenant, levels[level], quota
