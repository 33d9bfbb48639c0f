"""Ends a process when its parent is gone, however the parent ended and whatever state this process is in."""

import multiprocessing
import os
import signal
import threading
import time

CHECK_EVERY_S = 1.0
GRACE_S = 12
"""How long an orderly stop may take: a little longer than the parent of workers waits for them to stop."""


def started_by() -> int:
    """Return the id of the process that started this one. ``getppid`` alone returns another id once that process has ended."""
    above = multiprocessing.parent_process()
    return os.getppid() if above is None or above.pid is None else above.pid


def end_with(parent: int) -> None:
    """Send SIGTERM to this process once ``parent`` is no longer its parent, and end it ``GRACE_S`` later in any case.

    An orphan would keep serving old code and settings, and occupy the address that its replacement needs. SIGTERM alone is not
    enough: no parent is left to kill a worker whose stop hangs.

    Call it before anything is served: a process whose parent has already ended exits here at once.
    """
    if os.getppid() != parent:
        # Exit without an orderly stop, which would let it listen first, beside its replacement. Nothing was started yet.
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(CHECK_EVERY_S)
        # The kernel ends the process at the alarm, even if Python code no longer runs.
        signal.alarm(GRACE_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
