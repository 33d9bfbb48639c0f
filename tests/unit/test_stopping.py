"""A node that is stopped leaves nothing behind, so that it can be started again at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from hilum.server.parent_watch import GRACE_S
from hilum.server.serve import STOP_TIMEOUT_S
from hilum.server.supervisor import PART_STOP_TIMEOUT_S
from tests.sim.postgres import free_port
from tests.sim.running import STOP_WITHIN_S

SERVER = """
import os, signal, sys, time, types
from granian.server import mp
from hilum.server import serve
from hilum.foundation.infra.settings import read

async def app(scope, receive, send):
    while True:
        asked = (await receive())["type"]
        at(asked)
        await send({"type": asked + ".complete"})

def load():
    at("load")
    return app

def at(moment):
    if moment == MOMENT == "load":
        # In one write, which the other worker's cannot break.
        os.write(1, b"loads\\n")
        time.sleep(600)
    if moment == MOMENT:
        # The server sends it to this worker, which comes to nothing else meanwhile.
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)

def marked(moment, then):
    return lambda *given: (at(moment), then(*given))[1]

os.register_at_fork(after_in_child=lambda: at("fork"))
mp.LifespanProtocol.startup = marked("before the lifespan", mp.LifespanProtocol.startup)
mp.ASGIWorker = marked("after its start", mp.ASGIWorker)
site = types.ModuleType("site_of_test")
site.load = load
sys.modules["site_of_test"] = site
settings = read({"HILUM_SECRET_KEY": "k" * 48, "HILUM_MODE": "sandbox"})
serve.run_web(settings, "site_of_test:load", f"127.0.0.1:{PORT}", workers=WORKERS)
"""
PATIENCE_S = 6 * STOP_TIMEOUT_S
"""A server that has to kill a worker says so, however long a start takes on a busy machine."""


@contextmanager
def server(moment: str, workers: int = 1) -> Iterator["subprocess.Popen[str]"]:
    """Start a server that is stopped while a worker is at one moment of its start; at "load" by the test."""
    script = f"MOMENT, PORT, WORKERS = {moment!r}, {free_port()}, {workers}\n{SERVER}"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def test_workers_that_are_still_loading_end_with_their_server() -> None:
    """One that was stopped as it started kept its workers, and their address, for the time that a worker has to stop."""
    with server("load", workers=2) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == ["loads\n"] * 2
        started.terminate()
        # Its output ends with its last process.
        rest, _ = started.communicate(timeout=PATIENCE_S)

    assert rest == ""
    assert started.returncode == 0


def test_no_worker_forgets_a_signal_that_comes_while_it_starts() -> None:
    """It would serve on until its server kills it, ten seconds later."""
    moments = ("fork", "before the lifespan", "lifespan.startup", "after its start")
    with ExitStack() as open_servers:
        started = {each: open_servers.enter_context(server(each)) for each in moments}
        said = {each: one.communicate(timeout=PATIENCE_S)[0] for each, one in started.items()}

    assert said == dict.fromkeys(moments, "")
    assert {one.returncode for one in started.values()} == {0}


def test_a_part_has_more_time_to_stop_than_its_workers() -> None:
    """Else its server is killed first, nobody kills the workers, and the next start finds the address taken."""
    assert STOP_TIMEOUT_S < PART_STOP_TIMEOUT_S <= GRACE_S < STOP_WITHIN_S
