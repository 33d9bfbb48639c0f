"""Health of the access journal: whether it can be written, judged by its commits and by an occasional probe."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg

from hilum.foundation.infra import metrics
from hilum.foundation.infra.database_faults import UNKNOWN, Fault, fault_of
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ports import Clock
from hilum.records.audit import postgres

FAILS_FOR_S = 10.0
"""A journal that failed counts as failing until it is written again, or for this long if nothing writes to it."""
TRY_EVERY_S = 2.0
TRY_WITHIN_MS = 1_000


class JournalHealth:
    """Health of one worker's journal. ``commit`` is called in the journal's thread, ``failing`` from any other."""

    def __init__(self, clock: Clock, path: Callable[[], Path | None] = lambda: None) -> None:
        """``path`` returns the file to probe; None if the journal is not a file, or not open yet."""
        self._clock, self._path = clock, path
        self._failed_at = float("-inf")
        self._tried_at = float("-inf")
        self.fault: Fault | None = None
        """The class of the last failed commit, where it has one."""

    def commit(self, write: Callable[[], int], records: int) -> None:
        """Write one batch of at most ``records``, timed and counted; ``write`` returns how many it wrote. Raises what ``write`` raises."""
        begun = self._clock.monotonic()
        try:
            written = write()
        except HilumError as error:
            self.fault = fault_of(error.__cause__)
            metrics.JOURNAL_FAILURES.add(by=records)
            self.failed()
            raise
        self._failed_at, self.fault = float("-inf"), None
        metrics.JOURNAL_RECORDS.add(by=written)
        metrics.JOURNAL_SECONDS.observe(self._clock.monotonic() - begun)

    def failed(self) -> None:
        """Record that a record could not be made durable, or not in time."""
        self._failed_at = self._clock.monotonic()

    def failing(self) -> bool:
        """Check whether the journal cannot be written. Probes it every ``TRY_EVERY_S``, since there may be no traffic to show a failure."""
        now = self._clock.monotonic()
        if now - self._tried_at >= TRY_EVERY_S:
            self._tried_at = now
            path = self._path()
            if path is not None:
                self._failed_at = float("-inf") if is_writable(path) else now
        return now - self._failed_at < FAILS_FOR_S


def probe_fault(database_url: str) -> Fault | None:
    """Try to write the journal in PostgreSQL; return what is wrong, None if nothing is."""
    try:
        postgres.probe(database_url)
    except psycopg.Error as error:
        return fault_of(error) or UNKNOWN
    return None


def is_writable(path: Path) -> bool:
    """Check whether the file's write lock can be acquired; False if another process holds it, or the file is gone."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)) as db:
            db.execute(f"PRAGMA busy_timeout={TRY_WITHIN_MS}")
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True
