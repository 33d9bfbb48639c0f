"""A failover that lost commits revives nothing: counts that agree mean nothing where the marks differ (C200; security decision 7).

Two servers hold the same data, then go different ways for the same number of changes. One address leads first to the one, then to
the other, as after the promotion of a standby that had not received everything.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Switch, Target, TargetKind
from hilum.foundation.infra.change_feed import open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.gateway.enforcement.models import Snapshot
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from tests.sim.postgres import Cluster
from tests.sim.tcp_proxy import TcpProxy

T = TypeVar("T")
TRACE = Trace("req_test")
SAM = Actor(ActorKind.STAFF, "per_sam", roles=frozenset({"security"}))
EVERYTHING = Target(TargetKind.PLATFORM)
PAIR = Target(TargetKind.APP_TENANT, "app_1/general")
OTHER_PAIR = Target(TargetKind.APP_TENANT, "app_2/general")
PAIR_OF_OTHERS = Target(TargetKind.APP_TENANT, "app_4/general")


@contextmanager
def uow_on(url: str) -> Iterator[UnitOfWork]:
    made = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), "test-writer")
    yield made
    made.close()


def run(uow: UnitOfWork, verb: Callable[[Context], T]) -> T:
    return uow.write_now(verb, actor=SAM, trace=TRACE)


def engage(uow: UnitOfWork, target: Target) -> Switch:
    return run(uow, lambda ctx: controls.engage(ctx, EngageOrder(target, Mode.FULL_STOP, "a drill")))


def release(uow: UnitOfWork, switch: Switch) -> None:
    run(uow, lambda ctx: controls.release(ctx, switch.id, counts=lambda *_: True))


def wait_for(what: Callable[[], bool]) -> bool:
    """Wait, at most ten seconds, for something to become true."""
    for _ in range(2_000):
        if what():
            return True
        threading.Event().wait(0.005)
    return False


@dataclass
class Pair:
    """Two copies of one database, and the address that leads to one of them."""

    first: UnitOfWork
    second: UnitOfWork
    first_port: int
    second_port: int
    address: TcpProxy
    url: str
    switch: Switch
    """Engaged before they parted, on PAIR."""


@pytest.fixture(scope="module")
def clusters(migrated_postgres: Path) -> Iterator[tuple[Cluster, Cluster, Switch]]:
    first = Cluster(migrated_postgres)
    with uow_on(first.url) as uow:
        switch = engage(uow, PAIR)
    second = first.twin()
    yield first, second, switch
    first.stop()
    second.stop()


@pytest.fixture(scope="module")
def parted(clusters: tuple[Cluster, Cluster, Switch]) -> Iterator[Pair]:
    """Both made one change since: the first released the switch, the second engaged another."""
    one, two, switch = clusters
    with uow_on(one.url) as first, uow_on(two.url) as second, TcpProxy(one.port) as address:
        release(first, switch)
        engage(second, OTHER_PAIR)
        yield Pair(first, second, one.port, two.port, address, address.url(one.url), switch)


@pytest.fixture(autouse=True)
def at_the_first(parted: Pair) -> None:
    parted.address.lead_to(parted.first_port)


@contextmanager
def watching(pair: Pair) -> Iterator[tuple[SnapshotKeeper, UnitOfWork]]:
    with uow_on(pair.url) as uow:
        keeper = SnapshotKeeper(
            lambda verb: uow.read_now(verb, actor=SAM, trace=TRACE),
            open_change_feed(uow.db),
            SystemClock(),
            on_other_copy=uow.db.dispose,
            on_lost=lambda lost: run(uow, lambda ctx: controls.engage_lost(ctx, lost)),
        )
        keeper.start()
        try:
            yield keeper, uow
        finally:
            keeper.stop()


def stopped(snapshot: Snapshot | None) -> set[Target]:
    return set() if snapshot is None else set(snapshot.controls.switches.engaged)


@pytest.mark.parametrize("cut", [True, False], ids=["connections cut", "the old server still answers"])
def test_the_switches_of_the_surviving_copy_are_obeyed_though_the_counts_agree(
    parted: Pair, *, cut: bool
) -> None:
    """Fault: both copies counted 217, and a switch of the survivor was ignored for 50 seconds."""
    with watching(parted) as (keeper, _):
        before = keeper.current()
        assert before is not None
        assert stopped(before) == set(), "the first copy released it"

        parted.address.lead_to(parted.second_port)
        if cut:
            parted.address.cut()

        assert wait_for(lambda: stopped(keeper.current()) == {PAIR, OTHER_PAIR})
        after = keeper.current()
        assert after is not None
        assert after.epoch > before.epoch, "whoever decided by the first copy decides again"


def test_what_was_remembered_of_the_lost_copy_is_read_again(parted: Pair) -> None:
    """What a token rests on is remembered under count and mark."""
    from hilum.authorization.token import cached_facts

    with uow_on(parted.url) as uow:

        def seen() -> Any:
            return uow.read_now(lambda ctx: set(cached_facts.switches(ctx).engaged), actor=SAM, trace=TRACE)

        assert seen() == set()
        parted.address.lead_to(parted.second_port)
        parted.address.cut()

        assert wait_for(lambda: _or_away(seen) == {PAIR, OTHER_PAIR})


def _or_away(seen: Callable[[], T]) -> T | None:
    from hilum.foundation.kernel.errors import Unavailable

    try:
        return seen()
    except Unavailable:
        return None


@pytest.fixture
def lossy(clusters: tuple[Cluster, Cluster, Switch]) -> Iterator[Pair]:
    """The first engaged a switch that the second, an older copy that was promoted, never had."""
    one, two, _ = clusters
    with uow_on(one.url) as first, uow_on(two.url) as second, TcpProxy(one.port) as address:
        # Another app in each test: both servers keep what earlier tests engaged.
        lost = engage(first, Target(TargetKind.APP, SystemIds().new("app")))
        yield Pair(first, second, one.port, two.port, address, address.url(one.url), lost)


@pytest.mark.parametrize("made_since", [0, 40], ids=["with lower counts", "with higher counts"])
@pytest.mark.parametrize("cut", [True, False], ids=["connections cut", "the old server still answers"])
def test_a_stop_that_a_failover_lost_stays_until_a_person_confirms(
    lossy: Pair, *, cut: bool, made_since: int
) -> None:
    """ADR 162. Fault: both nodes answered with data 0.15 s after the promotion, in spite of a full stop."""
    lost = lossy.switch.target
    with watching(lossy) as (keeper, uow):
        assert lost in stopped(keeper.current())
        for _ in range(made_since):
            release(lossy.second, engage(lossy.second, PAIR_OF_OTHERS))

        lossy.address.lead_to(lossy.second_port)
        if cut:
            lossy.address.cut()
        assert wait_for(lambda: bool(earlier(keeper)))

        assert lost in stopped(earlier(keeper)[-1]), "what was known stays known"
        assert wait_for(lambda: lost in stopped(keeper.current())), (
            "and is engaged again in the copy that lost it"
        )
        again = run(lossy.second, lambda ctx: controls.get_switch(ctx, lossy.switch.id))
        assert again == lossy.switch

        run(uow, lambda ctx: controls.confirm_failover(ctx, "certifications were withdrawn again"))
        assert wait_for(lambda: keeper.current() is not None and not earlier(keeper))
        assert lost in stopped(keeper.current()), "a switch is released like any other"


def test_a_failover_that_lost_nothing_asks_nobody(clusters: tuple[Cluster, Cluster, Switch]) -> None:
    """With a synchronous standby the copy has all that a node knows, and goes on from there."""
    one = clusters[0]
    standby = one.twin()
    try:
        with uow_on(standby.url) as there, TcpProxy(one.port) as address:
            pair = Pair(there, there, one.port, standby.port, address, address.url(one.url), clusters[2])
            with watching(pair) as (keeper, _):
                engaged = engage(there, Target(TargetKind.APP, SystemIds().new("app"))).target
                address.lead_to(standby.port)
                address.cut()

                assert wait_for(lambda: engaged in stopped(keeper.current()))
                assert not earlier(keeper)
    finally:
        standby.stop()


def earlier(keeper: SnapshotKeeper) -> tuple[Snapshot, ...]:
    snapshot = keeper.current()
    return () if snapshot is None else snapshot.earlier
