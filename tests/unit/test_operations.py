"""The board of reports, the supervisor's pauses, readiness: in process, with a clock that is moved (C201)."""

import errno
import io
import os
import sqlite3
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.app import readiness as readiness_module
from hilum.app.operations import Board
from hilum.app.readiness import DISK_FULL, NOT_WRITABLE, Directory, Readiness
from hilum.app.supervisor import GIVE_UP_AFTER_S, PAUSE_BOUND_S, STANDS_AFTER_S, Part, pause_after
from hilum.audit.watching import FAILS_FOR_S, TRY_EVERY_S, Watch
from hilum.infra import logs, metrics
from hilum.kernel.errors import Unavailable
from tests.effort import effort
from tests.sim.world import FakeClock


def report(pid: int, part: str = "platform", **more: Any) -> dict[str, Any]:
    return {"part": part, "pid": pid, "faults": {}, "notices": {}, "metrics": {}} | more


def test_a_node_is_ready_when_a_worker_reports_and_all_that_report_can_answer() -> None:
    board = Board(FakeClock(), 2)
    assert set(board.state().reasons) == {"no_worker"}

    board.hear(report(1))
    assert board.state().ready
    assert set(board.state().notices) == {"workers_missing", "jobs_silent"}

    board.hear(report(2, faults={"snapshot_stale": "x"}))
    board.hear(report(3, "jobs"))
    assert set(board.state().reasons) == {"snapshot_stale"}
    board.hear(report(2))
    assert (board.state().ready, board.state().notices) == (True, {})


def test_who_is_silent_does_not_count_as_able() -> None:
    clock = FakeClock()
    board = Board(clock, 1)
    board.hear(report(1))
    board.hear(report(2, "jobs"))
    clock.advance(timedelta(seconds=4))

    assert set(board.state().reasons) == {"no_worker"}
    assert set(board.state().notices) == {"jobs_silent"}


def test_a_worker_whose_loop_stands_still_cannot_answer() -> None:
    board = Board(FakeClock(), 1)
    board.hear(report(1, metrics={metrics.LOOP_LAG.name: [[[], 6.0]]}))

    assert set(board.state().reasons) == {"worker_stalled"}


def test_faults_of_the_jobs_process_are_notices() -> None:
    """Answers do not depend on checkpoints; taking every node away would not bring them back."""
    board = Board(FakeClock(), 1)
    board.hear(report(1))
    board.hear(report(2, "jobs", notices={"checkpoints_standing": "x"}))

    assert (board.state().ready, set(board.state().notices)) == (True, {"checkpoints_standing"})


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50), st.booleans()), max_size=40))
@settings(max_examples=effort(100, 2_000), deadline=None)
def test_a_sum_over_processes_never_falls_when_one_of_them_dies(steps: list[tuple[int, int, bool]]) -> None:
    board, counts, name = Board(FakeClock(), 4), dict.fromkeys(range(1, 5), 0), metrics.JOURNAL_RECORDS.name
    last = total = 0.0
    for pid, more, dies in steps:
        counts[pid] += more
        total += more
        board.hear(report(pid, metrics={name: [[[], counts[pid]]]}))
        if dies:
            board.lose(pid)
            counts[pid] = 0
        now = board.merged().get(name, {}).get((), 0.0)
        assert now >= last
        last = now

    assert last == total


def test_a_metric_keeps_a_bounded_number_of_labels() -> None:
    counter = metrics.Counter("x", "x", ("a",))
    histogram = metrics.Histogram("y", "y", ("a",))
    for n in range(2 * metrics.LABELS_BOUND):
        counter.add(str(n))
        histogram.observe(0.1, str(n))

    assert len(counter.read()) == len(histogram.read()) == metrics.LABELS_BOUND + 1
    assert sum(value for _, value in counter.read()) == 2 * metrics.LABELS_BOUND
    assert sum(sum(held[:-1]) for _, held in histogram.read()) == 2 * metrics.LABELS_BOUND


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = [pause_after(deaths) for deaths in range(40)]

    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_BOUND_S


