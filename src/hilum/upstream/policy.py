"""Where a request may be sent, and which addresses in an answer are the server's own. Pure."""

from hashlib import sha256
from urllib.parse import urlsplit

import orjson

from hilum.identity.models import UpstreamRef
from hilum.standards.fhir.addresses import below
from hilum.standards.fhir.shaping import load
from hilum.upstream.models import TARGET_BOUND


def address(base: str, target: str) -> str | None:
    """Join a FHIR base (no trailing slash) and a relative target; None for a target that would leave the base."""
    if len(target) > TARGET_BOUND or not target.isascii() or not target.isprintable():
        return None
    path, mark, query = target.partition("?")
    # Each of these makes some parser see another path or host: an absolute path, a scheme, a
    # fragment, a backslash that is read as a slash.
    if path.startswith("/") or "\\" in target or "#" in target or " " in target or ":" in path:
        return None
    # Empty segments and dots: a server that resolves them would leave the base, with the tenant's
    # credentials.
    if any(segment.strip(".") == "" for segment in path.split("/")) and path:
        return None
    return f"{base}/{path}{mark}{query}" if path else f"{base}{mark}{query}"


def relative_target(base: str, url: str) -> str | None:
    """Return an address that a server wrote, absolute or relative, as relative to a FHIR base; None if it leads elsewhere."""
    if url.startswith(base):
        rest = url[len(base) :]
        if rest[:1] not in {"", "/", "?"}:
            return None
        url = rest.removeprefix("/")
    elif url.startswith("/"):
        path = urlsplit(base).path
        if not url.startswith((path + "/", path + "?")):
            return None
        url = url[len(path) :].removeprefix("/")
    return url if address(base, url) is not None else None


def page_target(bases: tuple[str, ...], url: str) -> str | None:
    """Return the target of a server's own link, relative to its base, in any spelling; None if it is below none of the bases.

    http and https, upper and lower case and default ports are the same place: behind a proxy many servers do not know the scheme by which
    they are reached. Another host is another server, unless it is one of the bases.
    """
    for base in bases:
        if (target := relative_target(base, url)) is not None:
            return target
    for base in bases:
        rest = below(base, url)
        target = None if rest is None else rest.partition("#")[0].removeprefix("/")
        if target is not None and address(base, target) is not None:
            return target
    return None


def host_of(url: str) -> str:
    """Return scheme, host and port, to which credentials are bound."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def destination(upstream: UpstreamRef) -> str:
    """Return the sentence that stands in the intent of a write for the FHIR server that it is sent to, equal for equal servers only.

    The server by a digest: whoever reads the record needs no address of it.
    """
    server = sha256(f"{upstream.kind}\n{upstream.url.rstrip('/')}".encode()).hexdigest()
    return f"For FHIR server {server[:16]}."


def relocated(body: bytes, foreign: str, base: str) -> bytes:
    """Replace one base by another in JSON. Raises ValueError if the body must be parsed for that and is not JSON."""
    old, new = foreign.encode(), base.encode()
    if old == new or not old:
        return body
    # JSON may write a slash as \/ or \u002f, in which the base would not be found.
    if b"\\/" in body or b"\\u00" in body:
        body = orjson.dumps(load(body))
    if old not in body:
        return body
    # With what follows it, so that a base is not found within a longer one: /fhir in /fhir2.
    for end in (b"/", b'"', b"?"):
        body = body.replace(old + end, new + end)
    return body
