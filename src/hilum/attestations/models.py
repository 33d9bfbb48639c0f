"""Heads of the signed tree, and its bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

DEPTH = 4
"""Hexadecimal digits from the root to a bucket of leaves: 65,536 buckets, so with a million rows some fifteen are in each."""
DIGITS = "0123456789abcdef"
SUBJECT_BOUND = 200
KIND = "kind"
"""A subject ``kind/<name>`` means that the rows of a kind are signed: from then on a row without a leaf has no effect."""
ATTEST_ACTION = "attestations.head.sign"
WHOLE_FROM = 2_000
"""From this many buckets on the whole tree is read instead of single paths."""
SHOWN_BOUND = 20
"""How many faulty rows are listed."""


@dataclass(frozen=True, slots=True)
class Head:
    """One signed state of the tree. ``previous``: the digest of the head before it; empty for the first."""

    number: int
    root: str
    made_at: datetime
    previous: str
    kid: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Trusted:
    """The newest head. ``fault``: why it cannot be trusted; then no row has effect, and nothing new is signed."""

    number: int = 0
    root: str = ""
    digest: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the tree: the leaves of some buckets, and the digests of the sibling nodes on their paths to the root."""

    buckets: Mapping[str, Mapping[str, str]]
    nodes: Mapping[str, str]
