"""The one judgement of every door that makes an actor of a person's credential (C199, C200; security decisions 24, 25)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import Mode, Switch, SwitchIndex, Target, TargetKind
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.people import policy
from hilum.identity.people.models import (
    SECOND_PERSON_AGE,
    Bar,
    Person,
    Role,
    StaffRole,
    Tenant,
    UpstreamKind,
    UpstreamRef,
)
from tests.effort import effort
from tests.sim.world import START

NOW = START
GENERAL = Tenant(TenantId("general"), "General", UpstreamRef(UpstreamKind.EMBEDDED))
ANN = Person(PersonId("per_ann"), GENERAL.id, "ann", "Ann", Role.PHYSICIAN)
STAFF = {role: Person(PersonId(f"per_{role}"), None, role, role, role) for role in StaffRole}
PLATFORM, TENANT = Target(TargetKind.PLATFORM), Target(TargetKind.TENANT, GENERAL.id)
JUST = timedelta(microseconds=1)


def on(target: Target, mode: Mode = Mode.FULL_STOP, *, ends: datetime | None = None) -> Switch:
    return Switch("sw_1", target, mode, "because", "staff:per_x", NOW - timedelta(hours=1), ends)


def index(*switches: Switch, ended: tuple[tuple[Target, datetime], ...] = ()) -> SwitchIndex:
    return controls.index(switches, ended)


def bar(person: Person, found: SwitchIndex, **more: object) -> Bar | None:
    tenant = GENERAL if person.tenant else None
    return policy.bar_on(person, tenant, found, now=NOW, **more)  # type: ignore[arg-type]


def test_an_active_person_of_an_active_hospital_acts() -> None:
    assert bar(ANN, index(), issued_at=NOW, writing=True) is None


def test_the_inactive_and_those_of_a_closed_hospital_do_not() -> None:
    closed = replace(GENERAL, active=False)

    assert bar(replace(ANN, active=False), index()) is Bar.INACTIVE
    assert policy.bar_on(ANN, closed, index(), now=NOW) is Bar.INACTIVE
    assert policy.bar_on(ANN, None, index(), now=NOW) is Bar.INACTIVE


@pytest.mark.parametrize("target", [Target(TargetKind.PERSON, ANN.id), TENANT, PLATFORM], ids=str)
def test_a_full_stop_on_them_their_hospital_or_the_platform_stops_them(target: Target) -> None:
    assert bar(ANN, index(on(target))) is Bar.STOPPED
    assert bar(ANN, index(on(target, ends=NOW + JUST)), issued_at=NOW) is Bar.STOPPED


@pytest.mark.parametrize("target", [Target(TargetKind.PERSON, ANN.id), TENANT, PLATFORM], ids=str)
def test_what_was_issued_before_its_end_stays_dead(target: Target) -> None:
    """Security decision 8; also when it ran out by itself."""
    for found in (index(ended=((target, NOW - JUST),)), index(on(target, ends=NOW - JUST))):
        assert bar(ANN, found, issued_at=NOW - JUST) is Bar.ISSUED_BEFORE
        assert bar(ANN, found, issued_at=NOW) is None
        assert bar(ANN, found) is None


@pytest.mark.parametrize(
    "target",
    [
        Target(TargetKind.PERSON, "per_other"),
        Target(TargetKind.TENANT, "children"),
        Target(TargetKind.APP, "app_1"),
        Target(TargetKind.APP_PERSON, f"app_1/{ANN.id}"),
        Target(TargetKind.APP_TENANT, "app_1/general"),
        Target(TargetKind.SCOPE, "patient/*.rs"),
        Target(TargetKind.RESOURCE_TYPE, "Patient"),
    ],
    ids=str,
)
def test_what_stops_something_else_does_not_stop_them(target: Target) -> None:
    assert bar(ANN, index(on(target)), issued_at=NOW - timedelta(minutes=1), writing=True) is None


@pytest.mark.parametrize("role", StaffRole)
def test_a_stop_of_the_platform_leaves_at_work_who_ends_it_and_who_only_looks(role: StaffRole) -> None:
    acts = role in {StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY, StaffRole.AUDITOR}
    ended = index(ended=((PLATFORM, NOW),))

    assert bar(STAFF[role], index(on(PLATFORM))) is (None if acts else Bar.STOPPED)
    assert bar(STAFF[role], ended, issued_at=NOW) is None
    assert bar(STAFF[role], index(on(PLATFORM, ends=NOW - JUST)), issued_at=NOW - JUST) is None
    own = Target(TargetKind.PERSON, STAFF[role].id)
    assert bar(STAFF[role], index(on(own))) is Bar.STOPPED
    assert bar(STAFF[role], index(ended=((own, NOW),)), issued_at=NOW) is Bar.ISSUED_BEFORE


def test_a_role_of_the_platforms_names_at_a_hospital_is_stopped_with_the_platform() -> None:
    assert bar(replace(ANN, role="security"), index(on(PLATFORM))) is Bar.STOPPED


def test_the_softer_modes_do_what_they_say_to_the_person_only() -> None:
    """Read-only on a hospital or the platform is about apps: its administrator must still be able to take one away."""
    own = Target(TargetKind.PERSON, ANN.id)

    assert bar(ANN, index(on(own, Mode.READ_ONLY)), writing=True) is Bar.READ_ONLY
    assert bar(ANN, index(on(own, Mode.READ_ONLY))) is None
    for target, mode in ((own, Mode.OBSERVE), (own, Mode.NO_NEW_LAUNCHES), (TENANT, Mode.READ_ONLY)):
        assert bar(ANN, index(on(target, mode)), writing=True) is None


MOMENTS = st.integers(-100, 100).map(lambda minutes: NOW + timedelta(minutes=minutes))
TARGETS = st.sampled_from(
    [PLATFORM, TENANT, Target(TargetKind.PERSON, ANN.id), Target(TargetKind.PERSON, "per_other")]
)
SWITCHES = st.lists(
    st.builds(lambda t, m, e: on(t, m, ends=e), TARGETS, st.sampled_from(Mode), st.none() | MOMENTS),
    max_size=4,
)
PEOPLE = st.sampled_from([ANN, *STAFF.values()])
# Of whom most are stopped by it: what bars nobody says nothing about another switch.
FULL_STOPS = st.lists(
    st.builds(lambda t, e: on(t, ends=e), TARGETS, st.none() | MOMENTS), min_size=1, max_size=3
)


@settings(max_examples=effort(70, 10_000), deadline=None)
@example(person=ANN, some=[on(TENANT)], more=[on(TENANT, Mode.OBSERVE)], issued_at=None, writing=False)
@given(
    person=PEOPLE,
    some=st.one_of(FULL_STOPS, SWITCHES),
    more=SWITCHES,
    issued_at=st.none() | MOMENTS,
    writing=st.booleans(),
)
def test_another_switch_never_lets_somebody_act(
    person: Person, some: list[Switch], more: list[Switch], issued_at: datetime | None, *, writing: bool
) -> None:
    if bar(person, index(*some), issued_at=issued_at, writing=writing) is not None:
        assert bar(person, index(*some, *more), issued_at=issued_at, writing=writing) is not None


def test_an_account_is_of_age_after_seven_days_and_never_without_a_beginning() -> None:
    begun = NOW - SECOND_PERSON_AGE

    assert policy.is_of_age(replace(ANN, age_counts_from=begun), NOW)
    assert not policy.is_of_age(replace(ANN, age_counts_from=begun + JUST), NOW)
    assert not policy.is_of_age(ANN, NOW)


def test_whom_the_host_sets_up_is_of_age_at_once_and_nobody_else() -> None:
    host = Actor(ActorKind.HOST, "root")
    admin = Actor(ActorKind.STAFF, "per_a", roles=frozenset({"platform_admin"}))

    for actor, of_age in ((host, True), (SYSTEM, True), (admin, False)):
        made = replace(ANN, age_counts_from=policy.age_from(actor, NOW))
        assert policy.is_of_age(made, NOW) is of_age
