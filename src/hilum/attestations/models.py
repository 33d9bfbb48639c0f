"""Heads of the tree of what is signed, and its bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

DEPTH = 4
"""How many hexadecimal digits lead from the root to a bucket of leaves: 65,536 buckets, so a million rows are some fifteen in each."""
DIGITS = "0123456789abcdef"
SUBJECT_BOUND = 200
KIND = "kind"
"""Subjects ``kind/<name>`` say that the rows of a kind were signed: from then on one without a leaf does not count."""
ATTEST_ACTION = "attestations.head.sign"
WHOLE_FROM = 2_000
"""From how many buckets on the whole tree is read instead of the ways of each."""
SHOWN_BOUND = 20
"""How many faults of rows are listed."""


@dataclass(frozen=True, slots=True)
class Head:
    """One signed state of the tree. ``previous``: the digest of the head before it; empty where the tree begins."""

    number: int
    root: str
    made_at: datetime
    previous: str
    kid: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Trusted:
    """The newest head, as far as it can be trusted. ``fault``: why it cannot; then nothing counts, and nothing new is signed."""

    number: int = 0
    root: str = ""
    digest: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the tree: the leaves of some buckets, by place, and the digests of the nodes beside their ways to the root."""

    buckets: Mapping[str, Mapping[str, str]]
    nodes: Mapping[str, str]
