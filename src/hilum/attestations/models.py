"""Heads of the signed tree, and its bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

DEPTH = 4
"""Hexadecimal digits from the root to a bucket of leaves: 65,536 buckets, so with a million rows some fifteen are in each."""
DIGITS = "0123456789abcdef"
SUBJECT_BOUND = 200
KIND = "kind"
"""A subject ``kind/<name>`` means that the rows of a kind are signed: from then on a row without a leaf has no effect."""
ATTEST_ACTION = "attestations.head.sign"
WHOLE_FROM = 2_000
"""From this many buckets on the whole tree is read instead of single paths."""
KEPT_BOUND = 512
"""Nodes of which a process keeps the children, where the tree is damaged."""
READ_AGAIN = timedelta(seconds=10)
"""How long a process does not read the leaves below a damaged node again that did not prove it."""
OPEN_BOUND = 64
"""Damaged nodes up to which only the leaves below them are read, and not the whole tree."""
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


@dataclass(frozen=True, slots=True)
class Proof:
    """What a root proves of a part of the tree. ``digests``: those of nodes and buckets, by place.

    ``open``: nodes that are proved, and whose children are neither stored nor computed as they were signed; what is below them is not proved.
    """

    digests: Mapping[str, str]
    open: frozenset[str]
