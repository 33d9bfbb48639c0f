"""Many people at once: nobody gets another's context, no code repeats, nothing breaks."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.effort import effort
from tests.flows.authorize_flow import Front, answer, front

__all__ = ["front"]

pytestmark = pytest.mark.in_threads

WAYS = ("ehr", "patient", "proxy", "deny", "stranger")


def walk(front: Front, number: int) -> tuple[str, str]:
    """Walk one flow to its end; gives the way and what came of it: a patient, or an error."""
    way = WAYS[number % len(WAYS)]
    if way == "ehr":
        patient = "p3" if number % 2 else "p2"
        browser = front.browser("dora")
        response = browser.authorize(
            launch=front.open_launch(patient=patient, encounter="").handle, prompt="consent"
        )
        told = answer(browser.allow())
        assert response.status_code == 200
    elif way == "patient":
        browser = front.browser("pat")
        browser.authorize(method="POST")
        told = answer(browser.allow())
        patient = "p1"
    elif way == "proxy":
        browser = front.browser("gus")
        browser.authorize()
        patient = "p2"
        browser.pick(patient)
        told = answer(browser.allow())
    elif way == "deny":
        browser = front.browser("pat")
        browser.authorize()
        return way, answer(browser.deny())["error"]
    else:
        return way, answer(front.browser("adam").authorize())["error"]
    token = front.redeem(told["code"], "web")
    assert token.status_code == 200, token.text
    assert token.json()["patient"] == patient
    return told["code"], patient


def test_of_many_flows_at_once_each_gets_its_own(front: Front) -> None:
    """C58: no 5xx, no code repeats, no session receives another's context (the client raises on any server error)."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: walk(front, number), range(effort(20, 200))))

    codes = [code for code, _ in results if code.startswith("hil_ac_")]
    assert len(codes) == len(set(codes)) == len(results) * 3 // 5
    assert {error for way, error in results if not way.startswith("hil_ac_")} == {"access_denied"}
    assert len(front.events("authserver.code.issue")) == len(codes)


def test_of_many_presses_of_one_button_exactly_one_earns_a_code(front: Front) -> None:
    """C45 in its front half: one request issues one code."""
    for _ in range(effort(3, 50)):
        browser = front.browser("pat")
        browser.authorize()
        form, cookie = browser.form("decision"), browser.http.cookies["hilum_session"]
        before = len(front.events("authserver.code.issue"))

        def press(_: int, form: Any = form, cookie: str = cookie, page: Any = browser.last) -> Any:
            other = front.browser()
            other.http.cookies.set("hilum_session", cookie)
            other.last = page
            return other.press(form, ("decision", "allow"))

        with ThreadPoolExecutor(4) as pool:
            pressed = list(pool.map(press, range(4)))

        assert sorted(page.status_code for page in pressed) == [303, 400, 400, 400]
        assert len(front.events("authserver.code.issue")) == before + 1
