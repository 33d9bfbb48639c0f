"""CORS headers: which scripts of other origins may read a response, always without credentials.

Source: contract, CORS; Fetch standard, CORS protocol
"""

Headers = tuple[tuple[bytes, bytes], ...]
EXPOSED = (
    b"Location, ETag, Content-Location, Retry-After, WWW-Authenticate, X-Request-Id, Deprecation, Sunset"
)
PREFLIGHT_AGE_S = 600


def answer(origin: bytes, allowed: frozenset[str]) -> Headers:
    """Return the headers that allow scripts of ``origin`` to read a response, if it is in ``allowed`` or that contains ``*``."""
    if "*" in allowed:
        allow_origin = b"*"
    elif origin and origin.decode("latin-1") in allowed:
        allow_origin = origin
    else:
        # Also where the origin is not allowed: a cache must not serve this answer to one that is.
        return ((b"vary", b"Origin"),)
    return (
        (b"access-control-allow-origin", allow_origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    )


def preflight(methods: bytes, headers: bytes) -> Headers:
    """Return the headers of a preflight response: allowed methods and headers. ``answer`` adds whether the origin is allowed."""
    return (
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", headers),
        (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
    )
