"""The ground of every store: transactions, instants and the epoch, on each backend."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite

from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.epoch import FactCache, Stamp
from hilum.foundation.infra.prepared_statements import (
    PreparedStatement,
    insert_many,
    prepare_insert,
    prepare_insert_or_ignore,
    prepare_rows_by_values,
)
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import Part

TRACE = Trace("req_test")
CONSENT, REGISTRY, TOKENS = Part("consent"), Part("registry"), Part("tokens")
PARTS = (CONSENT, REGISTRY, TOKENS)


def total(uow: UnitOfWork) -> int:
    return uow.read_now(lambda ctx: epoch.read(ctx.tx).total, trace=TRACE)


@pytest.mark.parametrize("refusal", [NotPermitted, NotFound, Invalid])
def test_a_decided_refusal_commits_what_was_written_before_it(
    uow: UnitOfWork, refusal: type[NotPermitted]
) -> None:
    """Security decision 3."""

    def verb(ctx: Context) -> None:
        ctx.advance_epoch(TOKENS)
        raise refusal("no", "Because.")

    with pytest.raises(refusal):
        uow.write_now(verb, trace=TRACE)

    assert total(uow) == 1


@pytest.mark.parametrize("failure", [Conflict("late"), Unavailable("away"), ValueError("a bug")])
def test_any_other_error_leaves_nothing_behind(uow: UnitOfWork, failure: Exception) -> None:
    def verb(ctx: Context) -> None:
        ctx.advance_epoch(TOKENS)
        raise failure

    with pytest.raises(type(failure)):
        uow.write_now(verb, trace=TRACE)

    assert total(uow) == 0


def test_every_change_of_facts_advances_the_epoch_and_its_part_by_one(uow: UnitOfWork) -> None:
    """Security decision 7: one row, advanced in the same transaction."""
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda _: uow.write_now(lambda ctx: ctx.advance_epoch(CONSENT), trace=TRACE), range(20))
        )

    assert counts(uow) == {CONSENT: 20}
    assert total(uow) == 20


def test_an_instant_comes_back_to_the_microsecond_and_in_utc(uow: UnitOfWork) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
    clock = Table("probe_instant", metadata, Column("at", Instant), extend_existing=True)

    def verb(ctx: Context) -> datetime:
        clock.create(ctx.tx, checkfirst=True)
        ctx.tx.execute(clock.insert().values(at=moment))
        found = ctx.tx.execute(select(clock.c.at).where(clock.c.at >= moment)).scalar_one()
        clock.drop(ctx.tx)
        return found

    try:
        assert uow.write_now(verb, trace=TRACE) == moment
    finally:
        metadata.remove(clock)


# --- verbs that wait at the same moment -----------------------------------------------------------------------------------------


def advance(part: Part) -> Callable[[Context], str]:
    def verb(ctx: Context) -> str:
        ctx.advance_epoch(part)
        return part

    return verb


def fail_after(error: Exception, part: Part = TOKENS) -> Callable[[Context], str]:
    def verb(ctx: Context) -> str:
        ctx.advance_epoch(part)
        raise error

    return verb


def at_once(uow: UnitOfWork, verbs: list[Callable[[Context], str]]) -> list[str | BaseException]:
    """Hand all in before the first can have ended."""

    async def together() -> list[str | BaseException]:
        waiting = (uow.write(verb, trace=TRACE) for verb in verbs)
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(together())


def counts(uow: UnitOfWork) -> Counter[Part]:
    stamps = uow.read_now(lambda ctx: epoch.read(ctx.tx), trace=TRACE)
    return Counter({part: stamp.n for part, stamp in stamps.items()})


def test_verbs_of_one_moment_are_each_answered_with_what_is_theirs(uow: UnitOfWork) -> None:
    parts = [part for part in PARTS for _ in range(20)]

    answers = at_once(uow, [advance(part) for part in parts])

    assert answers == parts
    assert counts(uow) == dict.fromkeys(PARTS, 20)


@pytest.mark.parametrize(
    "failure", [Conflict("late"), Unavailable("away"), ValueError("a bug"), KeyError("x")]
)
def test_a_verb_that_fails_takes_nothing_of_its_neighbours_with_it(
    uow: UnitOfWork, failure: Exception
) -> None:
    """Security decision 4: a verb is one transaction, whatever shares its commit."""
    before, after = advance(CONSENT), advance(REGISTRY)

    answers = at_once(uow, [before, fail_after(failure), after] * 5)

    assert [type(each) for each in answers] == [str, type(failure), str] * 5
    assert (counts(uow)[CONSENT], counts(uow)[TOKENS], counts(uow)[REGISTRY]) == (5, 0, 5)


@pytest.mark.parametrize("refusal", [NotPermitted, NotFound, Invalid])
def test_a_refusal_among_others_commits_too(uow: UnitOfWork, refusal: type[NotPermitted]) -> None:
    """Security decision 3."""
    answers = at_once(uow, [fail_after(refusal("no")), advance(CONSENT), fail_after(refusal("no"))])

    assert [type(each) for each in answers] == [refusal, str, refusal]
    assert counts(uow)[TOKENS] == 2


def test_a_statement_that_breaks_ends_its_own_verb_only(uow: UnitOfWork) -> None:
    def broken(ctx: Context) -> str:
        ctx.advance_epoch(TOKENS)
        ctx.tx.execute(text("SELECT nothing FROM nowhere"))
        return "never"

    answers = at_once(uow, [broken, advance(CONSENT), broken, advance(CONSENT)])

    assert [isinstance(each, Exception) for each in answers] == [True, False, True, False]
    assert (counts(uow)[TOKENS], counts(uow)[CONSENT]) == (0, 2)


# On PostgreSQL every verb has a transaction of its own.
@pytest.mark.parametrize("uow", ["sqlite"], indirect=True)
def test_if_the_commit_fails_nobody_gets_success_and_nothing_is_cached(uow: UnitOfWork) -> None:
    """Durable before the answer leaves: who shares a commit shares its failure."""
    forgotten: list[bool] = []

    def lose_the_transaction(tx: Connection) -> None:
        tx.exec_driver_sql("ROLLBACK")

    def work(tx: Connection) -> str:
        epoch.advance(tx, TOKENS, now=uow.clock.now())
        return "done"

    ended = uow.db.write_group([work, lose_the_transaction, work], lambda: forgotten.append(True))

    assert all(each.error is not None and each.value is None for each in ended)
    assert forgotten == [True]
    assert total(uow) == 0


def test_a_verb_that_nobody_waits_for_disturbs_nobody(uow: UnitOfWork) -> None:
    async def leave_early() -> str:
        gone = asyncio.ensure_future(uow.write(advance(TOKENS), trace=TRACE))
        stays = asyncio.ensure_future(uow.write(advance(CONSENT), trace=TRACE))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(leave_early()) == CONSENT


# --- the cache ------------------------------------------------------------------------------------------------------------------


def asked(uow: UnitOfWork, part: Part, answers: list[str | None]) -> list[str | None]:
    """Recall one value in one verb after another, each finding the next of ``answers`` if it reads at all."""
    left = iter(answers)
    return [
        uow.read_now(lambda ctx: ctx.cached(part, "key", lambda _: next(left)), trace=TRACE) for _ in answers
    ]


def test_a_value_is_read_once_while_nothing_of_its_part_changes(uow: UnitOfWork) -> None:
    assert asked(uow, CONSENT, ["first", "second", "third"]) == ["first", "first", "first"]


def test_the_very_next_verb_sees_a_change_of_the_part(uow: UnitOfWork) -> None:
    """Not a moment's staleness: the count is read in the verb's own transaction."""
    asked(uow, CONSENT, ["old"])

    uow.write_now(advance(CONSENT), trace=TRACE)

    assert asked(uow, CONSENT, ["new", "newer"]) == ["new", "new"]


def test_a_change_of_another_part_makes_nothing_be_read_again(uow: UnitOfWork) -> None:
    asked(uow, CONSENT, ["first"])

    uow.write_now(advance(TOKENS), trace=TRACE)

    assert asked(uow, CONSENT, ["second"]) == ["first"]


def test_that_there_is_nothing_is_never_kept(uow: UnitOfWork) -> None:
    assert asked(uow, CONSENT, [None, None, "there"]) == [None, None, "there"]


@pytest.mark.parametrize("failure", [None, Conflict("late")])
def test_what_a_verb_sees_of_its_own_change_is_kept_for_nobody(
    uow: UnitOfWork, failure: Exception | None
) -> None:
    """It may yet be rolled back, and the next change would bear the same count."""

    def verb(ctx: Context) -> str | None:
        ctx.cached(CONSENT, "key", lambda _: "before")
        ctx.advance_epoch(CONSENT)
        seen = ctx.cached(CONSENT, "key", lambda _: "uncommitted")
        assert seen == "uncommitted"
        if failure is not None:
            raise failure
        return seen

    answers = at_once(uow, [verb])  # type: ignore[list-item]

    assert isinstance(answers[0], Conflict) == (failure is not None)
    expected = "after" if failure is None else "before"
    assert asked(uow, CONSENT, ["after"]) == [expected]


# On PostgreSQL every verb has a transaction of its own.
@pytest.mark.parametrize("uow", ["sqlite"], indirect=True)
def test_what_was_read_beside_a_change_that_got_lost_is_forgotten(uow: UnitOfWork) -> None:
    """Two changes would bear the same count: the one that was lost with its group, and the next."""

    def change(tx: Connection) -> None:
        epoch.advance(tx, CONSENT, now=uow.clock.now())

    def look(tx: Connection) -> str | None:
        ctx = uow.context(tx, SYSTEM, TRACE)
        return ctx.cached(CONSENT, "key", lambda _: "of the lost change")

    def lose(tx: Connection) -> None:
        tx.exec_driver_sql("ROLLBACK")

    uow.db.write_group([change, look, lose], uow.cache.clear)
    uow.write_now(advance(CONSENT), trace=TRACE)

    assert asked(uow, CONSENT, ["true"]) == ["true"]


def test_the_cache_is_bounded_and_evicts_the_least_recently_used() -> None:
    cache = FactCache(bound=2)
    for key in ("a", "b"):
        cache.put(CONSENT, key, Stamp(1, 7), key)
    cache.get(CONSENT, "a", Stamp(1, 7))

    cache.put(CONSENT, "c", Stamp(1, 7), "c")

    assert [cache.get(CONSENT, key, Stamp(1, 7)) for key in ("a", "b", "c")] == ["a", None, "c"]
    assert cache.get(CONSENT, "a", Stamp(2, 7)) is None
    assert cache.get(CONSENT, "a", Stamp(1, 8)) is None
    assert cache.get(TOKENS, "a", Stamp(1, 7)) is None


# --- prepared statements --------------------------------------------------------------------------------------------------------

probe = Table(
    "probe_prepared",
    MetaData(),
    Column("id", String(20), primary_key=True),
    Column("at", Instant),
    Column("facts", JSON),
    Column("mark", LargeBinary),
    Column("on", Boolean),
    Column("n", Integer, nullable=False),
)
ADD, ADD_OR_IGNORE = prepare_insert(probe), prepare_insert_or_ignore(probe)
FIND = PreparedStatement(select(probe).where(probe.c.id == bindparam("wanted")), *probe.c)
BY_IDS = prepare_rows_by_values(probe, "id")
COUNT_UP = PreparedStatement(
    update(probe).where(probe.c.id == bindparam("wanted")).values(n=probe.c.n + 1).returning(probe.c.n),
    probe.c.n,
)
ROW = {
    "id": "a",
    "at": datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC),
    "facts": {"scopes": ["x", "\u00fc"], "none": None},
    "mark": b"\x00\xff",
    "on": True,
    "n": 1,
}


@pytest.fixture
def probed(uow: UnitOfWork) -> Iterator[UnitOfWork]:
    uow.write_now(lambda ctx: probe.create(ctx.tx), trace=TRACE)
    yield uow
    uow.write_now(lambda ctx: probe.drop(ctx.tx), trace=TRACE)


def find(uow: UnitOfWork, wanted: str = "a") -> dict[str, Any] | None:
    return uow.read_now(lambda ctx: FIND.first(ctx.tx, {"wanted": wanted}), trace=TRACE)


def test_a_prepared_statement_carries_values_as_any_other_and_its_change_is_committed(
    probed: UnitOfWork,
) -> None:
    """Nothing but prepared statements is run in this transaction: its commit must be one all the same."""
    probed.write_now(lambda ctx: ADD.count(ctx.tx, ROW), trace=TRACE)

    assert find(probed) == ROW
    assert (
        probed.read_now(lambda ctx: dict(ctx.tx.execute(select(probe)).mappings().one()), trace=TRACE) == ROW
    )
    assert find(probed, "b") is None


def test_rows_that_are_inserted_by_the_driver_are_as_they_were_given_whatever_is_in_them(
    probed: UnitOfWork,
) -> None:
    """P19: PostgreSQL takes them as one text, in which tabs, line ends, backslashes and empty values have a meaning."""
    ids = ["plain", "tab\t", "line\nend", "back\\slash", "\\N", "", '{"a": "\u00fc"}']
    rows = [(each, None, None, None, None, n) for n, each in enumerate(ids)]

    def insert(ctx: Context) -> None:
        ADD.enqueue(ctx.tx, ROW)  # queued before, and sent before
        insert_many(ctx.tx, probe, iter(rows))

    probed.write_now(insert, trace=TRACE)

    found = probed.read_now(
        lambda ctx: ctx.tx.execute(select(probe.c.id, probe.c.n, probe.c.at)).all(), trace=TRACE
    )
    assert {tuple(each) for each in found} == {
        *((each, n, None) for n, each in enumerate(ids)),
        ("a", 1, ROW["at"]),
    }
    again = [("new", None, None, None, None, 9), rows[0]]
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.UniqueViolation)):
        probed.write_now(lambda ctx: insert_many(ctx.tx, probe, again), trace=TRACE)
    assert find(probed, "new") is None


def test_a_prepared_statement_knows_the_values_it_was_written_with(probed: UnitOfWork) -> None:
    probed.write_now(lambda ctx: ADD.count(ctx.tx, ROW), trace=TRACE)

    counted = [
        probed.write_now(lambda ctx: COUNT_UP.first(ctx.tx, {"wanted": "a"}), trace=TRACE) for _ in range(3)
    ]

    assert counted == [{"n": 2}, {"n": 3}, {"n": 4}]


@pytest.mark.parametrize("wanted", [0, 1, 3, 16, 65, 700])
def test_each_row_is_found_once_by_a_list_of_any_length_and_no_other_is(
    probed: UnitOfWork, wanted: int
) -> None:
    """A list is compiled for a few lengths and filled up, and a long one is asked for in parts."""
    names = [f"r{n:04}" for n in range(wanted)]

    def fill(ctx: Context) -> None:
        for name in [*names, "other"]:
            ADD.count(ctx.tx, ROW | {"id": name})

    probed.write_now(fill, trace=TRACE)
    found = probed.read_now(lambda ctx: BY_IDS.records(ctx.tx, [*names, "missing"]), trace=TRACE)

    assert sorted(each.id for each in found) == names
    assert all(each.at == ROW["at"] and each.facts == ROW["facts"] for each in found)
    assert probed.read_now(lambda ctx: BY_IDS.records(ctx.tx, []), trace=TRACE) == []


def test_a_prepared_statement_reports_who_was_first(probed: UnitOfWork) -> None:
    counts = [probed.write_now(lambda ctx: ADD_OR_IGNORE.count(ctx.tx, ROW), trace=TRACE) for _ in range(2)]

    assert counts == [1, 0]


def test_a_value_left_out_of_a_prepared_statement_is_a_bug_and_leaves_nothing(probed: UnitOfWork) -> None:
    with pytest.raises(KeyError):
        probed.write_now(lambda ctx: ADD.count(ctx.tx, {"id": "a"}), trace=TRACE)

    assert find(probed) is None


def test_a_prepared_statement_that_breaks_a_rule_takes_its_verb_with_it_and_no_other(
    probed: UnitOfWork,
) -> None:
    def twice(ctx: Context) -> str:
        ctx.advance_epoch(TOKENS)
        ADD.count(ctx.tx, ROW)
        ADD.count(ctx.tx, ROW)
        return "never"

    answers = at_once(probed, [twice, advance(CONSENT), twice])

    assert [isinstance(each, Exception) for each in answers] == [True, False, True]
    assert not any(isinstance(each, Conflict | Unavailable) for each in answers)
    assert (counts(probed)[TOKENS], counts(probed)[CONSENT]) == (0, 1)
    assert find(probed) is None


@pytest.mark.parametrize(
    "moment",
    [
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-1))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_moment_that_could_not_be_read_again_is_not_written(moment: datetime) -> None:
    """C144: one such row would keep every process from reading its facts."""
    with pytest.raises(OverflowError):
        Instant().process_bind_param(moment, sqlite.dialect())
