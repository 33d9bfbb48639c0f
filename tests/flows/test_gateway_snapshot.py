"""The snapshot hears every commit within milliseconds, reloads only what changed, and ages when it hears nothing."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from hilum.apps.registry.models import REGISTRY
from hilum.authorization.tokens.models import TOKENS
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import QUOTAS, SWITCHES, EngageOrder, Mode, Switch, Target, TargetKind
from hilum.foundation.infra import lanes
from hilum.foundation.infra.change_feed import ChangeFeed, SqliteChangeFeed, open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.epoch import Stamp, Stamps
from hilum.foundation.infra.facts import Facts, Since
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import Part, TenantId
from hilum.foundation.kernel.ports import Clock
from hilum.gateway.enforcement import snapshot as snapshots
from hilum.gateway.enforcement.models import QUOTA_LAG, STALENESS_BOUND
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from hilum.identity.people import service as identity
from hilum.identity.people.models import IDENTITY, Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import POLICIES
from hilum.server import platform
from tests.sim.world import FakeClock

T = TypeVar("T")
TRACE = Trace("req_test")
ORDER = EngageOrder(Target(TargetKind.PLATFORM), Mode.FULL_STOP, "a drill")


def run(uow: UnitOfWork, verb: Callable[[Context], T]) -> T:
    return uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def reader(uow: UnitOfWork) -> Any:
    return lambda verb: uow.read_now(verb, actor=SYSTEM, trace=TRACE)


def noting(notes: list[Any], note: object) -> Any:
    """Note what a reader was asked for; nothing is returned, so that ``or`` goes on to the answer."""
    notes.append(note)


def is_current(keeper: SnapshotKeeper) -> bool:
    return keeper.current() is not None


def wait_for(what: Callable[[], bool]) -> bool:
    """Wait for something to become true, for longer than a busy machine holds it up."""
    ends = time.monotonic() + 60
    while not what():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


class Ear:
    """A signal that the test moves."""

    def __init__(self) -> None:
        self.heard, self.away, self.closed = True, False, False
        self.breaks, self.stamps = 0, Stamps()

    def changed(self, wait_s: float) -> bool:
        if self.away:
            raise Unavailable("database_unavailable", "Away.")
        heard, self.heard = self.heard, False
        return heard

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def keeper(uow: UnitOfWork, ear: Ear, clock: FakeClock) -> Iterator[SnapshotKeeper]:
    made = SnapshotKeeper(reader(uow), ear, clock)
    yield made
    made.stop()
    assert ear.closed


def test_before_the_first_load_there_is_no_snapshot(keeper: SnapshotKeeper) -> None:
    assert keeper.current() is None


def test_a_change_is_taken_in_whole(uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear) -> None:
    keeper.step(0)
    before = keeper.current()
    run(uow, lambda ctx: controls.engage(ctx, ORDER))
    ear.heard = True
    keeper.step(0)
    after = keeper.current()

    assert before is not None
    assert after is not None
    assert not before.controls.switches.kinds
    assert after.controls.switches.kinds == {TargetKind.PLATFORM}
    assert after.epoch == before.epoch + 1


def test_only_parts_that_moved_are_read_again(
    uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security decision 7."""
    keeper.step(0)
    read: list[Part] = []

    def counted(part: Part, facts: Facts[Any]) -> Facts[Any]:
        return replace(facts, read=lambda ctx, since: noting(read, part) or facts(ctx, since))

    monkeypatch.setattr(
        snapshots, "_FACTS", {part: counted(part, facts) for part, facts in snapshots._FACTS.items()}
    )
    there = UpstreamRef(UpstreamKind.EMBEDDED)
    run(uow, lambda ctx: identity.add_tenant(ctx, Tenant(TenantId("general"), "General", there)))
    ear.heard = True
    keeper.step(0)
    ear.heard = True
    keeper.step(0)

    assert read == [IDENTITY]


