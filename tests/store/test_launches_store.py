"""Launches as the service keeps them, on each backend: single use, bound, followed and ended with the EHR session."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import product
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select

from hilum.apps.clients.models import ClientType
from hilum.authorization.launches import service, store
from hilum.authorization.launches.models import (
    LAUNCH_LIFE,
    LAUNCHES,
    LAUNCHES_KEPT,
    NEGATIVE_WINDOW,
    OPEN_URL_LIFE,
    Activity,
    Launch,
    LaunchOrder,
    OpenedLaunch,
)
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant, IssuedTokens
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import ANONYMOUS, Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId
from hilum.identity.people import service as identity
from hilum.identity.signin import service as signin
from tests.effort import effort
from tests.flows.token_flow import MERCY, OTHER, REMEMBERED, TRACE, Platform, running_platform
from tests.sim.facts import counted, whole
from tests.sim.furnished import furnish
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import LIFETIMES


@pytest.fixture
def ground(uow: UnitOfWork, clock: FakeClock) -> Iterator[Platform]:
    with running_platform(uow, clock) as made:

        def build() -> None:
            made.add_app("second", ClientType.PUBLIC)
            made.add_person("nora", "nurse", "Practitioner/pr2")
            made.add_person("ana", "analyst", "Practitioner/pr4")

        furnish("for launches", uow, made, REMEMBERED, build)
        yield made


def store_end(ctx: Context, app: AppId, until: datetime) -> None:
    """End a full stop as a node with such a margin does."""
    controls.end_issued(replace(ctx, now=until, margin=timedelta(0)), Target(TargetKind.APP, app))


def order(ground: Platform, **change: Any) -> LaunchOrder:
    wanted = LaunchOrder(ground.clients["public"].id, "dora", "p1", "e1", intent="reconcile")
    return replace(wanted, **change)


def open_one(ground: Platform, **change: Any) -> OpenedLaunch:
    return ground.as_ehr(lambda ctx: service.open_launch(ctx, order(ground, **change)))


def take(
    ground: Platform, handle: str, client: str = "public", person: str = "dora", tenant: Any = MERCY
) -> Launch:
    return ground.take(handle, client, person, tenant)


def find(ground: Platform, opened: OpenedLaunch) -> Launch:
    return ground.run(lambda ctx: service.get_launch(ctx, opened.launch.id))


def earn(ground: Platform, launch: Launch, *, offline: bool | None) -> IssuedTokens:
    client = ground.clients["public"]
    grant = Grant(
        MERCY,
        client.id,
        client.app,
        client.version,
        ground.vendor,
        ("patient/*.rs",),
        person=launch.person,
        patient=launch.patient,
        launch=launch.id,
    )
    return ground.run(
        lambda ctx: tokens.mint(
            ctx, grant, offline=offline, code_family=None, lifetimes=LIFETIMES, life=timedelta(hours=1)
        )
    )


def lives(ground: Platform, minted: IssuedTokens) -> bool:
    return ground.run(lambda ctx: tokens.find_access(ctx, minted.access_token)) is not None


def reasons(ground: Platform, action: str) -> list[str]:
    return [event.reason for event in ground.events(action)]


# --- opening -------------------------------------------------------------------------------------------------------------------


def test_a_launch_holds_what_the_ehr_had_open(ground: Platform, clock: FakeClock) -> None:
    context = ({"reference": "ImagingStudy/1"},)
    opened = open_one(ground, fhir_context=context, need_patient_banner=False, placement="sidebar")

    found = find(ground, opened)

    assert found == opened.launch
    assert (found.patient, found.encounter, found.intent) == ("p1", "e1", "reconcile")
    assert (found.fhir_context, found.need_patient_banner, found.placement) == (context, False, "sidebar")
    assert found.expires_at == clock.now() + LAUNCH_LIFE
    assert found.opened_by == ground.clients["ehr"].id
    assert found.person == ground.people["dora"].id


def test_neither_secret_is_stored(ground: Platform) -> None:
    opened = open_one(ground)

    def dump(ctx: Context) -> str:
        return repr(ctx.tx.execute(select(store.launch)).all())

    stored = ground.run(dump) + repr(ground.all_events())

    assert opened.handle not in stored
    assert opened.open_token not in stored
    assert len(opened.handle) == len(opened.open_token) == 43
    assert opened.handle != opened.open_token


BAD_ORDERS: list[tuple[dict[str, Any], str]] = [
    ({"client": ClientId("cli_none")}, "client_id"),
    ({"client": ClientId("")}, "client_id"),
    ({"client": ClientId("cli\x00")}, "client_id"),
    ({"client": ClientId("c" * 65)}, "client_id"),
    ({"person": "nobody"}, "person"),
    ({"person": ""}, "person"),
    ({"person": "d\x00ra"}, "person"),
    ({"person": "d" * 500}, "person"),
    ({"patient": "a b"}, "patient"),
    ({"patient": "p" * 65}, "patient"),
    ({"patient": "Patient/p1"}, "patient"),
    ({"patient": "../p1"}, "patient"),
    ({"encounter": "e?1"}, "encounter"),
    ({"patient": "", "encounter": "e1"}, "encounter"),
    ({"intent": "x" * 101}, "intent"),
    ({"intent": "a\nb"}, "intent"),
    ({"placement": "a b"}, "placement"),
    ({"run": "x" * 65}, "run"),
    ({"fhir_context": ({"reference": "Patient/1"},)}, "fhirContext.0"),
    ({"fhir_context": ({"reference": "ImagingStudy/1"}, {})}, "fhirContext.1"),
    ({"fhir_context": ({"reference": "ImagingStudy/1"},) * 21}, "fhirContext"),
]


def test_an_order_that_cannot_be_taken_names_its_field(ground: Platform) -> None:
    """C33 for fhirContext; bad input is refused, recorded and changes nothing."""
    for change, field in BAD_ORDERS:
        with pytest.raises(Invalid) as refused:
            open_one(ground, **change)
        assert set(refused.value.fields) == {field}

    assert reasons(ground, "launches.launch.open") == ["launch_invalid"] * len(BAD_ORDERS)


def test_what_is_no_app_for_people_is_not_launched(ground: Platform) -> None:
    for client in ("ehr", "resource", "backend"):
        with pytest.raises(Invalid) as refused:
            open_one(ground, client=ground.clients[client].id)
        assert set(refused.value.fields) == {"client_id"}


def test_an_app_without_a_launch_url_is_not_launched(ground: Platform) -> None:
    client = ground.add_app("standalone", ClientType.PUBLIC, launch_uri="")

    with pytest.raises(Invalid) as refused:
        open_one(ground, client=client.id)

    assert refused.value.fields == {"launch_uri": "launch_url_needed"}


@pytest.mark.parametrize("uri", ["https://app.example/elsewhere?x=1", "https://APP.example/launch"])
def test_an_app_may_be_opened_elsewhere_on_an_origin_it_registered(ground: Platform, uri: str) -> None:
    opened = open_one(ground, launch_uri=uri)

    begun = begin(ground, opened)

    assert begun.launch_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/launch",
        "https://app.example.evil.example/",
        "https://app.example@evil.example/",
        "http://app.example/launch",
        "https://app.example:444/launch",
        "//app.example/launch",
        "javascript:alert(1)",
        "https://app.example/#x",
        "https://[app.example/",
        "x" * 3_000,
    ],
)
def test_an_app_is_never_opened_where_it_has_no_origin(ground: Platform, uri: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_one(ground, launch_uri=uri)

    assert set(refused.value.fields) == {"launch_uri"}


def test_an_inactive_person_has_nothing_opened(ground: Platform) -> None:
    ground.run(lambda ctx: identity.deactivate_person(ctx, ground.people["dora"].id))

    with pytest.raises(Invalid) as refused:
        open_one(ground)

    assert set(refused.value.fields) == {"person"}


def test_a_patient_opens_own_charts_only(ground: Platform) -> None:
    """C34, C35: nor is a launch of theirs moved to another's."""
    opened = open_one(ground, person="pat").launch
    assert opened.patient == "p1"

    with pytest.raises(Invalid) as refused:
        open_one(ground, person="pat", patient="p2")
    with pytest.raises(Invalid) as not_moved:
        ground.as_ehr(lambda ctx: service.move(ctx, opened.id, "p2", None))

    assert set(refused.value.fields) == set(not_moved.value.fields) == {"patient"}


