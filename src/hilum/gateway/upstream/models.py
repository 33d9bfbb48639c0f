"""Requests to a tenant's FHIR server, its answers, and their bounds."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum, auto

from hilum.policy.matrix.models import ALL_PLACES, TrafficClass

RESPONSE_BOUND = 16 * 1024 * 1024
"""Bytes of an answer, which is in memory as a whole, since it is judged before any of it is sent on."""
DEADLINE = timedelta(seconds=20)
CONNECT_DEADLINE = timedelta(seconds=3)
IDLE_LIFE = timedelta(seconds=30)
IDLE_MARGIN = timedelta(seconds=1)
"""How long before the server would close it an idle connection is no longer used."""
# Per tenant, so that a slow server occupies slots of its own hospital only.
CONNECTIONS_PER_TENANT = 64
WAITING_PER_TENANT = 128
"""How many requests may wait for a slot; further ones are refused as busy."""
WAITING_AT_LEAST = 32
"""How many requests of a traffic class may wait, however small its share: one search may cause twenty at once."""
WAIT_BOUND = timedelta(seconds=10)
"""How long a request may wait for a slot; a low class could otherwise wait for ever."""
APP_PART = 3
"""An app takes at most this many times what it leaves free of its class: by itself, three quarters (ADR 177)."""
BUSY, SHED, CROWDED = "upstream_busy", "upstream_shed", "upstream_app_limit"
TARGET_BOUND = 16 * 1024
ACCESSES_KEPT = 10_000
HEADERS_KEPT = 1_000
CAPABILITIES_LIFE = timedelta(minutes=5)
CAPABILITIES_RETRY = timedelta(seconds=5)
"""How long a server is not asked again after it failed to return its CapabilityStatement."""

TOKEN_LIFE_MOST_S, TOKEN_LIFE_UNSTATED_S = 86_400.0, 300.0
TOKEN_RENEWED_S, TOKEN_MARGIN_S = 60.0, 5.0
"""How long before its end an access token is renewed at the latest, and no longer sent."""

SENT_HEADERS = frozenset({"accept", "content-type", "if-match", "prefer"})
"""The headers that may be sent to a FHIR server; no other header of a client is passed on."""
TAKEN_HEADERS = frozenset({"content-type", "date", "etag", "last-modified", "location", "retry-after"})
"""The headers of a FHIR server's answer that the gateway reads."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request. ``target``: relative to the FHIR base, without leading slash, encoded, such as ``Observation?patient=1``.

    ``asked_by``: the client, launch and run for which it is sent, for an embedded server only; it is not sent over HTTP.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    asked_by: tuple[str, ...] = ()


@dataclass(slots=True)
class UpstreamResponse:
    """An answer. Header names are in lower case, of ``TAKEN_HEADERS`` only."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """The traffic class for which a slot at a FHIR server is requested, by its rank; 0 is the highest.

    ``shares``: the percentage of the slots that each class may hold together with those below it. ``app``: for which app; empty for the
    platform's own, which no limit of an app holds up.
    """

    rank: int
    shares: tuple[int, ...] = ALL_PLACES
    app: str = ""


UNSTATED = SlotRequest(TrafficClass.BULK.rank)
"""For callers that state no class: the lowest."""


class Entry(Enum):
    """How a request for a slot is answered."""

    ENTER = auto()
    WAIT = auto()
    SHED = auto()
    """Refused: its class has no more slots, a higher one has."""
    BUSY = auto()
    """Refused: no class has more slots."""
    CROWDED = auto()
    """Refused: as many requests of its app wait as may; the other places are for other apps."""


class CheckOutcome(StrEnum):
    """How one part of a check of a FHIR server ended."""

    WORKS = "works"
    LIMITED = "limited"
    """It works otherwise than FHIR says: some requests are refused, or slower."""
    FAILS = "fails"
    UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One part of a check: what was found, and what to change. ``quirk``: the setting that the gateway needs for it."""

    name: str
    outcome: CheckOutcome
    found: str
    advice: str = ""
    quirk: str = ""
