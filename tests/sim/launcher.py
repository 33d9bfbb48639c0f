"""Starts ``hilum`` by forking a process that has loaded it: tests start many, and loading was most of a start.

What is started is the command itself, under its own environment; only the routes of its API are described already, and passwords are
hashed cheaply. That it starts as a program is for tests that ask for one.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TextIO, cast

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.standards.languages import Language
from hilum.foundation.web.catalogues import catalogue_of
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.urls import Urls
from hilum.server import mounts
from tests.sim import cheap_passwords, described, outsiders

LOOK_EVERY_S = 0.01
MAIN = "hilum.server.commands.main:main"


class Started:
    """A process that was forked, in the terms of ``subprocess.Popen``. It is the server's child, which collects its exit code."""

    def __init__(self, server: "Server", pid: int) -> None:
        self._server, self.pid = server, pid
        self.returncode: int | None = None
        self._asking = threading.Lock()

    def poll(self) -> int | None:
        # Threads of a test may wait for one process at the same time, and its code is given once.
        with self._asking:
            if self.returncode is None:
                self.returncode = self._server.ask(pid=self.pid)["code"]
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("hilum", timeout or 0)
            time.sleep(LOOK_EVERY_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Started | subprocess.Popen[bytes]


class Server:
    """The process that has loaded everything. It answers one question at a time, and ends with this one."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sim.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        atexit.register(self.stop)

    def ask(self, **question: Any) -> dict[str, Any]:
        given, taken = self._process.stdin, self._process.stdout
        assert given is not None
        assert taken is not None
        with self._asking:
            given.write(json.dumps(question).encode() + b"\n")
            given.flush()
            return dict(json.loads(taken.readline()))

    def stop(self) -> None:
        # It ends with its input; leaving the block closes both pipes and waits for it.
        with self._process:
            pass


@cache
def _server() -> Server:
    return Server()


def launch(
    words: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    errors: Path | None = None,
    *,
    program: bool = False,
) -> Process:
    """Start ``hilum`` with these words; its output is added to ``log``. With ``program`` it is a program of its own."""
    if program:
        command = [sys.executable, "-m", "hilum.server.commands.main", *words]
        with log.open("ab") as written:
            return subprocess.Popen(command, env=dict(environment), stdout=written, stderr=written)
    return _started(MAIN, words, environment, log, errors or log)


def launch_verb(verb: str, words: Sequence[str], output: Path) -> Process:
    """Run a function of the tests (``module:name``) with these words in a process of its own, under this process's environment."""
    return _started(verb, words, os.environ, output, output)


@contextmanager
def launch_read(verb: str, words: Sequence[str]) -> Iterator[tuple[Process, TextIO]]:
    """Run a function as ``launch_verb`` does, and yield what it prints as it prints it. It is killed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "printed"
        os.mkfifo(pipe)
        process = launch_verb(verb, words, pipe)
        # Opened once the process opens it too; it ends when the process does.
        with pipe.open() as printed:
            try:
                yield process, printed
            finally:
                process.kill()
                process.wait()


def _started(
    verb: str, words: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path
) -> Started:
    asked = {
        "verb": verb,
        "words": list(words),
        "environment": dict(environment),
        "outputs": [str(output), str(errors)],
        "cwd": str(Path.cwd()),
    }
    return Started(_server(), _server().ask(**asked)["pid"])


def _serve() -> None:
    from hilum.foundation.infra.migrations import run  # noqa: F401
    from hilum.server import own_data, parts, seed  # noqa: F401 - loaded for those that are forked
    from hilum.server.commands import sandbox, server  # noqa: F401

    parts.load(parts.PARTS)
    derive()
    cheap_passwords.use_cheap()
    answers = os.dup(1)
    os.dup2(2, 1)
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        answer = _collect(question["pid"]) if "pid" in question else {"pid": _fork(question, answers)}
        os.write(answers, json.dumps(answer).encode() + b"\n")


def derive() -> None:
    """Derive once, for all that are forked, what follows from the code alone: it was most of the start of a web worker."""
    release()
    for language in Language:
        catalogue_of(language)
    described.share_described()
    clock, ids, unused = SystemClock(), SystemIds(), cast("Any", None)
    uow = UnitOfWork.create(Database(f"sqlite:///{os.devnull}"), clock, ids, "launcher")
    kit = Kit(uow, clock, ids, Urls("http://localhost"), Mode.SANDBOX, pages=unused, authenticate=unused)
    mounts.control_plane(
        kit,
        unused,
        unused,
        unused,
        calls=unused,
        traffic=unused,
        domain_checker=unused,
        providers=unused,
        mails_links=False,
        directory=unused,
    )


def _collect(pid: int) -> dict[str, Any]:
    found, status = os.waitpid(pid, os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if found else None}


def _fork(question: dict[str, Any], answers: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(answers)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(question["outputs"], start=1):
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        os.chdir(question["cwd"])
        os.environ.clear()
        os.environ.update(question["environment"])
        outsiders.install(os.environ)
        sys.argv = ["hilum", *question["words"]]
        module, _, name = question["verb"].partition(":")
        getattr(importlib.import_module(module), name)()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
