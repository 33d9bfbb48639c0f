"""Nodes and leases by the database's clock: who is there, and who does what only one may do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from hilum.foundation.infra import nodes, schema_gate
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.heartbeat import Heartbeat
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.nodes import LIVE_FOR, Node
from hilum.foundation.infra.schema_gate import SchemaState
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.times import EPOCH
from hilum.server.schedule import RENEWED_AFTER, Job, JobLease, Schedule
from tests.sim.world import FakeClock

LIFE = timedelta(seconds=15)
TRACE = Trace("req_test")


def report(uow: UnitOfWork, name: str, workers: int = 2, **more: Any) -> None:
    uow.db.write(lambda tx: nodes.report(tx, Node(name, workers, release(), f"boot-{name}", **more)))


def forget_for(uow: UnitOfWork, name: str, silence: timedelta) -> None:
    """Let a node not have reported for so long."""

    def age(tx: Connection) -> None:
        seen = nodes.database_now(tx) - silence
        tx.execute(update(nodes.node).where(nodes.node.c.name == name).values(seen_at=seen))

    uow.db.write(age)


def let_expire(uow: UnitOfWork, name: str) -> None:
    uow.db.write(
        lambda tx: tx.execute(update(nodes.lease).where(nodes.lease.c.name == name).values(expires_at=EPOCH))
    )


def test_a_node_counts_while_it_reports_and_no_longer(uow: UnitOfWork) -> None:
    report(uow, "a")
    report(uow, "b")
    assert uow.db.read(nodes.count_live) == 2

    forget_for(uow, "b", LIVE_FOR + timedelta(seconds=1))

    assert uow.db.read(nodes.count_live) == 1
    assert [each.name for each in uow.db.read(nodes.list_nodes) if not each.live] == ["b"]
    report(uow, "b")
    assert uow.db.read(nodes.count_live) == 2


def test_a_node_that_leaves_is_gone_at_once_but_not_by_the_hand_of_its_former_life(uow: UnitOfWork) -> None:
    report(uow, "a")
    uow.db.write(lambda tx: nodes.leave(tx, "a", "boot-of-before"))
    assert uow.db.read(nodes.count_live) == 1

    uow.db.write(lambda tx: nodes.leave(tx, "a", "boot-a"))

    assert uow.db.read(nodes.list_nodes) == []


def test_a_process_that_still_stops_does_not_list_its_node_again(uow: UnitOfWork, clock: FakeClock) -> None:
    """A restore refuses while a node is listed: the beat of a worker after the node had left held it up for 20 s."""
    mine = Node("a", 2, release(), "boot-a")
    jobs = Heartbeat(uow.db, clock, mine, leads=True)
    worker, restarted = Heartbeat(uow.db, clock, mine), Heartbeat(uow.db, clock, replace(mine, boot="boot-2"))
    jobs.beat()
    jobs.stop(leave=True)

    worker.beat()
    assert uow.db.read(nodes.list_nodes) == []

    restarted.beat()
    assert [each.boot for each in uow.db.read(nodes.list_nodes)] == ["boot-2"]


def test_a_part_that_alone_is_started_again_lists_its_node_again(uow: UnitOfWork, clock: FakeClock) -> None:
    for _ in range(2):
        jobs = Heartbeat(uow.db, clock, Node("a", 2, release(), "boot-a"), leads=True)
        jobs.beat()
        assert uow.db.read(nodes.count_live) == 1
        jobs.stop(leave=True)
        assert uow.db.read(nodes.count_live) == 0


def test_nodes_long_gone_are_listed_no_more(uow: UnitOfWork) -> None:
    report(uow, "a")
    forget_for(uow, "a", timedelta(hours=2))
    report(uow, "b")

    assert [each.name for each in uow.db.read(nodes.list_nodes)] == ["b"]


def test_a_process_learns_of_every_worker_and_keeps_what_it_knew_while_the_database_is_away(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotas are divided by the workers that are there; not knowing never makes the share larger."""
    mine = Heartbeat(uow.db, SystemClock(), Node("a", 2, release(), "boot"), leads=True)
    assert (mine.state.nodes, mine.state.workers) == (1, 2)
    report(uow, "b", workers=4)

    learned = mine.beat()

    assert (learned.nodes, learned.workers, learned.alone) == (2, 6, False)
    assert abs(mine.node.skew) < timedelta(seconds=5)
    uow.db.dispose()
    monkeypatch.setattr(uow.db, "read", lambda _work: (_ for _ in ()).throw(Conflict("away", "")))
    with pytest.raises(Conflict):
        mine.beat()
    assert mine.state == learned


