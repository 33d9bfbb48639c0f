"""What changes while a person reads the consent page or the notice: they agree to what it showed, and to nothing else (ADR 17)."""

from collections.abc import Callable
from functools import partial

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder, WidenOrder
from tests.flows.authorize_flow import Browser, Front, answer, front
from tests.flows.consent_ground import certify_again, incident, new_version, states
from tests.flows.token_flow import MERCY

__all__ = ["front"]

CONTEXT = "launch/patient openid fhirUser"
SHOWN = ("launch", "launch/patient", "openid", "fhirUser", "patient/Patient.rs", "user/Patient.r")
MORE = ("offline_access", "patient/Observation.rs", "patient/Patient.crus", "user/Patient.rs")
ASKED = f"{CONTEXT} offline_access patient/Observation.rs patient/Patient.crus user/Patient.rs"


def installation(front: Front) -> str:
    found = front.run(lambda ctx: installations.list_installations(ctx, MERCY))
    return next(each.id for each in found if each.app == front.clients["web"].app)


def narrow(front: Front, *scopes: str) -> None:
    order = NarrowOrder(scopes=scopes, anyway=True)
    front.run(partial(installations.narrow_installation, installation_id=installation(front), order=order))


def widen(front: Front) -> None:
    order = WidenOrder(scopes=MORE)
    front.run(partial(installations.widen, installation_id=installation(front), order=order))


def opened(front: Front, person: str) -> Browser:
    """Return a browser that shows the page."""
    browser = front.browser(person)
    if person == "dora":
        browser.authorize(launch=front.open_launch().handle, scope=f"launch {ASKED}", prompt="consent")
    else:
        browser.authorize(scope=ASKED, prompt="consent")
    assert browser.form("decision")
    return browser


def scopes_after(front: Front, browser: Browser) -> set[str]:
    return set(front.redeem(answer(browser.allow())["code"], "web").json()["scope"].split(" "))


@pytest.mark.parametrize("person", ["dora", "pat"])
def test_what_the_hospital_adds_while_a_person_reads_is_not_agreed_to(front: Front, person: str) -> None:
    """C68, C90: staff see a list, patients boxes; what neither showed, the app asks for the next time."""
    narrow(front, *SHOWN)
    alone = scopes_after(front, opened(front, person))
    browser = opened(front, person)
    widen(front)

    assert scopes_after(front, browser) == alone
    assert not alone & {"offline_access", "patient/Observation.rs", "user/Patient.rs"}
    assert "patient/Observation.rs" in scopes_after(front, opened(front, person))


def test_what_the_hospital_takes_away_while_a_person_reads_is_not_granted(front: Front) -> None:
    """C68."""
    browser = opened(front, "dora")
    narrow(front, *SHOWN)

    assert not scopes_after(front, browser) & {"offline_access", "patient/Observation.rs"}


@pytest.mark.parametrize("person", ["dora", "pat"])
@pytest.mark.parametrize(
    ("change", "again"),
    [
        (new_version, True),
        (incident, True),
        (states(terms="https://web.example/terms-2"), True),
        (certify_again, False),
        (states(owner="Olga Smith"), False),
    ],
)
def test_the_page_is_shown_again_if_it_now_asks_for_something_else(
    front: Front, person: str, change: Callable[[Front], object], again: bool
) -> None:
    """C14, C90: who answers an older page has not agreed to another version, to other terms, or after an incident."""
    browser = opened(front, person)
    change(front)

    page = browser.allow()

    assert (page.status_code == 200) is again
    assert "code" in answer(browser.allow() if again else page)


@pytest.mark.parametrize("sent", ["", "patient/*.cruds", "0" * 64])
def test_a_form_that_does_not_say_what_was_shown_grants_nothing(front: Front, sent: str) -> None:
    """ADR 17: such as that of a page of an earlier release."""
    browser = opened(front, "dora")

    page = browser.press(browser.form("decision"), ("decision", "allow"), ("shown", sent))

    assert page.status_code == 200
    assert front.events("authserver.code.issue") == []


def test_a_form_that_says_that_more_was_shown_gets_what_is_offered(front: Front) -> None:
    """C68: the field comes from the browser and only ever narrows."""
    narrow(front, *SHOWN)
    browser = opened(front, "dora")
    form = browser.form("decision")
    shown = f"{dict(form.fields)['shown']} patient/*.cruds user/*.cruds offline_access"

    told = answer(browser.press(form, ("decision", "allow"), ("shown", shown)))

    granted = set(front.redeem(told["code"], "web").json()["scope"].split(" "))
    assert not granted & {"offline_access", "patient/Observation.rs", "user/Patient.rs"}
    agreed = front.events("consent.authorization.record")[0].facts["scopes"]
    assert set(agreed) == granted, "and nothing else is on record as agreed to"
