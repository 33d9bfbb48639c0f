"""The gateway's own ASGI callable, in front of every router: bytes to a request, an answer to bytes."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from hilum.foundation.infra import logs, metrics
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import HilumError, Invalid, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.requests import (
    BINARY_BODY_BOUND,
    BODY_BOUND,
    HEADERS,
    FhirRequest,
    Interaction,
    Unsupported,
    parse,
)
from hilum.foundation.web import cors
from hilum.foundation.web.asgi import Receive, Scope, Send
from hilum.foundation.web.bounds import RefusalDelay
from hilum.foundation.web.problems import status_of
from hilum.gateway.enforcement.batches import Batches, entries_of
from hilum.gateway.enforcement.models import BEARER_BOUND, GatewayRequest
from hilum.gateway.enforcement.records import PATH_RECORDED_BOUND, as_recorded
from hilum.gateway.enforcement.rendering import RequestOutcome, absent, failure, refused, render
from hilum.gateway.enforcement.service import Enforcer

T = TypeVar("T")
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
UNREAD = Unsupported("body_unread", "The body was not read.")
_PATH = re.compile(rb"/t/([a-z0-9-]{1,32})/fhir(?:$|(?=/))")
_NOWHERE = TenantId("")
_MEANT = {name.encode(): name for name in HEADERS}
_TAKEN = (
    b"Authorization, Accept, Cache-Control, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, "
    b"Prefer, X-Correlation-Id, X-Request-Id"
)
"""Includes headers that are refused, so that preflight succeeds and scripts can read the error."""
_METHODS = b"GET, HEAD, POST, PUT, DELETE, OPTIONS"
_PREFLIGHT = RequestOutcome(204, b"", (*cors.preflight(_METHODS, _TAKEN), (b"allow", _METHODS)))
_DOUBLED = Unsupported("header_doubled", "This header may occur only once.")
PARSE_INLINE_BOUND = 64 * 1024
"""Larger bodies are parsed in a thread of their own, one after the other: the event loop has others to serve."""
_log = logs.get("gateway")


@dataclass(slots=True)
class Head:
    """What a request says before its body. ``path`` is relative to the FHIR base, ``recorded_path`` for its audit record.

    ``meant``: the headers that change its meaning, by name.
    """

    tenant: TenantId
    method: str
    path: bytes
    query: bytes
    recorded_path: str
    meant: dict[str, str] = field(default_factory=dict)
    authorization: bytes | None = None
    origin: bytes = b""
    proof: str = ""
    is_ambiguous: bool = False
    """A header that has a meaning here was sent twice."""

    @property
    def body_bound(self) -> int:
        return BINARY_BODY_BOUND if (self.method, self.path) == ("POST", b"/Binary") else BODY_BOUND

    def parse(self, body: bytes = b"") -> FhirRequest | Unsupported:
        return parse(self.method, self.path, self.query, self.meant, body)


SLOWED = frozenset({401, 429})
"""Refusals that are held back for a moment if a network gets many of them."""


class Gateway:
    """Answers everything below ``/t/{tenant}/fhir`` but the public discovery document."""

    def __init__(
        self, enforcer: Enforcer, batches: Batches, refusal_delay: RefusalDelay | None = None
    ) -> None:
        """``refusal_delay`` is shared with the rest of the site: a source's refusals are counted together."""
        self._enforcer, self._batches = enforcer, batches
        self._refusal_delay = refusal_delay or RefusalDelay()
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parser")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state") or {}
        request_id: str = state.get("request_id", "")
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            answering, origin = self._answering(scope, receive, state)
            ended = await answering
        except Exception as error:  # the edge: an error without a mapping discloses nothing
            name, where = type(error).__name__, logs.place_of(error)
            _log.error("gateway.request.failed", request=request_id, error=name, where=where)
            ended, origin = failure(request_id), b""
        status = str(ended.status)
        metrics.GATEWAY_REQUESTS.add(status, "" if ended.deny is None else ended.deny.reason.value)
        metrics.GATEWAY_SECONDS.observe(clock() - begun, status)
        # Beyond a burst, so that guessing tokens in a loop, or sending on when a quota is used up, costs the others little (ADR 28).
        if ended.status in SLOWED:
            await self._refusal_delay.hold(str(state.get("network", "")))
        headers, body = render(ended, request_id)
        headers += (*cors.answer(origin, ended.origins), *ended.rates, (b"x-request-id", request_id.encode()))
        if correlation := state.get("correlation_id"):
            headers.append((b"x-correlation-id", correlation.encode()))
        body = b"" if scope["method"] == "HEAD" else body
        try:
            await send({"type": "http.response.start", "status": ended.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except OSError:  # the client has gone; the record stays
            return
        # Only after the answer was sent. An app that lost its 201 must get 409 for an identical
        # create, and not a second one (ADR 26).
        for settled in ended.settles:
            self._enforcer.answered(settled)

    # No coroutine of its own: most requests pass through this and wait in the next.
    def _answering(
        self, scope: Scope, receive: Receive, state: MutableMapping[str, Any]
    ) -> tuple[Awaitable[RequestOutcome], bytes]:
        """Return what answers a request, and the origin that it comes from."""
        head = read_head(scope)
        # A preflight carries no token (Fetch standard), so it is answered for every installed app's origin.
        if head.method == "OPTIONS":
            return self._preflight(head), head.origin
        if head.path == b"/metadata" and head.method in {"GET", "HEAD"}:
            return self._public(head), head.origin
        incoming = GatewayRequest(
            request_id=state.get("request_id", ""),
            tenant=head.tenant,
            request=_DOUBLED,
            bearer=_bearer(head.authorization),
            method=head.method,
            path=head.recorded_path,
            query=as_recorded(head.query),
            source=state.get("source", ""),
            correlation_id=state.get("correlation_id", ""),
            proof=head.proof,
        )
        # Two values of one header are read differently by a proxy and by this server.
        if incoming.bearer is None or head.is_ambiguous:
            return self._enforcer.answer(incoming), head.origin
        if head.method not in WITH_BODY:
            incoming.request = head.parse()
            return self._enforcer.answer(incoming), head.origin
        return self._with_body(incoming, receive, head), head.origin

    async def _preflight(self, head: Head) -> RequestOutcome:
        return replace(_PREFLIGHT, origins=self._enforcer.preflight_origins(head.tenant))

    async def _with_body(self, incoming: GatewayRequest, receive: Receive, head: Head) -> RequestOutcome:
        """Judge the token, then read the body, then parse it: a stranger's body costs nothing (security decision 26)."""
        # What the record says if the token is refused before the body is read.
        incoming.request = UNREAD
        if deny := await self._enforcer.fault_before_body(incoming):
            return await self._enforcer.refuse(incoming, deny)
        try:
            body = await _body(receive, head.body_bound)
        except HilumError as fault:
            busy = isinstance(fault, Unavailable)
            deny = Deny(Reason.CONCURRENCY_EXCEEDED if busy else Reason.REQUEST_UNSUPPORTED, fault.detail)
            return await self._enforcer.refuse(incoming, deny, status_of(fault))
        # The query of a search by POST is in its body, and belongs into the record as a query does.
        if head.path.endswith(b"/_search"):
            incoming.query = as_recorded(head.query, body)
        incoming.request = await self._parsed(len(body), partial(head.parse, body))
        if (
            not isinstance(incoming.request, FhirRequest)
            or incoming.request.interaction is not Interaction.BATCH
        ):
            return await self._enforcer.answer(incoming)
        bases = self._enforcer.bases_of(incoming.tenant)
        entries = await self._parsed(len(body), partial(entries_of, incoming.request, bases))
        if isinstance(entries, Unsupported):
            incoming.request = entries
            return await self._enforcer.answer(incoming)
        return await self._batches.answer(incoming, entries)

    async def _parsed(self, size: int, read: Callable[[], T]) -> T:
        """Parse a body of so many bytes: here, or in a thread if it may take long."""
        if size <= PARSE_INLINE_BOUND:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._parser, read)

    async def _public(self, head: Head) -> RequestOutcome:
        request = head.parse()
        if isinstance(request, Unsupported):
            ended = refused(Deny(Reason.REQUEST_UNSUPPORTED, request.detail), request)
        elif request.interaction is not Interaction.CAPABILITIES:
            ended = absent()
        else:
            ended = await self._enforcer.metadata(head.tenant)
        ended.origins = frozenset({"*"})
        return ended


def read_head(scope: Scope) -> Head:
    """Read the path and the headers of a request, once."""
    # The raw path: an encoded slash must stay within its segment.
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    located = _PATH.match(raw)
    tenant = TenantId(located[1].decode()) if located else _NOWHERE
    path = raw[located.end() :] if located else b"/-"
    recorded = as_recorded(raw)[:PATH_RECORDED_BOUND]
    head = Head(tenant, scope["method"], path, scope.get("query_string", b""), recorded)
    for name, value in scope["headers"]:
        if name in _MEANT:
            meant = _MEANT[name]
            head.is_ambiguous = head.is_ambiguous or meant in head.meant
            head.meant[meant] = value.decode("latin-1").strip()
        elif name == b"authorization":
            # The first names whom the record of the refusal is about.
            head.is_ambiguous = head.is_ambiguous or head.authorization is not None
            head.authorization = value if head.authorization is None else head.authorization
        elif name == b"origin":
            head.origin = value
        elif name == b"dpop":
            head.proof = value[: BEARER_BOUND * 8].decode("latin-1")
    return head


def _bearer(authorization: bytes | None) -> str | None:
    """Read the token. Source: RFC 6750 section 2.1 (the only place where one is looked for)."""
    if authorization is None:
        return None
    scheme, _, text = authorization.partition(b" ")
    token = text.strip()
    if scheme.lower() != b"bearer" or not token:
        return None
    return token[: BEARER_BOUND + 1].decode("latin-1")


async def _body(receive: Receive, bound: int) -> bytes:
    """Read a body. Raises HilumError: Invalid if it is too large, too slow or incomplete, Unavailable if there is no room."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("body_incomplete", "The body did not arrive completely.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bound:
            raise Invalid("body_too_large", f"A body may have at most {bound} bytes here.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
