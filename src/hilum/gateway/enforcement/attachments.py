"""What a resource may point at: the Binaries, hosts and attachments that its strings name. Pure.

The rule for writes, on every string at any depth: what could be read as the address of a Binary is refused; so is what is an address on
the FHIR server's own hosts, unless it is the ``system`` of a code or an identifier, which is a name; and an attachment holds its content
or leads to a host that the organisation allows. What the stored version says in the same place may stay.
Source: security decisions 12 and 22
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hilum.foundation.standards.fhir.addresses import (
    LOOPBACK,
    canonical_host,
    decode_fully,
    host_in,
    leads_to_a_binary,
    leads_to_host,
)
from hilum.foundation.standards.fhir.attachments import attachment_keys
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.visibility import parse_reference
from hilum.gateway.enforcement.models import GROUNDS_KEPT

_WITHOUT_HOST = ("urn:", "data:")
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grounds:
    """What addresses mean at one tenant: ``bases`` are the gateway's own, each ending in a slash.

    ``upstream_bases`` are those that the server writes, without it. ``signs``: how each of its hosts stands in JSON, in lower case, with
    the gateway's base where that has the same host.
    """

    bases: tuple[str, ...]
    upstream_hosts: frozenset[str] = frozenset()
    attachment_hosts: frozenset[str] = frozenset()
    upstream_bases: tuple[str, ...] = ()
    signs: tuple[tuple[bytes, bytes], ...] = ()


@lru_cache(maxsize=GROUNDS_KEPT)
def grounds_of(
    bases: tuple[str, ...], upstream_bases: tuple[str, ...], attachment_hosts: tuple[str, ...] = ()
) -> Grounds:
    """Build a tenant's ``Grounds`` from the bases of the gateway and the server. An embedded server has no host of its own."""
    theirs = tuple(base for base in upstream_bases if base and base + "/" not in bases)
    hosts = frozenset(host_in(base) for base in theirs) - {""}
    allowed = frozenset(canonical_host(host) for host in attachment_hosts) - hosts - {""}
    spelled = {(urlsplit(base).hostname or "").rstrip(".") for base in theirs} | hosts
    # Loopback has many spellings, and a server on this machine may write any of them.
    if LOOPBACK in hosts:
        spelled |= {LOOPBACK, "127.", "[::1]"}
    signs = ((host.encode(), _shared(host, bases)) for host in sorted(spelled - {""}))
    return Grounds(bases, hosts, allowed, theirs, tuple(signs))


def _shared(host: str, bases: tuple[str, ...]) -> bytes:
    """Return the gateway's base if it has the same host: as often as that occurs in an answer, the host means nothing."""
    own = next((base for base in bases if host in base.lower()), "")
    return own[:-1].encode() or b"\0"


class Mention(NamedTuple):
    """A string of a resource that no write may add, and the names of the elements that lead to it."""

    path: _Path
    text: str


def mentions(resource: dict[str, Any], grounds: Grounds) -> frozenset[Mention]:
    """List every string that names a Binary, one of the server's hosts, or an attachment elsewhere."""
    found: set[Mention] = set()
    for path, text in strings_of(resource):
        # A plain reference to another type is the usual case. Whatever else could be read as an
        # address is looked at as a lenient server would read it.
        reference = parse_reference(text, grounds.bases)
        if reference is not None and reference.type in resource_types():
            if reference.type == "Binary":
                found.add(Mention(path, text))
        elif (
            leads_to_a_binary(text)
            or is_internal(path, text, grounds)
            or is_foreign_attachment(path, text, grounds)
        ):
            found.add(Mention(path, text))
    return frozenset(found)


def strings_of(resource: dict[str, Any]) -> Iterator[tuple[_Path, str]]:
    """Yield every string with the names of the elements that lead to it."""
    # A list instead of recursion: the sender chooses the depth of a resource.
    left: list[tuple[_Path, Any]] = [((), resource)]
    while left:
        path, value = left.pop()
        if type(value) is str:
            yield path, value
        elif type(value) is list:
            left.extend((path, item) for item in value)
        elif type(value) is dict:
            left.extend(((*path, key), inner) for key, inner in value.items())


def is_internal(path: _Path, text: str, grounds: Grounds) -> bool:
    """Check whether a string holds an address on the FHIR server's hosts that is not the gateway's own."""
    if not grounds.upstream_hosts:
        return False
    for base in grounds.bases:
        text = "" if text == base[:-1] else text.replace(base, "")
    if not leads_to_host(text, grounds.upstream_hosts):
        return False
    # A code system may be named by an address on the server's host. With a query, a fragment or a
    # user it is no longer a name.
    return not (path[-1:] == ("system",) and not any(sign in decode_fully(text) for sign in "?#@ "))


def is_foreign_attachment(path: _Path, text: str, grounds: Grounds) -> bool:
    """Check whether a string is the address of an attachment that is neither here nor on an allowed host."""
    if path[-1:] != ("url",) or path[-2:-1] == () or path[-2] not in attachment_keys():
        return False
    # urn: and data: lead to no host.
    if text.startswith(_WITHOUT_HOST):
        return False
    return host_in(text) not in grounds.attachment_hosts
