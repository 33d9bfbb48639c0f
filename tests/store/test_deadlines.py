"""A database that stands still holds nobody up: every wait has an end, and afterwards everything works again."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from hilum.foundation.infra import epoch, lanes, postgres
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.database_faults import DatabaseUnavailable
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import ANSWER_WITHIN_S, BOUNDS, Lane
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import Part
from tests.sim.processes import until
from tests.sim.tcp_proxy import TcpProxy
from tests.sim.world import START, FakeClock, SeededIds

TRACE = Trace("req_test")
TOKENS = Part("tokens")
SLACK_S = 10.0
"""What a busy machine may add to a bound. What hangs does so for ever."""
RECOVERED_WITHIN_S = 60.0
"""All of it at once, each within its bound: a busy machine needs some tries."""
BRISK = 0.3
"""The bounds of these tests, as a part of the real ones; ``tests/flows/outside/test_frozen_database.py`` keeps the real ones."""
WITHIN_S = ANSWER_WITHIN_S * BRISK
FROZEN_S = 1.5
"""How long a write lasts at most whose path freezes."""


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.foundation.infra.worker_pools.ANSWER_WITHIN_S", WITHIN_S)
    for lane, bounds in BOUNDS.items():
        if bounds.within_s and bounds.statement_s:
            shorter = replace(
                bounds, within_s=bounds.within_s * BRISK, statement_s=bounds.statement_s * BRISK
            )
            monkeypatch.setitem(BOUNDS, lane, shorter)


@pytest.fixture
def path(postgres_url: str) -> Iterator[TcpProxy]:
    with TcpProxy(int(postgres_url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.fixture
def far(path: TcpProxy, postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[UnitOfWork]:
    """The unit of work over PostgreSQL at the other end of a path that can freeze."""
    uow = UnitOfWork.create(Database(path.url(postgres_url)), clock, ids, "test-writer")
    yield uow
    path.thaw()
    uow.close()


def advance(uow: UnitOfWork) -> Any:
    return uow.write(lambda ctx: ctx.advance_epoch(TOKENS), trace=TRACE)


def look(uow: UnitOfWork) -> Any:
    return uow.read(lambda ctx: epoch.read(ctx.tx).total, trace=TRACE)


async def in_lane(lane: Lane, uow: UnitOfWork, count: int) -> list[Any]:
    with lanes.using(lane):
        asked = [look(uow) for _ in range(count)] + [advance(uow) for _ in range(count)]
        return await asyncio.gather(*asked, return_exceptions=True)


WAITED_FOR = [lane for lane, bounds in BOUNDS.items() if bounds.threads]


def test_when_the_path_freezes_everybody_is_answered_in_time_and_after_it_thaws_everything_works(
    far: UnitOfWork, path: TcpProxy
) -> None:
    """In every lane at once, and with more works than threads: none hangs, none is lost, no place either."""

    async def story() -> None:
        every = [in_lane(lane, far, 1) for lane in WAITED_FOR]
        assert not [
            each for found in await asyncio.gather(*every) for each in found if isinstance(each, Exception)
        ]
        path.freeze()
        begun = time.monotonic()
        every = [in_lane(lane, far, 20) for lane in WAITED_FOR] + [asyncio.gather(far.reads(_total))]  # type: ignore[list-item]
        answers = [
            each for found in await asyncio.gather(*every, return_exceptions=True) for each in _flat(found)
        ]
        assert time.monotonic() - begun < WITHIN_S + SLACK_S
        assert all(isinstance(each, Unavailable) for each in answers), answers
        path.thaw()
        begun = time.monotonic()
        while any(
            isinstance(each, Exception)
            for found in await asyncio.gather(*(in_lane(lane, far, 20) for lane in WAITED_FOR))
            for each in found
        ):
            assert time.monotonic() - begun < RECOVERED_WITHIN_S

    asyncio.run(story())


def _total(ctx: Any) -> int:
    return epoch.read(ctx.tx).total


def _flat(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(("requests", "answers"), [(True, False), (False, True)])
def test_whichever_way_freezes_a_transaction_ends_in_time(
    far: UnitOfWork, path: TcpProxy, *, requests: bool, answers: bool
) -> None:
    asyncio.run(in_lane(Lane.TOKENS, far, 1))
    path.freeze(requests=requests, answers=answers)
    begun = time.monotonic()

    found = asyncio.run(in_lane(Lane.TOKENS, far, 1))

    assert time.monotonic() - begun < WITHIN_S + SLACK_S
    assert all(isinstance(each, DatabaseUnavailable) for each in found)


def test_a_commit_without_an_answer_is_not_called_undone(far: UnitOfWork, path: TcpProxy) -> None:
    """Security decision 20: "not done" is only said when it was not done."""

    def freeze_before_the_commit(tx: Connection) -> None:
        epoch.advance(tx, TOKENS, now=START)
        path.freeze(requests=False)

    far.db.read(epoch.read)  # connected: what is left until the path freezes takes milliseconds
    with pytest.raises(DatabaseUnavailable) as caught:
        far.db.write(freeze_before_the_commit, until=time.monotonic() + FROZEN_S)

    assert caught.value.in_doubt
    assert "Check before you repeat" in caught.value.detail
    path.thaw()
    assert asyncio.run(look(far)) == 1, "it was done"


def test_what_failed_before_its_commit_is_called_undone_and_is(far: UnitOfWork, path: TcpProxy) -> None:
    def freeze_first(tx: Connection) -> None:
        epoch.advance(tx, TOKENS, now=START)
        path.freeze()
        epoch.read(tx)

    far.db.read(epoch.read)
    with pytest.raises(DatabaseUnavailable) as caught:
        far.db.write(freeze_first, until=time.monotonic() + FROZEN_S)

    assert not caught.value.in_doubt
    path.thaw()
    assert asyncio.run(look(far)) == 0


def test_a_statement_that_is_slow_on_the_server_is_ended_there_and_its_connection_kept(
    far: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine brings the server's answer later than this, and the connection would be closed.
    monkeypatch.setattr(postgres, "SERVER_FIRST_S", SLACK_S)

    def dawdle(tx: Connection) -> int:
        tx.execute(text("SELECT pg_sleep(30)"))
        return 0

    def name_of_backend(tx: Connection) -> int:
        return int(tx.execute(text("SELECT pg_backend_pid()")).scalar_one())

    with lanes.using(Lane.URGENT):
        before = far.db.read(name_of_backend)
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            far.db.read(dawdle, until=begun + SLACK_S)
        assert time.monotonic() - begun < BOUNDS[Lane.URGENT].statement_s + SLACK_S  # type: ignore[operator]
        assert far.db.read(name_of_backend) == before


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    far: UnitOfWork, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "LOCK_S", 0.3)
    with psycopg.connect(postgres_url) as holding:
        holding.execute("LOCK TABLE fact_epoch IN ACCESS EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as caught, lanes.using(Lane.TOKENS):
            far.db.write(lambda tx: epoch.advance(tx, TOKENS, now=START))
        assert time.monotonic() - begun < postgres.LOCK_S + SLACK_S
    assert caught.value.fault.code == "database_locked"


def test_connections_that_the_server_ended_meanwhile_are_replaced_without_anybody_noticing(
    far: UnitOfWork, path: TcpProxy, postgres_url: str
) -> None:
    """A restart of the server, or a failover, breaks every idle connection."""
    asyncio.run(in_lane(Lane.TOKENS, far, 6))
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'hilum%'"
        )
    until(lambda: path.hung_up == path.accepted)

    assert not [each for each in asyncio.run(in_lane(Lane.TOKENS, far, 6)) if isinstance(each, Exception)]


def test_what_nobody_began_in_time_is_never_done(far: UnitOfWork, path: TcpProxy) -> None:
    """What was answered as not done is not done later either: its caller may have asked again."""

    async def story() -> list[Any]:
        await in_lane(Lane.URGENT, far, 1)
        path.freeze()
        return await in_lane(Lane.URGENT, far, 10)

    before = 1
    answers = asyncio.run(story())
    path.thaw()
    time.sleep(0.3)

    refused = [each for each in answers if isinstance(each, Unavailable) and each.code == "database_busy"]
    assert len(refused) > 10
    assert asyncio.run(look(far)) <= before + BOUNDS[Lane.URGENT].threads
