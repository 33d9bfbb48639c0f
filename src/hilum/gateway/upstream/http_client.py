"""A keep-alive HTTP/1.1 client for FHIR servers: one request at a time on a connection, idle connections pooled by origin.

It leaves out redirects, proxies, cookies, content codings and HTTP/2, which the gateway does not need; ADR 37 says why it is not a library.
For one event loop.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from hilum.gateway.upstream.http1 import AnswerReader, Malformed, TooLarge
from hilum.gateway.upstream.models import (
    CONNECT_DEADLINE,
    CONNECTIONS_PER_TENANT,
    HEADERS_KEPT,
    IDLE_LIFE,
    IDLE_MARGIN,
    RESPONSE_BOUND,
    TAKEN_HEADERS,
    UpstreamRequest,
    UpstreamResponse,
)
from hilum.gateway.upstream.resolving import Resolver

ORIGINS_KEPT = 10_000
_TARGET = re.compile(r"[\x21-\x7e]*")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff]*")
_AGENT = "user-agent: hilum-gateway\r\naccept-encoding: identity\r\n"


class NotSent(Exception):
    """Nothing of the request was sent."""


class Lost(Exception):
    """The request was sent, but no whole answer came. ``is_stale``: the connection ended before any byte of it and before the deadline."""

    def __init__(self, reason: str, *, is_stale: bool = False) -> None:
        super().__init__(reason)
        self.is_stale = is_stale


class Origin(NamedTuple):
    """The server to which the connections of one pool lead, and as whom: two hospitals with certificates of their own share no connection."""

    host: str
    port: int
    secure: bool
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """A parsed FHIR base. ``prefix``: the path before each target; ``field``: the Host header."""

    origin: Origin
    prefix: str
    field: str


@lru_cache(maxsize=ORIGINS_KEPT)
def base_of(url: str) -> Base:
    """Parse the URL of a base. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(url)
    host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    secure = parts.scheme == "https"
    written = f"[{host}]" if ":" in host else host
    port = parts.port or (443 if secure else 80)
    field = written if port == (443 if secure else 80) else f"{written}:{port}"
    return Base(Origin(host, port, secure), parts.path.rstrip("/"), field)


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time. ``until``: the deadline of ``answer``, as the loop's time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reader: AnswerReader | None = None
        self.answer: asyncio.Future[UpstreamResponse] | None = None
        self.idle_since = 0.0
        self.idle_life_s = IDLE_LIFE.total_seconds()
        self.begun, self.until = False, 0.0
        self.may_stay = False
        """Whether the last answer is complete and its server keeps the connection open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's class does not inherit from it

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def send(
        self, sent: bytes, until: float, loop: asyncio.AbstractEventLoop
    ) -> "asyncio.Future[UpstreamResponse]":
        """Send a request and return its future answer, which may also be Lost, TooLarge or Malformed. Raises Lost."""
        self.may_stay = self.begun = False
        if self.transport is None:
            # Closed since it was taken from the pool. A read is sent again; the outcome of a write is unknown.
            raise Lost("the connection ended", is_stale=True)
        self.reader, self.until = AnswerReader(TAKEN_HEADERS, RESPONSE_BOUND), until
        answer = self.answer = loop.create_future()
        self.transport.write(sent)
        return answer

    def data_received(self, data: bytes) -> None:
        reader, answer = self.reader, self.answer
        if reader is None or answer is None or answer.done():
            # Bytes that no request caused would be read as the answer to the next one.
            self.abort()
            return
        self.begun = True
        try:
            if reader.feed(data):
                self._finish(reader, answer)
        except (Malformed, TooLarge) as error:
            answer.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        reader, answer = self.reader, self.answer
        if reader is None or answer is None or answer.done():
            return
        if exc is None and reader.end():
            self._finish(reader, answer)
        else:
            answer.set_exception(Lost("the connection ended", is_stale=not self.begun))

    def _finish(self, reader: AnswerReader, answer: "asyncio.Future[UpstreamResponse]") -> None:
        # Bytes that arrive from now on belong to no request.
        self.reader = self.answer = None
        self.may_stay = reader.keep_alive
        if reader.idle_s is not None:
            # If the server closes the connection just as a write is sent, its outcome is unknown.
            self.idle_life_s = min(self.idle_life_s, reader.idle_s - IDLE_MARGIN.total_seconds())
        answer.set_result(UpstreamResponse(reader.status, reader.headers, reader.body))

    def expire(self) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(Lost("the deadline has passed"))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class HttpClient:
    """Sends requests to FHIR servers over pooled connections."""

    def __init__(self, deadline: timedelta) -> None:
        self._deadline_s = deadline.total_seconds()
        self._idle: defaultdict[Origin, list[_Connection]] = defaultdict(list)
        self._all: set[_Connection] = set()
        self._resolver = Resolver()
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._expires_at = 0.0

    async def send(
        self,
        url: str,
        request: UpstreamRequest,
        fields: tuple[tuple[str, str], ...],
        tls: ssl.SSLContext | None = None,
    ) -> UpstreamResponse:
        """Send a request below the base ``url`` with these headers, and return the whole answer, within the deadline.

        ``tls``: in place of the TLS that trusts the system's authorities and shows no certificate. Raises NotSent, Lost, TooLarge.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = now + self._deadline_s
        try:
            origin, sent = _written(url, request, fields)
        except ValueError as error:
            raise NotSent("the request cannot be written") from error
        if tls is not None:
            origin = origin._replace(tls=tls)
        connection = self._idle_one(origin, now) or await self._connect(origin)
        self._expire_by(until)
        try:
            return await connection.send(sent, until, loop)
        except Malformed as error:
            raise Lost(str(error)) from error
        finally:
            # A connection is pooled only after a complete answer; the rest of another would be read as the next answer.
            if connection.may_stay and connection.is_open:
                connection.idle_since = loop.time()
                self._keep(origin, connection)
            else:
                self._drop(connection)

    def close(self) -> None:
        """Close every connection."""
        for timer in (self._sweep, self._expiry):
            if timer is not None:
                timer.cancel()
        self._sweep = self._expiry = None
        for connection in self._all:
            connection.abort()
        self._all.clear()
        self._idle.clear()

    def _expire_by(self, until: float) -> None:
        """Make unanswered requests fail at their deadline."""
        # One timer for all requests: a timer for each would cost more than the rest of this client.
        if self._expiry is not None:
            if self._expires_at <= until:
                return
            self._expiry.cancel()
        self._expires_at = until
        self._expiry = asyncio.get_running_loop().call_at(until, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = asyncio.get_running_loop().time()
        asked = [each for each in self._all if each.answer is not None]
        for each in asked:
            if each.until <= now:
                each.expire()
        if left := [each.until for each in asked if each.until > now]:
            self._expire_by(min(left))

    def _idle_one(self, origin: Origin, now: float) -> _Connection | None:
        """Return the open idle connection that was used last; drop those that are closed or too old."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_open and now - connection.idle_since < connection.idle_life_s:
                return connection
            self._drop(connection)
        return None

    def _keep(self, origin: Origin, connection: _Connection) -> None:
        idle = self._idle[origin]
        idle.append(connection)
        if len(idle) > CONNECTIONS_PER_TENANT:
            self._drop(idle.pop(0))
        if self._sweep is None:
            self._sweep_later()

    def _drop(self, connection: _Connection) -> None:
        connection.abort()
        self._all.discard(connection)

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(IDLE_LIFE.total_seconds(), self._drop_idle)

    def _drop_idle(self) -> None:
        """Close connections that have been idle for IDLE_LIFE, and forget origins without any."""
        self._sweep = None
        since = asyncio.get_running_loop().time() - IDLE_LIFE.total_seconds()
        for origin, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since <= since or not idle[0].is_open):
                self._drop(idle.pop(0))
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweep_later()

    async def _connect(self, origin: Origin) -> _Connection:
        deadline_s = min(CONNECT_DEADLINE.total_seconds(), self._deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                addresses = await self._resolver.addresses_of(origin.host)
                connection = await self._open(origin, addresses)
        except (OSError, UnicodeError) as error:  # TimeoutError and TLS errors are OSErrors
            raise NotSent("the connection could not be opened") from error
        self._all.add(connection)
        return connection

    async def _open(self, origin: Origin, addresses: tuple[str, ...]) -> _Connection:
        """Connect to the first address that accepts. Raises the last address's OSError."""
        loop, name = asyncio.get_running_loop(), origin.host if origin.secure else None
        tls = (origin.tls or self._trust()) if origin.secure else None
        failed = OSError("the host has no address")
        for address in addresses:
            try:
                _, connection = await loop.create_connection(
                    _Connection, address, origin.port, ssl=tls, server_hostname=name
                )
            except OSError as error:
                failed = error
            else:
                return connection
        raise failed

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            # It verifies the certificate, by the system's store, and the host name.
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


@lru_cache(maxsize=HEADERS_KEPT)
def _head(url: str, fields: tuple[tuple[str, str], ...]) -> tuple[Base, bytes]:
    """Parse the base, and build the part of a head after the target. Raises ValueError, as ``_written``."""
    base = base_of(url)
    lines = [f" HTTP/1.1\r\nhost: {base.field}\r\n{_AGENT}"]
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise ValueError(name)
        lines.append(f"{name}: {value}\r\n")
    return base, "".join(lines).encode("latin-1")


def _written(url: str, request: UpstreamRequest, fields: tuple[tuple[str, str], ...]) -> tuple[Origin, bytes]:
    """Return the origin and the bytes of a request. Raises ValueError for characters that would end a line of its head."""
    method, body = request.method, request.body
    base, head = _head(url, fields)
    slash = "" if base.prefix and request.target[:1] in {"", "?"} else "/"
    target = f"{base.prefix}{slash}{request.target}"
    # With a line break an app could add a header or a whole request.
    if not _TARGET.fullmatch(target):
        raise ValueError("target")
    # RFC 9110 section 8.6: a method that expects content sends a length even without any.
    if body or method in {"POST", "PUT", "PATCH"}:
        head += b"content-length: %d\r\n" % len(body)
    return base.origin, b"%b %b%b\r\n%b" % (method.encode(), target.encode(), head, body)
