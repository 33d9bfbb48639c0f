"""Key sets of clients, by URL: fetched through the safe fetcher, kept no longer than their host allows.

Lives in the process; each worker has its own. A failed fetch opens nothing: without a fresh set no assertion holds.
"""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson
from cachetools import LRUCache

from hilum.backchannel.client_auth import thumbprint
from hilum.infra.fetch import Fetched
from hilum.kernel.errors import Unavailable
from hilum.kernel.ports import Clock

DEFAULT_LIFE = timedelta(minutes=5)
"""For a host that says nothing about caching."""
LONGEST_LIFE = timedelta(hours=1)
KEYS_BOUND = 50
KIDS_REMEMBERED = 200
KID_BOUND = 256
SETS_BOUND = 1_000
WINDOW = timedelta(minutes=1)
FETCHES_PER_WINDOW = 60
REFETCHES_PER_WINDOW = 6
"""An assertion with an unknown ``kid`` may be anybody's: so many times a minute it makes us look again."""
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,10})\"?", re.IGNORECASE)


class Fetcher(Protocol):
    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Read an address within bounds. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class KeySet:
    """``replaced`` names the ``kid``s that came back with other material than before (C11); told once."""

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
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


def life_of(headers: dict[str, str]) -> timedelta:
    """Tell how long an answer may be kept. Source: RFC 9111 sections 5.2.2 and 4.2.3."""
    control = headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return timedelta(0)
    if match := _MAX_AGE.search(control):
        age = headers.get("age", "0")
        spent = int(age[:10]) if age.isascii() and age.isdigit() else 0
        return max(timedelta(0), min(timedelta(seconds=int(match[1]) - spent), LONGEST_LIFE))
    return DEFAULT_LIFE


def read_set(answer: Fetched) -> dict[str, Any]:
    """Read an answer as a JWK set of bounded size, without keys whose ``kid`` is no name but a burden. Raises Unavailable."""
    try:
        jwks = orjson.loads(answer.body) if answer.status == 200 else None
    except orjson.JSONDecodeError:
        jwks = None
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or len(keys) > KEYS_BOUND or not all(isinstance(key, dict) for key in keys):
        raise Unavailable("jwks_unreadable", "The client's key set cannot be read.")
    return {"keys": [key for key in keys if len(str(key.get("kid"))) <= KID_BOUND]}


class KeySets:
    """The sets of this process, the least recently used forgotten first."""

    def __init__(self, fetcher: Fetcher, clock: Clock) -> None:
        self._fetcher, self._clock = fetcher, clock
        self._entries: LRUCache[str, _Entry] = LRUCache(SETS_BOUND)

    async def get(self, url: str, kid: str) -> KeySet:
        """Give the set at ``url``; look once more when a fresh one lacks the ``kid``. Raises Unavailable."""
        entry = self._entries.setdefault(url, _Entry())
        async with entry.turn:
            now = self._clock.monotonic()
            if now - entry.window_began >= WINDOW.total_seconds():
                entry.window_began, entry.fetches, entry.refetches = now, 0, 0
            fresh = now < entry.fresh_until
            if not fresh:
                await self._fetch(entry, url)
            elif not _names(entry.jwks, kid) and entry.refetches < REFETCHES_PER_WINDOW:
                entry.refetches += 1
                await self._fetch(entry, url)
            replaced, entry.replaced = entry.replaced, ()
            return KeySet(entry.jwks, replaced)

    async def _fetch(self, entry: _Entry, url: str) -> None:
        if entry.fetches >= FETCHES_PER_WINDOW:
            raise Unavailable("jwks_asked_too_often", "The client's key set was fetched too often.")
        entry.fetches += 1
        answer = await self._fetcher.get(url, accept="application/jwk-set+json, application/json")
        jwks = read_set(answer)
        entry.jwks = jwks
        entry.fresh_until = self._clock.monotonic() + life_of(answer.headers).total_seconds()
        self._remember(entry)

    def _remember(self, entry: _Entry) -> None:
        replaced = []
        for key in entry.jwks["keys"]:
            name, material = (str(key.get("kid")), str(key.get("kty"))), thumbprint(key)
            if entry.materials.get(name, material) != material:
                replaced.append(name[0])
            entry.materials.pop(name, None)
            entry.materials[name] = material
        while len(entry.materials) > KIDS_REMEMBERED:
            entry.materials.pop(next(iter(entry.materials)))
        entry.replaced += tuple(replaced)


def _names(jwks: dict[str, Any], kid: str) -> bool:
    return any(key.get("kid") == kid for key in jwks["keys"])
