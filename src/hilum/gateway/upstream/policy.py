"""Judge where and when a request may be sent, and rewrite a server's own addresses in its answers. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import orjson

from hilum.foundation.standards.fhir.addresses import below
from hilum.foundation.standards.fhir.shaping import load
from hilum.gateway.upstream.models import (
    APP_PART,
    CONNECTIONS_PER_TENANT,
    TARGET_BOUND,
    TOKEN_LIFE_MOST_S,
    TOKEN_LIFE_UNSTATED_S,
    TOKEN_MARGIN_S,
    TOKEN_RENEWED_S,
    WAITING_AT_LEAST,
    WAITING_PER_TENANT,
    Entry,
    SlotRequest,
)
from hilum.identity.people.models import UpstreamRef

SHARES_KEPT = 1_000
_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}")
_TOKEN_ERRORS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)  # fmt: skip
_RECORD = re.compile(r"[A-Za-z]{1,64}/[A-Za-z0-9-][A-Za-z0-9.-]{0,63}")
"""The target of a record. Its id does not begin with a dot, so no segment consists of dots."""


def address(base: str, target: str) -> str | None:
    """Join a FHIR base (no trailing slash) and a relative target; None for a target that would leave the base."""
    # Most targets; no parser reads them as another path or host.
    if _RECORD.fullmatch(target):
        return f"{base}/{target}"
    if len(target) > TARGET_BOUND or not target.isascii() or not target.isprintable():
        return None
    path, mark, query = target.partition("?")
    # Some parser would see another path or host: in an absolute path, a scheme, a fragment, or a backslash, read as a slash.
    if path.startswith("/") or "\\" in target or "#" in target or " " in target or ":" in path:
        return None
    # A server that resolves empty segments and dots would leave the base, with the tenant's credentials.
    if any(segment.strip(".") == "" for segment in path.split("/")) and path:
        return None
    return f"{base}/{path}{mark}{query}" if path else f"{base}{mark}{query}"


def relative_target(base: str, url: str) -> str | None:
    """Return the target of an address in a server's answer, absolute or relative; None if it is not below the base."""
    if url.startswith(base):
        rest = url[len(base) :]
        if rest[:1] not in {"", "/", "?"}:
            return None
        url = rest.removeprefix("/")
    elif url.startswith("/"):
        path = urlsplit(base).path
        if not url.startswith((path + "/", path + "?")):
            return None
        url = url[len(path) :].removeprefix("/")
    return url if address(base, url) is not None else None


def page_target(bases: tuple[str, ...], url: str) -> str | None:
    """Return the target of a server's link to a page; None if it is below none of the bases.

    Scheme, case of the host and default ports may differ, since many servers behind a proxy do not know the scheme by which they are reached.
    """
    for base in bases:
        if (target := relative_target(base, url)) is not None:
            return target
    for base in bases:
        rest = below(base, url)
        target = None if rest is None else rest.partition("#")[0].removeprefix("/")
        if target is not None and address(base, target) is not None:
            return target
    return None


