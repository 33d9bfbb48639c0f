"""A process that ends when the one that started it is gone, however that ended and whatever state this one is in."""

import multiprocessing
import os
import signal
import threading
import time

LOOK_EVERY_S = 1.0
GRACE_S = 12
"""So long a process may take to stop in order. It is a little more than a parent of workers leaves its workers to stop."""


def started_by() -> int:
    """Return the process that started this one, also where it has ended since: then ``getppid`` names another."""
    above = multiprocessing.parent_process()
    return os.getppid() if above is None or above.pid is None else above.pid


def end_with(parent: int) -> None:
    """Let this process end as SIGTERM would end it, once ``parent`` is its parent no longer; end it in any case ``GRACE_S`` later.

    What lived on would serve the code and the settings of before, and hold the address that what is started in its place needs. SIGTERM
    alone is not enough: while a worker starts, it has the handler of its parent, which only notes the signal; between two runs
    of its event loop the signal is lost; and nobody is left to kill a worker whose stop hangs.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        # The kernel ends the process at the alarm, even where no Python code runs any more.
        signal.alarm(GRACE_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
