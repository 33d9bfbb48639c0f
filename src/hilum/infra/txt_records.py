"""TXT records of the domain name system, read through the resolver of the host."""

from datetime import timedelta

from hilum.kernel.errors import Unavailable

LOOKUP_DEADLINE = timedelta(seconds=4)
RECORDS_BOUND = 50
"""Records of one name that are read."""


class TxtRecords:
    """Reads TXT records. ``nameserver``: address and port to ask, instead of the resolver that the host is configured with."""

    def __init__(self, nameserver: tuple[str, int] | None = None) -> None:
        self._nameserver = nameserver

    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, the strings of each joined; none if there is no such name. Raises Unavailable."""
        # Loaded by the first lookup: most processes make none.
        from dns import asyncresolver, exception, resolver

        try:
            asked = asyncresolver.Resolver(configure=self._nameserver is None)
            if self._nameserver is not None:
                asked.nameservers, asked.port = [self._nameserver[0]], self._nameserver[1]
            # With a dot at its end: the search list of the host must make no other name of it.
            answer = await asked.resolve(f"{name}.", "TXT", lifetime=LOOKUP_DEADLINE.total_seconds())
        except (resolver.NXDOMAIN, resolver.NoAnswer):
            return []
        except (exception.DNSException, OSError) as error:
            raise Unavailable("lookup_failed", "The name could not be looked up.") from error
        return [b"".join(each.strings).decode("utf-8", "replace") for each in list(answer)[:RECORDS_BOUND]]
