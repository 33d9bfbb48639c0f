"""The hash tree over signed rows, and whether a row matches it. Pure.

The digest of a node contains those of its children, down to the leaves, so the root covers every leaf. The path from a leaf to the root,
with its siblings, proves that the leaf is in the tree; a bucket without the leaf proves that it is not.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, is_dataclass
from datetime import UTC, datetime
from itertools import product
from types import MappingProxyType
from typing import Any

import orjson

from hilum.attestations.models import DEPTH, DIGITS, Head, Part, Proof

NOT_SIGNED = "It was never signed."
NOT_AS_SIGNED = "It does not match what was signed."
MISSING = "It was signed, but is missing."
UNPROVED = "What was signed of it is damaged."
"""It is unknown whether the row was signed."""
UNREADABLE = "One of its rows cannot be read, so the others were not compared."
GONE = ""
"""The state of a row that was removed properly: it has no leaf. Older releases kept a leaf with this digest."""
EMPTY = ""
"""The digest of a bucket or node with nothing below it."""
MIXED_BOUND = 6
"""Children of one node that are stored otherwise than they are computed, up to which every mixture of the two is tried."""
_DIGITS = frozenset(DIGITS)
Children = Mapping[str, str]
"""The digests of the sixteen children of a node, by place."""


def signed_moment(at: datetime | None) -> str:
    """Return a moment as it is signed; empty for none."""
    # By the instant: a request may state it in another zone than the database returns.
    return "" if at is None else at.astimezone(UTC).isoformat()


def digest_of(*state: object) -> str:
    """Return the digest of a row's state: of all fields that decide anything."""
    return hashlib.sha256(orjson.dumps([_plain(each) for each in state])).hexdigest()


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        # By position, so that renaming a field changes no digest.
        return [_plain(each) for each in astuple(value)]
    if isinstance(value, datetime):
        return signed_moment(value)
    if isinstance(value, Mapping):
        return sorted([str(key), _plain(each)] for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(each) for each in value)
    return value


def place_of(subject: str) -> str:
    """Return the bucket of a subject."""
    return hashlib.sha256(subject.encode()).hexdigest()[:DEPTH]


def parents_of(places: Iterable[str]) -> set[str]:
    """Return every node on the paths from some buckets to the root."""
    return {place[:depth] for place in places for depth in range(DEPTH)}


def children_of(place: str) -> list[str]:
    """Return the places below a node."""
    return [place + digit for digit in DIGITS]


def bucket_digest(leaves: Mapping[str, str]) -> str:
    """Return the digest of a bucket."""
    return _digest("bucket", sorted(leaves.items())) if leaves else EMPTY


def node_digest(children: Mapping[str, str]) -> str:
    """Return the digest of a node from those of its children, by their places."""
    return _digest("node", sorted(children.items())) if children else EMPTY


def _digest(what: str, found: list[tuple[str, str]]) -> str:
    return hashlib.sha256(orjson.dumps([what, found])).hexdigest()


def path_digests(part: Part) -> dict[str, str]:
    """Return the digests of a part's buckets and of every node on their paths to the root, whose place is the empty string."""
    found = {place: bucket_digest(leaves) for place, leaves in part.buckets.items()}
    level = set(part.buckets)
    for depth in range(DEPTH - 1, -1, -1):
        level = {place[:depth] for place in level}
        for parent in level:
            found[parent] = _digest_above(
                {place: found.get(place, part.nodes.get(place, EMPTY)) for place in children_of(parent)}
            )
    return found


def prove(
    part: Part,
    root: str,
    kept: Callable[[str], Children | None] = lambda _: None,
    *,
    before: Mapping[str, str] = MappingProxyType({}),
) -> Proof:
    """Return what a root proves of a part: from the root down, whatever has the digest that the proved node above it has (ADR 159).

    Each node is taken as it is stored, or as it is computed from what is below it. ``kept``: the children of a node with this digest that were proved before.
    ``before``: what the root proved of a smaller part, which stays proved: with more damage in sight, fewer nodes may be found again.
    """
    computed, digests, unknown = path_digests(part), {"": root, **before}, set[str]()
    for depth in range(DEPTH):
        for parent in {place[:depth] for place in part.buckets} & digests.keys():
            below = children_of(parent)
            if digests.keys() >= set(below):
                continue
            stored = {place: part.nodes.get(place, EMPTY) for place in below}
            here = {place: computed[place] for place in below if place in computed}
            readings = _readings(digests[parent], stored, here, kept)
            found = next((each for each in readings if _digest_above(each) == digests[parent]), None)
            if found is None:
                unknown.add(parent)
            else:
                digests |= found
    return Proof(digests, frozenset(unknown))


