"""Traffic by ten minutes: how many decisions about an app at a tenant were refused, and how long the answers of the others took.

Counted beside the counts by day, in the same transaction and so exactly once, and kept for days only: who puts a version of the policy
in force everywhere sees by them what it did at chosen hospitals.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
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

from hilum.foundation.infra.db import metadata
from hilum.foundation.kernel.decision import Reason
from hilum.records.audit.counted_times import slot_of
from hilum.records.audit.models import LATENCY_EDGES_MS, PURGE_BATCH, SLOTS_KEPT, Access, Traffic

slots = Table(
    "decision_slot",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "app", "slot", "bucket"),
    Index("ix_decision_slot_slot", "slot"),
)
"""``slot``: tens of minutes since 1970-01-01. ``bucket``: the place of the latency among the edges; REFUSED for what was refused."""
REFUSED = -1
Key = tuple[str, str, int, int]
_NO_RULE_BOOKS = frozenset(
    {
        Reason.TOKEN_MISSING,
        Reason.REQUEST_UNSUPPORTED,
        Reason.TOKEN_INVALID,
        Reason.PROOF_INVALID,
        Reason.TOKEN_REVOKED,
        Reason.APP_SUSPENDED,
        Reason.SWITCH_ENGAGED,
        # Its tenant is the one of the address: an app of any hospital could otherwise spoil the figures of every other.
        Reason.TENANT_MISMATCH,
        Reason.APP_NOT_INSTALLED,
        Reason.APPROVER_MISSING,
        Reason.NETWORK_NOT_ALLOWED,
        Reason.FACILITY_NOT_ALLOWED,
        Reason.PERSON_INACTIVE,
        Reason.LAUNCH_ENDED,
        Reason.CONTEXT_MOVED,
        Reason.OUTSIDE_LAUNCH_CONTEXT,
        Reason.WRITE_REPEATED,
    }
)
"""Reasons that no policy brings about: what people decide beside it, and what an app can be refused for whenever it wants to be."""


def is_counted(access: Access) -> bool:
    """Check whether a decision says anything of a policy. A reason that is not known here does."""
    # Otherwise a kill switch, or an app that sends nonsense, would speak against a version that takes something away from it.
    return access.reason not in _NO_RULE_BOOKS


def key_of(access: Access, tenant: str) -> Key:
    """Return which count a decision belongs to."""
    bucket = REFUSED if access.reason else bisect_left(LATENCY_EDGES_MS, access.latency_us / 1_000)
    return tenant, access.app, slot_of(access.at), bucket


def save(tx: Connection, new: Counter[Key]) -> None:
    """Add to the counts."""
    names = ("tenant", "app", "slot", "bucket")
    # In one order, so that two writers never wait for each other's rows.
    values = [dict(zip(names, key, strict=True)) | {"number": number} for key, number in sorted(new.items())]
    insert = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(slots)
    more = {"number": slots.c.number + insert.excluded.number}
    tx.execute(insert.on_conflict_do_update(index_elements=names, set_=more), values)


def read(
    tx: Connection, since: datetime, until: datetime, tenants: Collection[str] | None
) -> dict[str, Traffic]:
    """Return the traffic of each app at some tenants, or with None at all, in the slots from one moment's to before another's."""
    query = (
        select(slots.c.app, slots.c.bucket, func.sum(slots.c.number))
        .where(slots.c.slot >= slot_of(since), slots.c.slot < slot_of(until))
        .group_by(slots.c.app, slots.c.bucket)
    )
    if tenants is not None:
        query = query.where(slots.c.tenant.in_(tenants))
    found: dict[str, Counter[int]] = {}
    for app, bucket, number in tx.execute(query):
        found.setdefault(app, Counter())[bucket] = int(number)
    places = range(len(LATENCY_EDGES_MS) + 1)
    return {
        app: Traffic(counted[REFUSED], tuple(counted[each] for each in places))
        for app, counted in found.items()
    }


def purge(tx: Connection, now: datetime) -> int:
    """Delete up to PURGE_BATCH counts that are older than they are kept; return how many."""
    key = tuple_(slots.c.tenant, slots.c.app, slots.c.slot, slots.c.bucket)
    old = select(slots.c.tenant, slots.c.app, slots.c.slot, slots.c.bucket).where(
        slots.c.slot < slot_of(now - SLOTS_KEPT)
    )
    return tx.execute(delete(slots).where(key.in_(old.limit(PURGE_BATCH)))).rowcount
