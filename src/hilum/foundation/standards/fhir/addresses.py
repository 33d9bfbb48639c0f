"""URLs in the strings of a resource, in any spelling that another server might accept.

A string is read as a lenient server would: percent and HTML escapes decoded, full-width letters folded, control characters and
backslashes as browsers read them. The result is used to refuse, never to allow, which takes the one plain spelling.
Source: RFC 3986 sections 2.1, 3, 5.2 and 6.2; WHATWG URL, basic URL parser
"""

import html
import ipaddress
import re
import socket
import unicodedata
from urllib.parse import unquote, urlsplit

LOOPBACK = "localhost"
# Decoded repeatedly, because each proxy and server on the way may decode once more; bounded, because every
# string of every write is decoded.
_DECODINGS = 6
_SEPARATORS = re.compile(r"[\s\"'<>(){}|^`,]+")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The word may follow any separator: a relative reference, a path, a parameter.
_BINARY = re.compile(r"(?<![a-z0-9_-])binary[/?;]")
# Prose such as "binary/ternary" is not refused; in a sentence only the type's own spelling counts.
_BINARY_IN_PROSE = re.compile(r"(?:^|[./])Binary[/?;]")
_HOSTED = re.compile(r"(?:https?:/*|//+)([^/?#]*)", re.IGNORECASE)
_NUMERIC = re.compile(r"[0-9a-fx.:\[\]]+")
# The query parameters by which Amazon, Google, Alibaba, Huawei, CloudFront and Azure sign links. Such a link
# opens without a token and outlives every stop (C70).
_SIGNED = re.compile(
    r"[?&;](?:amp;)?(?:X-(?:Amz|Goog|Oss|Obs)-(?:Signature|Security-Token)|Signature|sig|(?:access_)?token)=",
    re.IGNORECASE,
)
_DEFAULT = 80
# Looked for first: a text without any of them, as most are, cannot be decoded into a URL.
_URL_SIGNS = ("/", "%", "&", "\\", "?", ";", ":")


def leads_to_a_binary(text: str) -> bool:
    """Check whether any part of a text could be read as the URL of a Binary, on this server or another."""
    return any(_is_binary(part, prose=prose) for part, prose in _parts(text, "binary"))


def leads_to_host(text: str, hosts: frozenset[str]) -> bool:
    """Check whether any part of a text is an absolute or protocol-relative address on one of these hosts, at any port."""
    if not hosts:
        return False
    # The raw text is searched beside its decoded forms: decoding may also destroy an address.
    parts = [part for part, _ in _parts(text, "")]
    return any(canonical_host(host) in hosts for part in (text, *parts) for host in _HOSTED.findall(part))


def host_in(url: str) -> str:
    """Return the host of a URL in canonical form; empty without one."""
    match = _HOSTED.search(decode_fully(url))
    return canonical_host(match[1]) if match else ""


def is_signed(text: str) -> bool:
    """Check whether a text holds a pre-signed link of a storage service, which works without further credentials."""
    return "=" in text and _SIGNED.search(text) is not None


def below(base: str, url: str) -> str | None:
    """Return the part of a URL after ``base``, whose host may be spelled differently, with its leading slash; else None.

    http and https on their default ports are equal: a server behind a proxy writes the one and is reached by the other.
    """
    try:
        # An address is compared by its parsed parts; a prefix test would accept
        # https://server.example.evil.example for https://server.example.
        own, other = urlsplit(base), urlsplit(url)
        ports = own.port or _DEFAULT, other.port or _DEFAULT
    except ValueError:
        return None
    if other.scheme not in {"http", "https", ""} or canonical_host(other.netloc) != canonical_host(
        own.netloc
    ):
        return None
    if len({_DEFAULT if port in {80, 443} else port for port in ports}) > 1:
        return None
    path = own.path.rstrip("/")
    # /fhir must not match /fhir-internal.
    if other.path != path and not other.path.startswith(path + "/"):
        return None
    query = f"?{other.query}" if other.query else ""
    fragment = f"#{other.fragment}" if other.fragment else ""
    return other.path[len(path) :] + query + fragment


def canonical_host(authority: str) -> str:
    """Return the host of ``user@host:port`` in canonical form; every name and address of this machine is ``LOOPBACK``."""
    try:
        # hostname drops user information, so that https://allowed.example@evil.example is judged as evil.example.
        host = urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        host = authority.rpartition("@")[2].casefold()
    # A trailing dot names the same host in the DNS.
    host = host.rstrip(".")
    # Browsers and inet_aton read 127.1, 0x7f.1 and 2130706433 as addresses too.
    if _NUMERIC.fullmatch(host):
        host = _number(host)
    return LOOPBACK if host == LOOPBACK or host.endswith("." + LOOPBACK) else host


def _number(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return host
    mapped = getattr(address, "ipv4_mapped", None) or address
    return LOOPBACK if mapped.is_loopback or mapped.is_unspecified else str(mapped)


def decode_fully(text: str) -> str:
    """Decode percent and HTML escapes repeatedly, at most _DECODINGS times, and fold Unicode look-alikes."""
    for _ in range(_DECODINGS):
        # HTML escapes occur in narratives, percent escapes in URLs, and either may hide the other.
        decoded = unquote(html.unescape(text)) if "%" in text or "&" in text else text
        if not decoded.isascii():
            # Browsers fold full-width letters and the ideographic full stop in hosts, and ignore format
            # characters (category Cf).
            decoded = unicodedata.normalize("NFKC", decoded).replace("\u3002", ".")
            decoded = "".join(each for each in decoded if unicodedata.category(each) != "Cf")
        if decoded == text:
            break
        text = decoded
    return text.replace("\\", "/")


def _parts(text: str, sign: str) -> list[tuple[str, bool]]:
    """Split a text that contains ``sign`` into possible URLs, each with whether it is part of prose."""
    if text.isascii() and not any(each in text for each in _URL_SIGNS):
        return []
    plain = decode_fully(text)
    # Browsers remove tabs and line ends within a URL (WHATWG URL, basic URL parser). Both readings are
    # examined, since elsewhere they separate.
    joined = plain if plain.isprintable() else _INVISIBLE.sub("", plain)
    if sign not in joined.lower():
        return []
    prose = " " in joined.strip()
    # Sorted below, so that the same text is always judged in the same order.
    parts = {part for each in (joined, plain) for part in _SEPARATORS.split(each)}
    return [(part, prose) for part in sorted(parts) if part]


def _is_binary(part: str, *, prose: bool) -> bool:
    if prose and "//" not in part:
        return _BINARY_IN_PROSE.search(part) is not None
    return _BINARY.search(part.lower()) is not None