def host_of(url: str) -> str:
    """Return scheme, host and port of a URL, to which credentials are bound."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def bound_to(upstream: UpstreamRef) -> str:
    """Return what the secrets of a FHIR server are bound to: its host, and the token endpoint that they may be sent to."""
    return f"{host_of(upstream.url)} {upstream.token_url}".rstrip()


def token_fault(status: int, answer: Mapping[str, Any]) -> str:
    """Return why an answer of a token endpoint has no access token, without what it says in free text; empty if it has one.

    Source: RFC 6749 sections 5.1 and 5.2.
    """
    if status != 200:
        error = answer.get("error")
        return f"its token endpoint answers {status}{f' {error}' if error in _TOKEN_ERRORS else ''}"
    if str(answer.get("token_type", "")).lower() != "bearer":
        return "it gives tokens of another type than Bearer"
    token = answer.get("access_token")
    return "" if isinstance(token, str) and _TOKEN.fullmatch(token) else "its answer has no access token"


def token_times(expires_in: object) -> tuple[float, float]:
    """Return after how many seconds a token is renewed, and until when it may be used, from when it was asked for."""
    stated = expires_in if isinstance(expires_in, int | float) and not isinstance(expires_in, bool) else 0.0
    life = min(stated, TOKEN_LIFE_MOST_S) if stated > 0 else TOKEN_LIFE_UNSTATED_S
    return max(life * 0.75, life - TOKEN_RENEWED_S), life - min(TOKEN_MARGIN_S, life * 0.1)


def destination(upstream: UpstreamRef) -> str:
    """Return the sentence by which the intent of a write names its FHIR server: with a digest, since readers need not know the address."""
    server = sha256(f"{upstream.kind}\n{upstream.url.rstrip('/')}".encode()).hexdigest()
    return f"For FHIR server {server[:16]}."


def relocated(body: bytes, foreign: str, base: str) -> bytes:
    """Replace the base ``foreign`` by ``base`` in JSON. Raises ValueError if the body must be parsed for it and is not JSON."""
    old, new = foreign.encode(), base.encode()
    if old == new or not old:
        return body
    # JSON may write a slash as \/ or \u002f, in which the base would not be found.
    if b"\\/" in body or b"\\u00" in body:
        body = orjson.dumps(load(body))
    if old not in body:
        return body
    # With the character after it, so that /fhir is not found in /fhir2.
    for end in (b"/", b'"', b"?"):
        body = body.replace(old + end, new + end)
    return body


def entry(
    held: Sequence[int], waiting: Sequence[int], slot: SlotRequest, own_held: int = 0, own_waiting: int = 0
) -> Entry:
    """Judge whether a request gets a slot, waits for one, or is refused (C133).

    ``held``, ``waiting``: requests of each class; ``own_held``, ``own_waiting``: those of its app.

    A share limits a class together with those below it, so the other slots are always open to the classes above.
    INVARIANT: if a request of a class is not refused, none of a higher class would be.
    """
    if has_room(held, slot, own_held):
        return Entry.ENTER
    places = bounds(slot.shares)[1]
    full = _full(waiting, places, slot.rank)
    if full is None:
        return Entry.WAIT if _leaves_others(waiting, places, slot, own_waiting) else Entry.CROWDED
    return Entry.SHED if full else Entry.BUSY


def has_room(held: Sequence[int], slot: SlotRequest, own: int = 0) -> bool:
    """Check whether a slot is free for a class, and for an app that has ``own`` of them."""
    places = bounds(slot.shares)[0]
    return _full(held, places, slot.rank) is None and _leaves_others(held, places, slot, own)


def _leaves_others(counts: Sequence[int], most: tuple[int, ...], slot: SlotRequest, own: int) -> bool:
    """Check whether an app that has ``own`` places leaves the others enough with one more.

    The more apps there are, the less each may have, and the next one finds a place unless about a third as many apps flood as there are
    places. Source: Choudhury and Hahne, Dynamic queue
    length thresholds for shared-memory packet switches, IEEE/ACM Transactions on Networking 6(2), 1998.
    """
    # The platform's own reads have no limit of an app, and an app's first request takes nothing from anybody.
    if not slot.app or own == 0:
        return True
    free = min(most[each] - sum(counts[each:]) for each in range(slot.rank + 1))
    return own < APP_PART * free


def _full(counts: Sequence[int], most: tuple[int, ...], rank: int) -> int | None:
    """Return the highest class, of this rank and those above it, that has reached its limit; None if there is none."""
    together = sum(counts)
    # The common case: no class has a lower limit than the last.
    if together < most[-1]:
        return None
    for each in range(rank + 1):
        if together >= most[each]:
            return each
        together -= counts[each]
    return None


@lru_cache(maxsize=SHARES_KEPT)
def bounds(shares: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how many slots each class may hold, and how many of its requests may wait, each with the classes below it."""
    slots = tuple(max(1, CONNECTIONS_PER_TENANT * share // 100) for share in shares)
    waiting = tuple(max(WAITING_AT_LEAST, WAITING_PER_TENANT * share // 100) for share in shares)
    return slots, waiting
