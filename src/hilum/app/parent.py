"""A process that ends when the one that started it is gone, however that ended."""

import os
import signal
import threading
import time

LOOK_EVERY_S = 1.0


def end_with(parent: int) -> None:
    """Let this process end as if it were told to, once ``parent`` is its parent no longer.

    What lived on would serve the code and the settings of before, beside what is started in its place.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
