"""The outermost callable: assigns each request its id, bounds what it may cost, checks the Host, and sends FHIR straight to the gateway.

It is a raw ASGI callable in front of any router, because FHIR reads are the hot path and should not pay for routing.

A request, in order: 1 its id; 2 its headers, once; 3 its source; 4 Host, framing and release, or a refusal; 5 a place among the requests
of its network, or 429; 6 with a body, the bounds on it; 7 the gateway, or the lane, router and route of a page or API. Until step 7
nothing of a body is read and no thread waits (security decision 26).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from hilum.foundation.infra import logs, metrics
from hilum.foundation.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ports import Ids
from hilum.foundation.kernel.redaction import redact
from hilum.foundation.standards.fhir.requests import BINARY_BODY_BOUND
from hilum.foundation.standards.fhir.requests import BODY_BOUND as FHIR_BODY_BOUND
from hilum.foundation.standards.networks import network_of
from hilum.foundation.web.asgi import App, Message, Receive, Scope, Send
from hilum.foundation.web.bounds import (
    INCOMPLETE,
    LARGE_BODY_BOUND,
    PAGE_BODY_BOUND,
    Body,
    RefusalDelay,
    RequestsInProgress,
)
from hilum.foundation.web.problems import status_of
from hilum.server.refusals import Refuse, is_fhir, kind_of

CORRELATION_BOUND = 128
HOPS_BOUND = 32
"""How many addresses of ``X-Forwarded-For`` are read, from the nearest: a client may send thousands."""
_CORRELATION_CHARS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
REFUSED = frozenset({400, 401, 403, 413, 422, 429})
"""Statuses of refusals that count towards the delay of a network: strangers get each of them without a credential."""
_CLOSE = (b"connection", b"close")
_FRAMED_TWICE = Invalid("framing_ambiguous", "Send exactly one of Content-Length or Transfer-Encoding.")
_HOST_MISSING = Invalid("host_ambiguous", "A request carries exactly one Host header.")
_MISDIRECTED = NotPermitted(
    "misdirected", "This server does not serve this host name. Use the address that the platform publishes."
)
RefuseUnread = Callable[[Scope, Send, HilumError], Awaitable[None]]
_CLOSED = Unavailable(
    "release_closed",
    "This node is waiting to be upgraded and serves no requests until then. Try again in a moment.",
)
ALIVE = "/healthz"
_log = logs.get("app")


@dataclass(slots=True)
class _Heads:
    """What the outermost layer reads of a request's headers. ``length`` is -1 when the length of the body is not declared."""

    host: bytes = b""
    hosts: int = 0
    correlation: bytes = b""
    forwarded: bytes = b""
    length: int = 0
    framings: int = 0


