"""Whether the access journal can be written, as its own commits and an occasional try show."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hilum.infra import metrics
from hilum.kernel.errors import HilumError
from hilum.kernel.ports import Clock

FAILS_FOR_S = 10.0
"""A journal that failed counts as failing until it was written again, or for so long where nobody tries."""
TRY_EVERY_S = 2.0
TRY_WITHIN_MS = 1_000


class Watch:
    """Watches the journal of one worker. ``commit`` is called in the journal's thread, ``failing`` from any other."""

    def __init__(self, clock: Clock, path: Callable[[], Path | None] = lambda: None) -> None:
        """``path``: the file that is tried while nobody writes; None where the journal is not one, or not open yet."""
        self._clock, self._path = clock, path
        self._failed_at = float("-inf")
        self._tried_at = float("-inf")

    def commit(self, write: Callable[[], int], records: int) -> None:
        """Write one batch of at most so many records, timed and counted; ``write`` returns how many there were. Raises what writing raises."""
        begun = self._clock.monotonic()
        try:
            written = write()
        except HilumError:
            metrics.JOURNAL_FAILURES.add(by=records)
            self.failed()
            raise
        self._failed_at = float("-inf")
        metrics.JOURNAL_RECORDS.add(by=written)
        metrics.JOURNAL_SECONDS.observe(self._clock.monotonic() - begun)

    def failed(self) -> None:
        """Note that a record could not be made durable, or not in time."""
        self._failed_at = self._clock.monotonic()

    def failing(self) -> bool:
        """Return whether the journal cannot be written; tries it now and then, since nobody may be asking for anything."""
        now = self._clock.monotonic()
        if now - self._tried_at >= TRY_EVERY_S:
            self._tried_at = now
            path = self._path()
            if path is not None:
                self._failed_at = float("-inf") if takes_writes(path) else now
        return now - self._failed_at < FAILS_FOR_S


def takes_writes(path: Path) -> bool:
    """Take and let go the one place of a writer; a file that another process holds, or that has gone, gives none."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)) as db:
            db.execute(f"PRAGMA busy_timeout={TRY_WITHIN_MS}")
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True