def test_unheard_for_two_seconds_there_is_no_snapshot(
    keeper: SnapshotKeeper, ear: Ear, clock: FakeClock
) -> None:
    """C141: fail closed; and it comes back by itself."""
    keeper.step(0)
    ear.away = True
    clock.advance(STALENESS_BOUND)
    keeper.step(0)
    assert keeper.current() is not None
    clock.advance(timedelta(milliseconds=1))
    keeper.step(0)
    assert keeper.current() is None

    ear.away = False
    keeper.step(0)

    assert keeper.current() is not None


def test_a_confirmation_that_nothing_changed_keeps_it_young(keeper: SnapshotKeeper, clock: FakeClock) -> None:
    keeper.step(0)
    first = keeper.current()
    for _ in range(5):
        clock.advance(timedelta(seconds=1.5))
        keeper.step(0)

    assert keeper.current() is first


def test_missed_changes_are_read_even_if_no_notification_arrived(
    uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear
) -> None:
    keeper.step(0)
    ear.away = True
    keeper.step(0)
    run(uow, lambda ctx: controls.engage(ctx, ORDER))
    ear.away, ear.heard = False, False
    keeper.step(0)

    found = keeper.current()
    assert found is not None
    assert found.controls.switches.kinds


def test_each_process_confirms_a_switch_and_how_long_it_took(uow: UnitOfWork) -> None:
    """C139: commit to this worker, measured each time; on both databases."""
    told: list[tuple[str, timedelta]] = []

    def note(switch: Switch, took: timedelta) -> None:
        told.append((switch.id, took))

    keepers = [
        SnapshotKeeper(reader(uow), open_change_feed(uow.db), SystemClock(), on_stop=note) for _ in range(2)
    ]
    for each in keepers:
        each.start()
    try:
        assert wait_for(lambda: all(each.current() is not None for each in keepers))
        switch = run(uow, lambda ctx: controls.engage(ctx, ORDER))

        assert wait_for(lambda: len(told) == len(keepers))
        assert {id_ for id_, _ in told} == {switch.id}
        for each in keepers:
            assert wait_for(partial(is_current, each))
            assert each._parts[SWITCHES].value.kinds == {TargetKind.PLATFORM}
    finally:
        for each in keepers:
            each.stop()


