"""Kill switches as values: what stops whom, and who may stop what (C138, C142, C143; security decision 8)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.controls.switches import policy
from hilum.controls.switches.models import (
    WIDE,
    EngageOrder,
    Mode,
    ReleaseStep,
    Subject,
    Switch,
    SwitchIndex,
    Target,
    TargetKind,
)
from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from tests.effort import effort
from tests.sim.world import START

NOW = START
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)

SUBJECT = Subject(
    tenant="general",
    vendor="ven_1",
    app="app_1",
    version="ver_1",
    person="per_1",
    resource_type="Observation",
    scopes=("patient/Observation.rs",),
)
HIT = {
    TargetKind.PLATFORM: "",
    TargetKind.TENANT: "general",
    TargetKind.VENDOR: "ven_1",
    TargetKind.APP: "app_1",
    TargetKind.VERSION: "ver_1",
    TargetKind.PERSON: "per_1",
    TargetKind.SCOPE: "patient/Observation.rs",
    TargetKind.RESOURCE_TYPE: "Observation",
    TargetKind.APP_TENANT: "app_1/general",
    TargetKind.APP_PERSON: "app_1/per_1",
}
MISS = {
    TargetKind.TENANT: ["children", "general2", "app_1"],
    TargetKind.VENDOR: ["ven_2", "app_1"],
    TargetKind.APP: ["app_2", "ven_1", "app_1/general"],
    TargetKind.VERSION: ["ver_2"],
    TargetKind.PERSON: ["per_2"],
    TargetKind.SCOPE: ["patient/Condition.rs", "user/Observation.rs", "patient/Observation.c", "openid"],
    TargetKind.RESOURCE_TYPE: ["Patient"],
    TargetKind.APP_TENANT: ["app_1/children", "app_2/general", "general/app_1"],
    TargetKind.APP_PERSON: ["app_1/per_2", "app_2/per_1"],
}

SECURITY = Actor(ActorKind.STAFF, "per_sec", roles=frozenset({"security"}))
ADMIN = Actor(ActorKind.STAFF, "per_adm", roles=frozenset({"platform_admin"}))
REVIEWER = Actor(ActorKind.STAFF, "per_rev", roles=frozenset({"reviewer"}))
HOST = Actor(ActorKind.HOST, "root")
TENANT_ADMIN = Actor(ActorKind.PERSON, "per_ta", TenantId("general"), frozenset({"administrator"}))
PHYSICIAN = Actor(ActorKind.PERSON, "per_ph", TenantId("general"), frozenset({"physician"}))
PRETENDER = Actor(ActorKind.PERSON, "per_x", TenantId("general"), frozenset({"platform_admin", "security"}))
CLIENT = Actor(ActorKind.CLIENT, "cli_1", TenantId("general"), frozenset({"administrator"}))


def switch(kind: TargetKind, key: str, mode: Mode = Mode.FULL_STOP, **more: Any) -> Switch:
    made = Switch("sw_1", Target(kind, key), mode, "because", str(SECURITY), EARLIER)
    return replace(made, **more)


def stopped(
    *switches: Switch, subject: Subject = SUBJECT, issued: datetime | None = EARLIER, now: datetime = NOW
) -> object:
    return policy.stopped_by(policy.index(switches, ()), subject, now=now, issued_at=issued)


@pytest.mark.parametrize("kind", TargetKind)
def test_a_full_stop_on_each_kind_of_target_stops_its_subject(kind: TargetKind) -> None:
    """C138."""
    made = switch(kind, HIT[kind])

    assert stopped(made) is made
    assert stopped(made, issued=None) is made


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in MISS.items() for key in keys])
def test_a_full_stop_elsewhere_stops_nothing_here(kind: TargetKind, key: str) -> None:
    """C144."""
    assert stopped(switch(kind, key)) is None


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind is not TargetKind.PLATFORM])
def test_a_subject_whose_part_is_unknown_is_not_stopped_by_an_empty_name(kind: TargetKind) -> None:
    assert stopped(switch(kind, HIT[kind]), subject=Subject()) is None


@pytest.mark.parametrize(
    ("stopped_scope", "relied", "resource_type", "expected"),
    [
        ("patient/*.cruds", "patient/Observation.rs", "", True),
        ("patient/Observation.cruds", "patient/Observation.r", "", True),
        ("patient/*.cruds", "patient/Practitioner.rs", "", True),
        ("patient/*.r", "patient/Practitioner.rs", "Practitioner", True),
        ("patient/*.c", "patient/Practitioner.rs", "Practitioner", False),
        ("patient/Observation.read", "patient/Observation.rs", "", True),
        ("patient/Observation.rs", "patient/Observation.rs?category=laboratory", "", True),
        ("patient/Observation.rs", "patient/*.rs", "Observation", True),
        ("patient/Observation.rs", "patient/*.rs", "Condition", False),
        ("patient/Observation.rs", "patient/*.rs", "", False),
        ("patient/Observation.c", "patient/*.rs", "Observation", False),
        ("user/Observation.rs", "patient/*.rs", "Observation", False),
        ("offline_access", "offline_access", "", True),
        ("offline_access", "online_access", "", False),
    ],
)
def test_a_stopped_scope_takes_narrower_ones_and_wider_ones_used_for_it_with_it(
    stopped_scope: str, relied: str, resource_type: str, expected: bool
) -> None:
    subject = Subject(tenant="general", resource_type=resource_type, scopes=(relied,))

    assert bool(stopped(switch(TargetKind.SCOPE, stopped_scope), subject=subject)) is expected


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.NO_NEW_LAUNCHES, Mode.READ_ONLY])
def test_a_softer_mode_is_no_full_stop_and_leaves_no_mark_when_it_ends(mode: Mode) -> None:
    """C142, security decision 8."""
    assert stopped(switch(TargetKind.APP, "app_1", mode)) is None
    assert stopped(switch(TargetKind.APP, "app_1", mode, expires_at=NOW - timedelta(minutes=1))) is None


@pytest.mark.parametrize(
    ("mode", "no_launch", "no_write"),
    [
        (Mode.OBSERVE, False, False),
        (Mode.NO_NEW_LAUNCHES, True, False),
        (Mode.READ_ONLY, False, True),
        (Mode.FULL_STOP, True, True),
    ],
)
def test_each_mode_stops_what_it_says(mode: Mode, no_launch: bool, no_write: bool) -> None:
    """C142."""
    index = policy.index([switch(TargetKind.APP, "app_1", mode)], ())

    assert bool(policy.launches_stopped(index, SUBJECT, NOW)) is no_launch
    assert bool(policy.read_only(index, SUBJECT, NOW)) is no_write


def test_a_switch_that_ran_out_or_was_released_stops_nothing_new() -> None:
    ran_out = switch(TargetKind.APP, "app_1", expires_at=NOW)
    released = switch(TargetKind.APP, "app_1", released_at=NOW, released_by="staff:x")

    assert stopped(ran_out, issued=None) is None
    assert stopped(ran_out, issued=NOW + timedelta(microseconds=1), now=LATER) is None
    assert stopped(released, issued=None) is None


@pytest.mark.parametrize("kind", TargetKind)
def test_what_was_issued_before_a_full_stop_ran_out_stays_dead(kind: TargetKind) -> None:
    """C143: an expiry has no verb, so the index itself remembers it."""
    made = switch(kind, HIT[kind], expires_at=NOW)

    assert stopped(made, issued=EARLIER, now=LATER) is made
    assert stopped(made, issued=NOW, now=LATER) is made


@pytest.mark.parametrize("kind", TargetKind)
def test_what_was_issued_before_a_release_stays_dead_and_what_came_after_lives(kind: TargetKind) -> None:
    """C143."""
    target = Target(kind, HIT[kind])
    index = policy.index((), [(target, NOW), (target, EARLIER)])

    assert policy.stopped_by(index, SUBJECT, now=LATER, issued_at=NOW) == target
    assert policy.stopped_by(index, SUBJECT, now=LATER, issued_at=NOW + timedelta(seconds=1)) is None
    assert policy.stopped_by(index, SUBJECT, now=LATER, issued_at=None) is None


@pytest.mark.parametrize("kind", TargetKind)
def test_an_index_that_followed_changes_stops_what_one_that_was_read_whole_stops(kind: TargetKind) -> None:
    """C138, C143: a scope is compared and not looked up, so it must be among those that are."""
    target, made = Target(kind, HIT[kind]), switch(kind, HIT[kind])
    before = policy.index([switch(TargetKind.TENANT, "children")], ())

    engaged = policy.changed_index(before, [target], [made], ())
    ended = policy.changed_index(engaged, [target], (), [(target, NOW)])

    assert policy.stopped_by(engaged, SUBJECT, now=NOW, issued_at=None) is made
    assert policy.stopped_by(ended, SUBJECT, now=LATER, issued_at=NOW) == target
    assert policy.stopped_by(ended, SUBJECT, now=LATER, issued_at=LATER) is None


targets = st.sampled_from(
    [Target(kind, key) for kind, key in HIT.items()]
    + [Target(kind, key) for kind, keys in MISS.items() for key in keys]
)
moments = st.integers(-200, 200).map(lambda minutes: NOW + timedelta(minutes=minutes))
switches = st.builds(
    Switch,
    st.text("abc", min_size=1),
    targets,
    st.sampled_from(Mode),
    st.just("why"),
    st.just("staff:a"),
    moments,
    st.none() | moments,
)
Ends = list[tuple[Target, datetime]]
ends = st.lists(st.tuples(targets, moments), max_size=4)


@settings(max_examples=effort(70, 5_000), deadline=None)
@given(st.lists(switches, max_size=5), switches, ends, moments, st.none() | moments)
def test_engaging_one_more_switch_never_frees_what_was_stopped(
    before: list[Switch], one_more: Switch, ended: Ends, now: datetime, issued: datetime | None
) -> None:
    """House rule 12: engaging a switch never turns Deny into Permit."""
    old, new = policy.index(before, ended), policy.index([*before, one_more], ended)

    judges: tuple[Callable[[SwitchIndex], object], ...] = (
        lambda index: policy.stopped_by(index, SUBJECT, now=now, issued_at=issued),
        lambda index: policy.launches_stopped(index, SUBJECT, now),
        lambda index: policy.read_only(index, SUBJECT, now),
    )
    for judge in judges:
        assert judge(old) is None or judge(new) is not None


@settings(max_examples=effort(70, 5_000), deadline=None)
@given(st.lists(switches, max_size=5), ends, moments, moments, st.integers(0, 300))
def test_time_never_frees_a_token_that_a_full_stop_stopped(
    before: list[Switch], ended: Ends, now: datetime, issued: datetime, later: int
) -> None:
    """C143: whatever expires meanwhile, what was issued before stays dead."""
    index = policy.index(before, ended)
    issued = min(issued, now)
    then = now + timedelta(minutes=later)

    if policy.stopped_by(index, SUBJECT, now=now, issued_at=issued) is not None:
        assert policy.stopped_by(index, SUBJECT, now=then, issued_at=issued) is not None


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize("actor", [SECURITY, ADMIN, HOST, SYSTEM], ids=str)
def test_security_administrators_and_the_host_engage_anything_alone(actor: Actor, kind: TargetKind) -> None:
    """Security decision 8."""
    assert policy.may_engage(actor, Target(kind, HIT[kind]))


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize("actor", [REVIEWER, PHYSICIAN, PRETENDER, CLIENT, ANONYMOUS], ids=str)
def test_others_engage_nothing(actor: Actor, kind: TargetKind) -> None:
    assert not policy.may_engage(actor, Target(kind, HIT[kind]), person_tenant="general")


@pytest.mark.parametrize(
    ("kind", "key", "person_tenant", "allowed"),
    [
        (TargetKind.APP_TENANT, "app_1/general", None, True),
        (TargetKind.APP_TENANT, "app_1/children", None, False),
        (TargetKind.APP_TENANT, "general/children", None, False),
        (TargetKind.PERSON, "per_1", "general", True),
        (TargetKind.PERSON, "per_1", "children", False),
        (TargetKind.PERSON, "per_1", None, False),
        (TargetKind.PERSON, "per_1", "", False),
        (TargetKind.APP_PERSON, "app_1/per_1", "general", True),
        (TargetKind.APP_PERSON, "app_1/per_1", "children", False),
        (TargetKind.APP_PERSON, "app_1/per_1", None, False),
        (TargetKind.TENANT, "general", None, False),
        (TargetKind.APP, "app_1", "general", False),
        (TargetKind.VENDOR, "ven_1", "general", False),
        (TargetKind.VERSION, "ver_1", "general", False),
        (TargetKind.PLATFORM, "", "general", False),
        (TargetKind.SCOPE, "openid", "general", False),
        (TargetKind.RESOURCE_TYPE, "Patient", "general", False),
    ],
)
def test_a_tenants_administrator_stops_within_the_own_tenant_only(
    kind: TargetKind, key: str, person_tenant: str | None, allowed: bool
) -> None:
    """C144."""
    assert policy.may_engage(TENANT_ADMIN, Target(kind, key), person_tenant=person_tenant) is allowed


@pytest.mark.parametrize("kind", sorted(WIDE))
def test_a_wide_switch_is_released_by_staff_only(kind: TargetKind) -> None:
    """C143: the host never counts as a person."""
    made = switch(kind, HIT[kind], tenant="general", engaged_by=str(TENANT_ADMIN))

    assert [policy.may_release(actor, made) for actor in (SECURITY, ADMIN)] == [True, True]
    refused = (HOST, SYSTEM, REVIEWER, TENANT_ADMIN, PHYSICIAN, CLIENT)
    assert [policy.may_release(actor, made) for actor in refused] == [False] * len(refused)


def test_a_tenants_administrator_releases_what_the_tenant_engaged_and_not_what_staff_engaged() -> None:
    own = switch(TargetKind.APP_TENANT, "app_1/general", tenant="general", engaged_by=str(TENANT_ADMIN))

    assert policy.may_release(TENANT_ADMIN, own)
    assert not policy.may_release(TENANT_ADMIN, replace(own, engaged_by=str(SECURITY)))
    assert not policy.may_release(TENANT_ADMIN, replace(own, tenant="children"))
    assert not policy.may_release(PHYSICIAN, own)


def test_the_second_word_must_come_from_another_person_and_in_time() -> None:
    """C143."""
    made = switch(TargetKind.APP, "app_1")
    asked = replace(made, release_asked_by=str(SECURITY), release_asked_at=NOW)

    step = partial(policy.release_step, asker_counts=True)

    assert step(SECURITY, made, now=NOW) is ReleaseStep.ASK
    assert step(SECURITY, asked, now=NOW) is ReleaseStep.ASKED_BY_YOU
    assert step(ADMIN, asked, now=NOW) is ReleaseStep.RELEASE
    assert policy.release_step(ADMIN, asked, asker_counts=False, now=NOW) is ReleaseStep.ASK
    for actor in (SECURITY, ADMIN):
        assert step(actor, asked, now=NOW + timedelta(hours=24)) is ReleaseStep.ASK
    assert step(SECURITY, switch(TargetKind.VERSION, "ver_1"), now=NOW) is ReleaseStep.RELEASE


@pytest.mark.parametrize(
    ("kind", "key"), [(TargetKind.PERSON, "{}"), (TargetKind.APP_PERSON, "app_1/{}")], ids=str
)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("actor", [SECURITY, ADMIN, TENANT_ADMIN], ids=str)
def test_nobody_takes_part_in_releasing_a_switch_on_themselves(
    kind: TargetKind, key: str, mode: Mode, actor: Actor
) -> None:
    """C199, security decision 24: in whatever mode, by whoever engaged."""
    for engaged_by in (str(SECURITY), str(actor), str(TENANT_ADMIN)):
        made = switch(kind, key.format(actor.id), tenant="general", engaged_by=engaged_by, mode=mode)
        other = replace(made, target=Target(kind, key.format(actor.id + "x")))

        assert not policy.may_release(actor, made)
        assert policy.may_release(actor, other) is (actor is not TENANT_ADMIN or engaged_by == str(actor))


@pytest.mark.parametrize(
    ("kind", "key", "fault"),
    [
        (TargetKind.PLATFORM, "x", "key_unexpected"),
        (TargetKind.APP, "", "key_malformed"),
        (TargetKind.APP, "a b", "key_malformed"),
        (TargetKind.APP, "a/b", "key_malformed"),
        (TargetKind.TENANT, "../etc", "key_malformed"),
        (TargetKind.APP_TENANT, "app_1", "key_malformed"),
        (TargetKind.APP_TENANT, "app_1/", "key_malformed"),
        (TargetKind.APP_TENANT, "a/b/c", "key_malformed"),
        (TargetKind.APP_PERSON, "/per_1", "key_malformed"),
        (TargetKind.SCOPE, "patient/Observation.sr", "scope_malformed"),
        (TargetKind.SCOPE, "everything", "scope_malformed"),
        (TargetKind.RESOURCE_TYPE, "observation", "key_malformed"),
        (TargetKind.RESOURCE_TYPE, "*", "key_malformed"),
        (TargetKind.RESOURCE_TYPE, "Observatoin", "resource_type_unknown"),
        (TargetKind.SCOPE, "patient/Observatoin.rs", "resource_type_unknown"),
        (TargetKind.SCOPE, "patient/Observation.rs?a=" + "b" * 700, "key_too_long"),
    ],
)
def test_a_target_that_could_never_match_is_refused(kind: TargetKind, key: str, fault: str) -> None:
    order = EngageOrder(Target(kind, key), Mode.FULL_STOP, "why")

    assert policy.order_faults(order, now=NOW) == {"key": fault}


@pytest.mark.parametrize(
    ("reason", "expires", "faults"),
    [
        ("", None, {"reason": "reason_missing"}),
        ("  \n", None, {"reason": "reason_missing"}),
        ("x" * 501, None, {"reason": "reason_too_long"}),
        ("why", NOW, {"expires_at": "not_in_the_future"}),
        ("why", EARLIER, {"expires_at": "not_in_the_future"}),
        ("why", LATER, {}),
    ],
)
def test_an_order_states_a_reason_and_an_end_that_is_to_come(
    reason: str, expires: datetime | None, faults: dict[str, str]
) -> None:
    order = EngageOrder(Target(TargetKind.APP, "app_1"), Mode.FULL_STOP, reason, expires)

    assert policy.order_faults(order, now=NOW) == faults
