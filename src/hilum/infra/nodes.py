"""The nodes that serve one platform, as the database knows them, and leases: who of them does what only one may do at a time.

All times are the database's own, so that nodes whose clocks differ agree on who is there and whose lease is over.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

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
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from hilum.infra.db import EPOCH, Instant, insert_or_ignore, metadata
from hilum.kernel.errors import Conflict

BEAT = timedelta(seconds=5)
"""How often a node reports that it is there."""
LIVE_FOR = timedelta(seconds=20)
"""A node not seen for so long is not counted."""
LISTED_FOR = timedelta(hours=1)
"""And is listed no longer after this."""
NODES_BOUND = 200
LEASE_LOST = "lease_lost"
NAME_BOUND = 80

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
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Node:
    """One node. ``release`` is its newest migration, ``closed`` the standing for which it does not serve, empty when it serves.

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
    """What its holder may do until ``expires_at``. ``fence`` grows with each change of holder."""

    name: str
    holder: str
    fence: int
    expires_at: datetime


def name_of(data_dir: Path, given: str = "") -> str:
    """Return a node's name: as given, else the host's with a digest of where its data lies, so that two on one host differ."""
    if given:
        return given[:NAME_BOUND]
    where = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:6]
    return f"{os.uname().nodename[: NAME_BOUND - 7]}-{where}"


def database_now(tx: Connection) -> datetime:
    """Return the database's own time, which moves on within a transaction."""
    micros: int = tx.execute(select(_now(tx))).scalar_one()
    return EPOCH + timedelta(microseconds=micros)


def _now(tx: Connection) -> ColumnElement[int]:
    if tx.dialect.name == "postgresql":
        return literal_column("(extract(epoch from clock_timestamp()) * 1000000)::bigint")
    return literal_column("CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)")


def report(tx: Connection, me: Node) -> None:
    """Put a node on the list, or report that it is still there."""
    now = database_now(tx)
    changing = {
        "workers": me.workers,
        "release": me.release,
        "boot": me.boot,
        "seen_at": now,
        "skew_ms": round(me.skew.total_seconds() * 1000),
        "closed": me.closed,
    }
    if tx.execute(update(node).where(node.c.name == me.name).values(changing)).rowcount == 0:
        tx.execute(insert_or_ignore(tx, node).values(changing | {"name": me.name}))
    tx.execute(delete(node).where(node.c.seen_at < now - LISTED_FOR))


def leave(tx: Connection, name: str, boot: str) -> None:
    """Take a node that stops off the list, unless it was started again meanwhile."""
    tx.execute(delete(node).where(node.c.name == name, node.c.boot == boot))


def list_nodes(tx: Connection) -> list[Node]:
    """List the nodes that were there within the last hour, by name; ``live`` are those that are there now."""
    now = database_now(tx)
    found = select(node).order_by(node.c.name).limit(NODES_BOUND)
    return [
        Node(
            name=row.name,
            workers=row.workers,
            release=row.release,
            boot=row.boot,
            seen_at=row.seen_at,
            skew=timedelta(milliseconds=row.skew_ms),
            closed=row.closed,
            live=now - row.seen_at < LIVE_FOR,
        )
        for row in tx.execute(found)
    ]


def count_live(tx: Connection) -> int:
    """Count the nodes that are there now."""
    since = database_now(tx) - LIVE_FOR
    counted = tx.execute(select(func.count()).select_from(node).where(node.c.seen_at > since))
    return int(counted.scalar_one())


def acquire(tx: Connection, name: str, holder: str, life: timedelta) -> Lease | None:
    """Take or renew a lease; None while another holds it. A lease that ran out goes to whoever asks first, with a higher fence."""
    now = database_now(tx)
    ends = now + life
    tx.execute(insert_or_ignore(tx, lease).values(name=name, holder="", fence=0, expires_at=EPOCH))
    found = tx.execute(
        select(lease).where(lease.c.name == name).with_for_update(skip_locked=True)
    ).one_or_none()
    if found is None or (found.holder != holder and found.expires_at > now):
        return None
    fence = found.fence if found.holder == holder and found.expires_at > now else found.fence + 1
    tx.execute(update(lease).where(lease.c.name == name).values(holder=holder, fence=fence, expires_at=ends))
    return Lease(name, holder, fence, ends)


def require(tx: Connection, held: Lease) -> None:
    """Check, in the transaction of the work itself, that the lease is still ours; nobody can take it before this one ends.

    Raises Conflict.
    """
    mine = (lease.c.name == held.name, lease.c.holder == held.holder, lease.c.fence == held.fence)
    found = tx.execute(select(lease.c.fence).where(*mine).with_for_update(read=True)).scalar_one_or_none()
    if found is None:
        raise lost(held.name)


def lost(name: str) -> Conflict:
    """Return the refusal of work whose lease is another's."""
    return Conflict(LEASE_LOST, f"The lease {name} went to another node.")


def release(tx: Connection, held: Lease) -> None:
    """Let the next one have the lease at once."""
    mine = (lease.c.name == held.name, lease.c.holder == held.holder, lease.c.fence == held.fence)
    tx.execute(update(lease).where(*mine).values(expires_at=EPOCH))


def list_leases(tx: Connection) -> list[Lease]:
    """List every lease that was ever held, by name."""
    rows = tx.execute(select(lease).where(lease.c.fence > 0).order_by(lease.c.name))
    return [Lease(row.name, row.holder, row.fence, row.expires_at) for row in rows]


def forget_leases(tx: Connection) -> None:
    """Let every lease be free: whoever held it held it in another life of this database."""
    tx.execute(update(lease).values(expires_at=EPOCH))
