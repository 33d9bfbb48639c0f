"""Switches and quotas as the service keeps them, on each backend (C138, C142, C143, C147; security decision 8)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hilum.controls.switches import policy, service, store
from hilum.controls.switches.models import (
    QUOTAS,
    SWITCHES,
    EngageOrder,
    Mode,
    Quota,
    Subject,
    Target,
    TargetKind,
)
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from tests.sim.facts import control_facts, counted
from tests.sim.world import FakeClock

TRACE = Trace("req_test")
SAM = Actor(ActorKind.STAFF, "per_sam", roles=frozenset({"security"}))
SUE = Actor(ActorKind.STAFF, "per_sue", roles=frozenset({"security"}))
HOST = Actor(ActorKind.HOST, "root")
GINA = Actor(ActorKind.PERSON, "per_gina", TenantId("general"), frozenset({"administrator"}))
CARL = Actor(ActorKind.PERSON, "per_carl", TenantId("children"), frozenset({"administrator"}))
APP = Target(TargetKind.APP, "app_1")
PAIR = Target(TargetKind.APP_TENANT, "app_1/general")
SUBJECT = Subject(tenant="general", vendor="ven_1", app="app_1", version="ver_1", person="per_1")


def do(uow: UnitOfWork, actor: Actor, verb: Any, *args: Any, **more: Any) -> Any:
    return uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=actor, trace=TRACE)


def engage(
    uow: UnitOfWork, actor: Actor = SAM, target: Target = APP, mode: Mode = Mode.FULL_STOP, **more: Any
) -> Any:
    person_tenant = more.pop("person_tenant", None)
    return do(
        uow, actor, service.engage, EngageOrder(target, mode, "because", **more), person_tenant=person_tenant
    )


release = partial(service.release, counts=lambda *_: True)
"""Everybody who speaks is of age here."""


def judge(uow: UnitOfWork, **more: Any) -> Any:
    return do(uow, SYSTEM, service.judge, more.pop("subject", SUBJECT), **more)


def controls_epoch(uow: UnitOfWork) -> int:
    return counted(uow, SWITCHES)


def events(uow: UnitOfWork, action: str) -> list[Any]:
    return list(do(uow, SYSTEM, audit.list_events, EventQuery(action=action)).events)


def test_an_engaged_switch_stops_at_once_in_rows_and_in_facts(uow: UnitOfWork) -> None:
    """C138: with reason, actor, target and end time."""
    made = engage(uow, expires_at=uow.clock.now() + timedelta(hours=1))

    assert judge(uow) == made
    facts = do(uow, SYSTEM, control_facts)
    assert policy.stopped_by(facts.switches, SUBJECT, now=uow.clock.now(), issued_at=None) == made
    assert (made.engaged_by, made.reason) == ("staff:per_sam", "because")
    assert controls_epoch(uow) == 1
    assert [each.event.facts["target"] for each in events(uow, "controls.switch.engage")] == ["app:app_1"]


@pytest.mark.parametrize("target", [
    Target(TargetKind.PLATFORM), Target(TargetKind.TENANT, "general"), Target(TargetKind.VENDOR, "ven_1"), APP,
    Target(TargetKind.VERSION, "ver_1"), Target(TargetKind.PERSON, "per_1"), PAIR, Target(TargetKind.APP_PERSON, "app_1/per_1"),
    Target(TargetKind.RESOURCE_TYPE, "Observation"), Target(TargetKind.SCOPE, "patient/*.rs"),
], ids=str)  # fmt: skip
def test_rows_and_facts_agree_on_every_kind_of_target_in_force_and_after_its_end(
    uow: UnitOfWork, clock: FakeClock, target: Target
) -> None:
    """C138, C143: what writes and what enforces read the same law."""
    subject = Subject(
        "general", "ven_1", "app_1", "ver_1", "per_1", "Observation", ("patient/Observation.r",)
    )
    before = clock.now()
    made = engage(uow, target=target, expires_at=clock.now() + timedelta(hours=1))

    def both(issued: Any) -> set[bool]:
        facts = do(uow, SYSTEM, control_facts)
        stored = judge(uow, subject=subject, issued_at=issued)
        snapshot = policy.stopped_by(facts.switches, subject, now=clock.now(), issued_at=issued)
        return {stored is not None, snapshot is not None}

    assert both(None) == {True}
    assert judge(uow, subject=Subject(tenant="mercy", app="app_2")) == (
        made if target.kind is TargetKind.PLATFORM else None
    )
    clock.advance(timedelta(hours=2))
    assert both(None) == {False}
    assert both(before) == {True}
    assert both(clock.now()) == {False}
    # Once the job has recorded the end, the switch itself says nothing more.
    assert do(uow, SYSTEM, service.settle_expired) == 1
    assert both(before) == {True}
    assert both(clock.advance(timedelta(seconds=1))) == {False}


def test_a_narrow_full_stop_is_released_by_one_and_what_it_stopped_stays_dead(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C143: releasing a full stop revives nothing."""
    before = clock.now()
    made = engage(uow, target=PAIR)
    released_at = clock.advance(timedelta(minutes=5))

    released = do(uow, SAM, release, made.id)

    assert released.released_at == released_at
    assert judge(uow, issued_at=None) is None
    assert judge(uow, issued_at=before) == PAIR
    assert judge(uow, issued_at=released_at) == PAIR
    assert judge(uow, issued_at=released_at + timedelta(seconds=1)) is None
    facts = do(uow, SYSTEM, control_facts)
    assert facts.switches.not_issued_before == {PAIR: released_at}
    assert controls_epoch(uow) == 2


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.NO_NEW_LAUNCHES, Mode.READ_ONLY])
def test_a_softer_mode_leaves_what_was_issued_alive(uow: UnitOfWork, clock: FakeClock, mode: Mode) -> None:
    """C142."""
    before = clock.now()
    made = engage(uow, target=PAIR, mode=mode)

    assert judge(uow, issued_at=before) is None
    assert bool(judge(uow, issued_at=before, launching=True)) is (mode is Mode.NO_NEW_LAUNCHES)
    do(uow, SAM, release, made.id)
    assert judge(uow, issued_at=before) is None