def test_a_role_that_the_app_is_not_installed_for_is_named(ground: Platform) -> None:
    """C38: the refusal names which one failed."""
    with pytest.raises(NotPermitted, match="role_not_allowed"):
        open_one(ground, person="ana")


def test_an_app_that_is_not_installed_is_not_launched(ground: Platform) -> None:
    client = ground.add_app("elsewhere", ClientType.PUBLIC, tenants=(OTHER,))

    with pytest.raises(NotPermitted, match="app_not_installed"):
        open_one(ground, client=client.id)


@pytest.mark.parametrize("mode", [Mode.FULL_STOP, Mode.NO_NEW_LAUNCHES])
def test_a_switch_stops_new_launches(ground: Platform, mode: Mode) -> None:
    """C140 at the EHR's door."""
    before = open_one(ground)
    ground.engage(TargetKind.APP, ground.clients["public"].app, mode)

    with pytest.raises(NotPermitted, match="switch_engaged"):
        open_one(ground)
    with pytest.raises(NotPermitted, match="switch_engaged"):
        ground.run(lambda ctx: service.use_open_token(ctx, MERCY, before.open_token))


def test_no_launch_is_opened_that_the_margin_after_a_release_would_end(
    ground: Platform, clock: FakeClock
) -> None:
    """C140: what is issued while another node's clock may still be before the release stays stopped, and the EHR learns it at once."""
    margin = timedelta(milliseconds=100)
    ground.release(ground.engage(TargetKind.APP, ground.clients["public"].app))
    ground.run(lambda ctx: store_end(ctx, ground.clients["public"].app, ctx.now + margin))

    with pytest.raises(NotPermitted, match="switch_engaged"):
        open_one(ground)

    clock.advance(margin + timedelta(microseconds=1))
    opened = open_one(ground)
    assert begin(ground, opened)
    assert take(ground, opened.handle)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.READ_ONLY])
