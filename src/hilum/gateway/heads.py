"""What a request says before its body, read once for requests that say the same again. Pure."""

import re
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from hilum.gateway.records import PATH_RECORDED_BOUND, as_recorded
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.requests import BINARY_BODY_BOUND, BODY_BOUND, FhirRequest, Unsupported, parse

HEADS_BOUND, HEAD_BYTES_BOUND = 4_000, 512
"""How many heads are kept, and the most bytes of one; longer ones are read each time."""
SEEN_BOUND = 1 << 14
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UNREAD = Unsupported("body_unread", "The body was not read.")
_PATH = re.compile(rb"/t/([a-z0-9-]{1,32})/fhir(?:$|(?=/))")
_NOWHERE = TenantId("")


@dataclass(slots=True)
class Head:
    """What a request says before its body. ``path`` is relative to the FHIR base; ``recorded_path`` and ``recorded_query`` are for its audit record.

    ``request``: what it asks for, if it has no body. A head that is kept is shared by all requests that say the same, so nobody changes it.
    """

    tenant: TenantId
    method: str
    path: bytes
    query: bytes
    meant: tuple[str, ...]
    recorded_path: str
    recorded_query: str
    request: FhirRequest | Unsupported
    is_kept: bool = False

    @property
    def body_bound(self) -> int:
        return BINARY_BODY_BOUND if (self.method, self.path) == ("POST", b"/Binary") else BODY_BOUND

    def parse(self, body: bytes) -> FhirRequest | Unsupported:
        return parse(self.method, self.path, self.query, _named(self.meant), body)


class Heads:
    """Heads of requests that came more than once lately; the least recently used are dropped first. Used from one thread only.

    Most requests come once. Keeping those too would cost them more than the others save, so a head is kept when it comes again.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str | bytes, ...], Head] = OrderedDict()
        # Only a hash of each: two that have the same one, or the same place, are kept too early or too late.
        self._seen = array("q", bytes(8 * SEEN_BOUND))

    def read(self, method: str, raw: bytes, query: bytes, meant: list[str]) -> Head:
        """Read a head: ``raw`` is the path as it was sent, ``meant`` the names and values of the headers that have a meaning."""
        key: tuple[str | bytes, ...] = (method, raw, query, *meant)
        head = self._kept.get(key)
        if head is not None:
            self._kept.move_to_end(key)
            return head
        head = _read(method, raw, query, tuple(meant))
        mark = hash(key)
        place = mark % SEEN_BOUND
        if self._seen[place] != mark:
            self._seen[place] = mark
        elif sum(map(len, key)) <= HEAD_BYTES_BOUND:
            head.is_kept = True
            self._kept[key] = head
            if len(self._kept) > HEADS_BOUND:
                self._kept.popitem(last=False)
        return head


def _read(method: str, raw: bytes, query: bytes, meant: tuple[str, ...]) -> Head:
    located = _PATH.match(raw)
    tenant = TenantId(located[1].decode()) if located else _NOWHERE
    path = raw[located.end() :] if located else b"/-"
    return Head(
        tenant,
        method,
        path,
        query,
        meant,
        recorded_path=as_recorded(raw)[:PATH_RECORDED_BOUND],
        recorded_query=as_recorded(query),
        request=UNREAD if method in WITH_BODY else parse(method, path, query, _named(meant)),
    )


def _named(meant: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(meant[::2], meant[1::2], strict=True))
