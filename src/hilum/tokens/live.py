"""Creating tokens, verifying their MAC, and each worker's cache of their facts."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, TypeVar

from hilum.infra.context import Context
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.ports import Ids
from hilum.keys.live import vault
from hilum.tokens import policy, store
from hilum.tokens.models import ACCESS_PREFIX, TABLE_BOUND, AccessToken

T = TypeVar("T")

_UNKNOWN = Deny(Reason.TOKEN_INVALID, "The access token was not issued here.")


@dataclass(frozen=True, slots=True)
class Revoked(Deny):
    """The refusal of a revoked token; ``token`` is for the audit record."""

    token: AccessToken | None = None


class Reads(Protocol):
    """Runs a read in a transaction, outside the event loop's thread (``UnitOfWork.reads``)."""

    def __call__(self, verb: Callable[[Context], T], /) -> Awaitable[T]: ...


def make(ids: Ids, prefix: str) -> str:
    """Create a token from 256 random bits and a MAC, so that forged tokens are refused without a database query."""
    # The random bits make a token unguessable; the 48 bits of the MAC only save database queries (security decision 6).
    body = prefix + ids.secret()
    return f"{body}_{vault().mac(policy.MAC_PURPOSE, body.encode())}"


def genuine(token: str, prefix: str) -> bool:
    """Check whether the token was created here; the MAC is compared in constant time."""
    parts = policy.signed_part(token, prefix)
    return parts is not None and hmac.compare_digest(vault().mac(policy.MAC_PURPOSE, parts[0]), parts[1])


class TokenTable:
    """This worker's cache of issued access tokens; the least recently used are evicted first.

    A cached token may be revoked or expired: ``policy.judge`` decides that at every use. Not thread-safe: only for the event loop's thread.
    """

    def __init__(self, reads: Reads, bound: int = TABLE_BOUND) -> None:
        self._reads = reads
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
        row = await self._reads(lambda ctx: store.find_access(ctx.tx, fingerprint))
        if row is None:
            return _UNKNOWN
        token, revoked = row
        # The row shows a revocation before this read; the snapshot brings later ones (security decision 7).
        if revoked:
            return Revoked(Reason.TOKEN_REVOKED, "The access token was revoked.", token)
        self._cached[fingerprint] = token
        if len(self._cached) > self._bound:
            self._cached.popitem(last=False)
        return token

    def _finish(self, fingerprint: bytes, done: "asyncio.Task[AccessToken | Deny]") -> None:
        self._reading.pop(fingerprint, None)
        if not done.cancelled():
            done.exception()  # mark it as retrieved: if every caller was cancelled, asyncio would log it

    def __len__(self) -> int:
        return len(self._cached)
