"""Agreements and what is refreshed under them end by the limits and the class of the app's entry, each with its own reason (C89, C194)."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import AgreementLife
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import PageQuery
from tests.flows.authorize_flow import Front, answer, front, keep_using
from tests.flows.connected_ground import connect, manage
from tests.flows.policy_ground import everywhere, narrow_policy
from tests.flows.token_flow import MERCY, TRACE, refused
from tests.sim.world import FakeClock

__all__ = ["front"]

DAY = timedelta(days=1)
ONLINE = "launch/patient online_access patient/Goal.rs"


def listed(front: Front, person: PersonId, *, by: str) -> list[AgreementLife]:
    actor = Actor(ActorKind.PERSON, by, MERCY, frozenset({"patient"}))
    return front.uow.write_now(
        partial(consent.list_lives, tenant=MERCY, page=PageQuery(), person=person), actor=actor, trace=TRACE
    )


def limits(front: Front, **changes: Any) -> None:
    narrow_policy(front.run, everywhere("lifetimes", changes))


def idle(front: Front, token: str) -> str:
    limits(front, idle="92 d")
    token = keep_using(front, token, days=60, times=1)
    front.clock.advance(92 * DAY)
    return token


def dormant(front: Front, token: str) -> str:
    narrow_policy(front.run, everywhere("dormant_ends", True) | everywhere("dormant_days", 100))
    token = keep_using(front, token, days=99, times=2)
    front.clock.advance(100 * DAY)
    return token


def absolute(front: Front, token: str) -> str:
    limits(front, absolute="100 d")
    token = keep_using(front, token, days=33, times=3)
    front.clock.advance(DAY)
    return token


def fixed(front: Front, token: str) -> str:
    limits(front, expiry="fixed", authorization="100 d")
    front.clock.advance(99 * DAY)
    connect(front)
    token = front.refresh(token, "web").json()["refresh_token"]
    front.clock.advance(DAY)
    return token


def once(front: Front) -> None:
    """Regulation gives apps with offline access to a patient's own record a life, so an entry for one opening lists no such access."""
    front_door = ["openid", "fhirUser", "launch", "launch/patient", "launch/encounter", "online_access"]
    narrow_policy(
        front.run, everywhere("lifetimes", {"expiry": "one_time"}) | everywhere("session_scopes", front_door)
    )


def one_time(front: Front, _: str) -> str:
    once(front)
    token = connect(front, scope=ONLINE)["refresh_token"]
    front.clock.advance(timedelta(minutes=20))
    token = front.refresh(token, "web").json()["refresh_token"]
    front.clock.advance(timedelta(minutes=10))
    return token


@pytest.mark.parametrize(
    ("spend", "reason"),
    [
        (idle, "authorization_idle"),
        (dormant, "authorization_dormant"),
        (absolute, "absolute_limit_reached"),
        (fixed, "fixed_end_reached"),
        (one_time, "one_time_over"),
    ],
)
def test_at_the_end_a_refresh_fails_with_the_reason_of_its_limit(
    front: Front, spend: Callable[[Front, str], str], reason: str
) -> None:
    """C89, C194: use that goes on keeps what only ends when it rests, and nothing else."""
    token = spend(front, connect(front)["refresh_token"])

    assert reason in refused(front.refresh(token, "web"), "invalid_grant")


def test_a_refresh_at_the_last_moment_is_a_use_and_gives_a_token_of_full_life(front: Front) -> None:
    """C194: the app need not refresh again a minute later."""
    limits(front, idle="92 d")
    first = connect(front)
    front.clock.advance(92 * DAY - timedelta(minutes=1))

    second = front.refresh(first["refresh_token"], "web").json()

    assert second["expires_in"] == first["expires_in"]


def test_what_is_for_one_opening_is_asked_each_time_and_ends_by_itself(front: Front) -> None:
    """C89: two agreements, so that the second is not ended with the first."""
    once(front)
    first = connect(front, scope=ONLINE)["refresh_token"]
    front.clock.advance(timedelta(minutes=20))
    second = connect(front, scope=ONLINE)["refresh_token"]
    front.clock.advance(timedelta(minutes=10))

    assert "one_time_over" in refused(front.refresh(first, "web"), "invalid_grant")
    assert front.refresh(second, "web").status_code == 200
    assert len(front.events("consent.authorization.record")) == 2


def test_opening_an_app_moves_no_fixed_end(front: Front) -> None:
    """C89: staff who are not asked go on under the agreement of before; after its end they are told again."""

    def go() -> Any:
        return front.browser("dora").authorize(launch=front.open_launch().handle)

    limits(front, expiry="fixed", authorization="100 d")
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    answer(browser.allow())
    front.clock.advance(99 * DAY)

    assert "code" in answer(go())
    front.clock.advance(DAY)
    assert "has approved this app for your role" in go().text


def test_what_was_not_used_for_too_long_is_agreed_to_again(front: Front) -> None:
    """C89, C90: staff who opened the app in time go on; afterwards they see the notice again, though its own term is not over."""

    def go() -> Any:
        return front.browser("dora").authorize(launch=front.open_launch().handle)

    limits(front, idle="92 d")
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    answer(browser.allow())
    front.clock.advance(91 * DAY)
    assert "code" in answer(go())

    front.clock.advance(92 * DAY)

    assert "has approved this app for your role" in go().text


def test_the_page_and_the_list_say_when_and_why_something_ends(front: Front, clock: FakeClock) -> None:
    """C93, C194, C219: last use and end of agreements and of token families."""
    connect(front)
    limits(front, idle="100 d", absolute="95 d")
    pat = front.people["pat"].id

    (found,) = listed(front, pat, by=pat)
    page = manage(front.browser("pat"))
    clock.advance(101 * DAY)
    ended = manage(front.browser("pat"))

    assert found.agreement.ends is not None
    assert found.agreement.ends.why == "authorization_idle"
    assert found.agreement.last_used_at == clock.now() - 101 * DAY
    assert [end.why for _, end in found.families] == ["absolute_limit_reached"]
    assert "10 June 2026, unless the app is used before" in page
    assert "<dt>Ended</dt><dd>10 June 2026<" in ended
    with pytest.raises(NotPermitted):
        listed(front, pat, by="per_other")


def test_an_agreement_for_a_study_ends_with_the_study(front: Front) -> None:
    """C89: an app of a study is installed until a day, and a longer installation afterwards prolongs no agreement of before."""
    limits(front, expiry="study")
    app = front.clients["web"].app
    roles = frozenset({"patient", "physician"})
    (before,) = [each for each in front.run(installations.list_installations) if each.app == app]
    front.run(lambda ctx: installations.uninstall(ctx, before.id))
    with pytest.raises(Invalid) as refusal:
        front.run(lambda ctx: installations.install(ctx, InstallOrder(MERCY, app, roles)))
    ends = front.clock.now() + 30 * DAY
    front.run(lambda ctx: installations.install(ctx, InstallOrder(MERCY, app, roles, expires_at=ends)))
    token = connect(front)["refresh_token"]

    token = keep_using(front, token, days=29, times=1)
    front.clock.advance(DAY)
    over = refused(front.refresh(token, "web"), "invalid_grant")
    longer = InstallOrder(MERCY, app, roles, expires_at=ends + 30 * DAY)
    front.run(lambda ctx: installations.install(ctx, longer))

    assert refusal.value.fields == {"expires_at": "study_end_missing"}
    assert "study_ended" in over
    assert "study_ended" in refused(front.refresh(token, "web"), "invalid_grant")
