"""What is kept of a token's grant is what would be compiled now, whatever changed since."""

import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.gateway.enforcement import grants
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import Permit
from hilum.policy.matrix.in_force import PolicyFacts
from tests.effort import effort
from tests.unit.gateway.enforcement.changes import CHANGES, HELD, HOUR, MOMENTS, SUNSET, TOKENS
from tests.unit.gateway.enforcement.facts import (
    NOW,
    OTHER,
    SNAPSHOT,
    TOKEN,
    ask,
    decide,
    reason,
    with_client,
    with_installation,
)

BODY = b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"status":"final"}'
ASKED = [
    ask("Patient/p1"),
    ask("Patient/p2"),
    ask("Observation/o1"),
    ask("Observation?patient=p1"),
    ask("Observation", method="POST", body=BODY),
    ask("Binary/b1"),
    ask("Practitioner/dr"),
    replace(ask("Patient/p1"), source="192.0.2.9"),
    replace(ask("Patient/p1"), source="198.51.100.1"),
    replace(ask("Patient/p1"), purpose="picker"),
    replace(ask("Patient/p1"), tenant=OTHER),
]
STEPS = st.lists(
    st.tuples(CHANGES, MOMENTS, st.sampled_from(ASKED), st.sampled_from(TOKENS)), min_size=2, max_size=12
)


def shown(decision: Permit | Deny) -> Any:
    """Return every part of a decision in which two may differ."""
    if isinstance(decision, Deny):
        return decision
    found = decision
    access = found.access
    types = ("Patient", "Observation", "Binary")
    reach = [[rule.text for rule in grant_rules(access, type_, 1 << n)] for type_ in types for n in range(5)]
    scopes = (access.scopes.by_type, access.scopes.any_type, access.scopes.special)
    people = (access.patient, access.people, access.rights, access.own, access.glass, access.stopped is None)
    grants = [(rule.text, rule.patients, rule.constraints) for rule in found.grants]
    rest = (found.rule, found.only, found.plan, found.patient, found.may_create, found.grant.traffic)
    granted = (found.quota, found.tenant, found.grant.origins)
    return found.grant.book, scopes, people, reach, grants, rest, granted


@given(steps=STEPS)
@settings(max_examples=effort(50, 20_000), deadline=None)
def test_a_decision_is_the_same_with_all_that_was_kept_and_with_nothing(steps: list[Any]) -> None:
    """C71: a change of any fact, of the time or of the token reaches the next request."""
    grants.kept.clear()
    snapshot, worlds = SNAPSHOT, []
    for change, now, asked, held in steps:
        snapshot = change(snapshot)
        worlds.append((asked, held, snapshot, now))

    with_what_was_kept = [shown(decide(*world)) for world in (*worlds, *worlds)]

    for world, *found in zip(
        worlds, with_what_was_kept[: len(worlds)], with_what_was_kept[len(worlds) :], strict=True
    ):
        grants.kept.clear()
        assert found == [shown(decide(*world))] * 2


@pytest.mark.parametrize("policies", [SNAPSHOT.policies, SUNSET])
def test_the_grant_of_a_token_that_is_used_again_is_not_compiled_again(policies: PolicyFacts) -> None:
    snapshot = replace(SNAPSHOT, policies=policies)
    grants.kept.clear()

    first = decide(ask("Patient/p1"), TOKEN, snapshot)
    second = decide(ask("Observation/o1"), TOKEN, snapshot, NOW + timedelta(seconds=1))

    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    assert first.grant is second.grant


def test_another_token_with_the_same_hash_has_a_grant_of_its_own() -> None:
    wide, narrow = HELD, replace(HELD, scopes=("patient/Observation.r",))

    assert reason(ask("Patient/p1"), wide) is None
    assert reason(ask("Patient/p1"), narrow) is Reason.SCOPE_INSUFFICIENT
    assert reason(ask("Patient/p1"), wide) is None


def test_what_ends_by_itself_ends_for_a_grant_that_is_kept() -> None:
    until = NOW + HOUR
    snapshot = with_installation(with_client(certified_until=NOW + 9 * HOUR), expires_at=until)
    just_before = until - timedelta(microseconds=1)

    assert reason(ask(), HELD, snapshot, NOW) is None
    assert reason(ask(), HELD, snapshot, just_before) is None
    assert reason(ask(), HELD, snapshot, until) is Reason.APP_NOT_INSTALLED


def test_the_grant_of_a_read_of_the_platforms_own_is_not_kept() -> None:
    grants.kept.clear()

    assert reason(replace(ask("Patient?name=a"), purpose="picker"), TOKEN) is None
    assert not grants.kept


def test_there_is_a_bound_to_the_grants_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "GRANTS_BOUND", 3)
    grants.kept.clear()

    for n in range(20):
        assert reason(ask(), replace(TOKEN, hash=bytes([n % 7]) * 32)) is None
        assert len(grants.kept) <= 3


def test_no_grant_holds_facts_that_are_no_longer_in_force() -> None:
    """Each change of a million installations shares most of them with the one before; held for each idle token, they would fill the memory."""
    grants.kept.clear()
    before = with_installation(scopes=("patient/*.rs",))
    holders = (sys.getrefcount(before.registry), sys.getrefcount(before))

    assert reason(ask("Patient/p1"), HELD, before) is None

    assert (sys.getrefcount(before.registry), sys.getrefcount(before)) == holders
