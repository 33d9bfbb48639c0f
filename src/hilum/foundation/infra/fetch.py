"""The safe fetcher: the only way to a URL that a client or vendor registered (JWKS, domain proofs, webhooks).

A registered URL could point into our own network (SSRF): at a metadata service, a database, a neighbour. So each name is resolved
here, each of its addresses must be public, and the connection goes to a checked address and not to the name, which could resolve
differently by then (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urljoin, urlsplit
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.networks import is_address

FETCH_DEADLINE = timedelta(seconds=5)
CONNECT_DEADLINE = timedelta(seconds=2)
CLOSE_POLLS = 1_000
"""How often ``close`` checks whether every connection is closed, a millisecond apart."""
BODY_BOUND = 256 * 1024
URL_BOUND = 2_048
REDIRECTS_BOUND = 3
ADDRESSES_BOUND = 16
FETCHES_AT_ONCE = 16
HEADER_BOUND = 8_190

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = 0x5EFE
"""RFC 5214 section 6.1: an interface identifier that begins with it, or with the universal bit also set, ends with an IPv4 address."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only block of IPv6 from which global addresses are given out: no translated (RFC 7915), compatible or site-local ones."""
_REFUSED = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # IETF protocol assignments, RFC 6890
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526: delivers to whatever relay is near
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host agent, behind a public-looking address
    ipaddress.IPv6Network("3fff::/20"),  # documentation, RFC 9637; Python calls it global
)


class FetchRefused(Unavailable):
    """The URL may not be fetched. A kind of Unavailable: a caller that needed the response refuses its request."""


