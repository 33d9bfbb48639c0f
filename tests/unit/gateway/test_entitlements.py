"""What is kept of a judgement is what would be judged now, whatever changed since."""

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.breakglass.models import BreakGlassFacts
from hilum.clients.models import ClientType
from hilum.consent.models import ConsentFacts
from hilum.controls import policy as controls
from hilum.controls.models import (
    Mode,
    Quota,
    QuotaFacts,
    QuotaLevels,
    Switch,
    Target,
    TargetKind,
)
from hilum.gateway import entitlements, permits, repeats
from hilum.gateway.access_scope import grant_rules
from hilum.gateway.models import GatewayRequest, Permit, Snapshot
from hilum.identity.models import MovedReads
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.ids import FamilyId, PersonId
from hilum.launches.models import LaunchFacts
from hilum.policies.in_force import PolicyFacts
from hilum.policies.product_models import NOTICE
from hilum.standards.fhir.requests import FhirRequest
from hilum.tokens.models import AccessToken, TokenFacts
from tests.effort import effort
from tests.unit.gateway.facts import (
    BACKEND,
    EVERYTHING,
    NOW,
    OTHER,
    PATIENT_USER,
    SNAPSHOT,
    TENANT,
    TOKEN,
    ask,
    decide,
    reason,
    with_client,
    with_installation,
    with_tenant,
)
from tests.unit.policies.books import book

HOUR = timedelta(hours=1)
HELD = replace(TOKEN, expires_at=NOW + 48 * HOUR, authorization_expires_at=NOW + 72 * HOUR)
SUNSET = PolicyFacts(
    book(
        {
            "scopes.patient_demographics.status": "deprecated",
            "scopes.patient_demographics.deprecated_from": NOW.date() - NOTICE,
            "scopes.patient_demographics.sunset": (NOW + timedelta(days=1)).date(),
            "scopes.patient_demographics.successor": "encounters",
        }
    )
)
"""A book by which Patient is granted until midnight."""


def switched(snapshot: Snapshot, target: Target, mode: Mode, ends: datetime | None) -> Snapshot:
    switch = Switch("sw_1", target, mode, "because", "staff:sec", NOW - HOUR, expires_at=ends)
    index = controls.index([switch], [])
    return replace(snapshot, controls=replace(snapshot.controls, switches=index))


def limited(snapshot: Snapshot, burst: int) -> Snapshot:
    overrides = {("app_1", str(TENANT)): QuotaLevels(tenant=Quota(1.0, burst))}
    return replace(snapshot, controls=replace(snapshot.controls, quotas=QuotaFacts(overrides)))


TARGETS = st.sampled_from(
    [
        Target(TargetKind.PLATFORM),
        Target(TargetKind.VERSION, "ver_2"),
        Target(TargetKind.PERSON, "per_1"),
        Target(TargetKind.APP, "app_2"),
        Target(TargetKind.SCOPE, "patient/*.cruds"),
        Target(TargetKind.SCOPE, "patient/Observation.rs"),
        Target(TargetKind.SCOPE, "fhirUser"),
        Target(TargetKind.RESOURCE_TYPE, "Observation"),
    ]
)
ENDS = st.sampled_from([None, NOW, NOW + HOUR, NOW + 2 * HOUR])
SCOPES = st.sampled_from([EVERYTHING, ("patient/Patient.rs",), ("patient/Observation.rs", "openid"), ()])
Change = Callable[[Snapshot], Snapshot]
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.just(lambda snapshot: snapshot),
    st.just(lambda _: SNAPSHOT),
    st.tuples(TARGETS, st.sampled_from(list(Mode)), ENDS).map(lambda row: lambda it: switched(it, *row)),
    st.just(lambda it: replace(it, controls=replace(it.controls, switches=controls.index([], [])))),
    st.integers(1, 3).map(lambda burst: lambda it: limited(it, burst)),
    ENDS.map(lambda at: lambda it: with_client(it, certified_until=at)),
    ENDS.map(lambda at: lambda it: with_client(it, expires_at=at, version="ver_2")),
    ENDS.map(lambda at: lambda it: with_client(it, since=at)),
    SCOPES.map(lambda scopes: lambda it: with_client(it, certified_scopes=scopes)),
    st.booleans().map(lambda active: lambda it: with_client(it, active=active)),
    st.just(lambda it: with_client(it, type=ClientType.BACKEND)),
    ENDS.map(lambda at: lambda it: with_installation(it, expires_at=at)),
    ENDS.map(lambda at: lambda it: with_installation(it, since=at)),
    SCOPES.map(lambda scopes: lambda it: with_installation(it, scopes=scopes)),
    st.sampled_from([(), ("192.0.2.0/24",)]).map(
        lambda nets: lambda it: with_installation(it, networks=nets)
    ),
    st.sampled_from([{"nurse"}, {"physician"}]).map(
        lambda roles: lambda it: with_installation(it, roles=frozenset(roles))
    ),
    st.booleans().map(lambda active: lambda it: with_tenant(it, active=active)),
    st.sampled_from(list(MovedReads)).map(lambda moved: lambda it: with_tenant(it, moved_reads=moved)),
    st.booleans().map(lambda gone: lambda it: left(it, {TOKEN.person} if gone else set())),
    st.booleans().map(lambda moved: lambda it: launched(it, moved=moved)),
    st.booleans().map(lambda ended: lambda it: launched(it, ended=ended)),
    st.sampled_from([SUNSET, SNAPSHOT.policies]).map(lambda books: lambda it: replace(it, policies=books)),
    st.sampled_from([TokenFacts(), TokenFacts(revoked_families=frozenset({TOKEN.family}))]).map(
        lambda facts: lambda it: replace(it, tokens=facts)
    ),
    st.sampled_from([ConsentFacts(), ConsentFacts(frozenset({TOKEN.authorization}))]).map(
        lambda facts: lambda it: replace(it, consent=facts)
    ),
    st.just(lambda it: replace(it, break_glass=BreakGlassFacts())),
)


def left(snapshot: Snapshot, people: set[PersonId]) -> Snapshot:
    return replace(snapshot, identity=replace(snapshot.identity, inactive_people=frozenset(people)))


def launched(snapshot: Snapshot, *, moved: bool = False, ended: bool = False) -> Snapshot:
    launch = frozenset({TOKEN.launch})
    none = frozenset[Any]()
    return replace(
        snapshot, launches=LaunchFacts(moved=launch if moved else none, ended=launch if ended else none)
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
TOKENS = [
    HELD,
    # The same row, read once more.
    replace(HELD),
    # Another one with the same hash: what was kept for the first is none of its.
    replace(HELD, scopes=("patient/Observation.r",)),
    replace(HELD, hash=b"o" * 32, scopes=("openid", "fhirUser", "patient/*.rs")),
    replace(HELD, hash=b"n" * 32, role="nurse", launch_moved=True),
    replace(HELD, hash=b"p" * 32, **PATIENT_USER),
    replace(HELD, hash=b"b" * 32, scopes=("system/*.rs",), **BACKEND),
    replace(HELD, hash=b"w" * 32, workflow="surgery"),
]
MOMENTS = st.sampled_from([NOW - HOUR, NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 15 * HOUR])
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
