"""People are asked again for more, for another purpose, other terms, after an incident, a change of the app and after long disuse, and not otherwise (C90)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVendor
from hilum.foundation.kernel.ids import VendorId
from tests.flows.authorize_flow import Front, answer, front
from tests.flows.consent_ground import certify_again, incident, new_version, states

__all__ = ["front"]

SCOPE = "launch openid offline_access patient/Patient.rs patient/QuestionnaireResponse.rs"


def nothing(_: Front) -> None:
    """Change nothing."""


def later(days: int) -> Callable[[Front], object]:
    return lambda front: front.clock.advance(timedelta(days=days))


@pytest.mark.parametrize(
    ("change", "request_", "asked"),
    [
        (nothing, {}, False),
        (nothing, {"scope": SCOPE.replace(" patient/QuestionnaireResponse.rs", "")}, False),
        (nothing, {"patient": "p2"}, False),
        (certify_again, {}, False),
        (later(100), {}, False),
        # Beyond the workflow, so that nothing more would be granted.
        (nothing, {"scope": f"{SCOPE} patient/Goal.rs"}, False),
        (nothing, {"scope": f"{SCOPE} patient/Coverage.rs"}, True),
        (nothing, {"scope": SCOPE.replace("Response.rs", "Response.crus")}, True),
        (nothing, {"intent": "reconcile"}, True),
        (new_version, {}, True),
        (incident, {}, True),
        (states(terms="https://web.example/terms-2"), {}, True),
        (states(privacy_policy="https://web.example/privacy-2"), {}, True),
        (states(owner="Olga Smith"), {}, False),
        (later(180), {}, True),
        (nothing, {"prompt": "consent"}, True),
    ],
)
def test_staff_are_asked_again_only_when_something_widens_or_was_long_unused(
    front: Front, change: Callable[[Front], object], request_: dict[str, Any], asked: bool
) -> None:
    """C90: the first notice was for the workflow of the intent."""

    def go(**more: Any) -> Any:
        order: dict[str, Any] = {name: more.pop(name) for name in ("patient", "intent") if name in more}
        if order.get("patient") == "p2":
            order["encounter"] = "e2"
        opened = front.open_launch(**({"intent": "pre-visit-intake"} | order))
        return browser.authorize(launch=opened.handle, **({"scope": SCOPE} | more))

    browser = front.browser("dora")
    go()
    answer(browser.allow())
    change(front)
    browser = front.browser("dora")

    page = go(**request_)

    assert (page.status_code == 200) is asked, page.text


def test_an_agreement_that_is_used_is_not_dormant(front: Front) -> None:
    """C90: what counts is the last token, and not the last time that somebody was asked."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle, scope=SCOPE)
    token = front.redeem(answer(browser.allow())["code"], "web").json()["refresh_token"]
    for _ in range(2):
        front.clock.advance(timedelta(days=90))
        token = front.refresh(token, "web").json()["refresh_token"]
    front.clock.advance(timedelta(days=90))

    page = front.browser("dora").authorize(launch=front.open_launch().handle, scope=SCOPE)

    assert "code" in answer(page)


def test_a_new_owner_is_another_vendor_to_agree_with(front: Front) -> None:
    """C14, C90."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle, scope=SCOPE)
    answer(browser.allow())
    app = front.clients["web"].app
    front.clock.advance(timedelta(minutes=1))

    def move(ctx: Any) -> None:
        to = registry.add_vendor(ctx, NewVendor("Other Vendor", "help@o.example", "sec@o.example"))
        registry.change_owner(ctx, registry.get_app(ctx, app), VendorId(to.id))

    front.run(move)

    assert "code" not in str(front.browser("dora").authorize(scope=SCOPE).headers.get("location", ""))
