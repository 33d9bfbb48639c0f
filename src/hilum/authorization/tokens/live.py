"""Creating tokens, verifying their MAC, and each worker's cache of their facts."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Protocol, TypeVar

from hilum.authorization.tokens import policy, store
from hilum.authorization.tokens.models import ACCESS_PREFIX, REPEAT_WITHIN, TABLE_BOUND, AccessToken
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ports import Ids
from hilum.records.keys.live import vault

T = TypeVar("T")

_UNKNOWN = Deny(Reason.TOKEN_INVALID, "The access token was not issued here.")


@dataclass(frozen=True, slots=True)
class Revoked(Deny):
    """The refusal of a revoked token; ``token`` is for the audit record."""

    token: AccessToken | None = None


class Reads(Protocol):
    """Runs a read in a transaction, outside the event loop's thread (``UnitOfWork.reads``)."""

    def __call__(self, verb: Callable[[Context], T], /) -> Awaitable[T]: ...


def make(ids: Ids, prefix: str, cause: bytes = b"") -> str:
    """Create a token from 256 bits and a MAC, so that forged tokens are refused without a database query.

    The bits are random, or follow from ``cause`` and HILUM_SECRET_KEY: the same request then gets the same token, which is stored nowhere.
    """
    # The 256 bits make a token unguessable; the 48 bits of the MAC only save database queries (security decision 6).
    derived = cause and vault().mac(policy.ANSWER_PURPOSE, prefix.encode() + cause, size=32)
    body = prefix + (derived or ids.secret())
    return f"{body}_{vault().mac(policy.MAC_PURPOSE, body.encode())}"


def genuine(token: str, prefix: str) -> bool:
    """Check whether the token was created here; the MAC is compared in constant time."""
    parts = policy.signed_part(token, prefix)
    return parts is not None and hmac.compare_digest(vault().mac(policy.MAC_PURPOSE, parts[0]), parts[1])


class Writes(Protocol):
    """Runs a write in a transaction, outside the event loop's thread (``UnitOfWork.write``)."""

    def __call__(self, verb: Callable[[Context], None], /, *, trace: Trace) -> Awaitable[None]: ...


class TokenTable:
    """This worker's cache of issued access tokens; the least recently used are evicted first.

    ``writes`` records that a new token is in use, in the background: its answer has then arrived, and is not repeated (ADR 163).
    A cached token may be revoked or expired: ``policy.judge`` decides that at every use. Not thread-safe: only for the event loop's thread.
    """

    def __init__(self, reads: Reads, writes: Writes, bound: int = TABLE_BOUND) -> None:
        self._reads, self._writes = reads, writes
        self._noting: set[asyncio.Task[None]] = set()
        self._bound = bound
        # Not cachetools: on the read path a hit here costs a fifth of what a library's cache costs.
        self._cached: OrderedDict[bytes, AccessToken] = OrderedDict()
        self._reading: dict[bytes, asyncio.Task[AccessToken | Deny]] = {}

    def get_cached(self, bearer: str) -> AccessToken | Deny | None:
        """Return the facts of a cached token, Deny for one that was not issued here, or None if the database must be read."""
        # Before hashing, which would cost more for a long text.
        if len(bearer) != policy.ACCESS_LENGTH:
            return _UNKNOWN
        fingerprint = sha256(bearer.encode("utf-8", "replace")).digest()
        token = self._cached.get(fingerprint)
        if token is not None:
            # Only issued tokens are cached, so the MAC need not be checked.
            self._cached.move_to_end(fingerprint)
            return token
        return None if genuine(bearer, ACCESS_PREFIX) else _UNKNOWN

    async def get(self, bearer: str) -> AccessToken | Deny:
        """Return the facts of a token; concurrent calls for one token share a database read. Raises Unavailable.

        Only issued tokens are cached, so a caller with forged tokens cannot evict them.
        """
        cached = self.get_cached(bearer)
        if cached is not None:
            return cached
        fingerprint = policy.fingerprint(bearer)
        task = self._reading.get(fingerprint)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(fingerprint))
            self._reading[fingerprint] = task
            task.add_done_callback(lambda done: self._finish(fingerprint, done))
        # Shielded, so that one caller's cancellation does not fail the others.
        return await asyncio.shield(task)

    async def _read(self, fingerprint: bytes) -> AccessToken | Deny:
        now, row = await self._reads(lambda ctx: (ctx.now, store.find_access(ctx.tx, fingerprint)))
        if row is None:
            return _UNKNOWN
        token, revoked = row
        if token.family and now < token.issued_at + REPEAT_WITHIN:
            self._note_arrived(token)
        # The row shows a revocation before this read; the snapshot brings later ones (security decision 7).
        if revoked:
            return Revoked(Reason.TOKEN_REVOKED, "The access token was revoked.", token)
        self._cached[fingerprint] = token
        if len(self._cached) > self._bound:
            self._cached.popitem(last=False)
        return token

    def _note_arrived(self, token: AccessToken) -> None:
        async def note() -> None:
            verb = partial(store.note_arrived, family=token.family, issued_at=token.issued_at)
            # Without the note the answer could be repeated until its time is over.
            with suppress(HilumError):
                await self._writes(lambda ctx: verb(ctx.tx), trace=Trace("data-plane"))

        with lanes.using(Lane.TOKENS):
            task = asyncio.get_running_loop().create_task(note())
        # The loop itself holds a task only weakly.
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    def _finish(self, fingerprint: bytes, done: "asyncio.Task[AccessToken | Deny]") -> None:
        self._reading.pop(fingerprint, None)
        if not done.cancelled():
            done.exception()  # mark it as retrieved: if every caller was cancelled, asyncio would log it

    def __len__(self) -> int:
        return len(self._cached)