def _readings(
    digest: str, stored: Children, computed: Mapping[str, str], kept: Callable[[str], Children | None]
) -> Iterator[Children]:
    """Yield what the children of a node may be: as stored, as computed, as proved before, and each mixture of the first two where few differ."""
    yield stored
    if digest == EMPTY:
        yield dict.fromkeys(stored, EMPTY)
        return
    yield {**stored, **computed}
    if (before := kept(digest)) is not None:
        yield before
    apart = [place for place, each in computed.items() if stored[place] != each]
    if len(apart) <= MIXED_BOUND:
        for picked in product((False, True), repeat=len(apart)):
            yield {
                **stored,
                **{place: computed[place] for place, of in zip(apart, picked, strict=True) if of},
            }


def is_whole(stored: Part, root: str) -> bool:
    """Check whether everything that is stored is what was signed: every leaf, and every node above one."""
    # A place of another length would be taken for a node.
    if any(len(place) != DEPTH or not _DIGITS.issuperset(place) for place in stored.buckets):
        return False
    computed = path_digests(Part(stored.buckets, {}))
    above = {place: digest for place, digest in computed.items() if place and digest != EMPTY}
    return computed.get("", EMPTY) == root and above == {
        place: digest for place, digest in stored.nodes.items() if place and digest != EMPTY
    }


def _digest_above(children: Children) -> str:
    return node_digest({place: digest for place, digest in children.items() if digest})


def proved(part: Part, proof: Proof) -> Part:
    """Return what is proved of a part: its buckets whose leaves are those that were signed, and every digest that is proved."""
    buckets = {
        place: leaves
        for place, leaves in part.buckets.items()
        if proof.digests.get(place) == bucket_digest(leaves)
    }
    return Part(buckets, proof.digests)


def differing(part: Part, proof: Proof) -> dict[str, str]:
    """Return the digests of nodes that are proved and stored otherwise, by place."""
    return {
        place: digest
        for place, digest in proof.digests.items()
        if place and digest != part.nodes.get(place, EMPTY)
    }


def joined(*parts: Part) -> Part:
    """Return several parts as one."""
    buckets: dict[str, Mapping[str, str]] = {}
    nodes: dict[str, str] = {}
    for each in parts:
        buckets |= each.buckets
        nodes |= each.nodes
    return Part(buckets, nodes)


def changed(part: Part, states: Mapping[str, str]) -> Part:
    """Return a part of the tree with other leaves."""
    buckets = {place: dict(leaves) for place, leaves in part.buckets.items()}
    for subject, digest in states.items():
        if digest == GONE:
            # A row without a leaf has no effect either, and rows that come and go leave nothing behind.
            buckets[place_of(subject)].pop(subject, None)
        else:
            buckets[place_of(subject)][subject] = digest
    return Part(buckets, part.nodes)


def mismatch(digest: str, leaf: str | None) -> str:
    """Return why a row does not match its signed state; empty if it does."""
    if leaf is None:
        return NOT_SIGNED
    return "" if digest == leaf else NOT_AS_SIGNED


def head_bytes(head: Head) -> bytes:
    """Return the bytes of a head that are signed: every field, including the digest of the head before it."""
    fields = [head.number, head.root, head.made_at.isoformat(), head.previous]
    # With a default: a head that somebody edited may hold any value, which is a fault to report and not an error to raise.
    return orjson.dumps(["head", *fields], default=str)


def head_digest(head: Head) -> str:
    """Return the digest of a head, as the next head, the audit trail and the anchor contain it."""
    return hashlib.sha256(head_bytes(head) + f"\n{head.kid}\n{head.signature}".encode()).hexdigest()


def trail_fault(number: int, digest: str, trail: Iterable[tuple[int, str]]) -> str:
    """Return why the newest head differs from the newest one in the audit trail; empty if it does not, or if the trail has none."""
    last, recorded = max(trail, default=(0, digest))
    if last > number:
        return f"The newest signed head of rows is number {number}, but the audit trail has number {last}."
    if last == number and recorded != digest:
        return f"Head {number} of the signed rows is not the one in the audit trail."
    return ""