def test_only_the_leading_process_writes_at_every_beat(uow: UnitOfWork) -> None:
    """The others write when nobody did for a while."""
    leading = Heartbeat(uow.db, SystemClock(), Node("a", 2, release(), "boot-jobs"), leads=True)
    other = Heartbeat(uow.db, SystemClock(), Node("a", 2, release(), "boot-web"))
    leading.beat()
    other.beat()
    assert [each.boot for each in uow.db.read(nodes.list_nodes)] == ["boot-jobs"]

    forget_for(uow, "a", timedelta(seconds=12))
    other.beat()

    assert [each.boot for each in uow.db.read(nodes.list_nodes)] == ["boot-web"]


def test_a_clock_that_is_ahead_is_measured(uow: UnitOfWork, clock: FakeClock) -> None:
    ahead = uow.db.read(nodes.database_now) + timedelta(minutes=5)
    beating = Heartbeat(uow.db, FakeClock(ahead), Node("a", 1, release(), "boot"), leads=True)

    beating.beat()

    found = uow.db.read(nodes.list_nodes)[0]
    assert timedelta(minutes=4) < found.skew < timedelta(minutes=6)


def test_a_lease_is_held_by_one_and_goes_to_the_next_with_a_higher_fence(uow: UnitOfWork) -> None:
    first = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "a/1", LIFE))
    assert first is not None
    assert uow.db.write(lambda tx: nodes.acquire(tx, "purge", "b/1", LIFE)) is None
    again = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "a/1", LIFE))
    assert again is not None
    assert again.fence == first.fence
    assert again.expires_at >= first.expires_at

    let_expire(uow, "purge")
    taken = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "b/1", LIFE))

    assert taken is not None
    assert taken.fence > first.fence
    with pytest.raises(Conflict, match="lease_lost"):
        uow.db.write(lambda tx: nodes.require(tx, first))
    uow.db.write(lambda tx: nodes.require(tx, taken))


def test_a_lease_that_its_own_holder_let_run_out_has_a_new_fence_too(uow: UnitOfWork) -> None:
    """Somebody else may have held it in between and be gone."""
    first = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "a/1", LIFE))
    let_expire(uow, "purge")
    second = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "a/1", LIFE))

    assert first is not None
    assert second is not None
    assert second.fence == first.fence + 1


def test_a_released_lease_is_free_at_once_and_another_may_not_release_it(uow: UnitOfWork) -> None:
    held = uow.db.write(lambda tx: nodes.acquire(tx, "purge", "a/1", LIFE))
    assert held is not None
    foreign = nodes.Lease(held.name, "b/1", held.fence, held.expires_at)
    uow.db.write(lambda tx: nodes.release(tx, foreign))
    assert uow.db.write(lambda tx: nodes.acquire(tx, "purge", "b/1", LIFE)) is None

    uow.db.write(lambda tx: nodes.release(tx, held))

    assert uow.db.write(lambda tx: nodes.acquire(tx, "purge", "b/1", LIFE)) is not None


def test_of_many_who_ask_at_once_one_gets_the_lease(uow: UnitOfWork) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(
                uow.db.write, lambda tx, each=each: nodes.acquire(tx, "checkpoint", f"n{each}/1", LIFE)
            )
            for each in range(6)
        ]
        got = [each.result() for each in asked]

    assert len([each for each in got if each is not None]) == 1


