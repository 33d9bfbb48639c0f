"""Shares RSA keys that were read from the same JWK. Reading one checks its numbers for milliseconds, and every test opens a few."""

from functools import lru_cache
from typing import Any

import orjson
from joserfc.jwk import RSAKey

KEYS_BOUND = 64


def share_opened() -> None:
    """Read each private RSA key once. A vault keeps what it opened for a process, and every test has a vault of its own."""
    read = RSAKey.import_key

    @lru_cache(KEYS_BOUND)
    def read_once(jwk: bytes) -> RSAKey:
        return read(orjson.loads(jwk))

    def shared(value: Any, *more: Any, **named: Any) -> RSAKey:
        if isinstance(value, dict) and "d" in value and not more and not named:
            return read_once(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
        return read(value, *more, **named)

    RSAKey.import_key = staticmethod(shared)  # type: ignore[method-assign]
