"""Every endpoint of the authorization server under every full stop that reaches it: what stands stops, and nothing begun before revives."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from hilum.authorization.launches import service as launches
from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.kernel.errors import HilumError
from tests.flows.authorize_flow import SCOPE, Front, front
from tests.flows.token_flow import MERCY, OTHER

__all__ = ["front"]

Try = Callable[[], bool]
"""Goes through an endpoint and tells whether it let one pass."""
EVERYWHERE = (TargetKind.PLATFORM, TargetKind.TENANT)
OF_APPS = (*EVERYWHERE, TargetKind.VENDOR, TargetKind.APP, TargetKind.VERSION, TargetKind.APP_TENANT)
OF_PEOPLE = (*OF_APPS, TargetKind.PERSON, TargetKind.APP_PERSON)


def passes(verb: Callable[[], Any]) -> bool:
    try:
        verb()
    except HilumError:
        return False
    return True


def a_new_request(front: Front) -> Try:
    """GET /authorize by a browser that is signed in already."""
    browser = front.browser("dora")

    def go() -> bool:
        page = browser.authorize(scope="openid user/Patient.rs", prompt="consent")
        return page.status_code == 200 and 'value="allow"' in page.text

    return go


def a_stranger_at_authorize(front: Front) -> Try:
    """GET /authorize before anybody has signed in: the app's and the tenant's stops need no person."""
    return lambda: front.browser().authorize(scope="openid user/Patient.rs").status_code == 200


def the_last_step(front: Front) -> Try:
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    form = browser.form("decision")
    return lambda: "code=" in browser.press(form, ("decision", "allow")).headers.get("location", "")


def a_silent_request(front: Front) -> Try:
    """An authorization that stands, so that no page is shown."""
    browser = front.browser("dora")
    if browser.authorize(launch=front.open_launch().handle).status_code == 200:
        browser.allow()
    launch = front.open_launch().handle

    def go() -> bool:
        ended = browser.authorize(launch=launch, prompt="none")
        return "code=" in ended.headers.get("location", "")

    return go


def a_code(front: Front) -> Try:
    code = front.code("web", scopes=tuple(SCOPE.split(" ")))
    return lambda: front.redeem(code, "web").status_code == 200


def a_refresh(front: Front) -> Try:
    held = front.earn("web", scopes=tuple(SCOPE.split(" ")))["refresh_token"]
    return lambda: front.refresh(held, "web").status_code == 200


def an_access_token(front: Front) -> Try:
    held = front.earn("web", scopes=tuple(SCOPE.split(" ")))["access_token"]
    return lambda: front.is_alive(held)


def opening(front: Front) -> Try:
    return lambda: passes(front.open_launch)


def an_open_url(front: Front) -> Try:
    opened = front.open_launch()
    return lambda: passes(
        lambda: front.run(lambda ctx: launches.use_open_token(ctx, MERCY, opened.open_token))
    )


def taking(front: Front) -> Try:
    handle = front.open_launch().handle
    return lambda: passes(lambda: front.take(handle, "web"))


def registering(front: Front) -> Try:
    return lambda: register(front).status_code == 201


def register(front: Front, tenant: str = MERCY) -> Any:
    body = {
        "client_name": "My app",
        "redirect_uris": ["http://127.0.0.1:4567/cb"],
        "token_endpoint_auth_method": "none",
        "scope": "openid user/Patient.rs",
    }
    return front.http.post(f"/t/{tenant}/oauth/register", json=body)


@dataclass(frozen=True)
class Endpoint:
    """``since``: what is tried was issued before the stop, so its end must not revive it. ``session``: it needs a session of before."""

    ready: Callable[[Front], Try]
    kinds: tuple[TargetKind, ...]
    since: bool = False
    session: bool = False

    def stays_closed_after(self, kind: TargetKind) -> bool:
        """Whether what was made before a full stop is dead once it has ended."""
        return self.since or (self.session and kind in {*EVERYWHERE, TargetKind.PERSON})


ENDPOINTS = [
    Endpoint(a_new_request, OF_PEOPLE, session=True),
    Endpoint(a_stranger_at_authorize, OF_APPS),
    Endpoint(the_last_step, OF_PEOPLE, since=True),
    Endpoint(a_silent_request, OF_PEOPLE, since=True),
    Endpoint(a_code, OF_PEOPLE, since=True),
    Endpoint(a_refresh, OF_PEOPLE, since=True),
    Endpoint(an_access_token, OF_PEOPLE, since=True),
    Endpoint(opening, OF_PEOPLE),
    Endpoint(an_open_url, OF_PEOPLE, since=True),
    Endpoint(taking, OF_PEOPLE, since=True),
    Endpoint(registering, EVERYWHERE),
]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.ready.__name__)
def test_a_full_stop_closes_each_endpoint_and_its_end_revives_nothing(
    front: Front, endpoint: Endpoint
) -> None:
    """C140, C141, C143; security decision 8: endpoints x targets."""
    for kind in endpoint.kinds:
        go = endpoint.ready(front)

        switch = front.engage(kind, front.target(kind).key)
        assert not go(), kind
        front.clock.advance(timedelta(seconds=1))
        front.release(switch)
        front.clock.advance(timedelta(seconds=1))

        assert go() is not endpoint.stays_closed_after(kind), kind


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.ready.__name__)
def test_each_endpoint_is_open_without_a_stop_and_under_one_elsewhere(
    front: Front, endpoint: Endpoint
) -> None:
    """What shows that the table above tests the stop and nothing else."""
    front.engage(TargetKind.TENANT, OTHER)
    front.engage(TargetKind.APP, front.clients["second"].app)
    front.engage(TargetKind.PERSON, front.people["nora"].id)
    go = endpoint.ready(front)

    assert go()


@pytest.mark.parametrize(
    "endpoint", [a_new_request, the_last_step, opening, an_open_url, taking, registering]
)
def test_no_new_launches_closes_what_would_be_a_new_launch(
    front: Front, endpoint: Callable[[Front], Try]
) -> None:
    """C140: the softer mode."""
    go = endpoint(front)

    front.engage(TargetKind.TENANT, MERCY, Mode.NO_NEW_LAUNCHES)

    assert not go()


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_registration_under_a_stop_answers_503_in_the_words_of_oauth(front: Front, kind: TargetKind) -> None:
    """RFC 6749 section 5.2; C140: a client registered under a stop would be there when it ends."""
    front.engage(kind, front.target(kind).key)

    answer = register(front)

    assert answer.status_code == 503
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "A switch stops registration" in answer.json()["error_description"]
    assert int(answer.headers["retry-after"]) > 0
    (event,) = front.events("registry.client.register")
    assert (event.outcome, event.reason, event.tenant) == ("refused", "switch_engaged", MERCY)
    assert front.events("registry.client.add")[0].facts["dynamic"] is False
    assert (register(front, OTHER).status_code == 201) is (kind is TargetKind.TENANT)
