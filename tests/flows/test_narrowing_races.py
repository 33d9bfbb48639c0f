"""What is taken away at the very instant at which it is used, or something else of it is taken away, on PostgreSQL.

Two real transactions, held apart by the order in which the test lets them go on; who waits is read off the database itself.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from hilum.authorization.consent import policy as consents
from hilum.authorization.consent import service as consent
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import Launch, LaunchOrder, OpenedLaunch
from hilum.authorization.token import service as token_endpoints
from hilum.authorization.token.client_auth import Method, Presented
from hilum.authorization.token.policy import GrantType, TokenRequest
from hilum.authorization.token.service import Caller
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid
from hilum.foundation.kernel.ids import AuthorizationId, PersonId
from hilum.identity.account import service as account
from hilum.identity.account.models import Own
from hilum.identity.factors.models import Held
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import NotAuthenticated
from tests.flows.token_flow import MERCY, REDIRECT, TRACE, VERIFIER, Platform, running_platform
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
    with running_platform(uow, clock) as made:
        yield made
    uow.close()


def agreement(platform: Platform) -> AuthorizationId:
    who = platform.people["dora"].id
    return platform.run(lambda ctx: consent.list_for_person(ctx, MERCY, who))[0].id


def redeeming(platform: Platform, code: str) -> Callable[[Context], Any]:
    client = platform.clients["public"].id
    caller = Caller(Presented(Method.NONE, client))
    request = TokenRequest(GrantType.CODE, code=code, redirect_uri=REDIRECT, verifier=VERIFIER)
    return lambda ctx: token_endpoints.exchange(ctx, platform.site(), caller, request)


def refreshing(platform: Platform, token: str) -> Callable[[Context], Any]:
    client = platform.clients["public"].id
    caller = Caller(Presented(Method.NONE, client))
    request = TokenRequest(GrantType.REFRESH, refresh_token=token)
    return lambda ctx: token_endpoints.exchange(ctx, platform.site(), caller, request)


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


def taking_back(platform: Platform, scope: str) -> Callable[[Context], Any]:
    """Remove one scope as the page of connected apps does."""
    who = platform.people["dora"].id
    (entry,) = platform.run(lambda ctx: consent.list_for_person(ctx, MERCY, who))
    return lambda ctx: consent.take_back(ctx, entry, [scope], by=consents.NOBODY)


def agreed_to(platform: Platform, id_: AuthorizationId) -> set[str]:
    found = platform.run(lambda ctx: consent.find_authorization(ctx, id_))
    assert found is not None
    return set(found.scopes)


def test_of_two_narrowings_at_one_instant_neither_gives_back_what_the_other_took(platform: Platform) -> None:
    """C91, C93: what came back would be granted at the next launch without a question."""
    platform.code(scopes=SCOPES)
    agreed = agreement(platform)
    verbs = [taking_back(platform, each) for each in ("patient/Encounter.rs", "patient/Observation.rs")]

    in_this_order(platform, *verbs)

    assert agreed_to(platform, agreed) == {"openid", "offline_access", "launch/patient"}


def test_what_an_agreement_has_no_more_at_the_instant_of_its_narrowing_is_not_kept(
    platform: Platform,
) -> None:
    """C91: judged by the scopes that the other narrowing left, it asks for more than was agreed to."""
    platform.code(scopes=SCOPES)
    agreed = agreement(platform)
    other = tuple(scope for scope in SCOPES if scope != "patient/Observation.rs")

    _, refusal = in_this_order(platform, narrowing(platform), lambda ctx: consent.narrow(ctx, agreed, other))

    assert isinstance(refusal, Invalid)
    assert agreed_to(platform, agreed) == set(LESS)


# --- launches ------------------------------------------------------------------------------------------------------------------


def opened_launch(platform: Platform) -> OpenedLaunch:
    order = LaunchOrder(platform.clients["public"].id, "dora", "p1", "e1")
    return platform.as_ehr(lambda ctx: launches.open_launch(ctx, order))


def moving(
    platform: Platform, made: OpenedLaunch, patient: str | None, encounter: str | None = None
) -> Callable[[Context], Launch]:
    return lambda ctx: launches.move(ctx.as_actor(platform.ehr), made.launch.id, patient, encounter)


def now_of(platform: Platform, made: OpenedLaunch) -> Launch:
    return platform.run(lambda ctx: launches.get_launch(ctx, made.launch.id))


def test_a_launch_taken_at_the_instant_at_which_its_chart_changes_is_of_one_chart(platform: Platform) -> None:
    """C35: an app that got the earlier patient has been left behind, and one that comes later gets the later patient."""
    early, late = opened_launch(platform), opened_launch(platform)

    taken, _ = in_this_order(platform, platform.taking(early.handle), moving(platform, early, "p2"))
    _, after = in_this_order(platform, moving(platform, late, "p2"), platform.taking(late.handle))

    assert (taken.patient, now_of(platform, early).patient) == ("p1", "p2")
    assert now_of(platform, early).moved_at is not None
    assert (after.patient, after.moved_at) == ("p2", None)


def test_of_two_moves_at_one_instant_the_second_takes_nothing_back(platform: Platform) -> None:
    """C35: what was granted for the earlier patient stays stale."""
    made = opened_launch(platform)
    platform.take(made.handle)

    in_this_order(platform, moving(platform, made, "p2"), moving(platform, made, None, "e9"))

    found = now_of(platform, made)
    assert (found.patient, found.encounter) == ("p2", "e9")
    assert found.moved_at is not None


def test_a_launch_that_ends_at_the_instant_at_which_it_is_opened_leaves_no_session(
    platform: Platform,
) -> None:
    """C36: whoever logs out of the EHR leaves nobody signed in behind them."""
    made = opened_launch(platform)

    begun, _ = in_this_order(
        platform,
        lambda ctx: launches.use_open_token(ctx, MERCY, made.open_token),
        lambda ctx: launches.end(ctx.as_actor(platform.ehr), made.launch.id),
    )

    assert now_of(platform, made).ended_at is not None
    assert platform.run(lambda ctx: signin.session(ctx, begun.cookie)) is None


# --- passwords -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signs_in_first", [True, False])
def test_a_sign_in_at_the_instant_of_a_new_password_leaves_no_session(
    platform: Platform, *, signs_in_first: bool
) -> None:
    """Security decision 4: whoever knows the old password and signs in without a pause gains nothing by it."""
    who = platform.people["dora"].id
    platform.run(lambda ctx: signin.set_password(ctx, who, "a hash"))
    attempt = platform.run(lambda ctx: signin.begin_attempt(ctx, MERCY, "dora"))
    verbs: list[Callable[[Context], Any]] = [
        lambda ctx: signin.complete_attempt(ctx, attempt, matched=True, production=False),
        lambda ctx: signin.set_password(ctx, who, "another hash"),
    ]

    ended = in_this_order(platform, *(verbs if signs_in_first else verbs[::-1]))

    began = ended[0] if signs_in_first else ended[1]
    if signs_in_first:
        assert platform.run(lambda ctx: signin.session(ctx, began[1])) is None
    else:
        assert isinstance(began, NotAuthenticated)


ENDINGS: list[Callable[[Context, PersonId], None]] = [
    lambda ctx, who: signin.set_password(ctx, who, "another hash"),
    signin.end_credentials,
]
"""A new password; and what a removed factor, link or role does."""


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("enters_first", [True, False])
def test_a_second_factor_entered_at_the_instant_of_an_end_leaves_no_session(
    platform: Platform, *, enters_first: bool, end: Callable[[Context, PersonId], None]
) -> None:
    """Security decision 4."""
    who = platform.add_person("gina", "administrator", "Practitioner/pr9").id
    platform.run(lambda ctx: signin.set_password(ctx, who, "a hash"))
    attempt = platform.run(lambda ctx: signin.begin_attempt(ctx, MERCY, "gina"))
    _, cookie = platform.run(lambda ctx: signin.complete_attempt(ctx, attempt, matched=True, production=True))

    def finish(ctx: Context) -> Any:
        found = signin.pending(ctx, cookie)
        assert found is not None
        return signin.finish_pending(ctx, *found)

    verbs: list[Callable[[Context], Any]] = [finish, lambda ctx: end(ctx, who)]
    ended = in_this_order(platform, *(verbs if enters_first else verbs[::-1]))

    if enters_first:
        assert platform.run(lambda ctx: signin.session(ctx, ended[0][1])) is None
    else:
        assert isinstance(ended[1], Conflict)


@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize("makes_first", [True, False])
def test_a_token_made_by_page_at_the_instant_of_an_end_does_not_outlive_its_session(
    platform: Platform, *, makes_first: bool, end: Callable[[Context, PersonId], None]
) -> None:
    """Security decision 6: it would be valid for three months."""
    person = platform.people["dora"]
    platform.run(lambda ctx: signin.set_password(ctx, person.id, "a hash"))
    session, _ = platform.run(lambda ctx: signin.begin_session(ctx, person, "password"))
    own = Own(session, person, Held(), confirmed=True, required=False)

    verbs: list[Callable[[Context], Any]] = [
        lambda ctx: account.create_token(ctx, own, "nightly", timedelta(days=90)),
        lambda ctx: end(ctx, person.id),
    ]
    ended = in_this_order(platform, *(verbs if makes_first else verbs[::-1]))

    assert makes_first or isinstance(ended[1], Conflict)
    assert platform.run(lambda ctx: signin.list_api_tokens(ctx, person.id)) == []
