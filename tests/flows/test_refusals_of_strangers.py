"""Refusals of strangers at authorize and at sign-in: singly at first, then as one record that tells how many."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from hilum.web.refusals import LOUD_BOUND, WINDOW_S
from tests.flows.back_channel import MERCY
from tests.flows.front_channel import Front, front

__all__ = ["front"]

MORE = 3


def refused_at_authorize(front: Front) -> None:
    """An app that nobody knows, an address that nobody registered, and a scope that is none, in turn."""
    browser = front.browser()
    for n in range(LOUD_BOUND + MORE):
        wrong: dict[str, Any] = [
            {"client_id": f"nobody-{n}"},
            {"redirect_uri": f"https://elsewhere.example/{n}"},
            {"scope": "openid patient/Observation.sr"},
        ][n % 3]
        path = f"/t/{MERCY}/oauth/authorize?{urlencode(front.parameters('web', **wrong))}"
        assert browser.http.get(path).status_code in {303, 400}


def refused_at_sign_in(front: Front) -> None:
    """Another name each time, so that no pair of name and address is slowed."""
    for n in range(LOUD_BOUND + MORE):
        browser = front.browser()
        browser.authorize()
        assert browser.sign_in(f"nobody{n}", "not anybody's password").status_code == 403


@pytest.mark.parametrize(
    ("flood", "action"),
    [(refused_at_authorize, "authserver.request.refuse"), (refused_at_sign_in, "signin.session.begin")],
)
def test_a_flood_of_refusals_is_recorded_singly_at_first_and_then_as_one_counted(
    front: Front,
    flood: Any,
    action: str,
) -> None:
    """Security decision 5: the first 20 of an address and minute singly, the rest as one record; none is lost."""
    flood(front)
    assert len([each for each in front.events(action) if each.outcome == "refused"]) == LOUD_BOUND

    front.clock.advance(timedelta(seconds=WINDOW_S))
    flood(front)

    told = [each for each in front.events(action) if each.outcome == "refused"]
    (counted,) = [each for each in told if each.reason == "folded"]
    assert counted.tenant == MERCY
    assert counted.facts == {"count": MORE}
    assert len(told) == 2 * LOUD_BOUND + 1


def test_somebody_who_is_let_through_is_recorded_after_any_number_of_refusals(front: Front) -> None:
    """Only refusals are folded."""
    refused_at_authorize(front)
    before = front.requests()

    assert front.browser("pat").authorize().status_code == 200

    assert front.requests() == before + 1
