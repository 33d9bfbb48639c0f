"""Clients' key sets, by URL: fetched through the safe fetcher and cached no longer than their host allows.

Each process has its own cache. If a fetch fails, authentication fails: without a fresh set no assertion is accepted.
"""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson
from cachetools import LRUCache

from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ports import Clock
from hilum.foundation.standards.jws import thumbprint

DEFAULT_LIFE = timedelta(minutes=5)
"""The lifetime of a set whose host sends no caching headers."""
LONGEST_LIFE = timedelta(hours=1)
KEYS_BOUND = 50
KIDS_REMEMBERED = 200
KID_BOUND = 256
SETS_BOUND = 1_000
WINDOW = timedelta(minutes=1)
FETCHES_PER_WINDOW = 60
REFETCHES_PER_WINDOW = 6
"""How often per window an unknown ``kid`` triggers a fetch. Anyone can send one, and must not be able to flood the host."""
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,10})\"?", re.IGNORECASE)


class Fetcher(Protocol):
    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Fetch a URL, with bounded size and time. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class KeySet:
    """A client's keys. ``replaced``: each ``kid`` whose material changed since the last fetch (C11), reported once."""

    jwks: dict[str, Any]
    replaced: tuple[str, ...] = ()


@dataclass(slots=True)
class _Entry:
    jwks: dict[str, Any] = field(default_factory=dict)
    fresh_until: float = 0.0
    window_began: float = 0.0
    fetches: int = 0
    refetches: int = 0
    materials: dict[tuple[str, str], str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def life_of(headers: dict[str, str]) -> timedelta:
    """Return how long a response may be cached. Source: RFC 9111 sections 5.2.2 and 4.2.3."""
    control = headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return timedelta(0)
    if match := _MAX_AGE.search(control):
        age = headers.get("age", "0")
        spent = int(age[:10]) if age.isascii() and age.isdigit() else 0
        # Even if the host allows a year: a key that the client removed must stop working within an hour.
        return max(timedelta(0), min(timedelta(seconds=int(match[1]) - spent), LONGEST_LIFE))
    return DEFAULT_LIFE


def read_set(answer: Fetched) -> dict[str, Any]:
    """Parse a response as a JWK set of at most KEYS_BOUND keys, without those with an oversized ``kid``. Raises Unavailable."""
    try:
        jwks = orjson.loads(answer.body) if answer.status == 200 else None
    except orjson.JSONDecodeError:
        jwks = None
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or len(keys) > KEYS_BOUND or not all(isinstance(key, dict) for key in keys):
        raise Unavailable(
            "jwks_unreadable", f"The client's jwks_uri did not return a JWK set of at most {KEYS_BOUND} keys."
        )
    return {"keys": [key for key in keys if len(str(key.get("kid"))) <= KID_BOUND]}


class KeySets:
    """The cache of key sets in this process; the least recently used are evicted first."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher, self._clock = fetcher, clock
        self._entries: LRUCache[str, _Entry] = LRUCache(SETS_BOUND)

    async def get(self, url: str, kid: str) -> KeySet:
        """Return the set at ``url``; fetch it again if a fresh one lacks the ``kid``. Raises Unavailable."""
        entry = self._entries.setdefault(url, _Entry())
        # One fetch of a URL at a time; other callers wait for it and use its result.
        async with entry.lock:
            now = self._clock.monotonic()
            if now - entry.window_began >= WINDOW.total_seconds():
                entry.window_began, entry.fetches, entry.refetches = now, 0, 0
            fresh = now < entry.fresh_until
            if not fresh:
                await self._fetch(entry, url)
            elif not _has_kid(entry.jwks, kid) and entry.refetches < REFETCHES_PER_WINDOW:
                entry.refetches += 1
                await self._fetch(entry, url)
            replaced, entry.replaced = entry.replaced, ()
            return KeySet(entry.jwks, replaced)

    async def _fetch(self, entry: _Entry, url: str) -> None:
        if entry.fetches >= FETCHES_PER_WINDOW:
            raise Unavailable(
                "jwks_asked_too_often", "The client's jwks_uri was fetched too often; try again in a minute."
            )
        # Counted before the request, so that a host that never answers is limited too.
        entry.fetches += 1
        answer = await self._fetcher.get(url, accept="application/jwk-set+json, application/json")
        jwks = read_set(answer)
        entry.jwks = jwks
        entry.fresh_until = self._clock.monotonic() + life_of(answer.headers).total_seconds()
        self._note_replaced(entry)

    def _note_replaced(self, entry: _Entry) -> None:
        """Compare each key with the last one of the same ``kid`` and type, and add those that changed to ``entry.replaced``."""
        replaced = []
        for key in entry.jwks["keys"]:
            name, material = (str(key.get("kid")), str(key.get("kty"))), thumbprint(key)
            # Different material under the same kid may be a takeover of the host, so it is recorded (C11).
            if entry.materials.get(name, material) != material:
                replaced.append(name[0])
            entry.materials.pop(name, None)
            entry.materials[name] = material
        while len(entry.materials) > KIDS_REMEMBERED:
            entry.materials.pop(next(iter(entry.materials)))
        entry.replaced += tuple(replaced)


def _has_kid(jwks: dict[str, Any], kid: str) -> bool:
    return any(key.get("kid") == kid for key in jwks["keys"])
