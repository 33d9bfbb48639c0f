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
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.infra import logs, metrics
from hilum.foundation.kernel.errors import Unavailable
from hilum.records.audit.journal_health import FAILS_FOR_S, TRY_EVERY_S, JournalHealth
from hilum.server import readiness as readiness_module
from hilum.server.operations import ProcessReports
from hilum.server.readiness import DISK_FULL, NOT_WRITABLE, Directory, Readiness
from hilum.server.serve import PAUSE_BOUND_S, pause_after
from hilum.server.supervisor import GIVE_UP_AFTER_S, STABLE_AFTER_S, Part
from tests.effort import effort
from tests.sim.plain_logs import use_plain
from tests.sim.world import FakeClock


def report(pid: int, part: str = "platform", **more: Any) -> dict[str, Any]:
    return {"part": part, "pid": pid, "began": 0.0, "faults": {}, "notices": {}, "metrics": {}} | more


def hear(board: ProcessReports, report: dict[str, Any]) -> None:
    """Report as a process does, over a connection of the same number."""
    board.receive(report, report["pid"])


def test_a_node_is_ready_when_a_worker_reports_and_all_that_report_can_answer() -> None:
    board = ProcessReports(FakeClock(), 2)
    assert set(board.state().reasons) == {"no_worker"}

    hear(board, report(1))
    assert board.state().ready
    assert set(board.state().notices) == {"workers_missing", "jobs_silent"}

    hear(board, report(2, faults={"snapshot_stale": "x"}))
    hear(board, report(3, "jobs"))
    assert set(board.state().reasons) == {"snapshot_stale"}
    hear(board, report(2))
    assert (board.state().ready, board.state().notices) == (True, {})


def test_who_is_silent_does_not_count_as_able() -> None:
    clock = FakeClock()
    board = ProcessReports(clock, 1)
    hear(board, report(1))
    hear(board, report(2, "jobs"))
    clock.advance(timedelta(seconds=4))

    assert set(board.state().reasons) == {"no_worker"}
    assert set(board.state().notices) == {"jobs_silent"}


def test_a_worker_whose_loop_stands_still_cannot_answer() -> None:
    board = ProcessReports(FakeClock(), 1)
    hear(board, report(1, metrics={metrics.LOOP_LAG.name: [[[], 6.0]]}))

    assert set(board.state().reasons) == {"worker_stalled"}


def test_faults_of_the_jobs_process_are_notices() -> None:
    """Answers do not depend on checkpoints; taking every node away would not bring them back."""
    board = ProcessReports(FakeClock(), 1)
    hear(board, report(1))
    hear(board, report(2, "jobs", notices={"checkpoints_eligibility": "x"}))

    assert (board.state().ready, set(board.state().notices)) == (True, {"checkpoints_eligibility"})


Step = tuple[int, int, str]
STEPS = st.tuples(
    st.integers(1, 4), st.integers(0, 50), st.sampled_from(["", "dies", "hangs up", "hangs up late"])
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=effort(40, 2_000), deadline=None)
def test_a_sum_over_processes_counts_all_once_and_never_falls(steps: list[Step]) -> None:
    """Processes die, hang up and connect again; sometimes the end of the old connection is seen after the new one began."""
    alive, counts, began = set(range(1, 5)), dict.fromkeys(range(1, 5), 0), dict.fromkeys(range(1, 5), 0)
    over = {pid: pid for pid in range(1, 5)}
    board, name = ProcessReports(FakeClock(), 4, lives=alive.__contains__), metrics.JOURNAL_RECORDS.name
    last = total = 0.0
    heard: set[tuple[int, int]] = set()
    for pid, more, then in steps:
        alive.add(pid)
        counts[pid] += more
        total += more
        heard.add((pid, began[pid]))
        board.receive(report(pid, began=began[pid], metrics={name: [[[], counts[pid]]]}), over[pid])
        old, over[pid] = over[pid], over[pid] + (4 if then else 0)
        if then == "dies":
            alive.discard(pid)
            counts[pid], began[pid] = 0, began[pid] + 1
        if then == "hangs up late":
            board.receive(report(pid, began=began[pid], metrics={name: [[[], counts[pid]]]}), over[pid])
        if then:
            board.lose(old)
        now = board.merged().get(name, {}).get((), 0.0)
        assert now >= last
        last = now

    assert last == total
    assert sum(board.starts.values()) == len(heard)


