"""Tokens in a worker: how they are made and told from garbage, and the table of those it has met."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
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
_REVOKED = Deny(Reason.TOKEN_REVOKED, "The access token was revoked.")


class Reads(Protocol):
    """Runs a read off the loop, in a transaction of its own (``Edge.reads``)."""

    def __call__(self, verb: Callable[[Context], T], /) -> Awaitable[T]: ...


def make(ids: Ids, prefix: str) -> str:
    """Make a token: 256 random bits and a MAC over them, which tells it from garbage without a look into any store."""
    body = prefix + ids.secret()
    return f"{body}_{vault().mac(policy.MAC_PURPOSE, body.encode())}"


def genuine(token: str, prefix: str) -> bool:
    """Return whether the token was made here, in constant time where it matters."""
    parts = policy.signed_part(token, prefix)
    return parts is not None and hmac.compare_digest(vault().mac(policy.MAC_PURPOSE, parts[0]), parts[1])


class TokenTable:
    """What this worker knows of access tokens: positive facts only, the least recently used forgotten first.

    An answer says that the token was issued, not that it counts: that is judged on every use against the snapshot.
    Belongs to the event loop's thread.
    """

    def __init__(self, reads: Reads, bound: int = TABLE_BOUND) -> None:
        self._reads = reads
        self._bound = bound
        self._known: OrderedDict[bytes, AccessToken] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[AccessToken | Deny]] = {}

    def peek(self, bearer: str) -> AccessToken | Deny | None:
        """Look without waiting: facts of a known token, Deny for garbage, None when the store must be asked."""
        if len(bearer) != policy.ACCESS_LENGTH:
            return _UNKNOWN
        fingerprint = sha256(bearer.encode("utf-8", "replace")).digest()
        found = self._known.get(fingerprint)
        if found is not None:
            self._known.move_to_end(fingerprint)
            return found
        return None if genuine(bearer, ACCESS_PREFIX) else _UNKNOWN

    async def look_up(self, bearer: str) -> AccessToken | Deny:
        """Look, asking the store once however many ask at one time. Raises Unavailable when it is away.

        What is not there is not remembered: a stranger cannot fill the table.
        """
        seen = self.peek(bearer)
        if seen is not None:
            return seen
        fingerprint = policy.fingerprint(bearer)
        task = self._asked.get(fingerprint)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(fingerprint))
            self._asked[fingerprint] = task
            task.add_done_callback(lambda done: self._forget(fingerprint, done))
        return await asyncio.shield(task)

    async def _ask(self, fingerprint: bytes) -> AccessToken | Deny:
        found = await self._reads(lambda ctx: store.find_access(ctx.tx, fingerprint))
        if found is None:
            return _UNKNOWN
        token, revoked = found
        if revoked:
            return _REVOKED
        self._known[fingerprint] = token
        if len(self._known) > self._bound:
            self._known.popitem(last=False)
        return token

    def _forget(self, fingerprint: bytes, done: "asyncio.Task[AccessToken | Deny]") -> None:
        self._asked.pop(fingerprint, None)
        if not done.cancelled():
            done.exception()  # told to whoever still waits; nobody may be left to hear it

    def __len__(self) -> int:
        return len(self._known)
