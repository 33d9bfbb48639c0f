"""Cookies: their names and attributes, in one place.

``Secure`` and the ``__Host-`` prefix need https, so a plain-http loopback goes without them; the cookie of a framed page is
``Secure`` everywhere, because only a partitioned one reaches a frame across sites, and browsers take it from http loopback too.
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
        """Give the name under which the browser keeps it. ``secure``: the page's origin is https."""
        return f"__Host-{self.base}" if secure else self.base


SESSION = Cookie("hilum_session")
"""Somebody signed in at this browser."""
FRAME_SESSION = Cookie("hilum_frame", framed=True)
"""Somebody an EHR vouched for, in the frame of that EHR."""
FORM = Cookie("hilum_form")
"""Ties forms to a browser in which nobody is signed in yet."""


def read(request: Request, cookie: Cookie, *, secure: bool) -> str:
    """Give a cookie's value, empty when it is missing or could not have been set here."""
    value = request.cookies.get(cookie.name(secure=secure), "")
    return value if len(value) <= VALUE_BOUND and _CHARACTERS.issuperset(value) else ""


def put(
    response: Response, cookie: Cookie, value: str, *, secure: bool, life: timedelta | None = None
) -> None:
    """Set a cookie: host-only, whole site, unreadable by script; without ``life`` it ends with the browser."""
    assert value
    assert len(value) <= VALUE_BOUND
    assert _CHARACTERS.issuperset(value)
    max_age = "" if life is None else f"; Max-Age={int(life.total_seconds())}"
    response.headers.append("set-cookie", _line(cookie, value, max_age, secure=secure))


def clear(response: Response, cookie: Cookie, *, secure: bool) -> None:
    """Take a cookie away."""
    response.headers.append("set-cookie", _line(cookie, "", "; Max-Age=0", secure=secure))


def _line(cookie: Cookie, value: str, max_age: str, *, secure: bool) -> str:
    if cookie.framed:
        attributes = "; Secure; SameSite=None; Partitioned"
    else:
        attributes = "; Secure; SameSite=Lax" if secure else "; SameSite=Lax"
    return f"{cookie.name(secure=secure)}={value}; Path=/; HttpOnly{attributes}{max_age}"