def test_work_under_a_lost_lease_leaves_nothing_behind(uow: UnitOfWork) -> None:
    """A node that slept through its lease wakes, and what it writes is rolled back."""
    slow, quick = (JobLease(uow, "purge", holder, threading.Event()) for holder in ("a/1", "b/1"))
    assert slow.take()
    let_expire(uow, "purge")
    assert quick.take()

    def work(ctx: Context) -> None:
        nodes.report(ctx.tx, Node("written-by-the-slow", 1, release(), "boot"))

    with pytest.raises(Conflict, match="lease_lost"):
        slow.write(work)

    assert uow.db.read(nodes.list_nodes) == []
    assert slow.lease is None
    quick.write(work)
    assert len(uow.db.read(nodes.list_nodes)) == 1


def test_a_job_runs_on_one_node_and_continues_at_the_other_when_that_one_stops(uow: UnitOfWork) -> None:
    """C184: the lease is released at a stop, so nobody waits for it to run out."""
    ran: list[str] = []
    done = {"a": threading.Event(), "b": threading.Event()}

    def job(name: str) -> Job:
        def run(_held: JobLease) -> None:
            ran.append(name)
            done[name].set()

        return Job("count", timedelta(milliseconds=20), run)

    ticking = replace(uow, clock=SystemClock())
    first, second = Schedule(ticking, "a/1"), Schedule(ticking, "b/1")
    first.start(job("a"))
    assert done["a"].wait(10)
    second.start(job("b"))
    first.end(10)
    before = len(ran)
    assert set(ran[:before]) == {"a"}
    assert done["b"].wait(10)
    second.end(10)
    assert set(ran[before:]) == {"b"}


