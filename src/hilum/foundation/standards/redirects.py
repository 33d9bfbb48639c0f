"""Validation of the URIs that a client registers and presents: redirect, launch and key-set URIs, origins. Pure.

Source: RFC 8252 sections 7.1 and 7.3 (private-use schemes, loopback); RFC 9700 section 2.1 (exact comparison).
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import unquote

from hilum.foundation.kernel.limits import too_long

URI_BOUND = 1_000
# Characters that browsers drop, trim or rewrite: the URI that was registered would not be the one that is visited.
_FORBIDDEN = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)")
# A reversed domain name, with a dot: short schemes are claimed by several apps on one device
# (RFC 8252 section 7.1).
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*)+")
# Lower case and ASCII only. Comparison is by exact string, and an internationalized name has several spellings.
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_NUMERIC = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)(?:\.(?:0[xX][0-9A-Fa-f]*|[0-9]+))*\.?")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LOOPBACK = re.compile(
    r"(?P<start>http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::(?P<port>[1-9][0-9]{0,4}))?(?P<rest>(?:[/?].*)?)"
)
# A redirect to one of these would run or read something with the origin of the page that redirects.
_DANGEROUS = frozenset({"javascript", "data", "vbscript", "file", "about", "blob"})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "[::1]", "localhost"})


def validate_redirect_uri(uri: str, *, native: bool, public: bool, sandbox: bool) -> str | None:
    """Return the first rule that a redirect URI breaks, or None.

    ``native``: the client runs on its user's device, so loopback addresses are its own. ``public`` native clients may also use a private-use
    scheme. ``sandbox``: the client only reads synthetic data, so loopback is allowed wherever it runs.
    """
    # The checks below assume what this one guarantees: printable ASCII, bounded, no fragment.
    if fault := _common_fault(uri):
        return fault
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return "redirect_relative"
    # Compared as written: "HTTPS" is refused below, because the exact comparison at authorize would fail for it later.
    scheme, rest = match["scheme"], match["rest"]
    if scheme in {"https", "http"}:
        loopback_allowed = sandbox or native
        return _web_fault(scheme, rest, loopback_allowed=loopback_allowed)
    if scheme.lower() in {"https", "http"} or scheme.lower() in _DANGEROUS:
        return "redirect_scheme"
    # A confidential client runs on a server, which cannot receive a response at a device's scheme.
    if not (native and public):
        return "redirect_private_scheme_not_native"
    if not _PRIVATE_SCHEME.fullmatch(scheme):
        return "redirect_private_scheme_form"
    if not rest.startswith("/"):
        return "redirect_private_scheme_form"
    # scheme://user@host displays a name that is not the destination.
    if rest.startswith("//") and "@" in rest[2:].partition("/")[0]:
        return "redirect_userinfo"
    return _path_fault(rest)


def validate_web_uri(uri: str, *, loopback: bool) -> str | None:
    """Return the first rule that a launch or key-set URI breaks, or None: https, or with ``loopback`` also http to loopback."""
    if fault := _common_fault(uri):
        return fault
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return "redirect_relative"
    if match["scheme"] not in {"https", "http"}:
        return "redirect_scheme"
    return _web_fault(match["scheme"], match["rest"], loopback_allowed=loopback)


def _common_fault(uri: str) -> str | None:
    if not uri:
        return "redirect_empty"
    if len(uri) > URI_BOUND:
        return too_long(URI_BOUND, "redirect_too_long")
    if _FORBIDDEN.search(uri) or _BAD_ESCAPE.search(uri):
        return "redirect_characters"
    # RFC 6749 section 3.1.2: no fragment. A response parameter appended to it would stay in the browser.
    if "#" in uri:
        return "redirect_fragment"
    # Some developers expect patterns. Comparison is exact, so a wildcard would silently match nothing.
    if "*" in unquote(uri):
        return "redirect_wildcard"
    return None


def _web_fault(scheme: str, rest: str, *, loopback_allowed: bool) -> str | None:
    if not rest.startswith("//"):
        return "redirect_host_missing"
    # Split by hand and not by urlsplit, which normalizes: what browsers do with the text is what counts.
    authority = re.split(r"[/?]", rest[2:], maxsplit=1)[0]
    if "@" in unquote(authority):
        return "redirect_userinfo"
    match = _AUTHORITY.fullmatch(authority)
    if match is None or not match["host"]:
        return "redirect_host_missing"
    host, port = match["host"], match["port"]
    if port is not None and not (re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) <= 65_535):
        return "redirect_port"
    if host not in LOOPBACK_HOSTS:
        # Browsers read 0x7f.1 or 2130706433 as IPv4 addresses.
        # A host given as an IP address belongs to its next assignee.
        if host.startswith("[") or _NUMERIC.fullmatch(host) or _is_address(host):
            return "redirect_ip_host"
        if not _NAME.fullmatch(host):
            return "redirect_host"
        # Browsers parse any host whose last label is a number as an IPv4 address (WHATWG URL, host parsing).
        if host.rpartition(".")[2].isdigit():
            return "redirect_ip_host"
        if scheme == "http":
            return "redirect_not_https"
    elif not loopback_allowed:
        return "redirect_loopback"
    return _path_fault(rest[2 + len(authority) :])


def _path_fault(rest: str) -> str | None:
    # Decoded once: %2e%2e is resolved by browsers exactly like "..".
    path = unquote(rest.partition("?")[0])
    if any(segment in {".", ".."} for segment in path.split("/")) or "\\" in path:
        return "redirect_dot_segment"
    return None if path.isprintable() else "redirect_characters"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def redirect_matches(registered: Iterable[str], presented: str, *, native: bool) -> bool:
    """Check whether a presented redirect URI equals a registered one, as exact strings.

    Only a native client's http loopback URI may differ, and only in its port.
    Source: RFC 9700 section 2.1; RFC 8252 section 7.3.
    """
    candidates = tuple(registered)
    if presented in candidates:
        return True
    if not native:
        return False
    actual = _LOOPBACK.fullmatch(presented)
    # The port of a native app is chosen by its operating system at each start (RFC 8252 section 7.3). All the
    # rest is compared exactly.
    if actual is None or int(actual["port"] or 80) > 65_535 or _common_fault(presented):
        return False
    for each in candidates:
        expected = _LOOPBACK.fullmatch(each)
        if expected is not None and (expected["start"], expected["rest"]) == (
            actual["start"],
            actual["rest"],
        ):
            return True
    return False


def origin_of(uri: str) -> str:
    """Return the origin of an http or https URI as browsers serialize it; empty for other schemes."""
    match = re.match(r"(https?)://([^/?]+)", uri)
    if match is None:
        return ""
    # Browsers omit default ports in Origin, so a registered ":443" would never match.
    scheme, authority = match[1], match[2]
    return f"{scheme}://{authority.removesuffix(':443' if scheme == 'https' else ':80')}"
