"""Every endpoint refuses for the same facts: what each asks is one judgement of eligibility (C4, C38, C140, C146)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.apps.registry import service as registry
from hilum.authorization.launches import service as launches
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches.models import TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import HilumError
from hilum.identity.people import service as identity
from hilum.identity.people.models import Facility, NewFacility, TenantChange
from tests.flows.authorize_flow import Front, front
from tests.flows.token_flow import MERCY
from tests.unit.policy.matrix.books import LIFETIMES

__all__ = ["front"]

SCOPES = ("launch", "openid", "fhirUser", "offline_access", "patient/*.rs")
Try = Callable[[], str]
"""Goes through an endpoint: empty when it let one pass, else what was refused, in words."""


def refusal(verb: Callable[[], Any]) -> str:
    try:
        verb()
    except HilumError as error:
        return f"{error.code}: {error.detail}"
    return ""


def gateway(front: Front) -> Try:
    held = front.earn("web", scopes=SCOPES)["access_token"]

    def go() -> str:
        answer = front.read("Patient/p1", held)
        return "" if answer.status == 200 else str(answer.json["issue"][0]["details"]["coding"][0]["code"])

    return go


def authorize(front: Front) -> Try:
    """A page of a request that somebody has begun."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    form = browser.form("decision")

    def go() -> str:
        answer = browser.press(form, ("decision", "allow"))
        location = answer.headers.get("location", "")
        if "code=" in location:
            return ""
        return unquote_plus(location) or f"page: {answer.status_code} {unquote_plus(answer.text)}"

    return go


def token(front: Front) -> Try:
    code = front.code("web", scopes=SCOPES)

    def go() -> str:
        answer = front.redeem(code, "web")
        return "" if answer.status_code == 200 else str(answer.json()["error_description"])

    return go


def refresh(front: Front) -> Try:
    held = front.earn("web", scopes=SCOPES)["refresh_token"]

    def go() -> str:
        answer = front.refresh(held, "web")
        return "" if answer.status_code == 200 else str(answer.json()["error_description"])

    return go


def introspection(front: Front) -> Try:
    held = front.earn("web", scopes=SCOPES)["access_token"]

    def go() -> str:
        answer = front.post("introspect", "resource", {"token": held})
        return "" if answer.json().get("active") is True else f"not active: {answer.status_code}"

    return go


def open_launch(front: Front) -> Try:
    return lambda: refusal(front.open_launch)


def open_url(front: Front) -> Try:
    opened = front.open_launch()
    return lambda: refusal(
        lambda: front.run(lambda ctx: launches.use_open_token(ctx, MERCY, opened.open_token))
    )


def take_launch(front: Front) -> Try:
    handle = front.open_launch().handle
    return lambda: refusal(lambda: front.take(handle, "web"))


def ehr(front: Front) -> Try:
    client = front.clients["ehr"]
    grant = Grant(MERCY, client.id, client.app, client.version, front.vendor, ("hilum/launch",))
    life = timedelta(minutes=5)
    held = front.run(
        partial(tokens.mint, grant=grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=life)
    )
    return lambda: refusal(
        lambda: front.run(lambda ctx: launches.authenticate_ehr(ctx, MERCY, held.access_token))
    )


OF_APPS = (authorize, gateway, token, refresh, introspection, open_launch, open_url, take_launch)
"""First the page of a request: after any agreement with the app there is none."""
SAY_NO_REASON = {introspection}


@dataclass(frozen=True)
class Fact:
    """What is taken away: from the app with its person, or from the EHR client itself."""

    take: Callable[[Front, str], Any]
    reason: Reason
    of_system_clients: bool = True


def suspend(front: Front, name: str) -> None:
    front.run(lambda ctx: registry.suspend_app(ctx, front.clients[name].app, "A test"))


def stop_app(front: Front, name: str) -> None:
    front.engage(TargetKind.APP, front.clients[name].app)


def close_tenant(front: Front, _: str) -> None:
    front.run(lambda ctx: identity.update_tenant(ctx, MERCY, TenantChange(active=False)))