def test_a_wide_switch_needs_two_people_and_stays_in_force_between_them(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C143."""
    made = engage(uow)

    asked = do(uow, SAM, release, made.id)
    assert asked.released_at is None
    with pytest.raises(Conflict, match="asked_by_you"):
        do(uow, SAM, release, made.id)
    assert judge(uow) is not None
    with pytest.raises(NotPermitted):
        do(uow, HOST, release, made.id)
    with pytest.raises(NotPermitted):
        do(uow, SYSTEM, release, made.id)
    assert judge(uow) is not None
    released = do(uow, SUE, release, made.id)

    assert released.released_by == str(SUE)
    assert judge(uow) is None
    assert [each.event.outcome for each in events(uow, "controls.switch.release")] == [
        Outcome.DONE,
        Outcome.REFUSED,
        Outcome.REFUSED,
    ]


def test_a_word_that_does_not_count_is_no_part_of_a_wide_release(uow: UnitOfWork) -> None:
    """C200: neither as the first of two people nor as the second."""
    made = engage(uow)

    with pytest.raises(NotPermitted, match="account_too_new"):
        do(uow, SAM, service.release, made.id, counts=lambda who, _: who != str(SAM))
    assert do(uow, SAM, release, made.id).release_asked_by == str(SAM)
    asked = do(uow, SUE, service.release, made.id, counts=lambda who, _: who != str(SAM))

    assert (asked.released_at, asked.release_asked_by) == (None, str(SUE))
    assert judge(uow) is not None


def test_a_first_word_that_is_too_old_must_be_said_again(uow: UnitOfWork, clock: FakeClock) -> None:
    made = engage(uow)
    do(uow, SAM, release, made.id)
    clock.advance(timedelta(hours=24))

    late = do(uow, SUE, release, made.id)
    assert late.released_at is None
    released = do(uow, SAM, release, made.id)

    assert released.released_at is not None


def test_a_switch_is_released_once(uow: UnitOfWork, clock: FakeClock) -> None:
    made = engage(uow, target=PAIR)
    do(uow, SAM, release, made.id)
    with pytest.raises(Conflict):
        do(uow, SAM, release, made.id)
    over = engage(uow, target=PAIR, expires_at=clock.now() + timedelta(seconds=1))
    clock.advance(timedelta(seconds=1))

    with pytest.raises(Conflict):
        do(uow, SAM, release, over.id)
    with pytest.raises(NotFound):
        do(uow, SAM, release, "sw_none")


def test_a_second_switch_keeps_what_the_release_of_the_first_would_free(uow: UnitOfWork) -> None:
    first, second = engage(uow, target=PAIR), engage(uow, target=PAIR)

    do(uow, SAM, release, first.id)

    assert judge(uow) == second


def test_the_later_end_of_two_full_stops_counts(uow: UnitOfWork, clock: FakeClock) -> None:
    first, second = engage(uow, target=PAIR), engage(uow, target=PAIR)
    clock.advance(timedelta(minutes=1))
    do(uow, SAM, release, first.id)
    later = clock.advance(timedelta(minutes=1))
    do(uow, SAM, release, second.id)

    assert judge(uow, issued_at=later) == PAIR


def test_a_tenants_administrator_stops_and_frees_within_the_tenant_only(uow: UnitOfWork) -> None:
    """C144."""
    own = engage(uow, GINA, PAIR)
    person = engage(uow, GINA, Target(TargetKind.PERSON, "per_1"), person_tenant="general")
    for target, where in ((APP, None), (Target(TargetKind.APP_TENANT, "app_1/children"), None),
                          (Target(TargetKind.PERSON, "per_2"), "children"), (Target(TargetKind.PERSON, "per_3"), None)):  # fmt: skip
        with pytest.raises(NotPermitted):
            engage(uow, GINA, target, person_tenant=where)
    staffs = engage(uow, SAM, PAIR)

    with pytest.raises(NotFound):
        do(uow, CARL, release, own.id)
    with pytest.raises(NotFound):
        do(uow, CARL, service.get_switch, own.id)
    with pytest.raises(NotPermitted):
        do(uow, GINA, release, staffs.id)
    assert do(uow, GINA, release, own.id).released_by == str(GINA)
    assert {each.id for each in do(uow, GINA, service.list_switches)} == {own.id, person.id, staffs.id}
    assert do(uow, CARL, service.list_switches) == []
    with pytest.raises(NotPermitted):
        do(uow, CARL, service.list_switches, tenant="general")
    assert len(do(uow, SAM, service.list_switches)) == 3


def test_a_refusal_to_engage_is_recorded_and_changes_nothing(uow: UnitOfWork) -> None:
    """Security decision 3: a decided refusal commits its record."""
    with pytest.raises(NotPermitted):
        engage(uow, GINA, APP)
    with pytest.raises(Invalid):
        do(uow, SAM, service.engage, EngageOrder(APP, Mode.FULL_STOP, ""))

    assert judge(uow) is None
    assert controls_epoch(uow) == 0
    assert [each.event.outcome for each in events(uow, "controls.switch.engage")] == [Outcome.REFUSED]


def test_two_people_releasing_at_one_instant_release_once(uow: UnitOfWork) -> None:
    made = engage(uow)
    do(uow, SAM, release, made.id)

    def attempt(_: int) -> str:
        try:
            return "done" if do(uow, SUE, release, made.id).released_at else "asked"
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(attempt, range(4)))

    assert answers == ["conflict"] * 3 + ["done"]


def test_switches_come_in_pages_newest_first(uow: UnitOfWork) -> None:
    made = [engage(uow, target=PAIR, mode=Mode.OBSERVE) for _ in range(3)]

    first = do(uow, SAM, service.list_switches)
    rest = do(uow, SAM, partial(service.list_switches, page=PageQuery(first[0].id)))

    assert [each.id for each in first] == [each.id for each in reversed(made)]
    assert [each.id for each in rest] == [each.id for each in reversed(made)][1:]


def test_quotas_are_set_at_two_levels_and_removed_again(uow: UnitOfWork) -> None:
    """C147."""
    do(uow, SAM, service.set_quota, "app_1", "general", Quota(100, 300))
    do(uow, GINA, service.set_quota, "app_1", "general", Quota(10, 1_000))

    def overrides() -> Any:
        found = do(uow, SYSTEM, control_facts).quotas.overrides
        return {key: policy.effective_quota(levels, Quota(50, 200)) for key, levels in found.items()}

    assert overrides() == {("app_1", "general"): Quota(10, 300)}
    do(uow, GINA, service.set_quota, "app_1", "general", Quota(20, 20))
    assert overrides() == {("app_1", "general"): Quota(20, 20)}
    assert len(do(uow, GINA, service.list_quotas)) == 2
    assert do(uow, CARL, service.list_quotas) == []
    do(uow, GINA, service.set_quota, "app_1", "general", None)
    do(uow, SAM, service.set_quota, "app_1", "general", None)
    assert overrides() == {}
    assert counted(uow, QUOTAS) == 5
    for actor, app in ((CARL, "app_1"), (Actor(ActorKind.STAFF, "x", roles=frozenset({"auditor"})), "app_1")):
        with pytest.raises(NotPermitted):
            do(uow, actor, service.set_quota, app, "general", Quota(1, 1))
    with pytest.raises(Invalid):
        do(uow, SAM, service.set_quota, "a/b", "general", Quota(1, 1))


def test_quotas_set_at_once_leave_one_and_refuse_nobody(uow: UnitOfWork) -> None:
    """Contract, Errors: never a 500; the last word counts."""

    def set_to(burst: int) -> None:
        do(uow, SAM, service.set_quota, "app_1", "general", Quota(1, burst))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(set_to, range(1, 21)))

    found = do(uow, SAM, service.list_quotas)
    assert [(each.app, each.tenant) for each in found] == [("app_1", "general")]


# --- no bound drops a stop (security decision 27) ---------------------------------------------------------------------------------


def pile_up(
    uow: UnitOfWork, count: int, target: Target = APP, *, ends_after: timedelta = timedelta(0)
) -> None:
    """Leave so many full stops on a target that ran out long ago."""

    def verb(ctx: Context) -> None:
        row = {
            "kind": target.kind.value, "key": target.key, "mode": "full_stop", "reason": "why", "tenant": "", "engaged_by": "staff:x",
            "engaged_at": ctx.now - timedelta(days=2), "released_by": "", "released_at": None, "release_asked_by": "",
            "release_asked_at": None, "over_at": None,
        }  # fmt: skip
        ended = ctx.now - timedelta(days=1) + ends_after
        rows = [
            row | {"id": f"sw_0{n:06d}", "expires_at": ended - timedelta(seconds=n)} for n in range(count)
        ]
        ctx.tx.execute(store.switches.insert(), rows)

    uow.write_now(verb, actor=SYSTEM, trace=TRACE)


@pytest.mark.parametrize("life", [None, timedelta(hours=1)], ids=["without an end", "with an end"])
def test_ten_thousand_stops_that_ran_out_do_not_hide_the_one_in_force(
    uow: UnitOfWork, clock: FakeClock, life: timedelta | None
) -> None:
    """What writes read the rows up to a bound and without an order, so that a stop could be left out."""
    pile_up(uow, 10_050)
    made = engage(uow, expires_at=None if life is None else clock.now() + life)

    assert judge(uow) == made
    assert judge(uow, issued_at=clock.now()) == made
    facts = do(uow, SYSTEM, control_facts)
    assert policy.stopped_by(facts.switches, SUBJECT, now=clock.now(), issued_at=None) == made
    do(uow, SAM, service.release, made.id, counts=lambda *_: True)
    do(uow, SUE, service.release, made.id, counts=lambda *_: True)
    assert judge(uow) is None
    assert judge(uow, issued_at=clock.now() - timedelta(seconds=1)) == APP


def test_stops_that_ran_out_are_settled_into_one_end_a_target_and_forbid_what_they_did(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """Bounded by keeping the latest end of each target, not by leaving any out."""
    pile_up(uow, 1_500)
    eligibility = engage(uow, target=PAIR, expires_at=clock.now() + timedelta(hours=1))
    soft = engage(uow, target=PAIR, mode=Mode.READ_ONLY, expires_at=clock.now() + timedelta(seconds=1))
    clock.advance(timedelta(seconds=2))
    last = clock.now() - timedelta(days=1, seconds=2)
    moments = [last - timedelta(days=1), last, last + timedelta(seconds=1), clock.now()]

    def answers() -> list[Any]:
        facts = do(uow, SYSTEM, control_facts)
        subject = Subject(app="app_1")
        now = clock.now()
        return [
            [judge(uow, subject=subject, issued_at=each) is not None for each in moments],
            [
                policy.stopped_by(facts.switches, subject, now=now, issued_at=each) is not None
                for each in moments
            ],
        ]

    before = answers()
    settled = [do(uow, SYSTEM, service.settle_expired) for _ in range(3)]

    assert settled == [1_000, 501, 0]
    assert answers() == before == [[True, True, False, False]] * 2
    assert judge(uow) == eligibility
    rows = do(uow, SYSTEM, lambda ctx: store.list_stops_on(ctx.tx, [APP], ctx.now))
    assert rows == ([], [(APP, last)])
    assert do(uow, SAM, service.get_switch, soft.id).released_at is None
    with pytest.raises(Conflict):
        do(uow, SAM, service.release, soft.id, counts=lambda *_: True)


def test_a_released_stop_and_a_later_one_that_ran_out_leave_the_later_end(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    early = engage(uow, target=PAIR, expires_at=clock.now() + timedelta(hours=2))
    long = engage(uow, target=PAIR)
    clock.advance(timedelta(hours=3))
    do(uow, SAM, service.release, long.id, counts=lambda *_: True)
    do(uow, SYSTEM, service.settle_expired)

    assert judge(uow, issued_at=clock.now()) == PAIR
    assert early.expires_at is not None
    assert judge(uow, issued_at=clock.now() + timedelta(seconds=1)) is None


def test_at_the_bound_a_narrow_switch_is_refused_and_the_platform_can_still_be_stopped(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits may refuse, never keep a wide stop from being engaged: whoever fills them must not win."""
    monkeypatch.setattr(service, "SWITCHES_BOUND", 2)
    for _ in range(2):
        engage(uow, GINA, PAIR)

    with pytest.raises(Unavailable):
        engage(uow, GINA, PAIR)
    made = engage(uow, target=Target(TargetKind.PLATFORM))

    assert judge(uow, subject=Subject(app="app_9")) == made


def test_a_few_targets_are_answered_as_many_are(uow: UnitOfWork, clock: FakeClock) -> None:
    """Few are asked for by statements of their own: they find what one statement for many does, and nothing else."""
    released = Target(TargetKind.APP_PERSON, "app_1/per_1")
    few = [APP, PAIR, released]
    elsewhere = [Target(TargetKind.APP, f"app_other_{at}") for at in range(store.FEW)]
    soon = clock.now() + timedelta(hours=1)
    engage(uow, target=APP, mode=Mode.READ_ONLY)
    for target in (PAIR, elsewhere[0]):
        engage(uow, target=target, expires_at=soon)
    do(uow, SAM, release, engage(uow, target=released).id)

    def found(asked: list[Target], now: datetime) -> list[str]:
        switches, ended = do(uow, SYSTEM, lambda ctx: store.list_stops_on(ctx.tx, asked, now))
        return sorted(
            [f"{each.target} {each.mode}" for each in switches] + [f"{of} {at}" for of, at in ended]
        )

    begun = f"{released} {clock.now()}"
    assert found(few, clock.now()) == sorted([f"{APP} read_only", f"{PAIR} full_stop", begun])
    assert found(few, soon) == sorted([f"{APP} read_only", f"{PAIR} {soon}", begun])
    assert found([APP], soon) == [f"{APP} read_only"]
    for now in (clock.now(), soon):
        assert set(found([*few, *elsewhere], now)) - set(found(elsewhere, now)) == set(found(few, now))
    assert found(elsewhere[1:], soon) == found([], soon) == []
