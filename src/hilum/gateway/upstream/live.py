"""Send requests to FHIR servers: to an embedded one by ASGI, to others over pooled HTTP connections.

A request, from the gateway to the server and back:

1. ``Upstreams.send`` or, with the record of its intent, ``write``: ``slots.Slots`` admits it, makes it wait, or refuses it.
2. ``_exchange``: to the embedded server, or through ``_over_http``, which checks that the target is below the base and adds the credentials.
3. ``http_client.HttpClient.send``: takes or opens a connection; ``http1.AnswerReader`` reads the answer.
4. Failures become ``Unavailable``, with a code that says whether the request was sent. A read on a stale connection is sent once more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar

import orjson
from cachetools import LRUCache

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Clock
from hilum.foundation.standards.fhir.statements import ServerCapabilities, read_statement
from hilum.foundation.web.asgi import App, Message, Scope
from hilum.gateway.upstream import policy
from hilum.gateway.upstream.access import AWAY, Access, Assert, Tokens, open_access
from hilum.gateway.upstream.breaker import Breakers
from hilum.gateway.upstream.http1 import TooLarge
from hilum.gateway.upstream.http_client import HttpClient, Lost, NotSent
from hilum.gateway.upstream.models import (
    ACCESSES_KEPT,
    BUSY,
    CAPABILITIES_LIFE,
    CAPABILITIES_RETRY,
    CROWDED,
    DEADLINE,
    HEADERS_KEPT,
    RESPONSE_BOUND,
    SENT_HEADERS,
    TAKEN_HEADERS,
    UNSTATED,
    SlotRequest,
    UpstreamRequest,
    UpstreamResponse,
)
from hilum.gateway.upstream.slots import Slots
from hilum.identity.people.models import Quirks, TenantFacts, UpstreamKind, UpstreamRef
from hilum.identity.people.policy import quirks_of
from hilum.records.audit.models import Recorded
from hilum.records.keys.live import Vault

_log = logs.get("upstream")
LOST = "upstream_answer_lost"
"""The request was sent, so it may have been carried out, but no answer came."""
TOO_LARGE = "upstream_answer_too_large"
UNREADABLE = "upstream_unreadable"
_ASKED = (("accept", "application/fhir+json"),)
_ASGI = {"version": "3.0", "spec_version": "2.4"}
_TAKEN = {name.encode(): name for name in TAKEN_HEADERS}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A FHIR server in this process. ``base``: the base that it writes in absolute addresses, without trailing slash."""

    app: App
    base: str


async def _no_key(_tenant: TenantId, _upstream: UpstreamRef) -> str:
    """Where no FHIR server is reached with a key: tests, and what reads embedded servers only."""
    raise Unavailable(AWAY, "This process has no key for FHIR servers.")


class Dropped(Unavailable):
    """The connection ended before any byte of the answer, as one that the server closed while it was idle. A read may be repeated."""


