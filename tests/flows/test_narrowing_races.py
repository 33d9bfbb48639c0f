"""A code or refresh token redeemed at the very instant at which its agreement is narrowed or withdrawn, on PostgreSQL.

Two real transactions, held apart by the order in which the test lets them go on; who waits is read off the database itself.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from hilum.backchannel import service as backchannel
from hilum.backchannel.client_auth import Method, Presented
from hilum.backchannel.policy import GrantType, TokenRequest
from hilum.backchannel.service import Caller
from hilum.consent import service as consent
from hilum.infra.context import Context
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import HilumError
from hilum.kernel.ids import AuthorizationId
from tests.flows.back_channel import MERCY, REDIRECT, TRACE, VERIFIER, Platform, standing
from tests.sim.backends import opened
from tests.sim.world import FakeClock, SeededIds

SCOPES = ("openid", "offline_access", "launch/patient", "patient/Observation.rs", "patient/Encounter.rs")
LESS = ("openid", "offline_access", "launch/patient", "patient/Observation.rs")
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""What the database says of transactions that wait for another's row."""


@pytest.fixture
def platform(postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[Platform]:
    uow = UnitOfWork.create(opened(postgres_url), clock, ids, "test-writer")
    with standing(uow, clock) as made:
        yield made
    uow.close()


def agreement(platform: Platform) -> AuthorizationId:
    who = platform.people["dora"].id
    return platform.run(lambda ctx: consent.list_for_person(ctx, MERCY, who))[0].id


def redeeming(platform: Platform, code: str) -> Callable[[Context], Any]:
    client = platform.clients["public"].id
    caller = Caller(Presented(Method.NONE, client))
    request = TokenRequest(GrantType.CODE, code=code, redirect_uri=REDIRECT, verifier=VERIFIER)
    return lambda ctx: backchannel.exchange(ctx, platform.site(), caller, request)


def refreshing(platform: Platform, token: str) -> Callable[[Context], Any]:
    client = platform.clients["public"].id
    caller = Caller(Presented(Method.NONE, client))
    request = TokenRequest(GrantType.REFRESH, refresh_token=token)
    return lambda ctx: backchannel.exchange(ctx, platform.site(), caller, request)


def narrowing(platform: Platform) -> Callable[[Context], Any]:
    id_ = agreement(platform)
    return lambda ctx: consent.narrow(ctx, id_, LESS)


def withdrawing(platform: Platform) -> Callable[[Context], Any]:
    id_ = agreement(platform)
    return lambda ctx: consent.withdraw(ctx, id_)


def in_this_order(
    platform: Platform, first: Callable[[Context], Any], second: Callable[[Context], Any]
) -> list[Any]:
    """Do ``first`` but hold its commit until ``second`` is done or waits for it; give what each gave, or its refusal."""
    done, go_on = Event(), Event()

    def hold(ctx: Context) -> Any:
        result = first(ctx)
        done.set()
        go_on.wait(20)
        return result

    def run(verb: Callable[[Context], Any]) -> Any:
        try:
            return platform.uow.write_now(verb, actor=SYSTEM, trace=TRACE)
        except HilumError as refusal:
            return refusal

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(run, hold)
        done.wait(20)
        other: Future[Any] = pool.submit(run, second)
        while not other.done() and not platform.uow.db.read(lambda tx: tx.execute(text(WAITING)).scalar()):
            pass
        go_on.set()
        return [one.result(20), other.result(20)]


def may_read_visits(platform: Platform, answer: Any) -> bool:
    """Whether an answer of the token endpoint, if it is one, holds a living token with what was taken back."""
    if not isinstance(answer, dict):
        return False
    found = platform.introspect(answer["access_token"])
    return bool(found["active"]) and "patient/Encounter.rs" in found["scope"].split(" ")


@pytest.mark.parametrize("change", [narrowing, withdrawing])
@pytest.mark.parametrize("redeemed_first", [True, False])
def test_a_code_redeemed_at_the_instant_of_a_narrowing_yields_no_old_scope(
    platform: Platform, change: Callable[[Platform], Callable[[Context], Any]], redeemed_first: bool
) -> None:
    """C91, security decision 9."""
    code = platform.code(scopes=SCOPES)
    verbs = [redeeming(platform, code), change(platform)]

    ended = in_this_order(platform, *(verbs if redeemed_first else verbs[::-1]))

    answer = ended[0] if redeemed_first else ended[1]
    assert not may_read_visits(platform, answer)
    if change is narrowing and not redeemed_first:
        assert set(answer["scope"].split(" ")) == set(LESS)
    if isinstance(answer, dict) and change is withdrawing:
        assert not platform.is_alive(answer["access_token"])


@pytest.mark.parametrize("change", [narrowing, withdrawing])
@pytest.mark.parametrize("redeemed_first", [True, False])
def test_a_refresh_at_the_instant_of_a_narrowing_yields_no_old_scope(
    platform: Platform, change: Callable[[Platform], Callable[[Context], Any]], redeemed_first: bool
) -> None:
    """C91."""
    held = platform.earn(scopes=SCOPES)["refresh_token"]
    verbs = [refreshing(platform, held), change(platform)]

    ended = in_this_order(platform, *(verbs if redeemed_first else verbs[::-1]))

    answer = ended[0] if redeemed_first else ended[1]
    assert not may_read_visits(platform, answer)
    if isinstance(answer, dict):
        again = platform.refresh(answer["refresh_token"])
        assert again.status_code == 400 or "patient/Encounter.rs" not in again.json()["scope"].split(" ")
