"""Sending requests to FHIR servers: in this process by ASGI, or over pooled HTTP."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from hilum.identity.models import TenantFacts, UpstreamKind
from hilum.kernel.errors import Invalid, Unavailable
from hilum.kernel.ids import TenantId
from hilum.kernel.ports import Ids
from hilum.keys.live import Vault
from hilum.upstream import policy
from hilum.upstream.models import (
    CONNECT_DEADLINE,
    CONNECTIONS_PER_TENANT,
    CREDENTIALS_KEPT,
    DEADLINE,
    IDLE_LIFE,
    RESPONSE_BOUND,
    SENT_HEADERS,
    TAKEN_HEADERS,
    WAITING_PER_TENANT,
    UpstreamRequest,
    UpstreamResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

PURPOSE = "upstream"
BUSY = "upstream_busy"
AWAY = "upstream_unavailable"
TOO_LARGE = "upstream_answer_too_large"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A FHIR server in this process. ``base`` is what it writes in absolute addresses, without trailing slash."""

    app: AsgiApp
    base: str


@dataclass(slots=True)
class _Bulkhead:
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS_PER_TENANT))
    waiting: int = 0


def seal_credentials(vault: Vault, authorization: str, *, url: str, ids: Ids) -> str:
    """Seal the Authorization header of a FHIR server, bound to its host, for ``UpstreamRef.credentials_sealed``."""
    if not authorization.isascii() or not authorization.isprintable():
        raise Invalid(
            "credentials_malformed", "Credentials are the printable text of an Authorization header."
        )
    return vault.seal(PURPOSE, authorization.encode(), nonce=ids, bound_to=policy.host_of(url))


class Upstreams:
    """The way to every tenant's FHIR server. One per process, used from its event loop only.

    ``send`` raises Unavailable: ``upstream_busy`` when the tenant's places are taken, ``upstream_answer_too_large``,
    ``upstream_unavailable`` for everything else that kept an answer from coming.
    """

    def __init__(self, vault: Vault, embedded: Callable[[TenantId], Embedded | None]) -> None:
        self._vault = vault
        self._embedded = embedded
        self._client: Client | None = None
        self._bulkheads: dict[TenantId, _Bulkhead] = {}
        self._credentials: OrderedDict[tuple[str, str], str] = OrderedDict()

    def base_of(self, tenant: TenantFacts) -> str:
        """Name the base that the tenant's FHIR server writes in its addresses, without trailing slash."""
        if tenant.upstream.kind is UpstreamKind.EMBEDDED:
            server = self._embedded(tenant.id)
            return server.base if server is not None else ""
        return tenant.upstream.url.rstrip("/")

    async def send(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        """Send one request and take the whole answer, within deadline and bound."""
        bulkhead = self._bulkheads.get(tenant.id)
        if bulkhead is None:
            bulkhead = self._bulkheads[tenant.id] = _Bulkhead()
        async with self._place(bulkhead):
            try:
                async with asyncio.timeout(DEADLINE.total_seconds()):
                    if tenant.upstream.kind is UpstreamKind.EMBEDDED:
                        return await self._in_process(tenant, request)
                    return await self._over_http(tenant, request)
            except TimeoutError as error:
                raise Unavailable(AWAY, "The FHIR server took too long.") from error

    @asynccontextmanager
    async def _place(self, bulkhead: _Bulkhead) -> "AsyncIterator[None]":
        if bulkhead.places.locked():
            if bulkhead.waiting >= WAITING_PER_TENANT:
                raise Unavailable(BUSY, "Too many requests are on their way to this FHIR server.")
            bulkhead.waiting += 1
            try:
                await bulkhead.places.acquire()
            finally:
                bulkhead.waiting -= 1
        else:
            await bulkhead.places.acquire()
        try:
            yield
        finally:
            bulkhead.places.release()

    async def _in_process(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        server = self._embedded(tenant.id)
        if server is None:
            raise Unavailable(AWAY, "The FHIR server is not running.")
        return await _call(server.app, request)

    async def _over_http(self, tenant: TenantFacts, request: UpstreamRequest) -> UpstreamResponse:
        base = tenant.upstream.url.rstrip("/")
        url = policy.address(base, request.target)
        if url is None:
            raise Unavailable(AWAY, "The request would leave the FHIR server's base.")
        headers = [(name, value) for name, value in request.headers if name in SENT_HEADERS]
        if tenant.upstream.credentials_sealed:
            headers.append(("authorization", self._authorization(tenant.upstream.credentials_sealed, base)))
        builder = self._http().request(request.method, url).headers(headers)
        if request.body:
            builder = builder.body_bytes(request.body)
        try:
            async with builder.build_streamed() as response:
                body = bytearray()
                while (chunk := await response.body_reader.read_chunk()) is not None:
                    body += chunk
                    if len(body) > RESPONSE_BOUND:
                        raise Unavailable(TOO_LARGE, "The FHIR server's answer is too large.")
                taken = {name: response.get_header(name) for name in TAKEN_HEADERS}
                found = {name: value for name, value in taken.items() if value is not None}
                return UpstreamResponse(response.status, found, bytes(body))
        except PyreqwestError as error:
            raise Unavailable(AWAY, "The FHIR server cannot be reached.") from error

    def _http(self) -> Client:
        if self._client is None:
            self._client = (
                ClientBuilder()
                .timeout(DEADLINE)
                .connect_timeout(CONNECT_DEADLINE)
                .pool_idle_timeout(IDLE_LIFE)
                .pool_max_idle_per_host(CONNECTIONS_PER_TENANT)
                .http1_only()
                .follow_redirects(enable=False)
                .referer(enable=False)
                .no_proxy()
                .user_agent("hilum-gateway")
                .build()
            )
        return self._client

    def _authorization(self, sealed: str, base: str) -> str:
        key = (sealed, base)
        found = self._credentials.get(key)
        if found is None:
            try:
                found = self._vault.open(PURPOSE, sealed, policy.host_of(base)).decode()
            except Invalid as error:
                raise Unavailable(AWAY, "The FHIR server's credentials cannot be opened.") from error
            self._credentials[key] = found
            if len(self._credentials) > CREDENTIALS_KEPT:
                self._credentials.popitem(last=False)
        return found

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None


async def _call(app: AsgiApp, request: UpstreamRequest) -> UpstreamResponse:
    """Call an ASGI application in this process."""
    path, _, query = request.target.partition("?")
    raw_path = b"/" + path.encode()
    headers = [
        (name.encode(), value.encode("latin-1")) for name, value in request.headers if name in SENT_HEADERS
    ]
    if request.body:
        headers.append((b"content-length", b"%d" % len(request.body)))
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": "/" + path,
        "raw_path": raw_path,
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }
    started: Message = {}
    chunks: list[bytes] = []
    size = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal started, size
        if message["type"] == "http.response.start":
            started = message
        else:
            body = message.get("body", b"")
            size += len(body)
            if size > RESPONSE_BOUND:
                raise Unavailable(TOO_LARGE, "The FHIR server's answer is too large.")
            chunks.append(body)

    await app(scope, receive, send)
    if not started:
        raise Unavailable(AWAY, "The FHIR server gave no answer.")
    found = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in started.get("headers", ())
        if name.decode("latin-1") in TAKEN_HEADERS
    }
    return UpstreamResponse(started["status"], found, b"".join(chunks) if len(chunks) != 1 else chunks[0])
