"""Requests to and answers from a tenant's FHIR server."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from hilum.policies.models import ALL_PLACES, TrafficClass

# An answer is held in memory whole: nothing of it may go on before all of it was judged.
RESPONSE_BOUND = 16 * 1024 * 1024
DEADLINE = timedelta(seconds=20)
CONNECT_DEADLINE = timedelta(seconds=3)
IDLE_LIFE = timedelta(seconds=30)
IDLE_MARGIN = timedelta(seconds=1)
"""How long before a server closes an idle connection it is used no more."""
# For each tenant apart: a hospital whose server is slow takes no place of another's.
CONNECTIONS_PER_TENANT = 64
WAITING_PER_TENANT = 128
"""Requests that may wait for a connection; beyond that a tenant's server counts as busy."""
WAITING_AT_LEAST = 32
"""Requests of a traffic class that may wait, however small its share: one search may cause twenty at once, and is not refused for itself."""
WAIT_BOUND = timedelta(seconds=10)
"""How long a request may wait for a place. Who asked has waited long enough by then, and a low class may wait for ever."""
BUSY, SHED = "upstream_busy", "upstream_shed"
TARGET_BOUND = 16 * 1024
CREDENTIALS_KEPT = 10_000
HEADERS_KEPT = 1_000
SURFACE_LIFE = timedelta(minutes=5)
SURFACE_REST = timedelta(seconds=5)
"""How long a server is not asked again after it failed to return its CapabilityStatement."""

SENT_HEADERS = frozenset({"accept", "content-type", "if-match", "prefer"})
"""The headers that the gateway may send to a FHIR server. Other headers of a client are never passed on."""
TAKEN_HEADERS = frozenset({"content-type", "etag", "last-modified", "location", "retry-after"})
"""The headers of a FHIR server's answer that the gateway reads."""


@dataclass(slots=True)
class UpstreamRequest:
    """``target`` is relative to the FHIR base, without leading slash, already encoded: ``Observation?patient=1``.

    ``asked_by``: the client, launch and run for which it is sent. Only a server in this process is given it; it never leaves on the wire.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    asked_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of a search as a server in this process stores it: mode and bytes of each record, ``next`` empty on the last page."""

    entries: tuple[tuple[str, bytes], ...]
    total: int | None
    next: str


@dataclass(slots=True)
class UpstreamResponse:
    """Header names are lower case, of ``TAKEN_HEADERS`` only. ``page``: the same as the body, where a server in this process says it."""

    status: int
    headers: dict[str, str]
    body: bytes
    page: SearchPage | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right by which a place at a FHIR server is requested: the rank of a traffic class, 0 for the highest.

    ``shares``: how many percent of the places each class may hold together with those below it.
    """

    rank: int
    shares: tuple[int, ...] = ALL_PLACES


UNSTATED = Claim(TrafficClass.BULK.rank)
"""Of who states no class: they wait behind everybody."""


class Entry(Enum):
    """What becomes of a request that asks for a place."""

    ENTER = auto()
    WAIT = auto()
    SHED = auto()
    """Its class may have no more, although a higher one could."""
    BUSY = auto()
    """No class could have more."""
