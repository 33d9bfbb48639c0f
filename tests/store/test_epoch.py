"""What changed of each part, in the order of commit and without a gap, on each database (security decisions 7 and 27)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.epoch import CHANGES_BOUND, CHANGES_KEPT, KEYS_BOUND, Stamp, Stamps
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import Part
from tests.effort import effort
from tests.sim.world import FakeClock

TRACE = Trace("req_test")
ONE, TWO = Part("one"), Part("two")


def change(uow: UnitOfWork, *keys: str, part: Part = ONE) -> None:
    uow.write_now(lambda ctx: ctx.advance_epoch(part, *keys), trace=TRACE)


def stamp(uow: UnitOfWork, part: Part = ONE) -> Stamp:
    return uow.read_now(lambda ctx: epoch.read(ctx.tx)[part], trace=TRACE)


def since(uow: UnitOfWork, before: Stamp, part: Part = ONE) -> list[str] | None:
    def verb(ctx: Context) -> list[str] | None:
        epoch.use_repeatable_read(ctx.tx)
        found = epoch.changes(ctx.tx, part, before, epoch.read(ctx.tx)[part])
        return None if found is None else [each.key for each in found]

    return uow.read_now(verb, trace=TRACE)


def test_what_changed_since_is_named_in_order_and_once_a_change(uow: UnitOfWork) -> None:
    change(uow, "a")
    before = stamp(uow)
    change(uow, "b", "c", "b")
    change(uow, "other", part=TWO)
    change(uow, "a")

    assert since(uow, before) == ["b", "c", "a"]
    assert since(uow, Stamp()) == ["a", "b", "c", "a"]
    assert since(uow, stamp(uow)) is None, "nothing to say is not the same as nothing changed"


def test_every_change_bears_another_mark(uow: UnitOfWork) -> None:
    marks = set()
    for _ in range(20):
        change(uow, "a")
        marks.add(stamp(uow).mark)

    assert len(marks) == 20


@pytest.mark.parametrize(
    "keys", [(), tuple(f"k{n}" for n in range(KEYS_BOUND + 1))], ids=["none", "too many"]
)
def test_a_change_that_does_not_name_what_it_changed_makes_everything_be_read(
    uow: UnitOfWork, keys: tuple[str, ...]
) -> None:
    change(uow, "a")
    before = stamp(uow)
    change(uow, "b")
    change(uow, *keys)

    assert since(uow, before) is None
    assert since(uow, stamp(uow)) is None


def test_a_verb_that_names_one_change_and_not_the_next_named_nothing(uow: UnitOfWork) -> None:
    before = stamp(uow)

    def verb(ctx: Context) -> None:
        ctx.advance_epoch(ONE, "a")
        ctx.advance_epoch(ONE)

    uow.write_now(verb, trace=TRACE)

    assert stamp(uow).n == 1
    assert since(uow, before) is None


def test_a_stamp_of_another_copy_gets_no_delta(uow: UnitOfWork) -> None:
    """The counts agree, the marks do not."""
    change(uow, "a")
    mine = stamp(uow)
    change(uow, "b")

    assert since(uow, Stamp(mine.n, mine.mark + 1)) is None
    assert since(uow, Stamp(mine.n + 1, mine.mark)) is None
    assert since(uow, Stamp(mine.n + 7, mine.mark)) is None


def test_a_gap_among_the_changes_makes_everything_be_read(uow: UnitOfWork) -> None:
    """Old changes are forgotten by their time, which need not be in their order."""
    before = stamp(uow)
    for key in "abcd":
        change(uow, key)
    uow.write_now(lambda ctx: ctx.tx.execute(text("DELETE FROM fact_change WHERE n = 3")), trace=TRACE)

    assert since(uow, before) is None


def test_who_missed_too_many_reads_everything(uow: UnitOfWork) -> None:
    change(uow, "a")
    before = stamp(uow)
    uow.write_now(
        lambda ctx: ctx.tx.execute(text("UPDATE fact_epoch SET n = n + :far"), {"far": CHANGES_BOUND + 1}),
        trace=TRACE,
    )

    assert since(uow, before) is None


def test_old_changes_are_forgotten_and_the_next_change_is_still_followed(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """A part that was quiet for a day is not read whole because of one change."""
    change(uow, "a")
    before = stamp(uow)
    clock.advance(CHANGES_KEPT + timedelta(seconds=1))
    change(uow, "other", part=TWO)

    gone = uow.write_now(lambda ctx: epoch.purge(ctx.tx, ctx.now), trace=TRACE)
    change(uow, "b")

    assert gone == 1
    assert since(uow, before) == ["b"]
    assert since(uow, Stamp()) is None
    assert uow.write_now(lambda ctx: epoch.purge(ctx.tx, ctx.now), trace=TRACE) == 0


@pytest.mark.parametrize("failure", [ValueError("a bug"), NotPermitted("no", "Because.")])
def test_changes_are_counted_with_the_verb_or_not_at_all(uow: UnitOfWork, failure: Exception) -> None:
    """Security decision 3: a decided refusal commits, a bug does not."""

    def verb(ctx: Context) -> None:
        ctx.advance_epoch(ONE, "a")
        raise failure

    with pytest.raises(type(failure)):
        uow.write_now(verb, trace=TRACE)

    assert stamp(uow).n == (1 if isinstance(failure, NotPermitted) else 0)


@pytest.mark.parametrize("seed", range(effort(1, 10)))
def test_a_reader_that_follows_while_many_write_misses_nothing(uow: UnitOfWork, seed: int) -> None:
    """No change that commits later bears a smaller number: on PostgreSQL the part's row is locked until commit."""
    writers, each = 4, effort(15, 100)
    done = threading.Event()
    seen: list[str] = []

    def write(writer: int) -> None:
        for n in range(each):
            change(uow, *(f"{writer}-{n}-{k}" for k in range(n % 3 + 1)))

    def follow() -> None:
        held = Stamp()
        while True:
            last = done.is_set()

            def verb(ctx: Context, held: Stamp = held) -> tuple[Stamp, Any]:
                epoch.use_repeatable_read(ctx.tx)
                now = epoch.read(ctx.tx)[ONE]
                return now, epoch.changes(ctx.tx, ONE, held, now) if now != held else ()

            held, found = uow.read_now(verb, trace=TRACE)
            assert found is not None, "nothing was purged, so nothing is missing"
            seen.extend(change.key for change in found)
            if last:
                return

    with ThreadPoolExecutor(writers + 1) as pool:
        following = pool.submit(follow)
        for writing in [pool.submit(write, writer) for writer in range(writers)]:
            writing.result()
        done.set()
        following.result()

    expected = [f"{w}-{n}-{k}" for w in range(writers) for n in range(each) for k in range(n % 3 + 1)]
    assert sorted(seen) == sorted(expected)
    assert stamp(uow).n == writers * each