def test_a_process_that_hung_up_does_not_count_as_able_and_connects_again_as_itself() -> None:
    board = ProcessReports(FakeClock(), 1, lives=lambda _pid: True)
    board.receive(report(7, metrics={metrics.MEMORY.name: [[[], 10.0]]}), 1)
    board.lose(1)
    assert set(board.state().reasons) == {"no_worker"}
    assert not board.merged().get(metrics.MEMORY.name)

    board.receive(report(7), 2)
    assert board.state().ready
    assert board.starts == {"platform": 1}


def test_notifications_of_an_earlier_connection_are_ignored() -> None:
    board, name = ProcessReports(FakeClock(), 1), metrics.JOURNAL_RECORDS.name
    board.receive(report(7, metrics={name: [[[], 5]]}), 2)
    board.receive(report(7, metrics={name: [[[], 3]]}), 1)

    assert board.merged()[name][()] == 5


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
    while part.check(now):
        now += 2.0
        assert now < GIVE_UP_AFTER_S + 20

    assert now > GIVE_UP_AFTER_S
    assert 10 < starts.started < GIVE_UP_AFTER_S / PAUSE_BOUND_S + 10


def test_a_part_that_stood_begins_again_without_a_pause_to_speak_of() -> None:
    part = Part("jobs", Deaths(), deaths=9, failing_since=1.0)
    living = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    part.child, part.started_at = living, 0.0
    assert part.check(STABLE_AFTER_S)
    living.communicate(b"\n")

    assert part.check(STABLE_AFTER_S + 1)
    assert (part.deaths, part.restarts) == (1, 1)


def test_a_directory_that_cannot_be_written_to_is_seen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    clock = FakeClock()

    assert Directory(tmp_path / "new", clock).fault() is None
    assert list((tmp_path / "new").iterdir()) == []
    assert Directory(tmp_path / "file" / "below", clock).fault() == NOT_WRITABLE


def test_a_full_disk_is_distinguished_from_an_unwritable_one(
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
        readiness.check()
    use_plain()

    assert stream.getvalue().count("app.readiness.lost") == 1
    assert stream.getvalue().count("app.readiness.regained") == 1


def test_a_journal_counts_as_failing_until_it_is_written_again() -> None:
    clock = FakeClock()
    watch = JournalHealth(clock)

    def fail() -> int:
        raise Unavailable("audit_unavailable")

    assert not watch.failing()
    with pytest.raises(Unavailable):
        watch.commit(fail, 1)
    assert watch.failing()
    watch.commit(lambda: 1, 1)
    assert not watch.failing()
    watch.failed()
    clock.advance(timedelta(seconds=FAILS_FOR_S + 1))
    assert not watch.failing()


def test_a_journal_that_another_process_holds_is_seen_without_a_request(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "access-0.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    watch = JournalHealth(clock, lambda: path)
    assert not watch.failing()

    holder.execute("BEGIN EXCLUSIVE")
    clock.advance(timedelta(seconds=TRY_EVERY_S))
    assert watch.failing()
    holder.execute("ROLLBACK")
    clock.advance(timedelta(seconds=TRY_EVERY_S))
    assert not watch.failing()
    holder.close()


def test_a_journal_whose_file_has_gone_is_seen(tmp_path: Path) -> None:
    assert JournalHealth(FakeClock(), lambda: tmp_path / "access-0.db").failing()