def test_a_softer_switch_does_not(ground: Platform, mode: Mode) -> None:
    ground.engage(TargetKind.APP, ground.clients["public"].app, mode)

    assert open_one(ground).handle


NOT_EHRS = [
    ANONYMOUS,
    Actor(ActorKind.CLIENT, "cli_1", MERCY),
    Actor(ActorKind.CLIENT, "cli_1", None, frozenset({"ehr"})),
    Actor(ActorKind.PERSON, "per_1", MERCY, frozenset({"ehr"})),
    Actor(ActorKind.STAFF, "per_1", roles=frozenset({"platform_admin"})),
]


def test_only_an_ehr_opens_moves_ends_and_reports(ground: Platform) -> None:
    opened = open_one(ground)
    rows = [Activity(date(2026, 3, 1), "nurse", "", 1)]
    verbs = (
        lambda ctx: service.open_launch(ctx, order(ground)),
        lambda ctx: service.move(ctx, opened.launch.id, "p2", None),
        lambda ctx: service.end(ctx, opened.launch.id),
        lambda ctx: service.record_activity(ctx, rows),
    )

    for actor, verb in product(
        NOT_EHRS, (*verbs, lambda ctx: service.availability(ctx, "dora", (opened.launch.client,)))
    ):
        with pytest.raises(NotPermitted, match="not_an_ehr"):
            ground.uow.write_now(verb, actor=actor, trace=TRACE)

    assert find(ground, opened) == opened.launch
    # Each attempt to do something is on record; a question changes nothing.
    refused = [each for each in ground.events("launches") if each.reason == "not_an_ehr"]
    assert len(refused) == len(NOT_EHRS) * len(verbs)


# --- open_url ------------------------------------------------------------------------------------------------------------------


def begin(ground: Platform, opened: OpenedLaunch, tenant: Any = MERCY) -> Any:
    return ground.run(lambda ctx: service.use_open_token(ctx, tenant, opened.open_token))


def test_open_url_begins_the_session_of_the_person_the_ehr_vouches_for(ground: Platform) -> None:
    """Security decision 2."""
    opened = open_one(ground)

    begun = begin(ground, opened)

    session = ground.run(lambda ctx: signin.session(ctx, begun.cookie))
    assert session is not None
    assert (session.person, session.tenant, session.method) == (ground.people["dora"].id, MERCY, "ehr")
    assert begun.handle == opened.handle
    assert begun.launch_uri == "https://app.example/launch"


