"""Sending requests to FHIR servers: in this process by ASGI, or over pooled HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar

import orjson
from cachetools import LRUCache

from hilum.audit.models import Recorded
from hilum.identity.models import TenantFacts, UpstreamKind, UpstreamRef
from hilum.infra import logs
from hilum.kernel.errors import Invalid, Unavailable
from hilum.kernel.ids import TenantId
from hilum.kernel.ports import Clock, Ids
from hilum.keys.live import Vault
from hilum.standards.fhir.statements import Surface, read_statement
from hilum.upstream import policy
from hilum.upstream.http1 import TooLarge
from hilum.upstream.http_client import HttpClient, Lost, NotSent
from hilum.upstream.models import (
    BUSY,
    CREDENTIALS_KEPT,
    DEADLINE,
    HEADERS_KEPT,
    RESPONSE_BOUND,
    SENT_HEADERS,
    SURFACE_LIFE,
    SURFACE_REST,
    TAKEN_HEADERS,
    UNSTATED,
    Claim,
    UpstreamRequest,
    UpstreamResponse,
)
from hilum.upstream.places import Places

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

PURPOSE = "upstream"
_log = logs.get("upstream")
AWAY = "upstream_unavailable"
LOST = "upstream_answer_lost"
"""The request may have been carried out; only the answer is missing."""
TOO_LARGE = "upstream_answer_too_large"
UNREADABLE = "upstream_unreadable"
_ASKED = (("accept", "application/fhir+json"),)
_ASGI = {"version": "3.0", "spec_version": "2.4"}
_TAKEN = {name.encode(): name for name in TAKEN_HEADERS}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A FHIR server in this process. ``base`` is what it writes in absolute addresses, without trailing slash.

    ``read_inline`` answers a plain GET of a target without waiting, or returns None if ``app`` must be called; it never raises. What it
    returns is shared by all who ask, so nobody changes it.
    """

    app: AsgiApp
    base: str
    read_inline: Callable[[str], UpstreamResponse | None] = lambda _: None


def seal_credentials(vault: Vault, authorization: str, *, url: str, ids: Ids) -> str:
    """Seal the Authorization header of a FHIR server, bound to its host, for ``UpstreamRef.credentials_sealed``."""
    # A line break in them would begin a header of its own in every request.
    if not authorization.isascii() or not authorization.isprintable():
        raise Invalid(
            "credentials_malformed", "Credentials are the printable text of an Authorization header."
        )
    return vault.seal(PURPOSE, authorization.encode(), nonce=ids, bound_to=policy.host_of(url))


class Dropped(Unavailable):
    """The connection ended before any of the answer came, as a pooled one does that the server closed meanwhile. A read may be repeated."""


