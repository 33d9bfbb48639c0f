"""The tables of the tree: leaves, nodes and heads. Heads are only ever added."""

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any

from sqlalchemy import Column, Connection, Index, Integer, Row, String, Table, func, select, text

from hilum.attestations.models import DEPTH, DIGITS, SUBJECT_BOUND, WHOLE_FROM, Head, Part
from hilum.attestations.policy import GONE, parents_of, place_of
from hilum.infra.db import in_batches, insert_or_ignore, metadata
from hilum.infra.prepared_statements import PreparedStatement
from hilum.infra.unreadable import Moment

_LOCK = 0x415454455354
"""The advisory lock under which the tree changes on PostgreSQL: the letters of ATTEST. On SQLite there is one writer anyway."""

leaves = Table(
    "attestations_leaf",
    metadata,
    Column("subject", String(SUBJECT_BOUND), primary_key=True),
    Column("place", String(DEPTH), nullable=False),
    Column("digest", String(64), nullable=False),
    Index(None, "place"),
)
nodes = Table(
    "attestations_node",
    metadata,
    Column("place", String(DEPTH), primary_key=True),
    Column("parent", String(DEPTH), nullable=False),
    Column("digest", String(64), nullable=False),
    Index(None, "parent"),
)
tree_heads = Table(
    "attestations_head",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("root", String(64), nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)
_NEWEST_NUMBER = PreparedStatement(select(func.max(tree_heads.c.number)), tree_heads.c.number)
_NEWEST_HEAD = PreparedStatement(
    select(tree_heads).order_by(tree_heads.c.number.desc()).limit(1), *tree_heads.c
)


def lock(tx: Connection) -> None:
    """Lock the tree against changes by other transactions until this one ends."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def newest_number(tx: Connection) -> int:
    return int(_NEWEST_NUMBER.rows(tx)[0][0] or 0)


def newest_head(tx: Connection) -> Head | None:
    return next(map(_head, _NEWEST_HEAD.records(tx, {})), None)


def numbered_heads(tx: Connection, numbers: Collection[int]) -> list[Head]:
    """Read the heads with these numbers, as far as they exist."""
    return [_head(row) for row in tx.execute(select(tree_heads).where(tree_heads.c.number.in_(numbers)))]


def add_head(tx: Connection, head: Head) -> bool:
    """Add a head; return False if its number is taken."""
    row = {column.name: getattr(head, column.name) for column in tree_heads.c}
    return tx.execute(insert_or_ignore(tx, tree_heads).values(row)).rowcount == 1


def read_part(tx: Connection, places: Collection[str]) -> Part:
    """Read the leaves of some buckets, and the sibling nodes on their paths to the root."""
    buckets: dict[str, dict[str, str]] = {place: {} for place in places}
    if len(places) > WHOLE_FROM:
        # The whole tree in one read: then there are no siblings.
        for place, subject, digest in read_leaves(tx):
            buckets.setdefault(place, {})[subject] = digest
        return Part(buckets, {})
    for batch in in_batches(places):
        columns = select(leaves.c.place, leaves.c.subject, leaves.c.digest)
        for place, subject, digest in tx.execute(columns.where(leaves.c.place.in_(batch))):
            buckets[place][str(subject)] = str(digest)
    beside: dict[str, str] = {}
    for batch in in_batches(parents_of(places)):
        columns = select(nodes.c.place, nodes.c.digest)
        beside |= {row.place: str(row.digest) for row in tx.execute(columns.where(nodes.c.parent.in_(batch)))}
    return Part(buckets, beside)


def read_below(tx: Connection, parent: str) -> Part:
    """Read every bucket below a node, also those without leaves, and every node below it."""
    stored = read_stored(tx, parent)
    every = ("".join(each) for each in product(DIGITS, repeat=DEPTH - len(parent)))
    # A leaf that somebody wrote at a place that does not exist is in no bucket.
    return Part(
        {place: stored.buckets.get(place, {}) for place in (parent + each for each in every)}, stored.nodes
    )


def read_stored(tx: Connection, parent: str = "") -> Part:
    """Read every leaf and every node below a node, as they are stored."""

    def within(column: Column[Any]) -> Any:
        # "g" follows every digit.
        return column.between(parent, f"{parent}g")

    buckets: dict[str, dict[str, str]] = {}
    columns = select(leaves.c.place, leaves.c.subject, leaves.c.digest).where(within(leaves.c.place))
    for place, subject, digest in tx.execute(columns):
        buckets.setdefault(str(place), {})[str(subject)] = str(digest)
    # By its parent, as ``read_part`` finds it: one whose parent somebody changed is missing for both.
    found = tx.execute(select(nodes.c.place, nodes.c.digest).where(within(nodes.c.parent)))
    return Part(buckets, {str(row.place): str(row.digest) for row in found})


def save(tx: Connection, states: Mapping[str, str], digests: Mapping[str, str]) -> None:
    """Save leaves, and the nodes on their paths to the root, by their digests; the root itself is in the head."""
    leaf_rows = [
        {"subject": each, "place": place_of(each), "digest": digest}
        for each, digest in states.items()
        if digest != GONE
    ]
    for batch in in_batches(states):
        tx.execute(leaves.delete().where(leaves.c.subject.in_(batch)))
    for some in in_batches(leaf_rows):
        tx.execute(leaves.insert(), some)
    node_rows = [
        {"place": place, "parent": place[:-1], "digest": digest} for place, digest in digests.items() if place
    ]
    for batch in in_batches([each["place"] for each in node_rows]):
        tx.execute(nodes.delete().where(nodes.c.place.in_(batch)))
    for some in in_batches(each for each in node_rows if each["digest"]):
        tx.execute(nodes.insert(), some)


def read_leaves(tx: Connection) -> Iterator[tuple[str, str, str]]:
    """Read every leaf: place, subject and digest."""
    columns = select(leaves.c.place, leaves.c.subject, leaves.c.digest)
    # In SQLite somebody may have written a value of another type, of which there is no digest.
    return ((str(place), str(subject), str(digest)) for place, subject, digest in tx.execute(columns))


def clear(tx: Connection) -> None:
    """Delete every leaf and node, before all rows are signed again."""
    tx.execute(leaves.delete())
    tx.execute(nodes.delete())


def _head(row: Row[Any]) -> Head:
    return Head(row.number, row.root, row.made_at, row.previous, row.kid, row.signature)