def test_open_url_is_used_once_and_a_second_use_ends_an_untaken_launch(ground: Platform) -> None:
    opened = open_one(ground)
    begun = begin(ground, opened)

    with pytest.raises(NotFound):
        begin(ground, opened)

    assert find(ground, opened).ended_at is not None
    assert ground.run(lambda ctx: signin.session(ctx, begun.cookie)) is None
    assert "open_url_reused" in reasons(ground, "launches.launch.begin")
    with pytest.raises(NotFound):
        take(ground, opened.handle)


def test_open_url_used_again_after_the_app_took_the_launch_ends_nothing(ground: Platform) -> None:
    """Going back in the browser."""
    opened = open_one(ground)
    begin(ground, opened)
    take(ground, opened.handle)

    with pytest.raises(NotFound):
        begin(ground, opened)

    assert find(ground, opened).ended_at is None


def test_open_url_lives_sixty_seconds(ground: Platform, clock: FakeClock) -> None:
    late, last = open_one(ground), open_one(ground)

    clock.advance(OPEN_URL_LIFE - timedelta(microseconds=1))
    assert begin(ground, last)
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(NotFound):
        begin(ground, late)
    assert "open_url_expired" in reasons(ground, "launches.launch.begin")


def test_an_open_token_that_was_not_made_here_is_not_found(ground: Platform) -> None:
    for token in ("", "x", "A" * 43, "é" * 43, "A" * 500):
        with pytest.raises(NotFound):
            ground.run(partial(service.use_open_token, tenant=MERCY, open_token=token))


def test_an_open_token_works_at_its_own_tenant_only(ground: Platform) -> None:
    """C37."""
    opened = open_one(ground)

    with pytest.raises(NotFound):
        begin(ground, opened, OTHER)

    assert begin(ground, opened)


def test_the_handle_is_no_open_token_and_the_other_way_round(ground: Platform) -> None:
    """Security decision 2: the handle passes through the app, so it must not be worth anything alone."""
    opened = open_one(ground)

    with pytest.raises(NotFound):
        ground.run(lambda ctx: service.use_open_token(ctx, MERCY, opened.handle))
    with pytest.raises(NotFound):
        take(ground, opened.open_token)


def test_a_person_who_left_meanwhile_gets_no_session(ground: Platform) -> None:
    opened = open_one(ground)
    ground.run(lambda ctx: identity.deactivate_person(ctx, ground.people["dora"].id))

    with pytest.raises(NotPermitted):
        begin(ground, opened)


# --- taking --------------------------------------------------------------------------------------------------------------------


def test_a_launch_is_taken_once(ground: Platform) -> None:
    """C27."""
    opened = open_one(ground)

    taken = take(ground, opened.handle)

    assert (taken.id, taken.patient) == (opened.launch.id, "p1")
    with pytest.raises(NotFound):
        take(ground, opened.handle)
    assert reasons(ground, "launches.launch.take") == ["launch_reused", ""]
    assert find(ground, opened).ended_at is None


@pytest.mark.parametrize(
    ("client", "person", "tenant", "reason"),
    [
        ("second", "dora", MERCY, "foreign_client"),
        ("public", "nora", MERCY, "foreign_person"),
        ("public", "dora", OTHER, "foreign_tenant"),
        ("second", "nora", OTHER, "foreign_tenant"),
    ],
)
def test_anybody_elses_try_is_a_security_event_and_ends_the_launch(
    ground: Platform, client: str, person: str, tenant: Any, reason: str
) -> None:
    """C27, C37: use by another fails, is recorded, and commits its protection although it is refused."""
    opened = open_one(ground)

    with pytest.raises(NotPermitted, match="launch_not_yours"):
        take(ground, opened.handle, client, person, tenant)

    assert find(ground, opened).ended_at is not None
    assert reason in reasons(ground, "launches.launch.take")
    with pytest.raises(NotFound):
        take(ground, opened.handle)


def test_a_handle_lives_five_minutes(ground: Platform, clock: FakeClock) -> None:
    last, late = open_one(ground), open_one(ground)

    clock.advance(LAUNCH_LIFE - timedelta(microseconds=1))
    assert take(ground, last.handle)
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(NotFound):
        take(ground, late.handle)


def test_a_handle_that_was_not_made_here_is_not_found(ground: Platform) -> None:
    for handle in ("", "x", "A" * 43, "A" * 500, "é" * 43, "lch_1"):
        with pytest.raises(NotFound):
            take(ground, handle)


