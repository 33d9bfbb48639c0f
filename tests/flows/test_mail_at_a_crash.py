"""``kill -9`` at each step of a mail's hand-over, and two processes on one outbox (C163): never twice, and nothing lost.

The mail server kills the process that is talking to it, at the step in question.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.notices.models import State
from tests.conftest import SECRET_KEY
from tests.sim.launcher import Process, launch_verb
from tests.sim.mail_server import mail_server, silent_server
from tests.sim.notice_ground import NoticeGround

WITHIN_S = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest) -> Iterator[NoticeGround]:
    """An outbox in real time, which the processes share."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    uow = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), "test-writer")
    yield NoticeGround(uow)
    uow.close()


def end_leases(ground: NoticeGround) -> None:
    """Let the leases end now instead of waiting for minutes."""
    ground.do(lambda ctx: ctx.tx.execute(text("UPDATE notices_notice SET leased_until = 1")))


def start(url: str, port: int, log: Path) -> Process:
    return launch_verb("tests.sim.send_due:main", (url, SECRET_KEY, str(port)), log)


@contextmanager
def sending(url: str, port: int, log: Path) -> Iterator[Process]:
    process = start(url, port, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(WITHIN_S)


def killed_at(step: str, ground: NoticeGround, log: Path) -> tuple[list[State], int, int]:
    """Kill a process at a step; return the mail's state after that and after another process went on, and how often it was accepted."""
    with mail_server() as server:
        running: list[Process] = []
        ready = threading.Event()

        def kill(at: str, _to: str) -> str | None:
            ready.wait(WITHIN_S)
            if at == step:
                running[0].send_signal(signal.SIGKILL)
                running[0].wait(WITHIN_S)
            return None

        server.behave = kill
        with sending(ground.uow.db.url, server.port, log) as process:
            running.append(process)
            ready.set()
            assert process.wait(WITHIN_S) == -signal.SIGKILL, log.read_text()
        dead = ground.only()
        server.behave = lambda _at, _to: None
        end_leases(ground)
        ground.sender(server.port).run()
        return [dead.state, ground.only().state], len(server.mails), ground.only().attempts


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
def test_a_mail_of_a_process_killed_before_the_content_is_sent_once_by_another(
    ground: NoticeGround, tmp_path: Path, step: str
) -> None:
    ground.put()

    states, accepted, attempts = killed_at(step, ground, tmp_path / "log")

    assert states == [State.SENDING, State.SENT]
    assert (accepted, attempts) == (1, 1)


@pytest.mark.parametrize(("step", "accepted"), [("CONTENT", 0), ("ACCEPTED", 1)])
def test_a_mail_of_a_process_killed_after_the_content_is_unknown_and_never_repeated(
    ground: NoticeGround, tmp_path: Path, step: str, accepted: int
) -> None:
    """The two cannot be told apart from here, so neither is sent again."""
    ground.put()

    states, found, _ = killed_at(step, ground, tmp_path / "log")

    assert states == [State.HANDING_OVER, State.UNKNOWN]
    assert found <= 1
    assert found >= accepted


def test_a_process_killed_while_it_connects_loses_nothing(ground: NoticeGround, tmp_path: Path) -> None:
    ground.put()

    with silent_server() as silent, sending(ground.uow.db.url, silent, tmp_path / "log") as process:
        for _ in range(WITHIN_S * 20):
            if ground.only().state is State.SENDING:
                break
            threading.Event().wait(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(WITHIN_S)
    end_leases(ground)
    with mail_server() as server:
        ground.sender(server.port).run()

    assert len(server.mails) == 1
    assert ground.only().state is State.SENT


def test_two_processes_on_postgresql_hand_each_mail_over_once(postgres_url: str, tmp_path: Path) -> None:
    uow = UnitOfWork.create(Database(postgres_url), SystemClock(), SystemIds(), "test-writer")
    ground = NoticeGround(uow)
    for number in range(60):
        ground.put(f"a{number}@acme.example")

    with mail_server() as server:
        first, second = (start(postgres_url, server.port, tmp_path / "log") for _ in range(2))
        ended = [each.wait(WITHIN_S) for each in (first, second)]

    assert ended == [0, 0], (tmp_path / "log").read_text()
    assert len(server.accepted) == 60
    assert set(server.accepted.values()) == {1}
    uow.close()