class Upstreams:
    """Sends requests to every tenant's FHIR server. One per process, for its event loop only.

    ``send`` and ``write`` raise Unavailable: ``upstream_busy`` if all slots of the tenant are taken, ``upstream_shed`` if those of the
    request's traffic class are, ``upstream_unavailable`` if the request was not sent, ``upstream_answer_lost`` if it was and no answer came,
    ``upstream_answer_too_large``.
    """

    def __init__(
        self,
        vault: Vault,
        embedded: Callable[[TenantId], Embedded | None],
        deadline: timedelta = DEADLINE,
        client_assertion: Assert = _no_key,
    ) -> None:
        self._vault = vault
        self._http = HttpClient(deadline)
        self._tokens = Tokens(self._http, client_assertion)
        self._embedded = embedded
        self._slots: dict[TenantId, Slots] = {}
        self._breakers = Breakers()
        self._accesses: LRUCache[TenantId, Access] = LRUCache(ACCESSES_KEPT)

    def base_of(self, tenant: TenantFacts) -> str:
        """Return the base of the tenant's FHIR server, without trailing slash; empty if it is embedded and not running."""
        if tenant.upstream.kind is UpstreamKind.EMBEDDED:
            server = self._embedded(tenant.id)
            return server.base if server is not None else ""
        return tenant.upstream.url.rstrip("/")

    def held(self, rank: int) -> int:
        """Return how many requests of a traffic class are at FHIR servers now. Thread-safe."""
        return sum(each.held[rank] for each in list(self._slots.values()))

    def waiting(self, rank: int) -> int:
        """Return how many requests of a traffic class wait for a slot. Thread-safe."""
        return sum(each.waiting[rank] for each in list(self._slots.values()))

    def send(
        self, tenant: TenantFacts, request: UpstreamRequest, slot: SlotRequest = UNSTATED
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send a read or a search, and return the whole answer. Raises AssertionError for a write, which needs ``write``."""
        if request.method != "GET" and not (request.method == "POST" and _is_search(request.target)):
            raise AssertionError("a write leaves with the record of its intent only")
        return self._send(tenant, request, slot)

    def write(
        self, tenant: TenantFacts, request: UpstreamRequest, intent: Recorded, slot: SlotRequest = UNSTATED
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send a write, soon after the record of its intent or not at all. Source: security decision 20."""
        return self._send(tenant, request, slot, intent)

    async def _send(
        self, tenant: TenantFacts, request: UpstreamRequest, slot: SlotRequest, intent: Recorded | None = None
    ) -> UpstreamResponse:
        if self._breakers:
            self._require_closed(tenant, slot)
        slots = self._slots.get(tenant.id)
        if slots is None:
            slots = self._slots[tenant.id] = Slots()
        if not slots.take(slot):
            await slots.wait(slot)
        try:
            # After the wait for a slot: an intent older than 8 seconds may be settled as not done before the write arrives (ADR 26).
            if intent is not None and not intent.use():
                raise Unavailable(
                    BUSY,
                    "The write was not sent, because the FHIR server was busy for too long. Send it again.",
                )
            response = await self._repeated_once(tenant, request, may_repeat=intent is None)
        except Unavailable as error:
            self._note(tenant, slot, error)
            raise
        finally:
            slots.leave(slot)
        if self._breakers:
            self._breakers.succeeded((tenant.id, ""))
            self._breakers.succeeded((tenant.id, slot.app))
        return response

    async def _repeated_once(
        self, tenant: TenantFacts, request: UpstreamRequest, *, may_repeat: bool
    ) -> UpstreamResponse:
        try:
            return await self._exchange(tenant, request)
        # A server may close an idle connection at any time. Only reads are repeated: a write may have been done.
        except Dropped:
            if not may_repeat:
                raise
            return await self._exchange(tenant, request)

    def _require_closed(self, tenant: TenantFacts, slot: SlotRequest) -> None:
        """Raise Unavailable if the breaker of the server, or that of the app there, is open."""
        now = asyncio.get_running_loop().time()
        if self._breakers.closed_in((tenant.id, ""), now):
            raise Unavailable(AWAY, "The FHIR server could not be reached several times in a row.")
        if slot.app and self._breakers.closed_in((tenant.id, slot.app), now):
            raise Unavailable(
                CROWDED,
                "The FHIR server did not answer several requests of this app in a row, so it is not asked for some seconds. Ask for less at a time.",
            )

    def _note(self, tenant: TenantFacts, slot: SlotRequest, error: Unavailable) -> None:
        """Count a failure of the server, or of the app there."""
        now = asyncio.get_running_loop().time()
        if isinstance(error.__cause__, NotSent):
            self._breakers.failed((tenant.id, ""), now)
        elif isinstance(error.__cause__, Lost) and slot.app:
            self._breakers.failed((tenant.id, slot.app), now)

    def describe(
        self, tenant: TenantFacts, request: UpstreamRequest
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send a request without a slot, for a server's CapabilityStatement. Callers send at most one at a time."""
        return self._exchange(tenant, request)

    def _exchange(
        self, tenant: TenantFacts, request: UpstreamRequest
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        if tenant.upstream.kind is UpstreamKind.EMBEDDED:
            return self._in_process(tenant, request)
        return self._over_http(tenant, request)

    async def _in_process(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        server = self._embedded(tenant.id)
        if server is None:
            raise Unavailable(AWAY, "The FHIR server is not running.")
        try:
            return await _call(server.app, request)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails inside is the server's failure
            _log.error("upstream.embedded.failed", tenant=tenant.id, error=type(error).__name__)
            raise Unavailable(LOST, "The FHIR server failed.") from None

    async def _over_http(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        base = tenant.upstream.url.rstrip("/")
        # Targets come from apps and from the server's links; the credentials must not be sent anywhere else.
        if policy.address(base, request.target) is None:
            raise Unavailable(AWAY, "The request leads outside the FHIR server's base.")
        access = self._access(tenant)
        response = await self._with_access(tenant, base, request, access)
        if response.status != 401 or tenant.upstream.token_auth is None or not self._tokens.forget(access):
            return response
        # Only a read is sent again: a server that refuses a write may have carried it out.
        is_read = request.method == "GET" or _is_search(request.target)
        return await self._with_access(tenant, base, request, access) if is_read else response

    async def _with_access(
        self, tenant: TenantFacts, base: str, request: UpstreamRequest, access: Access
    ) -> UpstreamResponse:
        headers = (*_sent(request.headers), *access.fixed)
        if tenant.upstream.token_auth is not None:
            headers = (*headers, ("authorization", await self._tokens.header_of(tenant, access)))
        try:
            return await self._http.send(base, request, headers, access.tls)
        except NotSent as error:
            raise Unavailable(AWAY, "The FHIR server cannot be reached.") from error
        except TooLarge as error:
            raise Unavailable(TOO_LARGE, "The FHIR server's answer is too large.") from error
        except Lost as error:
            kind = Dropped if error.is_stale else Unavailable
            raise kind(LOST, "The FHIR server did not answer.") from error

    def _access(self, tenant: TenantFacts) -> Access:
        found = self._accesses.get(tenant.id)
        # The same object for as long as nobody changes the hospital.
        if found is None or (found.upstream is not tenant.upstream and found.upstream != tenant.upstream):
            try:
                # Sealed for one host, so that a tenant's next server does not receive the credentials of the last.
                found = open_access(self._vault, tenant.upstream)
            except Invalid as error:
                raise Unavailable(AWAY, "The FHIR server's credentials cannot be opened.") from error
            self._accesses[tenant.id] = found
        return found

    async def close(self) -> None:
        """Close every connection."""
        self._http.close()


def _is_search(target: str) -> bool:
    return target.partition("?")[0].endswith("/_search")


@lru_cache(maxsize=HEADERS_KEPT)
def _sent(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name in SENT_HEADERS)


class RecentlyFailed(Unavailable):
    """The FHIR server failed to return its CapabilityStatement less than CAPABILITIES_RETRY ago, and is not asked again yet."""

    def __init__(self, cause: Unavailable, retry_after_s: float) -> None:
        super().__init__(cause.code, cause.detail)
        self.retry_after_s = retry_after_s


class CapabilityCache:
    """A cache of the CapabilityStatement of each tenant's FHIR server. One per process, for its event loop only.

    Callers without a token can cause these reads, so each server gets one at a time, without a slot, and failures are cached, too.
    """

    def __init__(self, upstreams: Upstreams, clock: Clock) -> None:
        self._upstreams, self._clock = upstreams, clock
        self._cached: dict[TenantId, tuple[UpstreamRef, ServerCapabilities]] = {}
        self._failed: dict[TenantId, tuple[UpstreamRef, float, Unavailable]] = {}
        self._reading: dict[TenantId, tuple[UpstreamRef, asyncio.Task[ServerCapabilities]]] = {}

    async def of(self, tenant: TenantFacts, base: str) -> ServerCapabilities:
        """Return a server's CapabilityStatement, with ``base`` in place of the server's; the last one if it cannot be read now.

        Raises Unavailable: as ``send``, ``upstream_unreadable`` if the answer is not a CapabilityStatement of R4, RecentlyFailed soon after either.
        """
        cached = _of(tenant, self._cached.get(tenant.id))
        at = self._clock.monotonic()
        if cached is not None and at - cached.read_at < CAPABILITIES_LIFE.total_seconds():
            return cached
        failed = self._failed.get(tenant.id)
        if failed is not None and failed[0] == tenant.upstream and at < failed[1]:
            if cached is not None:
                return cached
            raise RecentlyFailed(failed[2], failed[1] - at)
        try:
            # Shielded, so that one caller's cancellation does not fail the others.
            return await asyncio.shield(self._read_once(tenant, base, at))
        except Unavailable:
            if cached is None:
                raise
            return cached

    def _read_once(self, tenant: TenantFacts, base: str, at: float) -> "asyncio.Task[ServerCapabilities]":
        """Return the read in progress, or start one."""
        under_way = _of(tenant, self._reading.get(tenant.id))
        if under_way is not None and not under_way.cancelled():
            return under_way
        task = asyncio.get_running_loop().create_task(self._read(tenant, base, at))
        self._reading[tenant.id] = tenant.upstream, task
        task.add_done_callback(partial(self._finish, tenant))
        return task

    def _finish(self, tenant: TenantFacts, task: "asyncio.Task[ServerCapabilities]") -> None:
        """Cache the outcome of a read."""
        error = None if task.cancelled() else task.exception()
        if self._reading.get(tenant.id, (None, None))[1] is not task:
            return  # the tenant has another server since
        del self._reading[tenant.id]
        if task.cancelled():
            return
        if error is None:
            self._failed.pop(tenant.id, None)
            self._cached[tenant.id] = tenant.upstream, task.result()
        elif isinstance(error, Unavailable):
            until = self._clock.monotonic() + CAPABILITIES_RETRY.total_seconds()
            self._failed[tenant.id] = tenant.upstream, until, error

    async def _read(self, tenant: TenantFacts, base: str, at: float) -> ServerCapabilities:
        response = await self._upstreams.describe(tenant, UpstreamRequest("GET", "metadata", _ASKED))
        if response.status != 200:
            raise Unavailable(AWAY, "The FHIR server did not return a CapabilityStatement.")
        try:
            statement = orjson.loads(policy.relocated(response.body, self._upstreams.base_of(tenant), base))
        except ValueError:
            statement = None
        quirks = quirks_of(tenant.upstream.quirks) or Quirks()
        capabilities = read_statement(statement, at, quirks.ignored)
        if capabilities is None:
            raise Unavailable(UNREADABLE, "The FHIR server did not return a CapabilityStatement.")
        return capabilities


_Kept = TypeVar("_Kept")


def _of(tenant: TenantFacts, kept: tuple[UpstreamRef, _Kept] | None) -> _Kept | None:
    """Return a cached value if it is of the tenant's present server."""
    return kept[1] if kept is not None and kept[0] == tenant.upstream else None


@lru_cache(maxsize=HEADERS_KEPT)
def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode("latin-1")) for name, value in _sent(headers))


async def _call(app: App, request: UpstreamRequest) -> UpstreamResponse:
    """Call an ASGI application in this process, without a deadline, since the application has its own."""
    path, _, query = request.target.partition("?")
    headers = list(_encoded(request.headers))
    if request.body:
        headers.append((b"content-length", b"%d" % len(request.body)))
    scope: Scope = {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": "/" + path,
        "raw_path": b"/" + path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {"asked_by": request.asked_by},
    }
    call = _AsgiCall(request.body)
    await app(scope, call.receive, call.send)
    if call.start is None:
        raise Unavailable(LOST, "The FHIR server ended without an answer.")
    chunks = call.chunks
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    answered = call.start.get("headers", ())
    taken = {_TAKEN[name]: value.decode("latin-1") for name, value in answered if name in _TAKEN}
    return UpstreamResponse(call.start["status"], taken, body)


class _AsgiCall:
    """The body and the answer of one ASGI call; the answer is limited to RESPONSE_BOUND."""

    __slots__ = ("body", "chunks", "size", "start")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.start: Message | None = None
        self.chunks: list[bytes] = []
        self.size = 0

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        body = message.get("body", b"")
        self.size += len(body)
        if self.size > RESPONSE_BOUND:
            raise Unavailable(TOO_LARGE, "The FHIR server's answer is too large.")
        self.chunks.append(body)