def test_two_takes_at_one_instant_have_one_winner(ground: Platform) -> None:
    for _ in range(effort(10, 500)):
        opened, barrier = open_one(ground), Barrier(2)

        def attempt(_: int, handle: str = opened.handle, together: Barrier = barrier) -> Launch | None:
            together.wait()
            with suppress(NotFound):
                return take(ground, handle)
            return None

        with ThreadPoolExecutor(2) as pool:
            assert sorted(found is None for found in pool.map(attempt, range(2))) == [False, True]


# --- following the chart -------------------------------------------------------------------------------------------------------


def move(ground: Platform, opened: OpenedLaunch, patient: str | None, encounter: str | None = None) -> Launch:
    return ground.as_ehr(lambda ctx: service.move(ctx, opened.launch.id, patient, encounter))


def test_moving_to_another_patient_makes_what_was_granted_stale(ground: Platform, clock: FakeClock) -> None:
    """C35."""
    opened = open_one(ground)
    take(ground, opened.handle)
    before = counted(ground.uow, LAUNCHES)

    moved = move(ground, opened, "p2")

    assert (moved.patient, moved.encounter, moved.moved_at) == ("p2", "", clock.now())
    assert ground.run(whole(service.facts)).moved == {opened.launch.id}
    after = counted(ground.uow, LAUNCHES)
    assert after == before + 1


def test_moving_back_does_not_revive(ground: Platform) -> None:
    opened = open_one(ground)
    take(ground, opened.handle)
    move(ground, opened, "p2")

    back = move(ground, opened, "p1")

    assert back.moved_at is not None
    assert ground.run(whole(service.facts)).moved == {opened.launch.id}


def test_moving_before_the_launch_is_taken_only_opens_another_chart(ground: Platform) -> None:
    opened = open_one(ground)

    move(ground, opened, "p2", "e2")

    taken = take(ground, opened.handle)
    assert (taken.patient, taken.encounter, taken.moved_at) == ("p2", "e2", None)


def test_another_encounter_of_the_same_patient_is_no_move(ground: Platform) -> None:
    opened = open_one(ground)
    take(ground, opened.handle)

    moved = move(ground, opened, None, "e9")

    assert (moved.patient, moved.encounter, moved.moved_at) == ("p1", "e9", None)


def test_closing_the_chart_is_a_move(ground: Platform) -> None:
    opened = open_one(ground)
    take(ground, opened.handle)

    assert move(ground, opened, "").moved_at is not None


@pytest.mark.parametrize(
    ("patient", "encounter", "field"),
    [("a b", None, "patient"), ("p2", "e/2", "encounter"), ("", "e1", "encounter")],
)
def test_a_chart_that_cannot_be_is_refused(
    ground: Platform, patient: str, encounter: str | None, field: str
) -> None:
    opened = open_one(ground)

    with pytest.raises(Invalid) as refused:
        move(ground, opened, patient, encounter)

    assert set(refused.value.fields) == {field}
    assert find(ground, opened).patient == "p1"


def test_another_ehr_neither_moves_nor_ends(ground: Platform) -> None:
    """C37: neither does the same one of another tenant."""
    opened = open_one(ground)
    with pytest.raises(NotFound):
        ground.uow.write_now(
            lambda ctx: service.end(ctx, opened.launch.id),
            actor=replace(ground.ehr, tenant=OTHER),
            trace=TRACE,
        )
    ground.add_system_client("ehr", ClientType.EHR)

    with pytest.raises(NotFound):
        move(ground, opened, "p2")
    with pytest.raises(NotFound):
        ground.as_ehr(lambda ctx: service.end(ctx, opened.launch.id))

    assert find(ground, opened) == opened.launch


def test_an_unknown_launch_is_not_found(ground: Platform) -> None:
    unknown = LaunchId("lch_none")

    with pytest.raises(NotFound):
        ground.as_ehr(lambda ctx: service.move(ctx, unknown, "p1", None))
    with pytest.raises(NotFound):
        ground.run(lambda ctx: service.get_launch(ctx, unknown))
    assert ground.run(lambda ctx: service.find_launch(ctx, unknown)) is None


# --- ending --------------------------------------------------------------------------------------------------------------------