class Upstreams:
    """Sends requests to every tenant's FHIR server. One per process, used from its event loop only.

    ``send`` raises Unavailable: ``upstream_busy`` when the tenant's places are taken, ``upstream_shed`` when those are that the claim's
    traffic class may hold, ``upstream_answer_too_large``,
    ``upstream_answer_lost`` when the request had left and no answer came, ``upstream_unavailable`` when it did not leave.
    """

    def __init__(
        self,
        vault: Vault,
        embedded: Callable[[TenantId], Embedded | None],
        deadline: timedelta = DEADLINE,
    ) -> None:
        self._vault = vault
        self._http = HttpClient(deadline)
        self._embedded = embedded
        self._places: dict[TenantId, Places] = {}
        self._credentials: LRUCache[tuple[str, str], str] = LRUCache(CREDENTIALS_KEPT)

    def base_of(self, tenant: TenantFacts) -> str:
        """Return the base that the tenant's FHIR server writes in its addresses, without trailing slash."""
        if tenant.upstream.kind is UpstreamKind.EMBEDDED:
            server = self._embedded(tenant.id)
            return server.base if server is not None else ""
        return tenant.upstream.url.rstrip("/")

    def read_inline(self, tenant: TenantFacts, target: str) -> UpstreamResponse | None:
        """Read from a server in this process what it can return at once; None if ``send`` must be called."""
        if tenant.upstream.kind is not UpstreamKind.EMBEDDED:
            return None
        server = self._embedded(tenant.id)
        return server.read_inline(target) if server is not None else None

    def held(self, rank: int) -> int:
        """Return how many requests of a traffic class are at a FHIR server now. From any thread."""
        return sum(each.held[rank] for each in list(self._places.values()))

    def waiting(self, rank: int) -> int:
        """Return how many requests of a traffic class wait for a place. From any thread."""
        return sum(each.waiting[rank] for each in list(self._places.values()))

    def send(
        self, tenant: TenantFacts, request: UpstreamRequest, claim: Claim = UNSTATED
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send a read or a search and return the whole answer, within deadline and bound. Anything else is a bug, and is not sent."""
        if request.method != "GET" and not (request.method == "POST" and _is_search(request.target)):
            raise AssertionError("a write leaves with the record of its intent only")
        return self._send(tenant, request, claim)

    def write(
        self, tenant: TenantFacts, request: UpstreamRequest, intent: Recorded, claim: Claim = UNSTATED
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Send a write. Each needs the record of an intent of its own, and leaves soon after it or not at all.

        Source: security decision 20
        """
        return self._send(tenant, request, claim, intent)

    async def _send(
        self, tenant: TenantFacts, request: UpstreamRequest, claim: Claim, intent: Recorded | None = None
    ) -> UpstreamResponse:
        # By tenant: a server that hangs takes the places of its own hospital only.
        places = self._places.get(tenant.id)
        if places is None:
            places = self._places[tenant.id] = Places()
        if not places.take(claim):
            await places.wait(claim)
        try:
            # Last, after the wait for a place: an intent that is older than 8 seconds may be
            # settled as not done before this write would arrive (ADR 40).
            if intent is not None and not intent.use():
                raise Unavailable(
                    BUSY,
                    "The write was not sent, because the FHIR server was busy for too long. Send it again.",
                )
            return await self._exchange(tenant, request)
        # Once, and reads only: a server may close a pooled connection at any moment. A write whose
        # answer is missing may have been done.
        except Dropped:
            if intent is not None:
                raise
            return await self._exchange(tenant, request)
        finally:
            places.leave(claim)

    def describe(
        self, tenant: TenantFacts, request: UpstreamRequest
    ) -> Coroutine[Any, Any, UpstreamResponse]:
        """Ask a server about itself, outside the tenant's places; the caller makes at most one such request at a time."""
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
        except Exception as error:  # noqa: BLE001 - its edge: what breaks inside is its own
            _log.error("upstream.embedded.failed", tenant=tenant.id, error=type(error).__name__)
            raise Unavailable(LOST, "The FHIR server failed.") from None

    async def _over_http(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        base = tenant.upstream.url.rstrip("/")
        # Targets come from apps and from a server's own links; the credentials must never go along
        # to anywhere else.
        if policy.address(base, request.target) is None:
            raise Unavailable(AWAY, "The request leads outside the FHIR server's base.")
        headers = _sent(request.headers)
        if tenant.upstream.credentials_sealed:
            authorization = self._authorization(tenant.upstream.credentials_sealed, base)
            headers = (*headers, ("authorization", authorization))
        try:
            return await self._http.send(base, request, headers)
        except NotSent as error:
            raise Unavailable(AWAY, "The FHIR server cannot be reached.") from error
        except TooLarge as error:
            raise Unavailable(TOO_LARGE, "The FHIR server's answer is too large.") from error
        except Lost as error:
            kind = Dropped if error.is_stale else Unavailable
            raise kind(LOST, "The FHIR server did not answer.") from error

    def _authorization(self, sealed: str, base: str) -> str:
        key = (sealed, base)
        found = self._credentials.get(key)
        if found is None:
            try:
                # Sealed for one host: moving a tenant to another server does not send it the
                # credentials of the earlier one.
                found = self._vault.open(PURPOSE, sealed, policy.host_of(base)).decode()
            except Invalid as error:
                raise Unavailable(AWAY, "The FHIR server's credentials cannot be opened.") from error
            self._credentials[key] = found
        return found

    async def close(self) -> None:
        """Close every connection."""
        self._http.close()


def _is_search(target: str) -> bool:
    return target.partition("?")[0].endswith("/_search")


@lru_cache(maxsize=HEADERS_KEPT)
def _sent(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name in SENT_HEADERS)


class Resting(Unavailable):
    """The FHIR server has just failed to return its CapabilityStatement, and is not asked again for a while."""

    def __init__(self, cause: Unavailable, retry_after_s: float) -> None:
        super().__init__(cause.code, cause.detail)
        self.retry_after_s = retry_after_s


class Surfaces:
    """The CapabilityStatement of each tenant's FHIR server, read again once it is old. One per process, used from its event loop only.

    Unauthenticated callers can cause these reads, so a server gets one at a time, outside the apps' places, and a failure is cached too.
    """

    def __init__(self, upstreams: Upstreams, clock: Clock) -> None:
        self._upstreams, self._clock = upstreams, clock
        self._cached: dict[TenantId, tuple[UpstreamRef, Surface]] = {}
        self._failed: dict[TenantId, tuple[UpstreamRef, float, Unavailable]] = {}
        self._reading: dict[TenantId, tuple[UpstreamRef, asyncio.Task[Surface]]] = {}

    async def of(self, tenant: TenantFacts, base: str) -> Surface:
        """Return a server's CapabilityStatement, with ``base`` in place of its own; if it cannot be read now, the last one that was.

        Raises Unavailable: as ``send``, ``upstream_unreadable`` if the answer is not a CapabilityStatement of R4, and Resting soon after either.
        """
        cached = _of(tenant, self._cached.get(tenant.id))
        at = self._clock.monotonic()
        if cached is not None and at - cached.read_at < SURFACE_LIFE.total_seconds():
            return cached
        failed = self._failed.get(tenant.id)
        if failed is not None and failed[0] == tenant.upstream and at < failed[1]:
            if cached is not None:
                return cached
            raise Resting(failed[2], failed[1] - at)
        try:
            # Shielded: a caller who disconnects must not cancel the read that others wait for.
            return await asyncio.shield(self._read_once(tenant, base, at))
        except Unavailable:
            if cached is None:
                raise
            return cached

    def _read_once(self, tenant: TenantFacts, base: str, at: float) -> "asyncio.Task[Surface]":
        """Return the read that is in progress; start one if there is none."""
        under_way = _of(tenant, self._reading.get(tenant.id))
        if under_way is not None and not under_way.cancelled():
            return under_way
        task = asyncio.get_running_loop().create_task(self._read(tenant, base, at))
        self._reading[tenant.id] = tenant.upstream, task
        task.add_done_callback(partial(self._finish, tenant))
        return task

    def _finish(self, tenant: TenantFacts, task: "asyncio.Task[Surface]") -> None:
        """Cache how a read ended, whether or not anybody still waits for it."""
        error = None if task.cancelled() else task.exception()
        if self._reading.get(tenant.id, (None, None))[1] is not task:
            return  # another server took its place
        del self._reading[tenant.id]
        if task.cancelled():
            return
        if error is None:
            self._failed.pop(tenant.id, None)
            self._cached[tenant.id] = tenant.upstream, task.result()
        elif isinstance(error, Unavailable):
            until = self._clock.monotonic() + SURFACE_REST.total_seconds()
            self._failed[tenant.id] = tenant.upstream, until, error

    async def _read(self, tenant: TenantFacts, base: str, at: float) -> Surface:
        response = await self._upstreams.describe(tenant, UpstreamRequest("GET", "metadata", _ASKED))
        if response.status != 200:
            raise Unavailable(AWAY, "The FHIR server did not return a CapabilityStatement.")
        try:
            statement = orjson.loads(policy.relocated(response.body, self._upstreams.base_of(tenant), base))
        except ValueError:
            statement = None
        surface = read_statement(statement, at)
        if surface is None:
            raise Unavailable(UNREADABLE, "The FHIR server did not return a CapabilityStatement.")
        return surface


_Kept = TypeVar("_Kept")


def _of(tenant: TenantFacts, kept: tuple[UpstreamRef, _Kept] | None) -> _Kept | None:
    """Return what is cached, if it is of the server that the tenant has now."""
    return kept[1] if kept is not None and kept[0] == tenant.upstream else None


@lru_cache(maxsize=HEADERS_KEPT)
def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode("latin-1")) for name, value in _sent(headers))


async def _call(app: AsgiApp, request: UpstreamRequest) -> UpstreamResponse:
    """Call an ASGI application in this process. It has deadlines of its own, so none is set here."""
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
    taken = _Taken(request.body)
    await app(scope, taken.receive, taken.send)
    if taken.start is None:
        raise Unavailable(LOST, "The FHIR server ended without an answer.")
    chunks = taken.chunks
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return response_of(taken.start["status"], taken.start.get("headers", ()), body)


def response_of(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> UpstreamResponse:
    """Return an answer with those of its headers that the gateway looks at."""
    taken = {_TAKEN[name]: value.decode("latin-1") for name, value in headers if name in _TAKEN}
    return UpstreamResponse(status, taken, body)


class _Taken:
    """Both ends of one call: it passes the body in and collects the answer, within its bound."""

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
