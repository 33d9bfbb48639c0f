"""Shares RSA keys that were read from the same numbers. Reading one checks them for milliseconds, and every test opens a few."""

from functools import lru_cache
from typing import Any

from joserfc._rfc7518.rsa_key import RSABinding

KEYS_BOUND = 64


def share_opened() -> None:
    """Read the numbers of each private RSA key once, under whatever id it has. A vault keeps what it opened for a process, and every
    test has a vault of its own.
    """
    read = RSABinding.import_private_key

    @lru_cache(KEYS_BOUND)
    def read_once(numbers: frozenset[tuple[str, Any]]) -> Any:
        return read(dict(numbers))  # type: ignore[arg-type]

    def shared(_binding: type, jwk: dict[str, Any]) -> Any:
        return read_once(
            frozenset(
                (each, jwk[each])
                for each in ("n", "e", "d", "p", "q", "dp", "dq", "qi", "oth")
                if each in jwk
            )
        )

    RSABinding.import_private_key = classmethod(shared)  # type: ignore[method-assign, assignment]
