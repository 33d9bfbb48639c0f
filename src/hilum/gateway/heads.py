"""What a request says before its body. Pure."""

import re
from dataclasses import dataclass

from hilum.gateway.records import PATH_RECORDED_BOUND, as_recorded
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.requests import BINARY_BODY_BOUND, BODY_BOUND, FhirRequest, Unsupported, parse

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UNREAD = Unsupported("body_unread", "The body was not read.")
_PATH = re.compile(rb"/t/([a-z0-9-]{1,32})/fhir(?:$|(?=/))")
_NOWHERE = TenantId("")


@dataclass(slots=True)
class Head:
    """What a request says before its body. ``path`` is relative to the FHIR base; ``recorded_path`` and ``recorded_query`` are for its audit record.

    ``request``: what it asks for, if it has no body.
    """

    tenant: TenantId
    method: str
    path: bytes
    query: bytes
    meant: dict[str, str]
    recorded_path: str
    recorded_query: str
    request: FhirRequest | Unsupported

    @property
    def body_bound(self) -> int:
        return BINARY_BODY_BOUND if (self.method, self.path) == ("POST", b"/Binary") else BODY_BOUND

    def parse(self, body: bytes) -> FhirRequest | Unsupported:
        return parse(self.method, self.path, self.query, self.meant, body)


def read_head(method: str, raw: bytes, query: bytes, meant: dict[str, str]) -> Head:
    """Read a head: ``raw`` is the path as it was sent, ``meant`` the headers that have a meaning, by name."""
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
        request=UNREAD if method in WITH_BODY else parse(method, path, query, meant),
    )
