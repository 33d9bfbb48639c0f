"""Form bodies and the proof that a form of ours was pressed (C30; docs/adr/0014-pages.md)."""

import asyncio
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.web import forms
from tests.unit.foundation.web.site import ORIGIN, request

FORM = "application/x-www-form-urlencoded"
SECRET = "hil_ss_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


def read(body: bytes, *, kind: str = FORM, multi: tuple[str, ...] = (), **headers: str) -> forms.Form:
    return asyncio.run(forms.read_form(request({"content-type": kind, **headers}, body=body), multi=multi))


def code_of(body: bytes, **more: str) -> str:
    with pytest.raises(Invalid) as refused:
        read(body, **more)  # type: ignore[arg-type]
    return refused.value.code


def test_a_field_is_read_as_it_was_sent() -> None:
    form = read(
        "name=Łódź+%26+Štefan&empty=".encode("ascii", "xmlcharrefreplace")
        .replace(b"&#321;", b"%C5%81")
        .replace(b"&#243;", b"%C3%B3")
        .replace(b"&#378;", b"%C5%BA")
        .replace(b"&#352;", b"%C5%A0")
    )

    assert form.one("name") == "Łódź & Štefan"
    assert form.one("empty", "default") == ""
    assert "empty" in form
    assert form.one("absent", "default") == "default"


def test_a_repeated_field_is_refused_and_named() -> None:
    """dependencies, trap 12: a plain dict hides them."""
    with pytest.raises(Invalid) as refused:
        read(b"patient=1&patient=2")

    assert refused.value.code == "form_repeated"
    assert set(refused.value.fields) == {"patient"}


def test_a_field_declared_to_repeat_keeps_every_value() -> None:
    form = read(b"scope=a&scope=b&decision=allow", multi=("scope",))

    assert form.many("scope") == ("a", "b")
    assert form.many("absent") == ()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no-equals-sign", "form_malformed"),
        (b"a=%ff", "form_malformed"),
        ("a=ü".encode(), "form_malformed"),
        (b"a=1&&b=2", "form_malformed"),
        (b"&".join(b"f%d=1" % n for n in range(forms.FIELDS_BOUND + 1)), "form_malformed"),
        (b"a=" + b"x" * forms.BODY_BOUND, "body_too_large"),
    ],
)
def test_a_body_that_is_no_form_is_refused(body: bytes, code: str) -> None:
    assert code_of(body) == code


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json", "text/plain", ""])
def test_a_body_of_another_type_is_refused(kind: str) -> None:
    assert code_of(b"a=1", kind=kind) == "form_media_type"


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    assert code_of(b"", **{"content-length": "9" * 30}) == "body_too_large"


def test_an_empty_body_is_an_empty_form() -> None:
    assert read(b"").values == {}


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=8))
def test_what_a_browser_encodes_is_read_back(fields: dict[str, str]) -> None:
    usable = {name: value for name, value in fields.items() if name.isprintable() and value.isprintable()}

    assert {k: v[0] for k, v in forms.parse_form(urlencode(usable)).values.items()} == usable


@given(st.text(max_size=80))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with suppress(Invalid):
        assert all(name in text or "%" in text or "+" in text for name in forms.parse_form(text).values)


def post(token: str | None, **headers: str) -> None:
    form = forms.Form({} if token is None else {forms.CSRF_FIELD: (token,)})
    forms.check_post(request(headers), form, SECRET, origin=ORIGIN)


def test_a_form_of_ours_in_the_same_browser_passes() -> None:
    token = forms.csrf_token(SECRET)

    post(token, **{"sec-fetch-site": "same-origin", "origin": ORIGIN})
    post(token, origin="null")
    post(token)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": ORIGIN},
        {"origin": "http://localhost:8001"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": ORIGIN + ".evil.example"},
    ],
)
def test_a_form_from_another_site_is_refused_even_with_the_right_token(headers: dict[str, str]) -> None:
    """C30, security decision 1: two ports of one host share cookies."""
    with pytest.raises(NotPermitted) as refused:
        post(forms.csrf_token(SECRET), **headers)

    assert refused.value.code == "cross_site_form"


@pytest.mark.parametrize(
    "token", [None, "", "x", "ü", forms.csrf_token(SECRET + "x"), forms.csrf_token(SECRET, "other")]
)
def test_a_form_without_the_token_of_this_browser_is_refused(token: str | None) -> None:
    with pytest.raises(NotPermitted) as refused:
        post(token, **{"sec-fetch-site": "same-origin"})

    assert refused.value.code == "form_expired"


def test_without_a_secret_no_token_counts() -> None:
    form = forms.Form({forms.CSRF_FIELD: ("",)})

    with pytest.raises(NotPermitted):
        forms.check_post(request({}), form, "", origin=ORIGIN)


def test_a_token_does_not_tell_the_secret_it_comes_from() -> None:
    assert SECRET not in forms.csrf_token(SECRET)
    assert len(forms.csrf_token(SECRET)) == 43