def test_a_lease_is_renewed_once_a_third_of_its_life_is_over_and_not_at_every_step(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    held = JobLease(uow, "purge", "a/1", threading.Event())
    assert held.take()
    first = held.lease
    assert first is not None

    assert held.take()
    assert held.lease is first
    clock.advance(RENEWED_AFTER)
    assert held.take()

    assert held.lease is not None
    assert held.lease.fence == first.fence
    assert held.lease.expires_at > first.expires_at


def test_the_lease_of_a_job_outlives_the_pause_before_its_next_run(uow: UnitOfWork) -> None:
    """C184: another node would otherwise take the job in every pause, and it would run once a period on each."""
    ran = threading.Event()
    schedule = Schedule(uow, "a/1")
    schedule.start(Job("count", timedelta(hours=1), lambda _held: ran.set()))
    assert ran.wait(10)

    left = uow.db.read(lambda tx: nodes.list_leases(tx)[0].expires_at - nodes.database_now(tx))
    schedule.end(10)

    assert left > timedelta(hours=1)


def test_a_job_that_is_to_stop_begins_no_further_step(uow: UnitOfWork) -> None:
    stop, steps = threading.Event(), list[str]()
    held = JobLease(uow, "purge", "a/1", stop)

    def step(_ctx: Context, after: str = "") -> str:
        steps.append(after)
        stop.set()
        return "more" if len(steps) < 9 else ""

    held.repeat(step)
    held.walk(step)

    assert steps == ["", ""]


def test_a_job_that_keeps_failing_shows_by_its_age(uow: UnitOfWork, clock: FakeClock) -> None:
    """Operators are alarmed by when it last succeeded, not by when it last ran."""
    later = clock.monotonic() + 3_600
    failed, succeeded = threading.Semaphore(0), threading.Semaphore(0)

    def run(ran: threading.Semaphore) -> None:
        if clock.monotonic() == later:
            ran.release()

    def breaks(_held: JobLease) -> None:
        run(failed)
        raise ZeroDivisionError

    schedule = Schedule(uow, "a/1")
    often = timedelta(milliseconds=10)
    schedule.start(Job("breaks", often, breaks), Job("well", often, lambda _held: run(succeeded)))
    clock.advance(timedelta(hours=1))
    # The second run begins after the outcome of the first was noted.
    for each in (failed, failed, succeeded, succeeded):
        assert each.acquire(timeout=10)

    assert (schedule.age_s("breaks"), schedule.age_s("well")) == (3_600, 0)
    schedule.end(10)


def test_a_job_that_breaks_is_tried_again_and_ends_no_other(uow: UnitOfWork) -> None:
    tries, others = [], threading.Event()
    both = threading.Event()

    def breaks(_held: JobLease) -> None:
        tries.append(1)
        if len(tries) > 2:
            both.set()
        raise ZeroDivisionError

    schedule = Schedule(uow, "a/1")
    schedule.start(
        Job("breaks", timedelta(milliseconds=10), breaks),
        Job("well", timedelta(milliseconds=10), lambda _held: others.set()),
    )
    assert both.wait(10)
    assert others.wait(10)
    schedule.end(10)


def test_nothing_runs_while_the_schema_gate_is_closed(uow: UnitOfWork) -> None:
    ran: list[int] = []
    schedule = Schedule(uow, "a/1", may_run=lambda: False)
    job = Job("count", timedelta(milliseconds=5), lambda _held: ran.append(1))
    held = JobLease(uow, job.name, "a/1", schedule.stop)
    schedule.start(job)
    schedule.stop.wait(0.1)
    schedule.end(10)

    assert held.lease is None
    assert ran == []


NUMBERS = st.integers(1, 9_999).map("{:04}".format)


@given(NUMBERS, st.just("") | NUMBERS, st.just("") | NUMBERS)
def test_a_release_serves_only_a_database_that_is_its_own_or_says_that_it_works_with_it(
    code: str, revision: str, compatible_from: str
) -> None:
    """Unknown is no: a newer database that says nothing is closed, an older or empty one always."""
    found = schema_gate.judge(code, revision, compatible_from)

    if not revision or revision < code or compatible_from > code or (revision > code and not compatible_from):
        assert not found.opens
        assert "`hilum migrate`" in found.fault or "newer release" in found.fault
    else:
        assert found.opens
        assert found.fault == ""


@pytest.mark.parametrize(
    ("revision", "compatible_from", "state", "message"),
    [
        ("", "", SchemaState.EMPTY, "Run `hilum migrate`"),
        ("0003", "", SchemaState.OLDER, "at migration 0003 and this release needs 0005"),
        ("0005", "0004", SchemaState.CURRENT, ""),
        ("0005", "0006", SchemaState.CLOSED, "works with releases from 0006 on"),
        ("0007", "0005", SchemaState.NEWER, ""),
        ("0007", "0006", SchemaState.CLOSED, "this release ends at 0005"),
        ("0007", "", SchemaState.CLOSED, "Install a newer release"),
    ],
)
def test_what_a_release_0005_says_of_a_database(
    revision: str, compatible_from: str, state: SchemaState, message: str
) -> None:
    found = schema_gate.judge("0005", revision, compatible_from)

    assert found.state is state
    assert message in found.fault


def test_what_works_with_a_database_is_what_the_most_demanding_of_its_migrations_says() -> None:
    declared = {"0001": "0001", "0002": "0002", "0003": "0002", "0004": "0004"}

    assert schema_gate.oldest_compatible(declared, "0003") == "0002"
    assert schema_gate.oldest_compatible(declared, "0004") == "0004"
    assert schema_gate.oldest_compatible(declared, "") == ""


def test_a_node_that_meets_a_closed_gate_reports_it_and_opens_again_with_it(uow: UnitOfWork) -> None:
    """An old node stops serving when the database is about to leave it behind."""
    beating = Heartbeat(uow.db, SystemClock(), Node("a", 1, release(), "boot"))
    beating.beat()
    uow.db.write(lambda tx: schema_gate.write(tx, "9999"))

    closed = beating.beat()

    assert not closed.gate.opens
    assert uow.db.read(nodes.list_nodes)[0].closed == "closed"
    uow.write_now(lambda ctx: schema_gate.write(ctx.tx, "0001"), actor=SYSTEM, trace=TRACE)
    assert beating.beat().gate.opens
    assert uow.db.read(nodes.list_nodes)[0].closed == ""
