"""The nodes that serve one platform, and leases, which let one of them at a time do a job.

All times are the database's, so that nodes with different clocks agree on which nodes are live and which leases have expired.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    String,
    Table,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.times import EPOCH, from_micros

BEAT = timedelta(seconds=5)
"""How often a node reports itself."""
LIVE_FOR = timedelta(seconds=20)
"""A node is live until it was not seen for this time."""
LISTED_FOR = timedelta(hours=1)
"""A node not seen for this time is deleted from the list."""
NODES_BOUND = 200
LEASE_LOST = "lease_lost"
NAME_BOUND = 80
_SKEW_BOUND_MS = 2**31 - 1
_LEFT = "left"
"""The value of ``closed`` after an orderly stop."""

node = Table(
    "node",
    metadata,
    Column("name", String(NAME_BOUND), primary_key=True),
    Column("workers", Integer, nullable=False),
    Column("release", String(32), nullable=False),
    Column("boot", String(64), nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("skew_ms", Integer, nullable=False),
    Column("closed", String(32), nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(160), nullable=False),
    # Not the time alone: a holder that slept past its lease does not notice, but its fence is then too old.
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Node:
    """One node. ``release`` is its newest migration; ``closed`` the schema state because of which it does not serve, or empty.

    ``skew`` is how far its clock is ahead of the database's.
    """

    name: str
    workers: int
    release: str
    boot: str
    seen_at: datetime = EPOCH
    skew: timedelta = timedelta(0)
    closed: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease, which its holder has until ``expires_at``. ``fence`` grows with each change of holder, so that a late holder is detected."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


def name_of(data_dir: Path, configured: str = "") -> str:
    """Return a node's name: ``configured``, else the host's name with a digest of the data directory, since one host may run several."""
    if configured:
        return configured[:NAME_BOUND]
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:6]
    return f"{os.uname().nodename[: NAME_BOUND - 7]}-{digest}"


def database_now(tx: Connection) -> datetime:
    """Return the database's present time; unlike ``now()`` in SQL, it advances within a transaction."""
    micros: int = tx.execute(select(_now(tx.dialect.name))).scalar_one()
    return from_micros(micros)


def _now(dialect: str) -> ColumnElement[int]:
    if dialect == "postgresql":
        return literal_column("(extract(epoch from clock_timestamp()) * 1000000)::bigint")
    return literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)")


LISTED = PreparedStatement(
    lambda dialect: (
        select(*node.c, _now(dialect).label("now"))
        .where(node.c.closed != _LEFT)
        .order_by(node.c.name)
        .limit(NODES_BOUND)
    ),
    *node.c,
    literal_column("now").label("now"),
)


def report(tx: Connection, me: Node, *, leads: bool = True) -> None:
    """Add a node to the list or update its entry, and delete nodes not seen for LISTED_FOR.

    A node that has left is listed again under the same boot only by the process that ``leads``: a worker that is still stopping must not.
    """
    now = database_now(tx)
    values = {
        "workers": me.workers,
        "release": me.release,
        "boot": me.boot,
        "seen_at": now,
        # Bounded to the column: a machine whose clock says 1970 must still report.
        "skew_ms": max(-_SKEW_BOUND_MS, min(_SKEW_BOUND_MS, round(me.skew.total_seconds() * 1000))),
        "closed": me.closed,
    }
    mine = update(node).where(node.c.name == me.name)
    if not leads:
        mine = mine.where(or_(node.c.boot != me.boot, node.c.closed != _LEFT))
    if tx.execute(mine.values(values)).rowcount == 0:
        tx.execute(insert_or_ignore(tx, node).values(values | {"name": me.name}))
    tx.execute(delete(node).where(node.c.seen_at < now - LISTED_FOR))


