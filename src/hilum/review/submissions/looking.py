"""Fetch the addresses of a submission through the safe fetcher. Only the jobs process does this."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from hilum.foundation.infra.fetch import Fetched, TlsFault
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.keysets import jwks_fault
from hilum.review.submissions.checks import fingerprints
from hilum.review.submissions.models import Kind, Look, Target

LOCATION_BOUND = 500
"""Characters of an answer's Location that are kept."""
_CALLED = frozenset({Kind.REDIRECT, Kind.LAUNCH})


class Fetcher(Protocol):
    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Fetch a URL, and follow redirects of its own origin. Raises Unavailable."""
        ...

    async def look(self, url: str, *, accept: str = "text/html") -> Fetched:
        """Fetch a URL, and return its first answer. Raises Unavailable."""
        ...

    async def close(self) -> None:
        """Close every connection now."""
        ...


def look_at(make: Callable[[], Fetcher], targets: Sequence[Target]) -> list[Look]:
    """Fetch several addresses concurrently, from a thread without an event loop. Each call makes a fetcher."""

    async def all_at_once() -> list[Look]:
        fetcher = make()
        try:
            return list(await asyncio.gather(*(_look(fetcher, each) for each in targets)))
        finally:
            await fetcher.close()

    return asyncio.run(all_at_once())


async def _look(fetcher: Fetcher, target: Target) -> Look:
    try:
        # An address that browsers open is judged by its redirect, others by their content.
        if target.kind in _CALLED:
            fetched = await fetcher.look(target.url, accept="text/html")
        else:
            accept = "application/json" if target.kind is Kind.KEYS else "*/*"
            fetched = await fetcher.get(target.url, accept=accept)
    except TlsFault as error:
        return Look(target.kind, target.url, fault=error.code, detail=error.detail, tls_fault=error.reason)
    except Unavailable as error:
        return Look(target.kind, target.url, fault=error.code, detail=error.detail)
    return _seen(target, fetched)


def _seen(target: Target, fetched: Fetched) -> Look:
    keys: tuple[tuple[str, str], ...] = ()
    fault = ""
    if target.kind is Kind.KEYS and fetched.status == 200:
        try:
            read = orjson.loads(fetched.body)
        except orjson.JSONDecodeError:
            read = None
        fault = jwks_fault(read) if isinstance(read, dict) else "jwks_malformed"
        keys = () if fault else fingerprints(read)
    return Look(
        target.kind,
        target.url,
        status=fetched.status,
        location=_plain(fetched.headers.get("location", "")),
        sha256=hashlib.sha256(fetched.body).hexdigest(),
        size=len(fetched.body),
        keys=keys,
        keys_fault=fault,
    )


def _plain(text: str) -> str:
    """Return the part of a header that can be stored and shown."""
    return "".join(each for each in text[:LOCATION_BOUND] if each.isascii() and each.isprintable())
