"""Requests as the service keeps them, on each backend (C214)."""

from typing import Any

from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import KEPT, WAITING_BOUND, ApproveOrder, AskOrder, State
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from tests.sim.at_once import at_once
from tests.store import registry_ground
from tests.store.registry_ground import GENERAL, GINA, Ground

ground = registry_ground.ground
NURSE = frozenset({"nurse"})


def person(ground: Ground, username: str, role: str) -> Actor:
    added = ground.do(SYSTEM, identity.add_person, NewPerson(GENERAL, username, username.title(), role))
    return Actor(ActorKind.PERSON, added.id, GENERAL, frozenset({role}))


def ask(ground: Ground, who: Actor) -> Any:
    order = AskOrder(GENERAL, ground.app.id, NURSE, "for the ward")
    return ground.do(who, requests.ask, order)


def furnished(ground: Ground) -> tuple[Actor, Actor]:
    """Certify the app, and return two administrators."""
    ground.client()
    ground.certify()
    return person(ground, "boss", "administrator"), person(ground, "chief", "administrator")


def test_one_person_who_asks_twice_at_one_moment_has_one_request(ground: Ground) -> None:
    """C214."""
    furnished(ground)
    nora = person(ground, "nora", "nurse")

    outcomes = at_once(*(lambda: ask(ground, nora) for _ in range(4)))

    refused = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert {outcome.code for outcome in refused} == {"already_asked"}
    assert len(ground.do(GINA, requests.list_requests, state=State.OPEN)) == 1


def test_of_two_decisions_at_one_moment_one_counts(ground: Ground) -> None:
    """C214: the app is not both installed and declined."""
    boss, chief = furnished(ground)
    asked = ask(ground, person(ground, "nora", "nurse"))
    ask(ground, person(ground, "nick", "nurse"))

    outcomes = at_once(
        lambda: ground.do(boss, requests.approve, ApproveOrder(asked.id)),
        lambda: ground.do(chief, requests.decline, asked.id, "no", everybody=True),
    )

    (refused,) = (outcome for outcome in outcomes if isinstance(outcome, Conflict))
    assert refused.code in {"already_decided", "concurrent_change"}
    (decided,) = (outcome for outcome in outcomes if not isinstance(outcome, Conflict))
    listed = ground.do(GINA, requests.list_requests)
    assert [request.state for request in listed] == [decided.state] * 2
    place = ground.facts().installations.get((GENERAL, ground.app.id))
    assert (place is not None) == (decided.state is State.APPROVED)


def test_of_two_requests_for_an_app_that_are_approved_at_one_moment_neither_blocks_the_other(
    ground: Ground,
) -> None:
    boss, chief = furnished(ground)
    first, second = (ask(ground, person(ground, name, "nurse")) for name in ("nora", "nick"))

    outcomes = at_once(
        lambda: ground.do(boss, requests.approve, ApproveOrder(first.id)),
        lambda: ground.do(chief, requests.approve, ApproveOrder(second.id)),
    )

    assert [getattr(outcome, "code", "done") for outcome in outcomes].count("done") == 1
    listed = ground.do(GINA, requests.list_requests)
    assert [request.state for request in listed] == [State.APPROVED] * 2


def test_an_approval_changes_the_facts_of_enforcement_in_the_same_act(ground: Ground) -> None:
    boss, _ = furnished(ground)
    asked = ask(ground, person(ground, "nora", "nurse"))
    before = ground.epoch()

    ground.do(boss, requests.approve, ApproveOrder(asked.id))

    assert ground.epoch() > before
    place = ground.facts().installations[GENERAL, ground.app.id]
    assert place.roles == NURSE
    assert "patient/Observation.rs" in place.scopes


def test_what_waits_is_counted_with_since_when(ground: Ground) -> None:
    furnished(ground)
    assert ground.do(GINA, requests.count_waiting, GENERAL).count == 0
    first = ask(ground, person(ground, "nora", "nurse"))
    ground.uow.clock.advance(KEPT)  # type: ignore[attr-defined]
    ask(ground, person(ground, "nick", "nurse"))

    waiting = ground.do(GINA, requests.count_waiting, GENERAL, ground.app.id)

    assert (waiting.count, waiting.since) == (2, first.asked_at)
    assert waiting.count < WAITING_BOUND


def test_decided_requests_are_purged_and_open_ones_stay(ground: Ground) -> None:
    boss, _ = furnished(ground)
    declined = ask(ground, person(ground, "nora", "nurse"))
    ground.do(boss, requests.decline, declined.id, "no")
    waits = ask(ground, person(ground, "nick", "nurse"))
    ground.uow.clock.advance(KEPT * 2)  # type: ignore[attr-defined]

    assert ground.do(SYSTEM, requests.purge) == 1
    assert [request.id for request in ground.do(SYSTEM, requests.list_requests)] == [waits.id]
