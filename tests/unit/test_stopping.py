"""A node that is stopped leaves nothing behind, so that it can be started again at once."""

import signal
import subprocess
import sys
from contextlib import suppress

from hilum.app.parent_watch import GRACE_S
from hilum.app.serve import STOP_TIMEOUT_S
from hilum.app.supervisor import PART_STOP_TIMEOUT_S
from tests.sim.postgres import free_port
from tests.sim.running import STOP_WITHIN_S

SERVER = """
import sys, time, types
from hilum.app import serve
from hilum.infra.settings import read
site = types.ModuleType("site_of_test")
def load():
    print("loads", flush=True)
    time.sleep(600)
site.load = load
sys.modules["site_of_test"] = site
settings = read({"HILUM_SECRET_KEY": "k" * 48, "HILUM_MODE": "sandbox", "HILUM_WORKERS": "2"})
serve.run_web(settings, "site_of_test:load", "127.0.0.1:PORT")
"""
ENDS_WITHIN_S = STOP_TIMEOUT_S / 2


def test_workers_that_are_still_loading_end_with_their_server() -> None:
    """One that was stopped as it started kept its workers, and their address, for the time that a worker has to stop."""
    script = SERVER.replace("PORT", str(free_port()))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        assert started.stdout is not None
        try:
            assert [started.stdout.readline() for _ in range(2)] == ["loads\n"] * 2
            started.terminate()
            # Its output ends with its last process.
            rest, _ = started.communicate(timeout=ENDS_WITHIN_S)
        finally:
            with suppress(ProcessLookupError):
                started.send_signal(signal.SIGKILL)

    # On a busy machine the server may have to kill a worker, and says so.
    assert "loads" not in rest
    assert started.returncode == 0


def test_a_part_has_more_time_to_stop_than_its_workers() -> None:
    """Else its server is killed first, nobody kills the workers, and the next start finds the address taken."""
    assert STOP_TIMEOUT_S < PART_STOP_TIMEOUT_S <= GRACE_S < STOP_WITHIN_S