def test_what_was_committed_a_moment_ago_can_be_waited_for(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that was just registered is not refused because a worker does not have it yet."""
    monkeypatch.setattr(snapshots, "NEWER_POLLS", 1_000)  # as long as a busy machine needs
    keeper = SnapshotKeeper(reader(uow), open_change_feed(uow.db), SystemClock())
    keeper.start()
    try:
        for n in range(5):
            added = Tenant(TenantId(f"t{n}"), "Another", UpstreamRef(UpstreamKind.EMBEDDED))
            run(uow, partial(identity.add_tenant, tenant=added))

            found = asyncio.run(keeper.newer(SystemClock().monotonic()))

            assert found is not None
            assert TenantId(f"t{n}") in found.identity.tenants
    finally:
        keeper.stop()


def test_a_worker_that_hears_nothing_is_not_waited_for_without_end(
    keeper: SnapshotKeeper, ear: Ear, clock: FakeClock
) -> None:
    keeper.start()
    ear.away = True
    clock.advance(STALENESS_BOUND + timedelta(seconds=1))

    assert asyncio.run(keeper.newer(clock.monotonic())) is None


def test_nobody_waits_for_a_watch_that_was_never_begun(keeper: SnapshotKeeper, clock: FakeClock) -> None:
    assert asyncio.run(keeper.newer(clock.monotonic())) is None


def test_the_real_ear_hears_commits_of_others_and_nothing_else(uow: UnitOfWork) -> None:
    ear: ChangeFeed = open_change_feed(uow.db)
    try:
        assert ear.changed(0)
        assert not ear.changed(0.01)
        run(uow, lambda ctx: ctx.advance_epoch(TOKENS))
        assert wait_for(lambda: ear.changed(0.05))
        assert not ear.changed(0.01)
    finally:
        ear.close()


def test_an_ear_on_a_database_that_is_not_there_says_so(tmp_path: Any) -> None:
    ear = SqliteChangeFeed(str(tmp_path / "no" / "such" / "file.db"))

    with pytest.raises(Unavailable):
        ear.changed(0)
    ear.close()


def test_a_load_that_breaks_ages_the_snapshot_and_does_not_end_the_watch(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one module's facts must refuse, not serve what is old."""
    keeper = SnapshotKeeper(reader(uow), open_change_feed(uow.db), SystemClock())
    keeper.start()
    try:

        def broken(_ctx: Context, _since: Since) -> Any:
            raise KeyError("a bug")

        whole = dict(snapshots._FACTS)
        monkeypatch.setattr(snapshots, "_FACTS", {**whole, SWITCHES: replace(whole[SWITCHES], read=broken)})
        run(uow, lambda ctx: controls.engage(ctx, ORDER))
        assert wait_for(lambda: keeper.current() is None)
        monkeypatch.setattr(snapshots, "_FACTS", whole)

        assert wait_for(lambda: keeper.current() is not None)
        assert wait_for(lambda: bool(stops_of(keeper)))
    finally:
        keeper.stop()


# --- small urgent facts never wait for large ones ---------------------------------------------------------------------------------


@dataclass
class Slow:
    """A part whose reading takes until the test lets it end."""

    begun: threading.Event
    free: threading.Event


@pytest.fixture
def slow_part(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Part], Slow]]:
    made = Slow(threading.Event(), threading.Event())

    def of(part: Part) -> Slow:
        facts = snapshots._FACTS[part]

        def wait(ctx: Context, since: Since) -> Any:
            made.begun.set()
            assert made.free.wait(60), "nothing else was done meanwhile"
            return facts(ctx, since)

        monkeypatch.setattr(snapshots, "_FACTS", {**snapshots._FACTS, part: replace(facts, read=wait)})
        return made

    yield of
    made.free.set()


@contextmanager
def started(uow: UnitOfWork, clock: Clock | None = None) -> Iterator[SnapshotKeeper]:
    keeper = SnapshotKeeper(reader(uow), open_change_feed(uow.db), clock or SystemClock())
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def anything(uow: UnitOfWork, part: Part) -> None:
    """Change a part without naming what changed, so that it must be read whole."""
    run(uow, lambda ctx: ctx.advance_epoch(part))


def test_a_switch_is_obeyed_while_a_policy_is_parsed(
    uow: UnitOfWork, slow_part: Callable[[Part], Slow]
) -> None:
    """One application is one change, but what it puts in force may be long: it is read apart from the thread that watches."""
    with started(uow) as keeper:
        slow = slow_part(POLICIES)
        run(uow, lambda ctx: ctx.advance_epoch(POLICIES, "application/1"))
        assert slow.begun.wait(60)

        switch = run(uow, lambda ctx: controls.engage(ctx, ORDER))

        assert wait_for(lambda: stops_of(keeper) == {switch.id})
        assert not slow.free.is_set()
        slow.free.set()
        assert wait_for(lambda: keeper._parts[POLICIES].stamp.n == 1)


def stops_of(keeper: SnapshotKeeper) -> set[str]:
    found = keeper.current()
    if found is None:
        return set()
    return {switch.id for switches in found.controls.switches.engaged.values() for switch in switches}


