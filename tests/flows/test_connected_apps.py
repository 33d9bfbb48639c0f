"""The connected-apps page: see, narrow, remove."""

import re
from typing import Any

import pytest

from tests.flows.authorize_flow import Front, answer, front
from tests.flows.connected_ground import MANAGE, SCOPE, connect, manage
from tests.flows.token_flow import BASE, OTHER
from tests.sim.browser import forms_of
from tests.sim.one_world import in_one_world

__all__ = ["front"]


def test_the_page_shows_each_app_in_plain_words_with_last_use_and_end(front: Front) -> None:
    """C93."""
    connect(front)
    connect(front, client="second")

    page = manage(front.browser("pat"))

    for words in (
        "web",
        "second",
        "Acme Health",
        "See goals",
        "Last used",
        "2 March 2026, 09:00 UTC",
        "Ends",
    ):
        assert words in page, words
    assert "patient/Goal" not in re.sub(r'(value|id|for)="[^"]*"', "", page)


def test_removing_an_app_kills_its_access_and_refresh_tokens_at_once(front: Front) -> None:
    """C91; conformance [9.3]."""
    token = connect(front)
    kept = connect(front, client="second")
    browser = front.browser("pat")
    page = manage(browser)
    assert page.count('value="remove"') == 2

    section = next(part for part in page.split("<section") if "Remove web" in part)
    form = next(form for form in forms_of(section) if ("action", "remove") in form.submits)
    done = browser.press(form, ("action", "remove"))

    assert "no longer has access" in done.text
    assert not front.is_alive(token["access_token"])
    assert front.refresh(token["refresh_token"], "web").status_code == 400
    assert front.is_alive(kept["access_token"])
    assert 'value="remove"' in manage(browser)
    assert len(front.events("consent.authorization.withdraw")) == 1


def test_a_code_that_was_not_redeemed_yet_dies_with_the_app(front: Front) -> None:
    """C91: nothing that hangs on it goes on."""
    browser = front.browser("pat")
    browser.authorize(scope=SCOPE)
    told = answer(browser.allow())

    manage(browser)
    browser.press(browser.form("authorization"), ("action", "remove"))

    assert front.redeem(told["code"], "web").json()["error"] == "invalid_grant"


def test_single_permissions_can_be_taken_back(front: Front) -> None:
    token = connect(front)
    browser = front.browser("pat")
    manage(browser)
    form = next(f for f in forms_of(browser.last.text) if ("action", "narrow") in f.submits)

    done = browser.press(form, ("action", "narrow"), without=("patient/Goal.rs",))

    assert "only what is still ticked" in done.text
    assert not front.is_alive(token["access_token"])
    fresh = front.refresh(token["refresh_token"], "web").json()
    assert fresh["scope"] == SCOPE.replace(" patient/Goal.rs", "")
    manage(browser)
    assert "patient/Goal.rs" not in browser.last.text


def test_withdrawing_everything_is_refused_in_favour_of_removal(front: Front) -> None:
    connect(front, scope="launch/patient patient/Goal.rs")
    browser = front.browser("pat")
    manage(browser)
    form = next(f for f in forms_of(browser.last.text) if ("action", "narrow") in f.submits)

    refused = browser.press(form, ("action", "narrow"), without=("scope",))

    assert refused.status_code in {400, 422}
    assert "Remove the app instead" in refused.text


@pytest.mark.parametrize("tick", ["patient/*.cruds", "patient/Observation.rs", "user/*.rs"])
def test_narrowing_never_widens(front: Front, tick: str) -> None:
    """C68."""
    token = connect(front)
    browser = front.browser("pat")
    manage(browser)
    form = next(f for f in forms_of(browser.last.text) if ("action", "narrow") in f.submits)

    browser.press(form, ("action", "narrow"), ("scope", tick), without=("patient/Goal.rs",))

    scope = front.refresh(token["refresh_token"], "web").json()["scope"]
    assert scope == SCOPE.replace(" patient/Goal.rs", "")


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(front: Front) -> None:
    connect(front)
    browser = front.browser()

    browser.follow(browser.http.get(MANAGE))
    page = browser.sign_in("pat")

    assert "Connected apps" in page.text
    assert "Remove web" in page.text


def test_nobody_sees_or_removes_what_is_anothers(front: Front) -> None:
    """C91: each their own."""
    token = connect(front)
    pats = front.browser("pat")
    manage(pats)
    authorization = dict(pats.form("authorization").fields)["authorization"]
    gus = front.browser("gus")
    assert "Remove web" not in manage(gus)
    gus.authorize(client="second", scope="launch/patient openid patient/Patient.rs")
    gus.pick("p1")
    answer(gus.allow())
    manage(gus)

    refused = gus.press(gus.form("authorization"), ("authorization", authorization), ("action", "remove"))

    assert refused.status_code == 404
    assert front.is_alive(token["access_token"])


@in_one_world(
    ("changes", "headers"),
    [
        ([("csrf", "forged")], {}),
        ([], {"sec-fetch-site": "cross-site"}),
        ([], {"sec-fetch-site": "same-site"}),
        ([], {"origin": "https://evil.example"}),
    ],
)
def test_another_site_cannot_press_remove(
    front: Front, changes: list[tuple[str, str]], headers: dict[str, Any]
) -> None:
    """C30."""
    token = connect(front)
    browser = front.browser("pat")
    manage(browser)

    refused = browser.press(browser.form("authorization"), ("action", "remove"), *changes, **headers)

    assert refused.status_code == 403
    assert front.is_alive(token["access_token"])


def test_the_token_of_one_session_does_not_press_anothers_button(front: Front) -> None:
    token = connect(front)
    pats = front.browser("pat")
    manage(pats)
    form = pats.form("authorization")
    other = front.browser("gus")
    other.last = pats.last

    assert other.press(form, ("action", "remove")).status_code == 403
    assert front.is_alive(token["access_token"])


def test_a_session_of_one_hospital_is_nobody_at_another(front: Front) -> None:
    """C37."""
    browser = front.browser("pat")

    browser.follow(browser.http.get(f"/t/{OTHER}/oauth/manage"))

    assert browser.form("password")


@in_one_world("tenant", ["nowhere", "MERCY", "a" * 40, "%00"])
def test_a_hospital_that_is_none_is_not_there(front: Front, tenant: str) -> None:
    browser = front.browser("pat")

    page = browser.follow(browser.http.get(f"/t/{tenant}/oauth/manage"))

    assert page.status_code == 404
    assert BASE not in page.text
