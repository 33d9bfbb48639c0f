"""The snapshot hears every commit within milliseconds, reloads only what changed, and ages when it hears nothing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from hilum.controls import service as controls
from hilum.controls.models import SWITCHES, EngageOrder, Mode, Switch, Target, TargetKind
from hilum.gateway import snapshot as snapshots
from hilum.gateway.models import STALENESS_BOUND
from hilum.gateway.snapshot import SnapshotKeeper
from hilum.identity import service as identity
from hilum.identity.models import IDENTITY, Tenant, UpstreamKind, UpstreamRef
from hilum.infra.context import Context, Trace
from hilum.infra.edge import Edge
from hilum.infra.epoch import Stamps
from hilum.infra.facts import Since
from hilum.infra.signals import Signal, SqliteSignal, signal_of
from hilum.infra.system import SystemClock
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import Part, TenantId
from hilum.tokens.models import TOKENS
from tests.sim.world import FakeClock

T = TypeVar("T")
TRACE = Trace("req_test")
ORDER = EngageOrder(Target(TargetKind.PLATFORM), Mode.FULL_STOP, "a drill")


def run(edge: Edge, verb: Callable[[Context], T]) -> T:
    return edge.write_now(verb, actor=SYSTEM, trace=TRACE)


def reader(edge: Edge) -> Any:
    return lambda verb: edge.read_now(verb, actor=SYSTEM, trace=TRACE)


def wait_for(what: Callable[[], bool]) -> bool:
    """Wait, at most five seconds, for something to become true."""
    for _ in range(1_000):
        if what():
            return True
        threading.Event().wait(0.005)
    return False


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
def keeper(edge: Edge, ear: Ear, clock: FakeClock) -> Iterator[SnapshotKeeper]:
    made = SnapshotKeeper(reader(edge), ear, clock)
    yield made
    made.stop()
    assert ear.closed


def test_before_the_first_load_there_is_no_snapshot(keeper: SnapshotKeeper) -> None:
    assert keeper.current() is None


def test_a_change_is_taken_in_whole(edge: Edge, keeper: SnapshotKeeper, ear: Ear) -> None:
    keeper.step(0)
    before = keeper.current()
    run(edge, lambda ctx: controls.engage(ctx, ORDER))
    ear.heard = True
    keeper.step(0)
    after = keeper.current()

    assert before is not None
    assert after is not None
    assert not before.controls.switches.kinds
    assert after.controls.switches.kinds == {TargetKind.PLATFORM}
    assert after.epoch == before.epoch + 1


def test_only_parts_that_moved_are_read_again(
    edge: Edge, keeper: SnapshotKeeper, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security decision 7."""
    keeper.step(0)
    read: list[Part] = []

    def counted(part: Part, facts: Callable[[Context, Since], Any]) -> Callable[[Context, Since], Any]:
        return lambda ctx, since: (read.append(part), facts(ctx, since))[1]

    monkeypatch.setattr(
        snapshots, "_FACTS", {part: counted(part, facts) for part, facts in snapshots._FACTS.items()}
    )
    there = UpstreamRef(UpstreamKind.EMBEDDED)
    run(edge, lambda ctx: identity.add_tenant(ctx, Tenant(TenantId("general"), "General", there)))
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


def test_what_was_missed_while_away_is_read_though_the_ear_heard_nothing(
    edge: Edge, keeper: SnapshotKeeper, ear: Ear
) -> None:
    keeper.step(0)
    ear.away = True
    keeper.step(0)
    run(edge, lambda ctx: controls.engage(ctx, ORDER))
    ear.away, ear.heard = False, False
    keeper.step(0)

    found = keeper.current()
    assert found is not None
    assert found.controls.switches.kinds


def test_each_process_hears_a_switch_and_tells_how_long_it_took(edge: Edge) -> None:
    """C139: commit to this worker, measured each time; on both databases."""
    told: list[tuple[str, timedelta]] = []
    ready = threading.Event()

    def note(switch: Switch, took: timedelta) -> None:
        told.append((switch.id, took))
        ready.set()

    keepers = [
        SnapshotKeeper(reader(edge), signal_of(edge.db), SystemClock(), on_stop=note) for _ in range(2)
    ]
    for each in keepers:
        each.start()
    try:
        assert all(each.current() is not None for each in keepers)
        switch = run(edge, lambda ctx: controls.engage(ctx, ORDER))

        heard = wait_for(lambda: len(told) == len(keepers))

        assert heard
        assert {id_ for id_, _ in told} == {switch.id}
        for each in keepers:
            current = each.current()
            assert current is not None
            assert current.controls.switches.kinds == {TargetKind.PLATFORM}
    finally:
        for each in keepers:
            each.stop()


def test_what_was_committed_a_moment_ago_can_be_waited_for(edge: Edge) -> None:
    """An app that was just registered is not refused because a worker has yet to hear of it."""
    keeper = SnapshotKeeper(reader(edge), signal_of(edge.db), SystemClock())
    keeper.start()
    try:
        for n in range(5):
            added = Tenant(TenantId(f"t{n}"), "Another", UpstreamRef(UpstreamKind.EMBEDDED))
            run(edge, lambda ctx, added=added: identity.add_tenant(ctx, added))

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


def test_the_real_ear_hears_commits_of_others_and_nothing_else(edge: Edge) -> None:
    ear: Signal = signal_of(edge.db)
    try:
        assert ear.changed(0)
        assert not ear.changed(0.01)
        run(edge, lambda ctx: ctx.advance_epoch(TOKENS))
        assert ear.changed(1.0)
        assert not ear.changed(0.01)
    finally:
        ear.close()


def test_an_ear_on_a_database_that_is_not_there_says_so(tmp_path: Any) -> None:
    ear = SqliteSignal(str(tmp_path / "no" / "such" / "file.db"))

    with pytest.raises(Unavailable):
        ear.changed(0)
    ear.close()


def test_a_load_that_breaks_ages_the_snapshot_and_does_not_end_the_watch(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in one room's facts must refuse, not serve what is old."""
    keeper = SnapshotKeeper(reader(edge), signal_of(edge.db), SystemClock())
    keeper.start()
    try:

        def broken(_ctx: Context, _since: Since) -> Any:
            raise KeyError("a bug")

        whole = dict(snapshots._FACTS)
        monkeypatch.setattr(snapshots, "_FACTS", {**whole, SWITCHES: broken})
        run(edge, lambda ctx: controls.engage(ctx, ORDER))
        assert wait_for(lambda: keeper.current() is None)
        monkeypatch.setattr(snapshots, "_FACTS", whole)

        assert wait_for(lambda: keeper.current() is not None)
        found = keeper.current()
        assert found is not None
        assert found.controls.switches.kinds
    finally:
        keeper.stop()
