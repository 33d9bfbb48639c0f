"""Reads TXT records of the domain name system through the host's resolver."""

from datetime import timedelta

from hilum.foundation.kernel.errors import Unavailable

LOOKUP_DEADLINE = timedelta(seconds=4)
RECORDS_BOUND = 50
"""Records of one name that are read."""


class TxtRecords:
    """Reads TXT records. ``nameserver``: address and port of the server to query instead of the host's configured resolver."""

    def __init__(self, nameserver: tuple[str, int] | None = None) -> None:
        self._nameserver = nameserver

    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, the strings of each joined; none if there is no such name. Raises Unavailable."""
        # Imported at the first lookup, since most processes make none.
        from dns import asyncresolver, exception, resolver

        try:
            stub = asyncresolver.Resolver(configure=self._nameserver is None)
            if self._nameserver is not None:
                stub.nameservers, stub.port = [self._nameserver[0]], self._nameserver[1]
            # The trailing dot keeps the host's search list from extending the name.
            answer = await stub.resolve(f"{name}.", "TXT", lifetime=LOOKUP_DEADLINE.total_seconds())
        except (resolver.NXDOMAIN, resolver.NoAnswer):
            return []
        except (exception.DNSException, OSError) as error:
            raise Unavailable("lookup_failed", "The name could not be looked up.") from error
        records = list(answer)[:RECORDS_BOUND]
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]
