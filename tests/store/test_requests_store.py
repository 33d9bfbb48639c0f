"""Requests, their groups and rules as the service keeps them, on each backend (C214)."""

from typing import Any

import pytest

from hilum.identity import service as identity
from hilum.identity.models import NewPerson
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.errors import Conflict
from hilum.requests import rule_sets
from hilum.requests import service as requests
from hilum.requests.models import Action, AskOrder, Decision, Rule, State
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


def test_who_ask_at_one_moment_are_in_one_group(ground: Ground) -> None:
    """C214."""
    ground.client()
    ground.certify()
    nurses = [person(ground, f"nurse{n}", "nurse") for n in range(4)]

    found = at_once(*(lambda who=who: ask(ground, who) for who in nurses))

    for who, each in zip(nurses, found, strict=True):
        if isinstance(each, Conflict):
            assert each.code == "concurrent_change"
            ask(ground, who)
    (view,) = ground.do(GINA, requests.list_groups, GENERAL, State.OPEN)
    assert len(view.requests) == 4


def test_of_two_decisions_at_one_moment_one_counts(ground: Ground) -> None:
    """C214: the app is not both installed and dismissed."""
    ground.client()
    ground.certify()
    group = ask(ground, person(ground, "nora", "nurse")).group
    boss, chief = (person(ground, name, "administrator") for name in ("boss", "chief"))
    revision = ground.do(GINA, requests.view_group, group).group.revision
    decision = Decision(group, revision, "decided")

    found = at_once(
        lambda: ground.do(boss, requests.approve, decision),
        lambda: ground.do(chief, requests.dismiss, decision),
    )

    refused = [each for each in found if isinstance(each, Conflict)]
    assert len(refused) == 1
    assert refused[0].code in {"already_decided", "changed_since_read", "concurrent_change"}
    (done,) = (each for each in found if not isinstance(each, Conflict))
    assert ground.do(GINA, requests.view_group, group).group.state is done.group.state
    place = ground.facts().installations.get((GENERAL, ground.app.id))
    assert (place is not None) == (done.group.state is State.APPROVED)


def test_of_two_sets_of_rules_put_in_force_at_one_moment_one_counts(ground: Ground) -> None:
    boss, chief = (person(ground, name, "administrator") for name in ("boss", "chief"))
    rules = (Rule("no", Action.DISMISS, because="no"),)

    found = at_once(
        *(
            lambda who=who: ground.do(who, rule_sets.put_in_force, GENERAL, rules, base=0, note="")
            for who in (boss, chief)
        )
    )

    assert [isinstance(each, Conflict) for each in found].count(True) == 1
    assert ground.do(GINA, rule_sets.view_rules, GENERAL).version == 1


def test_a_rule_that_approves_changes_the_facts_of_enforcement_in_the_same_act(ground: Ground) -> None:
    ground.client()
    ground.certify()
    boss = person(ground, "boss", "administrator")
    rules = (Rule("all", Action.APPROVE),)
    ground.do(boss, rule_sets.put_in_force, GENERAL, rules, base=0, note="")
    before = ground.epoch()

    assert ask(ground, person(ground, "nora", "nurse")).state is State.APPROVED

    assert ground.epoch() > before
    place = ground.facts().installations[GENERAL, ground.app.id]
    assert place.roles == NURSE
    assert "patient/Observation.rs" in place.scopes


@pytest.mark.parametrize("decided", [True, False])
def test_decided_groups_are_purged_and_open_ones_stay(ground: Ground, decided: bool) -> None:
    ground.client()
    ground.certify()
    group = ask(ground, person(ground, "nora", "nurse")).group
    if decided:
        revision = ground.do(GINA, requests.view_group, group).group.revision
        boss = person(ground, "boss", "administrator")
        ground.do(boss, requests.dismiss, Decision(group, revision, "no"))
    ground.uow.clock.advance(requests.KEPT * 2)  # type: ignore[attr-defined]

    assert ground.do(SYSTEM, requests.purge) == int(decided)
    assert len(ground.do(SYSTEM, requests.list_requests)) == int(not decided)
