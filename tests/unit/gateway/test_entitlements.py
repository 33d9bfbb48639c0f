"""What is kept of a judgement is what would be judged now, whatever changed since."""

import sys
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.consent.models import ConsentFacts
from hilum.controls.models import (
    Mode,
    Target,
    TargetKind,
)
from hilum.gateway import entitlements, permits, repeats
from hilum.gateway.access_scope import grant_rules
from hilum.gateway.models import GatewayRequest, Permit, Snapshot
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.ids import FamilyId
from hilum.policies.in_force import PolicyFacts
from hilum.standards.fhir.requests import FhirRequest
from hilum.tokens.models import AccessToken, TokenFacts
from tests.effort import effort
from tests.unit.gateway.changes import (
    CHANGES,
    HELD,
    HOUR,
    MOMENTS,
    SUNSET,
    TOKENS,
    Change,
    launched,
    left,
    switched,
)
from tests.unit.gateway.facts import (
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
REQUESTS = [
    replace(each, is_repeated=isinstance(each.request, FhirRequest) and each.request.body is None)
    for each in ASKED
]
"""Each was asked before, so that what is permitted is kept; a request with a body never is."""
STEPS = st.lists(
    st.tuples(CHANGES, MOMENTS, st.sampled_from(REQUESTS), st.sampled_from(TOKENS)), min_size=2, max_size=12
)


def forget() -> None:
    entitlements._kept.cache_clear()
    permits.kept.cache_clear()
    repeats.kept.cache_clear()


def often(asked: GatewayRequest, held: AccessToken, snapshot: Snapshot, at: datetime = NOW) -> Permit | Deny:
    """Decide about a request until its permit is kept by this snapshot, and once more."""
    for n in range(repeats.JUDGED_FIRST + 1):
        found = decide(asked, held, snapshot, at + n * timedelta(microseconds=1))
    return found


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
    rest = (found.rule, found.only, found.plan, found.patient, found.may_create, found.entitled.traffic)
    entitled = (found.entitled.quota, found.entitled.tenant, found.entitled.origins, found.entitled.letter)
    return found.entitled.book, scopes, people, reach, grants, rest, entitled


@given(steps=STEPS)
@settings(max_examples=effort(50, 20_000), deadline=None)
def test_a_decision_is_the_same_with_all_that_was_kept_and_with_nothing(steps: list[Any]) -> None:
    """C71: a change of any fact, of the time or of the token reaches the next request."""
    forget()
    snapshot, worlds = SNAPSHOT, []
    for change, now, asked, held in steps:
        snapshot = change(snapshot)
        worlds.append((asked, held, snapshot, now))
    # Each soon enough to be found by its snapshot, and all of them once more.
    visited = [*(world for world in worlds for _ in range(repeats.JUDGED_FIRST + 1)), *worlds]
    with_what_was_kept = [shown(decide(*world)) for world in visited]

    for world in worlds:
        forget()
        found = shown(decide(*world))
        assert all(
            found == kept for seen, kept in zip(visited, with_what_was_kept, strict=True) if seen is world
        )


@pytest.mark.parametrize("policies", [SNAPSHOT.policies, SUNSET])
def test_a_token_that_is_used_again_is_not_judged_again(policies: PolicyFacts) -> None:
    snapshot = replace(SNAPSHOT, policies=policies)
    asked = ask("Patient/p1")
    entitlements._kept.cache_clear()

    decide(asked, TOKEN, snapshot)

    (kept,) = entitlements._kept.values()
    decide(asked, TOKEN, snapshot, NOW + timedelta(seconds=1))
    assert list(entitlements._kept.values()) == [kept]


def test_a_request_that_repeats_gets_the_permit_that_it_got_before() -> None:
    forget()
    asked = replace(ask("Patient/p1"), is_repeated=True)

    first = decide(asked, HELD)

    assert decide(asked, HELD, SNAPSHOT, NOW + timedelta(seconds=1)) is first
    assert decide(replace(asked, request=ask("Patient/p1").request), HELD) is not first
    assert decide(replace(asked, bases=("https://elsewhere.example/fhir/",)), HELD) is not first
    assert decide(asked, replace(HELD)) is not first


@pytest.mark.parametrize(
    ("change", "now", "reason"),
    [
        (lambda it: launched(it, ended=True), NOW, Reason.LAUNCH_ENDED),
        (lambda it: launched(it, moved=True), NOW, Reason.CONTEXT_MOVED),
        (lambda it: it, NOW + 20 * HOUR, Reason.AUTHORIZATION_EXPIRED),
        (lambda it: it, NOW + 48 * HOUR, Reason.TOKEN_INVALID),
        (lambda it: replace(it, consent=ConsentFacts(frozenset({TOKEN.authorization}))), NOW, Reason.TOKEN_REVOKED),
        (lambda it: left(it, {TOKEN.person}), NOW, Reason.PERSON_INACTIVE),
        (lambda it: switched(it, Target(TargetKind.APP, "app_1"), Mode.FULL_STOP, None), NOW, Reason.SWITCH_ENGAGED),
    ],
)  # fmt: skip
def test_a_permit_that_was_kept_ends_with_all_that_it_depended_on(
    change: Change, now: datetime, reason: Reason
) -> None:
    """C36, C71: what ends it is judged at each request, whatever is kept."""
    forget()
    asked = replace(ask("Patient/p1"), is_repeated=True)
    held = replace(HELD, authorization_expires_at=NOW + 20 * HOUR)
    assert isinstance(often(asked, held, SNAPSHOT), Permit)
    assert permits.kept
    assert by_snapshot()

    found = decide(asked, held, change(SNAPSHOT), now)

    assert isinstance(found, Deny)
    assert found.reason is reason


def test_nothing_is_kept_of_a_request_that_came_once_or_is_refused() -> None:
    forget()

    often(ask("Patient/p1"), HELD, SNAPSHOT)
    often(replace(ask("Patient/p2"), is_repeated=True), HELD, SNAPSHOT)

    assert not permits.kept
    assert not repeats.kept


def by_snapshot() -> list[Permit]:
    """List the permits that are kept by the present snapshot."""
    return [each.permit for each in repeats.kept.values() if each.permit is not None]


@pytest.mark.parametrize(
    "otherwise",
    [
        {"source": "192.0.2.9"},
        {"tenant": OTHER},
        {"bases": ("https://elsewhere.example/fhir/",)},
        {"purpose": "picker"},
        {"proof": "a proof"},
        {"is_repeated": False},
        {"request": ask("Patient/p1").request},
    ],
)
def test_what_is_kept_by_a_snapshot_is_found_for_nothing_else(otherwise: dict[str, Any]) -> None:
    forget()
    asked = replace(ask("Patient/p1"), is_repeated=True)
    often(asked, HELD, SNAPSHOT)
    (kept,) = by_snapshot()
    later, held = NOW + timedelta(seconds=1), replace(HELD)

    other = replace(asked, **otherwise)

    assert repeats.kept.find(replace(asked, token=HELD), SNAPSHOT, later) is kept
    assert decide(asked, HELD, SNAPSHOT, later) is kept
    assert repeats.kept.find(replace(asked, token=held), SNAPSHOT, later) is None
    assert repeats.kept.find(replace(asked, token=HELD), replace(SNAPSHOT), later) is None
    assert repeats.kept.find(replace(asked, token=HELD), None, later) is None
    assert repeats.kept.find(replace(asked, token=HELD), SNAPSHOT, NOW - HOUR) is None
    assert decide(asked, HELD, None, later) != kept
    assert decide(other, HELD, SNAPSHOT, later) is not kept or {"proof", "is_repeated"} & otherwise.keys()


def test_what_was_kept_by_an_earlier_snapshot_is_not_found_by_a_later_one() -> None:
    """C71: also where the later one is the newest that anything was kept by."""
    forget()
    asked = replace(ask("Patient/p1"), is_repeated=True)
    often(asked, HELD, SNAPSHOT)
    revoked = replace(SNAPSHOT, tokens=TokenFacts(revoked_families=frozenset({TOKEN.family})))

    other = often(asked, replace(HELD, hash=b"o" * 32, family=FamilyId("fam_other")), revoked)
    found = decide(asked, HELD, revoked, NOW + timedelta(seconds=1))

    assert isinstance(other, Permit)
    assert isinstance(found, Deny)
    assert found.reason is Reason.TOKEN_REVOKED


def test_what_is_kept_by_a_snapshot_ends_with_the_first_moment_that_was_compared() -> None:
    forget()
    until = NOW + HOUR
    snapshot = with_installation(with_client(certified_until=NOW + 9 * HOUR), expires_at=until)
    asked = replace(ask("Patient/p1"), is_repeated=True)

    often(asked, HELD, snapshot)

    assert [each.until for each in repeats.kept.values()] == [until]
    assert reason(asked, HELD, snapshot, until - timedelta(microseconds=1)) is None
    assert reason(asked, HELD, snapshot, until) is Reason.APP_NOT_INSTALLED


def test_there_is_a_bound_to_the_permits_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "PERMITS_BOUND", 3)
    forget()

    monkeypatch.setattr(repeats, "REPEATS_BOUND", 3)
    for _ in range(20):
        often(replace(ask("Patient/p1"), is_repeated=True), HELD, SNAPSHOT)
        assert len(permits.kept) <= 3
        assert len(repeats.kept) <= 3


