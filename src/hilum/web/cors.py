"""Which scripts of other origins may read an answer, without credentials always. Source: contract, CORS; Fetch standard, CORS protocol."""

Headers = tuple[tuple[bytes, bytes], ...]
EXPOSED = b"Location, ETag, Content-Location, Retry-After, WWW-Authenticate, X-Request-Id"
PREFLIGHT_AGE_S = 600


def answer(origin: bytes, allowed: frozenset[str]) -> Headers:
    """Let scripts of ``origin`` read an answer if it is among ``allowed``, or all if that holds ``*``."""
    if "*" in allowed:
        named = b"*"
    elif origin and origin.decode("latin-1") in allowed:
        named = origin
    else:
        return ((b"vary", b"Origin"),)
    return (
        (b"access-control-allow-origin", named),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"Origin"),
    )


def preflight(methods: bytes, headers: bytes) -> Headers:
    """Tell what scripts may send; whether theirs is an origin that may is ``answer``'s to tell."""
    return (
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", headers),
        (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
    )