def leave(tx: Connection, name: str, boot: str) -> None:
    """Remove a node that stops from the list, unless it was restarted meanwhile (``boot`` differs)."""
    # Not deleted: a process of the node that beats once more must see that it has left.
    mine = update(node).where(node.c.name == name, node.c.boot == boot)
    tx.execute(mine.values(closed=_LEFT, seen_at=database_now(tx) - LIVE_FOR))


def list_nodes(tx: Connection) -> list[Node]:
    """List the nodes seen within LISTED_FOR, by name; ``live`` marks those seen within LIVE_FOR."""
    return read_nodes(LISTED.records(tx, {}))


def read_nodes(rows: Iterable[Any]) -> list[Node]:
    """Read the rows of ``LISTED``."""
    return [
        Node(
            name=row.name,
            workers=row.workers,
            release=row.release,
            boot=row.boot,
            seen_at=row.seen_at,
            skew=timedelta(milliseconds=row.skew_ms),
            closed=row.closed,
            live=from_micros(row.now) - row.seen_at < LIVE_FOR,
        )
        for row in rows
    ]


def count_live(tx: Connection) -> int:
    """Count the live nodes."""
    since = database_now(tx) - LIVE_FOR
    counted = tx.execute(select(func.count()).select_from(node).where(node.c.seen_at > since))
    return int(counted.scalar_one())


def acquire(tx: Connection, name: str, holder: str, life: timedelta) -> Lease | None:
    """Acquire or renew a lease; return None while another holder has it. A new holder gets a higher fence."""
    now = database_now(tx)
    ends = now + life
    # The row must exist before it is locked: FOR UPDATE locks nothing where there is no row, so two
    # nodes could both acquire it.
    tx.execute(insert_or_ignore(tx, lease).values(name=name, holder="", fence=0, expires_at=EPOCH))
    # SKIP LOCKED: a row that another node is renewing counts as held, so no node waits here.
    row = tx.execute(
        select(lease).where(lease.c.name == name).with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None or (row.holder != holder and row.expires_at > now):
        return None
    # Renewing keeps the fence. After an expiry even the same holder gets a new one, since another
    # may have run the job meanwhile.
    fence = row.fence if row.holder == holder and row.expires_at > now else row.fence + 1
    tx.execute(update(lease).where(lease.c.name == name).values(holder=holder, fence=fence, expires_at=ends))
    return Lease(name, holder, fence, ends)


def require(tx: Connection, held: Lease) -> None:
    """Check that ``held`` is still the current lease, and lock it: no other node can acquire it before this transaction ends.

    Call it in the transaction that does the work. Raises Conflict.
    """
    # The check and the job's writes are one transaction: a holder that slept past its lease between
    # the two would overwrite its successor's work. The lock is shared; acquire skips a locked row.
    is_held = (lease.c.name == held.name, lease.c.holder == held.holder, lease.c.fence == held.fence)
    fence = tx.execute(select(lease.c.fence).where(*is_held).with_for_update(read=True)).scalar_one_or_none()
    if fence is None:
        raise lost(held.name)


def lost(name: str) -> Conflict:
    """Build the error of a job whose lease was lost."""
    return Conflict(LEASE_LOST, f"Another node now holds the lease {name}.")


def release(tx: Connection, held: Lease) -> None:
    """Release a lease before it expires, so that another node can acquire it at once."""
    is_held = (lease.c.name == held.name, lease.c.holder == held.holder, lease.c.fence == held.fence)
    # Not deleted: the row keeps the fence, which must keep growing.
    tx.execute(update(lease).where(*is_held).values(expires_at=EPOCH))


def list_leases(tx: Connection) -> list[Lease]:
    """List every lease that a node ever had, by name."""
    rows = tx.execute(select(lease).where(lease.c.fence > 0).order_by(lease.c.name))
    return [Lease(row.name, row.holder, row.fence, row.expires_at) for row in rows]


def expire_leases(tx: Connection) -> None:
    """Expire every lease: after a restore, holders from before it must not continue."""
    tx.execute(update(lease).values(expires_at=EPOCH))
