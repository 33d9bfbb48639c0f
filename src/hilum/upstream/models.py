"""Requests to and answers from a tenant's FHIR server."""

from dataclasses import dataclass
from datetime import timedelta

RESPONSE_BOUND = 16 * 1024 * 1024
DEADLINE = timedelta(seconds=20)
CONNECT_DEADLINE = timedelta(seconds=3)
IDLE_LIFE = timedelta(seconds=30)
CONNECTIONS_PER_TENANT = 64
WAITING_PER_TENANT = 128
"""Requests that may wait for a connection; past it a tenant's server counts as busy."""
TARGET_BOUND = 16 * 1024
CREDENTIALS_KEPT = 10_000
HEADERS_KEPT = 1_000
SURFACE_LIFE = timedelta(minutes=5)
SURFACE_REST = timedelta(seconds=5)
"""How long a server that failed to say what it can do is not asked again."""

SENT_HEADERS = frozenset({"accept", "content-type", "if-match", "prefer"})
"""What the gateway may say to a FHIR server. Everything else of a client's headers stays outside."""
TAKEN_HEADERS = frozenset({"content-type", "etag", "last-modified", "location", "retry-after"})
"""What a FHIR server's answer may say to the gateway."""


@dataclass(slots=True)
class UpstreamRequest:
    """``target`` is relative to the FHIR base, without leading slash, already encoded: ``Observation?patient=1``."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(slots=True)
class UpstreamResponse:
    """Header names are lower case, of ``TAKEN_HEADERS`` only."""

    status: int
    headers: dict[str, str]
    body: bytes