class TlsFault(Unavailable):
    """The server's certificate is not trusted; ``reason`` is OpenSSL's message. Callers that do not catch it see a failed fetch."""

    def __init__(self, reason: str) -> None:
        super().__init__("fetch_failed", "The URL could not be fetched.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete response within the bounds. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    reads: bool = True
    """Whether the response's body is read. Of a delivery only the status counts, so its receiver cannot make us read a body."""


def embedded(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 one (mapped, NAT64, 6to4, Teredo, ISATAP), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    # A gateway on the way would deliver to the embedded address: 64:ff9b::7f00:1 is loopback behind NAT64.
    if address in _NAT64 or (int(address) >> 32) & 0xFDFF_FFFF == _ISATAP:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


def may_connect(text: str, *, allow_private: bool) -> bool:
    """Check whether a resolved address may be connected to. ``allow_private`` allows loopback, and nothing else.

    Source: RFC 6890, special-purpose address registries.
    """
    try:
        address = _parsed(text)
    except ValueError:
        return False
    if address.is_loopback:
        return allow_private
    if address.version == 6 and address not in _UNICAST and address not in _NAT64:
        return False
    return _is_public(address) and _is_public(embedded(address))


def _parsed(text: str) -> Address:
    """Parse a resolved address, without its zone; a mapped one is its IPv4 address. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: Address) -> bool:
    return (
        address.is_global and not address.is_multicast and not any(address in network for network in _REFUSED)
    )


def judge_url(url: str, *, allow_private: bool) -> SplitResult:
    """Parse a URL that may be fetched. Raises FetchRefused for any other, before its name is resolved."""
    # Parsers disagree about these: browsers read a backslash as a slash, urlsplit does not. The host that is judged must be the host that is called.
    if len(url) > URL_BOUND or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise FetchRefused("address_refused", "The URL has unusual characters or is too long.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise FetchRefused("address_refused", "The URL cannot be parsed.") from None
    if parts.scheme not in ({"https", "http"} if allow_private else {"https"}) or not host:
        raise FetchRefused("address_refused", "Only https URLs are fetched.")
    # http://public.example@10.0.0.1/ looks like one host and leads to another.
    if "@" in parts.netloc or parts.fragment or port == 0:
        raise FetchRefused("address_refused", "The URL has credentials, a fragment or port 0.")
    try:
        # Other spellings of an address, such as 2130706433 or 0x7f.1, are names here: the resolver
        # turns them into addresses, which are judged there.
        literal = str(ipaddress.ip_address(host))
    except ValueError:
        literal = ""
    if literal and not may_connect(literal, allow_private=allow_private):
        raise FetchRefused("address_refused", "The URL's host is not a public address.")
    return parts


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Resolve a host name with the system's resolver, off the event loop."""
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in results]


class _CheckedResolver(AbstractResolver):
    def __init__(self, resolve: Resolve, *, plain: bool, allow_private: bool) -> None:
        self._resolve, self._plain, self._allow_private = resolve, plain, allow_private

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._resolve(host, port)))[:ADDRESSES_BOUND]
        # All must be public, not only the one that is used: the attacker chooses their order.
        for address in addresses:
            if not may_connect(address, allow_private=self._allow_private):
                raise FetchRefused("address_refused", "The host resolves to an address that is not public.")
            if self._plain and not _parsed(address).is_loopback:
                raise FetchRefused("address_refused", "Only loopback is fetched without TLS.")
        if not addresses:
            raise OSError("the host has no address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        return None


class SafeFetcher:
    """Fetches with GET, and delivers with POST, without cookies, credentials or proxies.

    ``allow_private`` (a plain sandbox only) allows loopback, there also with http. ``resolve`` and ``tls`` are for tests, and for
    deployments with a resolver or a root certificate of their own. ``body_bound``: the most bytes of a response.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Resolve = resolve_by_system,
        tls: ssl.SSLContext | None = None,
        deadline: timedelta = FETCH_DEADLINE,
        body_bound: int = BODY_BOUND,
    ) -> None:
        self._allow_private, self._resolve, self._tls = allow_private, resolve, tls
        self._deadline, self._body_bound = deadline, body_bound
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def close(self) -> None:
        """Close every connection at once, without a TLS shutdown: called when the event loop ends and cannot wait for peers."""
        for sock in list(self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for _ in range(CLOSE_POLLS):
            if all(sock.fileno() == -1 for sock in list(self._sockets)):
                return
            await asyncio.sleep(0.001)

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        sock = socket.socket(family, kind, protocol)
        self._sockets.add(sock)
        return sock

    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Fetch ``url``. Raises FetchRefused if it may not be fetched, Unavailable if the response is late, too large or broken.

        Follows at most REDIRECTS_BOUND redirects, and only within the same scheme, host and port.
        """
        return await self._in_time(lambda: self._follow(url, accept))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Fetched:
        """Send ``body`` to ``url``; return status and headers of the answer, whose body is not read. Redirects are not followed.

        Raises FetchRefused if the URL may not be called: nothing was sent. Raises Unavailable if no complete answer arrived: the body may
        have been received.
        """
        judge_url(url, allow_private=self._allow_private)
        request = _Request("POST", url, headers, body, reads=False)
        return await self._in_time(lambda: self._send(request))

    async def exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> Fetched:
        """Send ``body`` to ``url`` and return the response with its body, bounded as in ``get``. Raises as ``post`` does."""
        judge_url(url, allow_private=self._allow_private)
        request = _Request("POST", url, {"Accept-Encoding": "identity", **headers}, body)
        return await self._in_time(lambda: self._send(request))

    async def look(self, url: str, *, accept: str = "text/html") -> Fetched:
        """Fetch ``url`` and return its first response, even a redirect, which is not followed. Raises as ``get`` does."""
        judge_url(url, allow_private=self._allow_private)
        request = _Request("GET", url, {"Accept": accept, "Accept-Encoding": "identity"})
        return await self._in_time(lambda: self._send(request))

    async def _in_time(self, fetch: Callable[[], Awaitable[Fetched]]) -> Fetched:
        try:
            # The deadline includes the wait for a slot: hosts that answer slowly must not delay
            # fetches for others for longer.
            async with asyncio.timeout(self._deadline.total_seconds()), self._slots:
                return await fetch()
        except TimeoutError:
            raise Unavailable("fetch_too_slow", "The URL's server did not respond in time.") from None
        except aiohttp.ClientConnectorCertificateError as error:
            cause = error.certificate_error
            raise TlsFault(str(getattr(cause, "verify_message", "") or "not valid")) from None
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError):
            raise Unavailable("fetch_failed", "The URL could not be fetched.") from None

    async def _follow(self, url: str, accept: str) -> Fetched:
        first = judge_url(url, allow_private=self._allow_private)
        for _ in range(REDIRECTS_BOUND + 1):
            # Each hop is judged as the first was: a public host could redirect to a private one.
            parts = judge_url(url, allow_private=self._allow_private)
            if _origin(parts) != _origin(first):
                raise FetchRefused("redirect_refused", "The URL redirects to another origin.")
            request = _Request("GET", url, {"Accept": accept, "Accept-Encoding": "identity"})
            response = await self._send(request)
            location = response.headers.get("location", "")
            if response.status not in {301, 302, 303, 307, 308} or not location:
                return response
            url = urljoin(url, location)
        raise FetchRefused("redirect_refused", "The URL redirects too often.")

    async def _send(self, request: _Request) -> Fetched:
        parts = urlsplit(request.url)
        plain, host = parts.scheme == "http", parts.hostname or ""
        if plain and is_address(host) and not _parsed(host).is_loopback:
            raise FetchRefused("address_refused", "Only loopback is fetched without TLS.")
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._resolve, plain=plain, allow_private=self._allow_private),
            # Neither cached names nor pooled connections: each request must use an address that was checked for it.
            use_dns_cache=False,
            force_close=True,
            socket_factory=self._make_socket,
            ssl=self._tls if self._tls is not None else True,
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=self._deadline.total_seconds(), connect=CONNECT_DEADLINE.total_seconds()
                ),
                # A few compressed kilobytes can expand to gigabytes before BODY_BOUND is counted.
                auto_decompress=False,
                # A proxy named in the environment would resolve the host itself, past the check.
                trust_env=False,
                max_line_size=HEADER_BOUND,
                max_field_size=HEADER_BOUND,
            ) as session,
            session.request(
                request.method, request.url, allow_redirects=False, headers=request.headers, data=request.body
            ) as response,
        ):
            headers = {name.lower(): value for name, value in response.headers.items()}
            if not request.reads:
                return Fetched(response.status, headers, b"")
            if headers.get("content-encoding", "identity") != "identity":
                raise Unavailable(
                    "fetch_failed", "The response has a content encoding that was not requested."
                )
            return Fetched(response.status, headers, await _read_bounded(response, self._body_bound))


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _read_bounded(response: aiohttp.ClientResponse, bound: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        # Counted while reading: Content-Length is the sender's claim, and absent from a chunked response.
        body += chunk
        if len(body) > bound:
            raise Unavailable("fetch_too_large", f"The response is larger than {bound // 1024} KiB.")
    return bytes(body)