def test_transactions_that_change_the_same_parts_in_opposite_orders_all_succeed(uow: UnitOfWork) -> None:
    """They are counted in one order, so none waits for one that waits for it."""

    def verb(first: Part, second: Part) -> Callable[[Context], None]:
        def both(ctx: Context) -> None:
            ctx.advance_epoch(first, "a")
            ctx.advance_epoch(second, "b")

        return both

    orders = [(ONE, TWO), (TWO, ONE)] * 20
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: uow.write_now(verb(*pair), trace=TRACE), orders))

    assert (stamp(uow, ONE).n, stamp(uow, TWO).n) == (40, 40)


@pytest.fixture
def holding(uow: UnitOfWork) -> Iterator[None]:
    """A transaction that has counted a change of ONE and does not end."""
    held, free = threading.Event(), threading.Event()

    def verb(ctx: Context) -> None:
        epoch.advance(ctx.tx, ONE, ["slow"], now=ctx.now)
        held.set()
        free.wait(20)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(uow.write_now, verb, trace=TRACE)
        assert held.wait(10)
        yield
        free.set()
        waiting.result()


# SQLite has one writer at a time whatever the rows.
@pytest.mark.parametrize("uow", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("holding")
def test_writers_of_different_parts_do_not_wait_for_each_other(uow: UnitOfWork) -> None:
    """No row that all writers wait for."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(change, uow, "quick", part=TWO).result(timeout=5)

    assert stamp(uow, TWO).n == 1
    assert stamp(uow, ONE).n == 0


def test_two_who_make_a_part_first_at_one_moment_are_both_counted(uow: UnitOfWork) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: change(uow, f"k{n}", part=Part(f"new_{n % 4}")), range(32)))

    assert [stamp(uow, Part(f"new_{n}")).n for n in range(4)] == [8] * 4
    assert sorted(since(uow, Stamp(), Part("new_0")) or ()) == sorted(f"k{n}" for n in range(0, 32, 4))


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [
        ({}, {ONE: Stamp(3, 7)}, True),
        ({ONE: Stamp(3, 7)}, {ONE: Stamp(3, 7)}, True),
        ({ONE: Stamp(3, 7)}, {ONE: Stamp(4, 1)}, True),
        ({ONE: Stamp(3, 7)}, {ONE: Stamp(3, 8)}, False),
        ({ONE: Stamp(3, 7)}, {ONE: Stamp(2, 7)}, False),
        ({ONE: Stamp(3, 7)}, {}, False),
        ({ONE: Stamp(3, 7), TWO: Stamp(1, 1)}, {ONE: Stamp(9, 7), TWO: Stamp(1, 2)}, False),
    ],
)
def test_a_database_goes_forward_or_is_another_one(
    before: dict[Part, Stamp], after: dict[Part, Stamp], may: bool
) -> None:
    assert Stamps(after).follows(Stamps(before)) is may
