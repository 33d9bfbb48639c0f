"""The outermost callable: names each request, checks the Host, and sends FHIR straight to the gateway.

A raw ASGI callable stands before any router because the hot path must not pay for one.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from hilum.infra import logs
from hilum.kernel.ports import Ids
from hilum.web.asgi import App, Message, Receive, Scope, Send

CORRELATION_BOUND = 128
_CORRELATION_CHARS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")
_log = logs.get("app")


class Door:
    """Every request of one site enters here.

    ``gateway`` gets ``/t/{tenant}/fhir`` and what is below it, but for the public discovery document; ``pages`` gets the rest.
    ``hosts`` tells which Host values are ours, in lower case with port; any other answers 421 (contract, Origins).
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
    ) -> None:
        self._pages = pages
        self._gateway = gateway
        self._hosts = hosts
        self._ids = ids
        self._trusted = trusted_proxies
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._ids.new("req")
        host, correlation, forwarded = b"", b"", b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"x-request-id":
                correlation = value
            elif name == b"x-forwarded-for":
                forwarded = value
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["correlation_id"] = _clean(correlation)
        state["source"] = self._source(scope, forwarded)
        if host.decode("latin-1").lower() not in self._hosts():
            await _misdirected(send, request_id)
            return
        path: str = scope["path"]
        if self._gateway is not None and path.startswith("/t/") and _is_fhir(path):
            await self._gateway(scope, receive, send)
            return
        await self._page(scope, receive, _stamped(send, request_id, state["correlation_id"]))

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._pages(scope, receive, watched)
        except Exception:
            _log.exception("app.request.failed", request=scope["state"]["request_id"])
            if not started:
                await _answer(
                    send,
                    500,
                    b"Something failed on our side. The request id in the header lets us find out what.\n",
                )

    def _source(self, scope: Scope, forwarded: bytes) -> str:
        client = scope.get("client")
        address: str = client[0] if client else ""
        if address in self._trusted and forwarded:
            hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
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


def _is_fhir(path: str) -> bool:
    tenant_end = path.find("/", 3)
    if tenant_end < 0:
        return False
    rest = path[tenant_end + 1 :]
    return (rest == "fhir" or rest.startswith("fhir/")) and rest != "fhir/.well-known/smart-configuration"


def _clean(correlation: bytes) -> str:
    if len(correlation) > CORRELATION_BOUND or not _CORRELATION_CHARS.issuperset(correlation):
        return ""
    return correlation.decode("ascii")


def _stamped(send: Send, request_id: str, correlation_id: str) -> Send:
    added = [(b"x-request-id", request_id.encode())]
    if correlation_id:
        added.append((b"x-correlation-id", correlation_id.encode()))

    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return stamped


async def _misdirected(send: Send, request_id: str) -> None:
    await _answer(
        _stamped(send, request_id, ""),
        421,
        b"This host name is not one of this server's. Use the address it was given to you with.\n",
    )


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
