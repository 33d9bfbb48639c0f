"""Requests to and answers from a tenant's FHIR server."""

from dataclasses import dataclass
from datetime import timedelta

RESPONSE_BOUND = 16 * 1024 * 1024
DEADLINE = timedelta(seconds=20)
CONNECTIONS_PER_TENANT = 64


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """``target`` is relative to the FHIR base, without leading slash, already encoded: ``Observation?patient=1``."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
