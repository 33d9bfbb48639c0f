"""Hosts of vendors that a sandbox under test reaches at this machine: their names resolve to it, and their certificates are trusted.

Only what is outside the platform is made up: the answers of the resolver, and the system's list of authorities.
"""

import socket
from collections.abc import Mapping
from typing import Any

VENDORS_HOST = "vendor.example"
"""Where stories find what a vendor publishes."""
NAMES, AUTHORITY = "TESTS_NAMES", "TESTS_AUTHORITY"


def known(authority: str, *names: str) -> dict[str, str]:
    """Return the environment of a process that reaches hosts of these names here, with certificates of an authority."""
    return {NAMES: " ".join(names), AUTHORITY: authority}


def install(environment: Mapping[str, str]) -> None:
    """Make this process, and what is forked from it, reach the hosts that its environment names."""
    names = frozenset(environment.get(NAMES, "").split())
    if not names:
        return
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *of: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host in names else host, *of, **more)

    socket.getaddrinfo = getaddrinfo
    # It is made when the library is loaded, before this process knows its environment.
    from aiohttp.connector import _SSL_CONTEXT_VERIFIED

    _SSL_CONTEXT_VERIFIED.load_verify_locations(environment[AUTHORITY])