class Dispatcher:
    """The entry of every request to one site.

    ``gateway`` gets ``/t/{tenant}/fhir`` and what is below it, except the public discovery document; ``pages`` gets the rest.
    ``hosts`` returns the Host values that this site answers to, in lower case with port; any other gets 421 (contract, Origins).
    ``closed`` returns whether this release no longer works with its database: then only ``/healthz`` is served.
    ``refuse`` renders a refusal in the form of the address: FHIR, OAuth, problem+json or a page.
    """

    def __init__(
        self,
        pages: App,
        *,
        gateway: App | None,
        hosts: Callable[[], frozenset[str]],
        ids: Ids,
        trusted_proxies: frozenset[str],
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        refuse: Refuse,
        in_progress: RequestsInProgress | None = None,
        refusal_delay: RefusalDelay | None = None,
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pages = pages
        self._gateway = gateway
        self._hosts = hosts
        self._ids = ids
        self._trusted = trusted_proxies
        self._lifespan = lifespan
        self._refuse = refuse
        self._in_progress = in_progress or RequestsInProgress()
        self._refusal_delay = refusal_delay or RefusalDelay()
        self._closed = closed

    # Here and in ``_dispatch`` the coroutine of what follows is returned, so that a request passes through fewer of them.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        return _refuse_websocket(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The id comes first: every answer has one, also a refusal of a request that is not read any further.
        request_id = self._ids.new("req")
        heads = _read_heads(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["correlation_id"] = _clean(heads.correlation) if heads.correlation else ""
        source = state["source"] = self._source(scope, heads.forwarded)
        if fault := self._fault(heads, scope["path"]):
            await self._refuse_unread(scope, send, fault)
            return
        # The holder of an IPv6 /64 has more addresses than any limit. An IPv4 address is its own network.
        network = state["network"] = network_of(source) if ":" in source else source
        if busy := self._in_progress.enter(network):
            await self._refuse_unread(scope, send, busy)
            return
        # Requests without a body, as nearly all reads are, skip the layer that bounds bodies.
        body = None
        if heads.length:
            bound = _body_bound(scope["path"], scope["method"])
            body = Body(receive, self._in_progress, network, bound=bound, declared=heads.length)
        try:
            await (self._with_body(scope, body, send) if body else self._dispatch(scope, receive, send))
        finally:
            self._in_progress.leave(network)
            if body is not None:
                await body.release()

    def _fault(self, heads: _Heads, path: str) -> HilumError | None:
        # Two Hosts or two framings are read differently by a proxy and by this server: request smuggling.
        if heads.hosts != 1 or not heads.host:
            return _HOST_MISSING
        if heads.framings > 1:
            return _FRAMED_TWICE
        # DNS rebinding: a foreign site that lets its own name point here would have our pages on
        # its origin (ADR 14).
        if heads.host.decode("latin-1").lower() not in self._hosts():
            return _MISDIRECTED
        # Checked at every request: a migration may close the gate while this worker serves.
        if self._closed() and path != ALIVE:
            return _CLOSED
        return None

    def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._gateway is not None and is_fhir(scope["path"]):
            return self._gateway(scope, receive, send)
        state = scope["state"]
        counted = self._counted(kind_of(scope["path"]), state["network"], send)
        return self._page(scope, receive, _stamped(counted, state["request_id"], state["correlation_id"]))

    async def _with_body(self, scope: Scope, body: Body, send: Send) -> None:
        """Serve a request whose body is read within bounds. A connection on which a body was left unread is closed.

        Where a bound was exceeded, the framework's error response is replaced by our refusal, unless it has the right status already.
        """
        answer = _Answer(scope, send, body, self._refuse_unread)
        scope["state"]["body"] = body
        try:
            await self._dispatch(scope, body, answer)
        except HilumError:
            # The route passed on the error of reading the body. ``_Answer`` handles a route that
            # answered by itself.
            if not answer.started and body.fault is not None:
                await self._refuse_unread(scope, send, body.fault)
        finally:
            answer.close()

    async def _refuse_unread(self, scope: Scope, send: Send, error: HilumError) -> None:
        """Refuse without reading the body, and close the connection."""
        metrics.TURNED_AWAY.add(error.code)
        state = scope["state"]
        response = self._refuse(scope, error)
        response.headers["connection"] = "close"
        # A receive that only disconnects: rendering a refusal must not read the body that it refuses.
        await response(scope, _nothing, _stamped(send, state["request_id"], state["correlation_id"]))

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._pages(scope, receive, watched)
        except Exception as error:
            # A bound that was exceeded is the client's fault,
            # which ``_with_body`` answers, and no failure to log.
            if (body := scope["state"].get("body")) is not None and error is body.fault:
                raise
            _log.exception("app.request.failed", request=scope["state"]["request_id"])
            if not started:
                await _answer(
                    send,
                    500,
                    b"Internal error. Quote the request id of the X-Request-Id header when you report it.\n",
                )

    def _counted(self, kind: str, network: str, send: Send) -> Send:
        clock = asyncio.get_running_loop().time
        begun = clock()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.SITE_REQUESTS.add(kind, str(message["status"]))
                metrics.SITE_SECONDS.observe(clock() - begun, kind)
                if message["status"] in REFUSED:
                    # Beyond a burst, refusals of one network are delayed, so that a loop of them costs others little.
                    await self._refusal_delay.hold(network)
            await send(message)

        return counted

    def _source(self, scope: Scope, forwarded: bytes) -> str:
        client = scope.get("client")
        address: str = client[0] if client else ""
        if forwarded and address in self._trusted:
            hops = [hop.strip() for hop in forwarded.decode("latin-1").rsplit(",", HOPS_BOUND)]
            # From the nearest: the client itself may have written everything before the first untrusted hop.
            for hop in reversed(hops):
                if hop not in self._trusted:
                    return hop[:64]
        return address

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            _log.exception("app.lifespan.failed")
            await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            raise
        await send({"type": "lifespan.shutdown.complete"})


class _Answer:
    """The ``send`` of a request with a body. It drops its reference to the connection when the request has ended, as the body does."""

    def __init__(self, scope: Scope, send: Send, body: Body, refuse_unread: RefuseUnread) -> None:
        self._scope, self._send, self._body, self._refuse_unread = scope, send, body, refuse_unread
        self.started = self._replaced = False

    async def __call__(self, message: Message) -> None:
        fault = self._body.fault
        # An incomplete body: the client is gone, and nobody reads an answer.
        if self._replaced or (fault is not None and fault.code == INCOMPLETE):
            return
        if message["type"] == "http.response.start":
            self.started = True
            if fault is not None and message["status"] != status_of(fault):
                self._replaced = True
                await self._refuse_unread(self._scope, self._send, fault)
                return
            # The unread rest of the body would be taken for the next request on the connection.
            if not self._body.whole:
                message["headers"] = [*message.get("headers", []), _CLOSE]
        await self._send(message)

    def close(self) -> None:
        self._send = _nowhere


def _read_heads(scope: Scope) -> _Heads:
    heads = _Heads()
    for name, value in scope["headers"]:
        if name == b"host":
            heads.host = value
            heads.hosts += 1
        elif name == b"x-request-id":
            heads.correlation = value
        elif name == b"x-forwarded-for":
            # A proxy may add a line of its own instead of adding to the one that was sent.
            heads.forwarded = heads.forwarded + b"," + value if heads.forwarded else value
        elif name == b"content-length":
            # Twenty digits hold every real length; int() takes quadratic time for thousands of them.
            heads.length = int(value[:20]) if value.isdigit() else -1
            heads.framings += 1
        elif name == b"transfer-encoding":
            heads.length = -1
            heads.framings += 1
    return heads


def _body_bound(path: str, method: str) -> int:
    if is_fhir(path):
        return BINARY_BODY_BOUND if method == "POST" and path.endswith("/fhir/Binary") else FHIR_BODY_BOUND
    # A route of the API lowers it to its own.
    return LARGE_BODY_BOUND if path.startswith("/api/") else PAGE_BODY_BOUND


def _clean(correlation: bytes) -> str:
    """Return the caller's correlation id; empty if it is too long, has other characters, or looks like a secret."""
    if len(correlation) > CORRELATION_BOUND or not _CORRELATION_CHARS.issuperset(correlation):
        return ""
    return correlation.decode("ascii") if redact(correlation) == correlation else ""


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    # 1008 is a policy violation (RFC 6455 section 7.4.1): no room speaks WebSocket.
    await send({"type": "websocket.close", "code": 1008})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _nowhere(_message: Message) -> None:
    """Discard what is sent after the request has ended."""


def _stamped(send: Send, request_id: str, correlation_id: str) -> Send:
    added = [(b"x-request-id", request_id.encode())]
    if correlation_id:
        added.append((b"x-correlation-id", correlation_id.encode()))

    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return stamped


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