def _installation(front: Front, name: str) -> str:
    found = front.run(lambda ctx: installations.list_installations(ctx, MERCY))
    return next(each.id for each in found if each.app == front.clients[name].app)


def withdraw(front: Front, name: str) -> None:
    app = front.clients[name].app
    for each in front.run(lambda ctx: registry.list_certifications(ctx, app)):
        front.run(partial(registry.withdraw_certification, certification_id=each.id))


def uninstall(front: Front, name: str) -> None:
    installation = _installation(front, name)
    front.run(lambda ctx: installations.uninstall(ctx, installation))


def narrow_roles(front: Front, name: str) -> None:
    installation, order = _installation(front, name), NarrowOrder(roles=frozenset({"patient"}))
    front.run(lambda ctx: installations.narrow_installation(ctx, installation, order))


def deny_facility(front: Front, name: str) -> None:
    """The launches name no facility that is known, so any deny refuses them."""
    made = facility(front)
    installation, order = _installation(front, name), NarrowOrder(denied=frozenset({made.id}))
    front.run(lambda ctx: installations.narrow_installation(ctx, installation, order))


def facility(front: Front, name: str = "East") -> Facility:
    new = NewFacility(MERCY, name, "Mercy Ltd", f"Location/{name.lower()}")
    return front.run(lambda ctx: identity.add_facility(ctx, new))


def deactivate(front: Front, _: str) -> None:
    front.run(lambda ctx: identity.deactivate_person(ctx, front.people["dora"].id))


FACTS = [
    Fact(stop_app, Reason.SWITCH_ENGAGED),
    Fact(close_tenant, Reason.TENANT_MISMATCH),
    Fact(suspend, Reason.APP_SUSPENDED),
    Fact(withdraw, Reason.APP_NOT_CERTIFIED, of_system_clients=False),
    Fact(uninstall, Reason.APP_NOT_INSTALLED, of_system_clients=False),
    Fact(narrow_roles, Reason.ROLE_NOT_ALLOWED, of_system_clients=False),
    Fact(deny_facility, Reason.FACILITY_NOT_ALLOWED, of_system_clients=False),
    Fact(deactivate, Reason.PERSON_INACTIVE, of_system_clients=False),
]
EARLIER: dict[tuple[object, object], str] = {
    (close_tenant, authorize): "page: 400",  # there is no such hospital to name an app's error at
    (close_tenant, token): "There is no such hospital.",
    (close_tenant, refresh): "There is no such hospital.",
    (deactivate, authorize): "page:",  # the session of somebody who left is over: the sign-in page
    (deactivate, open_launch): "launch_invalid",  # the order names somebody who is nobody active here
}
"""Where an endpoint refuses before it judges eligibility, and with what."""


def refuses(fact: Fact, endpoint: Callable[[Front], Try], said: str) -> None:
    expected = EARLIER.get((fact.take, endpoint), str(fact.reason))
    assert said, endpoint
    assert endpoint in SAY_NO_REASON or expected in said, (endpoint, said)


def test_every_endpoint_lets_through_what_nothing_was_taken_from(front: Front) -> None:
    for endpoint in (*OF_APPS, ehr):
        assert endpoint(front)() == "", endpoint


@pytest.mark.parametrize("fact", FACTS, ids=[fact.take.__name__ for fact in FACTS])
def test_every_endpoint_refuses_for_the_same_fact_and_says_the_same_reason(front: Front, fact: Fact) -> None:
    """C38, C140, C146."""
    waiting = {endpoint: endpoint(front) for endpoint in OF_APPS}

    fact.take(front, "web")

    for endpoint, go in waiting.items():
        refuses(fact, endpoint, go())


@pytest.mark.parametrize(
    "fact", [fact for fact in FACTS if fact.of_system_clients], ids=lambda fact: fact.take.__name__
)
def test_an_ehr_is_refused_for_what_was_taken_from_itself(front: Front, fact: Fact) -> None:
    """C38, C140, C146."""
    go = ehr(front)

    fact.take(front, "ehr")

    refuses(fact, ehr, go())
