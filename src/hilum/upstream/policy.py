"""Where a request may go, and whose address stands in an answer. Pure."""

from urllib.parse import urlsplit

import orjson

from hilum.standards.fhir.addresses import below
from hilum.standards.fhir.shaping import load
from hilum.upstream.models import TARGET_BOUND


def address(base: str, target: str) -> str | None:
    """Join a FHIR base (no trailing slash) and a relative target; None for a target that would leave the base."""
    if len(target) > TARGET_BOUND or not target.isascii() or not target.isprintable():
        return None
    path, mark, query = target.partition("?")
    if path.startswith("/") or "\\" in target or "#" in target or " " in target or ":" in path:
        return None
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
    """Return where a server's own link leads, relative to its base, in whatever spelling; None if below none of the bases.

    http and https, letters of either case and default ports are one place: behind a proxy many a server does not know by which scheme
    it is reached. Another host is another server, until it is named as one of the bases.
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
    """Return scheme, host and port: what credentials are bound to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def relocated(body: bytes, foreign: str, base: str) -> bytes:
    """Put one base in the place of another in JSON. Raises ValueError where it must be read for that and is none."""
    old, new = foreign.encode(), base.encode()
    if old == new or not old:
        return body
    if b"\\/" in body or b"\\u00" in body:
        body = orjson.dumps(load(body))
    if old not in body:
        return body
    for end in (b"/", b'"', b"?"):
        body = body.replace(old + end, new + end)
    return body
