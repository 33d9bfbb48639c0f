"""From an authorization request to a code: EHR launch and standalone, GET and POST."""

from datetime import timedelta

import pytest

from tests.flows.back_channel import BASE, MERCY
from tests.flows.front_channel import STATE, Front, answer, error, front, shown

__all__ = ["front"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_ehr_launch_leads_from_the_open_session_over_a_notice_to_a_code(front: Front, method: str) -> None:
    """C29, C32; SMART 2.2 app-launch; house walk (b)."""
    opened = front.open_launch()
    browser = front.browser("dora")

    browser.authorize(method=method, launch=opened.handle)
    told = answer(browser.allow())

    assert told["state"] == STATE
    assert told["iss"] == f"{BASE}/t/{MERCY}"
    token = front.redeem(told["code"], "web").json()
    assert token["patient"] == "p1"
    assert token["encounter"] == "e1"
    assert token["need_patient_banner"] is False
    assert token["intent"] == "reconcile"
    assert token["scope"] == "launch openid fhirUser offline_access patient/*.rs"
    assert token["id_token"]
    assert token["refresh_token"]
