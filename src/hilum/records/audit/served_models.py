"""How calls of an app at a tenant ended, counted: the figures of its service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from itertools import accumulate
from operator import add
from typing import NamedTuple

SERVED_EDGES_MS = (50, 100, 250, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000)
"""Up to which latency an answer is counted in each bucket; the last bucket, without an edge, holds the slower ones.

Finer than LATENCY_EDGES_MS where the shipped policy has its thresholds.
"""
BUCKETS = len(SERVED_EDGES_MS) + 1
SLOW_PERCENT = 5
"""The share of answers that may take longer than a limit of p95."""


class RecordedCalls(NamedTuple):
    """The calls of a client by tenant, oldest first, each with why it was refused (empty: it was not). ``since``: from when on they were read."""

    since: datetime
    at: Mapping[str, Sequence[tuple[datetime, str, int]]]


class Ending(StrEnum):
    """How a call ended, and who caused it. The app causes MISTAKEN and THROTTLED."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Not permitted, or there is no such record: the two are one, as they are to the app."""
    MISTAKEN = "mistaken"
    """A request that nobody could have answered: malformed, too large, too costly."""
    THROTTLED = "throttled"
    """The app had used up its quota."""
    FAILED = "failed"
    """The hospital's server or the platform did not carry it out."""


@dataclass(frozen=True, slots=True)
class Served:
    """Calls of a time by how they ended; ``answered`` by bucket of latency (SERVED_EDGES_MS)."""

    refused: int = 0
    mistaken: int = 0
    throttled: int = 0
    failed: int = 0
    answered: tuple[int, ...] = (0,) * BUCKETS

    @property
    def answers(self) -> int:
        """How many were answered."""
        return sum(self.answered)

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.refused + self.mistaken + self.throttled + self.failed + self.answers

    def slower_than(self, ms: int) -> int:
        """Return how many answers certainly took longer than a latency: those beyond the first edge that is not below it."""
        return sum(
            number
            for number, edge in zip(self.answered[1:], SERVED_EDGES_MS, strict=True)
            # An answer of this bucket took longer than ``edge``.
            if edge >= ms
        )

    def within_ms(self) -> int | None:
        """Return the edge up to which 95 of 100 answers took; None without answers, or if it is beyond the last edge."""
        if not self.answers:
            return None
        reached = accumulate(self.answered[:-1])
        found = zip(reached, SERVED_EDGES_MS, strict=True)
        return next(
            (edge for number, edge in found if 100 * number >= (100 - SLOW_PERCENT) * self.answers), None
        )

    def __add__(self, other: "Served") -> "Served":
        """Return both together."""
        return Served(
            self.refused + other.refused,
            self.mistaken + other.mistaken,
            self.throttled + other.throttled,
            self.failed + other.failed,
            tuple(map(add, self.answered, other.answered)),
        )


@dataclass(frozen=True, slots=True)
class ServedApp:
    """How the calls of an app ended, by day (UTC) and by tenant, the busiest first."""

    by_day: Mapping[date, Served] = field(default_factory=dict)
    by_tenant: Mapping[str, Served] = field(default_factory=dict)