@pytest.mark.parametrize(
    ("part", "after", "serves"),
    [
        (TOKENS, STALENESS_BOUND, True),
        (TOKENS, STALENESS_BOUND + timedelta(seconds=1), False),
        (REGISTRY, STALENESS_BOUND + timedelta(seconds=1), False),
        (IDENTITY, STALENESS_BOUND + timedelta(seconds=1), False),
        (QUOTAS, STALENESS_BOUND + timedelta(seconds=1), True),
        (QUOTAS, STALENESS_BOUND + QUOTA_LAG, True),
        (QUOTAS, STALENESS_BOUND + QUOTA_LAG + timedelta(seconds=1), False),
    ],
)
def test_a_part_that_is_behind_ages_the_snapshot_and_quotas_alone_may_lag(
    uow: UnitOfWork,
    clock: FakeClock,
    slow_part: Callable[[Part], Slow],
    part: Part,
    after: timedelta,
    serves: bool,
) -> None:
    """C141: what was not confirmed within the bound refuses, however young the rest is."""
    with started(uow, clock) as keeper:
        slow = slow_part(part)
        anything(uow, part)
        assert slow.begun.wait(60)
        clock.advance(after)
        confirmed = clock.monotonic()
        assert wait_for(lambda: keeper._parts[SWITCHES].confirmed_at == confirmed), "the switches are young"

        assert (keeper.current() is not None) is serves
        slow.free.set()
        assert wait_for(lambda: keeper.current() is not None)


