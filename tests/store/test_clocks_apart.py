"""Two nodes whose clocks are five minutes apart, on one PostgreSQL: time is one, and a full stop revives nothing on either.

A full stop that the slow node released revived tokens of the fast one, and launches failed from one to the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import pytest

from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Subject, Switch, Target, TargetKind
from hilum.foundation.infra.change_feed import open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.database_clock import SteadyClock, measure_skew, steady
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.heartbeat import Heartbeat
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Role, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Method
from tests.unit.policy.matrix.books import LIFETIMES

TRACE = Trace("req_test")
SAM = Actor(ActorKind.STAFF, "per_sam", roles=frozenset({"security"}))
APART = timedelta(minutes=5)
SLACK = timedelta(seconds=30)
"""What a busy machine may add between two looks at a clock. Who follows the wrong one is off by minutes."""
PAIR = Target(TargetKind.APP_TENANT, "app_1/general")
SUBJECT = Subject(tenant="general", app="app_1")
GRANT = Grant(
    TenantId("general"), ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), VendorId("ven_1"), ("system/*.rs",)
)  # fmt: skip


class Machine(SystemClock):
    """A machine whose wall clock is off."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


@contextmanager
def node(url: str, ahead: timedelta) -> Iterator[UnitOfWork]:
    made = UnitOfWork.create(Database(url), steady(url, Machine(ahead)), SystemIds(), "test-writer")
    yield made
    made.close()


@pytest.fixture
def fast(postgres_url: str) -> Iterator[UnitOfWork]:
    with node(postgres_url, APART) as made:
        yield made


@pytest.fixture
def slow(postgres_url: str) -> Iterator[UnitOfWork]:
    with node(postgres_url, -APART) as made:
        yield made


def engage(uow: UnitOfWork) -> Switch:
    order = EngageOrder(PAIR, Mode.FULL_STOP, "a drill")
    return uow.write_now(lambda ctx: controls.engage(ctx, order), actor=SAM, trace=TRACE)


def released(uow: UnitOfWork, switch: Switch) -> None:
    uow.write_now(
        lambda ctx: controls.release(ctx, switch.id, counts=lambda *_: True), actor=SAM, trace=TRACE
    )


def mint(uow: UnitOfWork) -> datetime:
    """Issue a token and return when that was, as the node has it."""

    def verb(ctx: Context) -> datetime:
        minted = tokens.mint(
            ctx, GRANT, offline=None, code_family=None, lifetimes=LIFETIMES, life=timedelta(minutes=5)
        )
        found = tokens.find_access(ctx, minted.access_token)
        assert found is not None
        return found.issued_at

    return uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def stands(uow: UnitOfWork, issued_at: datetime) -> bool:
    return (
        uow.read_now(lambda ctx: controls.judge(ctx, SUBJECT, issued_at=issued_at), actor=SYSTEM, trace=TRACE)
        is None
    )


@pytest.mark.parametrize("order", ["the fast node issues", "the slow node issues"])
def test_a_full_stop_revives_no_token_of_either_node(fast: UnitOfWork, slow: UnitOfWork, order: str) -> None:
    """C143: what was issued before the stop stays dead, whoever issued it and whoever released."""
    issuer, other = (fast, slow) if order == "the fast node issues" else (slow, fast)
    issued = [mint(issuer) for _ in range(3)]
    switch = engage(other)
    issued.append(mint(issuer))
    released(other, switch)

    assert not any(stands(uow, each) for each in issued for uow in (fast, slow))


def test_nodes_agree_on_the_time_whatever_their_machines_say(fast: UnitOfWork, slow: UnitOfWork) -> None:
    assert abs(fast.clock.now() - slow.clock.now()) < SLACK
    assert isinstance(fast.clock, SteadyClock)
    found = fast.clock.skew()
    assert found is not None
    assert abs(found.ahead - APART) < SLACK
    assert found.uncertainty < SLACK


def test_a_session_begun_on_one_node_counts_on_the_other(fast: UnitOfWork, slow: UnitOfWork) -> None:
    """By direction: what the fast node made was not yet, what the slow one made was over."""
    slow.write_now(
        lambda ctx: identity.add_tenant(
            ctx, Tenant(TenantId("general"), "General", UpstreamRef(UpstreamKind.EMBEDDED))
        ),
        actor=SYSTEM,
        trace=TRACE,
    )
    for n, (here, there) in enumerate([(fast, slow), (slow, fast)]):
        order = NewPerson(TenantId("general"), f"ann{n}", "Ann", Role.NURSE)
        person = here.write_now(partial(identity.add_person, order=order), actor=SYSTEM, trace=TRACE)
        begun, cookie = here.write_now(
            partial(signin.begin_session, person=person, method=Method.PASSWORD),
            actor=SYSTEM,
            trace=TRACE,
        )

        found = there.read_now(partial(signin.session, cookie=cookie), trace=TRACE)

        assert found is not None
        assert found.id == begun.id
        assert abs(found.created_at - there.clock.now()) < SLACK


def test_the_watch_keeps_the_clock_of_a_process_that_began_without_its_database(postgres_url: str) -> None:
    clock = SteadyClock(Machine(APART), follows_server=True)
    began_unset = not clock.is_set
    watch = open_change_feed(Database(postgres_url), clock)
    try:
        watch.changed(0)
    finally:
        watch.close()

    assert began_unset
    assert clock.is_set
    assert abs(clock.now() - SystemClock().now()) < SLACK


def test_a_process_that_began_without_its_database_asks_it_before_its_first_verb(postgres_url: str) -> None:
    clock = SteadyClock(Machine(APART), follows_server=True)
    uow = UnitOfWork.create(Database(postgres_url), clock, SystemIds(), "test-writer")
    try:
        seen = uow.write_now(lambda ctx: ctx.now, trace=TRACE)
    finally:
        uow.close()

    assert abs(seen - SystemClock().now()) < SLACK


def test_doctor_and_the_list_of_nodes_learn_how_far_a_machine_is_off(postgres_url: str) -> None:
    found = measure_skew(postgres_url, Machine(APART))
    assert found is not None
    assert abs(found.ahead - APART) < SLACK
    assert measure_skew("sqlite:///nowhere.db", Machine(APART)) is None
    assert measure_skew("postgresql://nobody@127.0.0.1:9/nothing", Machine(APART)) is None
    database = Database(postgres_url)
    try:
        beating = Heartbeat(database, steady(postgres_url, Machine(APART)), Node("a", 1, release(), "boot"))
        beating.beat()
        assert abs(beating.node.skew - APART) < SLACK
    finally:
        database.dispose()


@pytest.mark.parametrize("back", [timedelta(minutes=5), timedelta(hours=1)])
def test_a_machine_set_back_and_started_again_is_not_behind_what_it_did(
    sqlite_url: str, back: timedelta
) -> None:
    """SQLite: a token that expired, or was stopped, does not live again. A leap that is too far refuses."""
    with node(sqlite_url, timedelta(0)) as uow:
        issued = mint(uow)
        released(uow, engage(uow))
    with node(sqlite_url, -back) as again:
        if back > timedelta(minutes=10):
            with pytest.raises(Unavailable) as refused:
                mint(again)
            assert refused.value.code == "clock_behind"
            return
        assert mint(again) > issued
        assert not stands(again, issued)
