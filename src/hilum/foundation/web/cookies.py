"""Names and attributes of every cookie.

``Secure`` and the ``__Host-`` prefix need https, so a plain-http loopback goes without both. The cookie of a framed page is ``Secure``
everywhere, because only a partitioned cookie reaches a frame across sites, and browsers accept it from http loopback too.
Source: RFC 6265bis section 4.1.3; docs/adr/0014-pages.md.
"""

from dataclasses import dataclass
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

VALUE_BOUND = 512
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie's base name. ``framed``: sent inside a frame of another site, to that site's partition only."""

    base: str
    framed: bool = False

    def name(self, *, secure: bool) -> str:
        """Return the name under which the browser stores it. ``secure``: the page's origin is https."""
        # RFC 6265bis section 4.1.3.2: browsers accept the prefix only from this host itself, so no
        # sibling domain can plant a session.
        return f"__Host-{self.base}" if secure else self.base


SESSION = Cookie("hilum_session")
"""The session of a person signed in at this browser."""
STEP = Cookie("hilum_step")
"""A sign-in that waits for a second factor."""
FRAME_SESSION = Cookie("hilum_frame", framed=True)
"""The session of a person whom an EHR vouched for, inside a frame of that EHR."""
FORM = Cookie("hilum_form")
"""Binds forms to a browser before sign-in (login CSRF)."""

OFFBOARDING = Cookie("hilum_offboarding")
"""Binds a sign-in at a hospital's identity provider to the browser that began it."""

LANGUAGE = Cookie("hilum_language")
"""The language that somebody chose at this browser."""
LANGUAGE_ASKED = Cookie("hilum_language_asked")
"""The language that an app asked for in the authorization request in progress."""
FRAME_LANGUAGE = Cookie("hilum_frame_language", framed=True)
FRAME_LANGUAGE_ASKED = Cookie("hilum_frame_language_asked", framed=True)
"""The same inside a frame of an EHR."""


def read(request: Request, cookie: Cookie, *, secure: bool) -> str:
    """Return a cookie's value; empty if it is missing or cannot have been set by this platform."""
    # Other characters cannot come from ``put``: another program on the same host, or the client
    # itself, wrote the cookie.
    value = request.cookies.get(cookie.name(secure=secure), "")
    return value if len(value) <= VALUE_BOUND and _CHARACTERS.issuperset(value) else ""


def put(
    response: Response, cookie: Cookie, value: str, *, secure: bool, life: timedelta | None = None
) -> None:
    """Set a cookie: host-only, for all paths, not readable by script. Without ``life`` it is a session cookie of the browser."""
    assert value
    assert len(value) <= VALUE_BOUND
    assert _CHARACTERS.issuperset(value)
    max_age = "" if life is None else f"; Max-Age={int(life.total_seconds())}"
    response.headers.append("set-cookie", _line(cookie, value, max_age, secure=secure))


def clear(response: Response, cookie: Cookie, *, secure: bool) -> None:
    """Delete a cookie in the browser."""
    response.headers.append("set-cookie", _line(cookie, "", "; Max-Age=0", secure=secure))


def _line(cookie: Cookie, value: str, max_age: str, *, secure: bool) -> str:
    # Lax: the redirect of an app to authorize is a cross-site GET at the top level and brings the
    # session, a cross-site POST does not. Inside a frame of another site Lax sends nothing at all.
    if cookie.framed:
        attributes = "; Secure; SameSite=None; Partitioned"
    else:
        attributes = "; Secure; SameSite=Lax" if secure else "; SameSite=Lax"
    return f"{cookie.name(secure=secure)}={value}; Path=/; HttpOnly{attributes}{max_age}"
