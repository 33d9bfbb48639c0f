"""Look up the addresses of FHIR servers, each host once at a time and in its own thread.

The event loop's own look-ups share a few threads, which one hospital whose name servers do not answer would occupy for all hospitals.
"""

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread

LOOKUPS_BOUND = 64
"""How many hosts are looked up at a time, each in a thread; further look-ups are refused."""
Addresses = tuple[str, ...]


class Resolver:
    """Looks up addresses. For one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[Addresses]] = {}

    async def addresses_of(self, host: str) -> Addresses:
        """Return the addresses of a host, in the order in which to try them. Raises OSError, UnicodeError."""
        with suppress(ValueError):
            return (str(ip_address(host)),)
        lookup = self._under_way.get(host)
        if lookup is None:
            if len(self._under_way) >= LOOKUPS_BOUND:
                raise OSError("too many look-ups are in progress")
            lookup = self._under_way[host] = asyncio.get_running_loop().create_future()
            lookup.add_done_callback(lambda done: self._ended(host, done))
            # A daemon thread, since a look-up cannot be cancelled and must not delay the end of the process.
            Thread(target=_look_up, args=(host, lookup), name="resolver", daemon=True).start()
        return await asyncio.shield(lookup)

    def _ended(self, host: str, lookup: asyncio.Future[Addresses]) -> None:
        del self._under_way[host]
        lookup.exception()  # mark it as retrieved, since its callers may have been cancelled


def _look_up(host: str, lookup: asyncio.Future[Addresses]) -> None:
    found: Addresses = ()
    error: Exception | None = None
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = tuple(dict.fromkeys(str(address[0]) for *_, address in answers))
    except (OSError, UnicodeError) as failed:
        error = failed
    with suppress(RuntimeError):  # the loop was closed meanwhile
        lookup.get_loop().call_soon_threadsafe(_settle, lookup, found, error)


def _settle(lookup: asyncio.Future[Addresses], found: Addresses, error: Exception | None) -> None:
    if error is None:
        lookup.set_result(found)
    else:
        lookup.set_exception(error)
