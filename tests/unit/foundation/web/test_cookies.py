"""Cookies (RFC 6265bis section 4.1.3; docs/adr/0014-pages.md)."""

from datetime import timedelta

import pytest
from starlette.responses import Response

from hilum.foundation.web import cookies
from tests.unit.foundation.web.site import request


def line(cookie: cookies.Cookie, *, secure: bool, life: timedelta | None = None) -> str:
    response = Response()
    cookies.put(response, cookie, "value", secure=secure, life=life)
    return response.headers["set-cookie"]


def test_under_https_a_session_is_bound_to_its_host() -> None:
    assert (
        line(cookies.SESSION, secure=True)
        == "__Host-hilum_session=value; Path=/; HttpOnly; Secure; SameSite=Lax"
    )


def test_over_plain_loopback_a_session_works_without_secure() -> None:
    """Python's jars drop Secure cookies on http."""
    assert line(cookies.SESSION, secure=False) == "hilum_session=value; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize("secure", [True, False])
def test_the_session_of_a_frame_is_partitioned(secure: bool) -> None:
    """Only a partitioned cookie reaches a frame across sites."""
    found = line(cookies.FRAME_SESSION, secure=secure, life=timedelta(minutes=5))

    assert found.endswith("=value; Path=/; HttpOnly; Secure; SameSite=None; Partitioned; Max-Age=300")


def test_a_cleared_cookie_ends_at_once() -> None:
    response = Response()

    cookies.clear(response, cookies.SESSION, secure=False)

    assert response.headers["set-cookie"] == "hilum_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


@pytest.mark.parametrize("value", ["a b", "é", "x" * (cookies.VALUE_BOUND + 1), 'q"q', "a,b"])
def test_a_value_that_we_never_set_counts_as_none(value: str) -> None:
    assert cookies.read(request({"cookie": f"hilum_session={value}"}), cookies.SESSION, secure=False) == ""


def test_a_cookie_is_read_under_the_name_of_its_scheme_only() -> None:
    plain = request({"cookie": "hilum_session=planted"})

    assert cookies.read(plain, cookies.SESSION, secure=False) == "planted"
    assert cookies.read(plain, cookies.SESSION, secure=True) == ""


@pytest.mark.parametrize("value", ["", "a;b", "a\r\nset-cookie: x=y"])
def test_a_value_that_could_break_the_header_is_a_bug(value: str) -> None:
    with pytest.raises(AssertionError):
        cookies.put(Response(), cookies.SESSION, value, secure=True)
