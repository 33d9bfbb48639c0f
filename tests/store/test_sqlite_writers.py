"""Processes that write one SQLite database: whoever waits comes to a turn, however much the others have to write."""

import multiprocessing
import time
from itertools import pairwise
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import Connection

from hilum.foundation.infra import database_faults as faults
from hilum.foundation.infra.database_faults import DatabaseUnavailable
from hilum.foundation.infra.db import WRITER_PAUSE_S, Database
from tests.effort import effort

WITHIN_S = 60.0
PROCESSES, TURNS, TURN_S = 5, effort(400, 1_000), 0.003
WAITED_BOUND = 110
# Forked from a process of their own that has loaded this file: loading it for each was most of what they took.
_spawned = multiprocessing.get_context("forkserver")
_spawned.set_forkserver_preload([__name__])


def _add(tx: Connection) -> None:
    tx.exec_driver_sql("INSERT INTO turn DEFAULT VALUES")


def _count(tx: Connection) -> int:
    return int(tx.exec_driver_sql("SELECT count(*) FROM turn").scalar_one())


def _hold(url: str, holds: Event, let: Event) -> None:
    def work(tx: Connection) -> None:
        _add(tx)
        holds.set()
        assert let.wait(WITHIN_S)

    Database(url).write(work)


def _write_on(url: str, who: int, all_begin: Barrier) -> None:
    database = Database(url)

    def work(tx: Connection) -> int:
        time.sleep(TURN_S)
        return tx.exec_driver_sql("INSERT INTO turn (who) VALUES (?)", (who,)).lastrowid

    all_begin.wait(WITHIN_S)
    while database.write(work, until=time.monotonic() + WITHIN_S) < TURNS:
        time.sleep(WRITER_PAUSE_S)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'shared.db'}")
    made.write(lambda tx: tx.exec_driver_sql("CREATE TABLE turn (id INTEGER PRIMARY KEY, who)"))
    return made


def test_a_writer_waits_for_another_process_until_its_own_deadline(database: Database) -> None:
    """Somebody else's long transaction is a fault for who cannot wait so long, and none for who can."""
    holds, let = _spawned.Event(), _spawned.Event()
    holder = _spawned.Process(target=_hold, args=(database.url, holds, let))
    holder.start()
    assert holds.wait(WITHIN_S)

    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as refused:
        database.write(_add, until=begun + 0.5)
    assert refused.value.fault is faults.LOCKED
    assert time.monotonic() - begun >= 0.5
    assert holder.is_alive(), "it waited for the other one to end"

    Timer(0.3, let.set).start()
    database.write(_add, until=time.monotonic() + WITHIN_S)
    holder.join()
    assert database.read(_count) == 2


def test_no_process_waits_for_many_turns_of_the_others(database: Database) -> None:
    """Counted in turns, not in seconds. SQLite's own waiting looks ever more seldom, so that one of five waited for hundreds of turns."""
    all_begin = _spawned.Barrier(PROCESSES)
    writers = [
        _spawned.Process(target=_write_on, args=(database.url, who, all_begin)) for who in range(PROCESSES)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()

    whose = database.read(
        lambda tx: tx.exec_driver_sql("SELECT who FROM turn ORDER BY id LIMIT ?", (TURNS,)).scalars().all()
    )
    turns = {
        who: [0, *(number for number, each in enumerate(whose, 1) if each == who), TURNS]
        for who in range(PROCESSES)
    }
    waited = {who: max(after - before for before, after in pairwise(own)) for who, own in turns.items()}
    assert max(waited.values()) < WAITED_BOUND, waited