class Deaths:
    """Starts processes that end at once."""

    def __init__(self) -> None:
        self.started = 0

    def __call__(self, _part: str) -> "subprocess.Popen[bytes]":
        self.started += 1
        child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
        child.wait()
        return child


def test_a_part_that_never_stands_is_given_up_after_the_stated_time_and_not_before() -> None:
    starts, now = Deaths(), 0.0
    part = Part("jobs", starts)
    while part.look(now):
        now += 2.0
        assert now < GIVE_UP_AFTER_S + 20

    assert now > GIVE_UP_AFTER_S
    assert 10 < starts.started < GIVE_UP_AFTER_S / PAUSE_BOUND_S + 10


def test_a_part_that_stood_begins_again_without_a_pause_to_speak_of() -> None:
    part = Part("jobs", Deaths(), deaths=9, failing_since=1.0)
    living = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    part.child, part.started_at = living, 0.0
    assert part.look(STANDS_AFTER_S)
    living.communicate(b"\n")

    assert part.look(STANDS_AFTER_S + 1)
    assert (part.deaths, part.restarts) == (1, 1)


def test_a_directory_that_cannot_be_written_to_is_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = FakeClock()

    assert Directory(tmp_path / "new", clock).fault() is None
    assert list((tmp_path / "new").iterdir()) == []
    assert Directory(tmp_path / "file" / "below", clock).fault() == NOT_WRITABLE


def test_a_full_disk_is_told_from_one_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device that is always full stands for the disk."""
    if not stat.S_ISCHR(Path("/dev/full").stat().st_mode):
        pytest.fail("/dev/full is missing")
    clock = FakeClock()
    directory = Directory(tmp_path, clock)
    probe = tmp_path / f".probe-{os.getpid()}"
    probe.symlink_to("/dev/full")

    assert directory.fault() == DISK_FULL
    assert not probe.is_symlink()
    clock.advance(timedelta(seconds=2))
    assert directory.fault() is None
    assert DISK_FULL[0] != NOT_WRITABLE[0]
    assert errno.ENOSPC != errno.EROFS


def test_what_changes_in_readiness_is_logged_once_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults 13: one line when it begins and one when it ends, not thousands."""
    stream = io.StringIO()
    logs.configure(stream)
    monkeypatch.setattr(readiness_module, "_log", logs.get("app"))  # one that has not written elsewhere yet
    found: list[tuple[str, str] | None] = [None]
    readiness = Readiness(lambda: found[0])
    for each in (None, DISK_FULL, DISK_FULL, DISK_FULL, None, None):
        found[0] = each
        readiness.look()
    structlog.reset_defaults()

    assert stream.getvalue().count("app.readiness.lost") == 1
    assert stream.getvalue().count("app.readiness.regained") == 1


def test_a_journal_counts_as_failing_until_it_is_written_again() -> None:
    clock = FakeClock()
    watch = Watch(clock)

    def fail() -> None:
        raise Unavailable("audit_unavailable")

    assert not watch.failing()
    with pytest.raises(Unavailable):
        watch.commit(fail, 1)
    assert watch.failing()
    watch.commit(lambda: None, 1)
    assert not watch.failing()
    watch.failed()
    clock.advance(timedelta(seconds=FAILS_FOR_S + 1))
    assert not watch.failing()


def test_a_journal_that_another_process_holds_is_seen_without_a_request(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "access-0.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    watch = Watch(clock, lambda: path)
    assert not watch.failing()

    holder.execute("BEGIN EXCLUSIVE")
    clock.advance(timedelta(seconds=TRY_EVERY_S))
    assert watch.failing()
    holder.execute("ROLLBACK")
    clock.advance(timedelta(seconds=TRY_EVERY_S))
    assert not watch.failing()
    holder.close()


def test_a_journal_whose_file_has_gone_is_seen(tmp_path: Path) -> None:
    assert Watch(FakeClock(), lambda: tmp_path / "access-0.db").failing()