def test_ending_a_launch_ends_online_tokens_and_the_vouched_session(ground: Platform) -> None:
    """C36: ``online_access`` ends with the EHR session; ``offline_access`` survives it."""
    opened = open_one(ground)
    begun = begin(ground, opened)
    taken = take(ground, opened.handle)
    online, plain, offline = (earn(ground, taken, offline=kind) for kind in (False, None, True))

    ground.as_ehr(lambda ctx: service.end(ctx, opened.launch.id))

    assert [lives(ground, each) for each in (online, plain, offline)] == [False, False, True]
    assert ground.run(lambda ctx: signin.session(ctx, begun.cookie)) is None
    assert ground.run(whole(service.facts)).ended == {opened.launch.id}


def test_ending_twice_is_no_error_and_an_ended_launch_does_not_move(ground: Platform) -> None:
    opened = open_one(ground)
    for _ in range(2):
        ground.as_ehr(lambda ctx: service.end(ctx, opened.launch.id))

    assert reasons(ground, "launches.launch.end") == [""]
    with pytest.raises(NotFound, match="launch_ended"):
        move(ground, opened, "p2")
    with pytest.raises(NotFound):
        take(ground, opened.handle)
    with pytest.raises(NotFound):
        begin(ground, opened)


def test_the_negative_list_forgets_what_no_token_can_outlive(ground: Platform, clock: FakeClock) -> None:
    opened = open_one(ground)
    take(ground, opened.handle)
    move(ground, opened, "p2")
    ground.as_ehr(lambda ctx: service.end(ctx, opened.launch.id))

    clock.advance(NEGATIVE_WINDOW)

    facts = ground.run(whole(service.facts))
    assert facts.moved == facts.ended == frozenset()


def test_purging_deletes_what_is_long_over_and_keeps_what_continues(
    ground: Platform, clock: FakeClock
) -> None:
    untaken, going_on, ended = (open_one(ground) for _ in range(3))
    for opened in (going_on, ended):
        take(ground, opened.handle)
    ground.as_ehr(lambda ctx: service.end(ctx, ended.launch.id))
    assert ground.run(service.purge) == 0

    clock.advance(LAUNCHES_KEPT + timedelta(seconds=1))

    assert ground.run(service.purge) == 2
    assert find(ground, going_on)
    for gone in (untaken, ended):
        with pytest.raises(NotFound):
            find(ground, gone)


# --- activity ------------------------------------------------------------------------------------------------------------------

DAY = date(2026, 3, 1)


def report(ground: Platform, *rows: Activity) -> int:
    return ground.as_ehr(lambda ctx: service.record_activity(ctx, rows))


def test_counts_are_kept_by_day_role_and_facility_and_the_last_report_counts(ground: Platform) -> None:
    report(ground, Activity(DAY, "nurse", "west", 3), Activity(DAY, "physician", "", 5))
    report(ground, Activity(DAY, "nurse", "west", 4))

    found = ground.run(lambda ctx: service.list_activity(ctx, MERCY, since=DAY, until=DAY))

    assert found == [Activity(DAY, "nurse", "west", 4), Activity(DAY, "physician", "", 5)]
    assert ground.run(lambda ctx: service.list_activity(ctx, OTHER, since=DAY, until=DAY)) == []


BAD_COUNTS: list[tuple[list[Activity], str]] = [
    ([], "counts"),
    ([Activity(DAY, "nurse", "", -1)], "counts.0.count"),
    ([Activity(DAY, "nurse", "", 10**9)], "counts.0.count"),
    ([Activity(DAY, "a b", "", 1)], "counts.0.role"),
    ([Activity(DAY, "nurse", "x" * 65, 1)], "counts.0.facility"),
    ([Activity(DAY, "nurse", "a\x00b", 1)], "counts.0.facility"),
    ([Activity(date(2026, 3, 4), "nurse", "", 1)], "date"),
    ([Activity(DAY, "nurse", "", 1)] * 2, "counts"),
    ([Activity(DAY, f"r{n}", "", 1) for n in range(201)], "counts"),
]


def test_counts_that_cannot_be_are_refused(ground: Platform) -> None:
    for rows, field in BAD_COUNTS:
        with pytest.raises(Invalid) as refused:
            report(ground, *rows)
        assert set(refused.value.fields) == {field}