@pytest.mark.parametrize("part", entitlements.Facts._fields)
def test_what_is_kept_is_judged_again_when_any_of_its_facts_were_read_again(part: str) -> None:
    holder = SNAPSHOT.controls if part in {"switches", "quotas"} else SNAPSHOT
    read_again = replace(holder, **{part: copy(getattr(holder, part))})
    after = read_again if isinstance(read_again, Snapshot) else replace(SNAPSHOT, controls=read_again)
    entitlements._kept.cache_clear()
    decide(ask(), TOKEN, SNAPSHOT)
    (before,) = entitlements._kept.values()

    decide(ask(), TOKEN, after)

    (kept,) = entitlements._kept.values()
    assert kept.number > before.number


def test_what_is_kept_ends_with_the_first_of_its_facts_that_ends() -> None:
    until = NOW + HOUR
    snapshot = with_installation(with_client(certified_until=NOW + 9 * HOUR), expires_at=until)
    just_before = until - timedelta(microseconds=1)

    assert reason(ask(), HELD, snapshot, NOW) is None
    assert reason(ask(), HELD, snapshot, just_before) is None
    assert reason(ask(), HELD, snapshot, until) is Reason.APP_NOT_INSTALLED


def test_a_refusal_is_not_kept() -> None:
    entitlements._kept.cache_clear()

    assert reason(ask(), TOKEN, with_client(active=False)) is Reason.APP_SUSPENDED
    assert not entitlements._kept


def test_there_is_a_bound_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entitlements, "ENTITLEMENTS_BOUND", 3)
    entitlements._kept.cache_clear()

    for n in range(20):
        assert reason(ask(), replace(TOKEN, hash=bytes([n]) * 32)) is None
        assert len(entitlements._kept) <= 3


def test_nothing_holds_facts_that_are_no_longer_in_force() -> None:
    """Each change of a million installations shares most of them with the one before; held for each idle token, they would fill the memory."""
    forget()
    before = with_installation(scopes=("patient/*.rs",))
    asked = replace(ask("Patient/p1"), is_repeated=True)
    holders = [(sys.getrefcount(before.registry), sys.getrefcount(before))]

    often(asked, HELD, before)
    holders.append((sys.getrefcount(before.registry), sys.getrefcount(before)))
    often(asked, replace(HELD, hash=b"o" * 32), SNAPSHOT)
    holders.append((sys.getrefcount(before.registry), sys.getrefcount(before)))

    assert holders[0] == holders[2]
    assert all(none < held for none, held in zip(holders[0], holders[1], strict=True))
