"""Password hashing in a small thread pool: before the transaction, never inside it, never on the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hilum.foundation.infra.fair_slots import FairSlots, Shares
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ports import Ids
from hilum.foundation.standards.networks import network_of
from hilum.identity.signin.models import (
    HASHING_QUEUE_BOUND,
    HASHING_QUEUE_SHARE,
    HASHING_THREADS,
    PASSWORD_MAX,
)

# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_DUMMY_SALT = b"nobody-has-this-salt"
_slots = FairSlots(
    Shares(HASHING_THREADS, HASHING_QUEUE_BOUND, HASHING_THREADS, HASHING_QUEUE_SHARE),
    lambda: Unavailable("signin_busy", "Too many people are signing in right now. Try again in a moment."),
)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="argon2")


# Computed once, since hashing it for each unknown name would double the time and so reveal them.
@cache
def _dummy_digest() -> str:
    return _HASHER.hash("nobody has this password", salt=_DUMMY_SALT)


def hash_password_now(password: str, ids: Ids) -> str:
    """Hash a password in this thread; for host commands and start-up."""
    return _HASHER.hash(password, salt=ids.secret(16).encode())


def verify_password_now(digest: str | None, password: str) -> bool:
    """Compare a password with a stored digest in this thread.

    Without a digest it takes the same time and returns False, so that timing does not reveal which usernames exist.
    """
    if len(password) > PASSWORD_MAX:
        return False
    try:
        matched = _HASHER.verify(digest or _dummy_digest(), password)
    except (VerificationError, InvalidHashError):
        return False
    # The password of the dummy is in this source code, so it must never match.
    return matched and bool(digest)


async def hash_password(password: str, ids: Ids, source: str) -> str:
    """Hash a password off the event loop. Raises Unavailable when the queue, or this source's share of it, is full."""
    async with _slots.held(network_of(source)):
        return await asyncio.get_running_loop().run_in_executor(_pool(), hash_password_now, password, ids)


async def verify_password(digest: str | None, password: str, source: str) -> bool:
    """Compare a password with a stored digest off the event loop. Raises Unavailable as ``hash_password`` does."""
    async with _slots.held(network_of(source)):
        return await asyncio.get_running_loop().run_in_executor(
            _pool(), verify_password_now, digest, password
        )