def test_a_change_that_was_named_is_taken_in_at_once_and_not_read_whole(
    uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.step(0)
    asked: list[Since] = []
    facts = snapshots._FACTS[SWITCHES]
    monkeypatch.setattr(
        snapshots,
        "_FACTS",
        {
            **snapshots._FACTS,
            SWITCHES: replace(facts, read=lambda ctx, since: noting(asked, since) or facts(ctx, since)),
        },
    )
    for n in range(3):
        run(
            uow,
            partial(
                controls.engage, order=EngageOrder(Target(TargetKind.APP, f"app_{n}"), Mode.FULL_STOP, "x")
            ),
        )
    ear.heard = True
    keeper.step(0)

    assert [since.named() for since in asked] == [["app:app_0", "app:app_1", "app:app_2"]]
    assert len(stops_of(keeper)) == 3


def test_after_the_connection_was_lost_everything_is_read_again(
    uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answers then may be another copy."""
    keeper.step(0)
    read: list[tuple[Part, bool]] = []

    def counted(part: Part, facts: Callable[[Context, Since], Any]) -> Callable[[Context, Since], Any]:
        return lambda ctx, since: noting(read, (part, since.changes is None)) or facts(ctx, since)

    monkeypatch.setattr(
        snapshots, "_FACTS", {part: counted(part, facts) for part, facts in snapshots._FACTS.items()}
    )
    ear.breaks += 1
    keeper.step(0)

    assert read == [(part, True) for part in snapshots._FACTS]
    ear.heard = True
    keeper.step(0)
    assert len(read) == len(snapshots._FACTS)


def test_a_database_that_went_back_is_another_copy(uow: UnitOfWork, ear: Ear, clock: FakeClock) -> None:
    """A watch that leads to one server and reads that lead to another confirm nothing."""
    let_go: list[bool] = []
    keeper = SnapshotKeeper(reader(uow), ear, clock, on_other_copy=lambda: let_go.append(True))
    run(uow, lambda ctx: controls.engage(ctx, ORDER))
    keeper.step(0)
    seen = keeper._seen[SWITCHES]
    try:
        ear.stamps = Stamps({SWITCHES: Stamp(seen.n + 1, 5)})
        ear.heard = True
        keeper.step(0)
        assert let_go == [True], "what is read is behind what is watched"
        clock.advance(STALENESS_BOUND + timedelta(seconds=1))
        keeper.step(0)
        assert keeper.current() is None

        ear.stamps = Stamps({SWITCHES: seen})
        keeper.step(0)
        assert keeper.current() is not None
        ear.stamps = Stamps({SWITCHES: Stamp(seen.n, seen.mark + 1)})
        keeper.step(0)
        assert len(let_go) > 2
    finally:
        keeper.stop()


def test_the_number_of_a_snapshot_never_comes_twice(
    uow: UnitOfWork, keeper: SnapshotKeeper, ear: Ear
) -> None:
    """Whoever decided by one compares it with the next."""
    numbers = []
    for n in range(6):
        if n % 2:
            run(uow, lambda ctx: ctx.advance_epoch(TOKENS, "family/x"))
            ear.heard = True
        else:
            ear.breaks += 1
        keeper.step(0)
        found = keeper.current()
        assert found is not None
        numbers.append(found.epoch)

    assert numbers == sorted(set(numbers))


@contextmanager
def as_served(uow: UnitOfWork) -> Iterator[SnapshotKeeper]:
    """The keeper as a web worker has it: the watch has one connection."""
    keeper = platform._keeper(uow, "node")
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


@pytest.mark.parametrize("part", [QUOTAS, REGISTRY, TOKENS, POLICIES])
@pytest.mark.parametrize("serving", [started, as_served])
def test_a_switch_is_obeyed_while_another_part_takes_long_to_read(
    uow: UnitOfWork,
    part: Part,
    serving: Callable[[UnitOfWork], AbstractContextManager[SnapshotKeeper]],
    slow_part: Callable[[Part], Slow],
) -> None:
    """C141: a million quotas took seconds to read, and a switch waited. A worker's load holds a connection that its watch does not need."""
    with serving(uow) as keeper:
        slow = slow_part(part)
        anything(uow, part)
        assert slow.begun.wait(60)

        switch = run(uow, lambda ctx: controls.engage(ctx, ORDER))

        assert wait_for(lambda: stops_of(keeper) == {switch.id})
        assert not slow.free.is_set()
        slow.free.set()
        assert wait_for(lambda: keeper._parts[part].stamp.n == 1)
        assert wait_for(lambda: stops_of(keeper) == {switch.id})


@pytest.mark.parametrize("uow", ["postgresql"], indirect=True)
def test_a_part_that_takes_longer_than_the_watch_may_still_loads(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes.BOUNDS, Lane.WATCH, replace(lanes.BOUNDS[Lane.WATCH], statement_s=0.3))
    facts = snapshots._FACTS[TOKENS]

    def long(ctx: Context, since: Since) -> Any:
        ctx.tx.exec_driver_sql("SELECT pg_sleep(0.8)")
        return facts(ctx, since)

    monkeypatch.setattr(snapshots, "_FACTS", {**snapshots._FACTS, TOKENS: replace(facts, read=long)})
    with as_served(uow) as keeper:
        assert wait_for(partial(is_current, keeper)), "at start"
        anything(uow, TOKENS)
        assert wait_for(lambda: keeper._parts[TOKENS].stamp.n == 1), "and later"


def test_a_load_that_fails_is_tried_again_with_growing_pauses(
    uow: UnitOfWork, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, tried = snapshots._FACTS[TOKENS], []

    def fails(ctx: Context, since: Since) -> Any:
        tried.append(clock.monotonic())
        raise Unavailable("database_unavailable", "Away.")

    with started(uow, clock) as keeper:
        monkeypatch.setattr(snapshots, "_FACTS", {**snapshots._FACTS, TOKENS: replace(facts, read=fails)})
        anything(uow, TOKENS)

        def has_tried(times: int) -> bool:
            return len(tried) == times and not keeper._loading

        for n, pause in enumerate((0.1, 0.2, 0.4, 0.8), start=1):
            assert wait_for(partial(has_tried, n))
            assert not any(keeper._is_behind() for _ in range(3)), "nothing is asked for during the pause"
            clock.advance(timedelta(seconds=pause + 0.01))
        monkeypatch.setattr(snapshots, "_FACTS", {**snapshots._FACTS, TOKENS: facts})
        wait_for(lambda: not keeper._loading)
        clock.advance(timedelta(seconds=5))
        assert wait_for(lambda: keeper._parts[TOKENS].stamp.n == 1)
